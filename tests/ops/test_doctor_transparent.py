"""What `feiyu check` says of transparent listeners: to those who may make them, and to those who may not."""

import os
import subprocess
import sys

import pytest

from ops.doctor.finding import Level
from ops.doctor.transparent import examine
from ops.privileges import CAP_NET_ADMIN, CAP_NET_RAW, Privileges, apply
from ops.settings import parse_settings

BOTH = """\
node: gw1.zone.example
listeners:
  - {name: t4, kind: transparent, address: "10.0.0.1:3130", interface: acc0, demands: [prefix]}
  - {name: t6, kind: transparent, address: "[fd00:1::1]:3130", interface: acc0, demands: [prefix]}
access: [{interface: acc0, site: s1, room: r1, prefixes: ["10.0.0.0/24", "fd00:1::/64"]}]
"""
PLAIN = 'node: gw1.zone.example\nlisteners: [{name: plain, address: "10.0.0.1:3128"}]\n'
SAY = "import sys; from tests.ops.test_doctor_transparent import said; print(said(), end='')"


def said(text: str = BOTH) -> str:
    """The findings, a line each."""
    findings = examine(parse_settings(text, "f.yaml"))
    return "".join(f"{found.level.name} {found.name}: {found.seen}; {found.remedy}\n" for found in findings)


def test_without_transparent_listeners_nothing_is_said() -> None:
    assert said(PLAIN) == ""


@pytest.mark.root
def test_this_machine_can() -> None:
    assert [found.level for found in examine(parse_settings(BOTH, "f.yaml"))] == [Level.OK] * 3


# What a process may, and the levels and words of what it finds: IPv4, IPv6, the table.
MAY = {
    "nothing": (frozenset[int](), ("FAIL", "FAIL", "FAIL"), ("not permitted", "not permitted", "nft refuses")),
    "as a worker": (frozenset({CAP_NET_RAW}), ("OK", "OK", "FAIL"), ("", "", "nft refuses")),
    "as lines": (frozenset({CAP_NET_ADMIN}), ("OK", "OK", "OK"), ("", "", "")),
}


@pytest.mark.root
@pytest.mark.parametrize("sentence", MAY)
def test_a_process_that_may(sentence: str) -> None:
    capabilities, levels, words = MAY[sentence]
    parent = os.getpid()
    done = subprocess.run(
        [sys.executable, "-c", SAY],
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
        preexec_fn=lambda: apply(Privileges(capabilities=capabilities), parent),
    )
    lines = done.stdout.splitlines()
    assert tuple(line.split(" ", 1)[0] for line in lines) == levels, done.stdout
    for line, word in zip(lines, words, strict=True):
        assert word in line

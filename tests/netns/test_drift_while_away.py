"""What others change in the kernel while no lines process runs is told and counted by the next one; what the policy
changed meanwhile, and what devices did by themselves, is not.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest
from msgspec.structs import replace

from gateway.line.keeper import WHILE_AWAY, Keeper
from gateway.line.memory import FILE
from gateway.line.process import LinesConfig
from tests.netns.bench import line_of, node_of
from tests.netns.kit import Zone
from tests.netns.test_keeper import EDITS
from tests.netns.tunnels import vxlan_line
from whitelist.model import Line

pytestmark = pytest.mark.root
Told = list[tuple[str, bool]]


def run(zone: Zone, directory: Path, lines: list[Line]) -> tuple[Told, int]:
    """One life of a keeper: what it told of drift, and how much it counted. It sweeps twice, so that what is told is
    told once."""
    told: Told = []
    with zone.gateway.inside():
        keeper = Keeper(
            node_of(zone),
            lambda *_: None,
            lambda detail, *, repaired: told.append((detail, repaired)),
            directory / "killswitch.nft",
        )
        try:
            for _ in range(2):
                keeper.want(lines)
                keeper.sweep()
            return told, keeper.repairs
        finally:
            keeper.close()


def both(zone: Zone) -> list[Line]:
    return [line_of(zone, 1, "iplc1"), line_of(zone, 2, "iplc2")]


MORE_EDITS = EDITS | {
    "a sysctl of a line's device": ["sysctl -qw net.ipv4.conf.iplc1.rp_filter=2"],
    "a class of a shaped line": ["tc qdisc del dev iplc2 root"],
}


@pytest.fixture(scope="module")
def there(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Zone, Path]]:
    """One zone for all edits: each is repaired."""
    directory = tmp_path_factory.mktemp("lines")
    with Zone() as zone:
        assert run(zone, directory, shaped(zone)) == ([], 0)
        zone.run("ip rule del pref 32767")  # what flushes rules in the tests does not bring it back
        yield zone, directory


def shaped(zone: Zone) -> list[Line]:
    one, two = both(zone)
    return [one, replace(two, rate_up=8_000)]


@pytest.mark.parametrize("sentence", MORE_EDITS)
def test_it_is_told_and_counted_when(there: tuple[Zone, Path], sentence: str) -> None:
    zone, directory = there
    assert run(zone, directory, shaped(zone)) == ([], 0)
    zone.run(*MORE_EDITS[sentence])
    told, repairs = run(zone, directory, shaped(zone))
    assert repairs == len(told) > 0
    assert all(repaired for _, repaired in told)
    if "class" not in sentence:  # the shaper does not say since when
        assert all(detail.endswith(WHILE_AWAY) for detail, _ in told)
        assert not any("(new)" in detail for detail, _ in told)


def _retired(zone: Zone) -> list[Line]:
    one, two = both(zone)
    return [one, replace(two, retired=True)]


def _other_gateway(zone: Zone) -> list[Line]:
    one, two = both(zone)
    return [replace(one, gateway4="198.51.100.3"), two]


QUIET: dict[str, tuple[list[str], Callable[[Zone], list[Line]]]] = {
    "nothing happened": ([], both),
    "a line was retired": ([], _retired),
    "a line got another gateway": ([], _other_gateway),
    "a line was shaped": ([], shaped),
    "no line is left": ([], lambda _: []),
    "a device is gone": (["ip link del iplc1"], both),
    "a device is down": (["ip link set iplc1 down"], both),
    "a device lost its addresses": (["ip addr flush dev iplc1"], both),
}


@pytest.mark.parametrize("sentence", QUIET)
def test_nothing_is_told_when(zone: Zone, tmp_path: Path, sentence: str) -> None:
    commands, lines = QUIET[sentence]
    assert run(zone, tmp_path, both(zone)) == ([], 0)
    zone.run(*commands)
    assert run(zone, tmp_path, lines(zone)) == ([], 0)


def test_what_others_did_is_told_beside_what_the_policy_changed(zone: Zone, tmp_path: Path) -> None:
    run(zone, tmp_path, both(zone))
    zone.run("ip rule del pref 4680", "nft flush chain inet feiyu forward", "ip route flush table 4602")
    told, repairs = run(zone, tmp_path, _other_gateway(zone))
    assert repairs == len(told) == 4
    assert {detail.removesuffix(WHILE_AWAY) for detail, _ in told} == {
        "load table inet feiyu (edited)",
        "add ip -4 rule 4680: from all fwmark 0x46000000/0xffff0000 prohibit",
        "add ip -4 route table 4602: default via 198.51.101.1 dev iplc2 onlink metric 10",
        "add ip -4 route table 4602: default unreachable metric 4278198272",
    }


def test_a_tunnels_device_that_was_taken_away_is_told_once(zone: Zone, tmp_path: Path) -> None:
    lines = [vxlan_line(zone, 4), line_of(zone, 2, "iplc2")]
    assert run(zone, tmp_path, lines) == ([], 0)
    assert run(zone, tmp_path, lines) == ([], 0)
    zone.run("ip link del vx1")
    told, repairs = run(zone, tmp_path, lines)
    assert repairs == 1
    assert [detail.startswith("make ip link vx1") for detail, _ in told] == [True]


@pytest.mark.parametrize("what", ["another boot", "another namespace"])
def test_where_the_kernel_began_empty_nothing_is_told(zone: Zone, tmp_path: Path, what: str) -> None:
    run(zone, tmp_path, both(zone))
    path = tmp_path / FILE
    if what == "another boot":
        kept = json.loads(path.read_bytes())
        kept["where"] = kept["where"].replace("-", "+")
        path.write_text(json.dumps(kept))
        zone.run("ip rule del pref 4680", "nft delete table inet feiyu")
        assert run(zone, tmp_path, both(zone)) == ([], 0)
    else:
        with Zone() as other:
            assert run(other, tmp_path, both(other)) == ([], 0)


def test_a_file_that_cannot_be_read_is_told_and_hinders_nothing(zone: Zone, tmp_path: Path) -> None:
    run(zone, tmp_path, both(zone))
    (tmp_path / FILE).write_text("{")
    told, repairs = run(zone, tmp_path, both(zone))
    assert [(detail.partition(":")[0], repaired) for detail, repaired in told] == [
        ("cannot tell what was changed while no lines process ran", False)
    ]
    assert repairs == 0
    assert run(zone, tmp_path, both(zone)) == ([], 0)  # it is whole again


def test_a_killed_process_leaves_word_for_the_next(zone: Zone, tmp_path: Path) -> None:
    path = tmp_path / "lines.json"
    config = LinesConfig(node=node_of(zone), lines=tuple(both(zone)), state_dir=str(tmp_path), sweep_seconds=30)
    path.write_bytes(msgspec.json.encode(config))

    def life(*commands: str) -> list[dict[str, object]]:
        """What one process says until it has told both lines' states and written them down, and is killed."""
        zone.run(*commands)
        command = [sys.executable, "-m", "gateway.line.process", "run"]
        with zone.gateway.inside():
            child = subprocess.Popen(
                command, env=os.environ | {"FEIYU_LINES_CONFIG": str(path)}, stdout=subprocess.PIPE, text=True
            )
        said: list[dict[str, object]] = []
        try:
            assert child.stdout is not None
            while sum(fields["event"] == "state" for fields in said) < 2:
                said.append(json.loads(child.stdout.readline()))
            for _ in range(500):
                if (tmp_path / FILE).exists():
                    break
                time.sleep(0.01)
        finally:
            child.send_signal(signal.SIGKILL)
            child.wait()
            child.stdout.close()
        return [fields for fields in said if fields["event"] == "drift"]

    assert life() == []
    assert life() == []
    assert [fields["detail"] for fields in life("nft delete table inet feiyu")] == [
        f"load table inet feiyu (missing){WHILE_AWAY}"
    ]
    assert life() == []

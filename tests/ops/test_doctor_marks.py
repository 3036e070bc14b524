"""Who else uses the lines' marks: rules as their programs print them, and real ones in a network namespace."""

import json
import shutil
import subprocess
import sys
from typing import Any

import pytest

from ops.doctor import mark_writes
from ops.doctor.mark_writes import Write, of_iptables, of_tc
from ops.doctor.marks import foreign_rules, uses_mark

BASE, MASK, RANGE = 0x46000000, 0xFFFFFF00, 0xFFFF0000

RULES: dict[str, tuple[dict[str, Any], bool]] = {
    "a line's own mark": ({"fwmark": "0x46000100"}, True),
    "a mask over all lines": ({"fwmark": "0x46000000", "fwmask": "0xff000000"}, True),
    "low bits that a line's mark has too": ({"fwmark": "0x100", "fwmask": "0xffff"}, True),
    "no bit where a line's mark has none either": ({"fwmark": "0", "fwmask": "0x10000"}, True),
    "all that lacks another mark": ({"fwmark": "0xca6c", "not": None}, True),
    "all that lacks the lines' range": ({"fwmark": "0x46000000", "fwmask": "0xffff0000", "not": None}, False),
    "another mark": ({"fwmark": "0x1"}, False),
    "bits that no line's mark has": ({"fwmark": "0x80000", "fwmask": "0xff0000"}, False),
    "no mark": ({"src": "all"}, False),
}


@pytest.mark.parametrize("sentence", RULES)
def test_a_policy_rule_selects(sentence: str) -> None:
    rule, clash = RULES[sentence]
    assert uses_mark(rule, BASE) is clash


def test_a_rule_before_ours_is_at_fault_one_behind_only_told_and_ours_is_neither() -> None:
    rules = [{"priority": number, "fwmark": "0x46000100"} for number in (4599, 4600, 4699, 4700)]
    wireguard = {"priority": 32764, "not": None, "fwmark": "0xca6c"}
    assert foreign_rules([*rules, wireguard], BASE, 4600) == (
        ["rule 4599 fwmark 0x46000100/0xffffffff"],
        ["rule 4700 fwmark 0x46000100/0xffffffff"],
    )
    assert foreign_rules([wireguard | {"priority": 100}], BASE, 4600)[0] == ["rule 100 not fwmark 0xca6c/0xffffffff"]


# What a rule does: (gives a packet a line's mark, may touch a line's mark)
IPTABLES: dict[str, tuple[str, tuple[bool, bool]]] = {
    "a line's mark": ("-A OUTPUT -j MARK --set-xmark 0x46000100/0xffffffff", (True, True)),
    "a line's mark for connections": ("-A OUTPUT -j CONNMARK --set-xmark 0x46000100/0xffffffff", (True, False)),
    "another mark, whole": ("-A OUTPUT -j MARK --set-xmark 0x1/0xffffffff", (False, True)),
    "a bit under the mask": ("-A OUTPUT -j MARK --set-xmark 0x4000/0x4000", (False, True)),
    "a bit outside the mask": ("-A OUTPUT -j MARK --set-xmark 0x1/0xff", (False, False)),
    "the mark of its connection": (
        "-A OUTPUT -j CONNMARK --restore-mark --nfmask 0xffffffff --ctmask 0xff",
        (False, True),
    ),
    "low bits of its connection's": (
        "-A OUTPUT -j CONNMARK --restore-mark --nfmask 0xff --ctmask 0xff",
        (False, False),
    ),
    "a proxy's low bit": (
        "-A PREROUTING -p tcp -j TPROXY --on-port 3 --on-ip 0.0.0.0 --tproxy-mark 0x1/0x1",
        (False, False),
    ),
    "a proxy's whole mark": (
        "-A PREROUTING -p tcp -j TPROXY --on-port 3 --tproxy-mark 0x46000200/0xffffffff",
        (True, True),
    ),
}


@pytest.mark.parametrize("sentence", IPTABLES)
def test_iptables_sets(sentence: str) -> None:
    line, wanted = IPTABLES[sentence]
    (write,) = of_iptables(f"*mangle\n:OUTPUT ACCEPT [0:0]\n{line}\nCOMMIT\n", "iptables")
    assert (write.gives(BASE, RANGE), write.touches(MASK)) == wanted
    assert line in write.where


def test_what_iptables_does_without_marks_is_no_write() -> None:
    lines = (
        "-A INPUT -m mark --mark 0x46000100 -j ACCEPT\n-A OUTPUT -j CONNMARK --save-mark --nfmask 0xff --ctmask 0xff\n"
    )
    assert list(of_iptables(lines, "iptables")) == []


def test_tc_actions_that_set_marks() -> None:
    """In the form of iproute2 6.1 (m_skbedit.c, m_connmark.c, m_ctinfo.c): marks decimal, masks hex without 0x."""
    listing = [
        {"total acts": 4},
        {
            "actions": [
                {"order": 0, "kind": "skbedit", "mark": BASE | 0x100, "index": 1},
                {"order": 1, "kind": "skbedit", "mark": 7, "mask": "ff", "index": 2},
                {"order": 2, "kind": "skbedit", "priority": "1:2", "index": 3},
                {"order": 3, "kind": "connmark", "zone": 0, "index": 4},
            ]
        },
    ]
    found = [(w.where.split(":")[0], w.gives(BASE, RANGE), w.touches(MASK)) for w in of_tc(listing)]
    assert found == [
        ("tc action skbedit index 1", True, True),
        ("tc action skbedit index 2", False, False),
        ("tc action connmark index 4", False, True),
    ]


NFT: dict[str, tuple[str, tuple[bool, bool]]] = {
    "a line's mark": ("meta mark set 0x46000100", (True, True)),
    "a line's mark beside bits that it keeps": ("meta mark set meta mark and 0xff or 0x46000200", (True, True)),
    "the range of the lines, keeping the index": ("meta mark set meta mark and 0xffff or 0x46000000", (True, True)),
    "a line's mark for connections": ("ct mark set 0x46000300", (True, False)),
    "a line's mark out of a map": (
        "meta mark set ip daddr map { 192.0.2.1 : 0x46000100, 192.0.2.2 : 0x2 }",
        (True, True),
    ),
    "another mark, whole": ("meta mark set 1", (False, True)),
    "a bit under the mask": ("meta mark set meta mark or 0x4000", (False, True)),
    "a bit outside the mask": ("meta mark set meta mark or 0x40", (False, False)),
    "no low bits": ("meta mark set meta mark and 0xffffff00", (False, False)),
    "the mark of its connection": ("meta mark set ct mark", (False, True)),
    "a number in turn": ("meta mark set numgen inc mod 2 offset 0x46000100", (False, True)),
}
TABLE = "table inet other {{ chain o {{ type route hook output priority mangle; {}; }}; }}"


def in_namespace(*commands: str) -> str:
    """Output of these shell commands in a network namespace that ends with them."""
    script = "set -e; ip link set lo up; " + "; ".join(commands)
    run = subprocess.run(
        ["unshare", "--net", "sh", "-c", script], capture_output=True, text=True, timeout=60, check=False
    )
    assert run.returncode == 0, run.stderr
    return run.stdout


@pytest.mark.root
@pytest.mark.parametrize("sentence", NFT)
def test_nft_sets(sentence: str) -> None:
    statement, wanted = NFT[sentence]
    listed = in_namespace(f"nft '{TABLE.format(statement)}'", "nft -j list ruleset")
    (write,) = mark_writes.of_nft(json.loads(listed))
    assert (write.gives(BASE, RANGE), write.touches(MASK)) == wanted
    assert write.where.startswith("nft table inet other chain o: ")


@pytest.mark.root
def test_our_own_table_and_rules_that_only_ask_for_marks_are_no_writes() -> None:
    ours = TABLE.replace("other", "feiyu").format("meta mark set 0x46000100")
    asks = TABLE.format("meta mark 0x46000100 accept")
    assert (
        list(mark_writes.of_nft(json.loads(in_namespace(f"nft '{ours}'", f"nft '{asks}'", "nft -j list ruleset"))))
        == []
    )


PROGRAM = """
from ops.doctor.marks import examine
from ops.settings import parse_settings
text = '''
node: gw1.zone.example
state_dir: /nowhere/state
run_dir: /nowhere/run
listeners: [{name: plain, kind: plain, address: "10.0.0.1:3128"}]
access: [{interface: acc0, site: s1, room: r1, prefixes: ["10.0.0.0/24"], side: offshore}]
'''
for found in examine(parse_settings(text, "x")):
    print(found.level, found.seen, found.remedy, sep="|")
"""

MACHINE: dict[str, tuple[str, str, str]] = {
    "nothing": ("true", "ok", "is used by nobody else"),
    "a rule before ours": ("ip rule add priority 100 fwmark 0x46000100 table 7", "fail", "rule 100 fwmark 0x46000100"),
    "an IPv6 rule before ours": ("ip -6 rule add priority 100 fwmark 0x46000100 table 7", "fail", "rule 100"),
    "a rule behind ours": ("ip rule add priority 9000 fwmark 0x46000100 table 7", "warn", "rule 9000"),
    "a rule of wg-quick": ("ip rule add not fwmark 0xca6c table 51820", "ok", "nobody else"),
    "a rule of nft": (f"nft '{TABLE.format('meta mark set 0x46000100')}'", "fail", "meta mark set 0x46000100"),
    "an nft mark of another's": (f"nft '{TABLE.format('meta mark set 1')}'", "warn", "meta mark set 0x1"),
}


def told(*commands: str) -> list[str]:
    (line,) = in_namespace(*commands, f"{sys.executable} -c '{PROGRAM.replace(chr(39) * 3, chr(34) * 3)}'").splitlines()
    return line.split("|")


@pytest.mark.root
@pytest.mark.parametrize("sentence", MACHINE)
def test_on_a_machine_with(sentence: str) -> None:
    command, level, words = MACHINE[sentence]
    found, seen, remedy = told(command)
    assert (found, words in seen, bool(remedy)) == (level, True, level != "ok")


@pytest.mark.root
def test_on_a_machine_with_marks_of_iptables() -> None:
    if not shutil.which("iptables"):
        pytest.skip("iptables is not installed")
    found, seen, _ = told("iptables -t mangle -A OUTPUT -j MARK --set-mark 0x46000100")
    assert (found, "-j MARK --set-xmark 0x46000100" in seen) == ("fail", True)


@pytest.mark.root
def test_on_a_machine_with_a_tc_filter_that_sets_a_mark() -> None:
    filtered = "tc qdisc add dev lo clsact && tc filter add dev lo egress matchall action skbedit mark 0x46000100"
    kernel = subprocess.run(["unshare", "--net", "sh", "-c", filtered], capture_output=True, text=True, check=False)
    if kernel.returncode:
        pytest.skip(f"this kernel has no such action: {kernel.stderr.splitlines()[0]}")
    found, seen, _ = told(filtered)
    assert (found, "tc action skbedit" in seen) == ("fail", True)


def test_a_write_that_nobody_can_work_out_gives_no_known_mark() -> None:
    unknown = Write("x", mark_writes.ALL, None)
    assert (unknown.gives(BASE, RANGE), unknown.touches(MASK)) == (False, True)

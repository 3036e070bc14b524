"""feiyu check, the command itself, on a machine of its own: what the lines cannot be put in force with is refused, by
name and with what to do about it; on the machine as it should be nothing is."""

import json
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tenants.change import Change
from whitelist.store import open_register

pytestmark = pytest.mark.root
CONFIG = """\
node: gw1.zone.example
state_dir: {0}/state
run_dir: {0}/run
listeners: [{{name: plain, kind: plain, address: "10.0.0.1:3128"}}]
access: [{{interface: acc0, site: s1, room: r1, prefixes: ["10.0.0.0/24"], side: offshore}}]
management: [{{interface: lo, prefixes: ["127.0.0.0/8"]}}]
"""
LINES = {
    "hk1": {"device": "l1", "gateway4": "192.0.2.1", "source4": "192.0.2.2"},
    "sg1": {"device": "l2", "gateway4": "198.51.100.1", "source4": "198.51.100.2"},
}
MACHINE = (
    "ip link set lo up",
    "ip link add acc0 type veth peer name acc9",
    "ip addr add 10.0.0.1/24 dev acc0",
    "ip link add l1 type veth peer name l9",
    "ip addr add 192.0.2.2/29 dev l1",
    "ip link add l2 type veth peer name l8",
    "ip addr add 198.51.100.2/29 dev l2",
    "for d in acc0 acc9 l1 l9 l2 l8; do ip link set $d up; done",
)
NFT_MARK = "nft 'table inet other { chain o { type filter hook output priority 0; meta mark set 0x46000100; }; }'"
# How the machine or (edit) the stored entry of line sg1 is otherwise; then what is refused: name, words, words of what
# to do. prefix: of the command.
REFUSED: dict[str, tuple[dict[str, Any], str, str, str]] = {
    "one device for two lines": (
        {"edit": {"device": "l1"}},
        "line sg1",
        "device l1 is also that of hk1",
        "feiyu line edit",
    ),
    "one number, so one mark, for two": (
        {"edit": {"index": 1}},
        "line sg1",
        "index 1 is also that of hk1",
        "feiyu line",
    ),
    "one source for two": (
        {"edit": {"source4": "192.0.2.2"}},
        "line sg1",
        "192.0.2.2 is also that of hk1",
        "feiyu line",
    ),
    "a gateway outside its prefix": (
        {"edit": {"gateway4": "198.51.100.9"}},
        "line sg1",
        "198.51.100.9 is outside 198.51.100.0/29",
        "--gateway",
    ),
    "a source that its device lacks": (
        {"edit": {"source4": "198.51.100.3"}},
        "line sg1",
        "is not on l2",
        "ip addr add",
    ),
    "an unknown device": ({"edit": {"device": "l7"}}, "line sg1", "its device l7 is not there", "--device"),
    "an underlay that is unknown": (
        {
            "edit": {
                "device": "vx1",
                "encapsulation": {
                    "type": "vxlan",
                    "vni": 7,
                    "underlay": "u7",
                    "local": "198.51.100.2",
                    "peer": "198.51.100.3",
                },
            }
        },
        "line sg1",
        "its device u7 is not there",
        "--underlay",
    ),
    "a device of the clients'": (
        {"edit": {"device": "acc0"}},
        "line sg1",
        "acc0 is a device of access",
        "feiyu line edit",
    ),
    "an entry that is none": ({"edit": {"mtu": "x"}}, "line sg1", "its entry cannot be read", "backup"),
    "a mark that nft sets": ({"commands": (NFT_MARK,)}, "marks", "meta mark set 0x46000100", "line_base.mark"),
    "a mark that a rule selects": (
        {"commands": ("ip rule add priority 9 fwmark 0x46000200 table 7",)},
        "marks",
        "rule 9 fwmark",
        "line_base.mark",
    ),
    "no nft": ({"mounts": "/dev/null /usr/sbin/nft"}, "nft", "not installed", "apt-get install nftables"),
    "no CAP_NET_ADMIN": (
        {"prefix": "setpriv --bounding-set=-net_admin --inh-caps=-net_admin"},
        "capabilities",
        "lacks CAP_NET_ADMIN",
        "AmbientCapabilities",
    ),
    "no CAP_NET_RAW": (
        {"prefix": "setpriv --bounding-set=-net_raw --inh-caps=-net_raw"},
        "capabilities",
        "lacks CAP_NET_RAW",
        "AmbientCapabilities",
    ),
}


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A node's directory with both lines in its register."""
    root = tmp_path_factory.mktemp("node")
    (root / "feiyu.yaml").write_text(CONFIG.format(root))
    made = subprocess.run(feiyu("init", root), capture_output=True, text=True, timeout=60, check=False)
    assert made.returncode == 0, made.stderr
    register = open_register(root / "state" / "register.db", create=False)
    resolvers = {"resolvers": ["203.0.113.53"]}
    changes = [Change(collection="lines", verb="add", id=name, fields=f | resolvers) for name, f in LINES.items()]
    register.apply_changes(changes, "root", "set up", 1_800_000_000)
    register.store.close()
    return root


def feiyu(command: str, root: Path) -> list[str]:
    return [sys.executable, "-m", "ops.cli.main", command, "--config", str(root / "feiyu.yaml"), "-o", "json"]


def check(
    root: Path,
    edit: dict[str, Any] | None = None,
    commands: tuple[str, ...] = (),
    mounts: str = "",
    prefix: str = "",
    level: str = "fail",
) -> tuple[int, list[tuple[str, str, str]]]:
    """Exit status, and what was refused (or found at another level): name, what was seen, what to do. edit: as in a
    damaged register."""
    with sqlite3.connect(root / "state" / "register.db") as database:
        ((document,),) = database.execute("SELECT document FROM lines WHERE id = 'sg1'").fetchall()
        damaged = json.dumps(json.loads(document) | (edit or {}))
        database.execute("UPDATE lines SET document = ? WHERE id = 'sg1'", (damaged,))
    try:
        mount = f"mount --bind {mounts}" if mounts else "true"
        script = " && ".join([*MACHINE, *commands, mount, f'exec {prefix} "$@"'])
        shell = ["unshare", "--net", "--mount", "sh", "-c", script, "sh"]
        run = subprocess.run([*shell, *feiyu("check", root)], capture_output=True, text=True, timeout=60, check=False)
    finally:
        with sqlite3.connect(root / "state" / "register.db") as database:
            database.execute("UPDATE lines SET document = ? WHERE id = 'sg1'", (document,))
    assert run.stdout, run.stderr
    found = json.loads(run.stdout)
    return run.returncode, [(one["name"], one["seen"], one["remedy"]) for one in found if one["level"] == level]


def test_nothing_is_refused_on_a_machine_as_it_should_be(prepared: Path) -> None:
    assert check(prepared) == (0, [])


@pytest.mark.parametrize("sentence", REFUSED)
def test_refused_is(prepared: Path, sentence: str) -> None:
    otherwise, name, seen, remedy = REFUSED[sentence]
    status, found = check(prepared, **otherwise)
    assert status == 1
    assert [one for one in found if one[0] == name and seen in one[1] and remedy in one[2]], found
    assert [one for one in found if not one[2]] == []


def test_a_rule_of_others_before_the_lines_is_told_and_refuses_nothing(prepared: Path) -> None:
    rules = ("ip rule add priority 100 prohibit", "ip -6 rule add priority 200 to 2001:db8::/32 lookup 77")
    status, found = check(prepared, commands=rules, level="warn")
    assert status == 0
    (told,) = [one for one in found if one[0] == "rules before the lines'"]
    assert told[1] == "ip -4 rule 100: prohibit; ip -6 rule 200: table 77"
    assert "behind 4699" in told[2]
    assert not [one for one in check(prepared, level="warn")[1] if one[0] == "rules before the lines'"]

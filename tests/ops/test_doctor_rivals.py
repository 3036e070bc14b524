"""What `feiyu check` says of other programs that would take the lines' table or devices away."""

from pathlib import Path

import pytest

from ops.doctor.finding import Level
from ops.doctor.lines import contradictions
from ops.doctor.rivals import firewalls, network_manager, nftables
from ops.settings import parse_settings

SETTINGS = """\
node: gw1.zone.example
state_dir: /nowhere/state
run_dir: /nowhere/run
listeners: [{name: plain, kind: plain, address: "10.0.0.1:3128"}]
access: [{interface: acc0, site: s1, room: r1, prefixes: ["10.0.0.0/24"], side: offshore}]
"""
CONF = "etc/nftables.conf"
ENABLED = "etc/systemd/system/sysinit.target.wants/nftables.service"

NFTABLES: dict[str, tuple[dict[str, str], Level]] = {
    "nothing of it": ({}, Level.OK),
    "a flush in the file of a service that is not enabled": ({CONF: "flush ruleset\n"}, Level.OK),
    "a flush": ({CONF: "#!/usr/sbin/nft -f\nflush ruleset\ntable inet x {}\n", ENABLED: ""}, Level.WARN),
    "a flush that is a comment": ({CONF: "# flush ruleset\n", ENABLED: ""}, Level.OK),
    "a flush of another family": ({CONF: "flush ruleset ip\n", ENABLED: ""}, Level.OK),
    "a flush of our family": ({CONF: "flush ruleset inet\n", ENABLED: ""}, Level.WARN),
    "a flush in a file that it includes": (
        {CONF: 'include "/etc/nftables.d/*.nft"\n', "etc/nftables.d/a.nft": "flush  ruleset;\n", ENABLED: ""},
        Level.WARN,
    ),
    "tables of its own, deleted one by one": ({CONF: "table inet x {}\ndelete table inet x\n", ENABLED: ""}, Level.OK),
    "no file": ({ENABLED: ""}, Level.OK),
}


def laid_out(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


@pytest.mark.parametrize("sentence", NFTABLES)
def test_nftables_service_with(sentence: str, tmp_path: Path) -> None:
    files, level = NFTABLES[sentence]
    found = nftables(laid_out(tmp_path, files))
    assert found.level is level
    assert bool(found.remedy) is (level is Level.WARN)


RUNS = "sys/fs/cgroup/system.slice/{}.service/cgroup.procs"
WANTED = "etc/systemd/system/multi-user.target.wants/{}.service"
UFW = {"etc/ufw/ufw.conf": "# ufw\nENABLED=yes\nLOGLEVEL=low\n"}
FIREWALLS: dict[str, tuple[dict[str, str], dict[str, str]]] = {
    "neither": ({}, {}),
    "firewalld that runs": ({RUNS.format("firewalld"): ""}, {"firewalld": "runs"}),
    "firewalld that will": ({WANTED.format("firewalld"): ""}, {"firewalld": "starts with the machine"}),
    "ufw that is on": (UFW, {"ufw": "is on (ENABLED=yes): it refuses what its rules do not name"}),
    "ufw that is off": ({"etc/ufw/ufw.conf": "ENABLED=no\n"}, {}),
    "ufw that is off and commented": ({"etc/ufw/ufw.conf": "#ENABLED=yes\nENABLED=no\n"}, {}),
    "ufw that is off and whose unit does nothing then": (
        {"etc/ufw/ufw.conf": "ENABLED=no\n", WANTED.format("ufw"): ""}, {},
    ),
    "ufw whose settings are ours": (
        UFW | {"etc/default/ufw": "IPT_SYSCTL=/etc/ufw/sysctl.conf\n",
               "etc/ufw/sysctl.conf": "net/ipv4/conf/all/rp_filter=1\nnet/ipv4/conf/all/accept_redirects=0\n"},
        {"ufw": "is on (ENABLED=yes): it refuses what its rules do not name"},
    ),
    "ufw that turns forwarding on": (
        UFW | {"etc/default/ufw": "IPT_SYSCTL=/etc/ufw/sysctl.conf\n",
               "etc/ufw/sysctl.conf": "net/ipv4/ip_forward=1\n#net/ipv6/conf/all/forwarding=1\n"
                                      "net/ipv4/conf/all/rp_filter=2\n"},
        {"ufw": "and sets net.ipv4.ip_forward=1, net.ipv4.conf.all.rp_filter=2"},
    ),
    "both": (UFW | {RUNS.format("firewalld"): ""}, {"ufw": "is on", "firewalld": "runs"}),
}  # fmt: skip


@pytest.mark.parametrize("sentence", FIREWALLS)
def test_firewalls_with(sentence: str, tmp_path: Path) -> None:
    files, wanted = FIREWALLS[sentence]
    found = {one.name: one for one in firewalls(laid_out(tmp_path, files))}
    assert found.keys() == {"firewalld", "ufw"}
    assert {name for name, one in found.items() if one.level is Level.WARN} == wanted.keys()
    for name, words in wanted.items():
        assert words in found[name].seen
        assert found[name].remedy


MANAGED: dict[str, tuple[str | None, bool]] = {
    "no word of the device": (None, False),
    "managed": ("[device]\nmanaged=true\n", True),
    "not managed": ("[device]\nmanaged=false\n", False),
    "no such key": ("[device]\nnm-owned=true\n", False),
    "no file of that form": ("managed\x00=", False),
}


@pytest.mark.parametrize("sentence", MANAGED)
def test_network_manager_with(sentence: str, tmp_path: Path) -> None:
    text, told = MANAGED[sentence]
    laid_out(tmp_path, {} if text is None else {"run/NetworkManager/devices/7": text})
    found = list(network_manager(tmp_path, [("l1", 7), ("l2", 8)]))
    assert [(one.seen, "interface-name:l1" in one.remedy) for one in found] == ([("manages l1", True)] if told else [])


def line(name: str, index: int, **more: object) -> dict[str, object]:
    whole = {
        "id": name,
        "index": index,
        "device": f"d{index}",
        "gateway4": "192.0.2.1",
        "source4": f"192.0.2.{index + 8}",
    }
    return whole | more


LINES: dict[str, tuple[list[dict[str, object]], dict[str, str]]] = {
    "two lines that differ": ([line("a", 1), line("b", 2)], {}),
    "one device for two": (
        [line("a", 1), line("b", 2, device="d1")],
        {"line a": "device d1 is also that of b", "line b": "device d1 is also that of a"},
    ),
    "one number, so one mark, for two": (
        [line("a", 1), line("b", 1, device="d2", source4="192.0.2.99")],
        {"line a": "index 1 is also that of b", "line b": "index 1 is also that of a"},
    ),
    "one source for two": (
        [line("a", 1), line("b", 2, source4="192.0.2.9")],
        {"line a": "source 192.0.2.9 is also that of b", "line b": "source 192.0.2.9 is also that of a"},
    ),
    "the access interface as device": ([line("a", 1, device="acc0")], {"line a": "acc0 is a device of access"}),
    "a gateway without a source": ([line("a", 1, source4="")], {"line a": "IPv4 has only one of gateway and source"}),
    "an entry that is none": ([line("a", 1, mtu=3)], {"line a": "its entry cannot be read"}),
}


@pytest.mark.parametrize("sentence", LINES)
def test_lines_that_could_not_be_put_in_force(sentence: str) -> None:
    entries, wanted = LINES[sentence]
    found = {one.name: one for one in contradictions(entries, parse_settings(SETTINGS, "x"))}
    assert found.keys() == wanted.keys()
    for name, one in found.items():
        assert one.seen.startswith(wanted[name])
        assert one.level is Level.FAIL
        assert one.remedy

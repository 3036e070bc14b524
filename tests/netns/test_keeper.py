"""The lines process: repairs what others change, reports it, and leaves everything in place when it ends."""

import asyncio
import json
import os
import signal
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import msgspec
import pytest

from gateway.line import nft
from gateway.line.keeper import Keeper
from gateway.line.process import LinesConfig, run
from ops.doctor.kernel import read_back
from ops.privileges import Privileges, apply
from tests.netns.bench import FLUSH_ROUTES, FLUSH_RULES, NO_TABLE, Bench, configured, line_of, node_of
from tests.netns.kit import ABROAD, Zone
from whitelist.model import Line

pytestmark = pytest.mark.root
CAP_NET_ADMIN = 12
EDITS = {
    "the nft table is deleted": NO_TABLE,
    "the ruleset is flushed": ["nft flush ruleset"],
    "the table is made dormant": ["nft add table inet feiyu {flags\tdormant;}"],
    "an nft rule is added": ["nft insert rule inet feiyu output accept"],
    "an nft rule is removed": ["nft flush chain inet feiyu forward"],
    "a policy is changed": ["nft chain inet feiyu output {policy\taccept;}"],
    "rules are flushed": FLUSH_RULES,
    "routes are flushed": FLUSH_ROUTES,
    "a rule goes to the wrong table": ["ip rule add pref 4610 fwmark 0x46000100/0xffffff00 lookup 4602"],
    "a rule of ours is narrowed": [
        "ip rule del pref 4680",
        "ip rule add pref 4680 fwmark 0x46000000/0xffff0000 iif lo prohibit",
    ],
    "a foreign rule is in our range": ["ip -6 rule add pref 4600 to 2001:db8::/32 lookup main"],
    "a foreign route is in our table": ["ip -6 route add default via 2001:db8:3::1 table 4601 metric 5"],
    "the gateway's route is changed": [
        "ip route replace default via 198.51.100.3 dev iplc1 onlink table 4601 metric 10",
    ],
    "forwarding is switched on": ["sysctl -qw net.ipv4.ip_forward=1"],
    "IPv6 forwarding is switched on": ["sysctl -qw net.ipv6.conf.all.forwarding=1"],
    "reverse paths are loosened for all devices": ["sysctl -qw net.ipv4.conf.all.rp_filter=2"],
    "others' addresses are answered for": [
        "sysctl -qw net.ipv4.conf.all.proxy_arp=1 net.ipv6.conf.all.proxy_ndp=1 net.ipv4.conf.iplc1.proxy_arp=1",
    ],
    "redirects are accepted": [
        "sysctl -qw net.ipv4.conf.iplc1.accept_redirects=1 net.ipv6.conf.iplc1.accept_redirects=1",
    ],
}


def state_of(zone: Zone) -> list[str]:
    """Everything that is ours in the kernel, as text."""
    shown = []
    with zone.gateway.inside():
        for command in ("ip rule", "ip -6 rule", "ip route show table 4601", "ip -6 route show table 4601"):
            done = subprocess.run(command.split(), capture_output=True, text=True, timeout=10, check=True)
            shown += sorted(done.stdout.splitlines())  # rules of one priority stand in order of their making
        return [*shown, nft.read_table()]


@pytest.fixture(scope="module")
def kept() -> Iterator[tuple[Zone, Keeper, list[tuple[str, bool]], list[str]]]:
    """One zone for all edits (each is repaired), its keeper, what that reported, and the state that must come back."""
    reports: list[tuple[str, bool]] = []
    with Zone() as zone, zone.gateway.inside():
        keeper = Keeper(
            node_of(zone),
            lambda line, state, detail: reports.append((f"{line} {state} {detail}", True)),
            lambda detail, *, repaired: reports.append((detail, repaired)),
        )
        keeper.want([line_of(zone, 1, "iplc1"), line_of(zone, 2, "iplc2")])
        keeper.sweep()
        assert reports == [("line-1 up ", True), ("line-2 up ", True)]
        zone.run("ip rule del pref 32767")  # what flushes rules in the tests does not bring it back
        yield zone, keeper, reports, state_of(zone)
        keeper.close()


@pytest.mark.parametrize("edit", EDITS.values(), ids=EDITS.keys())
def test_a_sweep_repairs_and_reports_when(
    kept: tuple[Zone, Keeper, list[tuple[str, bool]], list[str]], edit: list[str]
) -> None:
    zone, keeper, reports, before = kept
    reports.clear()
    zone.run(*edit)
    repaired = keeper.sweep()
    assert repaired
    assert reports == [(str(step), True) for step in repaired]
    assert keeper.sweep() == []
    assert state_of(zone) == before


def test_reverse_paths_that_are_strict_for_all_devices_may_stay(bench: Bench) -> None:
    bench.run("sysctl -qw net.ipv4.conf.all.rp_filter=1")
    assert bench.keeper.sweep() == []


DEATHS = {
    "device iplc1 is down": ["ip link set iplc1 down"],
    "device iplc1 does not exist": ["ip link del iplc1"],
    "source 198.51.100.2 is not on iplc1, source 2001:db8:1::2 is not on iplc1": ["ip addr flush dev iplc1"],
}


@pytest.mark.parametrize("detail", DEATHS)
def test_a_line_is_down_because(zone: Zone, detail: str) -> None:
    states: list[tuple[str, str, str]] = []
    with zone.gateway.inside():
        keeper = Keeper(node_of(zone), lambda *s: states.append(s), lambda *_, **__: None)
        keeper.want([line_of(zone, 1, "iplc1")])
        keeper.sweep()
        zone.run(*DEATHS[detail])
        keeper.sweep()
        assert states == [("line-1", "up", ""), ("line-1", "down", detail)]
        keeper.close()


def test_a_line_without_carrier_is_down_and_up_again(zone: Zone) -> None:
    states: list[tuple[str, str, str]] = []
    with zone.gateway.inside():
        keeper = Keeper(node_of(zone), lambda *s: states.append(s), lambda *_, **__: None)
        keeper.want([line_of(zone, 1, "iplc1")])
        for state in ("up", "down", "up"):
            zone.far_link("iplc1", state)
            keeper.sweep()
        assert [state for _, state, _ in states] == ["up", "down", "up"]
        assert keeper.repairs == 0
        keeper.close()


def test_a_line_whose_device_is_made_anew_is_whole_again(bench: Bench) -> None:
    before = state_of(bench.zone)
    bench.run("ip link del iplc1")
    bench.keeper.sweep()
    bench.zone.plug("iplc1")
    bench.keeper.sweep()
    assert bench.keeper.sweep() == []
    assert state_of(bench.zone) == before
    assert bench.keeper.repairs == 0


def test_a_silent_gateway_takes_the_line_down_until_it_answers_again(zone: Zone) -> None:
    heard: list[tuple[str, str]] = []
    with zone.gateway.inside():
        node = node_of(zone)
        keeper = Keeper(node, lambda _, state, detail: heard.append((state, detail)), lambda *_, **__: None)
        keeper.want([msgspec.structs.replace(line_of(zone, 1, "iplc1"), gateway6="", source6="")])
        zone.run("sysctl -qw net.ipv4.neigh.iplc1.retrans_time_ms=20 net.ipv4.neigh.iplc1.mcast_solicit=1")
        zone.wires["iplc1"].ns.ip(["link set far arp off"])
        zone.run("ip neigh del 198.51.100.1 dev iplc1")
        for wanted in (("up", ""), ("down", "gateway 198.51.100.1 does not answer"), ("up", "")):
            for _ in range(100):
                keeper.sweep()
                if heard and heard[-1] == wanted:
                    break
                keeper.solicit()
            assert heard[-1] == wanted
            if wanted[0] == "down":
                zone.wires["iplc1"].ns.ip(["link set far arp on"])
        keeper.close()


def test_a_router_advertisement_on_a_line_changes_nothing(bench: Bench) -> None:
    advertisement = struct.pack("!BBHBBHII", 134, 0, 0, 64, 0, 1800, 0, 0)  # RFC 4861 4.2
    with (
        bench.zone.wires["iplc1"].ns.inside(),
        socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6) as raw,
    ):
        raw.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, 255)
        raw.sendto(advertisement, ("ff02::1", 0, 0, socket.if_nametoindex("far")))
    shown = subprocess.run(["ip", "-6", "route", "show", "default"], capture_output=True, text=True, timeout=10)
    assert "iplc1" not in shown.stdout
    assert nft.read_counters()["line_input"][0] == 1


def test_cap_net_admin_alone_is_enough(zone: Zone, tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    for parent in tmp_path.parents[:3]:
        parent.chmod(parent.stat().st_mode | 0o011)
    reader, writer = os.pipe()
    pid = os.fork()
    if not pid:
        heard: list[str] = []
        try:
            with zone.gateway.inside():
                apply(Privileges(uid=65534, gid=65534, capabilities=frozenset({CAP_NET_ADMIN})), os.getppid())
                keeper = Keeper(
                    node_of(zone),
                    lambda line, state, detail: heard.append(f"{line} {state} {detail}"),
                    lambda detail, *, repaired: heard.append(f"{detail} {repaired}"),
                    tmp_path / "killswitch.nft",
                )
                keeper.want([line_of(zone, 1, "iplc1")])
                keeper.sweep()
                heard.append(str(len(keeper.sweep())))
                heard += sorted(path.name for path in tmp_path.iterdir())
                os.write(writer, json.dumps(heard).encode())
        finally:
            os._exit(0)
    os.waitpid(pid, 0)
    assert json.loads(os.read(reader, 4096)) == ["line-1 up ", "0", "kernel.json", "killswitch.nft"]
    os.close(reader)
    os.close(writer)


def test_a_foreign_rule_before_ours_is_told_once_and_left_alone(zone: Zone) -> None:
    heard: list[tuple[str, bool]] = []
    zone.run("ip rule add pref 0 to 203.0.113.0/24 lookup main", "ip -6 rule add pref 100 lookup main")
    with zone.gateway.inside():
        keeper = Keeper(node_of(zone), lambda *_: None, lambda detail, *, repaired: heard.append((detail, repaired)))
        keeper.want([line_of(zone, 1, "iplc1")])
        keeper.sweep()
        keeper.sweep()
        keeper.close()
        shown = "\n".join(state_of(zone))
    assert heard == [
        ("foreign rule before ours: ip -4 rule 0: table 254", False),
        ("foreign rule before ours: ip -6 rule 100: table 254", False),
    ]
    assert "to 203.0.113.0/24" in shown


_BEFORE = "a foreign rule decides before the line's"
_REMEDY = "; remove it, or give it a priority behind ours (ip rule)"
ALL4, ALL6 = "ip rule add pref 100 prohibit", "ip -6 rule add pref 100 prohibit"
DIVERSIONS: dict[str, tuple[list[str], tuple[str, str]]] = {
    "everything": (
        [ALL4, ALL6],
        (
            "down",
            f"IPv4: {_BEFORE}: ip -4 rule 100: table 0{_REMEDY}, IPv6: {_BEFORE}: ip -6 rule 100: table 0{_REMEDY}",
        ),
    ),
    "one family": ([ALL6], ("up", f"IPv6: {_BEFORE}: ip -6 rule 100: table 0{_REMEDY}")),
    "what has a line's mark": (
        [f"{rule} fwmark 0x46000100/0xffffff00" for rule in (ALL4, ALL6)],
        (
            "down",
            f"IPv4: {_BEFORE}: ip -4 rule 100: table 0{_REMEDY}, IPv6: {_BEFORE}: ip -6 rule 100: table 0{_REMEDY}",
        ),
    ),
    "a table with a way by another device": (
        ["ip rule add pref 100 lookup 77", "ip route add unreachable default table 77"],
        ("up", f"IPv4: {_BEFORE}: ip -4 rule 100: table 77{_REMEDY}"),
    ),
    "one prefix": (
        [f"{ALL4} to 203.0.113.128/25"],
        ("up", f"IPv4: {_BEFORE} for 203.0.113.128/25: ip -4 rule 100: table 0{_REMEDY}"),
    ),
    "nothing of a line, since it is for another mark": ([f"{ALL4} fwmark 0xca6c"], ("up", "")),
    "nothing of a line, since its table has no way by the device": (["ip rule add pref 100 lookup main"], ("up", "")),
}


@pytest.mark.parametrize("takes", DIVERSIONS)
def test_a_line_says_what_of_it_is_taken_by_a_foreign_rule_that_takes(zone: Zone, takes: str) -> None:
    commands, expected = DIVERSIONS[takes]
    states: list[tuple[str, str]] = []
    with zone.gateway.inside():
        keeper = Keeper(node_of(zone), lambda _, *state: states.append(state), lambda *_, **__: None)
        keeper.want([line_of(zone, 1, "iplc1")])
        keeper.sweep()
        zone.run(*commands)
        keeper.sweep()
        assert states[-1] == expected
        seen = [found for found in read_back(node_of(zone), [line_of(zone, 1, "iplc1")]) if found.name == "line line-1"]
        assert len(seen) == expected[1].count("IPv"), "doctor says it of each family"
        zone.run(*(command.replace(" add ", " del ") for command in commands if " rule " in command))
        keeper.sweep()
        keeper.close()
    assert states[-1] == ("up", "")


def test_counters_go_on_over_a_reload(bench: Bench) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock, suppress(PermissionError):
        sock.sendto(b"x", (ABROAD[4], 53))
    bench.run("nft add rule inet feiyu forward accept")
    bench.keeper.sweep()
    assert nft.read_counters()["dropped"] == (1, 29)


@contextmanager
def process(zone: Zone, config: Path) -> Iterator[subprocess.Popen[str]]:
    environment = os.environ | {"FEIYU_LINES_CONFIG": str(config)}
    command = [sys.executable, "-m", "gateway.line.process", "run"]
    with zone.gateway.inside():
        child = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
    try:
        yield child
    finally:
        child.kill()
        child.wait()
        assert child.stdout is not None
        child.stdout.close()


def said(child: subprocess.Popen[str]) -> dict[str, Any]:
    assert child.stdout is not None
    fields: dict[str, Any] = json.loads(child.stdout.readline())
    return fields


def config_file(zone: Zone, directory: Path) -> Path:
    lines = (line_of(zone, 1, "iplc1"), line_of(zone, 2, "iplc2"))
    config = LinesConfig(node=node_of(zone), lines=lines, state_dir=str(directory), sweep_seconds=30)
    path = directory / "lines.json"
    path.write_bytes(msgspec.json.encode(config))
    return path


def test_the_process_repairs_by_events_and_its_death_changes_nothing(zone: Zone, tmp_path: Path) -> None:
    with process(zone, config_file(zone, tmp_path)) as child:
        assert {said(child)["line"], said(child)["line"]} == {"line-1", "line-2"}
        zone.run("nft delete table inet feiyu")  # sweeps are 30 s apart: only the event can bring it back in time
        assert said(child) == {"event": "drift", "detail": "load table inet feiyu (missing)", "repaired": True}
        zone.run("ip rule del pref 4680")
        assert "4680" in said(child)["detail"]
        zone.run("ip link set iplc2 down")
        assert said(child) == {"event": "state", "line": "line-2", "state": "down", "detail": "device iplc2 is down"}
        zone.run("ip link set iplc2 up")
        assert said(child)["state"] == "up"
        before = state_of(zone)
        child.send_signal(signal.SIGKILL)
        child.wait()
    assert state_of(zone) == before


def test_the_kept_table_is_what_the_next_boot_loads(zone: Zone, tmp_path: Path) -> None:
    with process(zone, config_file(zone, tmp_path)) as child:
        said(child)
        loaded = state_of(zone)[-1]
        child.send_signal(signal.SIGTERM)
        assert child.wait() == 0
    kept = tmp_path / "killswitch.nft"
    assert kept.stat().st_mode & 0o777 == 0o600
    zone.run("nft delete table inet feiyu", f"nft -f {kept}")
    assert state_of(zone)[-1] == loaded


def test_teardown_takes_everything_of_ours_and_nothing_else(bench: Bench) -> None:
    bench.run("ip rule add pref 100 lookup main", "nft add table inet other")
    bench.keeper.teardown()
    shown = "\n".join(state_of(bench.zone))
    assert "46" not in shown.replace("32766", "")
    assert "100:" in shown
    bench.run("nft list table inet other")


async def test_lines_that_cannot_be_read_leave_the_last_plan_in_force(zone: Zone) -> None:
    answers: list[list[Line] | Exception] = [[line_of(zone, 1, "iplc1")], RuntimeError("bad signature")]
    heard: list[str] = []
    wake, stop = asyncio.Event(), asyncio.Event()

    def lines() -> list[Line]:
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer

    def drift(detail: str, *, repaired: bool) -> None:
        heard.append(detail)
        stop.set()

    with zone.gateway.inside():
        config = LinesConfig(node=node_of(zone), sweep_seconds=30)
        state = asyncio.Event()
        task = asyncio.create_task(run(config, lines, lambda *_: (state.set(), wake.set()), drift, wake, stop))
        await asyncio.wait_for(state.wait(), 5)
        await asyncio.wait_for(stop.wait(), 5)
        await asyncio.wait_for(task, 5)
    assert heard == ["cannot read the lines, the last plan stays: bad signature"]
    assert "line_1" in state_of(zone)[-1]


@pytest.mark.parametrize("there", [True, False], ids=["the earlier table stays", "a table without lines is loaded"])
def test_when_no_lines_were_ever_read(bench: Bench, there: bool) -> None:
    before = state_of(bench.zone)
    if not there:
        bench.run(*NO_TABLE)
    keeper = Keeper(node_of(bench.zone), lambda *_: None, lambda *_, **__: None)
    keeper.sweep()
    keeper.close()
    table = state_of(bench.zone)[-1]
    if there:
        assert state_of(bench.zone) == before
    else:
        assert "policy drop" in table
        assert "line_1" not in table


def test_two_lines_with_one_device_are_both_left_out_and_the_third_stays(zone: Zone) -> None:
    states: dict[str, tuple[str, str]] = {}
    double = msgspec.structs.replace(line_of(zone, 2, "wan0"), device="iplc1")
    lines = [line_of(zone, 1, "iplc1"), double, msgspec.structs.replace(line_of(zone, 3, "iplc2"), id="line-3")]
    with zone.gateway.inside():
        keeper = Keeper(node_of(zone), lambda *s: states.update({s[0]: s[1:]}), lambda *_, **__: None)
        keeper.want(lines)
        keeper.sweep()
        keeper.close()
    assert {line: state for line, (state, _) in states.items()} == {"line-1": "down", "line-2": "down", "line-3": "up"}
    assert "device iplc1 is also that of line-2" in states["line-1"][1]


NFT_BROKEN = {
    "is not there": (None, 0, "nft is not installed; install the package nftables"),
    "may not be run": ("#!/bin/sh\n", 0o644, "nft cannot be started: Permission denied; see that"),
    "is no program": ("", 0o755, "nft cannot be started: Exec format error; see that"),
}


@pytest.mark.parametrize("how", NFT_BROKEN)
def test_every_line_is_down_and_says_so_where_nft(
    zone: Zone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    text, mode, message = NFT_BROKEN[how]
    if text is not None:
        (tmp_path / "nft").write_text(text)
        (tmp_path / "nft").chmod(mode)
    with zone.gateway.inside(), configured(node_of(zone), [line_of(zone, 1, "iplc1")]):
        states: list[tuple[str, str, str]] = []
        monkeypatch.setenv("PATH", str(tmp_path))
        keeper = Keeper(node_of(zone), lambda *s: states.append(s), lambda *_, **__: None)
        keeper.want([line_of(zone, 1, "iplc1")])
        keeper.sweep()
        keeper.close()
    [(_, state, detail)] = states
    assert state == "down"
    assert message in detail


def test_a_process_without_cap_net_admin_says_so_of_every_line_and_lives(zone: Zone) -> None:
    reader, writer = os.pipe()
    pid = os.fork()
    if not pid:
        heard: list[str] = []
        try:
            with zone.gateway.inside():
                apply(Privileges(uid=65534, gid=65534, capabilities=frozenset()), os.getppid())
                stop = asyncio.Event()

                def told(line: str, state: str, detail: str) -> None:
                    heard.append(f"{line} {state}: {detail}")
                    stop.set()

                config = LinesConfig(node=node_of(zone))
                wanted = [line_of(zone, 1, "iplc1")]
                drift = lambda detail, **_: heard.append(detail)  # noqa: E731
                asyncio.run(asyncio.wait_for(run(config, lambda: wanted, told, drift, asyncio.Event(), stop), 20))
        except BaseException as error:  # noqa: BLE001 - the parent must see it
            heard.append(repr(error))
        finally:
            os.write(writer, json.dumps(heard).encode())
            os._exit(0)
    os.waitpid(pid, 0)
    heard = json.loads(os.read(reader, 65_536))
    os.close(reader)
    os.close(writer)
    assert heard[0].startswith("changes of the nft table are not notified: Operation not permitted; "), heard
    (state,) = [text for text in heard if text.startswith("line-1 ")]
    assert state.startswith("line-1 down: cannot read the kernel's state: nft cannot list the table"), heard
    assert "it needs CAP_NET_ADMIN" in state

"""What the lines process tells the hub and the spool."""

import asyncio
import os
import socket
from pathlib import Path

from gateway.config import Health
from gateway.line.model import MARK_BASE, Transparent
from gateway.line.watch import Watch
from gateway.live import LineState, hello
from ops.hub import MAX_OUTSTANDING, Hub, Owner
from ops.hub_messages import Revision
from ops.lines import Reporter, lines_config
from ops.settings import parse_settings
from telemetry.lines import LINE_STATES, RETIRED, LineTally, in_use, take
from telemetry.record import Record, decode
from telemetry.spool import SpoolWriter
from whitelist.model import Line


def hub_at(directory: Path) -> Hub:
    owner = Owner(lambda *_: None, lambda _: None, lambda _: None, dict, lambda _: None)
    hub = Hub(directory / "live.sock", directory / "live.json", {os.geteuid(): frozenset({"lines"})}, owner)
    hub.open(None)
    return hub


def recorded(directory: Path) -> list[Record]:
    return [decode(line) for file in sorted(directory.glob("*.jsonl")) for line in file.open("rb")]


async def test_every_line_is_told_with_its_latest_state_and_recorded(tmp_path: Path) -> None:
    hub = hub_at(tmp_path)
    (tmp_path / "spool").mkdir()
    spool = SpoolWriter(tmp_path / "spool", "gw1", "0123abcd", "lines.1", 1 << 24)
    wake, stop, count = asyncio.Event(), asyncio.Event(), 3 * MAX_OUTSTANDING
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as sock:
        sock.connect(str(tmp_path / "live.sock"))
        sock.send(hello("lines.1", "lines"))
        sock.settimeout(0)
        reporter = Reporter(sock, spool, wake, stop)
        loop = asyncio.get_running_loop()
        loop.add_reader(sock, reporter.on_hub)
        for number in range(count):
            reporter.on_state(f"l{number}", "down", "no carrier")
        reporter.on_state("l1", "up", "")
        async with asyncio.timeout(20):
            await wake.wait()
            while len(hub.state.lines) < count:  # noqa: ASYNC110  # the hub has no event for it
                await asyncio.sleep(0.01)
            assert hub.state.lines["l1"] is LineState.UP
            assert hub.state.lines["l2"] is LineState.DOWN
            wake.clear()
            assert (await hub.publish(Revision(3)))["done"] > count
            await wake.wait()
            hub.close()
            await stop.wait()
        loop.remove_reader(sock)
    spool.close()
    records = recorded(tmp_path / "spool")
    assert [record.seq for record in records] == list(range(1, count + 2))
    assert (records[-1].line, records[-1].detail, records[-1].values) == ("l1", "up: ", {"state": 1})


async def test_figures_are_recorded_when_they_change_and_repairs_are_told_once(tmp_path: Path) -> None:
    spool = SpoolWriter(tmp_path, "gw1", "0123abcd", "lines.1", 1 << 24)
    ours, _theirs = socket.socketpair()
    reporter = Reporter(ours, spool, asyncio.Event(), asyncio.Event())
    reporter.on_state("hk1", "up", "")
    reporter.on_figures("hk1", {"flows": 1, "repairs": 2})
    reporter.on_figures("hk1", {"flows": 1, "repairs": 2})
    reporter.on_figures("hk1", {"flows": 4, "repairs": 3})
    reporter.on_state("hk1", "down", "no carrier")
    reporter.on_figures("hk1", {})
    reporter.on_state("hk1", "down", RETIRED)
    reporter.on_figures("", {"repairs": 0, "forwarded": 7})
    spool.close()
    records = recorded(tmp_path)
    assert [record.kind == "heartbeat" for record in records] == [record.detail == "figures" for record in records]
    assert [(r.line, r.detail, r.values) for r in records] == [
        ("hk1", "up: ", {"state": 1}),
        ("hk1", "figures", {"flows": 1, "repairs": 2, "state": 1}),
        ("hk1", "figures", {"flows": 4, "repairs": 1, "state": 1}),
        ("hk1", "down: no carrier", {"flows": 4, "repairs": 0, "state": 0}),
        ("hk1", "figures", {"state": 0}),
        ("hk1", "down: retired", {"state": 0}),
        ("", "figures", {"repairs": 0, "forwarded": 7}),
    ]


async def test_how_the_lines_stood_is_the_first_word_of_the_hub(tmp_path: Path) -> None:
    hub = hub_at(tmp_path)
    hub.state.set_line("hk1", LineState.DOWN)
    spool = SpoolWriter(tmp_path, "gw1", "0123abcd", "lines.1", 1 << 24)
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as sock:
        sock.connect(str(tmp_path / "live.sock"))
        sock.send(hello("lines.1", "lines"))
        sock.settimeout(0)
        reporter = Reporter(sock, spool, asyncio.Event(), asyncio.Event())
        loop = asyncio.get_running_loop()
        loop.add_reader(sock, reporter.on_hub)
        assert await reporter.stood_before() == {"hk1": LineState.DOWN}
        loop.remove_reader(sock)
    hub.close()
    spool.close()


async def test_a_line_retired_while_no_lines_process_ran_is_forgotten_by_hub_and_records(tmp_path: Path) -> None:
    hub = hub_at(tmp_path)
    hub.state.set_line("hk1", LineState.UP)
    hub.state.set_line("old", LineState.UP)
    (tmp_path / "spool").mkdir()
    spool = SpoolWriter(tmp_path / "spool", "gw1", "0123abcd", "lines.1", 1 << 24)
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as sock:
        sock.connect(str(tmp_path / "live.sock"))
        sock.send(hello("lines.1", "lines"))
        sock.settimeout(0)
        reporter = Reporter(sock, spool, asyncio.Event(), asyncio.Event())
        loop = asyncio.get_running_loop()
        loop.add_reader(sock, reporter.on_hub)
        stood = await reporter.stood_before()
        watch = Watch(Health(), MARK_BASE, reporter.on_state, lambda *_: None, stood)
        watch.want([Line(id="hk1", index=1, device="l1"), Line(id="old", index=2, device="l2", retired=True)])
        async with asyncio.timeout(20):
            while "old" in hub.state.lines:  # noqa: ASYNC110  # the hub has no event for it
                await asyncio.sleep(0.01)
        loop.remove_reader(sock)
    hub.close()
    spool.close()
    assert hub.state.lines == {"hk1": LineState.UP}
    (record,) = recorded(tmp_path / "spool")
    folded = {"old": LineTally(state=LINE_STATES["up"])}
    take(folded, "lines.1", record)
    assert in_use(folded) == []


async def test_a_drift_is_told_once_a_minute(tmp_path: Path) -> None:
    spool = SpoolWriter(tmp_path, "gw1", "0123abcd", "lines.1", 1 << 24)
    ours, _theirs = socket.socketpair()
    reporter = Reporter(ours, spool, asyncio.Event(), asyncio.Event())
    before = spool.next_seq()
    for _ in range(3):
        reporter.on_drift("rule 4601 was missing", repaired=True)
    reporter.on_drift("another", repaired=False)
    told = spool.next_seq() - before - 1
    assert told == 2
    spool.close()


def test_the_node_of_the_kill_switch_is_that_of_the_settings() -> None:
    settings = parse_settings(
        'node: gw1\nlisteners: [{name: a, address: "10.0.0.1:3128"}, {name: b, address: "[::]:3128"}]\n'
        "access: [{interface: acc0, site: s, room: r, prefixes: [10.0.0.0/24]}]\n"
        "management: [{interface: eth0, prefixes: [192.0.2.0/24]}]\n",
        "f.yaml",
    )
    config = lines_config(settings)
    assert config.node.listener_ports == (3128,)
    assert config.node.listener_addresses == ("10.0.0.1",)  # not what stands for all of them
    assert [(access.interface, access.prefixes) for access in config.node.access] == [("acc0", ("10.0.0.0/24",))]
    assert [(entry.interface, entry.prefixes) for entry in config.node.management] == [("eth0", ("192.0.2.0/24",))]
    assert config.node.mark_base == 0x46000000
    assert config.state_dir == "/var/lib/feiyu/lines"
    assert config.figures == "/run/feiyu/figures"


def test_transparent_listeners_are_the_kernels_and_their_ports_nobodys() -> None:
    settings = parse_settings(
        "node: gw1\nlisteners:\n"
        '- {name: plain, address: "10.0.0.1:3128"}\n'
        '- {name: t, kind: transparent, address: "[fd00:1::1]:3130", interface: acc0, demands: [prefix]}\n'
        'access: [{interface: acc0, site: s, room: r, prefixes: ["fd00:1::/64"]}]\n'
        "line_base: {transparent_mark: 0x48000000}\n",
        "f.yaml",
    )
    node = lines_config(settings).node
    assert node.listener_ports == (3128,)
    assert node.transparent == (Transparent(interface="acc0", address="fd00:1::1", port=3130),)
    assert node.transparent_mark == 0x48000000

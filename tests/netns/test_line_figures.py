"""The figures of lines from real packets to /metrics: a real lines process with its spool, folded and rendered."""

import asyncio
import socket
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from gateway.config import Health
from gateway.figures import Figures
from gateway.line.census import DROPS
from gateway.line.killswitch import counters_of
from gateway.line.model import NodeConfig
from gateway.line.plan import sort_out
from gateway.line.process import LinesConfig, run
from ops.lines import Reporter
from telemetry.fold import State
from telemetry.metrics import render, view
from telemetry.record import decode
from telemetry.spool import SpoolWriter
from tests.netns.bench import FLUSH_ROUTES, NO_TABLE, line_of, node_of
from tests.netns.kit import ABROAD, PORT, Zone
from tests.telemetry.test_metrics import samples
from whitelist.model import Line

RULES = Health(interval=0.3, timeout=0.25, failures=3, successes=2)
BOTH = (f"tcp://{ABROAD[4]}:{PORT}", f"tcp://[{ABROAD[6]}]:{PORT}")
type Metrics = Mapping[str, Mapping[tuple[str, ...], float]]


class Watched:
    """A lines process in this one, in the gateway's namespace, and the metrics that its records make."""

    def __init__(self, zone: Zone, directory: Path, lines: list[Line], stood: Mapping[str, str] | None = None) -> None:
        self.zone, self.directory, self.lines, self._stood = zone, directory, lines, stood
        self.states: list[tuple[str, str, str]] = []
        self.wake = asyncio.Event()

    def metrics(self) -> Metrics:
        """As a scrape would have them now."""
        state = State()
        for file in sorted(self.directory.glob("*.jsonl")):
            for text in file.read_bytes().splitlines():
                state.take("0123abcd-lines.1", [decode(text)], [len(text) + 1], 0, 0)
        return samples(render(view(state, 0, 0)).decode())

    async def until(self, what: Callable[[Metrics], Any], why: str) -> Metrics:
        """Waits until a scrape shows something."""
        found: Metrics = {}
        for _ in range(400):
            if what(found := self.metrics()):
                return found
            await asyncio.sleep(0.05)
        lines = {name: values for name, values in found.items() if "line" in name or "drift" in name or "drop" in name}
        raise AssertionError(f"not within 20 s: {why}: {lines}")

    def go(self, act: Callable[["Watched"], Any]) -> None:
        """Runs the process while act does; then ends it."""

        async def both() -> None:
            stop, (ours, theirs) = asyncio.Event(), socket.socketpair()
            with ours, theirs:
                spool = SpoolWriter(self.directory, "gw1", "0123abcd", "lines.1", 1 << 24)
                reporter = Reporter(ours, spool, self.wake, stop)

                def on_state(line: str, state: str, why: str) -> None:
                    self.states.append((line, state, why))
                    reporter.on_state(line, state, why)

                config = LinesConfig(
                    node=node_of(self.zone),
                    health=RULES,
                    figures=str(self.directory / "figures"),
                    figures_seconds=0.05,
                )
                running = asyncio.create_task(
                    run(
                        config, lambda: self.lines, on_state, reporter.on_drift, self.wake, stop,
                        on_figures=reporter.on_figures, stood=self._stood,
                    )
                )  # fmt: skip
                try:
                    await act(self)
                finally:
                    stop.set()
                    await running
                    spool.close()

        with self.zone.gateway.inside():
            asyncio.run(both())


def stray(mark: int, device: str) -> None:
    """A packet with a line's mark that would leave by another device."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock, suppress(OSError):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, mark)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, device.encode())
        sock.sendto(b"x", (ABROAD[4], 53))


@pytest.mark.root
def test_metrics_move_with_packets_flows_and_repairs(zone: Zone, tmp_path: Path) -> None:
    one = replace(line_of(zone, 1, "iplc1"), probes=BOTH, valid_until=4_000_000_000)
    two = line_of(zone, 2, "iplc2")

    async def act(watched: Watched) -> None:
        dropped = "feiyu_line_killswitch_dropped_packets_total"
        found = await watched.until(
            lambda m: ("line-1", "probe") in m.get("feiyu_line_rtt_seconds", {}) and ("line-2",) in m.get(dropped, {}),
            "the first figures",
        )
        assert found["feiyu_line_state"] == {("line-1",): 1, ("line-2",): 1}
        assert found[dropped] == {("line-1",): 0, ("line-2",): 0}
        assert found["feiyu_line_loss_ratio"] == {("line-1",): 0}, "line-2 has no probes, so nothing is known of it"
        assert 0 < found["feiyu_line_rtt_seconds"]["line-1", "probe"] < 1
        assert ("line-1", "passive") not in found["feiyu_line_rtt_seconds"]
        wire, ways = "feiyu_line_wire_bytes_total", [("out", "line-1"), ("in", "line-1")]
        before = await watched.until(lambda m: all(m[wire].get(way, 0) > 100 for way in ways), "the probes' packets")
        found = await watched.until(lambda m: all(m[wire][way] > before[wire][way] for way in ways), "probes go on")
        assert found[wire]["in", "line-1"] < before[wire]["in", "line-1"] + 100_000
        assert found["feiyu_line_contract_remaining_seconds"]["line-1",] > 10_000 * 86_400
        assert ("line-2",) not in found["feiyu_line_contract_remaining_seconds"], "its contract has no end"
        assert found["feiyu_line_flows"] == {("line-1",): 0, ("line-2",): 0}

        for _ in range(3):
            stray(0x46000100, "wan0")
        await watched.until(lambda m: m[dropped]["line-1",] == 3, "three packets of line-1")
        stray(0x46007700, "wan0")  # a mark of ours that is no line's
        by_counter = "feiyu_killswitch_dropped_packets_total"
        await watched.until(lambda m: m[by_counter]["marked",] == 1, "one packet of no line")

        zone.run(*FLUSH_ROUTES)
        found = await watched.until(lambda m: m["feiyu_line_drift_repairs_total"]["line-1",] == 4, "four routes")
        assert found["feiyu_line_drift_repairs_total"]["line-2",] == 0
        zone.run(*NO_TABLE)  # its counters are gone with it
        await watched.until(lambda m: m["feiyu_drift_repairs_total"][()] == 5, "the table")
        stray(0x46000100, "wan0")
        found = await watched.until(lambda m: m[dropped]["line-1",] == 4, "the counter goes on over the new table")
        assert found["feiyu_line_drift_repairs_total"]["line-1",] == 4, "the table is of no line alone"

        worker = Figures(tmp_path / "figures", 2)
        worker.opened(2)
        worker.opened(2)
        worker.exhausted(2)
        worker.sampled(2, 30_000, 200, 2)
        worker.heard(2, "arxiv.org", 30_000, 2)
        found = await watched.until(lambda m: m["feiyu_line_flows"]["line-2",] == 2, "two flows")
        assert found["feiyu_ports_exhausted_total"]["line-2",] == 1
        await watched.until(lambda m: not m["feiyu_line_flows"]["line-1",], "and none on the other")
        worker.closed(2)
        await watched.until(lambda m: m["feiyu_line_flows"]["line-2",] == 1, "one flow")
        worker.close()

        zone.far_link("iplc2", "down")
        await watched.until(lambda m: m["feiyu_line_state"]["line-2",] == 0, "down")

    Watched(zone, tmp_path, [one, two]).go(act)


@pytest.mark.root
def test_flows_that_suffer_make_a_line_degraded_and_it_recovers(zone: Zone, tmp_path: Path) -> None:
    async def act(watched: Watched) -> None:
        await watched.until(lambda m: m.get("feiyu_line_state") == {("line-1",): 1}, "up")
        worker, round_ = Figures(tmp_path / "figures", 2), 0

        async def suffer(again: int, until: str) -> None:
            nonlocal round_
            async with asyncio.timeout(20):
                while watched.states[-1][1] != until:
                    round_ += 1
                    worker.new_period()
                    for number in range(20):
                        worker.sampled(1, 40_000, 100, again)
                        worker.heard(1, f"h{number}.example", 40_000, again)
                    await asyncio.sleep(0.05)

        await suffer(10, "degraded")
        assert "% of the segments are sent again" in watched.states[-1][2]
        found = await watched.until(lambda m: m["feiyu_line_state"]["line-1",] == 3, "degraded")
        assert found["feiyu_line_retransmit_ratio"]["line-1",] == pytest.approx(0.1, abs=0.01)
        assert found["feiyu_line_rtt_seconds"]["line-1", "passive"] == pytest.approx(0.04, rel=0.25)
        await suffer(0, "up")
        worker.close()
        assert [state for _, state, _ in watched.states] == ["up", "degraded", "up"]

    Watched(zone, tmp_path, [line_of(zone, 1, "iplc1")]).go(act)


STOOD: dict[str, tuple[dict[str, str], bool, list[str]]] = {
    "stood up and lives is up": ({"line-1": "up"}, True, ["up"]),
    "stood up and is dead is down": ({"line-1": "up"}, False, ["up", "down"]),
    "was dead and is dead is never up": ({"line-1": "down"}, False, ["down"]),
    "was dead and lives is up after answers": ({"line-1": "down"}, True, ["down", "up"]),
    "nobody knows and is dead is never up": ({}, False, ["down"]),
    "nobody knows and lives is up after one answer": ({}, True, ["down", "up"]),
}


@pytest.mark.root
@pytest.mark.parametrize("sentence", STOOD)
def test_after_a_restart_a_line_that(zone: Zone, tmp_path: Path, sentence: str) -> None:
    stood, lives, wanted = STOOD[sentence]
    if not lives:
        zone.wires["iplc1"].ns.ip([f"addr del {address} dev lo" for address in ABROAD.values()])

    async def act(watched: Watched) -> None:
        await watched.until(
            lambda m: (
                m.get("feiyu_line_loss_ratio", {}).get(("line-1",)) == (0 if lives else 1)
                and [state for _, state, _ in watched.states][-1] == wanted[-1]
            ),
            "rounds were asked",
        )

    watched = Watched(zone, tmp_path, [replace(line_of(zone, 1, "iplc1"), probes=BOTH)], stood)
    watched.go(act)
    states = [state for _, state, why in watched.states if why != "not yet looked at"]
    assert list(dict.fromkeys(states)) == wanted


@pytest.mark.root
def test_a_drained_line_drains_while_it_lives_and_is_down_when_it_does_not(zone: Zone, tmp_path: Path) -> None:
    line = line_of(zone, 1, "iplc1")

    async def act(watched: Watched) -> None:
        for change, number in (({"drained": True}, 2), ({"drained": False}, 1)):
            watched.lines = [replace(line, **change)]
            watched.wake.set()
            await watched.until(lambda m, n=number: m.get("feiyu_line_state") == {("line-1",): n}, str(change))
        watched.lines = [replace(line, drained=True)]
        watched.wake.set()
        await watched.until(lambda m: m["feiyu_line_state"]["line-1",] == 2, "draining")
        zone.far_link("iplc1", "down")
        await watched.until(lambda m: m["feiyu_line_state"]["line-1",] == 0, "down")

    watched = Watched(zone, tmp_path, [line])
    watched.go(act)
    assert [state for _, state, _ in watched.states][-4:] == ["draining", "up", "draining", "down"]


def test_every_counter_of_the_table_is_told() -> None:
    line = Line(id="hk1", index=1, device="l1", gateway4="192.0.2.1", source4="192.0.2.2")
    specs, _ = sort_out([line], NodeConfig())
    assert set(counters_of(specs)) == {"line_1", "line_1_dropped", *DROPS}

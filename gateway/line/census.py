"""Every PERIOD, the figures of each line: what its flows, its probes, the kernel's table and its contract say.

A figure that nobody knows is left out; none is ever 0 for want of knowledge. Names and units: telemetry.lines.
"""

import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from gateway.config import Health
from gateway.figures import PERIOD, LineFigures, read
from gateway.line.model import LineEntry
from gateway.line.passive import WINDOW, Passive
from gateway.line.probe import ProbeResult

OnFigures = Callable[[str, dict[str, int]], None]  # line, or "" for what belongs to none; value by name
DROPS = ("marked", "unmarked", "dropped", "forwarded", "line_input")  # counters of the nft table, beside the lines'
_DAY = 86_400


def devices_received(text: str) -> dict[str, tuple[int, int]]:
    """(packets, bytes) received by device, from /proc/net/dev (proc(5)): a name, a colon, bytes, packets and more."""
    rows = (row.rpartition(":") for row in text.splitlines()[2:])
    columns = ((name.strip(), numbers.split()) for name, _, numbers in rows)
    return {name: (int(found[1]), int(found[0])) for name, found in columns if len(found) > 1}


@dataclass(slots=True)
class Probes:
    """The rounds of the last minute, with the moments of their answers (monotonic seconds)."""

    rounds: deque[tuple[float, list[ProbeResult]]] = field(default_factory=deque)

    def take(self, results: list[ProbeResult], now: float) -> None:
        """One round."""
        self.rounds.append((now, results))

    def values(self, now: float) -> dict[str, int]:
        """The median round trip of those answered, and the lost part; nothing where none was sent."""
        while self.rounds and now - self.rounds[0][0] > WINDOW * PERIOD:
            self.rounds.popleft()
        results = [result for _, results in self.rounds for result in results]
        rtts = [result.rtt_us for result in results if result.ok]
        found = {"rtt_us": round(median(rtts))} if rtts else {}
        if results:
            found["loss_permille"] = 1000 * (len(results) - len(rtts)) // len(results)
        return found


@dataclass(frozen=True, slots=True)
class _Line:
    index: int
    ends: int  # Unix second, 0: never
    passive: Passive
    probes: Probes
    device: str


class Census:
    """path: of the workers' figures, None where there are none. on_figures: told of each line; heard: told what its
    flows complained of, as LineHealth.heard takes it."""

    def __init__(
        self, rules: Health, path: Path | None, on_figures: OnFigures, heard: Callable[[str, str | None], None]
    ) -> None:
        self._rules, self._path, self._on_figures, self._heard = rules, path, on_figures, heard
        self._lines: dict[str, _Line] = {}

    def want(self, entries: Iterable[LineEntry]) -> None:
        """The lines of a policy revision; what was learnt of those that stay is kept."""
        before, self._lines = self._lines, {}
        for entry in entries:
            if getattr(entry, "retired", False):
                continue
            known = before.get(entry.id)
            same = known is not None and known.index == entry.index
            passive = known.passive if known and same else Passive(self._rules)
            probes = known.probes if known and entry.probes else Probes()
            self._lines[entry.id] = _Line(entry.index, getattr(entry, "valid_until", 0), passive, probes, entry.device)
        for name in before.keys() - self._lines.keys():
            self._on_figures(name, {})

    def on_round(self, line: str, results: list[ProbeResult]) -> None:
        """The answers of one round of probes."""
        if (known := self._lines.get(line)) is not None:
            known.probes.take(results, time.monotonic())

    def take(self, counters: Mapping[str, tuple[int, int]], repairs: Mapping[str, int]) -> None:
        """Reads the workers' figures and tells all. counters: of the nft table, empty where it could not be read;
        repairs: since this process began, by line, "" for those of none. A file of figures that cannot be read leaves
        its part unknown."""
        readings: dict[int, LineFigures] | None = None
        if self._path is not None:
            try:
                readings = read(self._path, {line.index for line in self._lines.values()})
            except OSError:
                readings = None
        now, wall, arrived = time.monotonic(), time.time(), self._arrived()
        for name, line in list(self._lines.items()):
            values = {"repairs": repairs.get(name, 0), **line.probes.values(now)}
            if (dropped := counters.get(f"line_{line.index}_dropped")) is not None:
                values["dropped"] = dropped[0]
            if (passed := counters.get(f"line_{line.index}")) is not None:
                values["wire_out_packets"], values["wire_out"] = passed
            if (came := arrived.get(line.device)) is not None:
                values["wire_in_packets"], values["wire_in"] = came
            if line.ends:
                values["contract_days"] = max(0, int(line.ends - wall) // _DAY)
            if readings is not None:
                values |= self._of_flows(name, line.passive, readings.get(line.index, LineFigures()))
            self._on_figures(name, values)
        node = {counter: counters[counter][0] for counter in DROPS if counter in counters}
        self._on_figures("", {"repairs": repairs.get("", 0), **node})

    def _arrived(self) -> dict[str, tuple[int, int]]:
        """(packets, bytes) received by each device that leads to one line alone; nothing where that cannot be read."""
        try:
            received = devices_received(Path("/proc/self/net/dev").read_text())
        except OSError:
            return {}
        users = Counter(line.device for line in self._lines.values())
        return {device: received[device] for device in received if users[device] == 1}

    def _of_flows(self, name: str, passive: Passive, reading: LineFigures) -> dict[str, int]:
        self._heard(name, passive.take(reading))
        values = {"flows": reading.open, "exhausted": reading.exhausted}
        if (rtt := passive.rtt_us) is not None:
            values["passive_rtt_us"] = rtt
        if (ppm := passive.retransmits_ppm) is not None:
            values["retransmits_ppm"] = ppm
        return values

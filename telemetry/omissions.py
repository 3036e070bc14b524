"""What a Merkle log alone does not show: that something should be in it and is not. Pure.

A fold over a node's records in the log's order:
- each process numbers its records from 1 without a gap;
- a worker says something at least every ten seconds (its heartbeat) as long as it writes at all;
- each flow opens once and closes once;
- what flows moved over a line, as recorded, fits what the kernel counted on that line: never more than passed, and what
  passed without headers not much more than is recorded.
What it finds may have an honest cause (a host lost power), which then is in the log too, as a record of the recorder.
"""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field

from telemetry.lines import FIGURES
from telemetry.record import Kind, Record

SILENCE = 35_000_000  # µs; heartbeats come every 10 s
LAST = 75_000_000  # µs: a flow's bytes are recorded at least every 60 s
HEADERS = 120  # bytes of a packet that are no payload, at most: IPv6, TCP with options, an outer header, Ethernet
SLACK_BYTES, SLACK_PART = 1 << 20, 10  # bytes, and a tenth: segments sent again, names asked, probes
NAMED = 20  # findings of one kind in words; the others are counted

_OPEN, _PROGRESS, _CLOSE = Kind.OPEN.value, Kind.PROGRESS.value, Kind.CLOSE.value
_HEARTBEAT = Kind.HEARTBEAT.value


@dataclass(slots=True)
class Process:
    """A chain of numbers. time: of its last record, Unix µs; beats: it is one that gives signs of life."""

    last: int = 0
    time: int = 0
    beats: bool = False


@dataclass(slots=True)
class Wire:
    """A line: bytes recorded of its flows since the kernel's first reading, and the kernel's bytes and packets since
    then. recent: (time, bytes) of the last LAST µs; burst: the most that passed in so long a time, which flows may have
    recorded later than the kernel counted it; begun: how often the kernel's counters began anew, each with such a
    gap."""

    recorded: int = 0
    octets: int = 0
    packets: int = 0
    readings: dict[str, int] = field(default_factory=dict)
    both: bool = False  # the kernel counts both directions
    recent: deque[tuple[int, int]] = field(default_factory=deque)
    burst: int = 0
    begun: int = 1


@dataclass(slots=True)
class Flow:
    """An open flow's line and bytes as recorded so far."""

    line: str
    octets: int = 0


class Omissions:
    """take() all records of a log in their order, then look at what was found. whole: the log's first records are
    among them; else (they were deleted) a process may begin at any number, and a flow close that was not seen open."""

    def __init__(self, *, whole: bool = True) -> None:
        self._whole = whole
        self.found: dict[str, list[str]] = {}
        self.counts: dict[str, int] = {}
        self.lines: dict[str, Wire] = {}
        self.flows: dict[str, Flow] = {}
        self._processes: dict[str, Process] = {}

    def take(self, index: int, record: Record) -> None:
        """One record, at its place in the log."""
        self._number(index, record)
        kind = record.kind
        if kind == _OPEN:
            if record.flow in self.flows:
                self._say("flows", f"flow {record.flow} opens a second time at record {index}")
            self.flows[record.flow] = Flow(record.line)
        elif kind in (_PROGRESS, _CLOSE):
            self._move(index, record)
        elif kind == _HEARTBEAT and record.detail == FIGURES and record.line:
            self._read(record)

    def finish(self) -> None:
        """Compares the lines, once all was taken."""
        for name, wire in sorted(self.lines.items()):
            if not wire.both or not wire.packets:
                continue
            slack = SLACK_BYTES + wire.recorded // SLACK_PART + wire.burst * wire.begun
            payload = wire.octets - HEADERS * wire.packets
            if wire.recorded > wire.octets + slack:
                self._say("lines", f"line {name}: {wire.recorded} bytes are recorded, but {wire.octets} passed")
            elif payload > wire.recorded + slack:
                words = f"{payload} bytes passed that are no headers, but {wire.recorded} are recorded"
                self._say("lines", f"line {name}: at least {words}")

    def _number(self, index: int, record: Record) -> None:
        key = f"{record.worker} of boot {record.boot}"
        process = self._processes.get(key)
        if process is None:
            process = self._processes[key] = Process(0 if self._whole else record.seq - 1)
        if record.seq > process.last + 1:
            missing = record.seq - process.last - 1
            words = (
                f"{key}: {missing} records, {process.last + 1} to {record.seq - 1}, are missing before record {index}"
            )
            self._say("sequence", words)
        elif record.seq <= process.last:
            self._say("sequence", f"{key}: number {record.seq} comes after {process.last} at record {index}")
        if process.beats and record.time - process.time > SILENCE:
            seconds = (record.time - process.time) // 1_000_000
            self._say("heartbeat", f"{key} gave no sign of life for {seconds} s before record {index}")
        process.beats = process.beats or (record.kind == _HEARTBEAT and record.detail != FIGURES)
        process.last, process.time = max(process.last, record.seq), record.time

    def _move(self, index: int, record: Record) -> None:
        flow = self.flows.get(record.flow)
        if flow is None:
            if record.kind == _CLOSE and self._whole:
                self._say("flows", f"flow {record.flow} closes at record {index} without having opened")
            return
        octets = record.bytes_out + record.bytes_in
        name = record.line or flow.line
        if (wire := self.lines.get(name)) is not None:
            wire.recorded += max(0, octets - flow.octets)
        flow.octets = max(flow.octets, octets)
        if record.kind == _CLOSE:
            del self.flows[record.flow]

    def _read(self, record: Record) -> None:
        """Kernel counters: they begin anew with a boot or a new table, and then go back."""
        values = record.values or {}
        names = ("wire_out", "wire_in", "wire_out_packets", "wire_in_packets")
        if not any(name in values for name in names):
            return
        wire = self.lines.setdefault(record.line, Wire())
        wire.both = wire.both or all(name in values for name in names)
        for name in names:
            if name not in values:
                continue
            before = wire.readings.get(name, values[name])
            more = values[name] - before if values[name] >= before else values[name]
            wire.begun += values[name] < before and name == "wire_out"
            wire.readings[name] = values[name]
            if name.endswith("packets"):
                wire.packets += more
            else:
                wire.octets += more
        wire.recent.append((record.time, wire.octets))
        while wire.recent[0][0] < record.time - LAST:
            wire.recent.popleft()
        wire.burst = max(wire.burst, wire.octets - wire.recent[0][1])

    def _say(self, kind: str, words: str) -> None:
        self.counts[kind] = self.counts.get(kind, 0) + 1
        found = self.found.setdefault(kind, [])
        if len(found) < NAMED:
            found.append(words)


def look(records: Iterable[tuple[int, Record]]) -> Omissions:
    """All of a log at once."""
    omissions = Omissions()
    for index, record in records:
        omissions.take(index, record)
    omissions.finish()
    return omissions

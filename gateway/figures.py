"""What the workers see of each line: connections tried and failed, open flows, round-trip time and retransmits.

A line is judged by its services, not by its flows: in each PERIOD one flow to each host has a voice, in each worker, so
that a thousand connections of one firm to one slow site weigh as much as one.

One file of unsigned 64-bit cells (gateway.columns): a column per worker process, a row per line index (0…255). All
cells but `open` only ever grow, also over a killed worker: whoever takes its column next counts on. What a killed
worker had open is cleared by the next one that looks.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from gateway.columns import Columns, read_cells

LINES = 256
PERIOD = 15  # seconds in which a host is heard once
BUCKETS = 32  # of round-trip times, two to each doubling
MAX_HOSTS = 4096  # heard in a period
_SUMS = 9
_CELLS = _SUMS + BUCKETS  # of a row
_DIALLED, _FAILED, _OPEN, _SAMPLES, _RTT, _SEGMENTS, _RETRANSMITS, _EXHAUSTED, _LOSING = range(_SUMS)
_FIRST_BITS = 8  # of a time in µs in the first two buckets: they begin with 128 µs, the last ends with 8.4 s


def bucket_of(rtt_us: int) -> int:
    """Where a round-trip time counts."""
    bits = rtt_us.bit_length()
    half = rtt_us >> max(0, bits - 2) & 1
    return min(max(0, 2 * (bits - _FIRST_BITS) + half), BUCKETS - 1)


def bucket_start(bucket: int) -> int:
    """The least round-trip time in a bucket, µs; of the one behind the last, its end."""
    whole, half = divmod(bucket, 2)
    return (2 + half) << (_FIRST_BITS + whole - 2)


@dataclass(frozen=True, slots=True)
class LineFigures:
    """Sums over all workers, since the file was made. dialled: connections begun; failed: of them, those that were not
    answered or answered with an error of the way; open: flows at this moment; samples: readings of TCP_INFO, rtt_us_sum
    the smoothed round-trip times in them (µs); segments: sent towards the line in the flows that were read, retransmits
    of them sent again; exhausted: connections for which no port was free; losing: voices of flows that sent segments
    again since they were read before; voices: by round-trip time (bucket_of), one of each host, worker and period."""

    dialled: int = 0
    failed: int = 0
    open: int = 0
    samples: int = 0
    rtt_us_sum: int = 0
    segments: int = 0
    retransmits: int = 0
    exhausted: int = 0
    losing: int = 0
    voices: tuple[int, ...] = (0,) * BUCKETS

    def since(self, before: "LineFigures") -> "LineFigures":
        """What was added since an earlier reading; open is as it is now. Where the file was made anew in between, all
        of it."""
        now, then = self._sums(), before._sums()
        if any(a < b for a, b in zip(now, then, strict=True)):
            return self
        sums = [a - b for a, b in zip(now, then, strict=True)]
        return _figures(sums, self.open)

    def _sums(self) -> tuple[int, ...]:
        """Everything that only grows."""
        return (
            self.dialled, self.failed, self.samples, self.rtt_us_sum, self.segments, self.retransmits, self.exhausted,
            self.losing, *self.voices,
        )  # fmt: skip


def _figures(sums: list[int], open_: int) -> LineFigures:
    """Of what only grows, in the order of LineFigures without open."""
    dialled, failed, samples, rtt, segments, retransmits, exhausted, losing, *voices = sums
    return LineFigures(dialled, failed, open_, samples, rtt, segments, retransmits, exhausted, losing, tuple(voices))


class Figures(Columns):
    """One worker's view of the figures; index: of a line, 0 to 255. Nothing here makes a system call."""

    COLUMN_CELLS = LINES * _CELLS

    def __init__(self, path: Path, columns: int) -> None:
        self._hosts: set[tuple[int, str]] = set()
        super().__init__(path, columns)

    def dialled(self, index: int) -> None:
        """A connection was begun."""
        self.cells[self.own + index * _CELLS + _DIALLED] += 1

    def failed(self, index: int) -> None:
        """A connection that was begun got no answer, or one that says there is no way."""
        self.cells[self.own + index * _CELLS + _FAILED] += 1

    def opened(self, index: int) -> None:
        """A flow was opened."""
        self.cells[self.own + index * _CELLS + _OPEN] += 1

    def closed(self, index: int) -> None:
        """A flow that was opened is over."""
        self.cells[self.own + index * _CELLS + _OPEN] -= 1

    def sampled(self, index: int, rtt_us: int, segments_out: int, retransmits: int) -> None:
        """A reading of a flow's TCP_INFO: its round-trip time now (µs), and the segments sent and sent again since the
        reading before."""
        cells, row = self.cells, self.own + index * _CELLS
        cells[row + _SAMPLES] += 1
        cells[row + _RTT] += rtt_us
        cells[row + _SEGMENTS] += segments_out
        cells[row + _RETRANSMITS] += retransmits

    def heard(self, index: int, host: str, rtt_us: int, retransmits: int) -> None:
        """A flow's voice: its round-trip time, and the segments sent again since it was read before. It counts if it is
        the host's first in this period."""
        voice = (index, host)
        if voice in self._hosts or len(self._hosts) >= MAX_HOSTS:
            return
        self._hosts.add(voice)
        row = self.own + index * _CELLS
        self.cells[row + _SUMS + bucket_of(rtt_us)] += 1
        if retransmits:
            self.cells[row + _LOSING] += 1

    def new_period(self) -> None:
        """Every host may be heard again. Call once in a PERIOD."""
        self._hosts.clear()

    def exhausted(self, index: int) -> None:
        """No port of a source was free towards a destination."""
        self.cells[self.own + index * _CELLS + _EXHAUSTED] += 1

    def left(self, start: int) -> None:
        """The flows of a worker that ended are over; what it counted stays."""
        for row in range(start, start + self.COLUMN_CELLS, _CELLS):
            if self.cells[row + _OPEN]:
                self.cells[row + _OPEN] = 0


def read(path: Path, lines: Iterable[int] = range(LINES)) -> dict[int, LineFigures]:
    """The figures by line index, of those lines that have any; none where no worker has run yet. Not for a worker (see
    Columns). Raises OSError."""
    columns = read_cells(path, Figures.COLUMN_CELLS)
    found = {}
    for index in lines:
        row = slice(index * _CELLS, (index + 1) * _CELLS)
        sums = [sum(cells) for cells in zip(*(column[row] for column in columns), strict=True)]
        if any(sums):
            open_ = sums.pop(_OPEN)
            found[index] = _figures(sums, open_)
    return found

"""What the workers see of each line: connections tried and failed, open flows, round-trip time and retransmits.

One file of unsigned 64-bit cells (gateway.columns): a column per worker process, a row per line index (0…255). All
cells but `open` only ever grow, also over a killed worker: whoever takes its column next counts on. What a killed
worker had open is cleared by the next one that looks.
"""

from dataclasses import dataclass
from pathlib import Path

from gateway.columns import Columns, read_cells

LINES = 256
_CELLS = 8  # of a row
_DIALLED, _FAILED, _OPEN, _SAMPLES, _RTT, _SEGMENTS, _RETRANSMITS, _EXHAUSTED = range(_CELLS)


@dataclass(frozen=True, slots=True)
class LineFigures:
    """Sums over all workers, since the file was made. dialled: connections begun; failed: of them, those that were not
    answered or answered with an error of the way; open: flows at this moment; samples: readings of TCP_INFO, rtt_us_sum
    the smoothed round-trip times in them (µs); segments: sent towards the line in the flows that were read, retransmits
    of them sent again; exhausted: connections for which no port was free."""

    dialled: int = 0
    failed: int = 0
    open: int = 0
    samples: int = 0
    rtt_us_sum: int = 0
    segments: int = 0
    retransmits: int = 0
    exhausted: int = 0


class Figures(Columns):
    """One worker's view of the figures; index: of a line, 0 to 255. Nothing here makes a system call."""

    COLUMN_CELLS = LINES * _CELLS

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

    def exhausted(self, index: int) -> None:
        """No port of a source was free towards a destination."""
        self.cells[self.own + index * _CELLS + _EXHAUSTED] += 1

    def left(self, start: int) -> None:
        """The flows of a worker that ended are over; what it counted stays."""
        for row in range(start, start + self.COLUMN_CELLS, _CELLS):
            if self.cells[row + _OPEN]:
                self.cells[row + _OPEN] = 0


def read(path: Path) -> dict[int, LineFigures]:
    """The figures by line index, of the lines that have any; none where no worker has run yet. Not for a worker (see
    Columns). Raises OSError."""
    columns = read_cells(path, Figures.COLUMN_CELLS)
    found = {}
    for index in range(LINES):
        row = slice(index * _CELLS, (index + 1) * _CELLS)
        sums = [sum(cells) for cells in zip(*(column[row] for column in columns), strict=True)]
        if any(sums):
            found[index] = LineFigures(*sums)
    return found

"""Tunnels per tenant, counted across workers in one shared file without locks or system calls on the hot path.

A cell (gateway.columns: a column per worker process, a row per tenant slot) holds how many tunnels a worker has open.
What a killed worker had is cleared by the next one that looks.
"""

from pathlib import Path

from gateway.columns import Columns

ROWS = 65_536


class Shares(Columns):
    """One worker's view of the counters."""

    COLUMN_CELLS = ROWS

    def __init__(self, path: Path, columns: int) -> None:
        super().__init__(path, columns)
        self.survey()  # at once: those who died must not count against anybody's first tunnel

    def take(self, slot: int, limit: int) -> bool:
        """Counts one more tunnel of this tenant slot. False, and nothing counted, when that would exceed the limit.
        Two workers that race at the limit may both refuse, but never both admit."""
        if not 0 <= slot < ROWS:
            return False
        cells, at = self.cells, self.own + slot
        cells[at] += 1
        total = 0
        for start in self.starts:
            total += cells[start + slot]
        if total > limit:
            cells[at] -= 1
            return False
        return True

    def give(self, slot: int) -> None:
        """Counts one tunnel less."""
        self.cells[self.own + slot] -= 1

    def left(self, start: int) -> None:
        """The tunnels of a worker that ended are over."""
        self.clear(start)

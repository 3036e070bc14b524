"""New tunnels per second and tenant, counted across workers in one shared file without locks or system calls.

A cell (gateway.columns: a column per worker process, a row per tenant slot) holds the second and how many began in it.
Seconds are monotonic ones, which every process of the machine has alike and nobody can set back.
"""

from gateway.columns import Columns
from gateway.shares import ROWS

_COUNT_BITS = 32
_COUNT_MASK = (1 << _COUNT_BITS) - 1


class Attempts(Columns):
    """One worker's view of the counters."""

    COLUMN_CELLS = ROWS

    def take(self, slot: int, limit: int, now: float) -> bool:
        """Counts one new tunnel of this tenant slot in the second of now (monotonic). False, and nothing counted, when
        that would exceed the limit; it is free again with the next second. A worker whose turn began before the second
        that another counts in counts in that one too. Two workers that race at the limit may both refuse, but never
        both admit."""
        if not 0 <= slot < ROWS:
            return False
        cells, at = self.cells, self.own + slot
        second = max(int(now), *(cells[start + slot] >> _COUNT_BITS for start in self.starts))
        mine = cells[at]
        if mine >> _COUNT_BITS != second:
            mine = second << _COUNT_BITS
        cells[at] = mine + 1
        total = 0
        for start in self.starts:
            cell = cells[start + slot]
            if cell >> _COUNT_BITS >= second:  # a later one has begun meanwhile: it counts against this one too
                total += cell & _COUNT_MASK
        if total > limit:
            cells[at] = mine
            return False
        return True

    def left(self, start: int) -> None:
        """What a worker counted that ended still counts in its second, and in no other."""

"""New tunnels per second and tenant, counted across workers in one shared file without locks or system calls.

A bucket that holds as many tunnels as may begin in a second and fills at that rate, as the generic cell rate algorithm
(ITU-T I.371 annex A, virtual scheduling): a cell (gateway.columns: a column per worker process, a row per tenant slot)
holds the time at which the bucket is full again, as the worker left it; the latest of all columns is the one that
counts. So in any d seconds, wherever they begin, no more than rate × (1 + d) tunnels do. Times are monotonic
nanoseconds, which every process of the machine has alike and nobody can set back.
"""

from gateway.columns import Columns
from gateway.shares import ROWS

_SECOND = 1_000_000_000


class Attempts(Columns):
    """One worker's view of the counters."""

    COLUMN_CELLS = ROWS

    def take(self, slot: int, rate: int, now: float) -> float:
        """Counts one new tunnel of this tenant slot: 0, or in how many seconds the bucket holds one again, and nothing
        counted. rate: tunnels per second, at least 1; now: monotonic seconds.

        Two workers that race may both count one too many, never both the same: a worker is content only when, after it
        wrote, no other column has passed what it started from. So of two that are content, the one that wrote last had
        seen what the other wrote.
        """
        if not 0 <= slot < ROWS:
            return 1.0
        cells, own = self.cells, self.own
        clock, each = int(now * _SECOND), _SECOND // rate
        while True:
            full = max([cells[start + slot] for start in self.starts])
            after = max(full, clock) + each
            wait = after - clock - _SECOND
            if wait > 0:
                return wait / _SECOND
            cells[own + slot] = after
            for start in self.starts:
                if cells[start + slot] > full and start != own:
                    break
            else:
                return 0.0

    def left(self, start: int) -> None:
        """What a worker let through that ended still counts."""

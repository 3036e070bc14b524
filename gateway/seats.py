"""Tunnels per user of a firm, counted across workers in one shared file without locks or system calls.

A user is known by its pseudonym, of which there are any number: a cell (gateway.columns: a column per worker process)
holds part of a digest of whose it is, and how many tunnels the worker has open for it. It stands at a place that the
digest says, or where that is somebody else's at one of the next few. Where all of those are taken, in a file with
65,536 of them, the tunnel is not counted: this limit keeps one user from what is its firm's, whose own limit holds.
"""

import hashlib
from pathlib import Path

from gateway.columns import Columns

ROWS = 65_536
PROBES = 8
COUNT_BITS = 20
_COUNT = (1 << COUNT_BITS) - 1
MAX_KNOWN = 12_288


class Seats(Columns):
    """One worker's view of the counters."""

    COLUMN_CELLS = ROWS + PROBES

    def __init__(self, path: Path, columns: int) -> None:
        super().__init__(path, columns)
        self._known: dict[tuple[str, str], tuple[int, int]] = {}
        self.survey()  # at once: those who died must not count against anybody's first tunnel

    def take(self, tenant: str, user: str, limit: int) -> int | None:
        """Counts one more tunnel of this user: the cell to give back, or -1 where there was none to count in. None, and
        nothing counted, when it would exceed the limit (at most a million). As for firms (gateway.shares), two workers
        that race at the limit may both refuse, but never both admit."""
        home, mark = self._known.get((tenant, user)) or self._place(tenant, user)
        cells, seat = self.cells, self.own + home
        cell = cells[seat]
        if cell & ~_COUNT != mark:
            seat = self._seat(seat, mark)
            if seat < 0:
                return -1
            cell = cells[seat]
        cells[seat] = (cell & _COUNT) + 1 | mark
        total = 0
        for start in self.starts:
            cell = cells[start + home]
            if cell & ~_COUNT == mark:
                total += cell & _COUNT
            elif cell:  # else nobody ever sat here, so nobody had to go on to the next
                total += self._further(start + home, mark)
        if total > limit:
            cells[seat] -= 1
            return None
        return seat

    def give(self, seat: int) -> None:
        """Counts one tunnel less."""
        self.cells[seat] -= 1

    def left(self, start: int) -> None:
        """The tunnels of a worker that ended are over."""
        self.clear(start)

    def _further(self, home: int, mark: int) -> int:
        """How many a worker counts of a user that is not at its first place."""
        for at in range(home + 1, home + PROBES):
            cell = self.cells[at]
            if cell & ~_COUNT == mark:
                return cell & _COUNT
            if not cell:
                break
        return 0

    def _seat(self, home: int, mark: int) -> int:
        """Where this worker counts the user: a cell with its mark, else the first that nobody sits in, or -1."""
        cells, free = self.cells, -1
        for at in range(home, home + PROBES):
            cell = cells[at]
            if cell & ~_COUNT == mark:
                return at
            if not cell & _COUNT and free < 0:
                free = at
            if not cell:
                break
        return free

    def _place(self, tenant: str, user: str) -> tuple[int, int]:
        digest = int.from_bytes(hashlib.blake2b(f"{tenant}\0{user}".encode(), digest_size=8).digest())
        mark = (digest & ~_COUNT) or 1 << COUNT_BITS  # never that of an empty cell
        place = digest % ROWS, mark
        if len(self._known) >= MAX_KNOWN:
            self._known.clear()
        self._known[tenant, user] = place
        return place

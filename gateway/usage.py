"""Bytes per tenant, day and month, counted across workers and kept over restarts, in one shared file without locks.

A row (gateway.columns: a column per worker process, a row per tenant slot) holds a day and the bytes in it, a month and
the bytes in it. The file lies in the state directory; a worker writes its own column only, and what it wrote outlives
it, however it ends: whoever takes the column next counts on. The kernel writes the file to disk (within about half a
minute); only a crash of the whole machine can lose what came after.

Bytes of live flows are counted every few seconds (gateway.worker.LOOK) and at their end. So a tenant can have more than
its quota by what its flows carry between two looks, 5 s, and by no more: from then on none is admitted.

Days and months are the zone's (UTC+8, no summer time). A clock that is set back resets nothing: while any column has a
later day than the clock, that day is the one that counts, until the clock is past it.
"""

import datetime
from dataclasses import dataclass
from pathlib import Path

from gateway.columns import Columns, read_cells
from gateway.shares import ROWS

ZONE = 8 * 3600  # seconds before UTC
DAY = 86_400
_CELLS = 4  # of a row
_DAY, _DAY_BYTES, _MONTH, _MONTH_BYTES = range(_CELLS)
_EPOCH = datetime.date(1970, 1, 1)


def day_of(wall: float) -> int:
    """The zone's day of a Unix second, in days since 1970-01-01."""
    return (int(wall) + ZONE) // DAY


def month_of(day: int) -> int:
    """The month of a day, in months since year 0."""
    date = _EPOCH + datetime.timedelta(days=day)
    return date.year * 12 + date.month - 1


def day_end(day: int) -> int:
    """The Unix second at which a day of the zone is over."""
    return (day + 1) * DAY - ZONE


def month_end(month: int) -> int:
    """The Unix second at which a month of the zone is over."""
    year, number = divmod(month + 1, 12)
    return (datetime.date(year, number + 1, 1) - _EPOCH).days * DAY - ZONE


def zone_time(wall: float) -> str:
    """A Unix second as the zone's clocks show it, RFC 3339."""
    zone = datetime.timezone(datetime.timedelta(seconds=ZONE))
    return datetime.datetime.fromtimestamp(int(wall), zone).isoformat()


@dataclass(frozen=True, slots=True)
class Used:
    """Bytes of one tenant in the period that counts, both directions, and the Unix seconds at which it is over."""

    day: int
    day_end: int
    month: int
    month_end: int

    def exhausted(self, per_day: int, per_month: int) -> tuple[str, int] | None:
        """Which quota (0: none) is used up, in words, and the Unix second at which all that are have bytes again."""
        spent = []
        if per_day and self.day >= per_day:
            spent.append((f"{per_day} bytes of the day", self.day_end))
        if per_month and self.month >= per_month:
            spent.append((f"{per_month} bytes of the month", self.month_end))
        if not spent:
            return None
        return " and ".join(words for words, _ in spent), max(end for _, end in spent)


class Usage(Columns):
    """One worker's view of the counters."""

    COLUMN_CELLS = ROWS * _CELLS

    def __init__(self, path: Path, columns: int) -> None:
        self._today = self._month = -1
        super().__init__(path, columns)

    def add(self, slot: int, count: int, wall: float) -> None:
        """Counts bytes of this tenant slot. wall: Unix seconds."""
        if not 0 <= slot < ROWS or count <= 0:
            return
        today = day_of(wall)
        if today != self._today:
            self._today, self._month = today, month_of(today)
        row = self.own + slot * _CELLS
        self._count(row + _DAY, today, count)
        self._count(row + _MONTH, self._month, count)

    def _count(self, at: int, period: int, count: int) -> None:
        cells, offset = self.cells, at - self.own
        for start in self.starts:  # a later one anywhere counts everywhere
            period = max(period, cells[start + offset])
        if cells[at] != period:
            # In this order, so that one killed in between leaves no bytes of the old period in the new one.
            cells[at + 1] = 0
            cells[at] = period
        cells[at + 1] += count

    def used(self, slot: int, wall: float) -> Used:
        """What all workers have counted of this tenant slot."""
        return _sum(self.cells, self.starts, slot, wall)

    def left(self, start: int) -> None:
        """What a worker counted that ended stays."""


def read(path: Path, slot: int, wall: float) -> Used:
    """What all workers have counted, for a process that is no worker (see Columns). Raises OSError."""
    columns = read_cells(path, Usage.COLUMN_CELLS)
    row = slot * _CELLS
    cells = memoryview(b"".join(column[row : row + _CELLS].tobytes() for column in columns)).cast("Q")
    return _sum(cells, tuple(range(0, len(cells), _CELLS)), 0, wall)


def _sum(cells: memoryview, starts: tuple[int, ...], slot: int, wall: float) -> Used:
    row = slot * _CELLS
    day = max((cells[start + row + _DAY] for start in starts), default=0)
    day = max(day, day_of(wall))
    month = max((cells[start + row + _MONTH] for start in starts), default=0)
    month = max(month, month_of(day))
    return Used(
        sum(cells[start + row + _DAY_BYTES] for start in starts if cells[start + row + _DAY] == day),
        day_end(day),
        sum(cells[start + row + _MONTH_BYTES] for start in starts if cells[start + row + _MONTH] == month),
        month_end(month),
    )

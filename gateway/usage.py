"""Bytes per tenant, day and month, counted across workers and kept over restarts, in one shared file without locks.

A row (gateway.columns: a column per worker process, a row per tenant slot) holds a day and the bytes in it, a month and
the bytes in it. The file lies in the state directory; a worker writes its own column only, and what it wrote outlives
it, however it ends: whoever takes the column next counts on. The kernel writes the file to disk (within about half a
minute); only a crash of the whole machine can lose what came after.

Bytes belong to the tenant, not to its slot: beside day and month stands whose they are. The register gives each slot
once, so a tenant that is suspended and comes back finds its bytes; but a register that is begun anew or put back from
an older copy gives slots again, and then the next tenant in a slot begins at nothing.

Bytes of live flows are counted every few seconds (gateway.look.LOOK) and at their end. So a tenant can have more than
its quota by what its flows carry between two looks, 5 s, and by no more: from then on none is admitted.

Days and months are the zone's (UTC+8, no summer time). A clock that is set back resets nothing: while any column has a
later day than the clock, that day is the one that counts, until the clock is past it.
"""

import datetime
from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b
from pathlib import Path

from gateway import usage_damage
from gateway.clock import ZONE
from gateway.columns import HEAD, Columns, read_cells
from gateway.shares import ROWS

DAY = 86_400
_CELLS = 4  # of a row
_DAY, _DAY_BYTES, _MONTH, _MONTH_BYTES = range(_CELLS)
_PERIOD_BITS = 24  # of a cell with a day or a month; above them stands whose bytes follow
_LAST_PERIOD = (1 << _PERIOD_BITS) - 1
_EPOCH = datetime.date(1970, 1, 1)


@lru_cache(ROWS)
def _owner(tenant: str) -> int:
    """A tenant in the upper bits of a cell."""
    return int.from_bytes(blake2b(tenant.encode(), digest_size=5).digest()) << _PERIOD_BITS


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


@dataclass(frozen=True, slots=True)
class Used:
    """Bytes of one tenant in the period that counts, both directions, and the Unix seconds at which it is over.
    unknown_day, unknown_month: they may be more, for the file was damaged in it (gateway.usage_damage)."""

    day: int
    day_end: int
    month: int
    month_end: int
    unknown_day: bool = False
    unknown_month: bool = False

    def exhausted(self, per_day: int, per_month: int) -> tuple[str, int] | None:
        """Which quota (0: none) is used up, in words, and the Unix second at which all that are have bytes again."""
        spent = []
        if per_day and (self.unknown_day or self.day >= per_day):
            how = "unknown (its file was damaged), so all " if self.unknown_day else ""
            spent.append((f"{how}{per_day} bytes of the day", self.day_end))
        if per_month and (self.unknown_month or self.month >= per_month):
            how = "unknown (its file was damaged), so all " if self.unknown_month else ""
            spent.append((f"{how}{per_month} bytes of the month", self.month_end))
        if not spent:
            return None
        return " and ".join(words for words, _ in spent), max(end for _, end in spent)


class Usage(Columns):
    """One worker's view of the counters."""

    COLUMN_CELLS = ROWS * _CELLS

    def __init__(self, path: Path, columns: int) -> None:
        self._today = self._month = -1
        self._path = path
        usage_damage.prepare(path, HEAD, self.COLUMN_CELLS * 8, columns)
        super().__init__(path, columns)
        self.damaged_at = usage_damage.noted(path)

    def survey(self) -> None:
        """As in Columns; a note on damage may have been taken away."""
        super().survey()
        self.damaged_at = usage_damage.noted(self._path)

    def add(self, slot: int, tenant: str, count: int, wall: float) -> None:
        """Counts bytes of this tenant, which has this slot. wall: Unix seconds."""
        if not 0 <= slot < ROWS or count <= 0:
            return
        today = day_of(wall)
        if today != self._today:
            self._today, self._month = today, month_of(today)
        row, owner = self.own + slot * _CELLS, _owner(tenant)
        self._count(row + _DAY, owner | today, count)
        self._count(row + _MONTH, owner | self._month, count)

    def _count(self, at: int, period: int, count: int) -> None:
        cells = self.cells
        period = _latest(cells, self.starts, at - self.own, period)  # a later one anywhere counts everywhere
        if cells[at] != period:
            # In this order, so that one killed in between leaves no bytes of the old period, or tenant, in the new one.
            cells[at + 1] = 0
            cells[at] = period
        cells[at + 1] += count

    def used(self, slot: int, tenant: str, wall: float) -> Used:
        """What all workers have counted of this tenant, which has this slot."""
        return _sum(self.cells, self.starts, slot, tenant, wall, self.damaged_at)

    def left(self, start: int) -> None:
        """What a worker counted that ended stays."""


def read(path: Path, slot: int, tenant: str, wall: float) -> Used:
    """What all workers have counted, for a process that is no worker (see Columns). Raises OSError."""
    columns = read_cells(path, Usage.COLUMN_CELLS)
    row = slot * _CELLS
    cells = memoryview(b"".join(column[row : row + _CELLS].tobytes() for column in columns)).cast("Q")
    return _sum(cells, tuple(range(0, len(cells), _CELLS)), 0, tenant, wall, usage_damage.noted(path))


def _sum(
    cells: memoryview, starts: tuple[int, ...], slot: int, tenant: str, wall: float, damaged_at: float = 0.0
) -> Used:
    row, owner = slot * _CELLS, _owner(tenant)
    day = _latest(cells, starts, row + _DAY, owner | day_of(wall))
    month = _latest(cells, starts, row + _MONTH, owner | month_of(day & _LAST_PERIOD))
    return Used(
        sum(cells[start + row + _DAY_BYTES] for start in starts if cells[start + row + _DAY] == day),
        day_end(day & _LAST_PERIOD),
        sum(cells[start + row + _MONTH_BYTES] for start in starts if cells[start + row + _MONTH] == month),
        month_end(month & _LAST_PERIOD),
        bool(damaged_at) and day_of(damaged_at) >= day & _LAST_PERIOD,
        bool(damaged_at) and month_of(day_of(damaged_at)) >= month & _LAST_PERIOD,
    )


def _latest(cells: memoryview, starts: tuple[int, ...], offset: int, period: int) -> int:
    """The latest period of this tenant in any column, at least the one given; both with the tenant in it."""
    last = period | _LAST_PERIOD
    for start in starts:
        cell = cells[start + offset]
        if period < cell <= last:
            period = cell
    return period

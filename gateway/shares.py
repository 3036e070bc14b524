"""Tunnels per tenant, counted across workers in one shared file without locks on the hot path.

The file is a page of flags and then columns of unsigned 32-bit counters: one column per worker process, one row per
tenant slot. A worker writes only its own column and reads the sum of a row. A column belongs to whoever holds the lock
on its byte (fcntl record lock), so a killed worker's column is known as such and is cleared by the next one that looks.
"""

import fcntl
import mmap
import os
from pathlib import Path

ROWS = 65_536
_HEAD = 4096
_COLUMN_BYTES = ROWS * 4


class SharesError(Exception):
    """The shared counters cannot be used; says why and what to do."""


class Shares:
    """This worker's view of the counters. columns: the same in all workers, twice their number, so that a replacement
    finds one while its predecessor drains."""

    def __init__(self, path: Path, columns: int) -> None:
        size = _HEAD + columns * _COLUMN_BYTES
        self._columns = columns
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o660)
        if os.fstat(self._fd).st_size < size:
            os.ftruncate(self._fd, size)  # sparse: only rows in use take memory
        self._map = mmap.mmap(self._fd, size)
        self._cells = memoryview(self._map)[_HEAD:].cast("I")
        self._column = -1
        self._column = self._claim()
        self._others = [column * ROWS for column in range(columns) if column != self._column]
        self.survey()

    def _claim(self) -> int:
        for column in range(self._columns):
            if self._lock(column):
                self._clear(column)
                self._map[column] = 1
                return column
        os.close(self._fd)
        raise SharesError(f"all {self._columns} columns of the shared tunnel counters are in use: too many workers run")

    def _lock(self, column: int) -> bool:
        try:
            fcntl.lockf(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, column)
        except OSError:
            return False
        return True

    def _clear(self, column: int) -> None:
        if self._map[column]:
            at = _HEAD + column * _COLUMN_BYTES
            self._map[at : at + _COLUMN_BYTES] = bytes(_COLUMN_BYTES)
            self._map[column] = 0

    def survey(self) -> None:
        """Clears the columns of workers that died. Call about once a second."""
        for column in range(self._columns):
            if column != self._column and self._map[column] and self._lock(column):
                self._clear(column)
                fcntl.lockf(self._fd, fcntl.LOCK_UN, 1, column)

    def take(self, slot: int, limit: int) -> bool:
        """Counts one more tunnel of this tenant slot. False, and nothing counted, when that would exceed the limit.
        Two workers that race at the limit may both refuse, but never both admit."""
        if not 0 <= slot < ROWS:
            return False
        cells = self._cells
        at = self._column * ROWS + slot
        total = cells[at] = cells[at] + 1
        for base in self._others:
            total += cells[base + slot]
        if total > limit:
            cells[at] -= 1
            return False
        return True

    def give(self, slot: int) -> None:
        """Counts one tunnel less."""
        self._cells[self._column * ROWS + slot] -= 1

    def close(self) -> None:
        """Leaves the column empty and free."""
        self._clear(self._column)
        self._cells.release()
        self._map.close()
        os.close(self._fd)

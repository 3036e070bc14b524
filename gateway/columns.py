"""A file of counters that all workers share without locks on the hot path: a page of flags, then one column each.

A worker writes only its own column and reads all. A column belongs to whoever holds the lock on its byte (fcntl record
lock), so a killed worker's column is known as such and is put in order by the next one that looks.
"""

import fcntl
import mmap
import os
from pathlib import Path

HEAD = 4096  # bytes before the columns


class SharesError(Exception):
    """The shared counters cannot be used; says why and what to do."""


class Columns:
    """One process's view of the file. columns: the same in all workers, twice their number, so that a replacement finds
    one while its predecessor drains; a file that has more keeps them. cells: all columns one after the other; own: the
    first cell of the column that is ours; starts: the first cells of all.

    A process must not open the file a second time: closing that descriptor would let go of its lock (fcntl(2)).
    """

    COLUMN_CELLS = 0  # unsigned 64-bit cells in a column

    cells: memoryview

    def __init__(self, path: Path, columns: int) -> None:
        self._column_bytes = self.COLUMN_CELLS * 8
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o660)
        self._map: mmap.mmap | None = None
        try:
            size = HEAD + columns * self._column_bytes
            if os.fstat(self._fd).st_size < size:
                os.ftruncate(self._fd, size)  # sparse: only rows in use take memory
            self._open_map()
            self.own = self._claim(columns) * self.COLUMN_CELLS
        except BaseException:
            self._close_map()
            os.close(self._fd)
            raise

    def _open_map(self) -> None:
        """Maps the file as long as it is now."""
        self._columns = (os.fstat(self._fd).st_size - HEAD) // self._column_bytes
        self._map = mmap.mmap(self._fd, HEAD + self._columns * self._column_bytes)
        self.cells = memoryview(self._map)[HEAD:].cast("Q")
        self.starts = tuple(column * self.COLUMN_CELLS for column in range(self._columns))

    def _close_map(self) -> None:
        if self._map is not None:
            self.cells.release()
            self._map.close()
            self._map = None

    def _claim(self, columns: int) -> int:
        flags = self._map
        assert flags is not None
        for column in range(columns):
            if self._lock(column):
                if flags[column]:
                    self.left(column * self.COLUMN_CELLS)
                flags[column] = 1
                return column
        raise SharesError(f"all {columns} columns of the shared counters are in use: too many workers run")

    def _lock(self, column: int) -> bool:
        try:
            fcntl.lockf(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, column)
        except OSError:
            return False
        return True

    def clear(self, start: int) -> None:
        """Empties the column from this cell on."""
        assert self._map is not None
        at = HEAD + start * 8
        self._map[at : at + self._column_bytes] = bytes(self._column_bytes)

    def left(self, start: int) -> None:
        """Puts the column from this cell on in order, whose worker ended; nobody else writes it meanwhile."""
        raise NotImplementedError

    def survey(self) -> None:
        """Puts the columns of workers that died in order, and finds columns that were added. Call about once a
        second."""
        if (os.fstat(self._fd).st_size - HEAD) // self._column_bytes > self._columns:
            self._close_map()
            self._open_map()
        flags = self._map
        assert flags is not None
        for column, start in enumerate(self.starts):
            if start != self.own and flags[column] and self._lock(column):
                self.left(start)
                flags[column] = 0
                fcntl.lockf(self._fd, fcntl.LOCK_UN, 1, column)

    def close(self) -> None:
        """Leaves the column in order and free."""
        flags = self._map
        assert flags is not None
        self.left(self.own)
        flags[self.own // self.COLUMN_CELLS] = 0
        self._close_map()
        os.close(self._fd)


def read_cells(path: Path, column_cells: int) -> list[memoryview]:
    """The columns of a file of unsigned 64-bit cells as they are now, for a process that is no worker; none where there
    is no file yet. Raises OSError for one that cannot be read."""
    try:
        data = path.read_bytes()[HEAD:]
    except FileNotFoundError:
        return []
    cells = memoryview(data[: len(data) // 8 * 8]).cast("Q")
    return [cells[at : at + column_cells] for at in range(0, len(cells) - column_cells + 1, column_cells)]

"""The log of a node: whole record lines in append-only files `<first>.jsonl`, rotated by size.

<first> is the index of the file's first record in the whole log (20 digits), so names sort, and an index finds its
file.
"""

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

SUFFIX = ".jsonl"
AGE = 86_400.0  # seconds after which a file is closed, full or not: records are deleted by files, once they are old
_CHUNK = 1 << 20


def segment_name(first: int) -> str:
    """File name of the segment whose first record has this index."""
    return f"{first:020d}{SUFFIX}"


def list_segments(directory: Path) -> list[int]:
    """First indexes of all segments, oldest first. Raises OSError."""
    names = (name[: -len(SUFFIX)] for name in os.listdir(directory) if name.endswith(SUFFIX))
    return sorted(int(name) for name in names if len(name) == 20 and name.isdecimal())


def sync_directory(directory: Path) -> None:
    """Makes names in a directory durable. Raises OSError."""
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def replay(directory: Path, first: int, offset: int) -> Iterator[tuple[int, int, bytes]]:
    """Reads the log on from a place: (segment, offset, whole lines). What follows the last newline of a segment is left
    out.

    A segment that does not exist (the very first one, before anything was written) yields nothing. Raises OSError.
    """
    for segment in list_segments(directory):
        if segment < first:
            continue
        at = offset if segment == first else 0
        with (directory / segment_name(segment)).open("rb", buffering=0) as file:
            size = _CHUNK
            while data := os.pread(file.fileno(), size, at):
                end = data.rfind(b"\n") + 1
                if end == 0 and len(data) < size:
                    break
                yield segment, at, data[:end]
                at += end
                size = _CHUNK if end else size * 2


class Segments:
    """The writing end, of one thread; others may read.

    records: index of the next record. first, size: the current segment and its length in bytes; durable: a segment, and
    how much of it is durable (together, so that other threads see both of one moment). write and fsync are os.write and
    os.fdatasync. All raise OSError; after one, nothing may be appended any more (a failed fsync says nothing about what
    is on disk).
    """

    def __init__(
        self,
        directory: Path,
        segment_bytes: int,
        *,
        write: Callable[[int, bytes], int] = os.write,
        fsync: Callable[[int], None] = os.fdatasync,
    ) -> None:
        self.directory = directory
        self._segment_bytes = segment_bytes
        self._write, self._fsync = write, fsync
        existing = list_segments(directory)
        self.first = existing[-1] if existing else 0
        self.records = self.first
        self._fd = self._open(self.first)
        self.size = os.fstat(self._fd).st_size
        self.durable = (self.first, 0)
        self._opened = time.monotonic()

    def cut(self, size: int) -> int:
        """Cuts the current segment at start-up to the whole lines of its first `size` bytes; returns how many bytes
        went."""
        size = min(size, self.size)
        while size and os.pread(self._fd, 1, size - 1) != b"\n":
            start = max(0, size - _CHUNK)
            size = start + os.pread(self._fd, size - start, start).rfind(b"\n") + 1
        lost = self.size - size
        if lost:
            os.ftruncate(self._fd, size)
            self.size = size
        return lost

    def append(self, data: bytes, count: int) -> int:
        """Writes `count` whole lines; returns the offset of the first in the current segment."""
        at = self.size
        done = self._write(self._fd, data)
        while done < len(data):
            wrote = self._write(self._fd, data[done:])
            if wrote <= 0:
                raise OSError("write(2) made no progress on the log")
            done += wrote
        self.size += done
        self.records += count
        return at

    def sync(self) -> None:
        """Makes everything appended durable, then starts the next segment when this one is full or a day old."""
        size = self.size
        self._fsync(self._fd)
        self.durable = (self.first, size)
        if size >= self._segment_bytes or (size and time.monotonic() - self._opened > AGE):
            fd = self._open(self.records)
            os.close(self._fd)
            self._fd, self.first, self.size = fd, self.records, 0
            self._opened = time.monotonic()
            self.durable = (self.first, 0)

    def close(self) -> None:
        """Lets go of the file."""
        os.close(self._fd)

    def _open(self, first: int) -> int:
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        fd = os.open(self.directory / segment_name(first), flags, 0o640)
        sync_directory(self.directory)
        return fd

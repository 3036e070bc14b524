"""The records of a node's log, in their order, as the entries of its evidence log."""

import os
from pathlib import Path

from telemetry.evidence.error import EvidenceError
from telemetry.segments import list_segments, segment_name

_CHUNK = 1 << 20
_MOST_BYTES = 16 << 20  # read at once


class Source:
    """Reads the log in `directory` from its record `index` on. Raises OSError, and EvidenceError where there is no such
    record."""

    def __init__(self, directory: Path, index: int) -> None:
        self._directory = directory
        self.index = index  # of the next record
        firsts = [first for first in list_segments(directory) if first <= index]
        self._first = firsts[-1] if firsts else 0
        self._offset = 0
        self._pass_over(index - self._first)

    def read(self, durable: tuple[int, int], most: int) -> list[bytes]:
        """At most `most` lines up to a durable place (a segment, and bytes of it); none when there are no more."""
        lines: list[bytes] = []
        last, length = durable
        total = 0
        while len(lines) < most and total < _MOST_BYTES:
            data = self._chunk(length if self._first == last else None)
            if data:
                parts = data.split(b"\n", most - len(lines))
                rest = parts.pop()  # read again rather than kept: it is in the page cache
                lines += parts
                total += len(data)
                self._offset += len(data) - len(rest)
            elif self._first < last:
                self._turn(self.index + len(lines))
            else:
                break
        self.index += len(lines)
        return lines

    def _pass_over(self, count: int) -> None:
        while count:
            data = self._chunk(None)
            if not data:
                raise EvidenceError(f"the log ends {count} records before the end of its evidence, record {self.index}")
            whole = data.count(b"\n")
            if whole > count:
                data = b"\n".join(data.split(b"\n", count)[:count]) + b"\n"
                whole = count
            else:
                data = data[: data.rindex(b"\n") + 1]
            self._offset += len(data)
            count -= whole

    def _chunk(self, length: int | None) -> bytes:
        """Bytes with at least one whole line, or none; of the segment's first `length` bytes or of all."""
        try:
            fd = os.open(self._directory / segment_name(self._first), os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            if length:
                raise
            return b""
        try:
            end = os.fstat(fd).st_size if length is None else length
            size = _CHUNK
            while True:
                data = os.pread(fd, max(0, min(size, end - self._offset)), self._offset)
                if b"\n" in data:
                    return data
                if len(data) < size:
                    return b""
                size *= 2
        finally:
            os.close(fd)

    def _turn(self, index: int) -> None:
        """On to the next segment, which must begin where this one ended."""
        following = next(first for first in list_segments(self._directory) if first > self._first)
        if following != index:
            raise EvidenceError(f"the log's file {segment_name(following)} does not follow record {index - 1}")
        self._first, self._offset = following, 0

"""Reading on in the log from a place: whole, durable lines, and a gap where history is gone.

Readers share nothing with the recorder but its files: they take what its status says is on disk, and a slow one costs
it nothing. A line's index counts all lines of the log from 0; segments are named after it.
"""

import os
from dataclasses import dataclass
from pathlib import Path

import msgspec

from telemetry.segments import list_segments, segment_name
from telemetry.spooldir import STATUS_FILE, read_status

CHUNK = 1 << 18
_LARGE = 1 << 20


class Place(msgspec.Struct, frozen=True):
    """Before a line: its segment, its offset there in bytes, its index in the whole log."""

    segment: int
    offset: int
    index: int


@dataclass(frozen=True, slots=True)
class Piece:
    """What comes next: lines without their newlines, the first with index `first`, and the place behind them. missing:
    how many lines before `first` are not there any more; shrunk: so many lines that were read before are not there, and
    their segment comes again from its start."""

    lines: list[bytes]
    first: int
    then: Place
    missing: int = 0
    shrunk: int = 0


class History:
    """The log of a node, for readers. Methods raise OSError; they may be called in any thread."""

    def __init__(self, log: Path, spool: Path) -> None:
        self._log, self._spool = log, spool

    def durable(self) -> int:
        """The index behind the last line that is on disk. Without a word from a recorder since the host's start it is
        where the last segment begins: what follows may not be."""
        try:
            fd = os.open(self._spool / STATUS_FILE, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            status = None
        else:
            try:
                status = read_status(fd)
            finally:
                os.close(fd)
        begun = (list_segments(self._log) or [0])[-1]
        return begun if status is None or status.failed else max(begun, status.records)

    def oldest(self) -> Place:
        """Before the first line that is still there."""
        first = (list_segments(self._log) or [0])[0]
        return Place(first, 0, first)

    def find(self, index: int) -> Place:
        """Before the line with this index, or the nearest that is there: the oldest, or the end."""
        segments = list_segments(self._log) or [0]
        segment = max((first for first in segments if first <= index), default=segments[0])
        at, offset = segment, 0
        with _opened(self._log / segment_name(segment)) as fd:
            while at < index and (data := os.pread(fd, _LARGE, offset)):
                count = data.count(b"\n")
                if at + count <= index:
                    end = data.rfind(b"\n") + 1
                    if not end:
                        break
                    at, offset = at + count, offset + end
                    continue
                while at < index:
                    offset += data.index(b"\n") + 1
                    data = data[data.index(b"\n") + 1 :]
                    at += 1
        return Place(segment, offset, at)

    def read(self, place: Place, until: int) -> Piece:
        """The next lines before index `until`, about CHUNK bytes at most; none when there are none yet."""
        for _ in range(2):  # the second time in the segment that follows
            piece = self._in_segment(place, until)
            if piece is not None:
                return piece
            segments = list_segments(self._log)
            following = next((first for first in segments if first > place.segment), None)
            if following is None:
                if not segments or place.segment <= segments[-1]:
                    return Piece([], place.index, place)
                there = self.oldest()  # the log was begun anew
                return Piece([], there.index, there, shrunk=place.index - there.index)
            if following != place.index:  # lines between were deleted, or the file is shorter than it was
                there = Place(following, 0, following)
                missing = max(0, following - place.index)
                return Piece([], following, there, missing, max(0, place.index - following))
            place = Place(following, 0, following)
        return Piece([], place.index, place)

    def _in_segment(self, place: Place, until: int) -> Piece | None:
        """None: nothing more comes in this segment."""
        path = self._log / segment_name(place.segment)
        try:
            size = path.stat().st_size
        except FileNotFoundError:
            return None
        if place.offset > size:  # lost its end, or begun anew: what is there comes (again)
            there = Place(place.segment, 0, place.segment)
            return Piece([], there.index, there, shrunk=max(1, place.index - self.find(1 << 62).index))
        with _opened(path) as fd:
            data = os.pread(fd, CHUNK, place.offset)
            if len(data) == CHUNK and b"\n" not in data:
                data = os.pread(fd, _LARGE, place.offset)
        lines = data.split(b"\n")[:-1]
        if not lines:
            return None
        lines = lines[: max(0, until - place.index)]
        length = sum(map(len, lines)) + len(lines)
        return Piece(lines, place.index, Place(place.segment, place.offset + length, place.index + len(lines)))


class _opened:  # noqa: N801 - reads as open() does
    """A descriptor for reading; a file that is not there is an empty one."""

    def __init__(self, path: Path) -> None:
        self._path = path if path.exists() else Path("/dev/null")

    def __enter__(self) -> int:
        self._fd = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
        return self._fd

    def __exit__(self, *_: object) -> None:
        os.close(self._fd)

"""How long records are kept, and which may go: never less than the law's 184 days, never what somebody put on hold.

A node's log goes file by file (segments), from the oldest: a file goes once its last record is older than the retention
time, and with it the bundles of the evidence log up to there. Within one log records go in their order alone, so what
must be kept for another time has a log of its own: the flows of a node are one class, administrative acts another.
"""

import logging
import os
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import msgspec

from telemetry.fold import OWN
from telemetry.record import decode
from telemetry.segments import list_segments, segment_name

DAY = 86_400 * 1_000_000  # µs
FLOOR = 184  # days: Cybersecurity Law, "not less than six months"
DEFAULT = 1096  # days: three years, for records of transfers
CEILING = 3653  # days, unless configured otherwise
HOLDS = "holds.json"  # in state_dir, written by control
_TAIL = 1 << 17  # bytes: more than a record

log = logging.getLogger("feiyu.retention")


class Hold(msgspec.Struct, frozen=True, kw_only=True):
    """A legal hold: nothing from `since` on is deleted while it is in force, until `until`. Both Unix µs."""

    id: str
    since: int
    until: int
    by: str
    reason: str
    made: int = 0


_holds = msgspec.json.Decoder(list[Hold])


@dataclass(frozen=True, slots=True)
class Segment:
    """first: index of its first record; last: time of its last record in Unix µs, None where it has none."""

    first: int
    last: int | None


def oldest_kept(now: int, days: int, holds: Iterable[Hold]) -> int:
    """The time (Unix µs) before which nothing has to be kept: so many days ago, or where the first hold in force
    begins. Pure."""
    return min([now - max(days, FLOOR) * DAY, *(hold.since for hold in holds if hold.until > now)])


def due(segments: list[Segment], now: int, days: int, holds: Iterable[Hold]) -> int:
    """The index below which everything may go: the first record of a segment, never the newest one. Pure."""
    oldest = oldest_kept(now, days, holds)
    minimum = segments[0].first if segments else 0
    for segment, following in pairwise(segments):
        if segment.last is None or segment.last >= oldest:
            break
        minimum = following.first
    return minimum


def look(directory: Path, before: int) -> list[Segment]:
    """The segments of a log whose beginning may be old enough: those up to the first that ends at or after `before`
    (Unix µs), and the next. Raises OSError."""
    found = []
    for first in list_segments(directory):
        found.append(Segment(first, _last_time(directory / segment_name(first))))
        if found[-1].last is None or found[-1].last >= before:
            break
    return found


def newest_closed(directory: Path) -> int | None:
    """When the log's newest file ended that is not written any more (Unix µs), by the last record that is not the
    recorder's own: that one tells of old days too, by today's clock. None where there is none. Raises OSError."""
    for first in reversed(list_segments(directory)[:-1]):
        records = _tail(directory / segment_name(first))
        for line in reversed(records):
            try:
                if (record := decode(line)).worker != OWN:
                    return record.time
            except msgspec.DecodeError:
                return None
    return None


def delete(directory: Path, minimum: int) -> int:
    """Removes the segments that end before a record; how many. Raises OSError."""
    firsts = list_segments(directory)
    gone = [first for first, following in pairwise(firsts) if following <= minimum]
    for first in gone:
        (directory / segment_name(first)).unlink()
    return len(gone)


def read_holds(path: Path) -> list[Hold] | None:
    """All holds; None where they cannot be read, so that nothing may be deleted."""
    try:
        return _holds.decode(path.read_bytes())
    except FileNotFoundError:
        return []
    except (OSError, msgspec.DecodeError) as error:
        log.error("%s cannot be read, so nothing is deleted: %s", path, error)
        return None


def write_holds(holds: Iterable[Hold]) -> bytes:
    """The file's bytes."""
    return msgspec.json.format(msgspec.json.encode(list(holds)), indent=1) + b"\n"


def _last_time(path: Path) -> int | None:
    """Of the last whole record; one that cannot be read keeps its file, and so all behind it."""
    lines = _tail(path)
    if not lines:
        return None
    try:
        return decode(lines[-1]).time
    except msgspec.DecodeError:
        return None


def _tail(path: Path) -> list[bytes]:
    """The last records of a file, as far as they are whole in its last bytes."""
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        data = os.pread(file.fileno(), _TAIL, max(0, size - _TAIL))
    lines = data.split(b"\n")[:-1]
    return lines if size <= _TAIL else lines[1:]

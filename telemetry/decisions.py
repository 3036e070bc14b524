"""The decisions in a log, in the order in which they were made, with what is needed to make them again."""

import os
from collections.abc import Iterator
from pathlib import Path

import msgspec

from telemetry.record import VERSION
from telemetry.segments import list_segments, replay, segment_name

_MARKS = (b'"kind":"open"', b'"kind":"deny"')  # as telemetry.record.encode writes them, before anything of a client's
_SLACK = 60_000_000  # µs between a record's time and its place in the log that clocks may differ by


class Decision(msgspec.Struct, frozen=True, kw_only=True, gc=False, tag_field="v", tag=VERSION):
    """The fields of telemetry.record.Record that a decision was made from, and what it was."""

    kind: str
    time: int  # Unix µs
    tenant: str = ""
    interface: str = ""
    client_ip: str = ""
    method: str = ""
    host: str = ""
    port: int = 0
    address: str = ""
    service: str = ""
    grant: str = ""
    decision: str = ""
    reason: str = ""
    rule: str = ""
    count: int = 0


_decode = msgspec.json.Decoder(Decision).decode


def size(directory: Path, since: int) -> int:
    """Bytes that will be read. Raises OSError."""
    return sum((directory / segment_name(first)).stat().st_size for first in _segments(directory, since))


def decisions(directory: Path, since: int, until: int) -> Iterator[tuple[int, list[Decision], int]]:
    """From Unix µs since, up to until (not included), chunk by chunk: bytes read, decisions, and lines that cannot be
    read. The log may be written meanwhile; a line that is not whole yet is left out. Raises OSError."""
    segments = _segments(directory, since)
    if not segments:
        return
    for _segment, _at, data in replay(directory, segments[0], 0):
        found: list[Decision] = []
        unreadable = 0
        for line in data.splitlines():
            if _MARKS[0] not in line and _MARKS[1] not in line:
                continue
            try:
                one = _decode(line)
            except (msgspec.DecodeError, UnicodeDecodeError):
                unreadable += 1
                continue
            if since <= one.time < until and one.kind in ("open", "deny"):
                found.append(one)
        yield len(data), found, unreadable


def _segments(directory: Path, since: int) -> list[int]:
    """The segments that can hold something as late as that."""
    found = list_segments(directory)
    return [first for first in found if os.stat(directory / segment_name(first)).st_mtime_ns // 1000 + _SLACK >= since]

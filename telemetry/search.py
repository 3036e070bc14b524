"""Searching the log, newest first, within a bound of bytes read.

A record is looked for as bytes before it is decoded: the JSON text of the rarest wanted value, in windows of 1 MiB. So
the search costs about a second per GB, and the interpreter lock is never held for long.
"""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec

from telemetry.record import Record, decode
from telemetry.segments import list_segments, segment_name

_WINDOW = 1 << 20
MAX_LIMIT = 10_000
MAX_BYTES = 1 << 30
_SLACK = 60_000_000  # µs between a record's time and its place in the log that clocks may differ by


@dataclass(frozen=True, slots=True)
class Filter:
    """What is wanted; empty means anything. ref also finds the flow of that id; host may be "*.suffix"; since and until
    (exclusive) are Unix µs, 0 for open; sources: instead of source, all that stands for it in sealed records."""

    ref: str = ""
    flow: str = ""
    tenant: str = ""
    host: str = ""
    kind: str = ""
    reason: str = ""
    source: str = ""
    line: str = ""
    decision: str = ""
    since: int = 0
    until: int = 0
    sources: frozenset[str] = frozenset()

    def matches(self, record: Record) -> bool:
        """Whether a record is wanted."""
        if self.ref and self.ref not in (record.ref, record.flow):
            return False
        if self.flow and self.flow != record.flow:
            return False
        if self.tenant and self.tenant != record.tenant:
            return False
        if self.host and not (
            record.host.endswith(self.host[1:]) if self.host.startswith("*.") else record.host == self.host
        ):
            return False
        if (self.kind and self.kind != record.kind) or (self.reason and self.reason != record.reason):
            return False
        if (self.source and self.source != record.client_ip) or (self.line and self.line != record.line):
            return False
        if self.sources and record.client_ip not in self.sources:
            return False
        if self.decision and self.decision != record.decision:
            return False
        return record.time >= self.since and (not self.until or record.time < self.until)

    def needles(self) -> list[bytes]:
        """Bytes that stand in every wanted record, the rarest first."""
        host = self.host.removeprefix("*")
        exact = [self.ref, self.flow, host, self.source, self.reason, self.tenant, self.line, self.kind, self.decision]
        encoded = [(value, msgspec.json.encode(value)) for value in exact if value]
        return [text[1:] if value == host and self.host.startswith("*") else text for value, text in encoded]


@dataclass(frozen=True, slots=True)
class Place:
    """A place in the log, before which to go on: segment and offset, written "SEGMENT:OFFSET"."""

    segment: int
    offset: int

    def __str__(self) -> str:
        return f"{self.segment}:{self.offset}"


@dataclass(frozen=True, slots=True)
class Page:
    """Lines found, newest first. next: where to go on; None when all was searched."""

    lines: list[bytes]
    next: Place | None


def parse_filter(parameters: Mapping[str, str]) -> Filter:
    """A filter from query parameters; others are ignored. Raises ValueError naming the parameter."""
    values: dict[str, str | int] = {}
    for name in Filter.__dataclass_fields__:
        text = parameters.get(name, "")
        if not text or name == "sources":
            continue
        if name in ("since", "until"):
            values[name] = parse_count(name, text, 1 << 62)
        elif len(text) > 300:
            raise ValueError(f"{name}: {len(text)} characters; expected at most 300")
        else:
            values[name] = text.lower() if name == "host" else text
    return Filter(**values)  # type: ignore[arg-type]  # each value has its field's type, by name


def parse_count(name: str, text: str, most: int) -> int:
    """A decimal number from 0 to most. Raises ValueError naming the parameter."""
    if not (text.isascii() and text.isdecimal() and len(text) < 20 and int(text) <= most):
        raise ValueError(f"{name}: {text[:40]!r}; expected a number up to {most}")
    return int(text)


def parse_place(text: str) -> Place:
    """SEGMENT:OFFSET. Raises ValueError."""
    segment, _, offset = text.partition(":")
    return Place(parse_count("before", segment, 1 << 62), parse_count("before", offset, 1 << 62))


def search(
    directory: Path, wanted: Filter, limit: int, durable: Place, before: Place | None = None, most: int = MAX_BYTES
) -> Page:
    """Up to limit wanted lines before a place (default: the durable end), reading at most about `most` bytes. Raises
    OSError."""
    start = before or durable
    needles = wanted.needles()
    found: list[bytes] = []
    for segment in reversed(list_segments(directory)):
        if segment > start.segment:
            continue
        with (directory / segment_name(segment)).open("rb", buffering=0) as file:
            info = os.fstat(file.fileno())
            if wanted.since and info.st_mtime_ns // 1000 + _SLACK < wanted.since:
                return Page(found, None)
            end = min(info.st_size, start.offset) if segment == start.segment else info.st_size
            if segment == durable.segment:
                end = min(end, durable.offset)
            while end > 0:
                if most <= 0:
                    return Page(found, Place(segment, end))
                at, data = _window(file.fileno(), end)
                most -= len(data)
                for begin, line in _candidates(data, needles):
                    if _wanted(line, wanted):
                        found.append(line)
                        if len(found) >= limit:
                            return Page(found, Place(segment, at + begin))
                end = at
    return Page(found, None)


def _window(fd: int, end: int) -> tuple[int, bytes]:
    """Whole lines that end at `end`, and where they begin."""
    size = _WINDOW
    while True:
        at = max(0, end - size)
        data = os.pread(fd, end - at, at)
        cut = data.find(b"\n") + 1 if at else 0
        if not at or 0 < cut < len(data):
            return at + cut, data[cut:]
        size *= 2


def _candidates(data: bytes, needles: list[bytes]) -> Iterator[tuple[int, bytes]]:
    """Lines that hold all needles, last first, with their offsets."""
    end = len(data) - 1  # the newline behind the last line
    first, others = (needles[0], needles[1:]) if needles else (b"", [])
    while end > 0:
        if first:
            hit = data.rfind(first, 0, end)
            if hit < 0:
                return
            end = data.find(b"\n", hit)
        else:
            hit = end
        begin = data.rfind(b"\n", 0, hit) + 1
        line = data[begin:end]
        if all(needle in line for needle in others):
            yield begin, line
        end = begin - 1


def _wanted(line: bytes, wanted: Filter) -> bool:
    try:
        return wanted.matches(decode(line))
    except msgspec.DecodeError:
        return False

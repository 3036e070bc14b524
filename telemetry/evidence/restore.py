"""Puts records back into a node's log that its evidence holds and the log lost: what is under a published checkpoint is
never lost, and an end that was altered is not built upon."""

import os
from pathlib import Path

from telemetry.evidence.error import EvidenceError
from telemetry.evidence.log import EvidenceLog
from telemetry.evidence.source import Source
from telemetry.evidence.tile import WIDTH, bundles
from telemetry.segments import list_segments, segment_name, sync_directory

_LOOK_BACK = 2 * WIDTH  # records at the end of the evidence that the log's are compared with
_MOST = 500_000  # records put back at a start; more are no accident of a disk, and would not fit the memory


def restore(directory: Path, evidence: EvidenceLog) -> int:
    """Makes the end of the log in `directory` agree with the evidence, before the log is opened; what follows behind
    the evidence's end is kept. Returns how many records were missing or differed. Raises OSError, EvidenceError."""
    size = evidence.size
    segments = list_segments(directory)
    first = segments[-1] if segments else 0
    start = max(first, size - _LOOK_BACK)
    if start >= size or _agree(directory, evidence, start):
        return 0
    path = directory / segment_name(first)
    lines = path.read_bytes().split(b"\n") if segments else [b""]
    torn = lines.pop()
    start = min(start, first + len(lines))
    if size - start > _MOST:
        raise EvidenceError(f"the log in {directory} lost {size - start} records: put it back from a backup")
    wanted = _entries(evidence, start)
    if any(b"\n" in entry for entry in wanted):
        raise EvidenceError(f"an entry of {evidence.origin} is no record of the log: it holds an end of line")
    kept, found, behind = lines[: start - first], lines[start - first : size - first], lines[size - first :]
    fresh = path.with_name(f"{path.name}.new")
    with fresh.open("wb") as file:
        file.write(b"".join(line + b"\n" for line in [*kept, *wanted, *behind]) + (torn if behind else b""))
        file.flush()
        os.fchmod(file.fileno(), 0o640)
        os.fsync(file.fileno())
    fresh.rename(path)
    sync_directory(directory)
    return len(wanted) - sum(a == b for a, b in zip(found, wanted, strict=False))


def _agree(directory: Path, evidence: EvidenceLog, start: int) -> bool:
    """Whether the log holds the evidence's entries from `start` on. Reads no more than these."""
    try:
        source = Source(directory, start)
    except EvidenceError:  # it ends before
        return False
    last = list_segments(directory)[-1:] or [0]
    path = directory / segment_name(last[0])
    length = path.stat().st_size if path.exists() else 0
    return source.read((last[0], length), evidence.size - start) == _entries(evidence, start)


def _entries(evidence: EvidenceLog, start: int) -> list[bytes]:
    found: list[bytes] = []
    for bundle in bundles(evidence.size, start):
        found += evidence.reader.entries(bundle)
    return found[start % WIDTH :]

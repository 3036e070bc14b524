"""The population of a plan in a log: which leaves belong to which stratum, read from the log's files."""

from collections.abc import Iterator

import msgspec

from telemetry.evidence.checkpoint import Checkpoint
from telemetry.evidence.error import EvidenceError
from telemetry.evidence.extract import beginning
from telemetry.evidence.reader import Reader
from telemetry.evidence.tile import WIDTH
from telemetry.evidence.verify import verify_range
from telemetry.record import Kind, Record, decode
from telemetry.spotcheck.plan import Plan
from telemetry.spotcheck.states import Act

_HINT = f'"{Kind.SPOTCHECK}"'.encode()


def leaves(reader: Reader, published: Checkpoint, head: Checkpoint, plan: Plan) -> dict[str, list[int]]:
    """By stratum the indexes of its records among the leaves under head, in their order. published: the log's verified
    head by now. Every entry is shown to be under it, and head to be a beginning of it, so nothing else is believed.
    Raises EvidenceError."""
    if published.size < head.size:
        raise EvidenceError(f"the log has {published.size} entries, but the plan was fixed with {head.size}")
    if beginning(reader, published, head.size)[0] != head:
        raise EvidenceError(f"the first {head.size} entries of the log are not those that the plan was fixed with")
    found: dict[str, list[int]] = {stratum.name: [] for stratum in plan.strata}
    if start := reader.first_bundle(head.size):
        oldest = read(reader.entries(next(reader.bundles(head.size)))[0])
        if oldest is None or oldest.time >= plan.since * 1_000_000:
            raise EvidenceError(
                f"the log's first {start * WIDTH} records were deleted, some of the plan's time perhaps"
            )
    needles = [stratum.filter().needles() for stratum in plan.strata]
    for bundle in reader.bundles(head.size):
        first = bundle.number * WIDTH
        for index, entry in enumerate(verify_range(reader, published, first, first + bundle.width), first):
            if not any(all(needle in entry for needle in each) for each in needles):
                continue  # most records need not be decoded
            record = read(entry)
            if record and (stratum := plan.stratum_of(record)):
                found[stratum.name].append(index)
    return found


def unfinished(reader: Reader, size: int) -> dict[str, int]:
    """Plans in the first `size` entries that nothing was drawn for, by id, with their indexes: whoever plans often and
    draws where it suits him is seen by these."""
    plans: dict[str, int] = {}
    for index, record in steps(reader, size):
        if record.detail == Act.PLAN.value:
            plans[record.ref] = index
        elif record.detail == Act.DRAW.value:
            plans.pop(record.ref, None)
    return plans


def steps(reader: Reader, size: int, ref: str = "", start: int = 0) -> Iterator[tuple[int, Record]]:
    """The records of spot checks (of one) from leaf `start` on, with their indexes. Proves nothing."""
    for bundle in reader.bundles(size, start):
        if _HINT not in reader.tile(bundle):
            continue
        for index, entry in enumerate(reader.entries(bundle), bundle.number * WIDTH):
            record = read(entry) if index >= start and _HINT in entry else None
            if record and record.kind == Kind.SPOTCHECK.value and ref in ("", record.ref):
                yield index, record


def read(entry: bytes) -> Record | None:
    """A record, or None for an entry that is none."""
    try:
        return decode(entry)
    except msgspec.DecodeError:
        return None

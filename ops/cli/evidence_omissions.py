"""feiyu evidence verify --omissions: what should be in the log and is not, as facts and as rows."""

from dataclasses import dataclass
from typing import Any

import msgspec

from ops.cli.flow import size
from ops.cli.words import t
from telemetry.evidence.checkpoint import Checkpoint
from telemetry.evidence.reader import Reader
from telemetry.evidence.tile import WIDTH
from telemetry.omissions import Omissions
from telemetry.record import decode


@dataclass(frozen=True, slots=True)
class Missed:
    """found: whether anything is missing."""

    found: bool
    facts: dict[str, Any]
    rows: list[tuple[str, object]]


def look_for_omissions(reader: Reader, head: Checkpoint) -> Missed:
    """Reads all entries of a verified log once more. Raises EvidenceError."""
    omissions, strange = Omissions(whole=not reader.first_bundle(head.size)), 0
    for bundle in reader.bundles(head.size):
        for index, entry in enumerate(reader.entries(bundle), bundle.number * WIDTH):
            try:
                omissions.take(index, decode(entry))
            except msgspec.DecodeError:
                strange += 1
    omissions.finish()
    words = [text for texts in omissions.found.values() for text in texts]
    more = sum(omissions.counts.values()) - len(words)
    lines = {
        name: {"recorded": wire.recorded, "passed": wire.octets if wire.both else None, "packets": wire.packets}
        for name, wire in sorted(omissions.lines.items())
    }
    facts = {
        "omissions": words, "omission_counts": omissions.counts, "lines": lines, "flows_open": len(omissions.flows),
        "not_records": strange,
    }  # fmt: skip
    if more:
        words.append(t("and {count} more", count=more))
    if strange:
        words.append(t("{count} entries are no records", count=strange))
    told = [
        t("{name}: {first} recorded, {second} passed with headers", name=name, first=size(wire.recorded),
          second=size(wire.octets)) for name, wire in sorted(omissions.lines.items()) if wire.both
    ]  # fmt: skip
    none = t("none found: numbers without a gap, signs of life, each flow opened and closed once")
    return Missed(bool(words), facts, [("Omissions", words or none), ("Lines", told)])

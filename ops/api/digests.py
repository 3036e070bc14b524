"""Digests of what a change made, for the record of the act: whoever has the item later can show that it was so."""

from collections.abc import Iterator, Sequence

import msgspec

from telemetry.evidence.dossier import digest
from tenants.change import Changed

EACH = 100  # items in one record, whose size is bounded
MOST = 5_000  # items of one change that are digested; an import of more says how many were not
REMOVED = "removed"


def digests(changed: Sequence[Changed]) -> Iterator[dict[str, str]]:
    """By "COLLECTION/ID" the digest of each item as it is now, in parts that fit a record."""
    for at in range(0, min(len(changed), MOST), EACH):
        part = {f"{one.collection}/{one.id}": _digest(one) for one in changed[at : at + EACH]}
        if at + EACH >= MOST and len(changed) > MOST:
            part["not digested"] = str(len(changed) - MOST)
        yield part


def _digest(one: Changed) -> str:
    if one.after is None:
        return REMOVED
    fields = msgspec.to_builtins(one.after)
    fields.pop("token_sha256", None)  # as the API shows it
    return digest(fields)

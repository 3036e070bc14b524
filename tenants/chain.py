"""The chain of revisions: each link says what changed, on whose word, and the digest of the link before it.

It begins with the link that brought the first accounts; its digest names the zone. A link holds digests of the items,
not the items, so that it stays small; whoever has the items can compare. Pure.
"""

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from hashlib import sha256

import msgspec

from tenants.approval import Approval
from tenants.change import Changed

_LABEL = b"feiyu revision v1\n"
NONE = ""  # what the first link has before it


class Step(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One item: SHA-256 of its document before and after, in hex ("": there was none)."""

    collection: str
    id: str
    verb: str
    before: str
    after: str


class Link(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One revision. request, digest, approvals: of the request that it applied, empty where it applied none."""

    v: int = 1
    revision: int
    previous: str
    time: int
    actor: str
    reason: str
    steps: tuple[Step, ...]
    request: str = ""
    digest: str = ""
    approvals: tuple[dict[str, str | int], ...] = ()


_item = msgspec.json.Encoder()
_sorted = msgspec.json.Encoder(order="sorted")


def step_of(one: Changed) -> Step:
    """A changed item as a link holds it."""
    return Step(
        collection=one.collection, id=one.id, verb=one.verb, before=_digest(one.before), after=_digest(one.after)
    )


def _digest(item: object) -> str:
    return "" if item is None else sha256(_item.encode(item)).hexdigest()


def link(
    revision: int, previous: str, time: int, actor: str, reason: str, changed: Iterable[Changed],
    request: str = "", digest: str = "", approvals: Sequence[Approval] = (),
) -> tuple[bytes, str]:  # fmt: skip
    """The link's bytes and their digest in hex."""
    made = Link(
        revision=revision, previous=previous, time=time, actor=actor, reason=reason,
        steps=tuple(map(step_of, changed)), request=request, digest=digest,
        approvals=tuple(asdict(approval) for approval in approvals),
    )  # fmt: skip
    data = _sorted.encode(made)
    return data, digest_of(data)


def digest_of(data: bytes) -> str:
    """The digest of a link's bytes, in hex."""
    return sha256(_LABEL + data).hexdigest()


def broken(links: Iterable[tuple[int, str, bytes]]) -> str:
    """What is wrong with links (revision, digest, bytes) in their order; "" for nothing."""
    previous, before = NONE, 0
    for revision, digest, data in links:
        if digest_of(data) != digest:
            return f"the link of revision {revision} is not what its digest says"
        found = msgspec.json.decode(data, type=Link)
        if found.revision != revision or revision <= before:
            return f"the link of revision {revision} stands in the wrong place"
        if found.previous != previous:
            return f"the link of revision {revision} does not follow the one before it"
        previous, before = digest, revision
    return ""

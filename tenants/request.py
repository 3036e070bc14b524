"""A request: a change that waits for a second person. What it says, what state it is in, who may move it on.

The bytes of the content are fixed when it is submitted. They hold the change and what it makes of each item, and their
digest is what an approver signs: nobody can approve one thing and have another applied.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from hashlib import sha256
from typing import Any

import msgspec

from tenants.change import Change, Changed, ConflictingChange

LIFE = 14 * 86_400  # seconds a request waits before it lapses
_LABEL = b"feiyu request v1\n"
# What the register gives by itself and may give otherwise by the time of the approval; none of it opens anything.
_GIVEN = ("provenance", "slot", "index")


class RequestState(StrEnum):
    """States of a request."""

    SUBMITTED = "SUBMITTED"
    APPROVED = "APPROVED"  # and applied, in the same transaction
    REJECTED = "REJECTED"
    WITHDRAWN = "WITHDRAWN"
    LAPSED = "LAPSED"


class Step(StrEnum):
    """What can happen to a request."""

    APPROVE = "approve"
    REJECT = "reject"
    WITHDRAW = "withdraw"
    LAPSE = "lapse"


class Who(StrEnum):
    """Who may fire a step."""

    ANOTHER = "another person than the submitter"
    SUBMITTER = "the submitter"
    CLOCK = "the clock"


# (state, step): the state after it, and who may fire it. What is not here cannot happen.
TRANSITIONS: dict[tuple[RequestState, Step], tuple[RequestState, Who]] = {
    (RequestState.SUBMITTED, Step.APPROVE): (RequestState.APPROVED, Who.ANOTHER),
    (RequestState.SUBMITTED, Step.REJECT): (RequestState.REJECTED, Who.ANOTHER),
    (RequestState.SUBMITTED, Step.WITHDRAW): (RequestState.WITHDRAWN, Who.SUBMITTER),
    (RequestState.SUBMITTED, Step.LAPSE): (RequestState.LAPSED, Who.CLOCK),
}


class Shown(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One item as it was and as it will be, without what the register gives by itself."""

    collection: str
    id: str
    verb: str
    before: dict[str, Any] | None
    after: dict[str, Any] | None


class Content(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is asked for. zone: digest of the register's first link, so that it is good in this zone only; roles: those
    in which the submitter asks, none of which may approve; revision: the register's when it was asked."""

    v: int = 1
    zone: str
    id: str
    submitter: str
    roles: tuple[str, ...]
    submitted: int  # Unix seconds
    revision: int
    reason: str
    changes: tuple[Change, ...]
    shown: tuple[Shown, ...]


@dataclass(frozen=True, slots=True)
class Request:
    """A request as it stands: content is its bytes, digest their SHA-256 with the label, in hex. Unix seconds.
    revision: in which it was applied, 0: not."""

    id: str
    state: RequestState
    submitter: str
    roles: tuple[str, ...]
    collections: tuple[str, ...]
    submitted: int
    expires: int
    reason: str
    digest: str
    content: bytes
    revision: int = 0


_encoder = msgspec.json.Encoder(order="sorted")


def encode(content: Content) -> bytes:
    """The content's bytes: JSON with sorted names and no blanks."""
    return _encoder.encode(content)


def decode(data: bytes) -> Content:
    """Reads a content. Raises msgspec.DecodeError."""
    return msgspec.json.decode(data, type=Content)


def digest_of(data: bytes) -> str:
    """What is signed for these bytes, in hex."""
    return sha256(_LABEL + data).hexdigest()


def shown(changed: Iterable[Changed]) -> tuple[Shown, ...]:
    """What a reviewer sees of changed items, in their order."""
    return tuple(
        Shown(collection=one.collection, id=one.id, verb=one.verb, before=_plain(one.before), after=_plain(one.after))
        for one in changed
    )


def _plain(item: Any) -> dict[str, Any] | None:
    if item is None:
        return None
    fields: dict[str, Any] = msgspec.to_builtins(item)
    # By way of JSON, so that what is compared later has been through the same.
    return {name: value for name, value in fields.items() if name not in _GIVEN}


def same(one: Iterable[Shown], other: Iterable[Shown]) -> bool:
    """Whether two lists show the same, as bytes."""
    return _encoder.encode(tuple(one)) == _encoder.encode(tuple(other))


def after(request: Request, step: Step, by: str, now: int) -> RequestState:
    """The state after a step fired by an account ("" for the clock) at Unix second now. Raises ConflictingChange, which
    says why it cannot be fired."""
    found = TRANSITIONS.get((request.state, step))
    if found is None:
        raise ConflictingChange(f"cannot {step} request {request.id}: it is {request.state}", "nothing is left to do")
    state, who = found
    over = now >= request.expires
    if who is Who.CLOCK and (by or not over):
        raise ConflictingChange(f"request {request.id} waits until Unix second {request.expires}")
    if who is not Who.CLOCK and over:
        raise ConflictingChange(f"cannot {step} request {request.id}: it has lapsed", "submit it again")
    if who is Who.SUBMITTER and by != request.submitter:
        raise ConflictingChange(f"only {request.submitter}, who submitted it, can {step} request {request.id}")
    if who is Who.ANOTHER and by == request.submitter:
        what = f"{by} submitted request {request.id} and cannot {step} it"
        raise ConflictingChange(what, "another person decides; the submitter can withdraw it")
    return state

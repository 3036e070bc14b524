"""Going back to an earlier revision: the changes that bring back how things were, as one more change. Pure.

What a change cannot bring back is said, not forced: what was revoked or retired ended for good; a suspension is lifted
by those who may; firms and credentials have lives of their own.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from tenants.change import Change
from tenants.kinds import Kind
from whitelist.match import made_id
from whitelist.model import GrantState
from whitelist.plan import LIVE, Held
from whitelist.proposal import COLLECTIONS

# What must be there before others can name it comes first; what others may still name goes last.
_ORDER = ("groups", "categories", "tenants", "services", "grants", "denies")


@dataclass(frozen=True, slots=True)
class Was:
    """An item touched since, and how it was: None for one that was not there."""

    collection: str
    id: str
    before: Any


@dataclass(slots=True)
class Undone:
    """The changes, and what stays as it is: (collection, id, why)."""

    changes: list[Change] = field(default_factory=list)
    stays: list[tuple[str, str, str]] = field(default_factory=list)


def undo(touched: Iterable[Was], held: Held, kinds: Mapping[str, Kind]) -> Undone:
    """What has to be done about the items touched since the revision gone back to."""
    by_collection: dict[str, list[Was]] = {name: [] for name in COLLECTIONS}
    for was in touched:
        by_collection[was.collection].append(was)
    result, last = Undone(), Undone()
    for collection in _ORDER:
        found = by_collection[collection]
        now = held.find(collection, [was.id for was in found])
        for was in found:
            # A service is retired once no grant names it any more.
            into = last if collection == "services" and was.before is None else result
            _one(into, kinds[collection], was, now.get(was.id))
    result.changes += last.changes
    result.stays += last.stays
    return result


def _one(result: Undone, kind: Kind, was: Was, now: Any) -> None:
    before = was.before
    if now == before or (now is None and before is None):
        return
    if before is None:
        _take_away(result, kind, was, now)
    elif now is None:
        _wish(result, kind, "add", was.id, _fields(kind, before))
    else:
        _bring_back(result, kind, was, now)


def _take_away(result: Undone, kind: Kind, was: Was, now: Any) -> None:
    """What was added since."""
    match kind.collection:
        case "grants" if now.state in LIVE:
            _wish(result, kind, "revoke", was.id, {})
        case "services" if not now.retired:
            _wish(result, kind, "retire", was.id, {})
        case "denies":
            _wish(result, kind, "remove", was.id, {})
        case "groups" | "categories":
            result.stays.append((kind.collection, was.id, "a name alone grants nothing"))
        case "tenants":
            result.stays.append((kind.collection, was.id, "a firm is suspended or revoked by its own steps"))


def _bring_back(result: Undone, kind: Kind, was: Was, now: Any) -> None:
    """What changed since."""
    before = was.before
    if getattr(now, "retired", False) and not before.retired:
        result.stays.append((kind.collection, was.id, "it is retired for good; add it under another id"))
        return
    if kind.collection == "grants" and before.state in LIVE and now.state not in LIVE:
        fields = _fields(kind, before)
        again = made_id(kind, {**fields, "was": was.id}, 0)
        _wish(result, kind, "add", again, fields)
        result.stays.append((kind.collection, was.id, f"it is {now.state} for good; its terms return as {again}"))
        return
    one, other = msgspec.to_builtins(now), msgspec.to_builtins(before)
    skipped = {"id", *kind.given, *kind.fixed}
    patch = {name: value for name, value in other.items() if name not in skipped and one[name] != value}
    if patch:
        _wish(result, kind, "edit", was.id, patch, now.provenance.revision)
    state = getattr(now, "state", None)
    if state is not None and state != before.state:
        if before.state is GrantState.SUSPENDED and state is GrantState.EFFECTIVE:
            _wish(result, kind, "suspend", was.id, {})
        else:
            result.stays.append((kind.collection, was.id, f"it is {state}, and was {before.state}: a step of its own"))


def _fields(kind: Kind, item: Any) -> dict[str, Any]:
    skipped = {"id", *kind.given}
    return {name: value for name, value in msgspec.to_builtins(item).items() if name not in skipped}


def _wish(result: Undone, kind: Kind, verb: str, name: str, fields: dict[str, Any], revision: int = 0) -> None:
    result.changes.append(Change(collection=kind.collection, verb=verb, id=name, fields=fields, revision=revision))


def decoded(rows: Iterable[tuple[str, str, str | None]], decode: Mapping[str, Callable[[str], Any]]) -> list[Was]:
    """The items touched, from rows of (collection, id, document before)."""
    return [Was(name, item, None if document is None else decode[name](document)) for name, item, document in rows]

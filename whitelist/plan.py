"""From what is wished to the changes that bring it about: the proposal beside what the register holds. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import msgspec

from tenants.change import Change, InvalidChange, merge
from tenants.kinds import Kind
from tenants.rules import convert
from whitelist.match import Matched, made_id, match
from whitelist.model import Grant, GrantState
from whitelist.proposal import Proposal

LIVE = (GrantState.EFFECTIVE, GrantState.SUSPENDED)
Fields = dict[str, Any]


class Held(Protocol):
    """What the register holds, all as of one revision."""

    def find(self, collection: str, ids: Iterable[str], /) -> Mapping[str, Any]:
        """The items with these ids that there are."""

    def live_grants(self, subjects: Iterable[str] | None, /) -> Iterable[Grant]:
        """Grants in force or suspended of these subjects ("tenant:ID", "group:ID"); None: of all."""

    def everything(self, collection: str, /) -> Iterable[Any]:
        """All items of a collection."""


@dataclass(frozen=True, slots=True)
class Fault:
    """An entry that cannot be planned: its place in the proposal, and why, as (field, message)."""

    collection: str
    index: int
    name: str
    message: str


@dataclass(slots=True)
class Plan:
    """changes, in an order in which the register takes them, each with the entry it comes from (-1: from the scope);
    faults, with which nothing may be applied; how many entries stand already as wished."""

    changes: list[Change] = field(default_factory=list)
    sources: list[tuple[str, int]] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    unchanged: int = 0

    def wish(self, change: Change, collection: str, index: int) -> None:
        """One more change."""
        self.changes.append(change)
        self.sources.append((collection, index))


def plan(proposal: Proposal, held: Held, kinds: Mapping[str, Kind]) -> Plan:
    """What has to be done. Asks for the items the proposal is about, and for all of what its scope covers."""
    made = Plan()
    for collection in ("groups", "categories", "tenants", "services"):
        _named(made, kinds[collection], getattr(proposal, collection), held)
    _denies(made, kinds["denies"], proposal, held)
    _grants(made, kinds["grants"], proposal, held)
    if proposal.scope.zone:
        kept = {entry.get("id") for entry in proposal.services}
        for service in held.everything("services"):
            if service.id not in kept and not service.retired:
                made.wish(Change(collection="services", verb="retire", id=service.id), "services", -1)
    return made


def _named(made: Plan, kind: Kind, entries: Sequence[Fields], held: Held) -> None:
    """Entries that all have ids."""
    known = held.find(kind.collection, [entry["id"] for entry in entries])
    for index, entry in enumerate(entries):
        _settle(made, kind, entry, known.get(entry["id"]), index)


def _settle(made: Plan, kind: Kind, entry: Fields, before: Any, index: int) -> None:
    """The change from an item (None: there is none) to an entry, if any."""
    name = entry["id"]
    if before is not None and getattr(before, "retired", False):
        made.faults.append(
            Fault(kind.collection, index, "id", f"{kind.noun} {name} is retired for good; choose another id")
        )
        return
    whole = entry if before is None or kind.collection != "tenants" else merge(msgspec.to_builtins(before), entry)
    try:
        after = convert(kind, whole)
    except InvalidChange as error:
        made.faults += [Fault(kind.collection, index, *fault) for fault in error.errors]
        return
    if before is not None:
        kept = msgspec.structs.replace(after, **{given: getattr(before, given) for given in kind.given})
        if kept == before:  # what stands was valid when it was written
            made.unchanged += 1
            return
    if faults := kind.validate(after):
        made.faults += [Fault(kind.collection, index, *fault) for fault in faults]
        return
    if before is None:
        fields = {field: value for field, value in entry.items() if field != "id"}
        made.wish(Change(collection=kind.collection, verb="add", id=name, fields=fields), kind.collection, index)
        return
    for fixed in kind.fixed:
        if getattr(before, fixed) != getattr(after, fixed):
            message = f"is {getattr(before, fixed)} and cannot be changed; leave the id out for another {kind.noun}"
            made.faults.append(Fault(kind.collection, index, fixed, message))
            return
    # In builtins, as the register merges them: what both have alike is left out.
    one, other = msgspec.to_builtins(before), msgspec.to_builtins(kept)
    patch = {field: value for field, value in other.items() if one[field] != value}
    change = Change(collection=kind.collection, verb="edit", id=name, fields=patch, revision=before.provenance.revision)
    made.wish(change, kind.collection, index)


def _denies(made: Plan, kind: Kind, proposal: Proposal, held: Held) -> None:
    if not proposal.denies and not proposal.scope.zone:
        return
    known = {deny.id: deny for deny in held.everything("denies")}
    matched = match(
        proposal.denies, list(known.values()), lambda entry: entry["target"], lambda deny: deny.target, kind
    )
    _settle_matched(made, kind, matched, known)
    if proposal.scope.zone:
        kept = {entry.get("id") for entry in matched.entries}
        for name in known:
            if name not in kept:
                made.wish(Change(collection="denies", verb="remove", id=name), "denies", -1)


def _grants(made: Plan, kind: Kind, proposal: Proposal, held: Held) -> None:
    subjects = {str(entry.get("subject")) for entry in proposal.grants if "id" not in entry}
    covered = {f"tenant:{name}" for name in proposal.scope.tenants}
    wanted = None if proposal.scope.zone else subjects | covered
    live = list(held.live_grants(wanted)) if wanted is None or wanted else []
    known = {grant.id: grant for grant in live}
    stated = {entry["id"] for entry in proposal.grants if "id" in entry}
    known |= held.find("grants", [name for name in stated if name not in known])
    free = [grant for grant in live if grant.id not in stated] if stated else live
    matched = match(
        proposal.grants, free, lambda entry: (entry["subject"], entry["object"]), lambda g: (g.subject, g.object), kind
    )
    ended = {name: grant for name, grant in known.items() if grant.state not in LIVE}
    for index, entry in enumerate(matched.entries):
        if entry.get("id") in ended and "id" in proposal.grants[index]:
            state = ended[entry["id"]].state
            message = f"names a grant that is {state}; leave the id out for a new one"
            matched.faults.append((index, "id", message))
    taken = held.find("grants", [matched.entries[n]["id"] for n in matched.new])
    for index in matched.new:
        entry = matched.entries[index]
        for turn in range(1, 100):
            if entry["id"] not in taken:
                break
            entry["id"] = made_id(kind, proposal.grants[index], index, turn)
            taken = {**taken, **held.find("grants", [entry["id"]])}
    kept = {entry.get("id") for entry in matched.entries} | {
        name for index, *_ in matched.faults for name in matched.near[index]
    }
    for grant in live:
        if grant.id not in kept and (proposal.scope.zone or grant.subject in covered):
            made.wish(Change(collection="grants", verb="revoke", id=grant.id), "grants", -1)
    _settle_matched(made, kind, matched, known)


def _settle_matched(made: Plan, kind: Kind, matched: Matched, known: Mapping[str, Any]) -> None:
    broken = {index for index, *_ in matched.faults}
    made.faults += [Fault(kind.collection, *fault) for fault in matched.faults]
    for index, entry in enumerate(matched.entries):
        if index not in broken:
            _settle(made, kind, entry, known.get(entry["id"]), index)

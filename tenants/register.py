"""The register: the system of record, and the one door through which it changes.

`apply_changes` is that door. It checks every change against the whole register, writes them in one transaction, bumps
the revision and appends who, when, what before and after, and why. Once there are accounts it also asks who the actor
is and what that person may do alone (tenants.law); what takes a second person is refused with ApprovalNeeded, kept as a
request and applied by tenants.requests. Nothing else writes.
"""

import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
from sqlalchemy import Connection, func, insert, select

from tenants import law, people, schema
from tenants.approval import Approval
from tenants.change import (
    AlreadyExists,
    Applied,
    Change,
    Changed,
    ChangeRefused,
    ConflictingChange,
    InvalidChange,
    StaleChange,
    UnknownItem,
    merge,
)
from tenants.credential import crockford
from tenants.draft import Draft, decoders, encode
from tenants.kinds import Kind
from tenants.migrate import Database
from tenants.model import Origin, Provenance
from tenants.rules import check_id, convert, invalid, refuse_given, refuse_used, unknown

MAX_REASON = 1000  # characters


@dataclass(frozen=True, slots=True)
class Performed:
    """Changes made in a transaction that is still open. current: the revision before; changes with their ids; items:
    each after its change (None: removed); changed leaves out what already was as wished."""

    current: int
    changes: tuple[Change, ...]
    items: tuple[Any, ...]
    changed: tuple[Changed, ...]


class Register:
    """Reads and changes. kinds: the collections by name, parents before their children. Not thread-safe.

    Every method raises tenants.migrate.RegisterUnavailable when the database cannot be used."""

    def __init__(
        self, store: Database, kinds: Mapping[str, Kind], *, randomness: Callable[[int], bytes] = secrets.token_bytes
    ) -> None:
        self.store = store
        self.kinds = kinds
        self._decoders = decoders(kinds)
        # What a new item has in the fields that the register sets; made once, for reading a struct is slow.
        self._given = {
            name: {f.name: f.default for f in msgspec.structs.fields(kind.struct) if f.name in kind.given}
            for name, kind in kinds.items()
        }
        self._randomness = randomness

    def revision(self) -> int:
        """The number of the last change; 0: there was none."""
        with self.store.transaction(write=False) as connection:
            return _revision(connection)

    def get(self, collection: str, item: str) -> tuple[Any, int]:
        """The item and the register's revision. Raises UnknownItem."""
        kind = self.kind(collection)
        with self.store.transaction(write=False) as connection:
            found = Draft(connection, self.kinds).find(collection, item)
            revision = _revision(connection)
        if found is None:
            raise unknown(kind, item)
        return found, revision

    def page(
        self,
        collection: str,
        *,
        query: str = "",
        where: Mapping[str, str] | None = None,
        limit: int = 100,
        after: str = "",
    ) -> tuple[list[Any], str, int]:
        """Items by id, those whose words contain the query and whose key columns equal `where`: the items, the id to go
        on after ("": that was all) and the revision. Raises InvalidChange for an unknown column."""
        kind = self.kind(collection)
        statement = select(kind.table.c.document).order_by(kind.table.c.id).limit(limit + 1)
        if query:
            statement = statement.where(kind.table.c.words.contains(query.casefold(), autoescape=True))
        if after:
            statement = statement.where(kind.table.c.id > after)
        for name, value in (where or {}).items():
            if name not in kind.table.c or name in ("words", "document"):
                raise InvalidChange(f"{collection} cannot be searched by {name}", errors=[(name, "is no search field")])
            statement = statement.where(kind.table.c[name] == value)
        decode = self._decoders[collection]
        with self.store.transaction(write=False) as connection:
            items = [decode(document) for document in connection.execute(statement).scalars()]
            revision = _revision(connection)
        more = len(items) > limit
        return items[:limit], items[limit - 1].id if more else "", revision

    def everything(self) -> tuple[dict[str, list[Any]], int]:
        """All items by collection, as of one revision: what a full compilation reads."""
        with self.store.transaction(write=False) as connection:
            items = {
                name: list(map(self._decoders[name], connection.execute(select(kind.table.c.document)).scalars()))
                for name, kind in self.kinds.items()
            }
            return items, _revision(connection)

    def history(
        self, *, collection: str = "", item: str = "", revision: int = 0, before: int = 0, limit: int = 100
    ) -> list[dict[str, Any]]:
        """Changes, newest first; revision: only those of this one; before: only those with a smaller number."""
        columns = schema.changes.c
        statement = select(schema.changes).order_by(columns.number.desc()).limit(limit)
        for column, value in ((columns.collection, collection), (columns.item, item)):
            if value:
                statement = statement.where(column == value)
        if revision:
            statement = statement.where(columns.revision == revision)
        if before:
            statement = statement.where(columns.number < before)
        with self.store.transaction(write=False) as connection:
            return [dict(row) for row in connection.execute(statement).mappings()]

    def changes_after(self, number: int, limit: int) -> list[dict[str, Any]]:
        """The changes behind one, oldest first."""
        columns = schema.changes.c
        statement = select(schema.changes).where(columns.number > number).order_by(columns.number).limit(limit)
        with self.store.transaction(write=False) as connection:
            return [dict(row) for row in connection.execute(statement).mappings()]

    def revisions_since(self, revision: int) -> list[int]:
        """The numbers of all revisions after one."""
        columns = schema.revisions.c
        later = select(columns.revision).where(columns.revision > revision).order_by(columns.revision)
        with self.store.transaction(write=False) as connection:
            return list(connection.execute(later).scalars())

    def kind(self, collection: str) -> Kind:
        """What is known of the collection. Raises UnknownItem."""
        if collection not in self.kinds:
            raise UnknownItem(f"there is no collection {collection}", f"there are {', '.join(self.kinds)}")
        return self.kinds[collection]

    def apply_change(
        self, change: Change, actor: str, reason: str, now: int, origin: Origin = Origin.BOOTSTRAP
    ) -> Applied:
        """Applies one change; see apply_changes."""
        return self.apply_changes([change], actor, reason, now, origin)

    def apply_changes(
        self,
        changes: Sequence[Change],
        actor: str,
        reason: str,
        now: int,
        origin: Origin = Origin.BOOTSTRAP,
        *,
        seen: int | None = None,
        judge: Callable[[Applied], None] | None = None,
    ) -> Applied:
        """Applies all the changes, or none: one transaction, one revision. now is in Unix seconds. Where there are
        accounts, actor is the id of one, and origin is what the register finds it to be. seen: the revision of the
        whole register that the changes were made from; nothing is applied to a later one. judge is asked once the
        changes are made and before anything else is; what it raises undoes them.

        Raises a ChangeRefused (InvalidChange, AlreadyExists, UnknownItem, ConflictingChange, StaleChange, and with
        accounts Forbidden and ApprovalNeeded) with the index of the change that cannot be."""
        check_reason(reason)
        with self.store.transaction(write=True) as connection:
            if seen is not None and seen != (current := _revision(connection)):
                raise _moved_on(connection, seen, current)
            governed = people.governed(connection)  # before the changes: the first accounts are nobody's to approve
            made = self.perform(connection, changes, actor, reason, now, Origin.DIRECT if governed else origin)
            if judge is not None:
                judge(Applied(made.current + bool(made.changed), made.items, made.changed))
            if governed and made.changed:
                account = people.account(connection, actor)
                law.judge(account, actor, made.changes, made.items, made.changed, self.kinds)
            elif not governed:
                law.found(made.changes, made.changed)
            return self.record(connection, made, actor, reason, now)

    def rehearse(self, changes: Sequence[Change], actor: str, reason: str, now: int) -> Applied:
        """What apply_changes would do, without doing it. Raises as that does."""
        try:
            self.apply_changes(changes, actor, reason, now, judge=_stop)
        except _Rehearsed as rehearsed:
            return rehearsed.applied
        raise AssertionError("a rehearsal was applied")

    def perform(
        self, connection: Connection, changes: Sequence[Change], actor: str, reason: str, now: int, origin: Origin
    ) -> "Performed":
        """Makes the changes within the transaction, without asking whether they may be made: record() completes it,
        an exception undoes it."""
        draft = Draft(connection, self.kinds)
        current = _revision(connection)
        provenance = Provenance(
            origin=origin, actor=actor, reason=reason.strip(), created=now, updated=now, revision=current + 1
        )
        changes = [self._named(change) for change in changes]
        for collection in {change.collection for change in changes} & self.kinds.keys():
            draft.prefetch(collection, (change.id for change in changes if change.collection == collection))
        items = []
        for index, change in enumerate(changes):
            try:
                items.append(self._apply(draft, change, provenance))
            except ChangeRefused as refused:
                refused.index = index
                raise
        draft.flush()
        return Performed(current, tuple(changes), tuple(items), draft.changed())

    def record(
        self,
        connection: Connection,
        made: "Performed",
        actor: str,
        reason: str,
        now: int,
        request: str = "",
        digest: str = "",
        approvals: Sequence[Approval] = (),
    ) -> Applied:
        """Bumps the revision and appends to history and, where there are accounts now, to the chain. request, digest,
        approvals: of the request that is applied."""
        changed, revision, reason = made.changed, made.current + 1, reason.strip()
        if not changed:
            return Applied(made.current, made.items, ())
        stamp = {"time": now, "actor": actor, "reason": reason, "revision": revision}
        connection.execute(insert(schema.revisions), {**stamp, "changes": len(changed)})
        connection.execute(
            insert(schema.changes),
            [
                {
                    **stamp,
                    "collection": one.collection,
                    "item": one.id,
                    "verb": one.verb,
                    "before": None if one.before is None else encode(one.before),
                    "after": None if one.after is None else encode(one.after),
                }
                for one in changed
            ],
        )
        link = ""
        if people.governed(connection):
            link = people.add_link(connection, revision, now, actor, reason, changed, request, digest, approvals)
        return Applied(revision, made.items, changed, link)

    def revisions(self, *, before: int = 0, limit: int = 100) -> list[dict[str, Any]]:
        """Revisions, newest first: number, time, actor, reason, and how many items changed; before: only earlier."""
        columns = schema.revisions.c
        statement = select(schema.revisions).order_by(columns.revision.desc()).limit(limit)
        if before:
            statement = statement.where(columns.revision < before)
        with self.store.transaction(write=False) as connection:
            return [dict(row) for row in connection.execute(statement).mappings()]

    def skip_to(self, revision: int, actor: str, reason: str, now: int) -> int:
        """Moves the revision forward without a change, so that no number ever means two policies: needed when an older
        register was put back than the one that was last published."""
        with self.store.transaction(write=True) as connection:
            if _revision(connection) < revision:
                stamp = {"revision": revision, "time": now, "actor": actor, "reason": reason, "changes": 0}
                connection.execute(insert(schema.revisions), stamp)
                if people.governed(connection):
                    people.add_link(connection, revision, now, actor, reason, ())
            return _revision(connection)

    def governed(self) -> bool:
        """Whether there are accounts."""
        with self.store.transaction(write=False) as connection:
            return people.governed(connection)

    def _apply(self, draft: Draft, change: Change, provenance: Provenance) -> Any:
        kind = self.kind(change.collection)
        if change.verb == "add":
            return self._add(draft, kind, change, provenance)
        before = draft.find(kind.collection, change.id)
        if before is None:
            raise unknown(kind, change.id)
        _refuse_stale(kind, change, before, provenance.revision)
        if change.verb == "edit":
            return self._edit(draft, kind, change, before, provenance)
        if change.verb == "remove" and kind.users is not None:
            draft.flush()
            refuse_used(kind, change, kind.users(draft, change.id))
            draft.put(kind.collection, change.id, "remove", None)
            return None
        if change.verb not in kind.actions:
            offered = ["add", "edit", *(["remove"] if kind.users else []), *kind.actions]
            raise InvalidChange(
                f"{kind.collection} know no {change.verb}", f"there are {', '.join(offered)}", [("verb", "is unknown")]
            )
        action = kind.actions[change.verb]
        if why := action.refuses(before):
            raise ConflictingChange(f"cannot {change.verb} {kind.noun} {change.id}: {why}")
        if action.check is not None:
            draft.flush()
            refuse_used(kind, change, action.check(draft, before))
        effect = action.effect(before, provenance.updated)
        after = msgspec.structs.replace(before, **effect)
        return self._store(draft, kind, change, before, after, provenance, alone=False)

    def _add(self, draft: Draft, kind: Kind, change: Change, provenance: Provenance) -> Any:
        item = change.id
        check_id(kind, item, change.fields.get("id", item))
        if draft.find(kind.collection, item) is not None:
            raise AlreadyExists(f"{kind.noun} {item} exists", "edit it, or choose another id", [("id", "is taken")])
        after = convert(kind, {**change.fields, "id": item})
        refuse_given(kind, after, self._given[kind.collection])
        after = msgspec.structs.replace(after, **kind.assign(draft, after))
        return self._store(draft, kind, change, None, after, provenance)

    def _edit(self, draft: Draft, kind: Kind, change: Change, before: Any, provenance: Provenance) -> Any:
        after = convert(kind, merge(msgspec.to_builtins(before), change.fields))
        kept = {name: getattr(before, name) for name in ("id", *kind.given, *kind.fixed)}
        refuse_given(kind, after, kept)
        return before if after == before else self._store(draft, kind, change, before, after, provenance)

    def _store(
        self,
        draft: Draft,
        kind: Kind,
        change: Change,
        before: Any,
        after: Any,
        provenance: Provenance,
        *,
        alone: bool = True,
    ) -> Any:
        """alone: whether the item must be right in itself; an action that ends an old one with a fault may not fail."""
        errors = kind.validate(after) if alone else []
        errors = errors or kind.check(draft, before, after)
        if errors:
            raise invalid(kind, errors)
        if before is not None:
            first: Provenance = before.provenance
            # What one person does alone opens nothing, so the item stands on the same word as before.
            origin = first.origin if provenance.origin is Origin.DIRECT else provenance.origin
            provenance = msgspec.structs.replace(provenance, created=first.created, origin=origin)
        after = msgspec.structs.replace(after, provenance=provenance)
        draft.put(kind.collection, after.id, change.verb, after)
        return after

    def _named(self, change: Change) -> Change:
        """The change with its id: made up, of 50 random bits, where the collection's ids may be left out."""
        item = change.id or change.fields.get("id", "")
        if not item and change.verb == "add" and self.kind(change.collection).id_prefix:
            item = self.kind(change.collection).id_prefix + crockford(self._randomness(8), 10)
        return msgspec.structs.replace(change, id=item) if isinstance(item, str) else change


def check_reason(reason: str) -> None:
    """Raises InvalidChange for a reason that is none."""
    if not reason.strip() or len(reason.strip()) > MAX_REASON or not reason.strip().isprintable():
        message = f"is needed: why, in one line of at most {MAX_REASON} characters"
        raise InvalidChange("a change needs a reason", "say why", [("reason", message)])


def _refuse_stale(kind: Kind, change: Change, before: Any, own: int) -> None:
    """Raises StaleChange where somebody changed the item after it was seen; own: the revision being made, whose earlier
    changes are the same person's."""
    last: Provenance = before.provenance
    if change.revision and last.revision not in (change.revision, own):
        detail = f"{kind.noun} {change.id} was changed in revision {last.revision} by {last.actor}"
        raise StaleChange(f"{detail}: {last.reason}", "look at it again, then repeat the change")


class _Rehearsed(Exception):  # noqa: N818 - it undoes what was tried, and is no error
    def __init__(self, applied: Applied) -> None:
        super().__init__()
        self.applied = applied


def _stop(applied: Applied) -> None:
    raise _Rehearsed(applied)


def _moved_on(connection: Connection, seen: int, current: int) -> StaleChange:
    """The register is not at the revision that was seen."""
    columns = schema.revisions.c
    last = connection.execute(select(schema.revisions).where(columns.revision == current)).first()
    who = f": {last.actor}, {last.reason}" if last is not None else ""
    detail = f"the register is at revision {current}{who}; the changes were made from revision {seen}"
    return StaleChange(detail, "make the plan again, look at it, then apply it")


def _revision(connection: Connection) -> int:
    return connection.execute(select(func.max(schema.revisions.c.revision))).scalar() or 0

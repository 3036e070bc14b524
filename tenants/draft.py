"""The register as one transaction sees it: items read once, writes gathered and sent in batches."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import msgspec
from sqlalchemy import Connection, Table, bindparam, delete, func, insert, select, update

from tenants.change import Changed
from tenants.kinds import Kind

_CHUNK = 500  # ids per look-up, well below SQLite's limit of bound variables
_encoder = msgspec.json.Encoder()


def encode(item: Any) -> str:
    """The item as its row's document."""
    return _encoder.encode(item).decode()


def decoders(kinds: Mapping[str, Kind]) -> dict[str, Callable[[str], Any]]:
    """How each collection's documents are read. Raises msgspec.ValidationError for what is not an item."""
    return {name: msgspec.json.Decoder(kind.struct).decode for name, kind in kinds.items()}


class Draft:
    """Items of the open transaction; fulfils tenants.kinds.Reader."""

    def __init__(self, connection: Connection, kinds: Mapping[str, Kind]) -> None:
        self._connection = connection
        self._kinds = kinds
        self._decoders = decoders(kinds)
        self._seen: dict[tuple[str, str], Any] = {}
        self._first: dict[tuple[str, str], tuple[str, Any]] = {}  # (verb, item before the transaction)
        self._stored: set[tuple[str, str]] = set()
        self._pending: dict[tuple[str, str], Any] = {}
        self._numbers: dict[tuple[Table, str], int] = {}

    @property
    def connection(self) -> Connection:
        """The transaction's connection."""
        return self._connection

    def find(self, collection: str, item: str) -> Any:
        """The item with its changes so far, or None."""
        key = (collection, item)
        if key not in self._seen:
            self.prefetch(collection, [item])
        return self._seen[key]

    def prefetch(self, collection: str, ids: Iterable[str]) -> None:
        """Reads many items at once, so that a bulk change does not ask for each."""
        table, decode = self._kinds[collection].table, self._decoders[collection]
        wanted = [item for item in dict.fromkeys(ids) if (collection, item) not in self._seen]
        for start in range(0, len(wanted), _CHUNK):
            chunk = wanted[start : start + _CHUNK]
            for item in chunk:
                self._seen[collection, item] = None
            rows = self._connection.execute(select(table.c.id, table.c.document).where(table.c.id.in_(chunk)))
            for name, document in rows:
                self._seen[collection, name] = decode(document)
                self._stored.add((collection, name))

    def put(self, collection: str, item: str, verb: str, after: Any) -> None:
        """Replaces an item (None: removes it)."""
        key = (collection, item)
        if key not in self._first:
            self._first[key] = (verb, self.find(collection, item))
        self._seen[key] = self._pending[key] = after

    def next_number(self, table: Table, column: str) -> int:
        """One more than the highest number in the column, counted on within the transaction."""
        key = (table, column)
        if key not in self._numbers:
            self._numbers[key] = self._connection.execute(select(func.max(table.c[column]))).scalar() or 0
        self._numbers[key] += 1
        return self._numbers[key]

    def changed(self) -> tuple[Changed, ...]:
        """What differs from before the transaction, in the order first touched."""
        return tuple(
            Changed(collection, item, verb, before, self._seen[collection, item])
            for (collection, item), (verb, before) in self._first.items()
            if before is not self._seen[collection, item]
        )

    def flush(self) -> None:
        """Writes what is pending, table by table."""
        if not self._pending:
            return
        pending, self._pending = self._pending, {}
        for name, kind in self._kinds.items():
            items = {item: after for (collection, item), after in pending.items() if collection == name}
            if items:
                self._write(kind, items)

    def _write(self, kind: Kind, items: Mapping[str, Any]) -> None:
        known = [item for item in items if (kind.collection, item) in self._stored]
        for child in kind.children:
            self._execute(delete(child.table).where(child.table.c[child.parent] == bindparam("of")), "of", known)
        removed = [item for item in known if items[item] is None]
        self._execute(delete(kind.table).where(kind.table.c.id == bindparam("of")), "of", removed)
        self._stored.difference_update((kind.collection, item) for item in removed)
        rows = {
            item: {
                **kind.keys(after),
                "words": kind.words(after),
                "document": encode(after),
            }
            for item, after in items.items()
            if after is not None
        }
        edits = [{"of": item, **rows[item]} for item in known if item in rows]
        if edits:
            statement = update(kind.table).where(kind.table.c.id == bindparam("of"))
            self._connection.execute(statement.values({n: bindparam(n) for n in edits[0] if n != "of"}), edits)
        news = [{"id": item, **row} for item, row in rows.items() if (kind.collection, item) not in self._stored]
        if news:
            self._connection.execute(insert(kind.table), news)
            self._stored.update((kind.collection, row["id"]) for row in news)
        for child in kind.children:
            parts = [row for after in items.values() if after is not None for row in child.rows(after)]
            if parts:
                self._connection.execute(insert(child.table), parts)

    def _execute(self, statement: Any, name: str, values: list[str]) -> None:
        if values:
            self._connection.execute(statement, [{name: value} for value in values])

"""What the register holds, for a plan: read in one transaction, so as of one revision."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from itertools import batched
from typing import Any

import msgspec

from tenants import queries
from tenants.draft import decoders
from tenants.kinds import Kind
from tenants.register import Register
from whitelist.model import Grant
from whitelist.plan import LIVE

_CHUNK = 500  # ids in one question, well below what databases take


class Holding:
    """Fulfils whitelist.plan.Held."""

    def __init__(self, connection: Any, kinds: Mapping[str, Kind]) -> None:
        self._connection = connection
        self._kinds = kinds
        self._decoders: dict[str, Callable[[str], Any]] = decoders(kinds)

    def find(self, collection: str, ids: Iterable[str]) -> Mapping[str, Any]:
        """The items with these ids that there are."""
        table, decode = self._kinds[collection].table, self._decoders[collection]
        return {
            name: decode(document)
            for chunk in batched(dict.fromkeys(ids), _CHUNK)
            for name, document in queries.documents(self._connection, table, chunk)
        }

    def live_grants(self, subjects: Iterable[str] | None) -> Iterator[Grant]:
        """Grants in force or suspended of these subjects, or of all."""
        decode = msgspec.json.Decoder(Grant).decode
        if subjects is None:
            grants = map(
                decode, (document for _, document in queries.documents(self._connection, self._table("grants")))
            )
            yield from (grant for grant in grants if grant.state in LIVE)
            return
        by_kind: dict[str, list[str]] = {"tenant": [], "group": []}
        for subject in sorted(subjects):
            kind, _, name = subject.partition(":")
            by_kind[kind].append(name)
        for kind, column in (("tenant", "tenant"), ("group", "group_id")):
            for chunk in batched(by_kind[kind], _CHUNK):
                yield from map(decode, queries.live_grants(self._connection, LIVE, column, chunk))

    def everything(self, collection: str) -> Iterator[Any]:
        """All items of a collection."""
        decode = self._decoders[collection]
        return (decode(document) for _, document in queries.documents(self._connection, self._table(collection)))

    def _table(self, collection: str) -> Any:
        return self._kinds[collection].table


@contextmanager
def holding(register: Register) -> Iterator[Holding]:
    """The register as of now. Raises RegisterUnavailable."""
    with register.store.transaction(write=False) as connection:
        yield Holding(connection, register.kinds)

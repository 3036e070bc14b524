"""A policy that nobody enforces: a proposed one, asked with the very verdict that traffic gets.

It is made of the same rows as the published one: from a document alone, or from the policy in force with the items that
would change laid over it, as the publisher would lay them.
"""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Self

from tenants.change import Changed
from tenants.model import Side
from whitelist import compiler
from whitelist.catalogue import HostRows
from whitelist.document import Document
from whitelist.entries import LineEntry, TenantEntry, decode_line, decode_tenant
from whitelist.snapshot import Snapshot

_PREFIXES = (b"4", b"6")


class Trial:
    """Fulfils whitelist.catalogue.Policy. For one thread, as long as what it was laid over is open."""

    def __init__(
        self,
        get: Callable[[bytes], bytes | None],
        lines: Iterable[LineEntry],
        lengths: Mapping[int, Iterable[int]],
        revision: int,
    ) -> None:
        self.get = get
        self.revision = revision
        self.known: dict[bytes, HostRows | None] = {}
        self._lines = {line.id: line for line in lines}
        self.abroad = frozenset(
            line.id for line in self._lines.values() if line.side is Side.ABROAD and not line.retired
        )
        self.prefix_lengths = {family: tuple(sorted(set(has), reverse=True)) for family, has in lengths.items()}

    @classmethod
    def of(cls, document: Document) -> Self:
        """A policy of these items alone, in memory."""
        with TemporaryDirectory(prefix="feiyu-trial-") as scratch:
            rows = dict(compiler.compiled(document, Path(scratch) / "sort"))
        return cls(rows.get, _lines(rows), _lengths(rows), 0)

    @classmethod
    def over(cls, snapshot: Snapshot, changes: Iterable[Changed]) -> Self:
        """The policy in force with these changes."""
        laid = compiler.changed(snapshot.get, changes)

        def get(key: bytes) -> bytes | None:
            return laid[key] if key in laid else snapshot.get(key)

        kept = {line.id: line for line in snapshot.lines().values() if b"l" + line.id.encode() not in laid}
        lines = [*kept.values(), *_lines(laid)]
        fresh = _lengths(laid)
        lengths = {family: (*has, *fresh[family]) for family, has in snapshot.prefix_lengths.items()}
        return cls(get, lines, lengths, snapshot.revision + 1)

    def line(self, name: str) -> LineEntry | None:
        """A line."""
        return self._lines.get(name)

    def tenant(self, name: str) -> TenantEntry | None:
        """A tenant, in whatever state."""
        value = self.get(b"t" + name.encode())
        return None if value is None else decode_tenant(value)


def _lines(rows: Mapping[bytes, bytes | None]) -> list[LineEntry]:
    return [decode_line(value) for key, value in rows.items() if key[:1] == b"l" and value is not None]


def _lengths(rows: Mapping[bytes, bytes | None]) -> dict[int, set[int]]:
    found: dict[int, set[int]] = {4: set(), 6: set()}
    for key in rows:
        if key[:1] in _PREFIXES:
            found[int(key[:1])].add(int(key[1:4]))
    return found

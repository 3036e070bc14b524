"""A proposal without a register: what can be said, and asked, of policy files alone."""

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from tenants.change import InvalidChange
from tenants.kinds import Kind
from tenants.rules import convert
from whitelist.document import Document
from whitelist.match import made_id
from whitelist.model import Grant, Line
from whitelist.plan import Fault, plan
from whitelist.proposal import COLLECTIONS, Proposal

_MISSING = "is needed"  # as tenants.rules says it


class Nothing:
    """An empty register; fulfils whitelist.plan.Held."""

    def find(self, _collection: str, _ids: Iterable[str]) -> Mapping[str, Any]:
        """No item."""
        return {}

    def live_grants(self, _subjects: Iterable[str] | None) -> Iterable[Grant]:
        """No grant."""
        return ()

    def everything(self, _collection: str) -> Iterable[Any]:
        """No item."""
        return ()


def faults(proposal: Proposal, kinds: Mapping[str, Kind]) -> list[Fault]:
    """What is wrong with the entries in themselves. A tenant may be named in part: the register may know the rest."""
    return [
        fault
        for fault in plan(proposal, Nothing(), kinds).faults
        if not (fault.collection == "tenants" and fault.message == _MISSING)
    ]


def document_of(proposal: Proposal, kinds: Mapping[str, Kind]) -> tuple[Document, tuple[str, ...]]:
    """The entries that are whole, as a policy; and the lines that grants name, of which files know nothing: they are
    taken to lead abroad."""
    items: dict[str, list[Any]] = {}
    for collection in COLLECTIONS:
        kind = kinds[collection]
        found = []
        for index, entry in enumerate(getattr(proposal, collection)):
            try:
                item = convert(kind, {"id": made_id(kind, entry, index), **entry})
            except InvalidChange:
                continue
            found.append(msgspec.structs.replace(item, slot=index) if collection == "tenants" else item)
        items[collection] = found
    names = tuple(sorted({name for grant in items["grants"] for name in grant.lines}))
    lines = [Line(id=name, device=f"line{n}", index=n) for n, name in enumerate(names, 1)]
    return Document(lines=lines, **items), names

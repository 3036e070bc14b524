"""Which item an entry without an id is about. Pure.

A grant is the live one of the same subject and object, a deny the one of the same target; what is new gets an id made
of what it says, so that the same plan names the same items each time.
"""

import hashlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from tenants.change import InvalidChange
from tenants.credential import crockford
from tenants.kinds import Kind
from tenants.rules import convert

Fields = dict[str, Any]


@dataclass(slots=True)
class Matched:
    """Entries with their ids, those of them that are new, and those that could be several: with what they could be."""

    entries: list[Fields]
    new: list[int] = field(default_factory=list)
    faults: list[tuple[int, str, str]] = field(default_factory=list)
    near: dict[int, list[str]] = field(default_factory=lambda: defaultdict(list))


def match(
    entries: Sequence[Fields],
    held: Iterable[Any],
    key: Callable[[Fields], Any],
    key_of: Callable[[Any], Any],
    kind: Kind,
) -> Matched:
    """Gives ids to the entries without one: those of items that say the same; then, of one entry and one item left with
    the same key, the item's; ids of their own where there is none."""
    matched = Matched([dict(entry) for entry in entries])
    items: dict[Any, list[Any]] = defaultdict(list)
    stated = {entry["id"] for entry in entries if "id" in entry}
    for item in held:
        if item.id not in stated:
            items[key_of(item)].append(item)
    waiting: dict[Any, list[int]] = defaultdict(list)
    for index, entry in enumerate(entries):
        if "id" not in entry:
            waiting[key(entry)].append(index)
    for what, indexes in waiting.items():
        left = items.get(what, [])
        rest = []
        for index in indexes:
            same = next((item for item in left if _says(kind, entries[index], item)), None) if left else None
            if same is None:
                rest.append(index)
            else:
                left = [item for item in left if item is not same]
                matched.entries[index]["id"] = same.id
        if len(rest) == len(left) == 1:
            matched.entries[rest[0]]["id"] = left[0].id
        elif left and rest:
            names = [item.id for item in left]
            for index in rest:
                matched.near[index] = names
                matched.faults.append(
                    (index, "id", f"could be any of {', '.join(names[:5])}; name the one that is meant")
                )
        else:
            for index in rest:
                matched.entries[index]["id"] = made_id(kind, entries[index], index)
                matched.new.append(index)
    return matched


def _says(kind: Kind, entry: Fields, item: Any) -> bool:
    """Whether an item is just as the entry says."""
    try:
        after = convert(kind, {**entry, "id": item.id})
    except InvalidChange:
        return False
    return bool(msgspec.structs.replace(after, **{given: getattr(item, given) for given in kind.given}) == item)


def made_id(kind: Kind, entry: Fields, index: int, turn: int = 0) -> str:
    """An id made of what an entry says and where it stands."""
    said = msgspec.json.encode([entry, index, turn], order="sorted")
    return kind.id_prefix + crockford(hashlib.sha256(said).digest()[:8], 10)

"""A rule's condition as a tree of its own: evaluated on records, and asked what it needs and where it can be true.

The tree is in negation normal form: only leaves are negated. So whether something can be true is decided by going up.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum

from telemetry.interception.fields import Field, Known, Place, Type
from telemetry.record import Record

type Predicate = Callable[[Record], bool]


class Match(StrEnum):
    """How a leaf compares texts; numbers and the rest are OTHER."""

    EQUALS = "equals"
    STARTS = "starts with"
    ENDS = "ends with"
    CONTAINS = "contains"
    PATTERN = "matches"
    OTHER = "is"


@dataclass(frozen=True, slots=True)
class Atom:
    """What must be so in a field for a leaf to hold, in a form that can be looked up for many rules at once. text: the
    literal, in lower case unless cased; or an RE2 pattern over the field's own case (cased) or lower case."""

    field: Field
    match: Match
    text: str
    cased: bool = False


@dataclass(frozen=True, slots=True)
class Leaf:
    """One comparison. name: the field as the rule writes it, "" for keywords; field: None for one that is never
    recorded; also: a second field that it is compared with; of_absent: whether it holds of a field that is absent;
    rises: once true of a flow, it stays true; fits: whether any value of the field at this place could make it true;
    says: the same for leaves that say the same."""

    name: str
    field: Field | None
    holds: Predicate
    says: tuple[str, ...]
    atom: Atom | None = None
    of_absent: bool = False
    rises: bool = False
    negated: bool = False
    also: Field | None = None
    fits: Callable[[Place], bool] = lambda _: True

    def there(self, place: Place) -> bool:
        """Whether records of this place have the field."""
        return self.name == "" or (self.field is not None and place in self.field.places)


@dataclass(frozen=True, slots=True)
class Every:
    """All of them hold."""

    parts: tuple["Node", ...]


@dataclass(frozen=True, slots=True)
class Some:
    """At least one of them holds."""

    parts: tuple["Node", ...]


type Node = Leaf | Every | Some


def negate(node: Node) -> Node:
    """The opposite, with the negation moved to the leaves."""
    match node:
        case Every(parts):
            return Some(tuple(map(negate, parts)))
        case Some(parts):
            return Every(tuple(map(negate, parts)))
        case Leaf():
            return Leaf(
                node.name,
                node.field,
                _not(node.holds),
                node.says,
                of_absent=not node.of_absent,
                negated=not node.negated,
                also=node.also,
            )


def predicate(node: Node) -> Predicate:
    """The function that says whether a record fulfils the tree."""
    match node:
        case Leaf():
            return node.holds
        case Every(parts):
            return _every(tuple(map(predicate, parts)))
        case Some(parts):
            return _one_of(parts) or _some(tuple(map(predicate, parts)))


def _not(holds: Predicate) -> Predicate:
    return lambda record: not holds(record)


def _every(parts: tuple[Predicate, ...]) -> Predicate:
    if len(parts) == 2:
        first, second = parts
        return lambda record: first(record) and second(record)
    first, rest = parts[0], _every(parts[1:])
    return lambda record: first(record) and rest(record)


def _one_of(parts: tuple[Node, ...]) -> Predicate | None:
    """Many texts that one field may equal are looked up at once; None for anything else."""
    texts: set[str] = set()
    fields: dict[str, Field] = {}
    for part in parts:
        atom = part.atom if isinstance(part, Leaf) and not part.negated else None
        if (
            atom is None
            or atom.match is not Match.EQUALS
            or atom.cased
            or not atom.text
            or atom.field.type is Type.NUMBER
        ):
            return None
        texts.add(atom.text)
        fields[atom.field.name] = atom.field
    if len(fields) != 1:
        return None
    (field,) = fields.values()
    get = field.get

    def holds(record: Record) -> bool:
        value = get(record)
        if type(value) is str:
            return value.lower() in texts
        return isinstance(value, tuple) and any(text.lower() in texts for text in value)

    return holds


def _some(parts: tuple[Predicate, ...]) -> Predicate:
    if len(parts) == 2:
        first, second = parts
        return lambda record: first(record) or second(record)
    return lambda record: any(part(record) for part in parts)


def leaves(node: Node) -> Iterator[Leaf]:
    """All comparisons."""
    if isinstance(node, Leaf):
        yield node
    else:
        for part in node.parts:
            yield from leaves(part)


def requirement(node: Node, weight: Callable[[Atom], int]) -> tuple[Atom, ...]:
    """Atoms of which at least one is so whenever the tree is true, of the least weight in all; empty where there are
    none such."""
    match node:
        case Leaf():
            return (node.atom,) if node.atom else ()
        case Some(parts):
            found = [requirement(part, weight) for part in parts]
            return tuple(dict.fromkeys(atom for atoms in found for atom in atoms)) if all(found) else ()
        case Every(parts):
            usable = [atoms for part in parts if (atoms := requirement(part, weight))]
            return min(usable, key=lambda atoms: sum(map(weight, atoms)), default=())


def required_values(node: Node, field: str) -> frozenset[str] | None:
    """The texts of which a field must equal one for the tree to be true; None where others do too."""
    match node:
        case Leaf():
            named = node.atom is not None and node.atom.field.name == field and node.atom.match is Match.EQUALS
            return frozenset((node.atom.text,)) if named and node.atom else None
        case Some(parts):
            found = [required_values(part, field) for part in parts]
            return frozenset[str]().union(*(f for f in found if f)) if None not in found else None
        case Every(parts):
            sets = [values for part in parts if (values := required_values(part, field)) is not None]
            return frozenset.intersection(*sets) if sets else None


def without(node: Node, field: str) -> Node | None:
    """The tree without what it asks of a field at its top, for whoever has asked that already; None where nothing is
    left."""
    if isinstance(node, Every):
        parts = tuple(part for part in node.parts if required_values(part, field) is None)
        return Every(parts) if len(parts) > 1 else parts[0] if parts else None
    return node if required_values(node, field) is None else None


def known(node: Node) -> Known:
    """From which record of a flow on the tree may be asked. A flow's bytes so far say nothing about an upper limit."""
    latest = Known.OPEN
    for leaf in leaves(node):
        if leaf.name == "" or (leaf.field is not None and leaf.field.grows and (leaf.negated or not leaf.rises)):
            return Known.CLOSE
        latest = max(latest, *(field.known for field in (leaf.field, leaf.also) if field), Known.OPEN)
    return latest


def can_be(node: Node, place: Place) -> bool:
    """False where no record of this place can fulfil the tree."""
    match node:
        case Leaf():
            if not node.there(place):
                return node.of_absent
            return node.negated or node.fits(place)
        case Some(parts):
            return any(can_be(part, place) for part in parts)
        case Every(parts):
            return all(can_be(part, place) for part in parts) and not _contradicts(parts)


def _contradicts(parts: tuple[Node, ...]) -> bool:
    """Whether what must hold together cannot: a leaf and its opposite, or one field with two values."""
    flat = list(_flat(parts))
    said = {leaf.says for leaf in flat if isinstance(leaf, Leaf) and not leaf.negated}
    denied = {leaf.says for leaf in flat if isinstance(leaf, Leaf) and leaf.negated}
    if said & denied or any(isinstance(node, Some) and not _left(node, said, denied) for node in flat):
        return True
    values: dict[str, str] = {}
    for leaf in flat:
        atom = leaf.atom if isinstance(leaf, Leaf) and not leaf.negated else None
        single = atom and atom.match is Match.EQUALS and not atom.cased and not atom.field.several
        if atom and single and values.setdefault(atom.field.name, atom.text) != atom.text:
            return True
    return False


def _left(node: Node, said: set[tuple[str, ...]], denied: set[tuple[str, ...]]) -> bool:
    """Whether a tree can still be true when these leaves are true and those are not."""
    match node:
        case Leaf():
            return node.says not in (said if node.negated else denied)
        case Some(parts):
            return any(_left(part, said, denied) for part in parts)
        case Every(parts):
            return all(_left(part, said, denied) for part in parts)


def _flat(parts: tuple[Node, ...]) -> Iterator[Node]:
    for part in parts:
        if isinstance(part, Every):
            yield from _flat(part.parts)
        else:
            yield part


def lacking(node: Node, place: Place) -> list[str]:
    """Why the tree cannot be true at this place: the fields, each once."""
    match node:
        case Leaf():
            if can_be(node, place):
                return []
            return [node.name if not node.there(place) else f"{node.name} (no such value)"]
        case _:
            return list(dict.fromkeys(name for part in node.parts for name in lacking(part, place)))

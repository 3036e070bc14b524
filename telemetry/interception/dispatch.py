"""Which rules may hold of a record, found without asking each: an index over what their conditions require.

Of every rule one requirement is taken (a name, a user agent, a part of a URI); all requirements on one field are looked
up together, equal texts in a dictionary and the rest in one RE2 set, and what was found is remembered by the field's
value, since values repeat. A rule that requires nothing that can be looked up is asked of every record.
"""

from collections.abc import Callable, Hashable, Iterable
from typing import Any

import re2

from telemetry.interception.condition import Atom, Match, requirement
from telemetry.interception.fields import Getter, Value
from telemetry.interception.leaf import texts
from telemetry.interception.pattern import Pattern, compile_pattern
from telemetry.interception.rule import Rule
from telemetry.record import Record

_REMEMBERED = 8192  # values of one field
_LONGEST = 512  # characters of a value that is remembered
_SET_BYTES = 64 << 20  # for one RE2 set, its program and what it has worked out so far
# Fields with few values: looked up only for want of something better.
_COMMON = frozenset(("kind", "method", "decision", "port", "listener", "line", "tenant", "scheme", "status", "action",
    "keywords", "service", "site", "room", "interface", "node", "worker", "cause"))  # fmt: skip

type Found = tuple[Any, ...]


def weight(atom: Atom) -> int:
    """How much a record that merely has this costs: the less likely, the less."""
    by_match = {Match.EQUALS: 1, Match.STARTS: 2, Match.ENDS: 2, Match.CONTAINS: 3}.get(atom.match, 10)
    return by_match + (30 if 0 < len(atom.text) < 4 else 0) + (1000 if atom.field.name in _COMMON else 0)


class _Set:
    """Patterns over one text; each with the entries that require it."""

    def __init__(self, patterns: dict[str, set[int]]) -> None:
        self._patterns = patterns
        self._entries = list(patterns.values())
        options = re2.Options()
        options.log_errors = False
        options.max_mem = _SET_BYTES
        self._set = re2.Set.SearchSet(options)
        for pattern in patterns:
            self._set.Add(pattern)
        self._always = self._set.Add("")  # where it is missing, the set ran out of memory and has said nothing
        self._set.Compile()
        self._single: list[Pattern] = []

    def look(self, text: str) -> set[int]:
        """Entries of all patterns that are found in the text."""
        numbers = self._set.Match(text.encode("utf-8", "replace")) or ()
        if self._always not in numbers:
            self._single = self._single or [compile_pattern(pattern) for pattern in self._patterns]
            numbers = [number for number, pattern in enumerate(self._single) if pattern.search(text)]
        return set[int]().union(*(self._entries[n] for n in numbers if n != self._always))


class _Field:
    """All requirements on one field."""

    def __init__(self, get: Getter) -> None:
        self.get = get
        self.equal: tuple[dict[str, set[int]], dict[str, set[int]]] = ({}, {})  # by cased
        self.patterns: tuple[dict[str, set[int]], dict[str, set[int]]] = ({}, {})

    def add(self, atom: Atom, entry: int) -> None:
        if atom.match is Match.EQUALS:
            self.equal[atom.cased].setdefault(atom.text, set()).add(entry)
        else:
            self.patterns[atom.cased].setdefault(_pattern(atom), set()).add(entry)

    def lookup(self, entries: list[Any]) -> Callable[[Value], Found]:
        """The function from a value to what may hold. It remembers what it found."""
        sets = tuple(_Set(patterns) if patterns else None for patterns in self.patterns)

        def look(value: Value) -> Found:
            found: set[int] = set()
            for text in texts(value):
                for given, equal, patterns in zip((text.lower(), text), self.equal, sets, strict=True):
                    found |= equal.get(given, frozenset())
                    if patterns:
                        found |= patterns.look(given)
            return tuple(entries[number] for number in sorted(found))

        return look


def _pattern(atom: Atom) -> str:
    literal = re2.escape(atom.text)
    match atom.match:
        case Match.STARTS:
            return rf"\A{literal}"
        case Match.ENDS:
            return rf"{literal}\z"
        case Match.CONTAINS:
            return str(literal)
    return atom.text


def _size(value: Value) -> int:
    if isinstance(value, tuple):
        return sum(map(len, value))
    return len(value) if isinstance(value, str) else 0


class Index[Entry]:
    """Entries by the rule that they hang on; all are asked of the same kind of record."""

    def __init__(self, entries: Iterable[tuple[Rule, Entry]]) -> None:
        fields: dict[str, _Field] = {}
        always: list[Entry] = []
        kept: list[Entry] = []
        for rule, entry in entries:
            kept.append(entry)
            atoms = requirement(rule.tree, weight)
            if not atoms or any(atom.field.name == "kind" for atom in atoms):  # all here are of one kind
                always.append(entry)
                continue
            for atom in atoms:
                fields.setdefault(atom.field.name, _Field(atom.field.get)).add(atom, len(kept) - 1)
        self.always: tuple[Entry, ...] = tuple(always)
        self._fields: tuple[tuple[Getter, dict[Hashable, Found], Callable[[Value], Found]], ...] = tuple(
            (field.get, {}, field.lookup(kept)) for field in fields.values()
        )

    def candidates(self, record: Record) -> list[Entry]:
        """Entries whose rules may hold of the record, in no order; one may be there twice."""
        found: list[Entry] = []
        for get, memo, look in self._fields:
            value = get(record)
            if value is None:
                continue
            known = memo.get(value)
            if known is None:
                known = look(value)
                if len(memo) >= _REMEMBERED:
                    memo.clear()
                if _size(value) <= _LONGEST:
                    memo[value] = known
            if known:
                found += known
        return found

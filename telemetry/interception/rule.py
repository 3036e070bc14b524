"""One document of a rule, checked key by key, to a rule that runs.

pySigma reads the detection and the condition; whatever it would pass over in silence or refuse without a line is looked
at first.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from sigma.conditions import (
    ConditionAND,
    ConditionFieldEqualsValueExpression,
    ConditionItem,
    ConditionNOT,
    ConditionOR,
    ConditionValueExpression,
)
from sigma.exceptions import SigmaError
from sigma.rule import SigmaDetection, SigmaDetectionItem, SigmaRule
from sigma.types import Placeholder, SigmaExpansion, SigmaRegularExpression, SigmaString, SigmaType

from telemetry.interception.condition import (
    Every,
    Leaf,
    Node,
    Predicate,
    Some,
    known,
    negate,
    predicate,
    required_values,
    without,
)
from telemetry.interception.document import Document
from telemetry.interception.fields import KINDS_SINCE, NODE_KINDS, Field, Place
from telemetry.interception.leaf import leaf_of
from telemetry.interception.networks import Networks
from telemetry.interception.novelty import New, parse_new
from telemetry.interception.pattern import LeafError
from telemetry.interception.problem import FaultError
from telemetry.interception.response import Response, parse_response
from telemetry.interception.taxonomy import Source, UnknownFieldError, field_of, source_of

LIST_FIELDS = "`feiyu rule fields` lists the fields"
MAX_LEAVES = 20_000  # of one rule
LEVELS = ("informational", "low", "medium", "high", "critical")


@dataclass(frozen=True, slots=True)
class Given:
    """What the operator adds to rules: lists for placeholders, and the networks of addresses."""

    placeholders: Mapping[str, list[str]] = field(default_factory=dict)
    networks: Networks | None = None


@dataclass(slots=True)
class Head:
    """What every rule says of itself. id: its UUID, or its name where it has none."""

    id: str
    title: str
    level: str
    author: str
    file: str
    line: int
    response: Response
    name: str = ""
    runbook: str = ""
    tests: Any = None


@dataclass(frozen=True, slots=True)
class Novel:
    """What of a hit must be new: the value of a field, for a group."""

    of: New
    field: Field
    group: tuple[Field, ...]


@dataclass(slots=True)
class Rule:
    """A compiled rule. kinds: of records it is asked of; asks: the same as
    holds, of records of those kinds; output: it tells of its own hits (a rule that only feeds a
    correlation does not); missing: fields without which it never fires, whatever its condition."""

    head: Head
    source: Source
    tree: Node
    holds: Predicate
    kinds: frozenset[str]
    asks: Predicate
    output: bool = True
    text: str = field(default="", repr=False)  # tells one version of the rule from another
    novel: Novel | None = None
    missing: tuple[str, ...] = ()


def source_in(body: dict[str, Any], given: Given) -> Source:
    """The log source that a document names."""
    named = body.get("logsource")
    if not isinstance(named, dict):
        return Source("", frozenset(), "it names no log source")
    names = (str(v) if (v := named.get(key)) is not None else None for key in ("category", "product", "service"))
    return replace(source_of(*names), networks=given.networks)


def expand(item: SigmaDetectionItem, given: Given) -> None:
    """Puts the operator's lists in the place of %name%. Raises LeafError for a name that has none."""

    def put(placeholder: Placeholder) -> Iterator[str]:
        if placeholder.name not in given.placeholders:
            raise LeafError(
                f"no values are known for the placeholder %{placeholder.name}%",
                f"add {placeholder.name}: with a list to placeholders.yaml beside the rules",
            )
        yield from given.placeholders[placeholder.name]

    if any(isinstance(v, SigmaString | SigmaRegularExpression) and v.contains_placeholder() for v in item.value):
        expanded: list[SigmaType] = []
        for value in item.value:
            if isinstance(value, SigmaString | SigmaRegularExpression) and value.contains_placeholder():
                expanded.append(SigmaExpansion([*value.replace_placeholders(put)]))
            else:
                expanded.append(value)
        item.value = expanded


def said(error: SigmaError) -> str:
    """pySigma's words in one line."""
    return " ".join(str(error.args[0] if error.args else error).split())[:300]


def head_of(document: Document, response: Response) -> Head:
    """The document's own words about itself."""
    body = document.body
    id_ = str(body.get("id") or body.get("name"))
    level = str(body.get("level", "")) if body.get("level") in LEVELS else "informational"
    return Head(
        id=id_,
        title=" ".join(str(body["title"]).split()),
        level=level,
        author=" ".join(str(body.get("author", "")).split()),
        file=document.file,
        line=document.line_of("title"),
        response=response,
        name=str(body.get("name", "")),
        runbook=str(body.get("runbook", "")),
        tests=body.get("tests"),
    )


def compile_rule(document: Document, parsed: SigmaRule, given: Given) -> Rule:
    """The rule of a document that check() found nothing wrong with. Raises FaultError."""
    source = source_in(document.body, given)
    for detection in parsed.detection.detections.values():
        for item in _items(detection):
            expand(item, given)
    builder = _Builder(source)
    where = ("detection", "condition")
    try:
        parts = [builder.node(condition.parsed) for condition in parsed.detection.parsed_condition]
    except SigmaError as error:
        raise FaultError(where, said(error), "correct the condition") from None
    except LeafError as error:
        raise FaultError(where, error.what, error.remedy) from None
    except UnknownFieldError as unknown:  # of a filter that was applied
        raise FaultError(where, f"unknown field {unknown.name!r:.80}", "correct the filter") from None
    except RecursionError:
        raise FaultError(where, "the condition is nested too deeply", "write it flatter") from None
    tree = parts[0] if len(parts) == 1 else Some(tuple(parts))
    response = parse_response(document.body.get("response"))
    head = head_of(document, response)
    text = re.sub(r"_filt_[a-z]{10}_", "_filt_", repr((parsed.detection.detections, parsed.detection.condition)))
    novel, missing = _novel(parse_new(document.body.get("new")), source)
    kinds = kinds_of(tree, source, [novel.field, *novel.group] if novel else [])
    rest = without(tree, "kind") if required_values(tree, "kind") is not None else tree
    return Rule(
        head,
        source,
        tree,
        predicate(tree),
        frozenset() if missing else kinds,
        predicate(rest) if rest else lambda _: True,
        text=text + repr(novel and novel.of),
        novel=novel,
        missing=missing,
    )


def _novel(new: New | None, source: Source) -> tuple[Novel | None, tuple[str, ...]]:
    """The fields of a `new:` block, and which of them are not recorded."""
    if new is None:
        return None, ()
    found: dict[str, Field | None] = {}
    for name in (new.field, *new.per):
        try:
            found[name] = field_of(name, source)
        except UnknownFieldError as unknown:
            near = f"did you mean {' or '.join(unknown.near)}?" if unknown.near else LIST_FIELDS
            raise FaultError(("new",), f"unknown field {name!r:.80}", near) from None
    missing = tuple(name for name, field in found.items() if field is None)
    fields = [field for field in found.values() if field]
    return (None, missing) if missing else (Novel(new, fields[0], tuple(fields[1:])), ())


def kinds_of(tree: Node, source: Source, also: Iterable[Field] = ()) -> frozenset[str]:
    """The kinds of record that a condition is asked of: those it names, else those that know its fields and these."""
    since = max([known(tree), *(field.known for field in also)])
    kinds = NODE_KINDS if Place.NODE in source.places else KINDS_SINCE[since]
    named = required_values(tree, "kind")
    return kinds if named is None else named


def _items(detection: SigmaDetection) -> Iterator[SigmaDetectionItem]:
    for item in detection.detection_items:
        if isinstance(item, SigmaDetection):
            yield from _items(item)
        else:
            yield item


class _Builder:
    """pySigma's tree to ours."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._leaves = 0

    def node(self, given: object) -> Node:
        """One node and all below."""
        match given:
            case ConditionFieldEqualsValueExpression():
                return self._value(given.field, given.value)
            case ConditionValueExpression():
                return self._value("", given.value)
            case ConditionNOT():
                return negate(self.node(given.args[0]))
            case ConditionAND():
                return self._joined(Every, given)
            case ConditionOR():
                return self._joined(Some, given)
        raise LeafError("the condition says nothing", "name the detections that must be found")

    def _joined(self, kind: type[Every | Some], given: ConditionItem) -> Node:
        parts = tuple(self.node(part) for part in given.args)
        return parts[0] if len(parts) == 1 else kind(parts)

    def _value(self, name: str, value: SigmaType) -> Node:
        if isinstance(value, SigmaExpansion):
            return Some(tuple(self._value(name, each) for each in value.values))
        self._leaves += 1
        if self._leaves > MAX_LEAVES:
            raise LeafError(f"a rule of more than {MAX_LEAVES} comparisons", "split it")
        field = self._field(name) if name else None
        return leaf_of(name, field, value, self._field)

    def _field(self, name: str) -> Field | None:
        return field_of(name, self._source)


def fields_of(tree: Node) -> frozenset[str]:
    """Names of the fields that a condition asks for."""
    names: set[str] = set()
    _collect(tree, names)
    return frozenset(names)


def _collect(node: Node, names: set[str]) -> None:
    if isinstance(node, Leaf):
        if node.field:
            names.add(node.field.name)
    else:
        for part in node.parts:
            _collect(part, names)

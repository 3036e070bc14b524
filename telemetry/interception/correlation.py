"""A correlation rule: which hits of which rules it counts together, per group, and how many are too many."""

import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from sigma.correlations import (
    CorrelationConditionAND,
    CorrelationConditionItem,
    CorrelationConditionNOT,
    CorrelationConditionOR,
    SigmaCorrelationCondition,
    SigmaCorrelationConditionOperator,
    SigmaCorrelationRule,
    SigmaCorrelationType,
    SigmaExtendedCorrelationCondition,
    SigmaRuleReference,
)

from telemetry.interception.document import Document
from telemetry.interception.fields import Field, Known
from telemetry.interception.problem import FaultError
from telemetry.interception.response import SCOPE_FIELDS, Action, Response, parse_response
from telemetry.interception.rule import LIST_FIELDS, Head, Rule, head_of
from telemetry.interception.taxonomy import UnknownFieldError, field_of

MAX_TIMESPAN = 90 * 86400
MAX_DISTINCT = 10_000
Type = SigmaCorrelationType
_OPERATORS: dict[SigmaCorrelationConditionOperator, Callable[[float, float], bool]] = {
    SigmaCorrelationConditionOperator.LT: operator.lt,
    SigmaCorrelationConditionOperator.LTE: operator.le,
    SigmaCorrelationConditionOperator.GT: operator.gt,
    SigmaCorrelationConditionOperator.GTE: operator.ge,
    SigmaCorrelationConditionOperator.EQ: operator.eq,
    SigmaCorrelationConditionOperator.NEQ: operator.ne,
}
_RISING = (SigmaCorrelationConditionOperator.GT, SigmaCorrelationConditionOperator.GTE)
_MEASURING = (Type.VALUE_COUNT, Type.VALUE_SUM, Type.VALUE_AVG, Type.VALUE_PERCENTILE, Type.VALUE_MEDIAN)

type Expression = Callable[[frozenset[str]], bool]


@dataclass(slots=True)
class Part:
    """One rule that a correlation refers to. group: the fields that its hits are grouped by; value: what is counted or
    measured in them."""

    ref: str  # the id of the rule
    group: tuple[Field, ...]
    value: Field | None = None

    @property
    def known(self) -> Known:
        """From which record of a flow on all of it is known."""
        fields = [*self.group, self.value] if self.value else [*self.group]
        return max((field.known for field in fields), default=Known.OPEN)


@dataclass(slots=True)
class Correlation:
    """A compiled correlation. span in µs; reached: whether a figure fulfils the condition; rising: more never undoes
    it, so that it can be told at once and need not wait for the end of the span; expression: which rules, by id, must
    have been seen."""

    head: Head
    type: SigmaCorrelationType
    parts: tuple[Part, ...]
    span: int
    reached: Callable[[float], bool]
    rising: bool
    limit: float
    percentile: int = 50
    expression: Expression | None = None
    output: bool = True
    text: str = ""


def compile_correlation(
    document: Document, parsed: SigmaCorrelationRule, rules: Mapping[str, "Rule | Correlation"]
) -> Correlation:
    """The correlation of a document. rules: all compiled so far, by id and by name. Raises FaultError."""
    response = parse_response(document.body.get("response"))
    head = head_of(document, response)
    refs = _references(parsed)
    for ref in refs:
        if ref not in rules:
            raise FaultError(
                ("correlation", "rules"), f"no rule has the id or name {ref!r:.80}", "add it, or correct this"
            )
    group_by = parsed.group_by or []
    condition = parsed.condition
    if parsed.timespan is None or not 0 < parsed.timespan.seconds <= MAX_TIMESPAN:
        raise FaultError(("correlation", "timespan"), "the timespan is longer than 90 days", "write at most 90d")
    parts = tuple(
        Part(
            rules[ref].head.id,
            tuple(_field(document, ref, rules, parsed, name, "group-by") for name in group_by),
            _value(document, ref, rules, parsed),
        )
        for ref in refs
    )
    _check_scope(response, parts)
    text = repr((parsed.type, refs, parsed.timespan.seconds, group_by, parsed.condition, parsed.aliases))
    common: dict[str, Any] = {"head": head, "type": parsed.type, "parts": parts, "text": text}
    common |= {"span": parsed.timespan.seconds * 1_000_000}
    if isinstance(condition, SigmaExtendedCorrelationCondition):
        names = {ref: rules[ref].head.id for ref in refs}
        rising = not _has(CorrelationConditionNOT, condition.parsed)
        if parsed.type is Type.TEMPORAL_ORDERED and not (rising and not _has(CorrelationConditionOR, condition.parsed)):
            raise FaultError(("correlation", "condition"), "an order of rules knows only `and`", "write type: temporal")
        return Correlation(
            **common, reached=bool, rising=rising, limit=1, expression=_expression(condition.parsed, names)
        )
    compare, limit = _OPERATORS[condition.op], float(condition.count)
    if parsed.type is Type.VALUE_COUNT and limit > MAX_DISTINCT:
        raise FaultError(
            ("correlation", "condition"),
            f"more than {MAX_DISTINCT} different values are not kept",
            "write a lower count",
        )
    if parsed.type is Type.TEMPORAL_ORDERED and condition.op not in _RISING:
        raise FaultError(
            ("correlation", "condition"), "an order is seen or not seen", "leave the condition out, or write gte:"
        )
    percentile = 50 if condition.percentile is None else condition.percentile
    if not 0 <= percentile <= 100:
        raise FaultError(
            ("correlation", "condition", "percentile"), "a percentile is from 0 to 100", "write for example 95"
        )
    if parsed.type is Type.VALUE_PERCENTILE and condition.percentile is None:
        raise FaultError(("correlation", "condition"), "value_percentile names no percentile", "write percentile: 95")
    rising = condition.op in _RISING and parsed.type not in (Type.VALUE_AVG, Type.VALUE_PERCENTILE, Type.VALUE_MEDIAN)
    return Correlation(**common, reached=lambda n: compare(n, limit), rising=rising, limit=limit, percentile=percentile)


def _references(parsed: SigmaCorrelationRule) -> list[str]:
    if parsed.rules is not None:
        return list(dict.fromkeys(str(rule.reference) for rule in parsed.rules))
    assert isinstance(parsed.condition, SigmaExtendedCorrelationCondition)
    return parsed.condition.get_referenced_rules()


def _field(
    document: Document,
    ref: str,
    rules: Mapping[str, "Rule | Correlation"],
    parsed: SigmaCorrelationRule,
    name: str,
    key: str,
) -> Field:
    """The field of a referenced rule's records that is meant, perhaps by an alias. A correlation hands on the record
    that completed it."""
    alias = parsed.aliases.aliases.get(name) if parsed.aliases else None
    if alias is not None:
        mapping = {rule.reference: field for rule, field in alias.mapping.items()}
        if ref not in mapping:
            raise FaultError(
                ("correlation", "aliases", name),
                f"the alias {name} has no field for {ref}",
                f"add {ref}: with its field",
            )
        name = mapping[ref]
    rule = rules[ref]
    while isinstance(rule, Correlation):
        rule = rules[rule.parts[0].ref]
    where = ("correlation", key) if key != "field" else ("correlation", "condition", "field")
    try:
        found = field_of(name, rule.source)
    except UnknownFieldError as unknown:
        remedy = f"did you mean {' or '.join(unknown.near)}?" if unknown.near else LIST_FIELDS
        raise FaultError(where, f"unknown field {name!r:.80}", remedy) from None
    if found is None:
        raise FaultError(where, f"the field {name} is never recorded here", "use another field")
    return found


def _value(
    document: Document, ref: str, rules: Mapping[str, "Rule | Correlation"], parsed: SigmaCorrelationRule
) -> Field | None:
    condition = parsed.condition
    if parsed.type not in _MEASURING or not isinstance(condition, SigmaCorrelationCondition):
        return None
    named = condition.fieldref
    if isinstance(named, list):
        if len(named) != 1:
            raise FaultError(("correlation", "condition", "field"), "several fields cannot be counted", "name one")
        named = named[0]
    assert named is not None
    return _field(document, ref, rules, parsed, named, "field")


def _check_scope(response: Response, parts: tuple[Part, ...]) -> None:
    """What is blocked must be one thing per group, or it would be whoever came last."""
    wanted = SCOPE_FIELDS[response.scope]
    if response.action in (Action.ALERT, Action.CUT):
        return
    if any(wanted not in (field.name for field in part.group) for part in parts):
        raise FaultError(
            ("correlation", "group-by"),
            f"{response.action} with scope {response.scope} does not know which {response.scope}: "
            f"hits are not grouped by {wanted}",
            f"add {wanted} to group-by, or write another scope",
        )


def _has(kind: type[CorrelationConditionItem], node: CorrelationConditionItem | SigmaRuleReference) -> bool:
    if isinstance(node, CorrelationConditionItem):
        return isinstance(node, kind) or any(_has(kind, part) for part in node.args)
    return False


def _expression(node: CorrelationConditionItem | SigmaRuleReference, names: Mapping[str, str]) -> Expression:
    if isinstance(node, SigmaRuleReference):
        id_ = names[str(node.reference)]
        return lambda seen: id_ in seen
    parts = [_expression(part, names) for part in node.args]
    if isinstance(node, CorrelationConditionNOT):
        return lambda seen: not parts[0](seen)
    if isinstance(node, CorrelationConditionAND):
        return lambda seen: all(part(seen) for part in parts)
    return lambda seen: any(part(seen) for part in parts)

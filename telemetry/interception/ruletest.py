"""Tests that stand in the rules themselves: records, and how often the rule hits.

    tests:
      - name: a person reading
        records:
          - {kind: close, host: a.example, bytes_in: 5000}
        hits: 0
      - name: a machine calling home
        records:
          - {kind: open, host: "n{n}.example", client_ip: 10.0.0.1, repeat: 60, every: 30s}
        hits: 1

A record is given by fields of the flow record; time goes on by `every` (1s) after each; "{n}" is the repetition's
number. A flow that is not named is a new one. What is left out is as in an ordinary flow of kind open. A rule that only
feeds a correlation is tested by itself all the same.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import msgspec

from telemetry.interception.correlation import Correlation
from telemetry.interception.engine import Engine
from telemetry.interception.problem import Problem
from telemetry.interception.response import span
from telemetry.interception.rule import Rule
from telemetry.interception.ruleset import RuleSet, by_name
from telemetry.record import Kind, Record

START = 1_800_000_000_000_000  # µs
MAX_RECORDS = 200_000
_ORDINARY: dict[str, Any] = {
    "node": "gw1.zone.example", "boot": "0000abcd", "worker": "w0", "kind": "open", "tenant": "acme", "site": "site-a",
    "user": "u-1", "credential": "c-1", "client_ip": "10.0.0.7", "client_port": 40000, "listener": "plain",
    "method": "CONNECT", "host": "service.example", "port": 443, "line": "hk1", "address": "203.0.113.9",
    "service": "service", "grant": "g-1", "decision": "permit", "revision": 1,
}  # fmt: skip
_FIELDS = {field.name: field for field in msgspec.structs.fields(Record)}
_KINDS = frozenset(kind.value for kind in Kind)


@dataclass(frozen=True, slots=True)
class Outcome:
    """One test of a rule: what was expected and what came; wrong: "" or why it failed."""

    rule: str
    title: str
    file: str
    line: int
    test: str
    wrong: str = ""


class _BadTestError(Exception):
    pass


def untested(rules: RuleSet) -> list[Rule | Correlation]:
    """Rules without a test."""
    return [rule for rule in rules.all() if not rule.head.tests]


def run(rules: RuleSet) -> list[Outcome]:
    """All tests of all rules."""
    return [outcome for rule in rules.all() for outcome in _of(rule, rules)]


def failures(outcomes: list[Outcome]) -> list[Problem]:
    """Those that failed, as problems."""
    remedy = "correct the rule, or the test"
    return [Problem(o.file, o.line, o.title, f"test {o.test!r}: {o.wrong}", remedy) for o in outcomes if o.wrong]


def _of(rule: Rule | Correlation, rules: RuleSet) -> Iterator[Outcome]:
    tests, head = rule.head.tests, rule.head
    if tests is None:
        return
    outcome = Outcome(head.id, head.title, head.file, head.line, "tests")
    if not isinstance(tests, list):
        yield replace(outcome, wrong="tests is no list")
        return
    alone = _alone(rule, rules)
    for number, test in enumerate(tests, 1):
        name = str(test.get("name", number)) if isinstance(test, dict) else str(number)
        try:
            wrong = _one(test, head.id, alone)
        except (_BadTestError, msgspec.ValidationError, ValueError) as error:
            wrong = f"the test cannot be run: {error}"
        yield replace(outcome, test=name, wrong=wrong)


def _alone(rule: Rule | Correlation, rules: RuleSet) -> RuleSet:
    """The rule with those it refers to, telling of its own hits only."""
    known, found, waiting = by_name(rules), RuleSet(), [rule]
    while waiting:
        each = waiting.pop()
        each = replace(each, output=each is rule)
        if isinstance(each, Rule):
            found.rules[each.head.id] = each
        else:
            found.correlations = {each.head.id: each, **found.correlations}
            waiting += [known[part.ref] for part in each.parts]
    return found


def _one(test: Any, id_: str, rules: RuleSet) -> str:
    if (
        not isinstance(test, dict)
        or set(test) - {"name", "records", "hits"}
        or not isinstance(test.get("records"), list)
    ):
        raise _BadTestError("it has name, records (a list) and hits")
    wanted = test.get("hits")
    if not isinstance(wanted, int) or isinstance(wanted, bool):
        raise _BadTestError("hits is no number")
    engine = Engine(rules, limit=1 << 30)
    last = START
    for record in records(test["records"]):
        engine.take(record)
        last = record.time
    engine.tick(last + max([0, *(c.span + 1 for c in rules.correlations.values() if not c.rising)]))
    got = sum(hit.head.id == id_ for hit in engine.hits)
    return "" if got == wanted else f"{got} hits instead of {wanted}"


def records(given: list[Any], now: int = START) -> Iterator[Record]:
    """The records that a test names, one after the other. Raises ValueError for what cannot be one."""
    made = 0
    for item in given:
        if not isinstance(item, dict):
            raise _BadTestError("a record is a mapping of its fields")
        fields = dict(item)
        repeat, every, after = fields.pop("repeat", 1), fields.pop("every", "1s"), fields.pop("after", "0s")
        step, pause = span(every), span(after)
        if not isinstance(repeat, int) or not 0 < repeat <= MAX_RECORDS or step < 0 or pause < 0:
            raise _BadTestError("repeat is a number, every and after are times as 30s")
        if unknown := set(fields) - set(_FIELDS):
            raise _BadTestError(f"a record has no field {', '.join(sorted(map(str, unknown)))}")
        if fields.get("kind", "open") not in _KINDS:
            raise _BadTestError(f"no record is of kind {fields['kind']!r:.40}")
        now += pause * 1_000_000
        for number in range(repeat):
            made += 1
            if made > MAX_RECORDS:
                raise _BadTestError(f"more than {MAX_RECORDS} records")
            filled = {k: v.replace("{n}", str(number)) if isinstance(v, str) else v for k, v in fields.items()}
            base = {"flow": f"T{made:015}", "seq": made, "time": now}
            yield msgspec.convert({"v": 1, **_ORDINARY, **base, **filled}, Record)
            now += step * 1_000_000

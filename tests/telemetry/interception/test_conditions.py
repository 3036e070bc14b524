"""Conditions: what they join, what they leave out, and what they are asked of."""

from typing import Any

import pytest

from telemetry.interception.condition import can_be, requirement
from telemetry.interception.dispatch import weight
from telemetry.interception.fields import Place
from tests.telemetry.interception.rule_kit import attempt, correlation, only, record, rule, ruleset

A, B, C = {"cs-host": "a.example"}, {"dst_port": 8443}, {"c-useragent": "x"}
ALL = {"sel_a": A, "sel_b": B, "other": C}
HOST, PORT, AGENT = {"host": "a.example"}, {"port": 8443}, {"user_agent": "x"}

CASES: list[tuple[str, list[dict[str, Any]], list[dict[str, Any]]]] = [
    ("sel_a and sel_b", [HOST | PORT], [HOST, PORT]),
    ("sel_a or sel_b", [HOST, PORT], [AGENT]),
    ("sel_a and not other", [HOST], [HOST | AGENT, AGENT]),
    ("not sel_a", [PORT, {}], [HOST]),
    ("not (sel_a or sel_b)", [AGENT], [HOST, PORT, HOST | PORT]),
    ("not (sel_a and sel_b)", [HOST, PORT], [HOST | PORT]),
    ("not not sel_a", [HOST], [PORT]),
    ("1 of sel_*", [HOST, PORT], [AGENT]),
    ("any of sel_*", [HOST, PORT], [AGENT]),
    ("all of sel_*", [HOST | PORT], [HOST, PORT]),
    ("1 of them", [HOST, PORT, AGENT], [{}]),
    ("all of them", [HOST | PORT | AGENT], [HOST | PORT]),
    ("not 1 of sel_*", [AGENT, {}], [HOST, PORT]),
    ("sel_a or sel_b and other", [HOST, PORT | AGENT], [PORT, AGENT]),
    ("(sel_a or sel_b) and other", [HOST | AGENT, PORT | AGENT], [HOST, PORT]),
]


@pytest.mark.parametrize(("condition", "good", "bad"), CASES, ids=[case[0] for case in CASES])
def test_conditions(condition: str, good: list[dict[str, Any]], bad: list[dict[str, Any]]) -> None:
    found = only(rule({**ALL, "condition": condition}))
    assert [found.holds(record(**fields)) for fields in good] == [True] * len(good), condition
    assert [found.holds(record(**fields)) for fields in bad] == [False] * len(bad), condition


def test_several_conditions_are_any_of_them() -> None:
    found = only(rule({**ALL, "condition": ["sel_a", "sel_b"]}))
    assert [found.holds(record(**fields)) for fields in (HOST, PORT, AGENT)] == [True, True, False]


@pytest.mark.parametrize(
    ("sentence", "detection", "kinds"),
    [
        ("what the open record knows is asked of it and of refusals", A, {"open", "deny"}),
        ("bytes at least so many are asked of progress too", {"cs-bytes|gte": 5}, {"progress", "close", "deny"}),
        ("bytes at most so many only at the end", {"cs-bytes|lte": 5}, {"close", "deny"}),
        ("and so is what is not at least so many",
            {"s": A, "f": {"cs-bytes|gte": 5}, "condition": "s and not f"}, {"close", "deny"}),
        ("the name in the hello comes with progress", {"sni": "x"}, {"progress", "close", "deny"}),
        ("the reason is final with the last", {"reason": "name-mismatch"}, {"close", "deny"}),
        ("a rule that names kinds is asked of those", {"kind": ["progress", "open"], "cs-host": "x"}, {"progress",
            "open"}),
        ("keywords look at everything, so at the end", ["x"], {"close", "deny"}),
    ],
)  # fmt: skip
def test_which_records_a_rule_is_asked_of(sentence: str, detection: Any, kinds: set[str]) -> None:
    assert only(rule(detection)).kinds == kinds, sentence


@pytest.mark.parametrize(
    ("detection", "required"),
    [
        ({"cs-host": "a.example", "dst_port": 443}, {"a.example"}),
        ({"cs-host": ["a.example", "b.example"]}, {"a.example", "b.example"}),
        ({"s": A, "f": C, "condition": "s and not f"}, {"a.example"}),
        ({"s": A, "t": C, "condition": "s or t"}, {"a.example", "x"}),
        ({"s": A, "condition": "not s"}, set()),
        ({"s": A, "t": {"cs-bytes|gt": 1}, "condition": "s or t"}, set()),
    ],
)
def test_what_can_be_looked_up_of_a_rule(detection: Any, required: set[str]) -> None:
    assert {atom.text for atom in requirement(only(rule(detection)).tree, weight)} == required


@pytest.mark.parametrize(
    ("sentence", "condition", "possible"),
    [
        ("a and not a", "sel and not sel", False),
        ("a, and neither a nor b", "sel and not 1 of them", False),
        ("one field with two values", "sel and twin", False),
        ("one of two values", "sel or twin", True),
        ("a and not b", "sel and not twin", True),
    ],
)
def test_contradictions_are_seen(sentence: str, condition: str, possible: bool) -> None:
    found = only(rule({"sel": A, "twin": {"cs-host": "b.example"}, "condition": condition}))
    assert can_be(found.tree, Place.TUNNEL) == possible, sentence


def test_a_filter_takes_from_the_rules_that_it_names() -> None:
    filter_ = {
        "title": "Ours",
        "id": "00000000-0000-4000-8000-000000000001",
        "logsource": {"category": "proxy"},
        "filter": {"rules": ["a"], "ours": {"tenant": "acme"}, "condition": "not ours"},
    }
    found = ruleset(rule(A, "a"), rule(A, "b", level="low"), filter_)
    held = {r.head.name: [r.holds(record(**HOST, tenant=t)) for t in ("acme", "zen")] for r in found.rules.values()}
    assert held == {"a": [False, True], "b": [True, True]}


def test_a_rule_that_only_counts_for_a_correlation_may_not_ask_for_more() -> None:
    base = rule(A, "a", response={"type": "feiyu", "action": "cut"})
    counted = correlation("c", ["a"], {"gte": 3}, type="event_count", group_by=["tenant"])
    _, problems = attempt(base, counted)
    assert [p.what for p in problems] == ["'Rule a' only counts for this correlation, so its response never happens"]
    assert len(ruleset(base, counted | {"correlation": counted["correlation"] | {"generate": True}})) == 2

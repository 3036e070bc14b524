"""Correlations: the figure that is just reached, the one that is not, and what falls out of the span."""

from typing import Any

import pytest

from telemetry.interception.engine import Engine
from tests.telemetry.interception.rule_kit import correlation, hits, rule, ruleset

FLOWS, SSH, WEB = rule({"tenant|exists": True}, "flows"), rule({"dst_port": 22}, "ssh"), rule({"dst_port": 80}, "web")


def c(type_: str, condition: Any = None, rules: tuple[str, ...] = ("flows",), **more: Any) -> dict[str, Any]:
    return correlation("c", list(rules), condition, type=type_, **{"group_by": ["tenant"], **more})


def flow(n: int, every: str = "1s", **fields: Any) -> dict[str, Any]:
    return {"repeat": n, "every": every, **fields}


def ends(n: int, **fields: Any) -> dict[str, Any]:
    return {"repeat": n, "kind": "close", **fields}


WAIT = {"after": "1h", "tenant": "zen"}  # an hour later somebody else
SIZES = [ends(1, bytes_out=size) for size in (10, 20, 30, 40, 1000)]

# (sentence, correlation, records, hits)
CASES: list[tuple[str, dict[str, Any], list[dict[str, Any]], int]] = [
    ("so many events", c("event_count", {"gte": 5}), [flow(5)], 1),
    ("one fewer", c("event_count", {"gte": 5}), [flow(4)], 0),
    ("more than so many", c("event_count", {"gt": 5}), [flow(6)], 1),
    ("not more than so many", c("event_count", {"gt": 5}), [flow(5)], 0),
    ("after a hit the count begins anew", c("event_count", {"gte": 5}), [flow(14)], 2),
    ("each group counts for itself", c("event_count", {"gte": 5}), [flow(4), flow(4, tenant="zen")], 0),
    ("without groups all count together", c("event_count", {"gte": 5}, group_by=None), [flow(3), flow(3,
        tenant="zen")], 1),
    ("what is older than the span is forgotten", c("event_count", {"gte": 5}), [flow(5, "3m")], 0),
    ("just within the span", c("event_count", {"gte": 5}), [flow(5, "2m")], 1),
    ("a record that stands for many counts as many", c("event_count", {"gte": 5}), [{"kind": "deny", "count": 5}], 1),
    ("without the field it belongs to no group", c("event_count", {"gte": 1}, group_by=["ja4"]), [ends(3)], 0),
    ("fewer than so many, told when the span is over", c("event_count", {"lt": 5}), [flow(4), WAIT], 1),
    ("not fewer", c("event_count", {"lt": 5}), [flow(5), WAIT], 0),
    ("exactly so many", c("event_count", {"eq": 5}), [flow(5), WAIT], 1),
    ("more than exactly so many", c("event_count", {"eq": 5}), [flow(6), WAIT], 0),
    ("any other number", c("event_count", {"neq": 5}), [flow(6), WAIT], 1),
    ("at most so many", c("event_count", {"lte": 5}), [flow(6), WAIT], 0),
    ("more events than are kept apart", c("event_count", {"gte": 1000}), [flow(1000, "0s")], 1),
    ("and one fewer", c("event_count", {"gte": 1000}), [flow(999, "0s")], 0),
    ("different values", c("value_count", {"gte": 3, "field": "cs-host"}), [flow(3, host="n{n}.example")], 1),
    ("the same value again is none", c("value_count", {"gte": 3, "field": "cs-host"}), [flow(2, host="n{n}"),
        flow(9)], 1),
    ("two of three", c("value_count", {"gte": 3, "field": "cs-host"}), [flow(9, host="a"), flow(9, host="b")], 0),
    ("values older than the span", c("value_count", {"gte": 3, "field": "cs-host"}), [flow(3, "6m", host="n{n}")], 0),
    ("few different values", c("value_count", {"lte": 2, "field": "cs-host"}), [flow(9), WAIT], 1),
    ("a value known only at the end is counted there",
        c("value_count", {"gte": 2, "field": "ja4"}), [flow(5), ends(1, ja4="a"), ends(1, ja4="b")], 1),
    ("all rules within the span", c("temporal", rules=("ssh", "web")), [flow(1, port=80), flow(1, port=22)], 1),
    ("one of them alone", c("temporal", rules=("ssh", "web")), [flow(5, port=22)], 0),
    ("too far apart", c("temporal", rules=("ssh", "web")), [flow(1, "11m", port=22), flow(1, port=80)], 0),
    ("of different groups", c("temporal", rules=("ssh", "web")), [flow(1, port=22), flow(1, port=80, tenant="zen")], 0),
    ("rules in an expression", c("temporal", "ssh or web", rules=("ssh", "web")), [flow(1, port=22)], 1),
    ("one and not the other, told when the span is over",
        c("temporal", "ssh and not web", rules=("ssh", "web")), [flow(1, port=22), WAIT], 1),
    ("the other came", c("temporal", "ssh and not web", rules=("ssh", "web")),
        [flow(1, port=22), flow(1, port=80), WAIT], 0),
    ("in order", c("temporal_ordered", rules=("ssh", "web")), [flow(1, port=22), flow(1, port=80)], 1),
    ("in the other order", c("temporal_ordered", rules=("ssh", "web")), [flow(1, port=80), flow(1, port=22)], 0),
    ("in order but too far apart", c("temporal_ordered", rules=("ssh", "web")), [flow(1, "11m", port=22), flow(1,
        port=80)], 0),
    ("a late second start is the one that counts", c("temporal_ordered", rules=("ssh", "web")),
        [flow(2, "9m", port=22), flow(1, port=80)], 1),
    ("bytes in sum", c("value_sum", {"gte": 100, "field": "cs-bytes"}), [ends(4, bytes_out=25)], 1),
    ("one byte less", c("value_sum", {"gte": 100, "field": "cs-bytes"}), [ends(3, bytes_out=25), ends(1,
        bytes_out=24)], 0),
    ("a flow's bytes count once, however often they are told", c("value_sum", {"gte": 100, "field": "cs-bytes"}),
        [{"kind": "progress", "flow": "F", "bytes_out": 60}, {"kind": "close", "flow": "F", "bytes_out": 90}], 0),
    ("and already while it goes on", c("value_sum", {"gte": 100, "field": "cs-bytes"}),
        [{"kind": "progress", "flow": "F", "bytes_out": 60}, {"kind": "progress", "flow": "F", "bytes_out": 101}], 1),
    ("what was moved before the span is forgotten", c("value_sum", {"gte": 100, "field": "cs-bytes"}),
        [{"kind": "progress", "flow": "F", "bytes_out": 99, "every": "11m"}, {"kind": "close", "flow": "F",
            "bytes_out": 101}], 0),
    ("an average, at the end of the span", c("value_avg", {"gt": 219, "field": "cs-bytes"}), [*SIZES, WAIT], 1),
    ("an average that is not reached", c("value_avg", {"gt": 220, "field": "cs-bytes"}), [*SIZES, WAIT], 0),
    ("an average is not told early", c("value_avg", {"gt": 219, "field": "cs-bytes"}), SIZES, 0),
    ("a percentile", c("value_percentile", {"gte": 40, "field": "cs-bytes", "percentile": 80}), [*SIZES, WAIT], 1),
    ("a percentile that is not reached", c("value_percentile", {"gt": 40, "field": "cs-bytes", "percentile": 80}),
        [*SIZES, WAIT], 0),
    ("a median", c("value_median", {"gte": 30, "field": "cs-bytes"}), [*SIZES, WAIT], 1),
    ("a median that is not reached", c("value_median", {"gt": 30, "field": "cs-bytes"}), [*SIZES, WAIT], 0),
    ("an alias for a field that two rules name differently",
        c("temporal", rules=("ssh", "web"), group_by=["who"], aliases={"who": {"ssh": "src_ip", "web": "egress_ip"}}),
        [flow(1, port=22), flow(1, port=80, egress_ip="10.0.0.7")], 1),
]  # fmt: skip


@pytest.mark.parametrize(("sentence", "document", "given", "wanted"), CASES, ids=[case[0] for case in CASES])
def test_correlations(sentence: str, document: dict[str, Any], given: list[dict[str, Any]], wanted: int) -> None:
    engine = Engine(ruleset(FLOWS, SSH, WEB, document), limit=1000)
    assert hits(engine, *given).count("Correlation c") == wanted, sentence


def test_correlations_of_correlations() -> None:
    burst = correlation("burst", ["ssh"], {"gte": 3}, type="event_count", group_by=["tenant"], timespan="1m")
    both = correlation("both", ["burst", "web"], type="temporal_ordered", group_by=["tenant"])
    engine = Engine(ruleset(SSH, WEB, both, burst))
    assert hits(engine, flow(2, port=22), flow(1, port=80)) == []
    assert hits(engine, flow(3, port=22), flow(1, port=80)) == ["Correlation both"]


def test_only_with_generate_the_rules_tell_for_themselves() -> None:
    for generate, wanted in ((False, []), (True, ["Rule ssh", "Rule ssh"])):
        engine = Engine(ruleset(SSH, c("event_count", {"gte": 5}, rules=("ssh",), generate=generate)))
        assert hits(engine, flow(2, port=22)) == wanted


def test_new_values_are_told_after_a_time_of_learning() -> None:
    new = {"field": "cs-host", "per": ["tenant"], "within": "10d", "learn": "1d"}
    engine = Engine(ruleset(rule({"dst_port": 443}, "a", new=new)))
    assert hits(engine, flow(3, host="n{n}")) == [], "it learns"
    assert hits(engine, {"after": "2d", "host": "n1"}) == [], "known"
    assert hits(engine, {"after": "2d", "host": "x"}, {"after": "1s", "host": "x"}) == ["Rule a"], "new, once"
    assert hits(engine, {"after": "2d", "host": "x", "tenant": "zen"}) == [], "another group learns for itself"
    assert hits(engine, {"after": "20d", "host": "x"}) == ["Rule a"], "forgotten, so new again"

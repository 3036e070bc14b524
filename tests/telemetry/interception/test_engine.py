"""The engine: once for each flow, bounded, storable, and with a breaker."""

from random import Random
from typing import Any

import msgspec
import pytest

from telemetry.interception.engine import Engine
from telemetry.interception.ruletest import records
from telemetry.interception.window import Windows
from telemetry.record import Record
from tests.telemetry.interception.rule_kit import correlation, hits, id_of, record, rule, ruleset

BIG = rule({"cs-bytes|gte": 100}, "big")
FLOWS = rule({"tenant|exists": True}, "flows")
COUNT = correlation("c", ["flows"], {"gte": 4}, type="event_count", group_by=["tenant"])


def told(kind: str, size: int, flow: str = "F") -> dict[str, Any]:
    return {"kind": kind, "flow": flow, "bytes_out": size}


@pytest.mark.parametrize(
    ("sentence", "given", "wanted"),
    [
        ("at the end", [told("progress", 1), told("close", 100)], 1),
        ("in the middle, and not again", [told("progress", 100), told("progress", 200), told("close", 300)], 1),
        ("each flow by itself", [told("progress", 100), told("progress", 100, "G"), told("close", 100)], 2),
        ("an open record knows no bytes", [told("open", 500)], 0),
    ],
)
def test_a_rule_hits_a_flow_once(sentence: str, given: list[dict[str, Any]], wanted: int) -> None:
    assert len(hits(Engine(ruleset(BIG)), *given)) == wanted, sentence


def test_what_is_remembered_of_flows_ends_with_them() -> None:
    engine = Engine(
        ruleset(BIG, FLOWS, correlation("c", ["flows"], {"gte": 9**9, "field": "cs-bytes"}, type="value_sum"))
    )
    hits(engine, *(told(kind, 100, f"F{n}") for n in range(50) for kind in ("open", "progress", "close")))
    assert msgspec.msgpack.decode(engine.dump()).items() >= {"seen": {}, "moved": {}}.items()


def test_a_breaker_sets_a_rule_aside_until_somebody_resets_it() -> None:
    engine = Engine(ruleset(FLOWS), limit=3)
    assert len(hits(engine, {"repeat": 3, "every": "0s"})) == 3
    for each in records([{"repeat": 2, "every": "0s"}]):
        engine.take(each)
    assert [hit.tripped for hit in engine.hits] == [True], "it says so once"
    engine.hits.clear()
    assert hits(engine, {"repeat": 9, "after": "1h"}) == [], "also an hour later"
    assert engine.reset(id_of("flows"))
    assert len(hits(engine, {"repeat": 2, "after": "2h"})) == 2
    assert not engine.reset(id_of("flows")), "nothing to reset"


def test_few_hits_a_minute_trip_nothing() -> None:
    assert len(hits(Engine(ruleset(FLOWS), limit=3), {"repeat": 60, "every": "20s"})) == 60


# ---- over a restart

EVERYTHING = [
    FLOWS,
    BIG,
    rule({"dst_port": 22}, "ssh"),
    rule({"dst_port": 80}, "web"),
    rule({"sni|exists": False, "tenant": "t1"}, "n", new={"field": "cs-host", "per": ["tenant"], "learn": "1m"}),
    COUNT,
    correlation("values", ["flows"], {"gte": 4, "field": "cs-host"}, type="value_count", group_by=["tenant"]),
    correlation("few", ["flows"], {"lt": 7}, type="event_count", group_by=["tenant"], timespan="2m"),
    correlation("both", ["ssh", "web"], type="temporal", group_by=["src_ip"]),
    correlation("order", ["ssh", "web"], type="temporal_ordered", group_by=["tenant"]),
    correlation("sum", ["flows"], {"gte": 900, "field": "cs-bytes"}, type="value_sum", group_by=["tenant"]),
    correlation(
        "avg", ["flows"], {"gte": 60, "field": "cs-bytes"}, type="value_avg", group_by=["tenant"], timespan="1m"
    ),
    correlation("median", ["flows"], {"gte": 60, "field": "cs-bytes"}, type="value_median", timespan="1m"),
    correlation("again", ["c"], {"gte": 2}, type="event_count", group_by=["tenant"], generate=True),
]


def stream(seed: int, length: int = 600) -> list[Record]:
    """Flows of three firms, mixed."""
    random, made, live = Random(seed), [], [f"F{n}" for n in range(9)]
    for n in range(length):
        kind = random.choice(["open", "progress", "close", "deny"])
        number = random.randrange(len(live))
        fields = {
            "kind": kind,
            "flow": live[number],
            "tenant": f"t{number % 3}",
            "host": f"h{random.randrange(5 + n // 60)}.example",
        }
        fields |= {
            "port": random.choice([22, 80, 443]),
            "bytes_out": random.randrange(200),
            "count": random.choice([0, 0, 3]),
        }
        fields |= {"client_ip": f"10.0.0.{random.randrange(3)}", "time": 1_800_000_000_000_000 + n * 700_000}
        made.append(record(**fields))
        if kind == "close":
            live[number] = f"G{n}"
    return made


def run(engine: Engine, given: list[Record]) -> list[tuple[Any, ...]]:
    for each in given:
        engine.tick(each.time)
        engine.take(each)
    found = [(h.head.title, h.record.time, h.figure, h.group, h.tripped) for h in engine.hits]
    engine.hits.clear()
    return found


@pytest.mark.parametrize("seed", range(5))
def test_a_restart_at_any_moment_changes_no_hit(seed: int) -> None:
    rules, given = ruleset(*EVERYTHING), stream(seed)
    whole = run(Engine(rules, limit=10), given)
    assert {title for title, *_ in whole} >= {"Correlation c", "Correlation sum", "Correlation avg", "Rule n"}
    for cut in range(0, len(given), 97):
        first = Engine(rules, limit=10)
        before = run(first, given[:cut])
        second = Engine(rules, limit=10)
        assert second.load(first.dump()) == ""
        assert before + run(second, given[cut:]) == whole, f"after {cut} records"


def test_a_rule_that_was_changed_begins_anew_and_the_others_do_not() -> None:
    engine = Engine(ruleset(FLOWS, COUNT))
    hits(engine, {"repeat": 3})
    same, other = (
        Engine(ruleset(FLOWS, COUNT)),
        Engine(ruleset(FLOWS, {**COUNT, "correlation": {**COUNT["correlation"], "timespan": "9m"}})),
    )
    for each in (same, other):
        each.load(engine.dump())
    assert (hits(same, {}), hits(other, {})) == (["Correlation c"], [])


@pytest.mark.parametrize(
    "data", [b"", b"\x00", b"{}", msgspec.msgpack.encode({"v": 1}), msgspec.msgpack.encode({"v": 9})]
)
def test_a_state_that_cannot_be_read_is_none(data: bytes) -> None:
    engine = Engine(ruleset(FLOWS, COUNT))
    assert engine.load(data).startswith("the state of the rules")
    assert hits(engine, {"repeat": 4}) == ["Correlation c"]


# ---- bounds


def test_groups_are_bounded_and_the_longest_silent_go_first() -> None:
    (of,) = ruleset(FLOWS, COUNT).correlations.values()
    windows = Windows(of, max_groups=10)
    for n in range(25):
        for group in (("busy",), (f"g{n}",)):
            windows.take(0, group, n, 0, 0, record())
    assert (len(windows), windows.evicted) == (10, 16)
    assert windows.dump()[-2][0] == ("busy",), "what is heard of stays"


def test_figures_are_bounded_whatever_a_group_does() -> None:
    found = ruleset(FLOWS, correlation("v", ["flows"], {"gte": 1000, "field": "cs-host"}, type="value_count"))
    (of,) = found.correlations.values()
    windows = Windows(of, max_cells=100)
    for n in range(500):
        windows.take(0, (f"g{n // 50}",), n, f"v{n}", 1, record())
    assert sum(group.cells for _, group in windows.dump()) <= 100
    assert windows.evicted > 0


def test_long_names_are_kept_as_their_digest() -> None:
    engine = Engine(ruleset(FLOWS, correlation("c", ["flows"], {"gte": 2}, type="event_count", group_by=["cs-host"])))
    assert hits(engine, {"repeat": 2, "host": "x" * 65_000}) == ["Correlation c"]
    hits(engine, {"host": "x" * 65_000})
    assert len(engine.dump()) < 1000


def test_many_events_in_one_group_are_put_together() -> None:
    counted = correlation("c", ["flows"], {"gte": 100_001}, type="event_count", group_by=["tenant"], timespan="1h")
    engine = Engine(ruleset(FLOWS, counted))
    assert hits(engine, {"repeat": 100_000, "every": "0s"}) == []
    assert len(engine.dump()) < 10_000
    assert hits(engine, {}) == ["Correlation c"]


def test_a_record_from_the_future_does_not_end_all_spans() -> None:
    engine = Engine(ruleset(FLOWS, COUNT))
    assert hits(engine, {"repeat": 3}) == []
    engine.take(record(tenant="other", time=1_900_000_000_000_000))
    assert hits(engine, {"after": "5s"}) == ["Correlation c"]


@pytest.mark.parametrize("seed", range(20))
def test_the_index_finds_what_asking_every_rule_would(seed: int) -> None:
    random = Random(seed)
    texts = ["a", "b.example", ".example", "evil", "x1", "", "A.b", "c.d.example", "curl", "(x)", "a+b"]
    modifiers = ["", "|contains", "|startswith", "|endswith", "|cased", "|re", "|contains|all"]
    fields = ["cs-host", "c-useragent", "c-uri", "tenant", "cs-method"]

    def selection() -> dict[str, Any]:
        found: dict[str, Any] = {}
        for _ in range(random.randint(1, 2)):
            key = random.choice(fields) + random.choice(modifiers)
            values = random.sample(texts, random.randint(1, 3))
            found[key] = (
                [v.replace("+", r"\+").replace("(", r"\(").replace(")", r"\)") for v in values]
                if "|re" in key
                else values
            )
        return found

    conditions = ["s", "s or t", "s and t", "not s", "s and not t", "1 of them", "not 1 of them"]
    documents = [
        rule({"s": selection(), "t": selection(), "condition": random.choice(conditions)}, f"r{n}") for n in range(40)
    ]
    found = ruleset(*documents)
    engine = Engine(found, limit=10**9)
    for n in range(60):
        each = record(
            host=random.choice(texts) + random.choice(["", "b.example"]), user_agent=random.choice(texts),
            tenant=random.choice(texts), method=random.choice(["CONNECT", "GET", "a"]), path=random.choice(["",
                "/evil", "/x1"]),
            kind=random.choice(["open", "deny"]), flow=f"F{n}",
        )  # fmt: skip
        engine.take(each)
        asked = sorted(r.head.id for r in found.rules.values() if each.kind in r.kinds and r.holds(each))
        assert sorted(hit.head.id for hit in engine.hits) == asked
        engine.hits.clear()

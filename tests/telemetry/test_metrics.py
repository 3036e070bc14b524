"""Metrics against a count of the same records that shares no code with the fold."""

import re
from collections import Counter, defaultdict

import pytest
from prometheus_client.parser import text_string_to_metric_families

from telemetry.fold import State
from telemetry.metrics import render, view
from telemetry.record import Record
from tests.telemetry.spool_kit import BOOT, NODE


def record(seq: int, kind: str, **fields: object) -> Record:
    return Record(node=NODE, boot=BOOT, worker="w0.1", seq=seq, kind=kind, time=1000 + seq, **fields)  # type: ignore[arg-type]


def stream() -> list[Record]:
    """Flows of three tenants over two lines, with progress, closes, refusals, a refusal after opening, strangers, line
    states."""
    rows: list[tuple[str, dict[str, object]]] = []
    for i in range(60):
        where = {"flow": f"F{i}", "tenant": f"t{i % 3}", "line": f"l{i % 2}", "revision": 400 + i}
        rows.append(("open", where))
        if i % 5 == 0:
            rows.append(("progress", {**where, "bytes_out": 10, "bytes_in": 100, "bytes_as_of": 5}))
        if i % 7 == 0:
            refused = {"cause": "refused", "reason": "name-mismatch", "status": 200}
            rows.append(("close", {**where, **refused, "duration": 2_000_000}))
        elif i % 4:
            closed = {"cause": "idle", "bytes_out": 30, "bytes_in": 500, "duration": i * 1_000_000}
            rows.append(("close", {**where, **closed}))
        rows.append(("deny", {"tenant": f"t{i % 3}", "reason": "not-whitelisted"}))
    rows.append(("deny", {"reason": "identity-unknown", "count": 250}))
    rows.append(("line", {"line": "l0", "detail": "up"}))
    rows.append(("line", {"line": "l1", "detail": "down: no carrier"}))
    rows.append(("heartbeat", {"values": {"connections": 7, "Bad-Name": 1, "turns_total": 9}, "revision": 512}))
    return [record(seq, kind, **fields) for seq, (kind, fields) in enumerate(rows, 1)]


def samples(text: str) -> dict[str, dict[tuple[str, ...], float]]:
    """Values by sample name and label values, in the order of label names."""
    found: dict[str, dict[tuple[str, ...], float]] = defaultdict(dict)
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found[sample.name][tuple(value for _, value in sorted(sample.labels.items()))] = sample.value
    return found


@pytest.fixture
def folded() -> tuple[list[Record], State]:
    records, state = stream(), State()
    state.take(f"{BOOT}-w0.1", records, [1] * len(records), 0, 0)
    return records, state


def test_every_counter_is_what_a_plain_count_says(folded: tuple[list[Record], State]) -> None:
    records, state = folded
    got = samples(render(view(state, 0.25, 4096)).decode())
    opened = [r for r in records if r.kind == "open"]
    closed = [r for r in records if r.kind == "close"]
    assert got["feiyu_flows_opened_total"][()] == len(opened)
    assert got["feiyu_flows_closed_total"] == {(c,): n for c, n in Counter(r.cause for r in closed).items()}
    assert got["feiyu_flows_open"][()] == len({r.flow for r in opened} - {r.flow for r in closed})
    assert got["feiyu_tenant_flows_total"] == {(t,): n for t, n in Counter(r.tenant for r in opened).items()}
    assert got["feiyu_records_total"] == {(k,): n for k, n in Counter(r.kind for r in records).items()}
    refusals: Counter[str] = Counter()
    for r in records:
        if r.kind == "deny" or r.cause == "refused":
            refusals[r.reason] += r.count or 1
    assert got["feiyu_refusals_total"] == {(reason,): n for reason, n in refusals.items()}
    last: dict[str, Record] = {}  # the newest word on a flow's bytes
    for r in records:
        if (r.kind == "close" and (r.bytes_out or r.bytes_in)) or r.kind == "progress":
            last[r.flow] = r
    for table, name in (("tenant", "tenant"), ("line", "line")):
        wanted: Counter[tuple[str, str]] = Counter()
        for r in last.values():
            wanted["in", getattr(r, name)] += r.bytes_in
            wanted["out", getattr(r, name)] += r.bytes_out
        assert got[f"feiyu_{table}_bytes_total"] == wanted
    assert got["feiyu_bytes_total"] == {
        ("out",): sum(r.bytes_out for r in last.values()),
        ("in",): sum(r.bytes_in for r in last.values()),
    }
    assert got["feiyu_flow_duration_seconds_count"][()] == len(closed)
    assert got["feiyu_flow_duration_seconds_sum"][()] == sum(r.duration for r in closed) / 1e6
    assert got["feiyu_flow_duration_seconds_bucket"]["15.0",] == sum(r.duration <= 15_000_000 for r in closed)
    assert got["feiyu_line_state"] == {("l0",): 1, ("l1",): 0}
    assert got["feiyu_policy_revision"][()] == 512
    assert got["feiyu_recorder_lag_seconds"][()] == 0.25
    assert got["feiyu_spool_bytes"][()] == 4096


def test_gauges_of_a_process_come_with_its_heartbeat_and_go_with_it(folded: tuple[list[Record], State]) -> None:
    _, state = folded
    got = samples(render(view(state, 0, 0)).decode())
    assert got["feiyu_worker_connections"] == {("w0.1",): 7}
    assert got["feiyu_worker_turns"] == {("w0.1",): 9}
    assert not any("Bad" in name for name in got)
    state.forget(f"{BOOT}-w0.1")
    assert "feiyu_worker_connections" not in samples(render(view(state, 0, 0)).decode())


def test_names_and_help_are_as_promtool_wants_them(folded: tuple[list[Record], State]) -> None:
    text = render(view(folded[1], 0, 0)).decode()
    tenant_counters = set()
    for family in text_string_to_metric_families(text):
        assert re.fullmatch(r"feiyu_[a-z0-9_]+", family.name)
        assert family.documentation.strip().endswith(".")
        assert not family.name.endswith("_total")
        for sample in family.samples:
            assert sample.name.endswith("_total") == (family.type == "counter")
            assert not re.search(r"milli|micro|minutes|hours|kilo|percent", sample.name)
            if "tenant" in sample.labels:
                tenant_counters.add(family.name)
    assert 0 < len(tenant_counters) <= 4


def test_a_flood_of_odd_reasons_stays_bounded() -> None:
    state = State()
    records = [record(seq, "deny", reason=f"reason-{seq}") for seq in range(1, 1001)]
    state.take(f"{BOOT}-w0.1", records, [1] * 1000, 0, 0)
    assert len(state.tally.refusals) <= 65
    assert sum(state.tally.refusals.values()) == 1000

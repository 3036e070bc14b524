"""What records say of lines: tables of records of one line, and what is known after them."""

from typing import Any

import pytest

from telemetry.fold import State
from telemetry.lines import MAX_LINES, LineTally, describe
from telemetry.metrics import render, view
from telemetry.record import Record
from tests.telemetry.spool_kit import BOOT, NODE
from tests.telemetry.test_metrics import samples

type Step = tuple[str, str, dict[str, int]]  # process, detail, values
UP: Step = ("lines.1", "up: ", {"state": 1})
ALL = {"flows": 7, "rtt_us": 38_200, "loss_permille": 83, "passive_rtt_us": 41_000, "retransmits_ppm": 1_500}


def folded(*steps: Step, line: str = "hk1") -> State:
    """The state after records of this line, a second apart."""
    state = State()
    for second, (process, detail, values) in enumerate(steps, 1):
        kind = "heartbeat" if detail == "figures" else "line"
        fields: dict[str, Any] = {"kind": kind, "line": line, "detail": detail, "values": values}
        record = Record(node=NODE, boot=BOOT, worker=process, seq=second, time=second * 1_000_000, **fields)
        state.take(f"{BOOT}-{process}", [record], [1], 0, 0)
    return state


def of(state: State) -> dict[str, Any]:
    (found,) = describe(state.tally.lines, state.tally.line_bytes)
    return found


SAID: dict[str, tuple[list[Step], dict[str, Any]]] = {
    "before any figures none is known": (
        [UP],
        {"state": "up", "since": 1, "flows": None, "rtt_us": None, "repairs": None, "dropped": None, "bytes_out": 0},
    ),
    "figures do not change since when and why": (
        [("lines.1", "down: no carrier", {"state": 0}), ("lines.1", "figures", {"state": 0, "flows": 0})],
        {"state": "down", "since": 1, "why": "no carrier", "flows": 0},
    ),
    "another reason is no other state": (
        [("lines.1", "degraded: a", {"state": 3}), ("lines.1", "degraded: b: c", {"state": 3})],
        {"state": "degraded", "since": 1, "why": "b: c"},
    ),
    "the same state told by a new process is as old as it is": ([UP, ("lines.2", "up: ", {"state": 1})], {"since": 1}),
    "a new state is as old as its record": ([UP, ("lines.1", "draining: by hand", {"state": 2})], {"since": 2}),
    "what a record leaves out is not known any more": (
        [("lines.1", "figures", {"state": 1, **ALL}), ("lines.1", "figures", {"state": 1, "flows": 8})],
        {"flows": 8, "rtt_us": None, "loss_permille": None, "passive_rtt_us": None, "retransmits_ppm": None},
    ),
    "repairs add up, also over processes": (
        [
            ("lines.1", "figures", {"state": 1, "repairs": 2}),
            ("lines.1", "figures", {"state": 1, "repairs": 0}),
            ("lines.2", "figures", {"state": 1, "repairs": 1}),
        ],
        {"repairs": 3},
    ),
    "counters that outlive the process take the difference": (
        [
            ("lines.1", "figures", {"state": 1, "dropped": 5, "exhausted": 1}),
            ("lines.1", "figures", {"state": 1, "dropped": 8, "exhausted": 1}),
            ("lines.2", "figures", {"state": 1, "dropped": 9, "exhausted": 1}),
        ],
        {"dropped": 9, "exhausted": 1},
    ),
    "counters that began anew go on": (
        [("lines.1", "figures", {"state": 1, "dropped": 5}), ("lines.1", "figures", {"state": 1, "dropped": 2})],
        {"dropped": 7},
    ),
    "an unknown counter keeps what was counted": (
        [("lines.1", "figures", {"state": 1, "dropped": 5}), ("lines.1", "figures", {"state": 1})],
        {"dropped": 5},
    ),
    "absurd numbers are bounded": ([("lines.1", "figures", {"state": 1, "flows": -4})], {"flows": 0}),
}


@pytest.mark.parametrize("sentence", SAID)
def test_of_a_line(sentence: str) -> None:
    steps, wanted = SAID[sentence]
    found = of(folded(*steps))
    assert {name: found[name] for name in wanted} == wanted


def test_gauges_go_with_the_process_that_told_them_and_the_rest_stays() -> None:
    state = folded(("lines.1", "figures", {"state": 1, **ALL, "dropped": 4}))
    state.forget(f"{BOOT}-lines.1")
    assert (of(state)["flows"], of(state)["dropped"], of(state)["state"]) == (None, 4, "up")
    state = folded(("lines.1", "figures", {"state": 1, **ALL}), ("lines.2", "figures", {"state": 1, **ALL}))
    state.forget(f"{BOOT}-lines.1")
    assert of(state)["flows"] == 7, "its successor told them since"


def test_metrics_have_no_sample_of_what_is_not_known() -> None:
    got = samples(render(view(folded(UP), 0, 0)).decode())
    assert got["feiyu_line_state"] == {("hk1",): 1}
    for name in ("rtt_seconds", "loss_ratio", "retransmit_ratio", "flows", "contract_remaining_seconds"):
        assert f"feiyu_line_{name}" not in got
    assert "feiyu_line_killswitch_dropped_packets_total" not in got


def test_metrics_are_in_base_units_and_tell_probes_from_flows() -> None:
    values = {"state": 3, **ALL, "contract_days": 59, "dropped": 4, "exhausted": 2, "repairs": 1}
    got = samples(render(view(folded(("lines.1", "degraded: slow", values)), 0, 0)).decode())
    assert got["feiyu_line_state"] == {("hk1",): 3}
    assert got["feiyu_line_rtt_seconds"] == {("hk1", "probe"): 0.0382, ("hk1", "passive"): 0.041}
    assert got["feiyu_line_loss_ratio"] == {("hk1",): 0.083}
    assert got["feiyu_line_retransmit_ratio"] == {("hk1",): 0.0015}
    assert got["feiyu_line_flows"] == {("hk1",): 7}
    assert got["feiyu_line_contract_remaining_seconds"] == {("hk1",): 59 * 86_400}
    assert got["feiyu_line_killswitch_dropped_packets_total"] == {("hk1",): 4}
    assert got["feiyu_ports_exhausted_total"] == {("hk1",): 2}
    assert got["feiyu_line_drift_repairs_total"] == {("hk1",): 1}


RETIRED: Step = ("lines.1", "down: retired", {"state": 0, "repairs": 1})
GOING: dict[str, tuple[list[Step], dict[tuple[str, ...], int] | None]] = {
    "a line that is retired": ([UP, RETIRED], None),
    "one whose last figures come behind": ([UP, RETIRED, ("lines.1", "figures", {"state": 0, "repairs": 0})], None),
    "one that was never told of": ([RETIRED], None),
    "one that only went down": ([UP, ("lines.1", "down: no carrier", {"state": 0})], {("hk1",): 0}),
    "one that is told of again": ([UP, RETIRED, UP], {("hk1",): 1}),
}


@pytest.mark.parametrize("sentence", GOING)
def test_metrics_and_figures_are_of_lines_in_use(sentence: str) -> None:
    steps, states = GOING[sentence]
    state = folded(*steps)
    state.tally.line_bytes["hk1"] = [1, 2]
    got = samples(render(view(state, 0, 0)).decode())
    assert got.get("feiyu_line_state") == states
    if UP in steps and states is None:
        assert "hk1" not in str(got)
        assert describe(state.tally.lines, state.tally.line_bytes) == []
        assert got["feiyu_drift_repairs_total"][()] == 1, "the node's own sum never falls"


def test_a_retired_line_makes_room_and_its_repairs_stay_in_the_sum() -> None:
    state = folded(UP, RETIRED)
    for number in range(MAX_LINES + 5):
        record = Record(node=NODE, boot=BOOT, worker="x", seq=number + 1, kind="line", time=1, line=f"l{number}")
        state.take(f"{BOOT}-x", [record], [1], 0, 0)
    assert "hk1" not in state.tally.lines
    assert samples(render(view(state, 0, 0)).decode())["feiyu_drift_repairs_total"][()] == 1


def test_what_is_of_no_line_counts_for_the_node() -> None:
    state = folded(
        ("lines.1", "figures", {"repairs": 2, "forwarded": 3, "marked": 0}),
        ("lines.1", "drift: a rule", {"repaired": 1}),
        ("lines.1", "figures", {"repairs": 0, "forwarded": 5, "marked": 0}),
        line="",
    )
    got = samples(render(view(state, 0, 0)).decode())
    assert got["feiyu_killswitch_dropped_packets_total"] == {("forwarded",): 5, ("marked",): 0}
    assert got["feiyu_drift_repairs_total"][()] == 2
    assert "feiyu_line_drift_repairs_total" not in got
    assert describe(state.tally.lines, {}) == []


def test_lines_that_do_not_exist_stay_bounded() -> None:
    state = State()
    for number in range(MAX_LINES + 5):
        record = Record(node=NODE, boot=BOOT, worker="x", seq=number + 1, kind="line", time=1, line=f"l{number}")
        state.take(f"{BOOT}-x", [record], [1], 0, 0)
    assert len(state.tally.lines) == MAX_LINES
    assert isinstance(state.tally.lines["l0"], LineTally)

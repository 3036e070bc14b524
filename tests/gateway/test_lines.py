"""Which of the designated lines a new flow may take, in which order, and why not the others."""

import random
from collections import Counter
from typing import Any

import pytest

from gateway.line.model import MARK_BASE, mark_of
from gateway.lines import LineTable
from gateway.live import LineState
from tests.gateway.node import line
from whitelist.compiler import rows
from whitelist.entries import LineEntry

NOW = 1_000_000.5


def entry(name: str, **changes: Any) -> LineEntry:
    """A line as the snapshot has it."""
    ((_, found),) = rows(line(name, **changes))
    assert isinstance(found, LineEntry)
    return found


def table(states: dict[str, LineState] | None = None, **changes: Any) -> LineTable:
    """hk1 (with these changes) and sg1, both up."""
    made = LineTable(MARK_BASE)
    made.load({"hk1": entry("hk1", **changes), "sg1": entry("sg1")})
    made.replace({"hk1": LineState.UP, "sg1": LineState.UP} if states is None else states)
    return made


def ids(made: LineTable, *designated: str, wall: float = NOW) -> list[str]:
    return [handle.id for handle in made.usable(designated, wall)[0]]


def test_designated_lines_come_in_the_order_of_the_grant_with_their_marks() -> None:
    made = table()
    assert ids(made, "sg1", "hk1") == ["sg1", "hk1"]
    assert ids(made, "hk1") == ["hk1"]
    assert ids(made) == []
    assert [h.mark for h in made.usable(("hk1", "sg1"), NOW)[0]] == [mark_of(1), mark_of(2)]


WHY: dict[str, tuple[dict[str, Any], dict[str, LineState] | None, str]] = {
    "is down": ({}, {"hk1": LineState.DOWN}, "hk1: down"),
    "is draining": ({}, {"hk1": LineState.DRAINING}, "hk1: draining"),
    "was never reported": ({}, {}, "hk1: not reported up"),
    "is drained by the operator": ({"drained": True}, None, "hk1: drained"),
    "is retired": ({"retired": True}, None, "hk1: unknown"),
    "has a contract that has not begun": ({"valid_from": 1_000_001}, None, "hk1: contract not in force"),
    "has a contract that has ended": ({"valid_until": 1_000_000}, None, "hk1: contract not in force"),
    "has no number": ({"index": 0}, None, "hk1: index 0"),
}


@pytest.mark.parametrize("case", WHY)
def test_a_line_is_passed_over_that(case: str) -> None:
    changes, states, why = WHY[case]
    made = table(None if states is None else {"sg1": LineState.UP, **states}, **changes)
    handles, said = made.usable(("hk1", "sg1"), NOW)
    assert ([h.id for h in handles], said) == (["sg1"], why)
    assert made.usable(("hk1",), NOW)[0] == ()


def test_a_line_of_nobody_is_unknown() -> None:
    assert table().usable(("xx1",), NOW) == ((), "xx1: unknown")


def test_what_is_remembered_follows_reports_policy_and_the_clock() -> None:
    made = table(valid_from=1_000_001, valid_until=1_000_003)
    assert [ids(made, "hk1", wall=1_000_000 + s) for s in (0.9, 1.0, 2.999, 3.0, 2.5, 0.5)] == [
        [], ["hk1"], ["hk1"], [], ["hk1"], [],
    ]  # fmt: skip
    made = table()
    assert ids(made, "hk1") == ["hk1"]
    made.report("hk1", LineState.DOWN)
    assert ids(made, "hk1") == []
    made.report("hk1", LineState.UP)
    assert ids(made, "hk1") == ["hk1"]
    made.load({"hk1": entry("hk1", drained=True)})
    assert ids(made, "hk1") == []
    made.load({"hk1": entry("hk1")})
    assert ids(made, "hk1") == ["hk1"], "what was reported stays over a change of policy"
    made.replace({})
    assert ids(made, "hk1") == []


def test_a_line_is_gone_only_when_the_policy_lacks_it() -> None:
    made = table(drained=True)
    made.report("sg1", LineState.DOWN)
    assert [made.gone(name) for name in ("hk1", "sg1", "xx1")] == [False, False, True]
    made.load({"sg1": entry("sg1", retired=True)})
    assert made.gone("hk1")
    assert made.gone("sg1")


def test_the_end_of_a_contract_is_told() -> None:
    assert table(valid_until=77).ends("hk1") == 77
    assert table().ends("hk1") == 0
    assert table().ends("xx1") == 0


STATES: dict[str, tuple[dict[str, LineState], list[str], str]] = {
    "a degraded line stands behind one that is up": (
        {"hk1": LineState.DEGRADED, "sg1": LineState.UP}, ["sg1", "hk1"], ""
    ),
    "degraded lines are taken in order where none is up": (
        {"hk1": LineState.DEGRADED, "sg1": LineState.DEGRADED}, ["hk1", "sg1"], ""
    ),
    "a degraded line is taken before one that is down": (
        {"hk1": LineState.DOWN, "sg1": LineState.DEGRADED}, ["sg1"], "hk1: down"
    ),
    "of none it is said why": (
        {"hk1": LineState.DOWN, "sg1": LineState.DRAINING}, [], "hk1: down, sg1: draining"
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", STATES)
@pytest.mark.parametrize("weights", [(), (1, 9)], ids=["in order", "by weight"])
def test_of_states(case: str, weights: tuple[int, ...]) -> None:
    states, expected, why = STATES[case]
    handles, said = table(states).usable(("hk1", "sg1"), NOW, weights)
    assert ([handle.id for handle in handles], said) == (expected, why)


def test_lines_are_drawn_by_weight_for_each_flow() -> None:
    names = ("hk1", "sg1", "xx1")
    made = LineTable(MARK_BASE, random.Random(46))  # the same draw in every run
    made.load({"hk1": entry("hk1"), "sg1": entry("sg1"), "xx1": entry("hk1", id="xx1", index=3)})
    made.replace(dict.fromkeys(names, LineState.UP))
    orders = Counter(tuple(h.id for h in made.usable(names, NOW, (6, 3, 1))[0]) for _ in range(10_000))
    first, second = Counter[str](), Counter[str]()
    for order, count in orders.items():
        assert sorted(order) == sorted(names)
        first[order[0]] += count
        second[order[1]] += count if order[0] == "hk1" else 0
    assert [round(first[name] / 10_000, 1) for name in names] == [0.6, 0.3, 0.1]
    assert 0.72 < second["sg1"] / first["hk1"] < 0.78, "three quarters of those that are left"
    assert {made.usable(names, NOW)[0][0].id for _ in range(50)} == {"hk1"}, "without weights in order"


def test_a_line_of_no_weight_is_taken_last() -> None:
    made = table()
    assert {made.usable(("hk1", "sg1"), NOW, (0, 1))[0][0].id for _ in range(50)} == {"sg1"}

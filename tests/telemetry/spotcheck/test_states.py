"""The table of states: every way through it ends, and nothing else is allowed."""

import pytest

from telemetry.spotcheck.error import SpotcheckError
from telemetry.spotcheck.states import ENDS, TABLE, Act, State, step

WAYS = {
    "nothing is found": ("plan draw review pass pass close", "CLOSED"),
    "a finding is put right": ("plan draw review pass find pass rectify accept", "VERIFIED"),
    "a finding is passed on": ("plan draw review find find rectify escalate", "ESCALATED"),
}


@pytest.mark.parametrize(("acts", "end"), WAYS.values(), ids=WAYS)
def test_ways(acts: str, end: str) -> None:
    state: State | None = None
    for act in acts.split():
        state = step(state, Act(act))
    assert state == end
    assert state in ENDS


def test_what_the_table_does_not_hold_is_refused_and_says_what_can_be() -> None:
    for state in (None, *State):
        for act in Act:
            if (state, act) in TABLE:
                continue
            with pytest.raises(SpotcheckError, match=f"takes no {act}; it takes "):
                step(state, act)
    with pytest.raises(SpotcheckError, match="that is PLANNED takes no close; it takes draw"):
        step(State.PLANNED, Act.CLOSE)
    with pytest.raises(SpotcheckError, match="that is CLOSED takes no find; it takes nothing more"):
        step(State.CLOSED, Act.FIND)


def test_the_ends_are_those_of_the_domain_and_all_is_reachable() -> None:
    assert {state.value for state in ENDS} == {"CLOSED", "VERIFIED", "ESCALATED"}
    assert set(TABLE.values()) == set(State)

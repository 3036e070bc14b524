"""What a spot check goes through (domain: PLANNED → SAMPLED → IN_REVIEW → CLOSED | FINDING → RECTIFYING → VERIFIED |
ESCALATED), as one table. Pure."""

from enum import StrEnum

from telemetry.spotcheck.error import SpotcheckError


class State(StrEnum):
    """Where a spot check stands."""

    PLANNED = "PLANNED"
    SAMPLED = "SAMPLED"
    IN_REVIEW = "IN_REVIEW"
    FINDING = "FINDING"
    RECTIFYING = "RECTIFYING"
    CLOSED = "CLOSED"
    VERIFIED = "VERIFIED"
    ESCALATED = "ESCALATED"


class Act(StrEnum):
    """A step; each is a record of kind spotcheck whose detail it is."""

    PLAN = "plan"
    DRAW = "draw"
    REVIEW = "review"
    PASS = "pass"  # noqa: S105 - a record of the sample was looked at, and nothing found
    FIND = "find"
    RECTIFY = "rectify"
    CLOSE = "close"
    ACCEPT = "accept"
    ESCALATE = "escalate"


TABLE: dict[tuple[State | None, Act], State] = {
    (None, Act.PLAN): State.PLANNED,
    (State.PLANNED, Act.DRAW): State.SAMPLED,
    (State.SAMPLED, Act.REVIEW): State.IN_REVIEW,
    (State.IN_REVIEW, Act.PASS): State.IN_REVIEW,
    (State.IN_REVIEW, Act.FIND): State.FINDING,
    (State.IN_REVIEW, Act.CLOSE): State.CLOSED,
    (State.FINDING, Act.PASS): State.FINDING,
    (State.FINDING, Act.FIND): State.FINDING,
    (State.FINDING, Act.RECTIFY): State.RECTIFYING,
    (State.RECTIFYING, Act.ACCEPT): State.VERIFIED,
    (State.RECTIFYING, Act.ESCALATE): State.ESCALATED,
}
ENDS = frozenset(State) - {state for state, _ in TABLE}


def step(state: State | None, act: Act) -> State:
    """The state after an act; None is before the plan. Raises SpotcheckError where the act cannot be."""
    if (state, act) not in TABLE:
        can = ", ".join(known for at, known in TABLE if at == state) or "nothing more"
        raise SpotcheckError(f"a spot check that is {state or 'not planned'} takes no {act}; it takes {can}")
    return TABLE[state, act]

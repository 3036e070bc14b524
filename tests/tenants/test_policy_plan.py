"""A plan is what lies between the register and what is wished, and no more; each row names what it shows."""

from typing import Any

import pytest

from tenants import queries
from tenants.draft import decoders
from tenants.register import Register
from tests.tenants.zone import NOW, WINDOW, change, grant
from whitelist.holding import holding
from whitelist.model import GrantState
from whitelist.plan import Plan, plan
from whitelist.proposal import COLLECTIONS, Proposal, Scope
from whitelist.rollback import decoded, undo
from whitelist.store import KINDS

DOCS = {"subject": "tenant:firm-a", "object": "service:docs", "lines": ["hk1"], "window": WINDOW}
LATER = {"valid_from": NOW, "valid_until": NOW + 2 * 86_400}


def planned(register: Register, **entries: Any) -> Plan:
    with holding(register) as held:
        return plan(Proposal(**entries), held, KINDS)


def told(made: Plan) -> list[str]:
    """verb collection/id of each change; ids that are made up shortened."""
    return [f"{one.verb} {one.collection}/{'NEW' if len(one.id) == 12 else one.id}" for one in made.changes]


@pytest.fixture
def granted(zone: Register) -> Register:
    """The zone with a grant and a deny, at revision 2."""
    zone.apply_changes([grant("g-1"), change("denies", "add", "d-1", target="*.bad.example")], "root", "x", NOW)
    return zone


@pytest.mark.parametrize(
    ("entries", "expected"),
    [
        pytest.param({"groups": ({"id": "research"},)}, [], id="what stands is left alone"),
        pytest.param({"groups": ({"id": "lab"},)}, ["add groups/lab"], id="what is not there is added"),
        pytest.param(
            {"groups": ({"id": "research", "name": "R"},)}, ["edit groups/research"], id="what differs is edited"
        ),
        pytest.param({"grants": (DOCS,)}, [], id="a grant without id is the live one that says the same"),
        pytest.param(
            {"grants": ({**DOCS, "window": LATER},)},
            ["edit grants/g-1"],
            id="or the one of the same subject and object",
        ),
        pytest.param({"grants": (DOCS, {**DOCS, "window": LATER})}, ["add grants/NEW"], id="a second one is new"),
        pytest.param(
            {"grants": ({**DOCS, "id": "g-1", "purpose": "trade"},)}, ["edit grants/g-1"], id="an id is meant as it is"
        ),
        pytest.param({"grants": ({**DOCS, "id": "g-2"},)}, ["add grants/g-2"], id="also for a new grant"),
        pytest.param(
            {"denies": ({"target": "*.bad.example"},)}, [], id="a deny without id is the one of the same target"
        ),
        pytest.param({"denies": ({"target": "*.worse.example"},)}, ["add denies/NEW"], id="or new"),
        pytest.param(
            {"tenants": ({"id": "firm-a", "groups": []},)},
            ["edit tenants/firm-a"],
            id="of a firm only what is named changes",
        ),
        pytest.param(
            {"tenants": ({"id": "firm-a", "groups": ["research"]},)}, [], id="and nothing where that stands already"
        ),
        pytest.param(
            {"scope": Scope(tenants=("firm-a",))},
            ["revoke grants/g-1"],
            id="what the scope covers and the file lacks is revoked",
        ),
        pytest.param({"scope": Scope(tenants=("firm-a",)), "grants": (DOCS,)}, [], id="what the file has is kept"),
        pytest.param({"scope": Scope(tenants=("firm-b",))}, [], id="others are not in the scope"),
        pytest.param(
            {"scope": Scope(zone=True)},
            ["remove denies/d-1", "revoke grants/g-1", "retire services/docs"],
            id="a whole zone without anything",
        ),
        pytest.param({}, [], id="nothing wished, nothing done"),
    ],
)
def test_the_plan_is_the_difference(granted: Register, entries: dict[str, Any], expected: list[str]) -> None:
    made = planned(granted, **entries)
    assert (told(made), made.faults) == (expected, [])
    if made.changes:
        applied = granted.apply_changes(made.changes, "root", "the plan", NOW)
        assert applied.changed
        again = planned(granted, **entries)
        assert told(again) == []


@pytest.mark.parametrize(
    ("before", "entries", "said"),
    [
        pytest.param(
            [change("grants", "revoke", "g-1")],
            {"grants": ({**DOCS, "id": "g-1"},)},
            "names a grant that is REVOKED; leave the id out",
            id="a grant that has ended",
        ),
        pytest.param(
            [grant("g-2", window=LATER)],
            {"grants": ({**DOCS, "purpose": "trade"},)},
            "could be any of g-1, g-2; name the one",
            id="a grant that could be several",
        ),
        pytest.param(
            [],
            {"grants": ({**DOCS, "id": "g-1", "subject": "group:research"},)},
            "is tenant:firm-a and cannot be changed",
            id="another subject",
        ),
        pytest.param(
            [],
            {"services": ({"id": "s", "name": "S", "endpoints": []},)},
            "needs at least one way to it",
            id="an entry that is not valid",
        ),
        pytest.param(
            [],
            {"services": ({"id": "s", "name": "S", "endpoints": [{"target": 1}]},)},
            "Expected `str`, got `int`",
            id="an entry of other types",
        ),
        pytest.param(
            [change("grants", "revoke", "g-1"), change("services", "retire", "docs")],
            {"services": ({"id": "docs", "name": "D", "endpoints": [{"target": "a.example"}]},)},
            "is retired for good; choose another id",
            id="a service that is retired",
        ),
        pytest.param([], {"tenants": ({"id": "new"},)}, "is needed", id="a new firm named in part"),
    ],
)
def test_what_cannot_be_planned_is_told(
    granted: Register, before: list[Any], entries: dict[str, Any], said: str
) -> None:
    if before:
        granted.apply_changes(before, "root", "before", NOW)
    made = planned(granted, **entries)
    assert made.changes == []
    assert said in made.faults[0].message


def test_an_ambiguous_entry_takes_nothing_away_from_what_it_could_be(granted: Register) -> None:
    granted.apply_changes([grant("g-2", window=LATER)], "root", "before", NOW)
    made = planned(granted, scope=Scope(tenants=("firm-a",)), grants=({**DOCS, "purpose": "trade"},))
    assert (told(made), len(made.faults)) == ([], 1)


def test_a_grant_that_ended_comes_back_under_another_id(granted: Register) -> None:
    entry = {**DOCS, "purpose": "trade"}
    granted.apply_changes(planned(granted, scope=Scope(tenants=("firm-a",))).changes, "root", "x", NOW)
    first = planned(granted, grants=(entry,)).changes[0].id
    granted.apply_changes(planned(granted, grants=(entry,)).changes, "root", "x", NOW)
    granted.apply_changes([change("grants", "revoke", first)], "root", "x", NOW)
    second = planned(granted, grants=(entry,)).changes
    assert [one.verb for one in second] == ["add"]
    assert second[0].id != first


ROLLBACKS = [
    pytest.param(
        [change("denies", "add", "d-2", target="x.example")], ["remove denies/d-2"], [], id="what was added goes"
    ),
    pytest.param([change("denies", "remove", "d-1")], ["add denies/d-1"], [], id="what was removed returns"),
    pytest.param(
        [change("grants", "edit", "g-1", purpose="trade"), change("grants", "edit", "g-1", purpose="other")],
        ["edit grants/g-1"],
        [],
        id="what was edited twice is as before both",
    ),
    pytest.param([grant("g-2")], ["revoke grants/g-2"], [], id="a new grant is revoked"),
    pytest.param(
        [change("grants", "revoke", "g-1")],
        ["add grants/NEW"],
        ["for good; its terms return as"],
        id="a revoked grant returns under another id",
    ),
    pytest.param(
        [change("grants", "suspend", "g-1")], [], ["a step of its own"], id="a suspension is not lifted by the way"
    ),
    pytest.param([change("tenants", "suspend", "firm-a")], [], ["a step of its own"], id="nor that of a firm"),
    pytest.param(
        [
            change("services", "add", "s", name="S", endpoints=[{"target": "s.example"}]),
            grant("g-2", object="service:s"),
        ],
        ["revoke grants/g-2", "retire services/s"],
        [],
        id="a service is retired after its grants",
    ),
    pytest.param([change("groups", "add", "lab")], [], ["grants nothing"], id="a group stays"),
    pytest.param(
        [change("denies", "add", "d-2", target="x.example"), change("denies", "remove", "d-2")],
        [],
        [],
        id="what came and went leaves nothing to do",
    ),
]


@pytest.mark.parametrize(("since", "expected", "stays"), ROLLBACKS)
def test_a_rollback_is_one_more_change(
    granted: Register, since: list[Any], expected: list[str], stays: list[str]
) -> None:
    for one in since:
        granted.apply_changes([one], "root", "since", NOW)
    with holding(granted) as held, granted.store.transaction(write=False) as connection:
        rows = queries.touched_after(connection, 2, COLLECTIONS)
        made = undo(decoded(rows, decoders(KINDS)), held, KINDS)
    verbs = [f"{one.verb} {one.collection}/{'NEW' if len(one.id) == 12 else one.id}" for one in made.changes]
    assert verbs == expected
    assert len(made.stays) == len(stays)
    assert all(said in why for said, (*_, why) in zip(stays, made.stays, strict=True))
    if made.changes:
        before = granted.revision()
        assert granted.apply_changes(made.changes, "root", "back", NOW).revision == before + 1
    assert all(one.state is not GrantState.EFFECTIVE or one.id != "g-2" for one in granted.everything()[0]["grants"])


def test_a_rehearsal_changes_nothing(granted: Register) -> None:
    before = granted.everything()
    applied = granted.rehearse([grant("g-9"), change("denies", "remove", "d-1")], "root", "try", NOW)
    assert [one.verb for one in applied.changed] == ["add", "remove"]
    assert granted.everything() == before

"""The one door: what is written with a change, and what is refused, and why."""

from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from tenants.change import (
    AlreadyExists,
    Change,
    ChangeRefused,
    ConflictingChange,
    Forbidden,
    InvalidChange,
    UnknownItem,
)
from tenants.model import Origin, TenantState
from tenants.register import Register
from tenants.store import RegisterUnavailable
from tests.tenants.zone import NOW, PLACE, WINDOW, change, grant, line, service, tenant
from whitelist.model import GrantState


def refused(register: Register, *changes: Change, kind: type[ChangeRefused], reason: str = "a try") -> ChangeRefused:
    """The refusal, after a look that nothing was changed by it."""
    before = register.everything()
    with pytest.raises(ChangeRefused) as caught:
        register.apply_changes(changes, "root", reason, NOW)
    assert type(caught.value) is kind, str(caught.value)
    assert register.everything() == before
    return caught.value


def test_a_change_bumps_the_revision_and_leaves_its_mark(zone: Register) -> None:
    applied = zone.apply_change(grant("g-docs"), "alice", "ticket 7", NOW + 5)
    item = applied.items[0]
    assert applied.revision == zone.revision() == item.provenance.revision == 2
    assert (item.provenance.origin, item.provenance.actor, item.provenance.reason) == (
        Origin.BOOTSTRAP,
        "alice",
        "ticket 7",
    )
    assert item.provenance.created == item.provenance.updated == NOW + 5
    assert zone.get("grants", "g-docs") == (item, 2)
    entry = zone.history(limit=1)[0]
    assert (entry["actor"], entry["reason"], entry["verb"], entry["item"]) == ("alice", "ticket 7", "add", "g-docs")
    assert entry["before"] is None
    assert '"g-docs"' in entry["after"]


def test_an_edit_keeps_when_the_item_was_made_and_both_versions_in_history(zone: Register) -> None:
    item = zone.apply_change(change("tenants", "edit", "firm-a", name="Firm A"), "bob", "renamed", NOW + 60).items[0]
    assert (item.name, item.slot, item.groups) == ("Firm A", 1, ("research",))
    assert (item.provenance.created, item.provenance.updated, item.provenance.actor) == (NOW, NOW + 60, "bob")
    entry = zone.history(collection="tenants", item="firm-a", limit=1)[0]
    assert '"name":"FIRM-A"' in entry["before"]
    assert '"name":"Firm A"' in entry["after"]


def test_an_edit_merges_objects_replaces_lists_and_null_brings_the_default_back(zone: Register) -> None:
    zone.apply_change(grant("g-1", purpose="research"), "root", "x", NOW)
    patch = change("grants", "edit", "g-1", window={"valid_until": NOW + 7}, purpose=None)
    item = zone.apply_change(patch, "root", "shorter", NOW).items[0]
    assert (item.window.valid_from, item.window.valid_until, item.purpose) == (NOW, NOW + 7, "internal_office")


def test_an_edit_that_changes_nothing_makes_no_revision(zone: Register) -> None:
    applied = zone.apply_change(change("tenants", "edit", "firm-a", name="FIRM-A"), "root", "same", NOW)
    assert (applied.revision, applied.changed, zone.revision()) == (1, (), 1)


def test_many_changes_are_one_revision_and_see_each_other(register: Register) -> None:
    changes = [line("hk1", "l1"), service("docs", "docs.example.com"), tenant("firm-a"), grant("g-1"), grant("g-2")]
    applied = register.apply_changes([*changes, change("grants", "revoke", "g-1")], "root", "all", NOW)
    assert applied.revision == 1
    assert register.get("grants", "g-1")[0].state is GrantState.REVOKED
    assert [c.id for c in applied.changed] == ["hk1", "docs", "firm-a", "g-1", "g-2"]


def test_one_bad_change_undoes_all_and_says_which(zone: Register) -> None:
    error = refused(zone, grant("g-1"), grant("g-2"), grant("g-3", lines=["nowhere"]), kind=InvalidChange)
    assert error.index == 2
    assert error.errors == [("lines[0]", "there is no line nowhere")]


@pytest.mark.parametrize("reason", ["", "   ", "a\nb", "x" * 1001, "\x1b[31m"])
def test_a_change_without_a_proper_reason_is_refused(zone: Register, reason: str) -> None:
    assert refused(zone, grant(), kind=InvalidChange, reason=reason).errors[0][0] == "reason"


def test_grants_get_ids_of_their_own_and_keep_those_given(zone: Register) -> None:
    made, named = zone.apply_changes([grant(), grant("g-mine")], "root", "x", NOW).items
    assert named.id == "g-mine"
    assert made.id.startswith("g-")
    assert len(made.id) == 12


def test_tenants_and_lines_are_numbered_and_new_numbers_come_first(zone: Register) -> None:
    added = zone.apply_changes([tenant("firm-b"), tenant("firm-c"), line("hk2", "l2")], "root", "x", NOW).items
    assert [item.slot for item in added[:2]] == [2, 3]
    zone.apply_change(change("lines", "retire", "hk2"), "root", "x", NOW)
    assert zone.apply_change(line("hk3", "l2"), "root", "device of a retired line", NOW).items[0].index == 3


def test_when_every_number_was_given_a_retired_line_s_is_given_again(register: Register) -> None:
    register.apply_changes([line(f"n{i}", f"l{i}") for i in range(255)], "root", "x", NOW)
    register.apply_changes([change("lines", "retire", f"n{i}") for i in (200, 41, 7)], "root", "x", NOW)
    assert register.apply_change(line("a", "la"), "root", "x", NOW).items[0].index == 8
    again = [line("b", "lb"), change("lines", "retire", "a"), line("c", "lc"), line("d", "ld")]
    added = register.apply_changes(again, "root", "one revision", NOW).items
    assert [(item.id, item.index) for item in added] == [("b", 42), ("a", 8), ("c", 8), ("d", 201)]
    assert refused(register, line("e", "le"), kind=InvalidChange).errors[0][1].startswith("255 lines are in use")
    assert register.get("lines", "n7")[0].index == 8, "what is retired keeps its number: it is history"


def test_a_256th_line_finds_no_number(register: Register) -> None:
    register.apply_changes([line(f"n{i}", f"l{i}") for i in range(255)], "root", "x", NOW)
    assert "255 lines" in refused(register, line("one-more", "lx"), kind=InvalidChange).errors[0][1]


@pytest.mark.parametrize("name", ["", "-a", "A", "a b", "a_b", "a.b", "ä", "a" * 64, "a\n", "a/b"])
def test_an_id_that_is_no_slug_is_refused(zone: Register, name: str) -> None:
    assert refused(zone, tenant(name), kind=InvalidChange).errors[0][0] == "id"


@pytest.mark.parametrize(
    ("bad", "field", "message"),
    [
        pytest.param(grant(subject="tenant:nobody"), "subject", "there is no tenant nobody", id="an unknown tenant"),
        pytest.param(grant(subject="group:none"), "subject", "there is no group none", id="an unknown group"),
        pytest.param(grant(object="service:none"), "object", "there is no service none", id="an unknown service"),
        pytest.param(grant(object="category:none"), "object", "there is no category none", id="an unknown category"),
        pytest.param(grant(lines=["hk1", "none"]), "lines[1]", "there is no line none", id="an unknown second line"),
        pytest.param(
            tenant("b", groups=["none"]), "groups[0]", "there is no group none", id="a tenant's unknown group"
        ),
        pytest.param(
            service("s", "s.example.com", categories=["none"]),
            "categories[0]",
            "there is no category none",
            id="a service's unknown category",
        ),
        pytest.param(
            change("credentials", "add", tenant="none", token_sha256="0" * 64, valid_until=NOW + 9),
            "tenant",
            "there is no tenant none",
            id="a credential of nobody",
        ),
        pytest.param(line("hk2", "l1"), "device", "line hk1 has device l1", id="a second line on the same device"),
        pytest.param(
            tenant("firm-b", places=[{**PLACE, "prefix": "10.0.0.128/25"}]),
            "places[0].prefix",
            "overlaps 10.0.0.0/24 of tenant firm-a on interface acc0",
            id="a prefix inside another tenant's",
        ),
        pytest.param(
            tenant("firm-b", places=[{**PLACE, "prefix": "10.0.0.0/16"}]),
            "places[0].prefix",
            "overlaps 10.0.0.0/24 of tenant firm-a on interface acc0",
            id="a prefix around another tenant's",
        ),
        pytest.param(
            tenant("firm-b", places=[{**PLACE, "prefix": "10.9.0.0/24"}, {**PLACE, "prefix": "10.9.0.0/28"}]),
            "places[1].prefix",
            "overlaps places[0]",
            id="two overlapping prefixes of one tenant",
        ),
        pytest.param(tenant("b", slot=9), "slot", "is set by the register alone", id="a slot of one's own choice"),
        pytest.param(
            tenant("b", provenance={"origin": "approved"}), "provenance", "is set by the register alone", id="an origin"
        ),
        pytest.param(grant(state="SUSPENDED"), "state", "is set by the register alone", id="a state"),
        pytest.param(tenant("b", colour="red"), "colour", "is no field here", id="an unknown field"),
        pytest.param(
            change("tenants", "add", "b", name="B", valid_from=0), "valid_until", "is needed", id="a missing field"
        ),
        pytest.param(tenant("b", valid_until="soon"), "valid_until", "Expected `int`", id="a field of another type"),
        pytest.param(
            grant(window={**WINDOW, "valid_from": "x"}),
            "window.valid_from",
            "Expected `int`",
            id="a field within a field",
        ),
        pytest.param(change("tenants", "edit", "firm-a", id="firm-b"), "id", "cannot be changed", id="another id"),
        pytest.param(change("tenants", "fly", "firm-a"), "verb", "is unknown", id="an unknown action"),
    ],
)
def test_what_cannot_be_is_refused_with_its_field(zone: Register, bad: Change, field: str, message: str) -> None:
    errors = refused(zone, bad, kind=InvalidChange).errors
    assert [name for name, _ in errors] == [field]
    assert message in errors[0][1]


def test_adjacent_prefixes_and_the_same_prefix_on_another_interface_are_allowed(zone: Register) -> None:
    places = [{**PLACE, "prefix": "10.0.1.0/24"}, {**PLACE, "interface": "acc1"}, {**PLACE, "prefix": "fd00::/64"}]
    assert zone.apply_change(tenant("firm-b", places=places), "root", "x", NOW).revision == 2


def test_a_tenant_may_move_within_its_own_prefixes(zone: Register) -> None:
    places = [{**PLACE, "prefix": "10.0.0.0/25"}, {**PLACE, "prefix": "10.0.0.128/25", "room": "r2"}]
    item = zone.apply_change(change("tenants", "edit", "firm-a", places=places), "root", "split", NOW).items[0]
    assert [place.room for place in item.places] == ["r1", "r2"]
    other = tenant("firm-b", places=[{**PLACE, "prefix": "10.0.0.192/26"}])
    assert "firm-a" in refused(zone, other, kind=InvalidChange).errors[0][1]


@pytest.mark.parametrize("side", ["offshore", "domestic"])
def test_a_line_that_does_not_lead_abroad_cannot_be_granted(zone: Register, side: str) -> None:
    zone.apply_change(line("home", "l9", side=side), "root", "x", NOW)
    error = refused(zone, grant(lines=["home"]), kind=InvalidChange)
    assert error.errors == [("lines[0]", f"line home leads to side {side}; only abroad can be granted")]


@pytest.mark.parametrize(
    ("use", "try_", "user"),
    [
        pytest.param(grant("g-1"), change("services", "retire", "docs"), "grant g-1", id="a granted service"),
        pytest.param(grant("g-1"), change("lines", "retire", "hk1"), "grant g-1", id="a line in a grant"),
        pytest.param(None, change("groups", "remove", "research"), "tenant firm-a", id="a group with a member"),
        pytest.param(None, change("categories", "remove", "reference"), "service docs", id="a category with a member"),
    ],
)
def test_what_is_used_stays_and_its_users_are_named(
    zone: Register, use: Change | None, try_: Change, user: str
) -> None:
    if use is not None:
        zone.apply_change(use, "root", "use it", NOW)
    assert user in refused(zone, try_, kind=ConflictingChange).detail


def test_what_is_no_longer_used_can_go(zone: Register) -> None:
    zone.apply_change(grant("g-1"), "root", "x", NOW)
    done = [change("grants", "revoke", "g-1"), change("services", "retire", "docs"), change("lines", "retire", "hk1")]
    zone.apply_changes(done, "root", "over", NOW)
    zone.apply_change(change("tenants", "edit", "firm-a", groups=[]), "root", "left", NOW)
    zone.apply_change(change("groups", "remove", "research"), "root", "empty", NOW)
    with pytest.raises(UnknownItem):
        zone.get("groups", "research")
    assert refused(zone, grant("g-2"), kind=InvalidChange).errors == [
        ("object", "service docs is retired"),
        ("lines[0]", "line hk1 is retired"),
    ]


def test_what_exists_is_not_added_again_and_what_does_not_is_not_changed(zone: Register) -> None:
    assert refused(zone, tenant("firm-a"), kind=AlreadyExists).detail == "tenant firm-a exists"
    assert refused(zone, change("tenants", "suspend", "firm-z"), kind=UnknownItem).detail == "there is no tenant firm-z"
    assert "no collection" in refused(zone, change("shoes", "add", "x"), kind=UnknownItem).detail


ACTIONS: list[tuple[str, str, list[str], str, dict[str, Any]]] = [
    ("grants", "g-1", ["suspend"], "resume", {"state": GrantState.SUSPENDED}),
    ("grants", "g-1", ["suspend", "resume"], "suspend", {"state": GrantState.EFFECTIVE}),
    ("grants", "g-1", ["suspend", "revoke"], "", {"state": GrantState.REVOKED}),
    ("tenants", "firm-a", ["suspend"], "resume", {"state": TenantState.SUSPENDED}),
    ("tenants", "firm-a", ["suspend", "resume"], "suspend", {"state": TenantState.ACTIVE}),
    ("lines", "hk1", ["drain"], "undrain", {"drained": True}),
    ("lines", "hk1", ["drain", "undrain"], "drain", {"drained": False}),
    ("credentials", "c-0123456789", ["revoke"], "", {"revoked": NOW}),
]


@pytest.mark.parametrize(("collection", "name", "verbs", "possible", "expected"), ACTIONS)
def test_actions_lead_from_state_to_state_and_nowhere_else(
    zone: Register, collection: str, name: str, verbs: list[str], possible: str, expected: dict[str, Any]
) -> None:
    token = change("credentials", "add", "c-0123456789", tenant="firm-a", token_sha256="0" * 64, valid_until=NOW + 9)
    zone.apply_changes([grant("g-1"), token], "root", "x", NOW)
    for verb in verbs:
        zone.apply_change(change(collection, verb, name), "root", verb, NOW)
    item = zone.get(collection, name)[0]
    assert {field: getattr(item, field) for field in expected} == expected
    assert "no accounts" in refused(zone, change(collection, "confirm", name), kind=Forbidden).detail
    for verb in set(zone.kind(collection).actions) - {"confirm"}:
        if verb not in (possible, "retire", "revoke") or (verb == "revoke" and not possible):
            assert name in refused(zone, change(collection, verb, name), kind=ConflictingChange).detail


@pytest.mark.parametrize(
    "statement", ["UPDATE changes SET actor = 'x'", "DELETE FROM changes", "DELETE FROM revisions"]
)
def test_history_cannot_be_rewritten(zone: Register, statement: str) -> None:
    with (
        pytest.raises((IntegrityError, RegisterUnavailable), match="append-only"),
        zone.store.transaction(write=True) as connection,
    ):
        connection.execute(text(statement))
    assert zone.history(limit=1)[0]["actor"] == "root"


def test_the_database_itself_refuses_a_grant_of_nobody(zone: Register) -> None:
    nobodys = "INSERT INTO grants VALUES ('g-x', 'EFFECTIVE', 'nobody', NULL, 'docs', NULL, '', '{}')"
    with pytest.raises(IntegrityError, match=r"(?i)foreign key"), zone.store.transaction(write=True) as connection:
        connection.execute(text(nobodys))


def test_pages_come_in_order_and_whole(zone: Register) -> None:
    zone.apply_changes([grant(f"g-{n:03}") for n in range(25)], "root", "x", NOW)
    seen, after = [], ""
    for _ in range(10):
        items, after, revision = zone.page("grants", limit=10, after=after)
        seen += [item.id for item in items]
        assert revision == 2
        if not after:
            break
    assert seen == [f"g-{n:03}" for n in range(25)]


def test_search_is_by_words_and_key_columns_and_takes_signs_literally(zone: Register) -> None:
    zone.apply_changes([tenant("firm-b", name_zh="飞鱼科技"), tenant("firm-c", name="100% Firm")], "root", "x", NOW)
    found = lambda **how: [item.id for item in zone.page("tenants", **how)[0]]  # noqa: E731 - a name for the table below
    assert found(query="飞鱼") == ["firm-b"]
    assert found(query="FIRM-C") == ["firm-c"]
    assert found(query="0% f") == ["firm-c"]
    assert found(query="%") == ["firm-c"]
    assert found(where={"state": "SUSPENDED"}) == []
    with pytest.raises(InvalidChange, match="cannot be searched"):
        zone.page("tenants", where={"document": "x"})


def test_skipping_leaves_a_gap_that_history_explains(zone: Register) -> None:
    assert zone.skip_to(40, "control", "put back", NOW) == 40
    assert zone.skip_to(7, "control", "already past", NOW) == 40
    assert zone.apply_change(grant(), "root", "x", NOW).revision == 41


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        pytest.param({"source4": "192.0.2.77"}, "source4", id="another line's address"),
        pytest.param({"source4": "192.0.2.78"}, "source4", id="the address of a tenant on another line"),
        pytest.param(
            {"source4": "192.0.2.9", "shares": [{"tenant": "firm-a", "number": 1, "source4": "192.0.2.77"}]},
            "shares[0].source4",
            id="another line's address for a tenant",
        ),
    ],
)
def test_a_source_belongs_to_one_line(zone: Register, fields: dict[str, Any], field: str) -> None:
    share = {"tenant": "firm-a", "number": 1, "source4": "192.0.2.78"}
    zone.apply_change(line("hk8", "l8", source4="192.0.2.77", shares=[share]), "root", "x", NOW)
    error = refused(zone, line("hk9", "l9", **fields), kind=InvalidChange)
    assert [name for name, _ in error.errors] == [field]
    assert error.errors[0][1].startswith("line hk8 has source 192.0.2.7")
    zone.apply_change(change("lines", "retire", "hk8"), "root", "x", NOW)
    assert zone.apply_change(line("hk9", "l9", **fields), "root", "x", NOW).items[0].id == "hk9"


VXLAN = {"type": "vxlan", "vni": 7, "underlay": "u1", "local": "198.51.100.2", "peer": "198.51.100.9"}
SRV6 = {"type": "srv6", "segments": ["5f00::1"], "local": "2001:db8:9::2", "gateway": "fe80::1"}
SIX = {"gateway6": "2001:db8:1::1", "source6": "2001:db8:1::2"}
CLAIMED: dict[str, tuple[dict[str, Any], dict[str, Any], str, str]] = {  # what stands, what is new, field, words
    "an outer source that is a source": (
        {"source4": "198.51.100.2"}, {"encapsulation": VXLAN}, "encapsulation.local", "line hk8 has source",
    ),
    "an outer source that is a gateway": (
        {"gateway4": "198.51.100.2"}, {"encapsulation": VXLAN}, "encapsulation.local", "line hk8 has gateway",
    ),
    "a segment list's outer source that is a source": (
        {**SIX, "source6": SRV6["local"]}, {"encapsulation": SRV6}, "encapsulation.local", "line hk8 has source",
    ),
    "a source that is an outer source": (
        {"encapsulation": VXLAN}, {"source4": "198.51.100.2"}, "source4", "line hk8 has outer source",
    ),
    "a gateway that is an outer source": (
        {"encapsulation": VXLAN}, {"gateway4": "198.51.100.2"}, "gateway4", "outer source of line hk8",
    ),
    "an underlay that is a line's device": (
        {}, {"encapsulation": VXLAN | {"underlay": "l8"}}, "encapsulation.underlay", "device of line hk8",
    ),
    "a device that is an underlay": (
        {"encapsulation": VXLAN | {"underlay": "l9"}}, {}, "device", "line hk8 has it as underlay",
    ),
}  # fmt: skip


@pytest.mark.parametrize("sentence", CLAIMED)
def test_of_another_line_a_line_cannot_have(zone: Register, sentence: str) -> None:
    stands, new, field, words = CLAIMED[sentence]
    zone.apply_change(line("hk8", "l8", **stands), "root", "x", NOW)
    error = refused(zone, line("hk9", "l9", **new), kind=InvalidChange)
    assert [(name, words in message) for name, message in error.errors] == [(field, True)], error.errors
    zone.apply_change(change("lines", "retire", "hk8"), "root", "x", NOW)
    assert zone.apply_change(line("hk9", "l9", **new), "root", "x", NOW).items[0].id == "hk9"


def test_tunnels_may_share_an_underlay_and_an_outer_source(zone: Register) -> None:
    again = VXLAN | {"vni": 8, "peer": "198.51.100.10"}
    lists = [line(f"s{n}", f"s{n}", encapsulation=SRV6) for n in (1, 2)]
    added = [line("v1", "v1", encapsulation=VXLAN), line("v2", "v2", encapsulation=again), *lists]
    assert len(zone.apply_changes(added, "root", "x", NOW).changed) == 4


def test_what_became_wrong_can_still_be_drained_and_retired(zone: Register, monkeypatch: pytest.MonkeyPatch) -> None:
    kind = zone.kind("lines")
    monkeypatch.setitem(zone.kinds, "lines", replace(kind, validate=lambda _line: [("device", "a later rule")]))
    assert refused(zone, change("lines", "edit", "hk1", name="x"), kind=InvalidChange).errors
    for verb in ("drain", "retire"):
        zone.apply_change(change("lines", verb, "hk1"), "root", "x", NOW)
    assert zone.get("lines", "hk1")[0].retired


def test_a_share_is_of_a_tenant_there_is(zone: Register) -> None:
    error = refused(zone, line("hk9", "l9", shares=[{"tenant": "nobody", "number": 1}]), kind=InvalidChange)
    assert error.errors == [("shares[0].tenant", "there is no tenant nobody")]

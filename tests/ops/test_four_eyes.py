"""With accounts, what opens something waits for a second person's signature, on every path; what closes is done."""

import asyncio
import contextlib
import os
import sqlite3
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from ops.api.authority import CONFIRM_WITHIN
from tenants.accounts import Role
from tenants.approval import sign
from tenants.request import LIFE, Step, digest_of
from tests.ops.control_kit import GRANT, PLACE, UNTIL, ZONE, Node, running
from tests.ops.people_kit import People


@pytest.fixture
async def people(tmp_path: Path) -> AsyncIterator[People]:
    """A zone that was set up before there were accounts, and then one person for each role."""
    async with running(tmp_path) as node:
        await node.set_up()
        made = People(node)
        await made.found()
        await made.hire()
        yield made


async def waiting(people: People, name: str, method: str, path: str, body: Any = None, **query: Any) -> str:
    """The id of the request that a call made."""
    status, answer = await people.call(name, method, path, body, **query)
    assert status == 202, answer
    return str(answer["request"]["id"])


async def verdict(people: People) -> str:
    """What the policy says of firm-a and its one service."""
    asked = {"tenant": "firm-a", "target": "docs.example.com", "source": "10.0.0.9"}
    _, answer = await people.call("operator", "GET", "/v1/explain", **asked)
    return str(answer["verdict"]["decision"])


async def test_a_grant_is_in_force_after_the_second_person_and_not_before(people: People) -> None:
    name = await waiting(people, "operator", "POST", "/v1/grants", GRANT)
    assert await verdict(people) == "deny"
    _, listed = await people.call("reviewer", "GET", "/v1/requests", waiting_for="me")
    assert [item["id"] for item in listed["items"]] == [name]
    assert listed["items"][0]["waits_for"] == ["zone-reviewer"]
    status, answer = await people.approve("reviewer", name)
    assert (status, answer["request"]["state"]) == (200, "APPROVED")
    assert answer["enforced"]["acked"] == ["w0", "w1"]
    assert await verdict(people) == "permit"
    _, grants = await people.call("operator", "GET", "/v1/grants")
    provenance = grants["items"][0]["provenance"]
    assert (provenance["origin"], provenance["actor"]) == ("approved", "operator")


OPENS: dict[str, tuple[str, str, str, dict[str, Any]]] = {
    "a tenant": ("operator", "POST", "/v1/tenants",
        {"id": "firm-b", "name": "B", "valid_from": 1, "valid_until": UNTIL,
         "places": [PLACE | {"prefix": "10.9.0.0/24"}]}),
    "a longer contract": ("operator", "PATCH", "/v1/tenants/firm-a", {"valid_until": UNTIL + 1}),
    "another place": ("operator", "PATCH", "/v1/tenants/firm-a",
        {"places": [PLACE, PLACE | {"prefix": "10.9.0.0/24"}]}),
    "a group of the tenant": ("operator", "PATCH", "/v1/tenants/firm-a", {"groups": ["research"]}),
    "a service": ("operator", "POST", "/v1/services",
        {"id": "new", "name": "New", "endpoints": [{"target": "new.example.com"}]}),
    "another host of a service": ("operator", "PATCH", "/v1/services/docs",
        {"endpoints": [{"target": "*.example.com"}]}),
    "a grant to a group": ("operator", "POST", "/v1/grants", GRANT | {"subject": "group:research"}),
    "an account": ("sys", "POST", "/v1/accounts",
        {"id": "x", "name": "X", "roles": ["zone-reviewer"], "key": "ab" * 32}),
    "another role": ("sec", "PATCH", "/v1/accounts/operator", {"roles": ["platform-operator", "zone-reviewer"]}),
    "another key": ("sys", "PATCH", "/v1/accounts/reviewer", {"key": "cd" * 32}),
    "a line's address": ("carrier", "PATCH", "/v1/lines/hk1", {"source4": "192.0.2.9"}),
}  # fmt: skip


@pytest.mark.parametrize("what", OPENS)
async def test_what_opens_something_waits(people: People, what: str) -> None:
    name, method, path, body = OPENS[what]
    before = people.node.authority.revision
    await waiting(people, name, method, path, body)
    assert people.node.authority.revision == before


CLOSES: dict[str, tuple[str, str, str, dict[str, Any] | None]] = {
    "a suspended tenant": ("watch", "POST", "/v1/tenants/firm-a/suspend", {}),
    "a deny": ("watch", "POST", "/v1/denies", {"target": "bad.example"}),
    "a shorter contract": ("operator", "PATCH", "/v1/tenants/firm-a", {"valid_until": UNTIL - 1}),
    "a disabled account": ("sec", "POST", "/v1/accounts/operator/disable", {}),
    "a drained line": ("watch", "POST", "/v1/lines/hk1/drain", {}),
    "a name for a group": ("operator", "POST", "/v1/groups", {"id": "other"}),
    "a credential": ("operator", "POST", "/v1/credentials", {"tenant": "firm-a", "user": "u", "valid_until": UNTIL}),
}


@pytest.mark.parametrize("what", CLOSES)
async def test_what_opens_nothing_is_done_at_once_by_one_person(people: People, what: str) -> None:
    name, method, path, body = CLOSES[what]
    before = people.node.authority.revision
    status, answer = await people.call(name, method, path, body)
    assert (status in (200, 201), answer["revision"]) == (True, before + 1), answer


async def test_lifting_a_suspension_takes_two(people: People) -> None:
    assert (await people.call("watch", "POST", "/v1/tenants/firm-a/suspend", {}))[0] == 200
    name = await waiting(people, "operator", "POST", "/v1/tenants/firm-a/resume", {})
    assert (await people.approve("reviewer", name))[0] == 200
    assert (await people.call("operator", "GET", "/v1/tenants/firm-a"))[1]["state"] == "ACTIVE"


async def test_closing_and_opening_in_one_transaction_is_opening(people: People) -> None:
    grant = (await people.call("operator", "POST", "/v1/grants", GRANT))[1]["request"]["id"]
    assert (await people.approve("reviewer", grant))[0] == 200
    item = (await people.call("operator", "GET", "/v1/grants"))[1]["items"][0]["id"]
    steps = [
        {"collection": "grants", "verb": "suspend", "id": item},
        {"collection": "grants", "verb": "edit", "id": item, "fields": {"window": {"valid_until": UNTIL + 9}}},
    ]
    status, answer = await people.call("operator", "POST", "/v1/changes", {"changes": steps})
    assert status == 202, answer


# ---- who may not approve

FALSE: dict[str, tuple[str, dict[str, Any], int, str]] = {
    "the submitter": ("operator", {}, 403, "may not"),
    "an account that may not decide": ("watch", {}, 403, "may not"),
    "an administrator, who does not decide on the whitelist": ("sec", {}, 403, "does not decide on grants"),
    "another's key": ("reviewer", {"key": "operator"}, 403, "the key is not the one"),
    "another's name": ("reviewer", {"account": "sec"}, 403, "the signature is not"),
    "another digest": ("reviewer", {"digest": "0" * 64}, 403, "signed 0000"),
    "a role not held": ("reviewer", {"role": Role.SECURITY_OPERATOR}, 403, "does not hold the role"),
    "an old signature": ("reviewer", {"time": 1_700_000_000}, 403, "was signed at"),
    "a signature that is none": ("reviewer", {"signature": "00" * 64}, 403, "the signature is not"),
    "a signature in no form": ("reviewer", {"signature": "x"}, 403, "the signature is not"),
}


@pytest.mark.parametrize("who", FALSE)
async def test_a_decision_that_does_not_hold_changes_nothing(people: People, who: str) -> None:
    name, other, status, words = FALSE[who]
    request = await waiting(people, "operator", "POST", "/v1/grants", GRANT)
    assert await verdict(people) == "deny"
    got, problem = await people.approve(name, request, **dict(other))
    assert (got, words in problem["detail"]) == (status, True), problem
    assert await verdict(people) == "deny"
    assert (await people.call("reviewer", "GET", f"/v1/requests/{request}"))[1]["state"] == "SUBMITTED"


async def test_whoever_holds_both_roles_still_does_not_approve_the_own_request(people: People) -> None:
    both = [Role.PLATFORM_OPERATOR, Role.ZONE_REVIEWER]
    name = await waiting(people, "sys", "PATCH", "/v1/accounts/operator", {"roles": both})
    assert (await people.approve("sec", name))[0] == 200
    request = await waiting(people, "operator", "POST", "/v1/grants", GRANT)
    status, problem = await people.approve("operator", request, role=Role.ZONE_REVIEWER)
    assert (status, "submitted request" in problem["detail"]) == (409, True), problem
    assert (await people.approve("reviewer", request))[0] == 200


async def test_an_administrator_cannot_approve_the_own_request_for_an_account(people: People) -> None:
    name = await waiting(people, "sys", "POST", "/v1/accounts", people.account("x", Role.ZONE_REVIEWER))
    status, problem = await people.approve("sys", name)
    assert (status, "sys submitted" in problem["detail"]) == (409, True), problem


async def test_a_rejection_is_never_an_approval(people: People) -> None:
    request = await waiting(people, "operator", "POST", "/v1/grants", GRANT)
    _, shown = await people.call("reviewer", "GET", f"/v1/requests/{request}")
    now = int(time.time())
    made = sign(people.keys["reviewer"], request, shown["digest"], Step.REJECT, "reviewer", "zone-reviewer", now)
    body = {name: getattr(made, name) for name in ("digest", "role", "time", "key", "signature")}
    assert (await people.call("reviewer", "POST", f"/v1/requests/{request}/approve", body))[0] == 403
    status, answer = await people.call("reviewer", "POST", f"/v1/requests/{request}/reject", body)
    assert (status, answer["request"]["state"]) == (200, "REJECTED")
    status, problem = await people.approve("reviewer", request)
    assert (status, "it is REJECTED" in problem["detail"]) == (409, True)


async def test_the_content_is_what_was_signed_for(people: People) -> None:
    request = await waiting(people, "operator", "POST", "/v1/grants", GRANT)
    _, shown = await people.call("reviewer", "GET", f"/v1/requests/{request}")
    assert digest_of(shown["content"].encode()) == shown["digest"]
    assert '"before":null' in shown["content"]
    assert '"object":"service:docs"' in shown["content"]


async def test_what_changed_since_it_was_shown_is_not_applied(people: People) -> None:
    request = await waiting(people, "operator", "PATCH", "/v1/tenants/firm-a", {"valid_until": UNTIL + 1})
    assert (await people.call("operator", "PATCH", "/v1/tenants/firm-a", {"max_tunnels": 5}))[0] == 200
    status, problem = await people.approve("reviewer", request)
    assert (status, "not any more what it showed" in problem["detail"]) == (412, True), problem


async def test_a_request_is_approved_once(people: People) -> None:
    request = await waiting(people, "operator", "POST", "/v1/grants", GRANT)
    results = await asyncio.gather(*(people.approve("reviewer", request) for _ in range(4)))
    assert sorted(status for status, _ in results) == [200, 409, 409, 409]


async def test_only_the_submitter_withdraws(people: People) -> None:
    request = await waiting(people, "operator", "POST", "/v1/grants", GRANT)
    path = f"/v1/requests/{request}/withdraw"
    assert (await people.call("reviewer", "POST", path, {}))[0] == 409
    assert (await people.call("operator", "POST", path, {}))[1]["request"]["state"] == "WITHDRAWN"
    assert (await people.approve("reviewer", request))[0] == 409


async def test_a_request_lapses(people: People) -> None:
    request = await waiting(people, "operator", "POST", "/v1/grants", GRANT)
    people.node.authority._clock = lambda: time.time() + LIFE + 1
    await people.node.authority.beat()
    assert (await people.call("reviewer", "GET", f"/v1/requests/{request}"))[1]["state"] == "LAPSED"


async def test_a_request_of_somebody_disabled_since_is_not_approved(people: People) -> None:
    request = await waiting(people, "operator", "POST", "/v1/grants", GRANT)
    assert (await people.call("sec", "POST", "/v1/accounts/operator/disable", {}))[0] == 200
    status, problem = await people.approve("reviewer", request)
    assert (status, "is disabled" in problem["detail"]) == (409, True)


async def test_nobody_is_left_who_could_change_accounts_is_refused(people: People) -> None:
    status, problem = await people.call("sys", "POST", "/v1/accounts/sec/disable", {})
    assert (status, problem["errors"][0]["field"]) == (422, "roles"), problem


# ---- accounts

EXCLUDED: dict[str, tuple[list[str], str]] = {
    "two administrators in one": (["system-administrator", "security-administrator"], "exclude each other"),
    "audit and system": (["audit-administrator", "system-administrator"], "exclude each other"),
    "an administrator who operates": (["security-administrator", "platform-operator"], "goes with no other role"),
    "a regulator who reviews": (["regulator", "zone-reviewer"], "goes with no other role"),
    "a firm's applicant who operates": (["tenant-applicant", "platform-operator"], "goes with no role of the zone"),
    "nothing at all": ([], "at least one role"),
    "an unknown role": (["king"], "king"),
}


@pytest.mark.parametrize("what", EXCLUDED)
async def test_roles_that_exclude_each_other(people: People, what: str) -> None:
    roles, words = EXCLUDED[what]
    status, problem = await people.call("sys", "POST", "/v1/accounts", people.account("x") | {"roles": roles})
    assert (status, words in str(problem["errors"])) == (422, True), problem


async def test_two_accounts_have_two_keys(people: People) -> None:
    body = people.account("x", Role.ZONE_REVIEWER) | {"key": people.account("operator")["key"]}
    status, problem = await people.call("sys", "POST", "/v1/accounts", body)
    assert (status, problem["errors"][0]["message"]) == (422, "is the key of account operator")


async def test_a_firms_applicant_asks_for_the_own_firm_only(people: People) -> None:
    group = GRANT | {"subject": "group:research"}
    status, problem = await people.call("applicant", "POST", "/v1/grants", group)
    assert (status, "is not of tenant firm-a" in problem["detail"]) == (403, True)
    request = await waiting(people, "applicant", "POST", "/v1/grants", GRANT)
    assert (await people.call("applicant", "GET", f"/v1/requests/{request}"))[0] == 200
    other = await waiting(people, "operator", "POST", "/v1/grants", GRANT)
    assert (await people.call("applicant", "GET", f"/v1/requests/{other}"))[0] == 404
    listed = (await people.call("applicant", "GET", "/v1/requests"))[1]["items"]
    assert [item["id"] for item in listed] == [request]


async def test_the_first_accounts_are_the_three_administrators_or_none(tmp_path: Path) -> None:
    async with running(tmp_path) as node:
        people = People(node)
        body = people.account("x", Role.PLATFORM_OPERATOR) | {"reason": "me first"}
        status, problem = await node.call("POST", "/v1/accounts", body)
        assert (status, "three administrators" in problem["detail"]) == (403, True)
        await people.found()
        assert (await node.call("GET", "/v1/tenants"))[0] == 401


async def test_root_on_the_host_is_no_account(people: People) -> None:
    for method, path, body in (
        ("GET", "/v1/tenants", None),
        ("POST", "/v1/groups", {"id": "g", "reason": "x"}),
        ("POST", "/v1/changes", {"changes": [], "reason": "x"}),
        ("GET", "/v1/whoami", None),
    ):
        assert (await people.node.call(method, path, body))[0] == 401, path
    assert (await people.node.call("GET", "/v1/status"))[0] == 200


async def test_a_session_is_good_for_the_user_of_the_host_that_logged_in(people: People) -> None:
    from ops.api.actor import SESSIONS

    token = people.node.app[SESSIONS].begin("operator", os.getuid() + 1, time.monotonic())
    headers = {"Authorization": f"Bearer {token}"}
    async with people.node.client.get("http://control/v1/tenants", headers=headers) as response:
        assert response.status == 401


async def test_a_register_without_this_zones_accounts_is_foreign(tmp_path: Path) -> None:
    async with running(tmp_path) as node:
        await node.set_up()
        before = tmp_path / "before.db"
        with contextlib.closing(sqlite3.connect(node.state / "register.db")) as register:
            register.execute("VACUUM INTO ?", (str(before),))
        people = People(node)
        await people.found()
        assert (await people.call("sys", "GET", "/v1/accounts"))[0] == 200
    for left in (tmp_path / "state").glob("register.db*"):
        left.unlink()
    before.rename(tmp_path / "state" / "register.db")
    async with running(tmp_path) as node:
        status, problem = await node.call("GET", "/v1/tenants")
        assert (status, "not of this node's zone" in problem["detail"]) == (503, True), problem
        status, problem = await node.call("POST", "/v1/groups", {"id": "g", "reason": "x"})
        assert status == 503
        assert node.hub.revisions == []  # and nothing of it is announced


async def test_every_revision_since_the_accounts_is_in_the_chain(people: People) -> None:
    request = await waiting(people, "operator", "POST", "/v1/grants", GRANT)
    assert (await people.approve("reviewer", request))[0] == 200
    _, told = await people.call("aud", "GET", "/v1/audit/chain")
    assert told["broken"] == ""
    assert told["links"] == people.node.authority.revision - len(ZONE)


async def bootstrapped(tmp_path: Path, node: Node) -> People:
    """People of a node in which one person had granted something before."""
    await node.set_up()
    await node.add("grants", id="g-old", **GRANT)
    made = People(node)
    await made.found()
    await made.hire()
    return made


async def test_what_one_person_put_in_before_is_confirmed_by_two(tmp_path: Path) -> None:
    async with running(tmp_path) as node:
        people = await bootstrapped(tmp_path, node)
        assert await verdict(people) == "permit"
        request = await waiting(people, "operator", "POST", "/v1/grants/g-old/confirm", {})
        assert (await people.approve("reviewer", request))[0] == 200
        _, item = await people.call("operator", "GET", "/v1/grants/g-old")
        assert (item["provenance"]["origin"], item["state"]) == ("approved", "EFFECTIVE")
        status, problem = await people.call("operator", "POST", "/v1/grants/g-old/confirm", {})
        assert (status, "it is approved" in problem["detail"]) == (409, True)


async def test_an_old_grant_that_nobody_confirms_lapses(tmp_path: Path) -> None:
    async with running(tmp_path) as node:
        people = await bootstrapped(tmp_path, node)
        await node.authority.beat()
        assert await verdict(people) == "permit"
        node.authority._clock = lambda: time.time() + CONFIRM_WITHIN + 1
        node.authority._ask_again = 0
        await node.authority.beat()
        assert node.authority.trouble == ""
        assert await verdict(people) == "deny"
        _, item = await people.call("operator", "GET", "/v1/grants/g-old")
        assert (item["state"], item["provenance"]["actor"]) == ("SUSPENDED", "control: lapse")
        assert node.hub.revisions[-1] == node.authority.revision

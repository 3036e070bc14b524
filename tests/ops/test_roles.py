"""Every role on every call. What a role may is written here again, by hand, and not read from configs/casbin."""

import re
from collections.abc import AsyncIterator
from types import SimpleNamespace

import pytest
import pytest_asyncio

from tenants import law
from tenants.accounts import Account, Role
from tenants.change import ApprovalNeeded, Change, Forbidden
from tests.ops.control_kit import running
from tests.ops.people_kit import WHO, People
from whitelist.store import KINDS

A, C, O, Z, E, W, G, SYS, SEC, AUD = (  # noqa: E741
    Role.TENANT_APPLICANT, Role.TENANT_COMPLIANCE, Role.PLATFORM_OPERATOR, Role.ZONE_REVIEWER, Role.CARRIER_ENGINEER,
    Role.SECURITY_OPERATOR, Role.REGULATOR, Role.SYSTEM_ADMINISTRATOR, Role.SECURITY_ADMINISTRATOR,
    Role.AUDIT_ADMINISTRATOR,
)  # fmt: skip
EVERY = set(Role)
ITEMS = ("tenants", "credentials", "services", "groups", "categories", "grants", "denies", "lines", "accounts")

READS: dict[str, set[Role]] = {
    "tenants": {O, Z, E, W},
    "credentials": {O, Z, W},
    "services": {O, Z, E, W},
    "groups": {O, Z, E, W},
    "categories": {O, Z, E, W},
    "grants": {O, Z, E, W},
    "denies": {O, Z, W},
    "lines": {O, Z, E, W, SYS},
    "accounts": {SYS, SEC, AUD},
}
WRITES: dict[str, dict[str, set[Role]]] = {
    "tenants": {"add": {O}, "edit": {O}, "suspend": {O, Z, W}, "resume": {O}, "confirm": {O}},
    "credentials": {"add": {O}, "edit": {O}, "confirm": {O}, "revoke": {O, Z, W}, "use": set()},
    "services": {"add": {O}, "edit": {O}, "confirm": {O}, "retire": {O}},
    "groups": {"add": {O}, "edit": {O}, "remove": {O}},
    "categories": {"add": {O}, "edit": {O}, "remove": {O}},
    "grants": {"add": {O, A}, "edit": {O}, "confirm": {O}, "suspend": {O, Z, W, C}, "resume": {O}, "revoke": {O, Z, C}},
    "denies": {"add": {O, Z, W}, "edit": {O}, "confirm": {O}, "remove": {O}},
    "lines": {"add": {E}, "edit": {E}, "confirm": {E}, "drain": {E, W}, "undrain": {E}, "retire": {E}},
    "accounts": {"add": {SYS, SEC}, "edit": {SYS, SEC}, "disable": {SYS, SEC}, "enable": {SYS, SEC}},
}
CALLS: dict[tuple[str, str], set[Role]] = {
    ("GET", "/v1/whoami"): EVERY,
    ("POST", "/v1/logout"): EVERY,
    ("GET", "/r/XXXXXXXXXXXXX"): {O, Z, W, AUD},
    ("GET", "/v1/flows"): {O, Z, E, W},
    ("GET", "/v1/flows/XXXX"): {O, Z, E, W},
    ("POST", "/v1/flows/XXXX/cut"): {O, W},
    ("GET", "/v1/log"): {O, Z, W, G, AUD},
    ("GET", "/v1/log/tail"): {O, Z, W, AUD},
    ("GET", "/v1/stream"): {O, Z, W, AUD},
    ("GET", "/v1/figures/lines"): {O, Z, E, W, SYS},
    ("GET", "/v1/explain"): {O, Z, E, W},
    ("POST", "/v1/explain"): {O, Z, E, W},
    ("POST", "/v1/policy/plan"): {O, Z, E, W},
    ("POST", "/v1/policy/apply"): {O, E, W},
    ("GET", "/v1/revisions"): {O, Z, E, W, AUD},
    ("GET", "/v1/ca/crl"): {O, SYS},
    ("GET", "/v1/tenants/x/pac"): READS["tenants"],
    ("GET", "/v1/tenants/x/ways"): READS["tenants"],
    ("GET", "/v1/tenants/x/usage"): READS["tenants"],
    ("GET", "/v1/changes"): {O, Z, E, W, AUD},
    ("POST", "/v1/changes"): {O, E, W, SYS, SEC},
    ("GET", "/v1/requests"): EVERY - {G},
    ("GET", "/v1/requests/x"): EVERY - {G},
    ("POST", "/v1/requests/x/approve"): {Z, SYS, SEC},
    ("POST", "/v1/requests/x/reject"): {Z, SYS, SEC},
    ("POST", "/v1/requests/x/withdraw"): EVERY - {G, AUD},
    ("POST", "/v1/accounts/x/reset"): {SYS, SEC},
    ("GET", "/v1/reads"): {O, Z, G, AUD},
    ("GET", "/v1/spotchecks"): {O, Z, G, AUD},
    ("POST", "/v1/spotchecks"): {G},
    ("GET", "/v1/spotchecks/x"): {O, Z, G, AUD},
    ("POST", "/v1/spotchecks/x/draw"): {G},
    ("POST", "/v1/spotchecks/x/rectify"): {O},
    ("GET", "/v1/blocks"): {O, Z, W},
    ("POST", "/v1/blocks/x/lift"): {W},
    ("GET", "/v1/holds"): {O, AUD},
    ("POST", "/v1/holds"): {AUD},
    ("DELETE", "/v1/holds/x"): {AUD},
    ("GET", "/v1/audit"): {AUD},
    ("GET", "/v1/audit/chain"): {AUD},
}
OPEN = {("GET", "/v1"), ("GET", "/v1/status"), *(("POST", f"/v1/login{x}") for x in ("", "/challenge", "/factors"))}
for _name in ITEMS:
    CALLS |= {("GET", f"/v1/{_name}"): READS[_name], ("GET", f"/v1/{_name}/x"): READS[_name]}
    _written = WRITES[_name]
    CALLS |= {
        ("POST", f"/v1/{_name}"): _written["add"],
        ("PATCH", f"/v1/{_name}/x"): _written["edit"],
        ("DELETE", f"/v1/{_name}/x"): _written.get("remove", set()),
    }
    for _verb in {verb for verbs in WRITES.values() for verb in verbs} - {"add", "edit", "remove"}:
        CALLS[("POST", f"/v1/{_name}/x/{_verb}")] = _written.get(_verb, set())


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def people(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[People]:
    """One person for each role."""
    async with running(tmp_path_factory.mktemp("roles")) as node:
        await node.set_up()
        made = People(node)
        await made.found()
        await made.hire()
        yield made


async def answered(people: People, name: str, method: str, path: str) -> str:
    """ "allowed", "forbidden" or "nobody": what the call was to the one who made it."""
    headers = {"Authorization": f"Bearer {people.token(name)}"} if name else {}
    body = {"reason": "x"} if method in ("POST", "PATCH") else None
    query = {"reason": "x"} if method == "DELETE" else {}
    async with people.node.client.request(
        method, f"http://control{path}", json=body, params=query, headers=headers
    ) as response:
        kind = "" if response.status < 400 else (await response.json(content_type=None))["type"].rpartition(":")[2]
    return {"role": "forbidden", "forbidden": "forbidden", "regulator": "forbidden", "login": "nobody"}.get(
        kind, "allowed"
    )


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("role", list(Role))
async def test_a_role_may_call_what_it_may_and_nothing_else(people: People, role: Role) -> None:
    wrong = []
    for (method, path), allowed in CALLS.items():
        got = await answered(people, WHO[role], method, path)
        if got != ("allowed" if role in allowed else "forbidden"):
            wrong.append((method, path, got))
    assert wrong == []


@pytest.mark.asyncio(loop_scope="module")
async def test_who_is_not_logged_in_may_call_nothing_but_the_status_and_the_login(people: People) -> None:
    for method, path in CALLS:
        assert await answered(people, "", method, path) == "nobody", path
    for method, path in OPEN:
        assert await answered(people, "", method, path) == "allowed", path


@pytest.mark.asyncio(loop_scope="module")
async def test_every_route_that_control_has_is_in_the_table(people: People) -> None:
    _, told = await people.node.call("GET", "/v1")
    tried = {f"{method} {path}" for method, path in [*CALLS, *OPEN]}
    for route in told["routes"]:
        pattern = re.compile(re.sub(r"\\\{\w+\\\}", "[^/]+", re.escape(route)))
        assert any(pattern.fullmatch(one) for one in tried), route


@pytest.mark.parametrize("role", list(Role))
def test_the_registers_own_door_judges_each_change_of_a_bulk(role: Role) -> None:
    item = SimpleNamespace(subject="tenant:firm-a")
    account = Account(id="x", name="X", roles=(role,), key="ab" * 32, tenant="firm-a")
    for name, verbs in WRITES.items():
        for verb, allowed in verbs.items():
            change = Change(collection=name, verb=verb, id="x")
            if role in allowed and verb == "confirm":
                with pytest.raises(ApprovalNeeded):
                    law.judge(account, "x", [change], [item], [], KINDS)
            elif role in allowed:
                assert law.judge(account, "x", [change], [item], [], KINDS) == (role,)
            else:
                with pytest.raises(Forbidden, match=f"may not {verb} {name}"):
                    law.judge(account, "x", [change], [item], [], KINDS)

"""Writes through the API: in one call in the register, in the snapshot and at the workers; and how they are refused."""

import asyncio
import re
from pathlib import Path
from typing import Any

import pytest

from tests.ops.control_kit import FROM, GRANT, PLACE, UNTIL, Node, running


async def test_a_grant_is_in_force_when_the_call_returns(tmp_path: Path) -> None:
    async with running(tmp_path) as node:
        await node.set_up()
        before = await explain(node)
        answer = await node.add("grants", **GRANT)
        after = await explain(node)
        assert (before["verdict"]["decision"], after["verdict"]["decision"]) == ("deny", "permit")
        assert after["verdict"]["grant"] == answer["item"]["id"]
        assert answer["enforced"]["acked"] == ["w0", "w1"]
        assert answer["enforced"]["ms"] > 0
        assert node.hub.revisions[-1] == answer["revision"] == node.authority.policy.revision == 6


async def explain(node: Node, **query: Any) -> Any:
    """The verdict on the zone's one service."""
    whole = {"tenant": "firm-a", "target": "docs.example.com", "source": "10.0.0.9", **query}
    status, answer = await node.call("GET", "/v1/explain", **whole)
    assert status == 200, answer
    return answer


async def test_a_revoked_grant_is_out_of_force_when_the_call_returns(tmp_path: Path) -> None:
    async with running(tmp_path) as node:
        await node.set_up()
        grant = (await node.add("grants", **GRANT))["item"]["id"]
        status, answer = await node.call("POST", f"/v1/grants/{grant}/revoke", {"reason": "over"})
        assert (status, answer["item"]["state"], answer["revision"]) == (200, "REVOKED", 7)
        assert (await explain(node))["verdict"]["reason"] == "not-whitelisted"
        assert node.hub.revisions[-1] == 7


async def test_the_actor_is_who_the_kernel_says_and_nobody_else(tmp_path: Path) -> None:
    import getpass

    async with running(tmp_path) as node:
        answer = await node.add("groups", id="g")
        assert answer["item"]["provenance"]["actor"] == getpass.getuser()
        assert answer["item"]["provenance"]["origin"] == "bootstrap"


async def test_a_token_is_shown_once_and_kept_nowhere(tmp_path: Path) -> None:
    async with running(tmp_path) as node:
        await node.set_up()
        label = "alice@firm-a.example"
        answer = await node.add("credentials", tenant="firm-a", user=label, valid_until=UNTIL)
        token, item = answer["token"], answer["credential"]
        assert re.fullmatch(r"c-[0-9a-hjkmnp-tv-z]{10}", item["id"])
        assert re.fullmatch(r"[A-Za-z0-9_-]{43}", token)
        assert re.fullmatch(r"u-[0-9a-hjkmnp-tv-z]{16}", item["user"])
        paths = ("/v1/credentials", f"/v1/credentials/{item['id']}", "/v1/changes")
        shown = str([await node.call("GET", path) for path in paths])
        assert item["id"] in shown
        assert token not in shown
        assert "token_sha256" not in shown
        kept = b"".join(path.read_bytes() for path in node.state.rglob("*") if path.is_file())
        assert item["id"].encode() in kept
        assert token.encode() not in kept
        assert label.encode() not in kept


async def test_a_credential_cannot_bring_its_own_digest(tmp_path: Path) -> None:
    async with running(tmp_path) as node:
        await node.set_up()
        body = {"tenant": "firm-a", "user": "x", "valid_until": UNTIL, "token_sha256": "0" * 64, "reason": "x"}
        status, problem = await node.call("POST", "/v1/credentials", body)
        assert (status, problem["errors"][0]["field"]) == (422, "token_sha256")


WHY = {"reason": "a try"}
TENANT: dict[str, Any] = {"id": "firm-b", "name": "B", "valid_from": FROM, "valid_until": UNTIL}
WIDE: dict[str, Any] = {"id": "s", "name": "S", "endpoints": [{"target": "*.com"}]}


BAD: list[tuple[str, str, str, dict[str, Any] | None, int, str, list[str]]] = [
    ("no reason", "POST", "tenants", TENANT, 422, "invalid", ["reason"]),
    ("an empty reason", "POST", "tenants", TENANT | {"reason": " "}, 422, "invalid", ["reason"]),
    ("a reason that is no text", "POST", "tenants", TENANT | {"reason": 7}, 422, "invalid", ["reason"]),
    ("a tenant again", "POST", "tenants", TENANT | {"id": "firm-a"} | WHY, 409, "exists", ["id"]),
    ("an id that is no text", "POST", "tenants", TENANT | {"id": 7} | WHY, 422, "invalid", ["id"]),
    ("another's prefix", "POST", "tenants", TENANT | {"places": [PLACE]} | WHY, 422, "invalid", ["places[0].prefix"]),
    ("a wildcard over a public suffix", "POST", "services", WIDE | WHY, 422, "invalid", ["endpoints[0].target"]),
    ("no such line", "POST", "grants", GRANT | {"lines": ["x"]} | WHY, 422, "invalid", ["lines[0]"]),
    ("an unknown tenant", "PATCH", "tenants/firm-z", {"name": "Z"} | WHY, 404, "unknown", []),
    ("a slot of one's choice", "PATCH", "tenants/firm-a", {"slot": 7} | WHY, 422, "invalid", ["slot"]),
    ("resuming who is active", "POST", "tenants/firm-a/resume", WHY, 409, "conflict", []),
    ("an unknown action", "POST", "tenants/firm-a/explode", WHY, 422, "invalid", ["verb"]),
    ("a field for an action", "POST", "tenants/firm-a/suspend", {"a": 1} | WHY, 422, "invalid", ["a"]),
    ("removal by another name", "POST", "tenants/firm-a/remove", WHY, 404, "no-route", []),
    ("removing nothing", "DELETE", "denies/none?reason=x", None, 404, "unknown", []),
    ("removing a tenant", "DELETE", "tenants/firm-a?reason=x", None, 422, "invalid", ["verb"]),
    ("an unknown collection", "POST", "shoes", {"id": "x"} | WHY, 404, "unknown", []),
    ("an unknown method", "PUT", "tenants", WHY, 405, "method", []),
    ("an unknown path", "GET", "a/b/c/d", None, 404, "no-route", []),
    ("a page too long", "GET", "tenants?limit=1001", None, 422, "invalid", ["limit"]),
    ("a page below nothing", "GET", "tenants?limit=-1", None, 422, "invalid", ["limit"]),
    ("a search by no search field", "GET", "tenants?document=x", None, 422, "invalid", ["document"]),
    ("explaining nothing", "GET", "explain?tenant=firm-a", None, 422, "invalid", ["target"]),
    ("explaining to nobody", "GET", "explain?tenant=firm-z&target=a.example", None, 404, "unknown", []),
    ("explaining no name", "GET", "explain?tenant=firm-a&target=a..b", None, 422, "invalid", ["target"]),
    ("explaining at no time", "GET", "explain?tenant=firm-a&target=a.example&at=x", None, 422, "invalid", ["at"]),
]


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "kind", "fields"), [pytest.param(*row, id=name) for name, *row in BAD]
)
async def test_a_refusal_is_a_problem_that_names_field_and_remedy(
    tmp_path: Path, method: str, path: str, body: Any, status: int, kind: str, fields: list[str]
) -> None:
    async with running(tmp_path) as node:
        await node.set_up()
        async with node.client.request(method, f"http://control/v1/{path}", json=body) as response:
            problem = await response.json(content_type=None)
            assert response.content_type == "application/problem+json", problem
        assert (response.status, problem["type"]) == (status, f"urn:feiyu:problem:{kind}"), problem
        assert problem["status"] == status
        assert [error["field"] for error in problem["errors"]] == fields
        assert problem["title"]
        assert problem["detail"]
        assert node.authority.policy.revision == 5


@pytest.mark.parametrize("body", [b"{", b"[]", b'"x"', b"\xff\xfe", b"[" * 100_000, b"null"])
async def test_a_body_that_is_no_object_is_refused_as_such(tmp_path: Path, body: bytes) -> None:
    async with running(tmp_path) as node, node.client.post("http://control/v1/tenants", data=body) as response:
        problem = await response.json(content_type=None)
        assert (response.status, problem["type"]) == (400, "urn:feiyu:problem:not-json")


async def test_concurrent_writers_get_a_revision_each_and_workers_hear_them_in_order(tmp_path: Path) -> None:
    async with running(tmp_path) as node:
        await node.set_up()
        answers = await asyncio.gather(*(node.add("grants", **GRANT) for _ in range(20)))
        assert sorted(answer["revision"] for answer in answers) == list(range(6, 26))
        heard = node.hub.revisions
        assert heard == sorted(heard)
        assert heard[-1] == 25
        status, page = await node.call("GET", "/v1/grants", limit=15, tenant="firm-a")
        assert (status, len(page["items"]), page["revision"]) == (200, 15, 25)
        _, rest = await node.call("GET", "/v1/grants", cursor=page["next"])
        assert (len(rest["items"]), rest["next"]) == (5, "")


async def test_of_two_who_saw_the_same_one_s_edit_stands_and_the_other_is_told(tmp_path: Path) -> None:
    async with running(tmp_path) as node:
        await node.set_up()
        url = "http://control/v1/lines/hk1"
        async with node.client.get(url) as shown:
            seen = {"If-Match": shown.headers["ETag"]}

        async def edit(name: str) -> tuple[int, Any]:
            async with node.client.patch(url, json={"name": name, "reason": f"by {name}"}, headers=seen) as answer:
                return answer.status, await answer.json(content_type=None)

        answers = await asyncio.gather(*(edit(name) for name in ("a", "b", "c")))
        assert sorted(status for status, _ in answers) == [200, 412, 412]
        won = next(body["item"]["name"] for status, body in answers if status == 200)
        for status, body in answers:
            assert status == 200 or (body["type"], f"by {won}" in body["detail"]) == (
                "urn:feiyu:problem:revision",
                True,
            )
        assert (await node.call("GET", "/v1/lines/hk1"))[1]["name"] == won
        for method, path in (("POST", f"{url}/drain"), ("DELETE", "http://control/v1/groups/research")):
            async with node.client.request(method, path, params={"reason": "r"}, json={"reason": "r"},
                                           headers={"If-Match": '"99"'}) as answer:  # fmt: skip
                assert answer.status == 412, method
        async with node.client.patch(url, json={"name": "d", "reason": "r"}, headers={"If-Match": "W/1"}) as answer:
            assert answer.status == 400


async def test_changes_of_one_request_do_not_meet_each_other(tmp_path: Path) -> None:
    async with running(tmp_path) as node:
        await node.set_up()
        _, line = await node.call("GET", "/v1/lines/hk1")
        edit = {"collection": "lines", "id": "hk1", "verb": "edit", "revision": line["provenance"]["revision"]}
        both = [edit | {"fields": {"name": "a"}}, edit | {"fields": {"carrier": "b"}}]
        assert (await node.call("POST", "/v1/changes", {"changes": both, "reason": "r"}))[0] == 200
        assert (await node.call("POST", "/v1/changes", {"changes": both, "reason": "r"}))[0] == 412


async def test_of_two_who_add_the_same_one_wins(tmp_path: Path) -> None:
    async with running(tmp_path) as node:
        body = {"id": "same", "reason": "race"}
        answers = await asyncio.gather(*(node.call("POST", "/v1/groups", body) for _ in range(8)))
        assert sorted(status for status, _ in answers) == [201] + [409] * 7


async def test_many_changes_go_in_one_transaction_or_not_at_all(tmp_path: Path) -> None:
    async with running(tmp_path) as node:
        await node.set_up()
        adds = [{"collection": "grants", "verb": "add", "fields": GRANT} for _ in range(500)]
        status, answer = await node.call("POST", "/v1/changes", {"changes": adds, "reason": "import"})
        assert (status, answer["revision"], len(set(answer["ids"]))) == (200, 6, 500)
        adds.append({"collection": "grants", "verb": "add", "fields": {**GRANT, "lines": []}})
        status, problem = await node.call("POST", "/v1/changes", {"changes": adds, "reason": "import"})
        assert (status, problem["change"]) == (422, 500)
        assert node.authority.policy.revision == 6


async def test_a_change_without_effect_is_no_revision(tmp_path: Path) -> None:
    async with running(tmp_path) as node:
        await node.set_up()
        status, answer = await node.call("PATCH", "/v1/tenants/firm-a", {"name": "Firm A", "reason": "again"})
        assert (status, answer["revision"], answer["enforced"]) == (200, 5, None)
        assert answer["why"] == "nothing had to be changed"


async def test_history_shows_who_what_and_why(tmp_path: Path) -> None:
    async with running(tmp_path) as node:
        await node.set_up()
        await node.call("PATCH", "/v1/tenants/firm-a", {"name": "New", "reason": "renamed"})
        _, answer = await node.call("GET", "/v1/changes", collection="tenants", item="firm-a")
        newest, oldest = answer["items"]
        assert (newest["verb"], newest["reason"], newest["revision"]) == ("edit", "renamed", 6)
        assert (newest["before"]["name"], newest["after"]["name"]) == ("Firm A", "New")
        assert oldest["before"] is None

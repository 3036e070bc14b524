"""plan and apply over control's API: If-Match, tests, all or nothing, and what they say; on a real control."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from tests.ops.control_kit import GRANT, UNTIL, running
from tests.ops.people_kit import People

LAB = {"id": "lab", "name": "Lab"}
ARXIV = {"id": "arxiv", "name": "arXiv", "endpoints": [{"target": "arxiv.org"}]}
TO_ARXIV = {**GRANT, "object": "service:arxiv"}
PASSES = {"name": "arxiv passes", "tenant": "firm-a", "target": "arxiv.org", "verdict": "permit", "where": "a.yaml:9"}
FAILS = {**PASSES, "name": "arxiv is refused", "verdict": "deny", "reason": "not-whitelisted"}


async def test_a_plan_shows_what_would_happen_and_changes_nothing(tmp_path: Path) -> None:
    async with running(tmp_path) as node:
        await node.set_up()
        wish = {"proposal": {"services": [ARXIV], "grants": [TO_ARXIV], "tests": [PASSES, FAILS]}}
        before = await node.call("GET", "/v1/revisions")
        async with node.client.post("http://control/v1/policy/plan", json=wish) as response:
            plan = await response.json()
            tag = response.headers["ETag"]
        assert tag == f'"{plan["revision"]}"'
        assert plan["counts"] == {"services": {"add": 1}, "grants": {"add": 1}}
        assert {(e["way"], e["who"], e["what"]) for e in plan["effects"]} == {
            ("gains", "tenant:firm-a", "service:arxiv"),
            ("gains", "service:arxiv", "tls://arxiv.org:443"),
        }
        assert [(test["name"], test["passed"]) for test in plan["tests"]] == [
            ("arxiv passes", True),
            ("arxiv is refused", False),
        ]
        assert "expected not-whitelisted, got permit by g-" in plan["tests"][1]["fault"]
        assert plan["tunnels"] is None  # no recorder runs here, and that is said
        assert await node.call("GET", "/v1/revisions") == before


async def apply(node: Any, wish: dict[str, Any], tag: str | None, token: str = "") -> tuple[int, Any]:
    headers = {} if tag is None else {"If-Match": tag}
    headers |= {"Authorization": f"Bearer {token}"} if token else {}
    body = {"reason": "a test", **wish}
    async with node.client.post("http://control/v1/policy/apply", json=body, headers=headers) as response:
        return response.status, await response.json()


@pytest.mark.parametrize(
    ("tag", "status", "kind"),
    [
        pytest.param(None, 428, "if-match-needed", id="without If-Match"),
        pytest.param("*", 428, "if-match-needed", id="with any"),
        pytest.param('"1"', 412, "revision", id="with a revision that is past"),
        pytest.param("5", 400, "if-match", id="with what is no tag"),
    ],
)
async def test_nothing_is_applied(tmp_path: Path, tag: str | None, status: int, kind: str) -> None:
    async with running(tmp_path) as node:
        await node.set_up()
        answered, problem = await apply(node, {"proposal": {"groups": [LAB]}}, tag)
        assert (answered, problem["type"]) == (status, f"urn:feiyu:problem:{kind}")
        assert problem["remedy"]
        assert (await node.call("GET", "/v1/groups/lab"))[0] == 404


async def test_of_two_who_apply_from_one_plan_the_second_is_told_and_nothing_is_lost(tmp_path: Path) -> None:
    async with running(tmp_path) as node:
        await node.set_up()
        revision = (await node.call("POST", "/v1/policy/plan", {"proposal": {}}))[1]["revision"]
        wishes = [{"proposal": {"groups": [{"id": name}]}} for name in ("one", "two")]
        answers = await asyncio.gather(*(apply(node, wish, f'"{revision}"') for wish in wishes))
        assert sorted(status for status, _ in answers) == [200, 412]
        lost = next(problem for status, problem in answers if status == 412)
        assert f"the changes were made from revision {revision}" in lost["detail"]
        groups = (await node.call("GET", "/v1/groups"))[1]["items"]
        assert len({group["id"] for group in groups} & {"one", "two"}) == 1


async def test_an_applied_policy_is_enforced_and_marked_as_every_change_is(tmp_path: Path) -> None:
    async with running(tmp_path) as node:
        await node.set_up()
        wish = {"proposal": {"services": [ARXIV], "grants": [TO_ARXIV], "tests": [PASSES]}}
        revision = (await node.call("POST", "/v1/policy/plan", wish))[1]["revision"]
        status, answer = await apply(node, wish, f'"{revision}"')
        assert (status, answer["revision"], answer["enforced"]["acked"]) == (200, revision + 1, ["w0", "w1"])
        assert node.hub.revisions[-1] == revision + 1
        explained = (await node.call("GET", "/v1/explain", tenant="firm-a", target="arxiv.org"))[1]
        assert explained["verdict"]["decision"] == "permit"
        item = (await node.call("GET", f"/v1/grants/{explained['verdict']['grant']}"))[1]
        assert item["provenance"]["origin"] == "bootstrap"
        again = await apply(node, wish, f'"{revision + 1}"')
        assert (again[1]["revision"], again[1]["unchanged"]) == (revision + 1, 2)


@pytest.mark.parametrize(
    ("proposal", "status", "said"),
    [
        pytest.param(
            {"groups": [LAB], "services": [ARXIV], "grants": [TO_ARXIV], "tests": [FAILS]},
            409,
            "1 of 1 tests fail",
            id="where a test fails",
        ),
        pytest.param(
            {"groups": [LAB], "grants": [{**GRANT, "object": "service:none"}]},
            422,
            "the grant is not valid",
            id="where an entry names nothing",
        ),
        pytest.param({"groups": [LAB, {"id": "B A D"}]}, 422, "the group is not valid", id="where an id is none"),
        pytest.param(
            {"groups": [LAB], "services": [{**ARXIV, "endpoints": []}]},
            422,
            "entries cannot be planned",
            id="where an entry is not valid",
        ),
        pytest.param({"groups": [LAB], "x": 1}, 422, "unknown field `x`", id="where a field is unknown"),
    ],
)
async def test_a_policy_is_applied_whole_or_not_at_all(tmp_path: Path, proposal: Any, status: int, said: str) -> None:
    async with running(tmp_path) as node:
        await node.set_up()
        revision = (await node.call("POST", "/v1/policy/plan", {"proposal": {}}))[1]["revision"]
        answered, problem = await apply(node, {"proposal": proposal}, f'"{revision}"')
        assert (answered, said in problem["detail"]) == (status, True), problem
        assert (await node.call("GET", "/v1/groups/lab"))[0] == 404
        assert (await node.call("GET", "/v1/revisions"))[1]["items"][0]["revision"] == revision


async def test_the_entry_at_fault_is_named(tmp_path: Path) -> None:
    async with running(tmp_path) as node:
        await node.set_up()
        bad = {**GRANT, "object": "service:none"}
        _, problem = await node.call("POST", "/v1/policy/plan", {"proposal": {"groups": [LAB], "grants": [GRANT, bad]}})
        assert problem["errors"] == [{"field": "grants[1].object", "message": "there is no service none"}]


async def test_a_rollback_is_planned_and_applied_as_any_change(tmp_path: Path) -> None:
    async with running(tmp_path) as node:
        await node.set_up()
        revision = (await node.call("POST", "/v1/policy/plan", {"proposal": {}}))[1]["revision"]
        await apply(node, {"proposal": {"services": [ARXIV], "grants": [TO_ARXIV]}}, f'"{revision}"')
        back = {"rollback": revision}
        plan = (await node.call("POST", "/v1/policy/plan", back))[1]
        assert plan["counts"] == {"grants": {"revoke": 1}, "services": {"retire": 1}}
        status, answer = await apply(node, back, f'"{plan["revision"]}"')
        assert (status, answer["revision"]) == (200, revision + 2)
        rows = (await node.call("GET", "/v1/revisions", limit=1))[1]
        assert rows["items"][0]["changes"] == 2
        assert rows["next"] == str(revision + 2)
        denied = (await node.call("GET", "/v1/explain", tenant="firm-a", target="arxiv.org"))[1]
        assert denied["verdict"]["reason"] == "not-whitelisted"


@pytest.mark.parametrize("to", [0, -1, True, "1", 99, 1 << 60])
async def test_a_revision_that_is_none_is_refused(tmp_path: Path, to: Any) -> None:
    async with running(tmp_path) as node:
        await node.set_up()
        status, problem = await node.call("POST", "/v1/policy/plan", {"rollback": to})
        assert (status, problem["errors"][0]["field"]) == (422, "rollback")


async def test_a_firm_may_be_given_a_longer_term_alone(tmp_path: Path) -> None:
    async with running(tmp_path) as node:
        await node.set_up()
        wish = {"proposal": {"tenants": [{"id": "firm-a", "valid_until": UNTIL + 1}]}}
        plan = (await node.call("POST", "/v1/policy/plan", wish))[1]
        assert [(e["way"], e["what"], e["how"]) for e in plan["effects"]] == [
            ("changes", "valid_until", f"{UNTIL} → {UNTIL + 1}")
        ]


async def test_a_past_moment_is_asked_of_the_policy_as_it_was(tmp_path: Path) -> None:
    moments = iter(range(1_795_000_000, 1_796_000_000, 100))
    async with running(tmp_path) as node:
        node.authority._clock = lambda: float(next(moments))  # as if a minute and more lay between any two changes
        await node.set_up()
        grant = (await node.add("grants", **GRANT))["item"]
        began = grant["provenance"]["created"]
        await node.call("POST", f"/v1/grants/{grant['id']}/revoke", {"reason": "over"})
        for at, decision, detail in (
            (began + 1, "permit", ""),
            (began - 1, "deny", "no grant of a service with the host"),
            (began + 101, "deny", "no grant of a service with the host"),
        ):
            told = (await node.call("GET", "/v1/explain", tenant="firm-a", target="docs.example.com", at=at))[1]
            assert (told["verdict"]["decision"], told["verdict"].get("detail", ""), told["as_of"]) == (
                decision,
                detail,
                at,
            )
        before_all = await node.call("GET", "/v1/explain", tenant="firm-a", target="docs.example.com", at=1_700_000_000)
        assert before_all[0] == 404
        assert (await node.call("GET", "/v1/revisions"))[1]["items"][0]["revision"] == 7


async def test_a_proposal_is_explained_without_being_applied(tmp_path: Path) -> None:
    async with running(tmp_path) as node:
        await node.set_up()
        wish = {"proposal": {"services": [ARXIV], "grants": [TO_ARXIV]}}
        question = {"tenant": "firm-a", "target": "arxiv.org"}
        status, told = await node.call("POST", "/v1/explain", wish, **question)
        assert (status, told["verdict"]["decision"], told["verdict"]["service"]) == (200, "permit", "arxiv")
        assert told["policy"].startswith("policy ")
        told = (await node.call("POST", "/v1/explain", wish, tenant="firm-a", target="www.arxiv.org"))[1]
        assert told["verdict"]["reason"] == "not-whitelisted"
        told = (await node.call("POST", "/v1/explain", wish, tenant="firm-a", target="arxiv.org:8443"))[1]
        assert told["candidates"][0]["why_not"] == "port 8443 is not among the endpoint's"
        assert told["would_have_to_change"][0]["zh"] == "服务 arxiv 增加端口 8443"
        assert (await node.call("GET", "/v1/explain", **question))[1]["verdict"]["decision"] == "deny"
        assert (await node.call("POST", "/v1/explain", {"proposal": {"x": 1}}, **question))[0] == 422
        assert (await node.call("POST", "/v1/explain", wish, tenant="firm-b", target="arxiv.org"))[0] == 404


async def test_with_accounts_what_opens_something_waits_as_a_request_of_just_these_changes(tmp_path: Path) -> None:
    async with running(tmp_path) as node:
        await node.set_up()
        people = People(node)
        await people.found()
        await people.hire()
        asked = {"tenant": "firm-a", "target": "arxiv.org"}
        wish = {"proposal": {"services": [ARXIV], "grants": [TO_ARXIV], "tests": [PASSES]}}
        plan = (await people.call("operator", "POST", "/v1/policy/plan", wish))[1]
        assert (plan["passed"], plan["counts"]) == (True, {"services": {"add": 1}, "grants": {"add": 1}})
        tag, token = f'"{plan["revision"]}"', people.token("operator")

        wrong = {"proposal": {**wish["proposal"], "tests": [FAILS]}}
        assert (await apply(node, wrong, tag, token))[0] == 409
        waits = {"state": "SUBMITTED"}
        assert (await people.call("operator", "GET", "/v1/requests", **waits))[1]["items"] == []  # tests come first

        status, told = await apply(node, wish, tag, token)
        assert (status, told["passed"], told["counts"], told["revision"]) == (
            202,
            True,
            plan["counts"],
            plan["revision"],
        )
        assert told["request"]["waits_for"] == ["zone-reviewer"]
        assert (await people.call("operator", "GET", "/v1/explain", **asked))[1]["verdict"]["decision"] == "deny"
        shown = (await people.call("reviewer", "GET", f"/v1/requests/{told['request']['id']}"))[1]
        held = {change["id"] for change in json.loads(shown["content"])["changes"]}
        assert held == {change["id"] for change in told["changes"]}

        status, decided = await people.approve("reviewer", told["request"]["id"])
        assert (status, decided["revision"]) == (200, plan["revision"] + 1)
        verdict = (await people.call("operator", "GET", "/v1/explain", **asked))[1]["verdict"]
        assert (verdict["decision"], verdict["grant"] in held) == ("permit", True)
        item = (await people.call("operator", "GET", f"/v1/grants/{verdict['grant']}"))[1]
        assert (item["provenance"]["origin"], item["provenance"]["actor"]) == ("approved", "operator")


async def test_with_accounts_a_policy_does_at_once_what_its_sender_may_do_alone_and_nothing_else(
    tmp_path: Path,
) -> None:
    async with running(tmp_path) as node:
        await node.set_up()
        people = People(node)
        await people.found()
        await people.hire()
        tag = f'"{node.authority.revision}"'
        denies = {"proposal": {"denies": [{"target": "bad.example"}]}}
        status, told = await apply(node, {"proposal": {"services": [ARXIV]}}, tag, people.token("watch"))
        assert (status, told["errors"][0]["field"]) == (403, "services[0]")
        assert "may not add services" in told["detail"]
        for name in ("reviewer", "sys", "aud"):
            assert (await apply(node, denies, tag, people.token(name)))[1]["type"] == "urn:feiyu:problem:role", name
        status, told = await apply(node, denies, tag, people.token("watch"))
        assert (status, told["origins"], told["enforced"]["acked"]) == (200, ["direct"], ["w0", "w1"])
        assert told["link"] == (await people.call("aud", "GET", "/v1/audit/chain"))[1]["head"]

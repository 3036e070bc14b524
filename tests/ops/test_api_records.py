"""Flows, records and references: asked of control, answered by a real recorder."""

import asyncio
import getpass
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from ops.settings import Listener, Settings
from telemetry.stream.spec import Sink
from tests.ops.control_kit import GRANT, Node, running
from tests.telemetry import spool_kit

REF = "7F3K9Q2M4XW5T0AB"
FLOW = "0A1B2C3D4E5F6G7H"
WHO: dict[str, Any] = {
    "tenant": "firm-a",
    "interface": "acc0",
    "client_ip": "10.0.0.9",
    "host": "docs.example.com",
    "port": 443,
    "method": "CONNECT",
}


@pytest.fixture
def recorder(tmp_path: Path) -> Iterator[spool_kit.Node]:
    """A recorder with one open flow and one refusal; its worker still lives."""
    node = spool_kit.Node(tmp_path)
    writer = node.writer()
    now = int(time.time() * 1e6)
    spool_kit.put(writer, "open", flow=FLOW, time=now, line="hk1", decision="permit", **WHO)
    refusal = {"reason": "not-whitelisted", "decision": "deny", "status": 403, "revision": 5}
    spool_kit.put(writer, "deny", flow=REF, ref=REF, time=now, **refusal, **WHO)
    writer.flush()
    process = node.start()
    try:
        spool_kit.until(lambda: (node.run / "recorder.sock").exists() and len(node.lines()) >= 2, "the records")
        yield node
    finally:
        spool_kit.stop(process)


@pytest.fixture
async def node(tmp_path: Path, recorder: spool_kit.Node) -> AsyncIterator[Node]:
    """A control beside it."""
    async with running(tmp_path) as made:
        await made.set_up()
        yield made


async def test_open_flows_are_listed_and_shown(node: Node) -> None:
    status, answer = await node.call("GET", "/v1/flows")
    assert (status, [item["flow"] for item in answer["items"]]) == (200, [FLOW])
    status, item = await node.call("GET", f"/v1/flows/{FLOW}")
    assert (status, item["host"], item["line"]) == (200, "docs.example.com", "hk1")


@pytest.mark.parametrize("flow", ["0000000000000000", "..%2Frecords", "x%20y"])
async def test_a_flow_that_is_not_known_is_a_404(node: Node, flow: str) -> None:
    status, problem = await node.call("GET", f"/v1/flows/{flow}")
    assert (status, problem["type"]) == (404, "urn:feiyu:problem:unknown")


async def test_a_cut_is_told_to_the_workers_by_flow(node: Node) -> None:
    status, answer = await node.call("POST", f"/v1/flows/{FLOW}/cut", {"reason": "incident 12"})
    assert (status, answer["enforced"]["acked"]) == (200, ["w0", "w1"])
    assert node.hub.told[-1] == {"kind": "cut", "flow": FLOW, "cause": "cut-by-operator"}


@pytest.mark.parametrize(
    ("flow", "body", "status"),
    [
        pytest.param(FLOW, {}, 422, id="no reason"),
        pytest.param(FLOW, {"reason": "x", "force": True}, 422, id="another field"),
        pytest.param("0000000000000000", {"reason": "x"}, 404, id="no such flow"),
        pytest.param(REF, {"reason": "x"}, 409, id="a flow that was refused"),
    ],
)
async def test_a_cut_that_cannot_be_tells_no_worker(node: Node, flow: str, body: Any, status: int) -> None:
    assert (await node.call("POST", f"/v1/flows/{flow}/cut", body))[0] == status
    assert all(message.get("kind") != "cut" for message in node.hub.told)


async def test_a_cut_without_a_hub_is_a_503(node: Node) -> None:
    await node.hub.close()
    status, problem = await node.call("POST", f"/v1/flows/{FLOW}/cut", {"reason": "x"})
    assert (status, problem["type"]) == (503, "urn:feiyu:problem:hub-unavailable")


async def test_records_are_searched_with_times_in_seconds(node: Node) -> None:
    now = int(time.time())
    _, found = await node.call("GET", "/v1/log", tenant="firm-a", kind="deny", since=now - 3600)
    assert [item["ref"] for item in found["items"]] == [REF]
    _, none = await node.call("GET", "/v1/log", tenant="firm-a", since=now + 3600)
    assert none["items"] == []


async def test_a_search_the_recorder_does_not_understand_is_a_422(node: Node) -> None:
    status, problem = await node.call("GET", "/v1/log", limit="many")
    assert (status, problem["type"]) == (422, "urn:feiyu:problem:search")
    assert "many" in problem["detail"]


async def test_the_tail_passes_records_on_as_they_come(node: Node, recorder: spool_kit.Node) -> None:
    async with node.client.get("http://control/v1/log/tail") as response:
        assert response.content_type == "text/event-stream"
        await response.content.readline()
        writer = recorder.writer("w1.1")
        spool_kit.put(writer, "heartbeat", detail="seen")
        writer.flush()
        async with asyncio.timeout(10):
            while b'"seen"' not in await response.content.readline():
                pass


async def test_control_ends_at_once_although_somebody_follows_the_log(tmp_path: Path, recorder: spool_kit.Node) -> None:
    async with asyncio.timeout(5), running(tmp_path) as node:
        response = await node.client.get("http://control/v1/log/tail")
        await response.content.readline()


async def test_a_reference_is_explained_as_recorded_and_as_it_would_be_now(node: Node) -> None:
    before = await explain_ref(node)
    assert (before["verdict"]["decision"], before["verdict"]["reason"]) == ("deny", "not-whitelisted")
    assert before["with_current_policy"]["verdict"]["decision"] == "deny"
    assert "docs is granted to firm-a" in before["would_have_to_change"][0]["en"]
    await node.add("grants", **GRANT)
    after = await explain_ref(node)
    assert after["verdict"]["decision"] == "deny"
    assert after["with_current_policy"]["verdict"]["decision"] == "permit"
    assert after["with_current_policy"]["source"] == "10.0.0.9"


BEHIND_THE_POLICY = {
    "name-mismatch": "the client's TLS names the host",
    "ech-not-allowed": "ECH is switched off in the client",
    "protocol-not-allowed": "the client speaks TLS",
    "line-unavailable": "one of the lines of grant",
    "kill-switch": "the kill that cut it is released",
    "address-forbidden": "the name leads to addresses that may be reached",
}


@pytest.mark.parametrize("reason", BEHIND_THE_POLICY)
async def test_a_refusal_behind_the_policy_says_what_would_have_to_change_although_the_request_is_permitted(
    node: Node, recorder: spool_kit.Node, reason: str
) -> None:
    await node.add("grants", **GRANT)
    ref = "7F3K9Q2M4XW5T0AC"
    writer = recorder.writer("w1.1")
    end = {"reason": reason, "decision": "deny", "status": 403, "cause": "refused", "ref": ref}
    now = int(time.time() * 1e6)
    spool_kit.put(writer, "open", flow=ref, time=now, line="hk1", decision="permit", **WHO)
    spool_kit.put(writer, "close", flow=ref, time=now, **end, **WHO)
    writer.flush()
    status, answer = await explained(node, ref)
    assert status == 200, answer
    assert answer["with_current_policy"]["verdict"]["decision"] == "permit"
    assert answer["with_current_policy"]["left_open"]
    assert BEHIND_THE_POLICY[reason] in answer["would_have_to_change"][0]["en"]
    assert all(words["zh"] for words in answer["would_have_to_change"])


async def test_a_refused_enrolment_which_asks_for_no_service_is_explained(node: Node, recorder: spool_kit.Node) -> None:
    ref = "7F3K9Q2M4XW5T0AD"
    writer = recorder.writer("w1.1")
    asked = {"tenant": "firm-a", "host": "feiyu.zone", "path": "/enrol", "method": "POST", "client_ip": "10.0.0.9"}
    end = {"reason": "identity-revoked", "decision": "deny", "status": 407, "ref": ref}
    spool_kit.put(writer, "deny", flow=ref, time=int(time.time() * 1e6), **asked, **end)
    writer.flush()
    status, answer = await explained(node, ref)
    assert (status, answer["verdict"]["reason"]) == (200, "identity-revoked"), answer
    assert "with_current_policy" not in answer


async def explained(node: Node, ref: str) -> tuple[int, Any]:
    """Status and answer once the record is there: what is searched is what is durable."""
    for _ in range(200):
        status, answer = await node.call("GET", "/v1/explain", ref=ref)
        if status != 404:
            break
        await asyncio.sleep(0.05)
    return status, answer


async def explain_ref(node: Node) -> Any:
    """The explanation of the one refusal, its reference typed in lower case."""
    status, answer = await node.call("GET", "/v1/explain", ref=REF.lower())
    assert status == 200, answer
    return answer


@pytest.mark.parametrize("path", ["/v1/explain?ref=0000000000000000", "/r/0000000000000000", "/r/%22"])
async def test_an_unknown_reference_is_a_404(node: Node, path: str) -> None:
    status, problem = await node.call("GET", path)
    assert (status, problem["type"]) == (404, "urn:feiyu:problem:unknown")


async def test_a_reference_has_a_page_in_both_languages(node: Node) -> None:
    async with node.client.get(f"http://control/r/{REF}", headers={"Accept": "text/html"}) as response:
        page = await response.text()
        assert response.content_type == "text/html"
        assert response.headers["Content-Security-Policy"] == "default-src 'none'"
    assert REF in page
    assert "不在白名单内" in page
    assert "not on your firm&#x27;s whitelist" in page
    status, answer = await node.call("GET", f"/r/{REF}")
    assert (status, answer["reason"], answer["record"]["host"]) == (200, "not-whitelisted", "docs.example.com")


async def test_status_says_who_answers_and_how_the_lines_are(node: Node) -> None:
    status, answer = await node.call("GET", "/v1/status")
    assert status == 200
    assert (answer["node"], answer["revision"], answer["trouble"]) == ("gw1.zone.example", 5, "")
    assert (answer["register"]["ok"], answer["hub"]["ok"], answer["recorder"]["ok"]) == (True, True, True)
    assert answer["lines"] == {"hk1": "up"}


async def test_lines_have_their_state_from_the_hub_and_figures_from_the_records(
    node: Node, recorder: spool_kit.Node
) -> None:
    status, answer = await node.call("GET", "/v1/figures/lines")
    assert (status, answer["unknown"]) == (200, [])
    assert answer["items"] == [{"line": "hk1", "state": "up", "since": None, "why": ""}], "no record of it yet"
    writer = recorder.writer("lines.1")
    values = {"state": 1, "flows": 2, "dropped": 4}
    spool_kit.put(writer, "line", line="hk1", time=1_700_000_000_000_000, detail="up: one family", values=values)
    writer.flush()
    spool_kit.until(lambda: recorder.records("lines.1"), "the record")
    (item,) = (await node.call("GET", "/v1/figures/lines"))[1]["items"]
    assert (item["since"], item["why"], item["flows"], item["dropped"]) == (1_700_000_000, "one family", 2, 4)
    assert (item["rtt_us"], item["repairs"]) == (None, None), "not told, so not known"
    spool_kit.put(writer, "line", line="hk1", time=1_700_000_009_000_000, detail="down: x", values={"state": 0})
    writer.flush()
    spool_kit.until(lambda: len(recorder.records("lines.1")) == 2, "the record")
    (item,) = (await node.call("GET", "/v1/figures/lines"))[1]["items"]
    assert (item["state"], item["since"], item["why"]) == ("up", None, ""), (
        "the hub's word goes; since when is not known"
    )
    writer.close()


async def test_explain_says_why_a_line_is_down_where_the_records_do(tmp_path: Path, recorder: spool_kit.Node) -> None:
    writer = recorder.writer("lines.1")
    down = "down: device l1 has no carrier"
    spool_kit.put(writer, "line", line="hk1", time=1_700_000_000_000_000, detail=down, values={"state": 0})
    writer.flush()
    spool_kit.until(lambda: recorder.records("lines.1"), "the record")
    settings = Settings(node="gw1", state_dir=str(tmp_path), listeners=(Listener(name="p", address="[::]:1"),))
    asked = {"tenant": "firm-a", "target": "docs.example.com"}
    async with running(tmp_path, settings=settings) as node:
        await node.set_up()
        await node.add("grants", **GRANT)
        node.hub.lines["hk1"] = "down"
        now = (await node.call("GET", "/v1/explain", **asked))[1]["but_now"]
        assert (now["reason"], now["detail"]) == ("line-unavailable", "hk1: down")
        assert "(hk1: down; hk1: device l1 has no carrier)" in now["text"]["en"]
        node.hub.lines["hk1"] = "draining"
        now = (await node.call("GET", "/v1/explain", **asked))[1]["but_now"]
        assert "no carrier" not in now["text"]["en"], "that was said of another state"
    writer.close()


async def test_what_is_missing_for_the_figures_is_said(tmp_path: Path) -> None:
    async with running(tmp_path) as node:
        status, answer = await node.call("GET", "/v1/figures/lines")
        assert status == 200
        assert answer["items"] == [{"line": "hk1", "state": "up", "since": None, "why": ""}]
        assert [text for text in answer["unknown"] if "recorder" in text]
    async with running(tmp_path / "alone", hub=False) as node:
        status, answer = await node.call("GET", "/v1/figures/lines")
        assert (status, answer["items"]) == (200, [])
        assert [text for text in answer["unknown"] if "no hub listens" in text]


async def test_without_a_recorder_its_questions_are_a_503_and_the_rest_goes_on(tmp_path: Path) -> None:
    async with running(tmp_path) as node:
        await node.set_up()
        for path in ("/v1/flows", "/v1/log", "/v1/log/tail", f"/r/{REF}", f"/v1/explain?ref={REF}"):
            status, problem = await node.call("GET", path)
            assert (status, problem["type"]) == (503, "urn:feiyu:problem:recorder-unavailable"), path
        status, answer = await node.call("GET", "/v1/status")
        assert (status, answer["recorder"]["ok"]) == (200, False)


async def test_changes_and_cuts_are_records_of_who_did_what(tmp_path: Path, recorder: spool_kit.Node) -> None:
    async with running(tmp_path, writer=recorder.writer("control.1")) as node:
        await node.set_up()
        await node.call("POST", "/v1/tenants/firm-a/suspend", {"reason": "secret words of a person"})
        await node.call("POST", f"/v1/flows/{FLOW}/cut", {"reason": "x"})
        who = getpass.getuser()
        spool_kit.until(lambda: len(recorder.records("control.1")) == 7, "all seven acts")
        acts = [(record.kind, record.revision, record.detail) for record in recorder.records("control.1")]
    assert acts[-2:] == [
        ("action", 6, f"suspend tenants/firm-a by {who}"),
        ("action", 6, f"cut flow {FLOW} by {who}"),
    ]
    assert b"secret words" not in b"".join(recorder.lines())


@pytest.fixture
def archive(recorder: spool_kit.Node, tmp_path: Path) -> Iterator[Callable[[], None]]:
    """Starts the streams process with a file for all records."""
    started: list[subprocess.Popen[bytes]] = []

    def start() -> None:
        sink = Sink(name="archive", kind="file", to=str(tmp_path / "out"), begin="oldest")
        argv = ["-m", "telemetry.stream.main", "--state-dir", str(recorder.state), "--run-dir", str(recorder.run)]
        argv += ["--node", "gw1", "--sinks", msgspec.json.encode([sink]).decode()]
        started.append(subprocess.Popen([sys.executable, *argv]))
        spool_kit.until((recorder.run / "streams.sock").exists, "the streams process")

    yield start
    for process in started:
        spool_kit.stop(process)


async def test_the_event_stream_comes_through_control_with_its_place_and_filters(
    recorder: spool_kit.Node, tmp_path: Path, archive: Callable[[], None]
) -> None:
    settings = Settings(node="gw1", listeners=(), run_dir=str(recorder.run))
    async with running(tmp_path, settings=settings) as node:
        status, problem = await node.call("GET", "/v1/stream")
        assert (status, problem["type"]) == (503, "urn:feiyu:problem:streams-unavailable")
        status, facts = await node.call("GET", "/v1/status")
        assert facts["streams"] == {"ok": False, "why": "the streams process says nothing", "sinks": []}
        archive()
        headers = {"Last-Event-ID": "0"}
        async with node.client.get("http://control/v1/stream?kind=deny", headers=headers) as response:
            assert response.content_type == "text/event-stream"
            lines = [await response.content.readline() for _ in range(4)]
        assert lines[2].startswith(b"id: ")
        assert REF.encode() in lines[3]
        for _ in range(400):
            _, facts = await node.call("GET", "/v1/status")
            if facts["streams"]["sinks"] and facts["streams"]["sinks"][0]["sent"] >= 2:
                break
            await asyncio.sleep(0.05)
        assert facts["streams"]["ok"]
        assert (facts["streams"]["sinks"][0]["name"], facts["streams"]["sinks"][0]["lag_records"]) == ("archive", 0)
        status, problem = await node.call("GET", "/v1/stream?format=xml")
        assert (status, problem["type"]) == (422, "urn:feiyu:problem:search")

"""What control shows a firm over portal.sock, with a real recorder beside it: its own things, and nobody else's."""

import asyncio
import os
import signal
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from html import unescape
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest
from aiohttp import web

from gateway.portal_visit import Question
from ops.api.recorder_client import RecorderClient
from ops.control import listening
from ops.portal.app import portal_application, workers_uid
from ops.portal.notice import FIELDS, notice
from ops.settings import Listener, Settings, Users
from telemetry.record import Record
from tests.ops.control_kit import FROM, GRANT, NODE, UNTIL, WINDOW, Node, running
from tests.telemetry import spool_kit

OURS, THEIRS, CLOSED = "7F3K9Q2M4XW5T0AA", "7F3K9Q2M4XW5T0BB", "7F3K9Q2M4XW5T0CC"
WHO = {"interface": "acc0", "client_ip": "10.0.0.9", "method": "CONNECT", "decision": "deny"}
EVIL = "<script>alert('1')</script>\"&"
HIDDEN = {  # from each firm
    "firm-a": (THEIRS, "b.example", "b-only", "firm-b", "Firm B"),
    "firm-b": (OURS, CLOSED, "a.example", "docs.example.com", "firm-a", "Firm A"),
}
LISTENERS = (Listener(name="plain", address="10.0.0.1:3128"),)


@pytest.fixture
def recorder(tmp_path: Path) -> Iterator[spool_kit.Node]:
    """Refusals of two firms; one of ours came after its tunnel was open, as a closing record."""
    node = spool_kit.Node(tmp_path)
    writer = node.writer()
    now = int(time.time() * 1e6)
    no = {"reason": "not-whitelisted", "status": 403, "revision": 5, "rule": "d-secret", "detail": "inner words"}
    spool_kit.put(
        writer, "deny", flow=OURS, ref=OURS, time=now - 9_000_000, tenant="firm-a", host="a.example", **no, **WHO
    )
    spool_kit.put(writer, "deny", flow=THEIRS, ref=THEIRS, time=now, tenant="firm-b", host="b.example", **no, **WHO)
    opened = {"flow": CLOSED, "tenant": "firm-a", "host": "c.example", "port": 443, "line": "hk1"}
    spool_kit.put(writer, "open", time=now, **opened, **WHO | {"decision": "permit"})
    late = {"reason": "name-mismatch", "status": 403, "cause": "refused", "ref": CLOSED}
    spool_kit.put(writer, "close", time=now, **opened, **late, **WHO)
    spool_kit.put(writer, "deny", flow="X" * 16, ref="X" * 16, time=now, host="stranger.example", **no, **WHO)
    writer.flush()
    process = node.start()
    node.root.joinpath("pid").write_text(str(process.pid))
    try:
        spool_kit.until(lambda: (node.run / "recorder.sock").exists() and len(node.lines()) >= 5, "the records")
        yield node
    finally:
        spool_kit.stop(process)


@pytest.fixture
def recorder_pid(recorder: spool_kit.Node) -> int:
    return int(recorder.root.joinpath("pid").read_text())


@dataclass
class Asking:
    """A worker's end of portal.sock."""

    node: Node
    path: Path

    async def ask(
        self, path: str = "/", tenant: str = "firm-a", *, html: bool = False, **more: Any
    ) -> tuple[int, str, str]:
        """Status, content type and body."""
        fields = {"source": "10.0.0.9", "interface": "acc0", "listener": "plain", "site": "lingang-a", "room": "r1"}
        question = Question(path=path, html=html, tenant=tenant, **fields | more)
        connector = aiohttp.UnixConnector(str(self.path))
        async with (
            aiohttp.ClientSession(connector=connector) as session,
            session.post("http://portal/", data=msgspec.json.encode(question)) as response,
        ):
            return response.status, response.headers["Content-Type"], await response.text()

    async def json(self, path: str = "/", tenant: str = "firm-a", **more: Any) -> tuple[int, Any]:
        """Status and JSON."""
        status, _, body = await self.ask(path, tenant, **more)
        return status, msgspec.json.decode(body)


async def serve(made: Node) -> tuple[Asking, web.AppRunner, RecorderClient]:
    """portal.sock beside a control."""
    recorder = RecorderClient(made.run / "recorder.sock")
    settings = Settings(node=NODE, listeners=LISTENERS)
    runner = web.AppRunner(portal_application(made.authority, recorder, settings))
    await runner.setup()
    path = made.run / "portal.sock"
    await web.SockSite(runner, listening(path, None)).start()
    return Asking(made, path), runner, recorder


@pytest.fixture
async def asking(tmp_path: Path) -> AsyncIterator[Asking]:
    """Two firms: firm-a with a grant of its own and one by category, firm-b with another."""
    async with running(tmp_path) as made:
        await made.set_up()
        await made.add(
            "services", id="ref", name="Ref", categories=["reference"], endpoints=[{"target": "*.ref.example"}]
        )
        await made.add("services", id="b-only", name="B only", endpoints=[{"target": "b.example"}])
        place = {"site": "lingang-a", "room": "r2", "interface": "acc1", "prefix": "10.1.0.0/24"}
        firm = {"id": "firm-b", "name": "Firm B", "valid_from": FROM, "valid_until": UNTIL, "places": [place]}
        await made.add("tenants", **firm)
        await made.add("grants", id="g-docs", **GRANT)
        await made.add("grants", id="g-ref", **GRANT | {"object": "category:reference"})
        hours = WINDOW | {"weekdays": [0, 4], "start_minute": 540, "end_minute": 1080}
        of_b = {"subject": "tenant:firm-b", "object": "service:b-only", "window": hours}
        await made.add("grants", id="g-b", **GRANT | of_b)
        found, runner, recorder = await serve(made)
        try:
            yield found
        finally:
            await runner.cleanup()
            await recorder.close()


async def test_a_firm_sees_who_it_is_its_lines_its_whitelist_and_its_refusals(
    recorder: spool_kit.Node, asking: Asking
) -> None:
    status, found = await asking.json(user="u-1", credential="c-1", gateway="10.0.0.1:3128")
    assert status == 200
    you = found["you"]
    assert (you["tenant"], you["name"], you["user"], you["credential"]) == ("firm-a", "Firm A", "u-1", "c-1")
    assert (you["source"], you["site"], you["room"], you["state_text"]["en"]) == (
        "10.0.0.9",
        "lingang-a",
        "r1",
        "active",
    )
    assert found["lines"] == [{"id": "hk1", "state": "up", "text": {"zh": "正常", "en": "in service"}}]
    assert [grant["grant"] for grant in found["whitelist"]] == ["g-docs", "g-ref"]
    assert found["whitelist"][1]["services"][0]["endpoints"][0]["target"] == "*.ref.example"
    assert found["whitelist"][0]["valid_until"] == UNTIL
    assert found["whitelist"][0]["until"] == "2096-10-02 15:06:40 UTC+8"
    refusals = found["refusals"]
    assert [one["ref"] for one in refusals] == [CLOSED, OURS]
    assert [one["link"] for one in refusals] == [f"/r/{CLOSED}", f"/r/{OURS}"]
    assert refusals[1]["text"]["en"] == "This service is not on your firm's whitelist."
    assert found["pac"] == "http://10.0.0.1:3128/proxy.pac"
    assert found["recording"]["retention_days"] == 1096
    assert "Records are deleted after 1096 days" in found["recording"]["text"]["en"][2]


async def test_no_firm_sees_anything_of_another(recorder: spool_kit.Node, asking: Asking) -> None:
    _, found = await asking.json("/", "firm-b")
    assert [one["ref"] for one in found["refusals"]] == [THEIRS]
    assert [grant["grant"] for grant in found["whitelist"]] == ["g-b"]
    for html in (False, True):
        for tenant, others in HIDDEN.items():
            for path in ("/", "/proxy.pac"):
                _, _, body = await asking.ask(path, tenant, html=html)
                assert not [other for other in (*others, "stranger.example") if other in body]


@pytest.mark.parametrize("html", [False, True])
async def test_another_firms_reference_is_answered_as_one_that_never_was(
    recorder: spool_kit.Node, asking: Asking, html: bool
) -> None:
    assert (await asking.ask(f"/r/{THEIRS}", "firm-b", html=html))[0] == 200
    theirs = await asking.ask(f"/r/{THEIRS}", "firm-a", html=html)
    never = await asking.ask("/r/0000000000000000", "firm-a", html=html)
    assert theirs == never
    assert theirs[0] == 404


@pytest.mark.parametrize(
    "path",
    [
        "/r/",
        "/r/..",
        "/r/%2e",
        f"/r/{OURS}/x",
        f"/r/{OURS}&tenant=firm-b",
        "/R/" + OURS,
        "/x",
        "",
        "//",
        "/r/é",
        f"/r/{'X' * 16}",
    ],
)
async def test_what_is_not_there_is_a_404(recorder: spool_kit.Node, asking: Asking, path: str) -> None:
    assert (await asking.ask(path))[0] == 404


@pytest.mark.parametrize("tenant", ["", "firm-c", "firm-a,firm-b", "*", "firm-"])
async def test_an_unknown_firm_has_nothing(recorder: spool_kit.Node, asking: Asking, tenant: str) -> None:
    for path in ("/", "/proxy.pac", f"/r/{OURS}", f"/r/{THEIRS}"):
        assert (await asking.ask(path, tenant))[0] == 404


async def test_its_own_reference_says_why_and_what_to_do_without_the_rule(
    recorder: spool_kit.Node, asking: Asking
) -> None:
    status, record = await asking.json(f"/r/{OURS.lower()}")
    assert (status, record["ref"], record["host"], record["reason"]) == (200, OURS, "a.example", "not-whitelisted")
    _, kind, page = await asking.ask(f"/r/{OURS}", html=True)
    assert kind == "text/html; charset=utf-8"
    for words in ("不在白名单内", "not on your firm's whitelist", OURS, "a.example"):
        assert words in unescape(page)
    for hidden in ("d-secret", "inner words", "00c0ffee", "0000abcd", '"seq"'):
        assert hidden not in page + str(record)


async def test_the_page_is_in_both_languages_and_holds_no_code(recorder: spool_kit.Node, asking: Asking) -> None:
    await asking.node.call("PATCH", "/v1/tenants/firm-a", {"name": EVIL, "name_zh": EVIL, "reason": "a test"})
    await asking.node.call("PATCH", "/v1/services/docs", {"name": EVIL, "reason": "a test"})
    _, kind, page = await asking.ask(html=True, user=EVIL, credential=EVIL, listener=EVIL)
    assert kind == "text/html; charset=utf-8"
    for words in (
        "白名单",
        "Whitelist",
        "专线",
        "Lines",
        "最近的拒绝",
        "Last refusals",
        "记录告知",
        "What is recorded",
        EVIL,
    ):
        assert words in unescape(page)
    assert "<script" not in page
    assert EVIL not in page
    for outside in ("http-equiv", "src=", "@import", "url(", "onload", "<form", "<iframe", "https://"):
        assert outside not in page
    for name in FIELDS:
        assert f"<td>{name}</td>" in page
    assert f'<a href="/r/{OURS}">' in page


async def test_a_firm_is_told_who_read_its_records_and_of_what_is_withheld_the_number(
    recorder: spool_kit.Node, asking: Asking
) -> None:
    cause = {"authority": EVIL, "basis": "NDSR 38", "case": "2027-9", "scope": "this week", "by": "li", "query": "q"}
    writer = recorder.writer("control.1")
    now = int(time.time() * 1e6)
    for tenant, more in (("firm-a", {}), ("firm-a", {"withheld": "CSL 30", "case": "secret"}), ("firm-b", {})):
        spool_kit.put(writer, "read", time=now, tenant=tenant, count=7, ref="R" * 16, facts={**cause, **more})
    writer.flush()
    spool_kit.until(lambda: len(recorder.lines()) >= 9, "the reads")
    reads = (await asking.json())[1]["reads"]
    assert (len(reads["items"]), reads["withheld"]) == (1, 1)
    (told,) = reads["items"]
    assert (told["authority"], told["case"], told["records"]) == (EVIL, "2027-9", 7)
    assert not {"by", "query"} & told.keys()
    _, _, page = await asking.ask(html=True)
    assert "1 more reads are lawfully withheld." in page
    assert "secret" not in page
    assert EVIL not in page
    assert EVIL in unescape(page)


async def test_hours_of_a_grant_are_shown(recorder: spool_kit.Node, asking: Asking) -> None:
    _, _, page = await asking.ask("/", "firm-b", html=True)
    assert "No read within 184 days that you are told of." in page
    assert "一 Mon 五 Fri 09:00–18:00 UTC+8" in page


async def test_without_a_recorder_the_rest_is_shown(asking: Asking) -> None:
    status, found = await asking.json()
    assert (status, found["refusals"], found["reads"]) == (200, None, None)
    assert len(found["whitelist"]) == 2
    _, _, page = await asking.ask(html=True)
    assert "暂时无法查询记录" in page
    assert (await asking.ask(f"/r/{OURS}"))[0] == 503


async def test_with_a_recorder_that_does_not_answer_the_rest_is_shown(
    recorder: spool_kit.Node, asking: Asking, recorder_pid: int
) -> None:
    os.kill(recorder_pid, signal.SIGSTOP)
    try:
        status, found = await asking.json()
    finally:
        os.kill(recorder_pid, signal.SIGCONT)
    assert (status, found["refusals"], len(found["whitelist"])) == (200, None, 2)
    for _ in range(50):
        if (found := (await asking.json())[1])["refusals"]:
            break
        await asyncio.sleep(0.1)
    assert [one["ref"] for one in found["refusals"]] == [CLOSED, OURS]


async def test_without_a_hub_the_lines_states_are_not_known(asking: Asking) -> None:
    await asking.node.hub.close()
    _, found = await asking.json()
    assert found["lines"][0]["text"]["en"] == "state not known now"


async def test_the_pac_file_follows_the_whitelist(asking: Asking) -> None:
    _, kind, script = await asking.ask("/proxy.pac", html=True, gateway="10.0.0.1:3128")
    assert kind == "application/x-ns-proxy-autoconfig"
    assert '".docs.example.com":1' in script
    assert '"PROXY 10.0.0.1:3128"' in script
    await asking.node.call("POST", "/v1/grants/g-docs/revoke", {"reason": "a test"})
    _, _, script = await asking.ask("/proxy.pac", gateway="10.0.0.1:3128")
    assert "docs.example.com" not in script
    assert ".ref.example" in script


async def test_an_operator_renders_the_same_file(asking: Asking) -> None:
    status, answer = await asking.node.call("GET", "/v1/tenants/firm-a/pac", others="sideways")
    assert (status, answer["errors"][0]["field"]) == (422, "others")
    status, answer = await asking.node.call("GET", "/v1/tenants/firm-c/pac")
    assert status == 404
    status, answer = await asking.node.call("GET", "/v1/tenants/firm-a/pac")
    assert (status, answer["type"]) == (409, "urn:feiyu:problem:no-way")  # this control was given no listeners


async def test_what_is_no_question_is_not_answered(asking: Asking) -> None:
    for body in (b"", b"{}", b"[1]", b'{"path":"/","tenant":"firm-a","admin":true}', b"x" * 9000):
        connector = aiohttp.UnixConnector(str(asking.path))
        async with (
            aiohttp.ClientSession(connector=connector) as session,
            session.post("http://portal/", data=body) as response,
        ):
            assert response.status in (400, 413)
            assert "firm-a" not in await response.text()


async def test_only_the_workers_user_may_ask(asking: Asking) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root: another user asks")
    asking.path.chmod(0o666)
    asking.path.parent.chmod(0o755)
    process = await asyncio.create_subprocess_exec(
        "curl", "-si", "--unix-socket", asking.path.name, "-d", "{}", "http://portal/", cwd=asking.path.parent,
        user=62_003, group=62_009, extra_groups=[], env={"PATH": "/usr/bin:/bin"}, stdout=subprocess.PIPE,
    )  # fmt: skip
    said, _ = await process.communicate()
    assert said.startswith(b"HTTP/1.1 403 ")
    assert b"only workers ask here" in said


def test_whose_user_the_workers_have(monkeypatch: pytest.MonkeyPatch) -> None:
    assert workers_uid(Users()) == os.geteuid()
    assert workers_uid(Users(base=62_000)) == os.geteuid()  # control could not be given its user: nor could they
    monkeypatch.setattr(os, "geteuid", lambda: 62_002)
    assert workers_uid(Users(base=62_000)) == 62_001


def test_every_field_of_the_record_is_told_in_the_notice() -> None:
    assert list(FIELDS) == [field.name for field in msgspec.structs.fields(Record)]
    assert all(zh and en for zh, en in FIELDS.values())
    told = notice(400, 200)["text"]
    assert all(len(lines) == 4 and "400" in lines[2] and "200" in lines[3] for lines in told.values())  # type: ignore[attr-defined]

"""Findings to a webhook over TLS: signed, repeated while nobody takes them, buried when they are refused."""

import base64
import hashlib
import hmac
import json
from pathlib import Path
from typing import Self

import pytest
from aiohttp import web

from telemetry.record import encode
from telemetry.stream import pump, to_webhook
from telemetry.stream.sink import SinkError
from telemetry.stream.spec import Sink
from telemetry.stream.to_webhook import WebhookSink
from tests.gateway.secure_kit import Pki
from tests.telemetry.stream.kit import Log, certificates, free_port, server_context, until
from tests.telemetry.stream.records import EVERY, line

KEY = b"0123456789abcdef0123456789abcdef"


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pump, "FIRST", 0.05)
    monkeypatch.setattr(pump, "LONGEST", 0.2)
    monkeypatch.setattr(pump, "POLL", 0.02)
    monkeypatch.setattr(to_webhook, "FIRST", 0.01)
    monkeypatch.setattr(to_webhook, "LONGEST", 0.05)


class Hook:
    """A webhook's server: answers with the statuses it is told, 200 when there are no more."""

    def __init__(self, pki: Pki, port: int, *statuses: int) -> None:
        self.pki, self.port, self.statuses = pki, port, list(statuses)
        self.asked: list[tuple[dict[str, str], bytes]] = []
        self.taken: list[str] = []

    async def __aenter__(self) -> Self:
        app = web.Application()
        app.add_routes([web.post("/hook", self._take)])
        self.runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self.runner.setup()
        await web.TCPSite(self.runner, "127.0.0.1", self.port, ssl_context=server_context(self.pki)).start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.runner.cleanup()

    async def _take(self, request: web.Request) -> web.Response:
        body = await request.read()
        self.asked.append((dict(request.headers), body))
        status = self.statuses.pop(0) if self.statuses else 200
        if status == 200:
            self.taken.append(request.headers["webhook-id"])
        return web.Response(status=status, headers={"Location": "/elsewhere"} if status == 302 else {})


@pytest.fixture
def spec(tmp_path: Path) -> tuple[Sink, Pki, int]:
    pki, port, secret = certificates(tmp_path / "pki"), free_port(), tmp_path / "secret"
    secret.write_bytes(b"whsec_" + base64.b64encode(KEY) + b"\n")
    to = f"https://127.0.0.1:{port}/hook"
    return (
        Sink(name="pager", kind="webhook", to=to, ca=str(pki.trusted), secret=str(secret), begin="oldest"),
        pki,
        port,
    )


def findings(log: Log, count: int) -> None:
    log.append(*(line("action", seq, rule="feiyu-beacon", tenant="acme") for seq in range(1, count + 1)))


async def test_only_findings_go_and_each_is_signed(tmp_path: Path, spec: tuple[Sink, Pki, int]) -> None:
    sink, pki, port = spec
    log = Log(tmp_path)
    log.append(*(encode(given) for given in EVERY.values()))
    async with Hook(pki, port) as hook, log.pumping(sink, WebhookSink(sink, tmp_path / "dead")):
        await until(lambda: len(hook.taken) == 3, "the three findings")
    for headers, body in hook.asked:
        assert json.loads(body)["rule"].startswith("feiyu-")
        signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
        mac = base64.b64encode(hmac.new(KEY, signed, hashlib.sha256).digest()).decode()
        assert headers["webhook-signature"] == f"v1,{mac}"
    assert not (tmp_path / "dead").exists()


async def test_what_fails_for_a_while_comes_again_under_the_same_id(
    tmp_path: Path, spec: tuple[Sink, Pki, int]
) -> None:
    sink, pki, port = spec
    log = Log(tmp_path)
    findings(log, 3)
    async with log.pumping(sink, WebhookSink(sink, tmp_path / "dead")) as running_pump:
        await until(lambda: running_pump.state.failures >= 2, "nobody there")
        async with Hook(pki, port, 503, 500, 429, 408, 200, 502) as hook:
            await until(lambda: len(hook.taken) == 3, "all")
    ids = [headers["webhook-id"] for headers, _ in hook.asked]
    assert ids == [hook.taken[0]] * 5 + [hook.taken[1]] * 2 + [hook.taken[2]]
    assert not (tmp_path / "dead").exists()


@pytest.mark.parametrize(
    ("answers", "why"),
    [((400,), "answered 400"), ((410,), "answered 410"), ((302,), "answered 302"), ((500,) * 12, "answered 500")],
    ids=["refused", "gone", "a redirection is not followed", "twelve failures"],
)
async def test_what_is_refused_is_buried_and_the_next_goes_on(
    tmp_path: Path, spec: tuple[Sink, Pki, int], answers: tuple[int, ...], why: str
) -> None:
    sink, pki, port = spec
    log = Log(tmp_path)
    findings(log, 2)
    async with (
        Hook(pki, port, *answers) as hook,
        log.pumping(sink, WebhookSink(sink, tmp_path / "dead")) as running_pump,
    ):
        await until(lambda: len(hook.taken) == 1, "the second")
        await until(lambda: running_pump.state.dead_letters == 1, "the first is counted")
    letter = json.loads((tmp_path / "dead").read_text())
    assert (letter["id"], letter["why"]) == (hook.asked[0][0]["webhook-id"], why)
    assert letter["body"]["rule"] == "feiyu-beacon"


async def test_with_no_room_for_dead_letters_the_record_waits(
    tmp_path: Path, spec: tuple[Sink, Pki, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(to_webhook, "MOST_DEAD", 10)
    sink, pki, port = spec
    log = Log(tmp_path)
    findings(log, 1)
    async with (
        Hook(pki, port, 400, 400) as hook,
        log.pumping(sink, WebhookSink(sink, tmp_path / "dead")) as running_pump,
    ):
        await until(lambda: "is full" in running_pump.state.fault, "it says so")
        await until(lambda: len(hook.taken) == 1, "the same again")


@pytest.mark.parametrize("secret", [b"", b"whsec_", b"whsec_c2hvcnQ=", b"not base64 at all, but long enough to be"])
async def test_a_secret_that_is_none_is_named(tmp_path: Path, spec: tuple[Sink, Pki, int], secret: bytes) -> None:
    sink, _, _ = spec
    (tmp_path / "secret").write_bytes(secret)
    with pytest.raises(SinkError, match="secret"):
        await WebhookSink(sink, tmp_path / "dead").open()

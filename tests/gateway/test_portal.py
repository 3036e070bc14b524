"""The firm's own page as a worker serves it: who may see it, what control is asked, and what is said while control is
away. Control is a socket that the test holds; the whole way is in tests/acceptance."""

import contextlib
import json
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tenants.model import TenantState
from tests.gateway.kit import Ground, Talk, until
from tests.gateway.node import Node, Worker, authorization, grant, replace, service, tenant
from whitelist.model import Endpoint, Protocol

pytestmark = pytest.mark.root

JSON, HTML, PAC = "application/json", "text/html; charset=utf-8", "application/x-ns-proxy-autoconfig"


def said(body: bytes, kind: str = JSON, status: int = 200, length: int | None = None) -> bytes:
    head = f"HTTP/1.1 {status} X\r\nServer: s\r\nContent-Type: {kind}\r\nContent-Length: {length or len(body)}\r\n"
    return head.encode() + b"X-Inner: 1\r\n\r\n" + body


@dataclass
class Control:
    """portal.sock, and what was asked on it. answer: what is said to each question; None: nothing, for ever."""

    listening: socket.socket
    answer: bytes | None = said(b"{}")
    asked: list[dict[str, Any]] = field(default_factory=list)
    heads: list[str] = field(default_factory=list)
    open: list[socket.socket] = field(default_factory=list)

    def serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self.listening.accept()
                heard = b""
                while b"\r\n\r\n" not in heard or len(heard.partition(b"\r\n\r\n")[2]) < self._length(heard):
                    heard += connection.recv(65_536)
                head, _, body = heard.partition(b"\r\n\r\n")
                self.heads.append(head.decode())
                self.asked.append(json.loads(body))
                if self.answer is None:
                    self.open.append(connection)
                    continue
                with contextlib.suppress(OSError):
                    connection.sendall(self.answer)
                connection.close()

    @staticmethod
    def _length(heard: bytes) -> int:
        return int(heard.lower().partition(b"content-length: ")[2].partition(b"\r")[0])


def listening_control(path: Path) -> Iterator[Control]:
    """A control at this socket, until the generator goes on."""
    path.unlink(missing_ok=True)
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(str(path))
    listening.listen(64)
    found = Control(listening)
    thread = threading.Thread(target=found.serve, daemon=True)
    thread.start()
    yield found
    listening.shutdown(socket.SHUT_RDWR)
    listening.close()
    thread.join(5)
    for connection in found.open:
        connection.close()
    path.unlink()


@pytest.fixture
def control(own: Node) -> Iterator[Control]:
    """Beside the node whose policy a test may change."""
    yield from listening_control(own.run / "portal.sock")


@pytest.fixture
def served(own: Node) -> Iterator[Worker]:
    """A worker of that node, whose bucket no other test has emptied."""
    name = f"w{len(own.workers)}.1"
    worker = own.worker(name)
    yield worker
    worker.stop()
    own.hub.workers.pop(name, None)


def request(
    path: str = "/", method: str = "GET", host: str = "feiyu.zone", who: str | None = "acme", fields: str = ""
) -> str:
    proof = f"Proxy-Authorization: {authorization(who)}\r\n" if who else ""
    return f"{method} http://{host}{path} HTTP/1.1\r\nHost: {host}\r\n{proof}{fields}\r\n"


def tunnel(port: int) -> str:
    name = f"feiyu.zone:{port}"
    return f"CONNECT {name} HTTP/1.1\r\nHost: {name}\r\nProxy-Authorization: {authorization('acme')}\r\n\r\n"


def answered(talk: Talk) -> tuple[int, dict[str, str], bytes]:
    """Status, fields by lower-case name, and the body up to the connection's end."""
    lines = talk.head().splitlines()
    fields = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
    return int(lines[0].split(" ")[1]), fields, talk.rest()


def recorded(node: Node, talk: Talk) -> dict[str, Any]:
    """The one record of a connection."""
    until(lambda: node.of(talk), "no record")
    assert len(node.of(talk)) == 1
    return node.of(talk)[0]


# ---- what control is asked


def test_control_is_asked_for_whoever_was_identified_and_the_answer_goes_out_under_our_own_head(
    own: Node, served: Worker, ground: Ground, control: Control
) -> None:
    control.answer = said(b"<p>page</p>", HTML)
    forged = "Feiyu-Tenant: birch\r\nFeiyu-User: boss\r\nX-Forwarded-For: 1.2.3.4\r\nAccept: text/html\r\n"
    talk = ground.dial(served.port).say(request("/?tenant=birch", fields=forged))
    status, fields, body = answered(talk)
    assert (status, fields["content-type"], body) == (200, HTML, b"<p>page</p>")
    assert fields["content-security-policy"].startswith("default-src 'none'")
    assert "script" not in fields["content-security-policy"]
    assert (fields["cache-control"], fields["connection"], fields["x-content-type-options"]) == (
        "no-store",
        "close",
        "nosniff",
    )
    assert not {"server", "x-inner"} & fields.keys()
    assert control.asked == [
        {
            "path": "/", "html": True, "tenant": "acme", "user": "", "credential": "c-acme000000", "source": "10.0.0.2",
            "interface": "acc0", "site": "s1", "room": "r1", "listener": "plain", "gateway": f"10.0.0.1:{served.port}",
        }
    ]  # fmt: skip
    assert "birch" not in control.heads[0] + str(control.asked)
    record = recorded(own, talk)
    expected = {
        "kind": "portal", "decision": "permit", "tenant": "acme", "host": "feiyu.zone", "port": 80, "path": "/",
        "status": 200, "bytes_in": 11, "method": "GET", "credential": "c-acme000000",
    }  # fmt: skip
    assert {key: record.get(key) for key in expected} == expected
    assert not {"line", "address", "grant", "reason", "ref"} & record.keys()


def test_head_gets_the_head_alone(own: Node, served: Worker, ground: Ground, control: Control) -> None:
    control.answer = said(b"12345")
    talk = ground.dial(served.port).say(request(method="HEAD"))
    status, fields, body = answered(talk)
    assert (status, fields["content-length"], body) == (200, "5", b"")
    assert recorded(own, talk).get("bytes_in", 0) == 0


@pytest.mark.parametrize("host", ["feiyu.zone", "FEIYU.ZONE.", "feiyu.zone:80"])
def test_every_spelling_of_the_name_is_the_name(served: Worker, ground: Ground, control: Control, host: str) -> None:
    assert answered(ground.dial(served.port).say(request("/r/ABC", host=host)))[0] == 200
    assert control.asked[0]["path"] == "/r/ABC"


def test_a_large_page_reaches_a_slow_client_whole(served: Worker, ground: Ground, control: Control) -> None:
    body = bytes(range(256)) * 8192
    control.answer = said(body)
    talk = ground.dial(served.port, receive_buffer=4096).say(request())
    assert answered(talk)[2] == body


def test_no_byte_behind_the_request_is_a_request(own: Node, served: Worker, ground: Ground, control: Control) -> None:
    talk = ground.dial(served.port).say(request() + request("/r/SECOND"))
    assert answered(talk)[2] == b"{}"
    assert [asked["path"] for asked in control.asked] == ["/"]
    recorded(own, talk)


def test_a_firm_that_is_suspended_may_see_that_it_is(
    own: Node, served: Worker, ground: Ground, control: Control
) -> None:
    own.put(tenants=tenant("acme", 1, state=TenantState.SUSPENDED))
    assert answered(ground.dial(served.port).say(request()))[0] == 200
    assert control.asked[0]["tenant"] == "acme"


# ---- who is not shown it

REFUSED: dict[str, tuple[str, str, int, str]] = {
    # what is said, from where, status and reason
    "a stranger": (request(who=None), "acme", 407, "identity-unknown"),
    "a wrong token": (
        request(who=None, fields="Proxy-Authorization: Basic YTpi\r\n"), "acme", 407, "identity-unknown",
    ),
    "a firm's token at another firm's place": (request(), "birch", 403, "source-not-allowed"),
    "a firm's token at nobody's place": (request(), "stray", 403, "source-not-allowed"),
    "a method that changes": (request(method="DELETE"), "acme", 403, "method-not-allowed"),
    "a body that is sent": (
        request(method="POST", fields="Content-Length: 1\r\n") + "x", "acme", 403, "method-not-allowed",
    ),
    "another port": (request(host="feiyu.zone:8080"), "acme", 403, "port-not-allowed"),
    "a tunnel to the name": (
        tunnel(443), "acme", 403, "protocol-not-allowed",
    ),
    "a tunnel to its plain port": (
        tunnel(80), "acme", 403, "protocol-not-allowed",
    ),
    "a name below it": (request(host="www.feiyu.zone"), "acme", 403, "not-whitelisted"),
    "a Host field that names another": (
        request().replace("Host: feiyu.zone", "Host: other.zone"), "acme", 400, "malformed-request",
    ),
    "another path in origin-form": ("GET / HTTP/1.1\r\nHost: 10.0.0.1\r\n\r\n", "acme", 400, "malformed-request"),
    "asterisk-form": ("OPTIONS * HTTP/1.1\r\nHost: 10.0.0.1\r\n\r\n", "acme", 400, "malformed-request"),
    "a PAC file for nobody's place": ("GET /proxy.pac HTTP/1.1\r\nHost: x\r\n\r\n", "stray", 407, "identity-unknown"),
    "a PAC file that is posted": (
        "POST /proxy.pac HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n", "acme", 403, "method-not-allowed",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_it_is_refused_with_its_reason_and_control_is_not_asked(
    case: str, own: Node, served: Worker, ground: Ground, control: Control
) -> None:
    words, source, status, reason = REFUSED[case]
    talk = ground.dial(served.port, source).say(words)
    head = talk.head()
    assert head.startswith(f"HTTP/1.1 {status} ")
    assert f'details="{reason} ref=' in head
    talk.rest()
    record = own.final(talk)
    assert (record["kind"], record["reason"]) == ("deny", reason)
    assert control.asked == []


def test_the_name_is_not_dialled_even_where_somebody_granted_it(
    own: Node, served: Worker, ground: Ground, control: Control
) -> None:
    trap = ground.site("open")
    ground.names.know("feiyu.zone", trap.address)
    endpoint = Endpoint(target="feiyu.zone", ports=(80, 443, 7000), protocol=Protocol.TCP)
    own.put(services=replace(service("open"), id="trap", endpoints=(endpoint,)))
    own.put(grants=grant("acme", "open", id="g-trap", object="service:trap"))
    for port in (80, 443, 7000):
        talk = own.connect(served, f"feiyu.zone:{port}")
        assert "protocol-not-allowed" in talk.head()
        talk.rest()
        own.final(talk)
    assert answered(ground.dial(served.port).say(request()))[0] == 200
    assert trap.quiet()


def test_a_firm_that_asks_too_often_is_told_when_it_may_again(
    own: Node, served: Worker, ground: Ground, control: Control
) -> None:
    heads = []
    for _ in range(100):
        talk = ground.dial(served.port).say(request())
        heads.append(talk.head())
        talk.rest()
    limited = [head for head in heads if head.startswith("HTTP/1.1 429 ")]
    assert limited
    assert all("rate-limited" in head and "\r\nRetry-After: 1\r\n" in head for head in limited)
    assert len(control.asked) == 100 - len(limited) >= 60
    other = ground.dial(served.port, "birch").say(request(who="birch"))
    assert answered(other)[0] == 200  # each firm has a bucket of its own


# ---- PAC


def test_the_pac_file_is_for_whose_place_it_is_without_a_credential(
    own: Node, served: Worker, ground: Ground, control: Control
) -> None:
    control.answer = said(b"function", PAC)
    words = "GET /proxy.pac?x=1 HTTP/1.1\r\nHost: 10.0.0.1\r\nUser-Agent: b/1\r\n\r\n"
    for firm, trickled in (("acme", False), ("birch", True)):
        talk = ground.dial(served.port, firm)
        talk = talk.trickle(words.encode()) if trickled else talk.say(words)
        status, fields, body = answered(talk)
        assert (status, fields["content-type"], body) == (200, PAC, b"function")
        assert fields["cross-origin-resource-policy"] == "same-origin"
        asked = control.asked[-1]
        assert (asked["tenant"], asked["path"], asked["credential"]) == (firm, "/proxy.pac", "")
        record = recorded(own, talk)
        expected = {"kind": "portal", "tenant": firm, "path": "/proxy.pac", "host": "feiyu.zone", "user_agent": "b/1"}
        assert {key: record.get(key) for key in expected} == expected


# ---- control away

AWAY: dict[str, tuple[Callable[[Control], None], str]] = {
    "ends without a word": (lambda c: setattr(c, "answer", b""), "not whole"),
    "says less than it announced": (lambda c: setattr(c, "answer", said(b"half", length=99)), "not whole"),
    "says more than it announced": (lambda c: setattr(c, "answer", said(b"more", length=2)), "not whole"),
    "does not speak HTTP": (lambda c: setattr(c, "answer", b"hello there, worker\r\n\r\n"), "not HTTP"),
    "answers with a kind that no page has": (lambda c: setattr(c, "answer", said(b"x", "text/plain")), "answered 200"),
    "refuses us": (lambda c: setattr(c, "answer", said(b"{}", "application/problem+json", 403)), "answered 403"),
    "sends elsewhere": (lambda c: setattr(c, "answer", said(b"x", HTML, 302)), "answered 302"),
    "never ends": (lambda c: setattr(c, "answer", said(b"x" * (5 << 20), HTML)), "too long"),
    "says nothing in time": (lambda c: setattr(c, "answer", None), "in time"),
}


@pytest.mark.parametrize("case", AWAY)
def test_a_control_that(case: str, own: Node, served: Worker, ground: Ground, control: Control) -> None:
    spoil, why = AWAY[case]
    spoil(control)
    talk = ground.dial(served.port).say(request())
    status, fields, body = answered(talk)
    assert (status, fields["content-type"]) == (503, JSON)
    record = recorded(own, talk)
    assert (record["kind"], record["status"]) == ("portal", 503)
    assert why in record["detail"]
    problem = json.loads(body)
    assert (problem["status"], problem["ref"]) == (503, record["ref"])
    assert why not in body.decode()


def test_while_control_is_away_a_person_is_told_so_in_both_languages(own: Node, served: Worker, ground: Ground) -> None:
    talk = ground.dial(served.port).say(request(fields="Accept: text/html\r\n"))
    status, fields, body = answered(talk)
    assert (status, fields["content-type"]) == (503, HTML)
    record = recorded(own, talk)
    for words in ("does not answer", "没有应答", record["ref"]):
        assert words in body.decode()
    assert "<script" not in body.decode()
    assert record["detail"] == "control is not reached: No such file or directory"


def test_a_client_that_leaves_before_its_page_has_its_record(
    own: Node, served: Worker, ground: Ground, control: Control
) -> None:
    control.answer = None
    talk = ground.dial(served.port).say(request())
    until(lambda: control.asked, "control is not asked")
    talk.reset()
    assert recorded(own, talk)["cause"] == "reset"


def test_without_evidence_nothing_is_shown(own: Node, served: Worker, ground: Ground, control: Control) -> None:
    own.failed = "disk full"
    try:
        until(
            lambda: "evidence-unavailable" in _head_of(ground.dial(served.port).say(request())),
            "evidence is still there",
        )
    finally:
        own.failed = ""
        until(lambda: _head_of(ground.dial(served.port).say(request())).startswith("HTTP/1.1 200"), "not well again")
    assert len(control.asked) >= 1


def _head_of(talk: Talk) -> str:
    head = talk.head()
    talk.rest()
    return head

"""Plain HTTP through the gateway: each request decided and recorded by itself, and no second reading of any of them."""

import threading

import pytest

from tests.gateway.kit import Ground, Site, Talk, until
from tests.gateway.node import Node, Worker, authorization, grant, replace

pytestmark = pytest.mark.root

OK = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def request(
    site: Site | str, path: str = "/", method: str = "GET", fields: str = "", firm: str = "acme", version: str = "1.1"
) -> str:
    host = site if isinstance(site, str) else site.host
    who = f"Proxy-Authorization: {authorization(firm)}\r\n"
    return f"{method} http://{host}{path} HTTP/{version}\r\nHost: {host}\r\n{who}{fields}\r\n"


class Exchange:
    """A client, a service and what is between them."""

    def __init__(self, node: Node, worker: Worker, ground: Ground, firm: str = "acme") -> None:
        self.node, self.site = node, ground.site("http")
        self.client = ground.dial(worker.port, firm)
        self.service: Talk | None = None

    def ask(self, said: str | bytes | None = None, *, fresh: bool = True) -> tuple[str, Talk]:
        """Sends a request; its head as it arrived, and the service's end."""
        self.client.say(request(self.site) if said is None else said)
        if fresh:
            self.service = self.site.accept()
        assert self.service is not None
        return self.service.head(), self.service


@pytest.fixture
def exchange(node: Node, worker: Worker, ground: Ground) -> Exchange:
    return Exchange(node, worker, ground)


def body_of(head: str) -> int:
    return int(head.lower().partition("content-length: ")[2].partition("\r")[0])


# ---- one request


def test_a_request_is_passed_on_in_origin_form_and_recorded_without_its_query(exchange: Exchange) -> None:
    head, service = exchange.ask(request(exchange.site, "/a/b?secret=1"))
    assert head.startswith(f"GET /a/b?secret=1 HTTP/1.1\r\nHost: {exchange.site.host}\r\n")
    assert "proxy-auth" not in head.lower()
    service.say(OK)
    assert exchange.client.head().startswith("HTTP/1.1 200 OK\r\n")
    assert exchange.client.exactly(2) == b"ok"
    close = exchange.node.final(exchange.client)
    assert (close["cause"], close["status"], close["path"]) == ("completed", 200, "/a/b")
    assert "secret" not in str(exchange.node.of(exchange.client))
    assert [r["kind"] for r in exchange.node.of(exchange.client)] == ["open", "close"]


def test_hop_by_hop_and_forged_fields_do_not_leave(exchange: Exchange) -> None:
    forged = (
        "Connection: keep-alive, X-Mine\r\nX-Mine: 1\r\nKeep-Alive: 5\r\nTE: trailers\r\nUpgrade: websocket\r\n"
        "Proxy-Connection: keep-alive\r\nProxy: x\r\nX-Forwarded-For: 1.2.3.4\r\nForwarded: for=x\r\nVia: 1.1 me\r\n"
        "X_Forwarded_For: 1.2.3.4\r\nX-Real-IP: 1.2.3.4\r\nAccept: text/plain\r\n"
    )
    head, service = exchange.ask(request(exchange.site, fields=forged))
    names = [line.partition(":")[0].lower() for line in head.split("\r\n")[1:] if line]
    assert names == ["host", "accept", "via"]
    service.say("HTTP/1.1 200 OK\r\nConnection: X-His\r\nX-His: 1\r\nProxy-Authenticate: Basic\r\nKeep-Alive: 5\r\n"
                "Content-Length: 0\r\nX-End: 1\r\n\r\n")  # fmt: skip
    back = exchange.client.head()
    names = [line.partition(":")[0].lower() for line in back.split("\r\n")[1:] if line]
    assert names == ["x-end", "via", "content-length", "connection"]


ANSWERS: dict[str, tuple[str, str, bytes, bytes, bool]] = {
    # method, head of the answer, its body, what the client gets behind the head, whether both connections are kept
    "with a length": ("GET", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n", b"hello", b"hello", True),
    "in chunks": (
        "GET", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n", b"3;x=y\r\nhel\r\n2\r\nlo\r\n0\r\nT: 1\r\n\r\n",
        b"3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n", True,
    ),
    "without a body to HEAD": ("HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n", b"", b"", True),
    "204": ("GET", "HTTP/1.1 204 No Content\r\n", b"", b"", True),
    "304 with a length": ("GET", "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n", b"", b"", True),
    "that asks to close": ("GET", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n", b"ok", b"ok", False),
    "of HTTP/1.0 with a length": ("GET", "HTTP/1.0 200 OK\r\nContent-Length: 2\r\n", b"ok", b"ok", False),
}  # fmt: skip


@pytest.mark.parametrize("case", ANSWERS)
def test_an_answer(case: str, exchange: Exchange) -> None:
    method, head, body, got, kept = ANSWERS[case]
    _, service = exchange.ask(request(exchange.site, method=method))
    service.say(head + "\r\n").say(body)
    assert exchange.client.head().splitlines()[0].split(" ", 1)[1] == head.splitlines()[0].split(" ", 1)[1]
    assert exchange.client.exactly(len(got)) == got
    exchange.node.final(exchange.client)
    if not kept:
        assert service.rest() == b""
    _, service = exchange.ask(fresh=not kept)
    service.say(OK)
    assert exchange.client.head().startswith("HTTP/1.1 200")
    assert exchange.client.exactly(2) == b"ok"
    exchange.node.final(exchange.client, 2)


def test_an_answer_that_ends_with_its_connection_comes_in_chunks(exchange: Exchange) -> None:
    _, service = exchange.ask()
    service.say("HTTP/1.1 200 OK\r\n\r\nall of it").close()
    assert "Transfer-Encoding: chunked\r\n" in exchange.client.head()
    assert exchange.client.exactly(19) == b"9\r\nall of it\r\n0\r\n\r\n"


def test_an_http_1_0_client_gets_bare_octets_and_an_end(exchange: Exchange) -> None:
    _, service = exchange.ask(request(exchange.site, version="1.0"))
    service.say("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n")
    head = exchange.client.head()
    assert "Connection: close\r\n" in head
    assert "chunked" not in head
    assert exchange.client.rest() == b"ok"


# ---- bodies

BODIES: dict[str, tuple[str, bytes, bytes]] = {
    "with a length": ("Content-Length: 5\r\n", b"hello", b"hello"),
    "in chunks": (
        "Transfer-Encoding: chunked\r\n", b"3;x=y\r\nhel\r\n2\r\nlo\r\n0\r\nT: 1\r\n\r\n",
        b"3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", BODIES)
def test_a_body(case: str, exchange: Exchange) -> None:
    fields, body, got = BODIES[case]
    _, service = exchange.ask(request(exchange.site, method="POST", fields=fields).encode() + body)
    assert service.exactly(len(got)) == got
    service.say(OK)
    assert exchange.client.head().startswith("HTTP/1.1 200")
    assert exchange.client.exactly(2) == b"ok"
    assert exchange.node.final(exchange.client)["cause"] == "completed"


def test_a_chunked_body_byte_by_byte(exchange: Exchange) -> None:
    fields, body, _ = BODIES["in chunks"]
    exchange.client.trickle(request(exchange.site, method="POST", fields=fields).encode() + body)
    _, service = exchange.ask(b"")
    while not service.ahead.endswith(b"0\r\n\r\n"):
        service.more()
    pieces = service.ahead.split(b"\r\n")
    assert b"".join(pieces[1::2]) == b"hello"
    assert all(int(size, 16) == len(piece) for size, piece in zip(pieces[:-3:2], pieces[1:-3:2], strict=True))
    service.say(OK)
    assert exchange.client.head().startswith("HTTP/1.1 200")


def test_100_continue_goes_through(exchange: Exchange) -> None:
    head, service = exchange.ask(
        request(exchange.site, method="PUT", fields="Content-Length: 3\r\nExpect: 100-continue\r\n")
    )
    assert "Expect: 100-continue\r\n" in head
    service.say("HTTP/1.1 100 Continue\r\n\r\n")
    assert exchange.client.head().startswith("HTTP/1.1 100 ")
    exchange.client.say(b"abc")
    assert service.exactly(3) == b"abc"
    service.say(OK)
    assert exchange.client.head().startswith("HTTP/1.1 200 ")


def test_an_early_answer_to_an_upload_reaches_the_client(exchange: Exchange) -> None:
    _, service = exchange.ask(request(exchange.site, method="PUT", fields="Content-Length: 100000000\r\n"))
    uploading = threading.Thread(target=_upload, args=(exchange.client,))
    uploading.start()
    service.exactly(100_000)
    service.say("HTTP/1.1 413 Too Large\r\nContent-Length: 4\r\n\r\nmuch")
    head = exchange.client.head()
    assert head.startswith("HTTP/1.1 413 ")
    assert "Connection: close\r\n" in head
    assert exchange.client.exactly(4) == b"much"
    service.close()
    exchange.client.close()
    uploading.join(10)
    assert not uploading.is_alive()
    assert exchange.node.final(exchange.client)["cause"] == "completed"


def _upload(client: Talk) -> None:
    try:
        for _ in range(1000):
            client.say(bytes(100_000))
    except OSError:
        return


@pytest.mark.parametrize("direction", ["up", "down"])
def test_a_big_body_is_whole_behind_a_slow_reader(direction: str, exchange: Exchange) -> None:
    data = bytes(range(256)) * 40_000
    fields = f"Content-Length: {len(data)}\r\n" if direction == "up" else ""
    _, service = exchange.ask(request(exchange.site, method="POST", fields=fields))
    sender, reader = (exchange.client, service) if direction == "up" else (service, exchange.client)

    def send() -> None:
        if direction == "down":
            sender.say(f"HTTP/1.1 200 OK\r\nContent-Length: {len(data)}\r\n\r\n")
        sender.say(data)

    sending = threading.Thread(target=send)
    sending.start()
    if direction == "down":
        reader.head()
    assert reader.exactly(len(data)) == data
    sending.join()
    if direction == "up":
        service.say(OK)
        exchange.client.head()
    close = exchange.node.final(exchange.client)
    assert close["bytes_out" if direction == "up" else "bytes_in"] >= len(data)


# ---- smuggling: nothing of it may reach a service

SMUGGLED: dict[str, tuple[str, bytes]] = {
    "a length with a sign": ("Content-Length: +1\r\n", b"a"),
    "a length in hexadecimal": ("Content-Length: 0x1\r\n", b"a"),
    "a length with an underscore": ("Content-Length: 1_0\r\n", b"a"),
    "an empty length": ("Content-Length: \r\n", b"a"),
    "two lengths": ("Content-Length: 1\r\nContent-Length: 1\r\n", b"a"),
    "a list of lengths": ("Content-Length: 1, 1\r\n", b"a"),
    "a length and a coding": ("Content-Length: 1\r\nTransfer-Encoding: chunked\r\n", b"0\r\n\r\n"),
    "a coding behind a comma": ("Transfer-Encoding: ,chunked\r\n", b"0\r\n\r\n"),
    "a coding behind a hard space": ("Transfer-Encoding: \xa0chunked\r\n", b"0\r\n\r\n"),
    "the coding identity": ("Transfer-Encoding: identity\r\n", b""),
    "two codings": ("Transfer-Encoding: gzip, chunked\r\n", b"0\r\n\r\n"),
    "a bare LF in the head": ("X: 1\nY: 2\r\n", b""),
    "a bare CR in the head": ("X: 1\rY: 2\r\n", b""),
    "a folded field": ("X: 1\r\n 2\r\n", b""),
    "a space before the colon": ("Content-Length : 1\r\n", b"a"),
    "a NUL": ("X: 1\0\r\n", b""),
    "another Host": ("Host: other.http.example\r\n", b""),
}


@pytest.mark.parametrize("case", SMUGGLED)
def test_is_refused_in_the_head(case: str, exchange: Exchange) -> None:
    fields, body = SMUGGLED[case]
    exchange.client.say(request(exchange.site, method="POST", fields=fields).encode("latin-1") + body)
    assert exchange.client.head().startswith("HTTP/1.1 400 ")
    assert exchange.node.final(exchange.client)["reason"] == "malformed-request"
    assert exchange.site.quiet()


@pytest.mark.parametrize("method", ["TRACE", "FOO", "get", "PRI"])
def test_a_method_that_is_not_to_be_passed_on_is_refused(method: str, exchange: Exchange) -> None:
    exchange.client.say(request(exchange.site, method=method))
    assert exchange.client.head().startswith("HTTP/1.1 403 Method not allowed (ref ")
    assert exchange.node.final(exchange.client)["reason"] == "method-not-allowed"
    assert exchange.site.quiet()


CHUNKS = {
    "an underscore in the size": b"0_2\r\nab\r\n",
    "a sign before the size": b"+1\r\na\r\n",
    "a prefix before the size": b"0x1\r\na\r\n",
    "an empty size": b"\r\na\r\n",
    "a bare LF behind the size": b"1\na\r\n",
    "more than the size": b"1\r\nab\r\n",
    "a bad trailer": b"0\r\n: x\r\n\r\n",
    "an end inside it": b"5\r\nab",
}


@pytest.mark.parametrize("case", CHUNKS)
def test_is_refused_in_a_chunked_body(case: str, exchange: Exchange) -> None:
    head = request(exchange.site, method="POST", fields="Transfer-Encoding: chunked\r\n").encode()
    exchange.client.say(head + b"1\r\nx\r\n" + CHUNKS[case]).half_close()
    head_there = exchange.site.accept()
    assert exchange.client.head().startswith("HTTP/1.1 400 ")
    close = exchange.node.final(exchange.client)
    assert (close["kind"], close["cause"], close["reason"]) == ("close", "refused", "malformed-request")
    with_rest = b""
    try:
        with_rest = head_there.rest()
    except ConnectionResetError:
        pass
    assert b"0\r\n\r\n" not in with_rest.partition(b"\r\n\r\n")[2], "the body must not look whole"


TARGETS = {
    "userinfo": ("http://1.1.1.1@n.http.example/", "malformed-request"),
    "a fragment": ("http://n.http.example/#x", "malformed-request"),
    "a backslash": ("http://n.http.example\\@b/", "malformed-request"),
    "another scheme": ("https://n.http.example/", "protocol-not-allowed"),
    "an address in disguise": ("http://127.1/", "name-invalid"),
    "an inner address": ("http://10.0.0.1/", "not-whitelisted"),
    "a tls service": ("http://n.tls.example:443/", "protocol-not-allowed"),
    "another port": ("http://n.http.example:81/", "port-not-allowed"),
}


@pytest.mark.parametrize("case", TARGETS)
def test_a_target_with(case: str, node: Node, worker: Worker, ground: Ground) -> None:
    target, reason = TARGETS[case]
    host = target.partition("://")[2].partition("/")[0]
    who = f"Proxy-Authorization: {authorization('acme')}\r\n"
    client = ground.dial(worker.port).say(f"GET {target} HTTP/1.1\r\nHost: {host}\r\n{who}\r\n")
    client.head()
    assert node.final(client)["reason"] == reason


GARBAGE = {
    "nothing at all": b"",
    "something else than HTTP": b"SSH-2.0-x\r\n\r\n",
    "half a head": b"HTTP/1.1 200 OK\r\nX: ",
    "two lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
    "a length and a coding": b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
    "a switch of protocols": b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n",
    "a demand for the gateway's credentials": b"HTTP/1.1 407 Give\r\nContent-Length: 0\r\n\r\n",
    "an endless head": b"HTTP/1.1 200 OK\r\nX: " + b"a" * 70_000,
}


@pytest.mark.parametrize("case", GARBAGE)
def test_a_service_that_answers(case: str, exchange: Exchange) -> None:
    _, service = exchange.ask()
    service.say(GARBAGE[case]).close()
    assert exchange.client.head().startswith("HTTP/1.1 502 ")
    close = exchange.node.final(exchange.client)
    assert (close["cause"], close["reason"], close["status"]) == ("refused", "dial-failed", 502)


@pytest.mark.parametrize("version", ["1.1", "1.0"])
@pytest.mark.parametrize("case", ["a length", "chunks", "a reset"])
def test_an_answer_cut_off_inside_its_body_never_looks_whole(case: str, version: str, exchange: Exchange) -> None:
    _, service = exchange.ask(request(exchange.site, version=version))
    head = {"a length": "Content-Length: 10\r\n", "chunks": "Transfer-Encoding: chunked\r\n", "a reset": ""}[case]
    service.say(f"HTTP/1.1 200 OK\r\n{head}\r\n" + ("3\r\nabc\r\n" if case == "chunks" else "abc"))
    exchange.client.head()
    exchange.client.exactly(3)
    service.reset() if case == "a reset" else service.close()
    assert exchange.client.was_reset()
    assert exchange.node.final(exchange.client)["cause"] == "reset"


# ---- several requests


def test_requests_on_one_connection_are_decided_and_recorded_one_by_one(exchange: Exchange) -> None:
    for number in range(1, 6):
        head, service = exchange.ask(request(exchange.site, f"/{number}"), fresh=number == 1)
        assert head.startswith(f"GET /{number} ")
        service.say(OK)
        exchange.client.head()
        assert exchange.client.exactly(2) == b"ok"
        exchange.node.final(exchange.client, number)
    assert exchange.site.quiet()
    assert len({r["flow"] for r in exchange.node.of(exchange.client)}) == 5


def test_pipelined_requests_are_answered_in_order(exchange: Exchange) -> None:
    said = "".join(request(exchange.site, f"/{n}") for n in range(5))
    _, service = exchange.ask(said)
    for number in range(5):
        if number:
            assert service.head().startswith(f"GET /{number} ")
        service.say(f"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n{number}")
        exchange.client.head()
        assert exchange.client.exactly(1) == str(number).encode()


def test_another_target_gets_another_connection(exchange: Exchange, ground: Ground) -> None:
    _, service = exchange.ask()
    service.say(OK)
    exchange.client.head()
    exchange.client.exactly(2)
    other = ground.site("http")
    exchange.client.say(request(other))
    assert other.accept().say(OK).head().startswith("GET ")
    assert service.rest() == b"", "the first connection is closed"
    exchange.client.head()


def test_another_firm_on_the_same_connection_gets_another_connection(own: Node, ground: Ground) -> None:
    node, worker = own, own.workers["w0.1"]
    birch = node.policy["tenants:birch"]
    node.put(tenants=replace(birch, places=node.policy["tenants:acme"].places))  # both in one place
    exchange = Exchange(node, worker, ground)
    _, service = exchange.ask()
    service.say(OK)
    exchange.client.head()
    exchange.client.exactly(2)
    _, other = exchange.ask(request(exchange.site, firm="birch"))
    assert service.rest() == b""
    other.say(OK)
    exchange.client.head()
    assert [r["tenant"] for r in node.of(exchange.client) if r["kind"] == "open"] == ["acme", "birch"]


def test_another_line_gets_another_connection(own: Node, ground: Ground) -> None:
    node = own
    exchange = Exchange(node, node.workers["w0.1"], ground)
    _, service = exchange.ask()
    service.say(OK)
    exchange.client.head()
    exchange.client.exactly(2)
    node.hub.say(kind="line", line="hk1", state="draining")
    _, other = exchange.ask()
    assert service.rest() == b""
    assert other.sock.getpeername()[0] != service.sock.getsockname()[0]
    other.say(OK)
    exchange.client.head()
    assert [r["line"] for r in node.of(exchange.client) if r["kind"] == "open"] == ["hk1", "sg1"]


UNASKED = {
    "in one piece with the answer": True,
    "a moment later": False,
}


@pytest.mark.parametrize("case", UNASKED)
def test_bytes_behind_an_answer_are_no_answer_to_the_next_request(case: str, exchange: Exchange) -> None:
    smuggled = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"
    _, service = exchange.ask()
    service.say(OK + smuggled if UNASKED[case] else OK)
    exchange.client.head()
    exchange.client.exactly(2)
    exchange.node.final(exchange.client)
    if not UNASKED[case]:
        service.say(smuggled)
    _, again = exchange.ask()
    again.say(OK)
    exchange.client.head()
    assert exchange.client.exactly(2) == b"ok"
    assert not exchange.client.ahead


def test_a_service_that_closes_while_idle_is_dialled_anew(exchange: Exchange) -> None:
    for _ in range(20):
        _, service = exchange.ask()
        service.say(OK)
        exchange.client.head()
        assert exchange.client.exactly(2) == b"ok"
        service.close()


def test_a_second_request_is_refused_and_then_nothing_more_is_read(exchange: Exchange) -> None:
    _, service = exchange.ask()
    service.say(OK)
    exchange.client.head()
    exchange.client.exactly(2)
    exchange.client.say(request("off.list.example") + request(exchange.site))
    assert exchange.client.head().startswith("HTTP/1.1 403 ")
    assert b"HTTP/1.1" not in exchange.client.rest()
    assert exchange.node.final(exchange.client, 2)["reason"] == "not-whitelisted"
    assert service.rest() == b""


def test_connect_behind_a_plain_request_is_refused(exchange: Exchange) -> None:
    _, service = exchange.ask()
    service.say(OK)
    exchange.client.head()
    exchange.client.exactly(2)
    exchange.client.say(f"CONNECT {exchange.site.host}:443 HTTP/1.1\r\nHost: {exchange.site.host}:443\r\n\r\n")
    assert exchange.client.head().startswith("HTTP/1.1 400 ")
    assert exchange.node.final(exchange.client, 2)["reason"] == "malformed-request"


def test_a_client_that_leaves_while_it_waits_leaves_a_closing_record(exchange: Exchange) -> None:
    _, service = exchange.ask()
    exchange.client.reset()
    assert service.was_reset()
    assert exchange.node.final(exchange.client)["cause"] == "reset"


def test_a_credential_revoked_between_two_requests_counts_at_once(own: Node, ground: Ground) -> None:
    node = own
    exchange = Exchange(node, node.workers["w0.1"], ground)
    _, service = exchange.ask()
    service.say(OK)
    exchange.client.head()
    exchange.client.exactly(2)
    node.put(credentials=replace(node.policy["credentials:c-acme000000"], revoked=1))
    exchange.client.say(request(exchange.site))
    assert exchange.client.head().startswith("HTTP/1.1 407 ")
    assert node.final(exchange.client, 2)["reason"] == "identity-revoked"


# ---- time


def test_a_service_that_does_not_answer_in_time(hasty: Node, ground: Ground) -> None:
    waiting = Exchange(hasty, hasty.workers["w0.1"], ground)
    waiting.ask()
    assert waiting.client.head().startswith("HTTP/1.1 502 ")
    assert hasty.final(waiting.client)["reason"] == "dial-failed"


def test_a_body_that_does_not_come_in_time(hasty: Node, ground: Ground) -> None:
    waiting = Exchange(hasty, hasty.workers["w0.1"], ground)
    waiting.ask(request(waiting.site, method="POST", fields="Content-Length: 9\r\n"))
    assert waiting.client.head().startswith("HTTP/1.1 408 ")
    assert hasty.final(waiting.client)["reason"] == "handshake-timeout"


def test_an_answer_that_stops_in_the_middle(hasty: Node, ground: Ground) -> None:
    waiting = Exchange(hasty, hasty.workers["w0.1"], ground)
    _, service = waiting.ask()
    service.say("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc")
    waiting.client.head()
    assert waiting.client.was_reset()
    assert hasty.final(waiting.client)["cause"] == "idle"


def test_an_answer_that_drips_on_ends_with_the_total_time(hasty: Node, ground: Ground) -> None:
    waiting = Exchange(hasty, hasty.workers["w0.1"], ground)
    _, service = waiting.ask()
    service.say("HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n")
    for _ in range(80):
        try:
            service.say(b"x")
        except OSError:
            break
        threading.Event().wait(0.1)
    assert hasty.final(waiting.client)["cause"] == "total-time"


def test_a_request_ends_at_the_second_its_grant_ends(own: Node, ground: Ground) -> None:
    import time

    node = own
    exchange = Exchange(node, node.workers["w0.1"], ground)
    until(lambda: time.time() % 1 < 0.2, "the start of a second")
    end = int(time.time()) + 2
    here = node.policy["grants:g-acme-http"].window
    node.put(grants=grant("acme", "http", window=replace(here, valid_until=end)))
    _, service = exchange.ask()
    service.say("HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\nabc")
    exchange.client.head()
    assert exchange.client.was_reset()
    close = node.final(exchange.client)
    assert close["cause"] == "expired"
    assert 0 <= close["time"] / 1e6 - end < 0.5

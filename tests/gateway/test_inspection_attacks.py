"""Requests inside an inspected tunnel that two readers would understand differently: none reaches the service."""

import contextlib
import ssl
from collections.abc import Iterator
from typing import Any

import h2.config
import h2.connection
import h2.events
import pytest

from tests.gateway.inspection_kit import InspectedNode
from tests.gateway.kit import PATIENCE, Ground, until

pytestmark = pytest.mark.root


@pytest.fixture(scope="module")
def shared(session_ground: Ground, tmp_path_factory: pytest.TempPathFactory) -> Iterator[InspectedNode]:
    with InspectedNode(session_ground, tmp_path_factory.mktemp("inspected")) as found:
        found.worker()
        found.start_inspector()
        found.inspect()
        yield found


@pytest.fixture
def node(ground: Ground, shared: InspectedNode) -> Iterator[InspectedNode]:
    yield shared
    shared.close_origins()
    ground.tidy()
    assert "Error" not in shared.said.read_text(), shared.said.read_text()


@contextlib.contextmanager
def inside(node: InspectedNode, host: str, protocol: str) -> Iterator[ssl.SSLSocket]:
    """A TLS connection to the inspector of a tunnel to the host."""
    context = ssl.create_default_context(cafile=str(node.trusted))
    context.set_alpn_protocols([protocol])
    talk = node.tunnel(node.workers["w0.1"], f"{host}:443")
    with context.wrap_socket(talk.sock, server_hostname=host) as tls:
        assert tls.selected_alpn_protocol() == protocol
        yield tls


def told(tls: ssl.SSLSocket) -> bytes:
    """All that comes until the end."""
    answer = b""
    with contextlib.suppress(OSError):
        while data := tls.recv(65_536):
            answer += data
    return answer


RAW: dict[str, tuple[str, int]] = {
    "a length with a sign": ("POST /in/a HTTP/1.1\r\nHost: {host}\r\nContent-Length: +1\r\n\r\nx", 400),
    "a hexadecimal length": ("POST /in/a HTTP/1.1\r\nHost: {host}\r\nContent-Length: 0x1\r\n\r\nx", 400),
    "two lengths": ("POST /in/a HTTP/1.1\r\nHost: {host}\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nx", 400),
    "a length and chunks": (
        "POST /in/a HTTP/1.1\r\nHost: {host}\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400,
    ),
    "chunks by another name": (
        "POST /in/a HTTP/1.1\r\nHost: {host}\r\nTransfer-Encoding: ,chunked\r\n\r\n0\r\n\r\n", 400,
    ),
    "chunks in HTTP/1.0": ("POST /in/a HTTP/1.0\r\nHost: {host}\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    "a bare line feed": ("GET /open/a HTTP/1.1\nHost: {host}\r\n\r\n", 400),
    "a bare carriage return": ("GET /open/a HTTP/1.1\r\nHost: {host}\r\nX: a\rb\r\n\r\n", 400),
    "a folded field": ("GET /open/a HTTP/1.1\r\nHost: {host}\r\nX: a\r\n b\r\n\r\n", 400),
    "a space before the colon": ("GET /open/a HTTP/1.1\r\nHost : {host}\r\n\r\n", 400),
    "a NUL in a value": ("GET /open/a HTTP/1.1\r\nHost: {host}\r\nX: a\0b\r\n\r\n", 400),
    "an empty field name": ("GET /open/a HTTP/1.1\r\nHost: {host}\r\n: a\r\n\r\n", 400),
    "two hosts": ("GET /open/a HTTP/1.1\r\nHost: {host}\r\nHost: other.example\r\n\r\n", 400),
    "no host": ("GET /open/a HTTP/1.1\r\n\r\n", 400),
    "another host in the target": ("GET https://other.example/open/a HTTP/1.1\r\nHost: {host}\r\n\r\n", 400),
    "the same host in the target": ("GET https://{host}/open/a HTTP/1.1\r\nHost: {host}\r\n\r\n", 400),
    "CONNECT once more": ("CONNECT other.example:443 HTTP/1.1\r\nHost: other.example:443\r\n\r\n", 403),
    "an asterisk": ("OPTIONS * HTTP/1.1\r\nHost: {host}\r\n\r\n", 400),
    "a fragment in the target": ("GET /open/a#b HTTP/1.1\r\nHost: {host}\r\n\r\n", 400),
    "h2c": ("GET /open/a HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n\r\n", 403),
    "a WebSocket where none is allowed": (
        "GET /open/a HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n", 403,
    ),
    "HTTP/2 by prior knowledge": ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
    "endless fields": ("GET /open/a HTTP/1.1\r\nHost: {host}\r\n" + "X: y\r\n" * 20_000, 431),
    "an endless field": ("GET /open/a HTTP/1.1\r\nHost: {host}\r\nX: " + "y" * 100_000, 431),
}  # fmt: skip


@pytest.mark.parametrize("case", RAW)
def test_what_has_two_readings_in_http1_is_refused(node: InspectedNode, case: str) -> None:
    raw, status = RAW[case]
    site, origin = node.service()
    with inside(node, site.host, "http/1.1") as tls:
        with contextlib.suppress(OSError):
            tls.sendall(raw.replace("{host}", site.host).encode() + b"GET /open/smuggled HTTP/1.1\r\nHost: x\r\n\r\n")
        answer = told(tls)
    assert answer.startswith(b"HTTP/1.1 %d " % status), answer[:300]
    assert answer.count(b"Proxy-Status") == 1 or status == 403
    assert not origin.asked
    denied = until(
        lambda: [r for r in node.records() if r.get("host") == site.host and r["kind"] == "deny"], "the record"
    )
    assert denied[0]["reason"] in ("malformed-request", "method-not-allowed", "protocol-not-allowed")


BROKEN_CHUNKS = ["0_2", "+1", "0x1", "", "1;\n", "-1", "fffffffffffffffff"]


@pytest.mark.parametrize("size", BROKEN_CHUNKS)
def test_a_broken_chunk_ends_the_request(node: InspectedNode, size: str) -> None:
    site, origin = node.service()
    head = f"POST /in/a HTTP/1.1\r\nHost: {site.host}\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n"
    with inside(node, site.host, "http/1.1") as tls:
        tls.sendall(f"{head}{size}\r\nGET /open/smuggled HTTP/1.1\r\n\r\n".encode())
        answer = told(tls)
    assert b" 200 " not in answer
    assert not origin.asked


Fields = list[tuple[str, str]]
H2: dict[str, tuple[Fields, str]] = {
    "another authority": ([(":authority", "other.tls.example")], "421"),
    "another host beside the authority": ([("host", "other.tls.example")], "reset or 421"),
    "the authority with another port": ([(":authority", "{host}:8443")], "421"),
    "a line break in a value": ([("x-a", "b\r\nHost: other.example")], "reset"),
    "a space in the path": ([(":path", "/open/a HTTP/1.1\r\nX: y")], "reset or 403"),
    "a space alone in the path": ([(":path", "/open/a b")], "reset or 403"),
    "a transfer coding": ([("transfer-encoding", "chunked")], "reset"),
    "http for a scheme": ([(":scheme", "http")], "reset or 400"),
    "an unknown pseudo field": ([(":protocol", "websocket")], "reset"),
    "a field name in capitals": ([("X-Upper", "y")], "reset"),
    "a length that is not the body's": ([("content-length", "5")], "reset or 400"),
}


@pytest.mark.parametrize("case", H2)
def test_what_has_two_readings_in_http2_is_refused(node: InspectedNode, case: str) -> None:
    changed, wanted = H2[case]
    site, origin = node.service()
    fields = {":method": "GET", ":authority": site.host, ":scheme": "https", ":path": "/open/a"}
    for name, value in changed:
        fields[name] = value.replace("{host}", site.host)
    with inside(node, site.host, "h2") as tls:
        found = ask(tls, list(fields.items()))
    assert found in wanted, found
    assert found not in ("200", "")
    assert not origin.asked


def test_requests_of_one_connection_are_each_held_to_their_host(node: InspectedNode) -> None:
    site, origin = node.service()
    with inside(node, site.host, "h2") as tls:
        base = [(":method", "GET"), (":scheme", "https"), (":path", "/open/a")]
        conn = connection(tls)
        assert ask(tls, [(":authority", site.host), *base], conn) == "200"
        assert ask(tls, [(":authority", "coalesced.tls.example"), *base], conn) == "421"
        assert ask(tls, [(":authority", site.host), *base], conn) == "200"
    assert len(origin.asked) == 2


def connection(tls: ssl.SSLSocket) -> h2.connection.H2Connection:
    """A client of HTTP/2 that says whatever it is told to."""
    config = h2.config.H2Configuration(
        header_encoding="utf-8", validate_outbound_headers=False, normalize_outbound_headers=False
    )
    conn = h2.connection.H2Connection(config)
    conn.initiate_connection()
    tls.sendall(conn.data_to_send())
    return conn


def ask(tls: ssl.SSLSocket, fields: Fields, conn: Any = None) -> str:
    """The status of the answer, or "reset"."""
    conn = conn or connection(tls)
    stream = conn.get_next_available_stream_id()
    conn.send_headers(stream, fields, end_stream=True)
    tls.sendall(conn.data_to_send())
    tls.settimeout(PATIENCE)
    status = ""
    with contextlib.suppress(ConnectionError, ssl.SSLError):
        while data := tls.recv(65_536):
            for event in conn.receive_data(data):
                match event:
                    case h2.events.ResponseReceived():
                        status = dict(event.headers)[":status"]
                    case h2.events.StreamEnded() if event.stream_id == stream:
                        return status
                    case h2.events.StreamReset() | h2.events.ConnectionTerminated():
                        return "reset"
            tls.sendall(conn.data_to_send())
    return "reset"


def test_a_bomb_is_not_opened(node: InspectedNode) -> None:
    """What is compressed passes as it is: nobody here opens it."""
    import gzip

    site, origin = node.service()
    bomb = gzip.compress(b"\0" * 20_000_000)
    with inside(node, site.host, "http/1.1") as tls:
        head = f"POST /in/a HTTP/1.1\r\nHost: {site.host}\r\nContent-Type: text/plain\r\nContent-Encoding: gzip\r\n"
        tls.sendall(f"{head}Content-Length: {len(bomb)}\r\nConnection: close\r\n\r\n".encode() + bomb)
        answer = told(tls)
    assert answer.startswith(b"HTTP/1.1 200 "), answer[:200]
    assert origin.asked[0].body == len(bomb)


WEBSOCKET = (
    "GET /socket HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{more}\r\n"
)


def test_a_websocket_that_a_rule_allows_carries_bytes_both_ways(node: InspectedNode) -> None:
    site, origin = node.service()
    with inside(node, site.host, "http/1.1") as tls:
        tls.sendall(WEBSOCKET.format(host=site.host, more="").encode())
        answer = tls.recv(65_536)
        assert answer.startswith(b"HTTP/1.1 101 "), answer
        tls.sendall(b"\x81\x85\0\0\0\0hello")
        assert tls.recv(100) == b"\x81\x85\0\0\0\0hello"
    assert len(origin.asked) == 1
    done = until(
        lambda: [r for r in node.records() if r.get("host") == site.host and r["kind"] == "response"], "the record"
    )
    assert (done[0]["status"], done[0]["bytes_out"], done[0]["bytes_in"]) == (101, 11, 11)


def test_a_change_of_protocol_that_was_not_asked_for_is_refused(node: InspectedNode) -> None:
    site, _ = node.service()
    with inside(node, site.host, "http/1.1") as tls:
        tls.sendall(WEBSOCKET.format(host=site.host, more="X-Wrong: yes\r\n").encode())
        answer = tls.recv(65_536)
    assert answer.startswith(b"HTTP/1.1 403 Protocol not allowed"), answer


def test_grpc_that_a_rule_allows_has_its_trailers(node: InspectedNode) -> None:
    site, origin = node.service()
    call = [(":method", "POST"), (":authority", site.host), (":scheme", "https"), (":path", "/calls.Service/Say"),
            ("content-type", "application/grpc"), ("te", "trailers")]  # fmt: skip
    with inside(node, site.host, "h2") as tls:
        conn = connection(tls)
        conn.send_headers(1, call)
        conn.send_data(1, b"\0\0\0\0\0", end_stream=True)
        tls.sendall(conn.data_to_send())
        seen: list[h2.events.Event] = []
        while not any(isinstance(event, h2.events.StreamEnded) for event in seen):
            seen += conn.receive_data(tls.recv(65_536))
    trailers = next(event for event in seen if isinstance(event, h2.events.TrailersReceived))
    assert dict(trailers.headers) == {"grpc-status": "0"}
    assert (origin.asked[0].fields["te"], origin.asked[0].body) == ("trailers", 5)

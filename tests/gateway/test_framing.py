"""Bodies and forwarded heads: where a body ends, its canonical form, and which fields go on."""
# ruff: noqa: E501 (tables have one case per line)

import itertools
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.handshake import HandshakeError
from gateway.handshake.forward import request_head, response_head
from gateway.handshake.framing import MAX_CHUNK_LINE, MAX_TRAILERS, BodyFramer, Framing, request_framing
from gateway.handshake.http1 import RequestHead, parse_head
from gateway.handshake.response import ResponseHead, bad_response, parse_response_head, response_framing
from whitelist.reason import Reason
from whitelist.target import TargetError

CHUNKED, CLOSE, NONE = Framing("chunked"), Framing("close"), Framing("none")


def unchunk(data: bytes) -> bytes:
    """The body in what the gateway itself wrote; asserts that it is in the canonical form."""
    body = b""
    while True:
        line, _, data = data.partition(b"\r\n")
        size = int(line, 16)
        assert line == b"%x" % size
        body, data = body + data[:size], data[size:]
        assert data.startswith(b"\r\n")
        data = data[2:]
        if not size:
            assert data == b""
            return body


def run(framing: Framing, pieces: list[bytes], **options: Any) -> Any:
    """(body passed on, what follows it) or the words of the error; None for an incomplete body."""
    framer, out, rest = BodyFramer(framing, **options), b"", b""
    try:
        for piece in pieces:
            fed = framer.feed(piece)
            out, rest = out + fed.forward, rest + fed.rest
            assert fed.done == framer.done
    except HandshakeError as error:
        return error.detail
    if not framer.done:
        return None
    return (unchunk(out) if framing.kind == "chunked" and options.get("chunk_out", True) else out), rest


GOOD = {
    "no body": (NONE, b"next", b"", b"next"),
    "a length of 0": (Framing("length", 0), b"next", b"", b"next"),
    "a length of 5": (Framing("length", 5), b"helloGET /", b"hello", b"GET /"),
    "two chunks": (CHUNKED, b"5\r\nhello\r\n6\r\n world\r\n0\r\n\r\nGET /", b"hello world", b"GET /"),
    "no chunk": (CHUNKED, b"0\r\n\r\n", b"", b""),
    "upper case and leading zeros": (CHUNKED, b"00A\r\n0123456789\r\n000\r\n\r\n", b"0123456789", b""),
    "chunk data that looks like a chunk": (CHUNKED, b"8\r\n0\r\n\r\n0\r\n\r\n0\r\n\r\n", b"0\r\n\r\n0\r\n", b""),
    "chunk extensions are dropped": (CHUNKED, b'1;a=b\r\nx\r\n1 ;c="d;e"\r\ny\r\n0;z\r\n\r\n', b"xy", b""),
    "trailers are dropped": (CHUNKED, b"1\r\nx\r\n0\r\nContent-Length: 9\r\nX: y\r\n\r\nrest", b"x", b"rest"),
}

NOT_HEX = "a chunk size that is not a plain hexadecimal number"
LONGER = "a chunk longer than its size"
BARE_LF = "a bare LF in the chunked coding"
BAD = {
    "a chunk size of 0_2": (b"0_2\r\nhi\r\n0\r\n\r\n", NOT_HEX),
    "a chunk size of +1": (b"+1\r\nh\r\n0\r\n\r\n", NOT_HEX),
    "a chunk size of -1": (b"-1\r\nh\r\n0\r\n\r\n", NOT_HEX),
    "a chunk size of 0x1": (b"0x1\r\nh\r\n0\r\n\r\n", NOT_HEX),
    "an empty chunk size": (b"\r\nh\r\n0\r\n\r\n", NOT_HEX),
    "an extension without a size": (b";a\r\nh\r\n0\r\n\r\n", NOT_HEX),
    "a space before the size": (b" 1\r\nh\r\n0\r\n\r\n", NOT_HEX),
    "a space behind the size": (b"1 \r\nh\r\n0\r\n\r\n", NOT_HEX),
    "a size of 17 digits": (b"0" * 16 + b"1\r\nh\r\n0\r\n\r\n", NOT_HEX),
    "a size that wraps at 64 bits": (b"10000000000000001\r\nh\r\n0\r\n\r\n", NOT_HEX),
    "a CR in an extension": (b"1;a\rb\r\nh\r\n0\r\n\r\n", NOT_HEX),
    "a NUL in an extension": (b"1;a\0b\r\nh\r\n0\r\n\r\n", NOT_HEX),
    "a full-width digit": ("１\r\nh\r\n0\r\n\r\n".encode(), NOT_HEX),
    "a bare LF behind the size": (b"1\nh\r\n0\r\n\r\n", BARE_LF),
    "a bare LF inside an extension": (b"1;a\nb\r\nh\r\n0\r\n\r\n", BARE_LF),
    "a bare LF behind the data": (b"1\r\nh\n0\r\n\r\n", LONGER),
    "no line end behind the data": (b"1\r\nhh\r\n0\r\n\r\n", LONGER),
    "a CR alone behind the data": (b"1\r\nh\r0\r\n\r\n", LONGER),
    "a bare LF at the end": (b"0\r\n\n", BARE_LF),
    "a bare LF in a trailer": (b"0\r\nX: y\n\r\n", BARE_LF),
    "a trailer with a space before the colon": (b"0\r\nX : y\r\n\r\n", "an invalid trailer"),
    "a folded trailer": (b"0\r\nX: y\r\n z\r\n\r\n", "an invalid trailer"),
    "an endless size line": (b"1;" + b"a" * MAX_CHUNK_LINE, "a chunk size line that is too long"),
    "endless trailers": (b"0\r\n" + b"X: y\r\n" * MAX_TRAILERS, "trailers that are too long"),
    "an endless trailer": (b"0\r\nX: " + b"y" * MAX_TRAILERS, "trailers that are too long"),
}


@pytest.mark.parametrize("case", GOOD)
def test_finds_the_end(case: str) -> None:
    framing, data, body, rest = GOOD[case]
    assert run(framing, [data]) == (body, rest)
    assert run(framing, [data[i : i + 1] for i in range(len(data))]) == (body, rest)


@pytest.mark.parametrize("case", BAD)
def test_refuses_broken_chunks(case: str) -> None:
    data, detail = BAD[case]
    assert run(CHUNKED, [data]) == detail
    assert run(CHUNKED, [data[i : i + 1] for i in range(len(data))]) == detail


@settings(max_examples=200, deadline=None)
@given(st.sampled_from([*GOOD, *BAD]), st.lists(st.integers(0, 400), max_size=6))
def test_any_split_finds_the_same_end(case: str, cuts: list[int]) -> None:
    framing, data = GOOD[case][:2] if case in GOOD else (CHUNKED, BAD[case][0])
    edges = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    assert run(framing, [data[a:b] for a, b in itertools.pairwise(edges)]) == run(framing, [data])


@settings(max_examples=100, deadline=None)
@given(st.lists(st.binary(min_size=1, max_size=40), max_size=8), st.integers(1, 50))
def test_any_body_in_chunks_arrives_whole(chunks: list[bytes], size: int) -> None:
    wire = b"".join(b"%X\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\n\r\n"
    pieces = [wire[i : i + size] for i in range(0, len(wire), size)]
    assert run(CHUNKED, pieces) == (b"".join(chunks), b"")
    assert run(CHUNKED, pieces, chunk_out=False) == (b"".join(chunks), b"")


def test_a_close_delimited_body_gets_an_end_of_its_own() -> None:
    framer = BodyFramer(CLOSE)
    out = framer.feed(b"hello").forward + framer.feed(b"").forward + framer.feed(b" world").forward
    assert not framer.done
    assert unchunk(out + framer.finish()) == b"hello world"
    assert framer.done
    assert framer.finish() == b""


def test_a_close_delimited_body_for_an_old_client_is_bare() -> None:
    framer = BodyFramer(CLOSE, chunk_out=False)
    assert framer.feed(b"hello").forward + framer.finish() == b"hello"


@pytest.mark.parametrize(("framing", "data"), [(Framing("length", 5), b"hell"), (CHUNKED, b"5\r\nhello\r\n")])
def test_a_body_cut_short_is_an_error(framing: Framing, data: bytes) -> None:
    framer = BodyFramer(framing, error=bad_response)
    framer.feed(data)
    with pytest.raises(HandshakeError) as caught:
        framer.finish()
    assert (caught.value.reason, caught.value.status) == (Reason.DIAL_FAILED, 502)


def request(fields: bytes, line: bytes = b"GET http://a.example/p?q HTTP/1.1") -> RequestHead:
    head = parse_head(line + b"\r\nHost: other.example\r\n" + fields + b"\r\n")
    assert head is not None
    return head


REQUESTS = {
    "the plain case: Host is the target's": (b"Accept: */*\r\n", b"Accept: */*\r\n"),
    "hop-by-hop fields": (b"Keep-Alive: 5\r\nTE: trailers\r\nTrailer: X\r\nUpgrade: h2c\r\nHTTP2-Settings: AAA\r\nProxy-Connection: close\r\n", b""),
    "credentials for the proxy": (b"Proxy-Authorization: Basic Yzp0\r\nProxy-Foo: 1\r\nProxy: http://evil\r\n", b""),
    "fields named by Connection": (b"Connection: X-Hop, keep-alive\r\nX-Hop: 1\r\nX-Kept: 2\r\n", b"X-Kept: 2\r\n"),
    "fields named by Proxy-Connection": (b"Proxy-Connection: x_hop\r\nX-Hop: 1\r\n", b""),
    "Connection: Host does not strip Host": (b"Connection: Host\r\n", b""),
    "claims about the origin": (b"X-Forwarded-For: 1.2.3.4\r\nx_forwarded_host: h\r\nX-Forwarded-Proto: https\r\nForwarded: for=1.2.3.4\r\nX-Real-IP: 1.2.3.4\r\nVia: 1.1 x\r\n", b""),
    "framing with underscores": (b"Content_Length: 5\r\nTransfer_Encoding: chunked\r\n", b""),
    "case and order of the rest": (b"X-B: 1\r\nx-a:  2 \r\nX-B: 3\r\n", b"X-B: 1\r\nx-a: 2\r\nX-B: 3\r\n"),
}  # fmt: skip


@pytest.mark.parametrize("case", REQUESTS)
def test_requests_go_on_in_origin_form(case: str) -> None:
    fields, kept = REQUESTS[case]
    sent = request_head(request(fields), "a.example")
    assert sent == b"GET /p?q HTTP/1.1\r\nHost: a.example\r\n" + kept + b"Via: 1.1 feiyu\r\n\r\n"


@pytest.mark.parametrize(
    ("fields", "framing", "written"),
    [
        (b"Content-Length: 007\r\n", Framing("length", 7), b"Content-Length: 7\r\n"),
        (b"Content-Length: 0\r\n", NONE, b"Content-Length: 0\r\n"),
        (b"Connection: Content-Length\r\nContent-Length: 3\r\n", Framing("length", 3), b"Content-Length: 3\r\n"),
        (b"Transfer-Encoding: CHUNKED\r\n", CHUNKED, b"Transfer-Encoding: chunked\r\n"),
        (
            b"Connection: Transfer-Encoding\r\nTransfer-Encoding: chunked\r\n",
            CHUNKED,
            b"Transfer-Encoding: chunked\r\n",
        ),
        (b"Expect: 100-continue\r\nContent-Length: 3\r\n", Framing("length", 3), b"Content-Length: 3\r\n"),
    ],
)
def test_a_request_body_is_framed_anew(fields: bytes, framing: Framing, written: bytes) -> None:
    head = request(fields, b"POST http://a.example HTTP/1.1")
    assert request_framing(head) == framing
    sent = request_head(head, "a.example:8080", close=True)
    expect = b"Expect: 100-continue\r\n" if b"Expect" in fields else b""
    assert sent == (
        b"POST / HTTP/1.1\r\nHost: a.example:8080\r\n%bVia: 1.1 feiyu\r\n%bConnection: close\r\n\r\n"
        % (expect, written)
    )


def test_options_without_a_path_becomes_the_asterisk_form() -> None:
    assert request_head(request(b"", b"OPTIONS http://a.example HTTP/1.1"), "a.example").startswith(
        b"OPTIONS * HTTP/1.1\r\n"
    )


def test_an_old_clients_expectation_is_dropped() -> None:
    sent = request_head(request(b"Expect: 100-continue\r\n", b"GET http://a.example/ HTTP/1.0"), "a.example")
    assert b"Expect" not in sent
    assert b"Via: 1.0 feiyu\r\n" in sent


def response(data: bytes) -> ResponseHead:
    head = parse_response_head(data)
    assert head is not None
    assert head.consumed == len(data)
    return head


RESPONSES: dict[str, tuple[bytes, str, Framing, bytes]] = {
    "a length": (b"200 OK\r\nContent-Length: 05\r\n", "GET", Framing("length", 5), b"Content-Length: 5\r\nConnection: keep-alive\r\n"),
    "chunks": (b"200 OK\r\nTransfer-Encoding: chunked\r\n", "GET", CHUNKED, b"Transfer-Encoding: chunked\r\nConnection: keep-alive\r\n"),
    "neither": (b"200 OK\r\n", "GET", CLOSE, b"Transfer-Encoding: chunked\r\nConnection: keep-alive\r\n"),
    "HEAD": (b"200 OK\r\nContent-Length: 5\r\n", "HEAD", NONE, b"Content-Length: 5\r\nConnection: keep-alive\r\n"),
    "HEAD with chunks": (b"200 OK\r\nTransfer-Encoding: chunked\r\n", "HEAD", NONE, b"Connection: keep-alive\r\n"),
    "204 with a length": (b"204 No Content\r\nContent-Length: 5\r\n", "GET", NONE, b"Connection: keep-alive\r\n"),
    "304 with a length": (b"304 Not Modified\r\nContent-Length: 5\r\n", "GET", NONE, b"Content-Length: 5\r\nConnection: keep-alive\r\n"),
    "100": (b"100 Continue\r\n", "POST", NONE, b""),
    "103 with a length": (b"103 Early Hints\r\nContent-Length: 5\r\n", "GET", NONE, b""),
}  # fmt: skip


@pytest.mark.parametrize("case", RESPONSES)
def test_responses_are_framed_anew(case: str) -> None:
    data, method, framing, written = RESPONSES[case]
    head = response(b"HTTP/1.1 " + data + b"\r\n")
    assert response_framing(head, method) == framing
    sent = response_head(head, framing, client_version="1.1", keep_alive=True)
    assert sent == b"HTTP/1.1 " + data.partition(b"\r\n")[0] + b"\r\nVia: 1.1 feiyu\r\n" + written + b"\r\n"


def test_an_old_client_gets_bare_octets_and_the_end_of_the_connection() -> None:
    head = response(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    sent = response_head(head, CHUNKED, client_version="1.0", keep_alive=True)
    assert sent == b"HTTP/1.1 200 OK\r\nVia: 1.1 feiyu\r\nConnection: close\r\n\r\n"


def test_a_service_cannot_speak_for_the_gateway() -> None:
    forged = b"Proxy-Status: gw1; error=x\r\nProxy-Authenticate: Basic\r\nConnection: x-hop\r\nX-Hop: 1\r\nKeep-Alive: 5\r\nUpgrade: h2c\r\n"
    head = response(b"HTTP/1.1 200 OK\r\n" + forged + b"Set-Cookie: a\r\nVia: 1.1 cdn\r\nContent-Length: 0\r\n\r\n")
    sent = response_head(head, response_framing(head, "GET"), client_version="1.1", keep_alive=False)
    assert sent == (
        b"HTTP/1.1 200 OK\r\nSet-Cookie: a\r\nVia: 1.1 cdn\r\nVia: 1.1 feiyu\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    )


def test_a_missing_phrase_is_taken() -> None:
    assert response(b"HTTP/1.0 200\r\n\r\n").phrase == b""


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"HTTP/1.1 200 OK\r\n\r\n", True),
        (b"HTTP/1.1 200 OK\r\nConnection: Close\r\n\r\n", False),
        (b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\n\r\n", False),
    ],
)
def test_whether_the_service_keeps_the_connection(data: bytes, expected: bool) -> None:
    assert response(data).keep_alive is expected


BAD_RESPONSES = {
    "SSH": b"SSH-2.0-OpenSSH\r\n",
    "HTTP/0.9": b"<html>",
    "HTTP/2": b"HTTP/2 200\r\n\r\n",
    "a status of two digits": b"HTTP/1.1 20 OK\r\n\r\n",
    "a status of 600": b"HTTP/1.1 600 OK\r\n\r\n",
    "a status with a sign": b"HTTP/1.1 +20 OK\r\n\r\n",
    "a bare LF": b"HTTP/1.1 200 OK\nX: y\r\n\r\n",
    "a folded line": b"HTTP/1.1 200 OK\r\nX: y\r\n z\r\n\r\n",
    "a space before the colon": b"HTTP/1.1 200 OK\r\nX : y\r\n\r\n",
    "a NUL": b"HTTP/1.1 200 OK\r\nX: \0\r\n\r\n",
    "a length and chunks": b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
    "two equal lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\n",
    "a list of lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 5, 5\r\n\r\n",
    "a length with a sign": b"HTTP/1.1 200 OK\r\nContent-Length: +5\r\n\r\n",
    "gzip, chunked": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
    "chunks in HTTP/1.0": b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
    "a switch of protocols": b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n",
    "a forged demand for credentials": b"HTTP/1.1 407 Who\r\nProxy-Authenticate: Basic\r\n\r\n",
    "an endless head": b"HTTP/1.1 200 OK\r\nX: " + b"y" * 65536,
}


@pytest.mark.parametrize("case", BAD_RESPONSES)
def test_a_bad_response_is_a_502(case: str) -> None:
    with pytest.raises(HandshakeError) as caught:
        parse_response_head(BAD_RESPONSES[case])
    assert (caught.value.reason, caught.value.status) == (Reason.DIAL_FAILED, 502)


@pytest.mark.parametrize("case", [*RESPONSES, *[name for name in BAD_RESPONSES if name != "an endless head"]])
def test_a_response_one_byte_at_a_time_says_the_same(case: str) -> None:
    data = BAD_RESPONSES[case] if case in BAD_RESPONSES else b"HTTP/1.1 " + RESPONSES[case][0] + b"\r\n"

    def read(pieces: list[bytes]) -> Any:
        buffer, looked = bytearray(), 0
        for piece in pieces:
            buffer += piece
            try:
                head = parse_response_head(buffer, seen=looked)
            except HandshakeError as error:
                return error.detail
            if head:
                return head
            looked = len(buffer)
        return None

    assert read([data[i : i + 1] for i in range(len(data))]) == read([data]) is not None


def test_a_target_that_is_no_http_uri_does_not_go_on() -> None:
    for target, reason in (
        (b"https://a.example/", Reason.PROTOCOL_NOT_ALLOWED),
        (b"http://a:80\\@b:80/", Reason.MALFORMED_REQUEST),
    ):
        with pytest.raises(TargetError) as caught:
            request_head(request(b"", b"GET %b HTTP/1.1" % target), "a.example")
        assert caught.value.reason is reason

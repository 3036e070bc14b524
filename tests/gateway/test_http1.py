"""Request heads: what is read, what is refused and why, and that no split of the stream changes either."""
# ruff: noqa: E501 (tables have one case per line)

import itertools
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.handshake import HandshakeError
from gateway.handshake.http1 import RequestHead, parse_head
from whitelist.reason import Reason

MAX = 1024
H = b"Host: a.example\r\n"


def seen(head: RequestHead) -> Any:
    return (
        head.method, head.target, head.version, head.form, head.host, head.content_length, head.chunked,
        head.proxy_authorization, head.headers, head.consumed,
    )  # fmt: skip


def outcome(data: bytes) -> Any:
    """What one read of the whole says, in a form that compares."""
    try:
        head = parse_head(data, MAX)
    except HandshakeError as error:
        return error.reason, error.status, error.detail
    return head and seen(head)


def fed(pieces: list[bytes]) -> Any:
    """What a connection says that gets the stream in pieces and looks at each byte once."""
    buffer, looked = bytearray(), 0
    for piece in pieces:
        buffer += piece
        try:
            head = parse_head(buffer, MAX, seen=looked)
        except HandshakeError as error:
            return error.reason, error.status, error.detail
        if head:
            return seen(head)
        looked = len(buffer)
    return None


CONNECT = b"CONNECT a.example:443 HTTP/1.1\r\nHost: a.example:443\r\n"
GOOD: dict[str, tuple[bytes, dict[str, Any]]] = {
    "a CONNECT as curl sends it": (
        CONNECT + b"Proxy-Authorization: Basic Yzp0\r\nUser-Agent: curl/8.5.0\r\nProxy-Connection: Keep-Alive\r\n\r\n",
        {"method": "CONNECT", "form": "authority", "target": b"a.example:443", "host": b"a.example:443", "proxy_authorization": b"Basic Yzp0", "user_agent": "curl/8.5.0"},
    ),
    "a CONNECT of HTTP/1.0 without Host": (b"CONNECT a.example:443 HTTP/1.0\r\n\r\n", {"host": None, "version": "1.0", "keep_alive": False}),
    "a CONNECT with Content-Length: 0": (CONNECT + b"Content-Length: 0\r\n\r\n", {"content_length": 0, "chunked": False}),
    "an absolute-form GET": (b"GET http://a.example/p?q=1 HTTP/1.1\r\n" + H + b"\r\n", {"form": "absolute", "target": b"http://a.example/p?q=1", "keep_alive": True}),
    "an absolute-form without a path": (b"GET http://a.example HTTP/1.1\r\n" + H + b"\r\n", {"form": "absolute", "target": b"http://a.example"}),
    "a query without a path": (b"GET http://a.example?q HTTP/1.1\r\n" + H + b"\r\n", {"form": "absolute"}),
    "a scheme in upper case": (b"GET HTTP://a.example/ HTTP/1.1\r\n" + H + b"\r\n", {"form": "absolute", "target": b"HTTP://a.example/"}),
    "characters browsers leave bare": (b"GET http://a.example/a|b{c}^`?x=\\ HTTP/1.1\r\n" + H + b"\r\n", {"form": "absolute", "target": b"http://a.example/a|b{c}^`?x=\\"}),
    "an unknown method": (b"BREW http://a.example/ HTTP/1.1\r\n" + H + b"\r\n", {"method": "BREW", "form": "absolute"}),
    "a body by length": (b"POST http://a.example/ HTTP/1.1\r\n" + H + b"Content-Length: 007\r\n\r\n", {"content_length": 7, "chunked": False}),
    "a chunked body": (b"POST http://a.example/ HTTP/1.1\r\n" + H + b"Transfer-Encoding: Chunked \r\n\r\n", {"content_length": None, "chunked": True}),
    "one empty line before the request line": (b"\r\nGET http://a.example/ HTTP/1.1\r\n" + H + b"\r\n", {"method": "GET", "host": b"a.example"}),
    "field names in any case, values trimmed": (b"GET http://a.example/ HTTP/1.1\r\nhOST:\t a.example \t\r\nX-A:\r\nx-a:  \r\nX-a: b  c \r\n\r\n", {"host": b"a.example", "headers": [(b"host", b"a.example"), (b"x-a", b""), (b"x-a", b""), (b"x-a", b"b  c")]}),
    "octets above 127 in a value": (b"GET http://a.example/ HTTP/1.1\r\n" + H + b"User-Agent: \xe9\r\n\r\n", {"user_agent": "\ufffd"}),
    "Connection: close among others": (b"GET http://a.example/ HTTP/1.1\r\n" + H + b"Connection: x, Close\r\n\r\n", {"keep_alive": False}),
    "a browser's Accept": (b"GET http://a.example/ HTTP/1.1\r\n" + H + b"Accept: text/html,*/*;q=0.8\r\n\r\n", {"accepts_html": True}),
    "what git sends": (b"GET http://a.example/ HTTP/1.1\r\n" + H + b"User-Agent: git/2.39.5\r\nAccept: */*\r\n\r\n", {"accepts_text": True, "accepts_html": False}),
    "a wish for plain text": (b"GET http://a.example/ HTTP/1.1\r\n" + H + b"Accept: text/plain\r\n\r\n", {"accepts_text": True}),
    "what curl sends": (b"GET http://a.example/ HTTP/1.1\r\n" + H + b"User-Agent: curl/8.1\r\nAccept: */*\r\n\r\n", {"accepts_text": False}),
    "no Accept": (b"GET http://a.example/ HTTP/1.1\r\n" + H + b"\r\n", {"accepts_html": False, "expects_continue": False}),
    "an expectation": (b"PUT http://a.example/ HTTP/1.1\r\n" + H + b"Expect: 100-Continue\r\n\r\n", {"expects_continue": True}),
}  # fmt: skip


@pytest.mark.parametrize("case", GOOD)
def test_reads(case: str) -> None:
    data, expected = GOOD[case]
    head = parse_head(data, MAX)
    assert head is not None
    assert head.consumed == len(data)
    for name, value in expected.items():
        assert getattr(head, name) == value, name


def get(fields: bytes, line: bytes = b"GET http://a.example/ HTTP/1.1") -> bytes:
    return line + b"\r\n" + H + fields + b"\r\n"


BAD = {
    "a bare LF after the request line": (b"GET http://a.example/ HTTP/1.1\nHost: a.example\r\n\r\n", "a bare LF in the head"),
    "bare LFs throughout": (b"GET http://a.example/ HTTP/1.1\nHost: a.example\n\n", "a bare LF in the head"),
    "a bare CR in a value": (get(b"X: a\rb\r\n"), "a bare CR in the head"),
    "CR CR LF": (get(b"X: a\r\r\n"), "a bare CR in the head"),
    "a NUL in a value": (get(b"X: a\0b\r\n"), "a control character in the head"),
    "DEL in a value": (get(b"X: a\x7f\r\n"), "a control character in the head"),
    "a TLS ClientHello": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", "a control character in the head"),
    "SOCKS5": (b"\x05\x01\x00", "a control character in the head"),
    "a folded line": (get(b"X: a\r\n b\r\n"), "a folded field line"),
    "a folded first line": (b"GET http://a.example/ HTTP/1.1\r\n X: a\r\n" + H + b"\r\n", "a folded field line"),
    "a space before the colon": (get(b"Content-Length : 5\r\n"), "white space before the colon"),
    "a tab before the colon": (get(b"X\t: 5\r\n"), "white space before the colon"),
    "an empty field name": (get(b": a\r\n"), "an empty field name"),
    "a field line without colon": (get(b"abc\r\n"), "a field line without a colon"),
    "a separator in a field name": (get(b"a(b): c\r\n"), "an invalid field name"),
    "an octet above 127 in a field name": (get(b"H\xf6st: c\r\n"), "an invalid field name"),
    "an invalid method": (get(b"", b"G@T http://a.example/ HTTP/1.1"), "the request line is not method, target and version"),
    "no method": (get(b"", b" http://a.example/ HTTP/1.1"), "the request line is not method, target and version"),
    "a method of 33 characters": (get(b"", b"M" * 33 + b" http://a.example/ HTTP/1.1"), "a method of more than 32 characters"),
    "two spaces": (get(b"", b"GET  http://a.example/ HTTP/1.1"), "the request line is not method, target and version"),
    "a tab between": (get(b"", b"GET\thttp://a.example/ HTTP/1.1"), "the request line is not method, target and version"),
    "a space in the target": (get(b"", b"GET http://1.1.1.1 &@2.2.2.2# @3.3.3.3/ HTTP/1.1"), "the request line is not method, target and version"),
    "a trailing space": (get(b"", b"GET http://a.example/ HTTP/1.1 "), "the request line is not method, target and version"),
    "HTTP/0.9": (b"GET http://a.example/\r\n\r\n", "the request line is not method, target and version"),
    "HTTP/2.0": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "an HTTP version other than 1.0 and 1.1"),
    "HTTP/1.2": (get(b"", b"GET http://a.example/ HTTP/1.2"), "an HTTP version other than 1.0 and 1.1"),
    "http/1.1 in lower case": (get(b"", b"GET http://a.example/ http/1.1"), "the request line is not method, target and version"),
    "a fragment": (get(b"", b"GET http://a.example/#f HTTP/1.1"), "a character in the target that no URI may hold"),
    "an octet above 127 in the target": (get(b"", b"GET http://a.example/\xe9 HTTP/1.1"), "the request line is not method, target and version"),
    "two empty lines first": (b"\r\n\r\nGET http://a.example/ HTTP/1.1\r\n" + H + b"\r\n", "the request line is not method, target and version"),
    "no Host in HTTP/1.1": (b"GET http://a.example/ HTTP/1.1\r\n\r\n", "no Host field in an HTTP/1.1 request"),
    "two equal Hosts": (get(H), "more than one Host field"),
    "two Hosts in HTTP/1.0": (b"GET http://a.example/ HTTP/1.0\r\n" + H + b"host: b.example\r\n\r\n", "more than one Host field"),
    "two credentials": (get(b"Proxy-Authorization: Basic YQ==\r\nProxy-Authorization: Basic Yg==\r\n"), "more than one Proxy-Authorization field"),
    "origin-form": (get(b"", b"GET /proxy.pac HTTP/1.1"), "a request for the proxy itself: origin-form or asterisk-form target"),
    "asterisk-form": (get(b"", b"OPTIONS * HTTP/1.1"), "a request for the proxy itself: origin-form or asterisk-form target"),
    "authority-form without CONNECT": (get(b"", b"GET a.example:443 HTTP/1.1"), "a request target that is neither absolute-form nor CONNECT's authority-form"),
    "a URI without authority": (get(b"", b"GET http:a.example HTTP/1.1"), "a request target that is neither absolute-form nor CONNECT's authority-form"),
    "a CONNECT with a body by length": (CONNECT + b"Content-Length: 5\r\n\r\n", "a body in a CONNECT request"),
    "a CONNECT with a chunked body": (CONNECT + b"Transfer-Encoding: chunked\r\n\r\n", "a body in a CONNECT request"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_refuses(case: str) -> None:
    data, detail = BAD[case]
    assert outcome(data) == (Reason.MALFORMED_REQUEST, 400, detail)


LARGE = {
    "endless fields": get(b"X: y\r\n" * 200),
    "an endless target": b"GET http://a.example/" + b"a" * MAX,
    "an endless value": get(b"X: " + b"a" * MAX)[:-2],
}


@pytest.mark.parametrize("case", LARGE)
def test_refuses_what_is_too_large(case: str) -> None:
    assert outcome(LARGE[case]) == (Reason.MALFORMED_REQUEST, 431, "the head is too large")


def test_the_limit_is_exact() -> None:
    data = get(b"X: " + b"a" * (MAX - len(get(b"X: \r\n"))) + b"\r\n")
    assert len(data) == MAX
    assert outcome(data)[0] == "GET"
    assert outcome(data.replace(b"X: ", b"X: a"))[1] == 431


EVERY = {name: row[0] for name, row in (GOOD | BAD).items()} | LARGE


@pytest.mark.parametrize("case", EVERY)
def test_one_byte_at_a_time_says_the_same(case: str) -> None:
    data = EVERY[case]
    assert fed([data[i : i + 1] for i in range(len(data))]) == outcome(data) is not None


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(sorted(EVERY)), st.lists(st.integers(0, 1300), max_size=6))
def test_any_split_of_the_stream_says_the_same(case: str, cuts: list[int]) -> None:
    data = EVERY[case]
    edges = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    assert fed([data[a:b] for a, b in itertools.pairwise(edges)]) == outcome(data)


@settings(max_examples=300, deadline=None)
@given(
    st.lists(
        st.sampled_from(
            [b"GET", b" ", b"http://a/", b"HTTP/1.1", b"\r\n", b"\n", b"\r", b"Host", b":", b"\0", b"x", b"\t", b"\xff"]
        ),
        max_size=30,
    )
)
def test_rubbish_is_read_or_refused_but_never_crashes(parts: list[bytes]) -> None:
    data = b"".join(parts)
    assert fed([data[i : i + 1] for i in range(len(data))]) == outcome(data)


def test_an_incomplete_head_asks_for_more() -> None:
    assert parse_head(b"", MAX) is None
    assert parse_head(get(b"")[:-1], MAX) is None


def test_what_is_pipelined_behind_the_head_stays_in_the_buffer() -> None:
    data = bytearray(CONNECT + b"\r\n\x16\x03\x01\0\n\n")
    head = parse_head(data, MAX)
    assert head is not None
    assert data[head.consumed :] == b"\x16\x03\x01\0\n\n"


def test_own_pages_lets_the_other_forms_through() -> None:
    for target, form in ((b"/proxy.pac", "origin"), (b"*", "asterisk")):
        head = parse_head(b"GET %b HTTP/1.1\r\n%b\r\n" % (target, H), MAX, own_pages=True)
        assert head is not None
        assert head.form == form

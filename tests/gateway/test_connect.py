"""The quick reading of a usual CONNECT says what the full reading says, or nothing."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gateway.handshake import HandshakeError
from gateway.handshake.connect import usual_connect
from gateway.handshake.http1 import parse_head

AUTH = b"Proxy-Authorization: Basic Yy0wMTIzNDU2Nzg5OkFB\r\n"
USUAL = b"CONNECT api.example.com:443 HTTP/1.1\r\nHost: api.example.com:443\r\nUser-Agent: curl/8\r\n" + AUTH + b"\r\n"

LEFT_TO_THE_FULL_READING = {
    "a Host with other words than the target": USUAL.replace(b"Host: api", b"Host: apj"),
    "a Host that is longer than the target": USUAL.replace(b"Host: api.example.com:443", b"Host: api.example.com:4433"),
    "a Host that is shorter than the target": USUAL.replace(b"Host: api.example.com:443", b"Host: api.example.com:44"),
    "no Host": USUAL.replace(b"Host: api.example.com:443\r\n", b""),
    "a second Host": USUAL.replace(b"User-Agent", b"Host: evil.example\r\nUser-Agent"),
    "a second Host with a space before its colon": USUAL.replace(b"User-Agent:", b"Host : evil.example\r\nUser-Agent:"),
    "two Proxy-Authorization fields": USUAL.replace(AUTH, AUTH + AUTH),
    "a body": USUAL.replace(AUTH, AUTH + b"Content-Length: 5\r\n"),
    "an empty body": USUAL.replace(AUTH, AUTH + b"Content-Length: 0\r\n"),
    "a chunked body": USUAL.replace(AUTH, AUTH + b"Transfer-Encoding: chunked\r\n"),
    "a folded field": USUAL.replace(b"curl/8\r\n", b"curl/8\r\n more\r\n"),
    "a bare LF": USUAL.replace(b"curl/8\r\n", b"curl/8\n"),
    "a NUL in a value": USUAL.replace(b"curl/8", b"curl\x00/8"),
    "bytes behind the head": USUAL + b"\x16\x03\x01",
    "a second head behind the first": USUAL + USUAL,
    "half a head": USUAL[:-2],
    "HTTP/1.0": USUAL.replace(b"HTTP/1.1", b"HTTP/1.0"),
    "another method": USUAL.replace(b"CONNECT ", b"CONNECTS "),
    "a lower-case method": USUAL.replace(b"CONNECT ", b"connect "),
    "two spaces before the target": USUAL.replace(b"CONNECT ", b"CONNECT  "),
    "an empty target": b"CONNECT  HTTP/1.1\r\nHost: \r\n\r\n",
    "a head larger than the limit": USUAL.replace(b"curl/8", b"x" * 2000),
}


@pytest.mark.parametrize("data", LEFT_TO_THE_FULL_READING.values(), ids=LEFT_TO_THE_FULL_READING)
def test_what_is_not_usual_is_left_to_the_full_reading(data: bytes) -> None:
    assert usual_connect(data, 1024) is None


def test_the_usual_form_is_read() -> None:
    read = usual_connect(USUAL, 1024)
    assert read is not None
    assert read[0] == b"api.example.com:443"
    assert read[1] == ("CONNECT", "1.1", b"Basic Yy0wMTIzNDU2Nzg5OkFB", "curl/8")


_pieces = st.sampled_from(
    [b"CONNECT", b" ", b"a.example:443", b"b.example:443", b" HTTP/1.1", b" HTTP/1.0", b"\r\n", b"\n", b"\r", b"Host: ",
     b"host:", b"Host : ", b"User-Agent: x", AUTH, b"Content-Length: 0", b"Transfer-Encoding: chunked", b"\x00", b"\t",
     b"\r\n\r\n", b"\xff", b":", b"GET http://a.example/"]
)  # fmt: skip
_usual = st.builds(
    lambda t, h, rest: b"CONNECT " + t + b" HTTP/1.1\r\nHost: " + h + b"\r\n" + b"".join(rest) + b"\r\n\r\n",
    st.sampled_from([b"a.example:443", b"[2001:db8::1]:443", b"a b:1", b"a.example"]),
    st.sampled_from([b"a.example:443", b"[2001:db8::1]:443", b"a b:1", b"a.example"]),
    st.lists(_pieces, max_size=4),
)


@given(st.one_of(st.lists(_pieces, max_size=12).map(b"".join), _usual))
@example(USUAL)
def test_the_quick_reading_never_says_anything_else_than_the_full_one(data: bytes) -> None:
    quick = usual_connect(data, 1024)
    if quick is None:
        return
    try:
        head = parse_head(data, 1024)
    except HandshakeError as error:
        pytest.fail(f"read quickly, but refused in full: {error}")
    assert head is not None
    assert head.consumed == len(data)
    assert head.form == "authority"
    assert (head.target, head.host) == (quick[0], quick[0])
    assert head.content_length is None
    assert not head.chunked
    assert (head.method, head.version, head.proxy_authorization, head.user_agent) == quick[1]

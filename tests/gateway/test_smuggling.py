"""Request smuggling: whatever a client sends, either it is refused, or every later reader, however lenient, sees one and
the same request in what the gateway sends on."""
# ruff: noqa: E501 (tables have one case per line)

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.handshake import HandshakeError
from gateway.handshake.forward import request_head
from gateway.handshake.framing import BodyFramer, request_framing
from gateway.handshake.http1 import parse_head
from whitelist.reason import Reason

SMUGGLED = b"GET /admin HTTP/1.1\r\nHost: inside.example\r\n\r\n"


def through(data: bytes) -> tuple[bytes, bytes] | Reason | None:
    """(what goes to the service, what is left for the next request), the reason of a refusal, or None for an incomplete one."""
    try:
        head = parse_head(data)
        if head is None:
            return None
        sent = request_head(head, "a.example")
        framer = BodyFramer(request_framing(head))
        fed = framer.feed(data[head.consumed :])
    except HandshakeError as error:
        return error.reason
    return (sent + fed.forward, fed.rest) if framer.done else None


def post(fields: bytes, body: bytes = b"", line: bytes = b"POST http://a.example/ HTTP/1.1") -> bytes:
    return line + b"\r\nHost: a.example\r\n" + fields + b"\r\n" + body


CHUNKS = b"0\r\n\r\n" + SMUGGLED
REFUSED = {
    "Content-Length +1": post(b"Content-Length: +1\r\n", b"x"),
    "Content-Length -1": post(b"Content-Length: -1\r\n", b"x"),
    "Content-Length 0x10": post(b"Content-Length: 0x10\r\n", b"x" * 16),
    "Content-Length 1_0": post(b"Content-Length: 1_0\r\n", b"x" * 10),
    "Content-Length 1e1": post(b"Content-Length: 1e1\r\n", b"x" * 10),
    "Content-Length 1.0": post(b"Content-Length: 1.0\r\n", b"x"),
    "Content-Length 1 1": post(b"Content-Length: 1 1\r\n", b"x" * 11),
    "an empty Content-Length": post(b"Content-Length:\r\n", b"x"),
    "a full-width Content-Length": post("Content-Length: １\r\n".encode(), b"x"),
    "a Content-Length of 19 digits": post(b"Content-Length: 0000000000000000001\r\n", b"x"),
    "a list of Content-Lengths": post(b"Content-Length: 5, 5\r\n", b"hello"),
    "two different Content-Lengths": post(b"Content-Length: 0\r\nContent-Length: 44\r\n", SMUGGLED),
    "two equal Content-Lengths": post(b"Content-Length: 5\r\ncontent-length: 5\r\n", b"hello"),
    "CL.TE": post(b"Content-Length: %d\r\nTransfer-Encoding: chunked\r\n" % len(CHUNKS), CHUNKS),
    "TE.CL": post(b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", CHUNKS),
    "CL.TE with a length of 0": post(b"Content-Length: 0\r\nTransfer-Encoding: chunked\r\n", CHUNKS),
    "TE.TE": post(b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n", CHUNKS),
    "two equal Transfer-Encodings": post(b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", CHUNKS),
    "Transfer-Encoding ,chunked": post(b"Transfer-Encoding: ,chunked\r\n", CHUNKS),
    "Transfer-Encoding chunked,": post(b"Transfer-Encoding: chunked,\r\n", CHUNKS),
    "Transfer-Encoding xchunked": post(b"Transfer-Encoding: xchunked\r\n", CHUNKS),
    "Transfer-Encoding with a no-break space": post(b"Transfer-Encoding: \xa0chunked\r\n", CHUNKS),
    "Transfer-Encoding with a vertical tab": post(b"Transfer-Encoding: \x0bchunked\r\n", CHUNKS),
    "Transfer-Encoding quoted": post(b'Transfer-Encoding: "chunked"\r\n', CHUNKS),
    "Transfer-Encoding with a parameter": post(b"Transfer-Encoding: chunked;q=1\r\n", CHUNKS),
    "Transfer-Encoding identity": post(b"Transfer-Encoding: identity\r\n", CHUNKS),
    "Transfer-Encoding gzip, chunked": post(b"Transfer-Encoding: gzip, chunked\r\n", CHUNKS),
    "Transfer-Encoding chunked, chunked": post(b"Transfer-Encoding: chunked, chunked\r\n", CHUNKS),
    "an empty Transfer-Encoding": post(b"Transfer-Encoding:\r\n", CHUNKS),
    "Transfer-Encoding in HTTP/1.0": post(b"Transfer-Encoding: chunked\r\n", CHUNKS, b"POST http://a.example/ HTTP/1.0"),
    "Transfer-Encoding with a space before the colon": post(b"Transfer-Encoding : chunked\r\n", CHUNKS),
    "Transfer-Encoding on a folded line": post(b"X: y\r\n Transfer-Encoding: chunked\r\n", CHUNKS),
    "a folded Transfer-Encoding value": post(b"Transfer-Encoding:\r\n chunked\r\n", CHUNKS),
    "Transfer-Encoding behind a bare LF": post(b"X: y\nTransfer-Encoding: chunked\r\n", CHUNKS),
    "Transfer-Encoding behind a bare CR": post(b"X: y\rTransfer-Encoding: chunked\r\n", CHUNKS),
    "a NUL in a value": post(b"X: \0\r\n"),
    "an empty field name": post(b": x\r\n"),
    "a NUL in a field name": post(b"Content-Length\0: 5\r\n", b"hello"),
    "a second Host": post(b"Host: b.example\r\n"),
    "chunk size 0_2": post(b"Transfer-Encoding: chunked\r\n", b"0_2\r\nhi\r\n0\r\n\r\n"),
    "chunk size +1": post(b"Transfer-Encoding: chunked\r\n", b"+1\r\nh\r\n0\r\n\r\n"),
    "chunk size 0x1": post(b"Transfer-Encoding: chunked\r\n", b"0x1\r\nh\r\n0\r\n\r\n"),
    "an empty chunk size": post(b"Transfer-Encoding: chunked\r\n", b"\r\n" + CHUNKS),
    "a bare LF in a chunk extension": post(b"Transfer-Encoding: chunked\r\n", b"2;\nxx\r\n" + CHUNKS),
    "a body in a CONNECT by length": post(b"Content-Length: 44\r\n", SMUGGLED, b"CONNECT a.example:443 HTTP/1.1"),
    "a body in a CONNECT by chunks": post(b"Transfer-Encoding: chunked\r\n", CHUNKS, b"CONNECT a.example:443 HTTP/1.1"),
    "a request line split by a bare LF": b"GET http://a.example/ HTTP/1.1\nX: " + post(b""),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_refused_as_malformed(case: str) -> None:
    assert through(REFUSED[case]) is Reason.MALFORMED_REQUEST


HEAD = b"POST / HTTP/1.1\r\nHost: a.example\r\n"
VIA = b"Via: 1.1 feiyu\r\n"
ONE_READING = {
    "a request behind a body by length": (post(b"Content-Length: 5\r\n", b"hello" + SMUGGLED), HEAD + VIA + b"Content-Length: 5\r\n\r\nhello"),
    "a request behind the last chunk": (post(b"Transfer-Encoding: chunked\r\n", CHUNKS), HEAD + VIA + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    "a request behind a request without body": (post(b"", SMUGGLED), HEAD + VIA + b"\r\n"),
    "a Content-Length that Connection names": (post(b"Connection: Content-Length\r\nContent-Length: 5\r\n", b"hello" + SMUGGLED), HEAD + VIA + b"Content-Length: 5\r\n\r\nhello"),
    "a Transfer-Encoding with an underscore": (post(b"Transfer_Encoding: chunked\r\nContent-Length: 5\r\n", b"hello" + SMUGGLED), HEAD + VIA + b"Content-Length: 5\r\n\r\nhello"),
    "forged fields of proxies": (post(b"X-Forwarded-For: 127.0.0.1\r\nProxy-Foo: 1\r\nForwarded: for=x\r\nX-Y: z\r\n", SMUGGLED), HEAD + b"X-Y: z\r\n" + VIA + b"\r\n"),
    "a chunk extension and a trailer": (post(b"Transfer-Encoding: chunked\r\n", b"2;x=y\r\nhi\r\n0\r\nContent-Length: 44\r\n\r\n" + SMUGGLED), HEAD + VIA + b"Transfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n"),
    "a Host other than the target": (post(b"", SMUGGLED).replace(b"Host: a.example", b"Host: b.example", 1), HEAD + VIA + b"\r\n"),
}  # fmt: skip


@pytest.mark.parametrize("case", ONE_READING)
def test_one_reading_goes_on(case: str) -> None:
    data, sent = ONE_READING[case]
    assert through(data) == (sent, SMUGGLED)


def lenient(data: bytes, prefer_chunks: bool, first_wins: bool) -> list[bytes]:
    """The request lines a careless reader finds: lines end at LF, white space, case and underscores do not matter, numbers
    are what int() takes, anything with "chunked" in it is chunked. It shares no code with the gateway's own reading."""
    found = []
    while data:
        head, data = [*re.split(rb"\r?\n\r?\n", data, maxsplit=1), b""][:2]
        lines = head.decode("latin-1").split("\n")
        found.append(lines[0].strip().encode("latin-1"))
        fields: dict[str, str] = {}
        for line in lines[1:]:
            name, _, value = line.partition(":")
            key = name.strip().lower().replace("_", "-")
            if not (first_wins and key in fields):
                fields[key] = value.strip()
        length = fields.get("content-length")
        if "chunked" in fields.get("transfer-encoding", "").lower() and (prefer_chunks or length is None):
            size = -1
            while size:
                line, _, data = data.partition(b"\n")
                size = int(line.split(b";")[0], 16)
                data = data[size:].partition(b"\n")[2]
        elif length is not None:
            data = data[int(length) :]
    return found


READERS = [(chunks, first) for chunks in (True, False) for first in (True, False)]


def test_the_careless_readers_do_disagree_on_what_is_refused() -> None:
    attack = REFUSED["CL.TE"]
    assert {len(lenient(attack, *reader)) for reader in READERS} == {1, 2}


FIELDS = [
    b"Content-Length: 5", b"Content-Length: 0", b"Content-Length: +5", b"Content-Length : 5", b"Content_Length: 44",
    b"Transfer-Encoding: chunked", b"Transfer-Encoding: identity", b"Transfer_Encoding: chunked", b"Transfer-Encoding:\x0bchunked",
    b"X: y\nTransfer-Encoding: chunked", b"X: y\rContent-Length: 44", b"X: y\r\n Content-Length: 44", b"Connection: Content-Length, Host",
    b"Trailer: Content-Length", b"TE: chunked", b"X-Forwarded-For: 1", b"Expect: 100-continue", b"X-Harmless: 1",
]  # fmt: skip
BODIES = [
    b"",
    b"hello",
    b"0\r\n\r\n",
    b"5\r\nhello\r\n0\r\n\r\n",
    b"5;a\r\nhello\r\n0\r\nX: y\r\n\r\n",
    b"0x5\r\nhello\r\n0\r\n\r\n",
    b"5\nhello\n0\n\n",
]


@settings(max_examples=500, deadline=None)
@given(st.lists(st.sampled_from(FIELDS), max_size=4), st.sampled_from(BODIES), st.booleans())
def test_every_later_reader_sees_exactly_one_request(fields: list[bytes], body: bytes, old: bool) -> None:
    line = b"POST http://a.example/ HTTP/1.%d" % (not old)
    result = through(post(b"".join(field + b"\r\n" for field in fields), body + SMUGGLED, line))
    if isinstance(result, tuple):
        for reader in READERS:
            assert lenient(result[0], *reader) == [b"POST / HTTP/1.1"]
    else:
        assert result in (Reason.MALFORMED_REQUEST, None)


def test_bytes_behind_a_connect_are_not_part_of_it() -> None:
    data = b"CONNECT a.example:443 HTTP/1.1\r\nHost: a.example:443\r\n\r\n" + SMUGGLED
    head = parse_head(data)
    assert head is not None
    assert data[head.consumed :] == SMUGGLED

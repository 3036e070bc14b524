"""A remembered ClientHello says what reading it in full says, whatever was changed in it."""
# ruff: noqa: E501 (tables have one case per line)

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.handshake.client_hello import HelloError, parse_client_hello
from gateway.handshake.hello_memo import LATER, HelloFacts, HelloMemo, facts_of
from tests.gateway.test_client_hello import (
    SIGNATURES,
    VERSIONS,
    alpn,
    body,
    ech,
    extension,
    message,
    records,
    server_name,
)

KEY_SHARE = extension(51, b"\x00\x24\x00\x1d\x00\x20" + bytes(32))
TICKET = extension(35, bytes(48))


def hello(
    name: bytes = b"api.example.com", *more: bytes, session: bytes = bytes(32), protocols: bytes = b"h2"
) -> bytes:
    extensions = server_name(name) + alpn(protocols) + SIGNATURES + VERSIONS + b"".join(more)
    return records(message(body(extensions, session=session)))


def learnt(*hellos: bytes) -> HelloMemo:
    """A memory that saw each of them as often as it takes."""
    memo = HelloMemo()
    for data in (*hellos, *hellos):
        read = parse_client_hello(data)
        assert read is not None
        memo.learn(data, read)
    return memo


def in_full(data: bytes) -> HelloFacts | str:
    try:
        read = parse_client_hello(data)
    except HelloError as error:
        return error.kind
    return "incomplete" if read is None else facts_of(read)


KNOWN = hello(b"api.example.com", KEY_SHARE, TICKET)
HIDING = hello(b"api.example.com", KEY_SHARE, ech())

RECOGNISED = {
    "the same bytes": KNOWN,
    "another random": KNOWN[:11] + os.urandom(32) + KNOWN[43:],
    "another session id": hello(b"api.example.com", KEY_SHARE, TICKET, session=b"\x01" * 32),
    "another key share": KNOWN.replace(bytes(32) + TICKET[:4], b"\x07" * 32 + TICKET[:4]),
    "another ticket": KNOWN[:-48] + b"\x09" * 48,
    "bytes of the tunnel behind it": KNOWN + b"GET / HTTP/1.1",
}

NOT_RECOGNISED = {
    "another name of the same length": KNOWN.replace(b"api.example", b"evi.example"),
    "another name in capitals": KNOWN.replace(b"api.example", b"API.EXAMPLE"),
    "another protocol": hello(b"api.example.com", KEY_SHARE, TICKET, protocols=b"h3"),
    "a shorter session id and a longer ticket": hello(
        b"api.example.com", KEY_SHARE, extension(35, bytes(64)), session=bytes(16)
    ),
    "the key share under another type": KNOWN.replace(KEY_SHARE[:2], b"\x00\x50"),
    "a server name where the ticket was": hello(b"api.example.com", KEY_SHARE, server_name(b"x" * 43)),
    "an encrypted hello where the ticket was": hello(b"api.example.com", KEY_SHARE, extension(0xFE0D, bytes(48))),
    "another record type": b"\x17" + KNOWN[1:],
    "another handshake message": KNOWN[:5] + b"\x02" + KNOWN[6:],
    "a message longer than its record": KNOWN[:8] + bytes([KNOWN[8] + 1]) + KNOWN[9:],
    "its first half": KNOWN[: len(KNOWN) // 2],
    "its last byte missing": KNOWN[:-1],
    "nothing": b"",
}


@pytest.mark.parametrize("data", RECOGNISED.values(), ids=RECOGNISED)
def test_a_hello_of_a_known_program_is_recognised(data: bytes) -> None:
    known = learnt(KNOWN).recall(data)
    assert known is not None
    assert known == (in_full(data), len(KNOWN))


@pytest.mark.parametrize("data", NOT_RECOGNISED.values(), ids=NOT_RECOGNISED)
def test_whatever_could_say_something_else_is_not(data: bytes) -> None:
    assert learnt(KNOWN).recall(data) is None


ECH_AT = len(HIDING) - len(ech()) + 4
HIDDEN = {
    "another key, payload and configuration id": (hello(b"api.example.com", KEY_SHARE, ech(key=b"\1" * 32, payload=b"\2" * 80)), True),
    "a key of no length, the payload longer": (hello(b"api.example.com", KEY_SHARE, ech(key=b"", payload=bytes(112))), False),
    "type inner": (HIDING[:ECH_AT] + b"\1" + HIDING[ECH_AT + 1 :], False),
    "another AEAD": (HIDING[: ECH_AT + 4] + b"\3" + HIDING[ECH_AT + 5 :], False),
    "another length of the payload": (HIDING[: ECH_AT + 41] + b"\x51" + HIDING[ECH_AT + 42 :], False),
}  # fmt: skip


@pytest.mark.parametrize(("data", "recognised"), HIDDEN.values(), ids=HIDDEN)
def test_of_an_encrypted_hello_only_what_is_not_read_may_differ(data: bytes, recognised: bool) -> None:
    recalled = learnt(HIDING).recall(data)
    assert recalled == ((in_full(data), len(data)) if recognised else None)


def test_facts_leave_grease_out_of_what_is_offered() -> None:
    read = parse_client_hello(records(message(body(alpn(b"\x0a\x0a", b"h2", b"ZZ", b"zz", b"z", b"\xfa\xfa")))))
    assert read is not None
    facts = facts_of(read)
    assert (facts.alpn, facts.offered) == ("\\x0a\\x0a,h2,ZZ,zz,z,\\xfa\\xfa", ("h2", "z"))


def test_facts_say_that_a_protocol_is_chosen_later_and_unseen() -> None:
    read = parse_client_hello(records(message(body(alpn(b"h2") + extension(13172, b"")))))
    assert read is not None
    assert facts_of(read).offered == ("h2", LATER)
    assert facts_of(read).alpn == "h2"


def test_a_hello_over_several_records_is_not_learnt() -> None:
    split = records(message(body()), size=50)
    memo = learnt(split)
    assert memo.recall(split) is None


def test_the_memory_is_bounded() -> None:
    memo = HelloMemo()
    for n in range(9_000):
        data = hello(b"h%d.example.com" % n, KEY_SHARE, extension(0xFF01, bytes(n % 400)))
        read = parse_client_hello(data)
        assert read is not None
        assert memo.learn(data, read) == facts_of(read)
    assert len(memo._known) <= 4_096
    assert len(memo._shapes) <= 256
    assert sum(map(len, memo._layouts.values())) == len(memo._shapes)
    for n in range(5_000):
        data = hello(b"api.example.com", *(extension(0x0100 | n >> bit & 1 | bit << 1, b"") for bit in range(13)))
        read = parse_client_hello(data)
        assert read is not None
        memo.learn(data, read)
    assert len(memo._seen_once) <= 1_024


def test_a_shape_that_is_seen_once_is_not_learnt() -> None:
    memo, read = HelloMemo(), parse_client_hello(KNOWN)
    assert read is not None
    for known in (None, None, (facts_of(read), len(KNOWN))):
        assert memo.recall(KNOWN) == known
        memo.learn(KNOWN, read)


def test_of_many_shapes_of_one_length_the_last_two_are_known() -> None:
    orders = [(KEY_SHARE, TICKET, SIGNATURES), (TICKET, KEY_SHARE, SIGNATURES), (KEY_SHARE, SIGNATURES, TICKET)]
    hellos = [records(message(body(server_name(b"a.example") + b"".join(order)))) for order in orders]
    memo = HelloMemo()
    for data in hellos:
        read = parse_client_hello(data)
        assert read is not None
        for _ in range(2):
            memo.learn(data, read)
    assert [memo.recall(data) is not None for data in hellos] == [False, True, True]


@given(
    st.sampled_from((KNOWN, HIDING)),
    st.lists(st.tuples(st.integers(0, 2_000), st.integers(0, 255)), max_size=6),
    st.binary(max_size=4),
)
def test_what_is_recognised_reads_the_same_in_full(whole: bytes, changes: list[tuple[int, int]], behind: bytes) -> None:
    memo = learnt(KNOWN, HIDING, hello(b"www.example.com", TICKET, KEY_SHARE), hello(b"a.example", KEY_SHARE))
    data = bytearray(whole)
    for at, value in changes:
        data[at % len(data)] = value
    recalled = memo.recall(bytes(data) + behind)
    if recalled is not None:
        assert recalled == (in_full(bytes(data)), len(data))

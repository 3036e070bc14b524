"""SOCKS5: what is read of a client's three messages, however they arrive, and what it is told at each step."""

import itertools
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.handshake import HandshakeError
from gateway.handshake.socks5 import (
    CODES,
    Code,
    Conversation,
    Event,
    Login,
    Methods,
    Request,
    Step,
    UnknownAddressError,
    reply,
)
from tenants.credential import parse_basic
from whitelist.reason import Reason
from whitelist.target import TargetError, parse_authority

USER, TOKEN = b"c-0123456789", b"A" * 43
OFFER = b"\x05\x02\x00\x02"
LOGIN = b"\x01" + bytes((len(USER),)) + USER + bytes((len(TOKEN),)) + TOKEN


def request(host: bytes, port: int = 443, *, command: int = 1, kind: int = 3) -> bytes:
    """A request for a name (kind 3) or a packed address (1, 4)."""
    length = bytes((len(host),)) if kind == 3 else b""
    return bytes((5, command, 0, kind)) + length + host + port.to_bytes(2)


WHOLE = OFFER + LOGIN + request(b"api.example.com")


@dataclass
class Heard:
    """All that was understood of some bytes: events, what stands behind them, or why they were refused."""

    events: list[Event]
    rest: bytes = b""
    error: HandshakeError | None = None
    step: Step = Step.METHODS

    @property
    def request(self) -> Request:
        found = self.events[-1]
        assert isinstance(found, Request)
        return found


def hear(pieces: list[bytes], *, login: bool = True) -> Heard:
    """Feeds the pieces one after the other, as a session does."""
    talk, heard = Conversation(login=login), Heard([])
    buffer = b""
    for piece in pieces:
        buffer += piece
        try:
            while event := talk.read(buffer):
                heard.events.append(event)
                buffer = buffer[event.consumed :]
                if isinstance(event, Login):
                    assert talk.logged_in() == b"\x01\x00"
        except HandshakeError as error:
            heard.error = error
            break
    heard.rest, heard.step = buffer, talk.step
    return heard


def in_bytes(data: bytes) -> list[bytes]:
    return [data[at : at + 1] for at in range(len(data))]


def test_the_three_messages_are_read_in_their_order() -> None:
    heard = hear([WHOLE])
    methods, login, asked = heard.events
    assert methods == Methods(4, b"\x05\x02")
    assert isinstance(login, Login)
    assert parse_basic(login.authorization) == (USER.decode(), TOKEN.decode())
    assert asked == Request(len(request(b"api.example.com")), "CONNECT", 3, b"api.example.com", 443)
    assert heard.request.target() == parse_authority(b"api.example.com:443")
    assert (heard.step, heard.rest) == (Step.OVER, b"")


def test_a_listener_that_demands_no_login_takes_none() -> None:
    heard = hear([OFFER + request(b"api.example.com")], login=False)
    assert heard.events[0] == Methods(4, b"\x05\x00")
    assert heard.request.address == b"api.example.com"


@pytest.mark.parametrize("cut", range(len(WHOLE) + 1))
def test_a_cut_anywhere_changes_nothing(cut: int) -> None:
    assert hear([WHOLE[:cut], WHOLE[cut:]]) == hear([WHOLE])


def test_byte_by_byte_changes_nothing() -> None:
    assert hear(in_bytes(WHOLE)) == hear([WHOLE])


@pytest.mark.parametrize("length", range(len(WHOLE)))
def test_a_part_is_neither_a_request_nor_a_refusal(length: int) -> None:
    heard = hear([WHOLE[:length]])
    assert heard.error is None
    assert not any(isinstance(event, Request) for event in heard.events)


def test_what_stands_behind_the_request_is_the_tunnels() -> None:
    for behind in (b"\x16\x03\x01", WHOLE, b"\x00" * 70_000):
        heard = hear([WHOLE + behind])
        assert heard.rest == behind
        assert len(heard.events) == 3


MALFORMED, UNKNOWN, COMMAND = Reason.MALFORMED_REQUEST, Reason.IDENTITY_UNKNOWN, Reason.METHOD_NOT_ALLOWED
NONE, FAILED = b"\x05\xff", b"\x01\x01"

# bytes, does the listener demand a login, reason, words of the detail, what the client is told
REFUSED = {
    "SOCKS version 4": (b"\x04\x01\x00\x50\x01\x02\x03\x04me\x00", True, MALFORMED, "version 5", NONE),
    "an HTTP request": (b"CONNECT a.example:443 HTTP/1.1\r\n\r\n", True, MALFORMED, "version 5", NONE),
    "a ClientHello": (b"\x16\x03\x01\x02\x00", True, MALFORMED, "version 5", NONE),
    "a PROXY header": (b"PROXY TCP4 10.0.0.2 10.0.0.1 1 2\r\n", True, MALFORMED, "version 5", NONE),
    "no method at all": (b"\x05\x00", True, MALFORMED, "no authentication method", NONE),
    "no login offered where one is demanded": (b"\x05\x01\x00", True, UNKNOWN, "username and password", NONE),
    "GSSAPI only": (b"\x05\x01\x01", True, UNKNOWN, "username and password", NONE),
    "a login where none is taken": (b"\x05\x01\x02", False, UNKNOWN, "no authentication", NONE),
    "all methods but the one": (b"\x05\xfe" + bytes({*range(255)} - {2}), True, UNKNOWN, "username", NONE),
    "a request where the login belongs": (OFFER + request(b"a.example"), True, MALFORMED, "version 1 of", FAILED),
    "a second greeting": (OFFER + OFFER, True, MALFORMED, "version 1 of", FAILED),
    "an empty username": (OFFER + b"\x01\x00\x01x", True, MALFORMED, "empty", FAILED),
    "an empty password": (OFFER + b"\x01\x01x\x00", True, MALFORMED, "empty", FAILED),
    "a colon in the username": (OFFER + b"\x01\x03a:b\x01x", True, MALFORMED, "colon", FAILED),
    "a second login": (OFFER + LOGIN + LOGIN, True, MALFORMED, "version 5", reply(Code.FAILED)),
    "a reserved octet": (OFFER + b"\x05\x01\x01\x03\x01a\x00\x50", False, MALFORMED, "reserved", reply(Code.FAILED)),
    "a command that there is not": (OFFER + b"\x05\x04\x00\x01\x01", False, COMMAND, "command", reply(Code(7))),
    "command 0": (OFFER + b"\x05\x00\x00\x01\x01", False, COMMAND, "command", reply(Code(7))),
    "an address type that there is not": (OFFER + b"\x05\x01\x00\x02\x01", False, MALFORMED, "type", reply(Code(8))),
    "address type 0": (OFFER + b"\x05\x01\x00\x00\x01", False, MALFORMED, "type", reply(Code(8))),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_taken_is_refused_however_it_arrives(case: str) -> None:
    data, login, reason, words, told = REFUSED[case]
    for pieces in ([data], in_bytes(data), [data + b"\x00" * 100]):
        heard = hear(pieces, login=login)
        assert heard.error is not None
        assert heard.error.reason is reason
        assert words in heard.error.detail
        talk = Conversation(login=login)
        talk.step = heard.step
        assert talk.refusal(reason, heard.error) == told


def test_a_login_that_is_not_answered_stays_the_last_word() -> None:
    talk = Conversation(login=True)
    assert talk.read(OFFER)
    assert isinstance(talk.read(LOGIN), Login)
    assert talk.refusal(Reason.IDENTITY_REVOKED) == FAILED


def test_every_reason_has_its_reply() -> None:
    assert set(CODES) == set(Reason)
    assert Code.SUCCEEDED not in CODES.values()
    told = {
        Reason.NOT_WHITELISTED: 2, Reason.KILL_SWITCH: 2, Reason.TENANT_SUSPENDED: 2, Reason.REGULATOR_RULE: 2,
        Reason.IDENTITY_REVOKED: 2, Reason.RATE_LIMITED: 2, Reason.ADDRESS_FORBIDDEN: 2, Reason.NAME_INVALID: 2,
        Reason.LINE_UNAVAILABLE: 3, Reason.RESOLVE_FAILED: 4, Reason.DIAL_FAILED: 5, Reason.METHOD_NOT_ALLOWED: 7,
        Reason.MALFORMED_REQUEST: 1, Reason.POLICY_UNAVAILABLE: 1, Reason.OVERLOADED: 1, Reason.INTERNAL_ERROR: 1,
    }  # fmt: skip
    assert {reason: CODES[reason] for reason in told} == told
    assert reply(Code.NOT_ALLOWED) == b"\x05\x02\x00\x01\x00\x00\x00\x00\x00\x00"


BROKEN, INVALID = Reason.MALFORMED_REQUEST, Reason.NAME_INVALID

# kind, address, port; the same target as CONNECT's authority, or the reason why there is none
TARGETS = {
    "a name": (3, b"API.Example.com.", 443, b"api.example.com:443"),
    "a name in UTF-8": (3, "bücher.example".encode(), 443, b"xn--bcher-kva.example:443"),
    "an IPv4 address": (1, bytes((203, 0, 113, 7)), 443, b"203.0.113.7:443"),
    "an IPv6 address": (4, b"\x20\x01\x0d\xb8" + bytes(11) + b"\x01", 443, b"[2001:db8::1]:443"),
    "a mapped address": (4, bytes(10) + b"\xff\xff\x7f\x00\x00\x01", 443, b"[::ffff:127.0.0.1]:443"),
    "an IPv4 address as a name": (3, b"203.0.113.7", 443, b"203.0.113.7:443"),
    "an IPv6 address as a name": (3, b"2001:db8::1", 443, b"[2001:db8::1]:443"),
    "an IPv6 address written long": (3, b"2001:db8:0::1", 443, INVALID),
    "an IPv6 address in brackets": (3, b"[2001:db8::1]", 443, INVALID),
    "an IPv6 address with a zone": (3, b"fe80::1%eth0", 443, INVALID),
    "a short address": (3, b"127.1", 443, INVALID),
    "an address as a number": (3, b"2130706433", 443, INVALID),
    "an address in full-width digits": (3, "１２７.0.0.1".encode(), 443, INVALID),
    "two trailing dots": (3, b"api.example.com..", 443, INVALID),
    "a port in the name": (3, b"api.example.com:80", 443, INVALID),
    "a colon in a name that is not ASCII": (3, "bücher:1".encode(), 443, INVALID),
    "a NUL in the name": (3, b"api.example.com\x00.evil.example", 443, BROKEN),
    "userinfo in the name": (3, b"a@api.example.com", 443, BROKEN),
    "a path in the name": (3, b"api.example.com/x", 443, BROKEN),
    "a line break in the name": (3, b"a.example\r\nb", 443, BROKEN),
    "a comma in the name": (3, b"a,b.example", 443, INVALID),
    "a single label": (3, b"localhost", 443, INVALID),
    "no name": (3, b"", 443, BROKEN),
    "a name of 255 bytes": (3, b"a." * 127 + b"a", 443, INVALID),
    "bytes that are no UTF-8": (3, b"\xff\xfe.example", 443, INVALID),
    "port zero": (3, b"api.example.com", 0, BROKEN),
    "port zero of an address": (1, bytes((203, 0, 113, 7)), 0, BROKEN),
    "the last port": (3, b"api.example.com", 65535, b"api.example.com:65535"),
}


@pytest.mark.parametrize("case", TARGETS)
def test_a_target_has_the_one_form_that_connect_has(case: str) -> None:
    kind, address, port, expected = TARGETS[case]
    asked = hear([OFFER + request(address, port, kind=kind)], login=False).request
    if isinstance(expected, bytes):
        assert asked.target() == parse_authority(expected)
        return
    with pytest.raises(TargetError) as caught:
        asked.target()
    assert caught.value.reason is expected


@pytest.mark.parametrize(("command", "name"), [(1, "CONNECT"), (2, "BIND"), (3, "UDP-ASSOCIATE")])
def test_the_commands_have_their_names(command: int, name: str) -> None:
    assert hear([OFFER + request(b"a.example", command=command)], login=False).request.command == name


_text = st.binary(max_size=60)
_message = st.one_of(
    st.binary(max_size=40),
    st.builds(lambda m: bytes((5, len(m))) + m, st.binary(max_size=5)),
    st.builds(lambda u, p: bytes((1, len(u))) + u + bytes((len(p),)) + p, _text, _text),
    st.builds(
        lambda c, k, a, p: bytes((5, c, 0, k)) + a + p,
        st.integers(0, 4), st.integers(0, 5), st.binary(max_size=24), st.binary(min_size=2, max_size=2),
    ),
    st.sampled_from([OFFER, LOGIN, request(b"a.example"), request(bytes(4), kind=1), request(bytes(16), kind=4)]),
)  # fmt: skip


@given(st.lists(_message, max_size=6), st.booleans(), st.lists(st.integers(0, 200), max_size=8))
def test_any_bytes_mean_the_same_however_they_are_cut(messages: list[bytes], login: bool, cuts: list[int]) -> None:
    data = b"".join(messages)
    whole = hear([data], login=login)
    edges = sorted({0, *(min(cut, len(data)) for cut in cuts), len(data)})
    for pieces in (in_bytes(data), [data[a:b] for a, b in itertools.pairwise(edges)]):
        cut = hear(pieces, login=login)
        assert cut.events == whole.events
        assert cut.step is whole.step
        assert str(cut.error) == str(whole.error)
        assert isinstance(cut.error, UnknownAddressError) == isinstance(whole.error, UnknownAddressError)
        if whole.error is None:
            assert cut.rest == whole.rest
    assert sum(event.consumed for event in whole.events) + len(whole.rest) == len(data)
    assert all(event.consumed <= 513 for event in whole.events)


@given(st.binary(min_size=1, max_size=80), st.binary(min_size=1, max_size=80))
def test_a_login_is_the_credential_that_http_would_read_of_it_or_none(name: bytes, password: bytes) -> None:
    heard = hear([OFFER + bytes((1, len(name))) + name + bytes((len(password),)) + password])
    if heard.error is None:
        login = heard.events[1]
        assert isinstance(login, Login)
        claim = parse_basic(login.authorization)
        assert claim is None or claim == (name.decode(), password.decode())

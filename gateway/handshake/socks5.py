"""SOCKS version 5 (RFC 1928) with its username and password (RFC 1929): what the client says, in the order in which it
must say it, and the few bytes that it can be answered with.

Three messages at most: the methods it offers, its login where the listener demands one, and its request. Each is read
whole or not yet, and none is longer than 513 bytes. What stands behind the request is the tunnel's.
"""

import binascii
from collections.abc import Callable
from enum import IntEnum, StrEnum
from typing import NamedTuple

from gateway.handshake import HandshakeError, malformed
from whitelist.ip_text import format_v4, format_v6
from whitelist.reason import WORDING, Reason
from whitelist.target import Target, TargetError, parse_authority, parse_host

VERSION = 5
LOGIN_VERSION = 1  # of the sub-negotiation, RFC 1929 clause 2
_METHODS = {False: 0x00, True: 0x02}  # RFC 1928 clause 3: by whether the listener demands a login
_IPV4, _NAME, _IPV6 = 1, 3, 4  # address types, RFC 1928 clause 5
_COMMANDS = {1: "CONNECT", 2: "BIND", 3: "UDP-ASSOCIATE"}


class Step(StrEnum):
    """What is to be heard next."""

    METHODS = "methods"
    LOGIN = "login"
    REQUEST = "request"
    OVER = "over"


class Code(IntEnum):
    """The replies that there are (RFC 1928 clause 6)."""

    SUCCEEDED = 0
    FAILED = 1
    NOT_ALLOWED = 2
    NETWORK_UNREACHABLE = 3
    HOST_UNREACHABLE = 4
    REFUSED = 5
    TTL_EXPIRED = 6
    COMMAND_UNKNOWN = 7
    ADDRESS_TYPE_UNKNOWN = 8


# What a client is told for each reason: the reply has no room for words. The record says the rest.
CODES: dict[Reason, Code] = {
    **{reason: Code.NOT_ALLOWED for reason in Reason if WORDING[reason].status in (403, 407, 429, 451)},
    **{reason: Code.FAILED for reason in Reason if WORDING[reason].status in (400, 408, 500, 503)},
    Reason.METHOD_NOT_ALLOWED: Code.COMMAND_UNKNOWN,
    Reason.LINE_UNAVAILABLE: Code.NETWORK_UNREACHABLE,
    Reason.RESOLVE_FAILED: Code.HOST_UNREACHABLE,
    Reason.DIAL_FAILED: Code.REFUSED,
    Reason.UPSTREAM_TLS_FAILED: Code.REFUSED,
}


class UnknownAddressError(HandshakeError):
    """A request whose address is of a type that RFC 1928 does not have: it has a reply of its own."""


class Methods(NamedTuple):
    """The client offers what the listener demands. answer: the choice, to be sent."""

    consumed: int
    answer: bytes


class Login(NamedTuple):
    """A username and password, as the value of a Proxy-Authorization field that says the same (RFC 7617)."""

    consumed: int
    authorization: bytes


class Request(NamedTuple):
    """What it asks for. command: CONNECT, BIND or UDP-ASSOCIATE; kind and address: as they stand, unchecked."""

    consumed: int
    command: str
    kind: int
    address: bytes
    port: int

    def target(self) -> Target:
        """Where to, in the one form that CONNECT's authority has too. Raises TargetError."""
        if self.kind == _IPV4:
            return parse_host(format_v4(int.from_bytes(self.address)), self.port)
        if self.kind == _IPV6:
            return parse_host(format_v6(int.from_bytes(self.address)), self.port)
        if b":" not in self.address:
            return parse_authority(b"%b:%d" % (self.address, self.port))
        if not self.address.isascii():
            raise TargetError(Reason.NAME_INVALID, "not letters, digits and inner hyphens between single dots")
        return parse_host(str(self.address, "ascii"), self.port)  # some clients say addresses where a name belongs


Event = Methods | Login | Request


class Conversation:
    """One client's side, message by message. login: whether the listener demands one; it is then the only method that
    is taken, and without it none is."""

    __slots__ = ("login", "step")

    def __init__(self, *, login: bool) -> None:
        self.login = login
        self.step = Step.METHODS

    def read(self, buffer: bytes) -> Event | None:
        """The next message from the start of the buffer; None when more bytes are needed. A login is to be judged, and
        answered with logged_in(), before the next. Raises HandshakeError: identity-unknown where no method will do,
        method-not-allowed for a command that there is not, else malformed-request."""
        if not buffer or self.step is Step.OVER:
            return None
        event = _READ[self.step](self, buffer)
        if event is not None and self.step is not Step.LOGIN:
            self._go_on()
        return event

    def logged_in(self) -> bytes:
        """The login was right: what the client is told."""
        self._go_on()
        return b"\x01\x00"

    def _go_on(self) -> None:
        self.step = _AFTER[self.step][self.login]

    def refusal(self, reason: Reason, error: HandshakeError | None = None) -> bytes:
        """What a client is told at this step: that no method will do, that the login failed, or a reply."""
        if self.step is Step.METHODS:
            return b"\x05\xff"
        if self.step is Step.LOGIN:
            return b"\x01\x01"
        return reply(Code.ADDRESS_TYPE_UNKNOWN if isinstance(error, UnknownAddressError) else CODES[reason])

    def read_methods(self, buffer: bytes) -> Methods | None:
        """VER, NMETHODS, METHODS (RFC 1928 clause 3)."""
        if buffer[0] != VERSION:
            raise malformed("not version 5 of SOCKS")
        if len(buffer) < 2:
            return None
        end = 2 + buffer[1]
        if end == 2:
            raise malformed("no authentication method is offered")
        if len(buffer) < end:
            return None
        wanted = _METHODS[self.login]
        if wanted not in buffer[2:end]:
            name = "username and password" if self.login else "no authentication"
            reason = Reason.IDENTITY_UNKNOWN
            raise HandshakeError(reason, WORDING[reason].status, f"the client does not offer the method {name}")
        return Methods(end, bytes((VERSION, wanted)))

    def read_login(self, buffer: bytes) -> Login | None:
        """VER, ULEN, UNAME, PLEN, PASSWD (RFC 1929 clause 2)."""
        if buffer[0] != LOGIN_VERSION:
            raise malformed("not version 1 of the username and password")
        if len(buffer) < 2:
            return None
        middle = 2 + buffer[1]
        if len(buffer) <= middle:
            return None
        end = middle + 1 + buffer[middle]
        if len(buffer) < end:
            return None
        name, password = buffer[2:middle], buffer[middle + 1 : end]
        if not name or not password:
            raise malformed("an empty username or password")
        if b":" in name:  # it would move the border between the two
            raise malformed("a colon in the username")
        return Login(end, b"Basic " + binascii.b2a_base64(name + b":" + password, newline=False))

    def read_request(self, buffer: bytes) -> Request | None:
        """VER, CMD, RSV, ATYP, DST.ADDR, DST.PORT (RFC 1928 clause 4)."""
        if buffer[0] != VERSION:
            raise malformed("a request that is not of version 5")
        if len(buffer) < 5:
            return None
        _, command, reserved, kind, first = buffer[:5]
        if reserved:
            raise malformed("a reserved octet that is not zero")
        if command not in _COMMANDS:
            reason = Reason.METHOD_NOT_ALLOWED
            raise HandshakeError(reason, WORDING[reason].status, "a command that SOCKS does not have")
        start = 4
        if kind == _IPV4:
            end = start + 4
        elif kind == _IPV6:
            end = start + 16
        elif kind == _NAME:
            start, end = 5, 5 + first
        else:
            raise UnknownAddressError(Reason.MALFORMED_REQUEST, 400, "an address type that SOCKS does not have")
        if len(buffer) < end + 2:
            return None
        port = int.from_bytes(buffer[end : end + 2])
        return Request(end + 2, _COMMANDS[command], kind, buffer[start:end], port)


_READ: dict[Step, Callable[[Conversation, bytes], Event | None]] = {
    Step.METHODS: Conversation.read_methods,
    Step.LOGIN: Conversation.read_login,
    Step.REQUEST: Conversation.read_request,
}
_AFTER = {  # without and with a login
    Step.METHODS: (Step.REQUEST, Step.LOGIN),
    Step.LOGIN: (Step.REQUEST, Step.REQUEST),
    Step.REQUEST: (Step.OVER, Step.OVER),
}


def reply(code: Code) -> bytes:
    """VER, REP, RSV, ATYP, BND.ADDR, BND.PORT. Which address a line's connection is bound to is no client's matter: the
    zeros that stand for none."""
    return bytes((VERSION, code, 0, _IPV4, 0, 0, 0, 0, 0, 0))

"""A connection behind a balancer, until its PROXY header has said where it came from.

Only named balancers are listened to at all. What a balancer says of itself (LOCAL: its health checks) counts as its own
address; a connection whose source it does not know is closed without a word if nothing follows, and refused if
something does, since nobody's place can be looked up.
"""

import socket
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from gateway.handshake import HandshakeError
from gateway.handshake.proxy_protocol import MAX_HEADER, Preamble, parse_preamble
from gateway.reactor import HUP, RDHUP, READ_EDGE
from gateway.session import Session
from telemetry.record import CloseCause
from whitelist.ip_text import parse_v4, parse_v6
from whitelist.reason import WORDING, Reason

if TYPE_CHECKING:
    from gateway.context import Context
    from gateway.flow import Flow
    from gateway.listener.plain import PlainListener


# A session's class, or what makes one of: context, listener, descriptor, client address and port, access interface.
Begin = Callable[["Context", "PlainListener", int, str, int, str], Session]


class Trusted:
    """The balancers: prefixes in canonical form."""

    def __init__(self, prefixes: Iterable[str]) -> None:
        self._ranges = [_range(prefix) for prefix in prefixes]

    def __contains__(self, ip: str) -> bool:
        """Whether an address (canonical text) is one of theirs."""
        six, value = _value(ip)
        return any(six == of_six and first <= value <= last for of_six, first, last in self._ranges)


def _value(ip: str) -> tuple[bool, int]:
    value = parse_v6(ip) if ":" in ip else parse_v4(ip)
    return ":" in ip, -1 if value is None else value


def _range(prefix: str) -> tuple[bool, int, int]:
    address, _, length = prefix.partition("/")
    six, first = _value(address)
    return six, first, first | (1 << ((128 if six else 32) - int(length))) - 1


class PreambleReader:
    """Reads the header and not a byte more, then hands the connection to a session that begins behind it.

    The header is looked at where it lies and taken once it is whole: what follows may be for a reader of another kind.
    Events come by edges, so that half a header that stays there wakes nobody."""

    __slots__ = (
        "begin", "begun", "ctx", "deadline", "expires", "fd", "flow", "interface", "ip", "listener", "patient",
        "port", "sock", "unknown",
    )  # fmt: skip

    def __init__(
        self,
        ctx: "Context",
        begin: Begin,
        trusted: Trusted,
        listener: "PlainListener",
        fd: int,
        ip: str,
        port: int,
        interface: str,
    ) -> None:
        self.ctx, self.begin, self.listener = ctx, begin, listener
        self.fd, self.ip, self.port, self.interface = fd, ip, port, interface
        self.sock = socket.SocketType(socket.AF_INET, socket.SOCK_STREAM, 0, fd)
        self.unknown = self.begun = self.patient = False
        self.flow: Flow | None = None  # nobody has asked for anything yet
        self.deadline = ctx.reactor.now + ctx.first_byte
        self.expires = float("inf")
        ctx.live[fd] = self
        ctx.reactor.watch(fd, READ_EDGE, self.on_header)
        if ip not in trusted:
            self._refuse(Reason.SOURCE_NOT_ALLOWED, "not one of the balancers that this listener trusts")
        else:
            ctx.crowd.join(fd, self)

    def on_header(self, mask: int) -> None:
        """More of the header may be there, or behind one without a source anything at all."""
        try:
            seen = self.sock.recv(MAX_HEADER, socket.MSG_PEEK)
            if not seen:
                self.end(CloseCause.CLIENT_CLOSED)
                return
            self.begun = True
            header = None if self.unknown else parse_preamble(seen)
            if header is not None and len(self.sock.recv(header.consumed)) != header.consumed:
                raise AssertionError("what was seen is no longer there")
        except BlockingIOError:
            return
        except OSError:
            self.end(CloseCause.RESET)
            return
        except HandshakeError as error:
            self._refuse(error.reason, error.detail)
            return
        if self.unknown:
            self._refuse(Reason.SOURCE_NOT_ALLOWED, "the balancer does not say where the connection comes from")
        elif header is not None:
            self._announced(header, mask)
        elif mask & (RDHUP | HUP):
            self._refuse(Reason.MALFORMED_REQUEST, "the connection ended inside the PROXY header")

    def _announced(self, header: Preamble, mask: int) -> None:
        """The session is as if it had been accepted from there."""
        if header.source is not None:
            self.ip, self.port = header.source
        elif not header.local:
            self.unknown = True
            self.on_header(mask)  # what came with the header has no edge of its own
            return
        self._session()

    def _session(self) -> Session:
        """Gives the connection away. Registered anew, its socket tells of what is already there to be read."""
        fd, self.fd = self.fd, -1
        self.ctx.crowd.part(fd)
        self.sock.detach()
        self.ctx.reactor.forget(fd)
        return self.begin(self.ctx, self.listener, fd, self.ip, self.port, self.interface)

    def _refuse(self, reason: Reason, detail: str) -> None:
        """In the words and with the record of the listener's kind."""
        session = self._session()
        if session.fd >= 0:
            session.refuse(reason, detail, WORDING[reason].status)

    def leave(self, reason: Reason, detail: str) -> None:
        """Is sent away to make room."""
        self._refuse(reason, detail)

    def due(self, now: float) -> None:
        """It took too long, or there is not a byte of it yet."""
        if self.begun and not self.patient:
            self.patient = True
            self.deadline += self.ctx.timeouts.handshake - self.ctx.first_byte
            if self.deadline > now:
                return
        self._refuse(Reason.HANDSHAKE_TIMEOUT, "no whole PROXY header in time")

    def expired(self) -> None:
        """Nothing to expire: no flow is open."""

    def crashed(self, error: Exception) -> None:
        """A defect of ours."""
        self.ctx.report(error)
        self.end(CloseCause.INTERNAL_ERROR)

    def end(self, cause: CloseCause) -> None:
        """Closes the connection; nothing was asked, so there is nothing to record."""
        if self.fd >= 0:
            self.sock.detach()
            self.ctx.crowd.part(self.fd)
            self.ctx.live.pop(self.fd, None)
            self.ctx.reactor.close(self.fd)
            self.fd = -1

"""Connections of clients that know of no proxy, which the kernel brought here on their way to some address.

port 443: read the ClientHello → its name's passage to a line → record → relay, the hello first
port 80:  read the head → the forwarder takes over, request by request, for the service in Host

The address that the client wanted is recorded (original_dst), and never dialled nor decided on: it comes from the
client's own DNS, which may be mistaken, stale or made up. The name is decided, resolved over the line and dialled as
that of a CONNECT, and what names nothing is refused. Who asks is what access interface and prefix say.
"""

import socket
from typing import TYPE_CHECKING

from gateway.flow import Flow
from gateway.forward import Forwarder
from gateway.handshake import HandshakeError
from gateway.handshake.client_hello import HelloError, HelloReader
from gateway.handshake.connect import ConnectFields
from gateway.handshake.http1 import RequestHead
from gateway.handshake.origin import parse_origin_head
from gateway.handshake.tls_alert import (
    ACCESS_DENIED,
    DECODE_ERROR,
    INTERNAL_ERROR,
    MISSING_EXTENSION,
    UNEXPECTED_MESSAGE,
    UNRECOGNIZED_NAME,
    fatal_alert,
)
from gateway.passage import Passage
from gateway.session import HELLO_WORDS, READ_BYTES, Session, note_hello
from whitelist.decide import Access
from whitelist.reason import WORDING, Reason
from whitelist.target import TargetError, parse_host

if TYPE_CHECKING:
    from gateway.context import Context
    from gateway.listener.plain import PlainListener

HTTP = 80
_UNREADABLE = HELLO_WORDS | {"not-tls": (Reason.PROTOCOL_NOT_ALLOWED, UNEXPECTED_MESSAGE)}
_ALERTS = {
    Reason.NAME_INVALID: UNRECOGNIZED_NAME,
    Reason.MALFORMED_REQUEST: DECODE_ERROR,
    Reason.HANDSHAKE_TIMEOUT: DECODE_ERROR,
}


class _Taken(Passage):
    """destination: where the client wanted to go, "ADDRESS:PORT"."""

    __slots__ = ()

    destination: str

    def begin(self) -> Flow:
        """A flow that also says where the client wanted to go."""
        flow = super().begin()
        flow.record.original_dst = self.destination
        return flow

    def refuse(self, reason: Reason, detail: str = "", status: int = 0, rule: str = "") -> None:
        """As to a client of no proxy, of which none may ask for a credential (RFC 9110 clause 15.5.8)."""
        status = status or WORDING[reason].status
        super().refuse(reason, detail, 403 if status == 407 else status, rule)


class TransparentForwarder(_Taken, Forwarder):
    """A client connection in plain HTTP whose requests are for the service that it called."""

    __slots__ = ("destination",)

    def next_head(self) -> RequestHead | None:
        """The next request, if it is whole. Raises HandshakeError."""
        return parse_origin_head(self.buffer, self.ctx.limits.header_bytes)


class TransparentSession(_Taken, Session):
    """A connection until it is known what service it is for, and the line is there. alert: what to say in TLS where the
    reason alone does not tell."""

    __slots__ = ("alert", "destination", "is_http", "reader")

    established = b""  # the client waits for the service's words alone

    def __init__(self, ctx: "Context", listener: "PlainListener", fd: int, ip: str, port: int, interface: str) -> None:
        address, called = _called(fd, six=":" in ip)
        self.destination = f"[{address}]:{called}" if ":" in address else f"{address}:{called}"
        self.is_http = called == HTTP
        self.reader = HelloReader()
        self.alert = 0
        super().__init__(ctx, listener, fd, ip, port, interface)
        if self.fd >= 0 and address in ctx.own:  # the nft table lets nobody come so far
            self.refuse(
                Reason.ADDRESS_FORBIDDEN, "the gateway itself was called where it only takes what is for others"
            )

    def hear(self, data: bytes) -> bool:
        """Takes a piece of what the client says first. True: nothing more is to be read now."""
        size = len(data)
        self.buffer = self.buffer + data if self.buffer else data
        if not self.is_http:
            return self._hear_hello(size)
        try:
            head = parse_origin_head(self.buffer, self.ctx.limits.header_bytes, seen=self.seen)
        except HandshakeError as error:
            self.refuse(error.reason, error.detail, error.status)
            return True
        if head is None:
            self.seen = len(self.buffer)
            return False
        self._forward(head, self.buffer[head.consumed :])
        return True

    def _forwarder(self, fd: int) -> Forwarder:
        forwarder = TransparentForwarder(self.ctx, self.listener, fd, self.ip, self.port, self.interface, self.fin)
        forwarder.destination = self.destination
        return forwarder

    def _hear_hello(self, size: int) -> bool:
        """The name in the ClientHello is what is asked for; size: of the last piece. The hello is read again, against
        the grant, once the line is there."""
        try:
            facts = self.ctx.hellos.read(self.buffer, self.reader)
        except HelloError as error:
            reason, self.alert = _UNREADABLE[error.kind]
            self.refuse(reason, error.detail)
            return True
        if facts is None:
            return False
        self.spoke = self.fin or size >= READ_BYTES  # no edge will tell what a full read left behind
        flow = self.begin()
        flow.record.method = "CONNECT"  # what its firm's other programs would have said
        note_hello(flow.record, facts)
        if facts.sni is None:
            self.alert = MISSING_EXTENSION  # RFC 8446 clause 9.2
            self.refuse(Reason.NAME_INVALID, "no server name in the ClientHello: which service is asked is not said")
            return True
        try:
            target = parse_host(facts.sni, int(self.destination.rpartition(":")[2]))
            if target.is_ip:
                raise TargetError(Reason.NAME_INVALID, "an address for a server name (RFC 6066 clause 3)")
        except TargetError as error:
            self.refuse(error.reason, error.detail)
            return True
        self.ctx.reactor.handle(self.fd, self.on_client_early)
        self.admit(flow, ConnectFields("CONNECT", "", None, ""), target, Access.TUNNEL)
        return True

    def _gone(self) -> None:
        """The client ended its side before it had said what it wanted."""
        if self.buffer and not self.is_http:
            self.refuse(Reason.MALFORMED_REQUEST, "the connection ended inside the ClientHello")
        else:
            super()._gone()

    def late(self) -> None:
        """Ends what took too long."""
        if self.flow is None and self.hello is None and not self.is_http:
            self.refuse(Reason.HANDSHAKE_TIMEOUT, "no whole ClientHello in time")
        else:
            super().late()

    def on_refused(self, reason: Reason, status: int, detail: str) -> None:
        """A page, or an alert (RFC 8446 clause 6.2): that has no room for the reference."""
        if not self.is_http:
            alert = self.alert or _ALERTS.get(reason, INTERNAL_ERROR if status >= 500 else ACCESS_DENIED)
            self._say(fatal_alert(alert))
            return
        self._say(self.refusal(reason, status, detail, method="GET"))


def _called(fd: int, *, six: bool) -> tuple[str, int]:
    """The address and port that the client called: the socket's own name."""
    sock = socket.SocketType(socket.AF_INET6 if six else socket.AF_INET, socket.SOCK_STREAM, 0, fd)
    try:
        name: tuple[str, int] = sock.getsockname()[:2]
    finally:
        sock.detach()
    return name

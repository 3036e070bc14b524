"""One client connection of HTTP, from its first byte to its last.

read the head → (CONNECT) passage to a line → record, 200 → read the ClientHello → relay → close
              → (absolute-form) the forwarder takes over
"""

import os
import socket
from typing import TYPE_CHECKING

from gateway.detour.channel import Channel
from gateway.detour.detour import Detour
from gateway.forward import Forwarder
from gateway.handshake import HandshakeError
from gateway.handshake.client_hello import HelloError, HelloReader
from gateway.handshake.connect import usual_connect
from gateway.handshake.hello_memo import HelloFacts
from gateway.handshake.hello_terms import hello_fault
from gateway.handshake.http1 import RequestHead, parse_head
from gateway.handshake.tls_alert import DECODE_ERROR, INTERNAL_ERROR, UNRECOGNIZED_NAME, fatal_alert
from gateway.inspection.wire import Begin, FromInspector
from gateway.lingering import Lingering
from gateway.passage import Head, Passage
from gateway.reactor import ERR, HUP, RDHUP, READ_EDGE
from gateway.relay.tunnel import Tunnel
from gateway.retry import WATCH
from telemetry.record import CloseCause, Record
from whitelist.decide import Access, Permit
from whitelist.model import Protocol
from whitelist.reason import WORDING, Reason
from whitelist.target import TargetError, host_header_matches, parse_authority

if TYPE_CHECKING:
    from gateway.context import Context
    from gateway.flow import Flow
    from gateway.listener.plain import PlainListener

READ_BYTES = 32 * 1024
HELLO_WORDS = {
    "not-tls": (Reason.PROTOCOL_NOT_ALLOWED, UNRECOGNIZED_NAME),
    "malformed": (Reason.MALFORMED_REQUEST, DECODE_ERROR),
    "too-large": (Reason.MALFORMED_REQUEST, DECODE_ERROR),
}


def note_hello(record: Record, facts: HelloFacts) -> None:
    """What a ClientHello says, into the record of its flow."""
    record.sni = facts.sni or ""
    record.alpn = facts.alpn
    record.ech = facts.ech
    record.ja4 = facts.ja4


class Session(Passage):
    """A connection in its handshake. Once a tunnel or a forwarder has taken over it is gone."""

    __slots__ = ("buffer", "channel", "early", "fin", "held", "hello", "opened", "patient", "seen", "spoke", "version")

    established = b"HTTP/1.1 200 Connection established\r\n\r\n"

    def __init__(self, ctx: "Context", listener: "PlainListener", fd: int, ip: str, port: int, interface: str) -> None:
        super().__init__(ctx, listener.name, fd, ip, port, interface)
        self.buffer = b""
        self.seen = 0
        self.early = 0  # event mask of the line's socket, kept until the tunnel is there
        self.fin = False
        self.held = False  # the line is there, and the inspector not yet
        self.spoke = False  # the client has sent something since its head, or ended
        self.opened = False
        self.hello: HelloReader | None = None
        self.channel: Channel | None = None  # to an inspector, where the grant asks for one
        self.version = "1.1"
        self.patient = False  # the deadline is no longer that of the first byte
        self.is_too_much = len(ctx.live) >= ctx.max_live and ctx.is_full()
        ctx.live[fd] = self
        ctx.reactor.watch(fd, READ_EDGE, self.on_head)
        too_many = ctx.crowd.enter(fd, self, ip)
        if too_many is not None:
            self.refuse(*too_many)

    # Handshake.

    def on_head(self, mask: int) -> None:
        """Bytes of the request head, in whatever pieces they come."""
        if mask & RDHUP:
            self.fin = True
        while True:
            try:
                data = self._read()
            except BlockingIOError:
                return
            except OSError:
                self.end(CloseCause.RESET)
                return
            if not data:
                self._gone()
                return
            if self.hear(data):
                return

    def hear(self, data: bytes) -> bool:
        """Takes a piece of the head. True: that was the last, and nothing more is to be read now."""
        if not self.buffer:
            usual = usual_connect(data, self.ctx.limits.header_bytes)
            if usual is not None:
                self.spoke = self.fin
                self._connect(usual[1], usual[0], usual[0])
                return True
        data = self.buffer = self.buffer + data if self.buffer else data
        try:
            head = parse_head(data, self.ctx.limits.header_bytes, seen=self.seen, own_pages=True)
            if head is not None:
                self.buffer = data[head.consumed :]
                # A full read may have left something behind, and the end may be near: no edge will tell.
                self.spoke = self.fin or len(data) >= READ_BYTES
                self._headed(head)
                return True
        except HandshakeError as error:
            self.refuse(error.reason, error.detail, error.status)
            return True
        self.seen = len(data)
        return False

    # What is otherwise where the client speaks TLS (gateway.secure).

    def _read(self) -> bytes:
        """What the client sent, b"" at its end. Raises BlockingIOError where there is nothing yet, OSError."""
        return os.read(self.fd, READ_BYTES)

    def _write(self, data: bytes) -> bool:
        """Sends little; whether all of it went. Raises OSError."""
        return os.write(self.fd, data) == len(data)

    def _sent(self, data: bytes) -> bool:
        """Sends little that belongs to the handshake. False: the connection is gone, or ended since it took no more."""
        try:
            whole = self._write(data)
        except OSError:
            whole = False
        if not whole:
            self.end(CloseCause.RESET)
        return whole

    def _tunnel(self, flow: "Flow", fd: int, upstream: socket.SocketType) -> Tunnel:
        """Who takes over after a CONNECT."""
        return Tunnel(self.ctx, flow, fd, upstream, self.expires)

    def _forwarder(self, fd: int) -> Forwarder:
        """Who takes over for plain requests."""
        return Forwarder(self.ctx, self.listener, fd, self.ip, self.port, self.interface, self.fin)

    # Handshake, further.

    def _gone(self) -> None:
        """The client ended its side before its head was whole."""
        if self.buffer:
            self.refuse(Reason.MALFORMED_REQUEST, "the connection ended inside the request head")
        else:
            self.end(CloseCause.CLIENT_CLOSED)

    def _headed(self, head: RequestHead) -> None:
        """A whole head: a tunnel, or a request to forward."""
        self.version = head.version
        if head.form == "authority":
            self._connect(head, head.target, head.host)
        else:
            self._forward(head, self.buffer)

    def _forward(self, head: RequestHead, rest: bytes) -> None:
        """The forwarder takes over; rest: what was read behind the head."""
        self._leave_handshake()
        fd, self.fd = self.fd, -1
        forwarder = self._forwarder(fd)
        try:
            forwarder.take(head, rest)
        except Exception as error:  # noqa: BLE001 - the session's handlers are no longer the ones to tell
            forwarder.crashed(error)

    def _connect(self, head: Head, authority: bytes, host: bytes | None) -> None:
        """A CONNECT: its target in one canonical form, then the passage."""
        flow = self.begin()
        try:
            target = parse_authority(authority)
        except TargetError as error:
            flow.record.method = head.method
            self.refuse(error.reason, error.detail)
            return
        if host is not None and host != authority and not host_header_matches(target, "", host):
            flow.record.method = head.method
            self.refuse(Reason.MALFORMED_REQUEST, "Host names another target than the request line")
            return
        self.ctx.reactor.handle(self.fd, self.on_client_early)
        self.admit(flow, head, target, Access.TUNNEL)

    def on_client_early(self, mask: int) -> None:
        """The client speaks, or leaves, before it was answered. Its bytes wait in the socket until then."""
        if mask & (ERR | HUP):
            if self.flow is not None:
                self.refuse(Reason.DIAL_FAILED, "the client left before the line answered")
            else:
                self.end(CloseCause.RESET)
            return
        if mask & RDHUP:
            self.fin = True
        self.spoke = True

    # Inspection, where the grant asks for it.

    def inspected(self, permit: Permit) -> bool:
        """Asks an inspector to take the tunnel, while the line is being dialled; refuses where there is none."""
        ctx, flow, target = self.ctx, self.flow, self.target
        assert flow is not None and target is not None and permit.inspect is not None
        record, config = flow.record, ctx.config
        if not config.inspectors:
            return super().inspected(permit)
        begin = Begin(
            record.flow, permit.tenant, record.user or record.credential or record.client_ip, permit.grant,
            permit.service, target.host, target.port, permit.inspect, config.node, config.portal, permit.revision,
        )  # fmt: skip
        try:
            self.channel = Channel(ctx, self, begin)
        except OSError as error:
            record.service, record.grant = permit.service, permit.grant
            self.refuse(Reason.INSPECTION_UNAVAILABLE, f"no inspector takes it: {error.strerror}")
            return False
        return True

    def inspector_ready(self) -> None:
        """The inspector takes the tunnel; the line may be there already."""
        if self.held and self.flow is not None:
            self.held = False
            self.on_open(0)

    def inspector_lost(self, detail: str) -> None:
        """No inspector, no tunnel."""
        if self.hello is not None:
            self._refuse_hello(Reason.INSPECTION_UNAVAILABLE, detail, INTERNAL_ERROR)
        elif self.flow is not None:
            self.refuse(Reason.INSPECTION_UNAVAILABLE, detail)

    def told(self, message: FromInspector) -> None:
        """Nothing is to be said before the tunnel is there."""
        self.inspector_lost("the inspector spoke out of turn")

    def drop_upstream(self) -> None:
        """Closes the line's sockets, and forgets what was heard on them."""
        self.held, self.early = False, 0
        super().drop_upstream()

    def _drop_channel(self) -> None:
        if self.channel is not None:
            self.channel.close()
            self.channel = None

    # The line is there.

    def on_open(self, mask: int) -> None:
        """Records the permit; the client is told once the record is written."""
        assert self.flow is not None and self.upstream is not None and self.line is not None
        ctx = self.ctx
        ctx.reactor.handle(self.upstream.fileno(), self.on_upstream_early)
        self.early |= mask
        if self.channel is not None and not self.channel.ready:
            self.held = True
            return
        self.flow.opened(self.line.index)
        self.opened = True
        ctx.reactor.at_turn_end(self.confirm)

    def on_upstream_early(self, mask: int) -> None:
        """The service speaks or ends before the tunnel is there: it will be read then."""
        self.early |= mask
        if mask & (ERR | HUP) and self.flow is not None and self.hello is not None:
            self.end(CloseCause.UPSTREAM_CLOSED)

    def confirm(self) -> None:
        """The open record is in the spool: 200, then the hello, or straight to the relay."""
        flow = self.flow
        if flow is None or self.fd < 0:
            return
        if self.ctx.spool_failed:
            self.refuse(Reason.EVIDENCE_UNAVAILABLE, "the record could not be written")
            return
        if not self._sent(self.established):
            return
        assert flow.permit is not None
        flow.record.status = 200
        if flow.permit.protocol is not Protocol.TLS:
            self._relay()
            return
        self.deadline = self.ctx.reactor.now + self.ctx.timeouts.handshake
        self.hello = HelloReader()
        self.ctx.reactor.handle(self.fd, self.on_hello)
        if self.buffer:
            self._check_hello()
        if self.spoke and self.hello is not None:  # its edge came before anyone was listening for a hello
            self.on_hello(RDHUP if self.fin else 0)

    def on_hello(self, mask: int) -> None:
        """Bytes of the ClientHello. They are kept, and go out only once the name in them is the permitted one."""
        if mask & RDHUP:
            self.fin = True
        while self.hello is not None:
            try:
                data = self._read()
            except BlockingIOError:
                return
            except OSError:
                self.end(CloseCause.RESET)
                return
            if not data:
                self.end(CloseCause.CLIENT_CLOSED)
                return
            self.buffer = self.buffer + data if self.buffer else data
            self._check_hello()

    def _check_hello(self) -> None:
        """SNI must be the permitted host, and the grant's terms must hold; what else the hello says is noted."""
        flow, target = self.flow, self.target
        assert self.hello is not None and flow is not None and target is not None
        try:
            facts = self.ctx.hellos.read(self.buffer, self.hello)
        except HelloError as error:
            reason, alert = HELLO_WORDS[error.kind]
            self._refuse_hello(reason, error.detail, alert)
            return
        if facts is None:
            return
        record = flow.record
        note_hello(record, facts)
        flow.hello = facts
        terms = flow.permit.tls if flow.permit is not None else None
        if facts.sni != target.host or terms is not None:  # else all is well under the usual terms
            fault = hello_fault(facts, target, record.address, terms)
            if fault is not None:
                self._refuse_hello(*fault)
                return
        self._relay()

    def _refuse_hello(self, reason: Reason, detail: str, alert: int) -> None:
        """After the 200 only a TLS alert can tell the client; the line's socket is reset so that nothing looks
        normal."""
        self.hello = None
        flow, self.flow = self.flow, None
        assert flow is not None and self.upstream is not None
        self.upstream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        self.drop_upstream()
        flow.refused(reason, WORDING[reason].status, detail)
        self._say(fatal_alert(alert))

    # Relay.

    def _relay(self) -> None:
        """Hands both sockets to a tunnel, with what was read so far."""
        flow, upstream, fd = self.flow, self.upstream, self.fd
        assert flow is not None and upstream is not None
        self._leave_handshake()
        channel, self.channel = self.channel, None
        detour = None if channel is None else Detour(self.ctx, channel)
        tunnel = self._tunnel(flow, fd, upstream if detour is None else detour.near)
        early = self.early
        data, end = self.buffer, 0
        if flow.hello is not None and self.hello is not None:
            end = self.hello.end(data)
            tunnel.guard = WATCH
        # From here on the tunnel owns all of it: whoever still holds this session must not be able to end it.
        self.fd, self.flow, self.upstream, self.hello, self.buffer = -1, None, None, None, b""
        try:
            if detour is not None:
                tunnel.detour = detour
                detour.begin(tunnel, upstream, early)
                early = 0
                if tunnel.client < 0:
                    return
            if 0 < end < len(data):
                data = data[:end] + WATCH.said(tunnel, data[end:])
                if tunnel.client < 0:
                    return
            tunnel.start(data, self.fin, self.spoke, early)
        except Exception as error:  # noqa: BLE001 - the session's handlers are no longer the ones to tell
            tunnel.crashed(error)

    # Endings.

    def on_refused(self, reason: Reason, status: int, detail: str) -> None:
        """Answers with the refusal, or not at all where a 200 was already sent."""
        self._say(self.refusal(reason, status, detail, method="CONNECT", http_version=self.version))

    def _say(self, last_words: bytes) -> None:
        """Sends the last bytes once the record is written, and closes without cutting them off."""
        self._leave_handshake()
        if self.channel is not None:
            self._drop_channel()
        fd, self.fd = self.fd, -1
        self.hello = None
        self.buffer = b""
        if fd >= 0:
            Lingering(self.ctx, fd, last_words)

    def _leave_handshake(self) -> None:
        self.ctx.crowd.exit(self.fd, self.ip)

    def leave(self, reason: Reason, detail: str) -> None:
        """Is sent away to make room, while nothing is known of it yet."""
        self.refuse(reason, detail)

    def begun(self) -> bool:
        """Whether the client has said anything yet."""
        return bool(self.buffer)

    def due(self, now: float) -> None:
        """The handshake or the dial took too long; or the first byte, if none came."""
        if self.flow is None and not self.patient and self.begun():
            self.patient = True
            self.deadline += self.ctx.timeouts.handshake - self.ctx.first_byte
            if self.deadline > now:
                return
        self.late()

    def late(self) -> None:
        """Ends what took too long."""
        if self.hello is not None:
            self._refuse_hello(Reason.HANDSHAKE_TIMEOUT, "no whole ClientHello in time", DECODE_ERROR)
        elif self.flow is None:
            self.refuse(Reason.HANDSHAKE_TIMEOUT, "no whole request head in time")
        else:
            self.unanswered()

    def expired(self) -> None:
        """Grant or credential ended during the handshake."""
        if self.opened:
            self.end(CloseCause.EXPIRED)
        else:
            self.refuse(Reason.GRANT_EXPIRED, "ended while the connection was being made")

    def end(self, cause: CloseCause) -> None:
        """Closes everything without a word; a flow that is not open yet is refused."""
        if self.flow is not None and not self.opened:
            self.ended_early(cause)
            return
        self.drop_upstream()
        if self.channel is not None:
            self._drop_channel()
        self.hello = None
        flow, self.flow = self.flow, None
        if flow is not None:
            flow.closed(cause)
        if self.fd >= 0:
            self._leave_handshake()
            self.ctx.live.pop(self.fd, None)
            self.ctx.reactor.close(self.fd)
            self.fd = -1

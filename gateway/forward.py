"""Plain HTTP: absolute-form requests of one client connection, each decided, recorded and passed on by itself.

A line's connection is kept for the next request only where tenant, target and line are the same, and never longer than
the client's connection. After a refusal the client's connection closes, so no byte behind it is ever read as a request.
"""

import os
from socket import MSG_PEEK
from typing import TYPE_CHECKING

from gateway.handshake import HandshakeError
from gateway.handshake.forward import request_head, response_head
from gateway.handshake.framing import BodyFramer, request_framing
from gateway.handshake.http1 import RequestHead, parse_head
from gateway.handshake.response import ResponseHead, bad_response, parse_response_head, response_framing
from gateway.identity import Identity
from gateway.lingering import Lingering
from gateway.passage import Passage
from gateway.portal import asked_by_place, visit
from gateway.reactor import BOTH_EDGE, ERR, HUP, RDHUP
from telemetry.record import CloseCause
from whitelist.decide import Access
from whitelist.reason import Reason
from whitelist.target import TargetError, host_header_matches, parse_absolute_uri

if TYPE_CHECKING:
    from socket import SocketType

    from gateway.context import Context

READ_BYTES = 32 * 1024
HIGH = 128 * 1024  # bytes waiting for one side before the other is no longer read
KEEP_ALIVE = 60.0  # seconds between requests
MAX_PATH = 2048
ROUNDS = 16

# IANA's HTTP method registry without CONNECT, PRI, and TRACE, which would show the service's view of the request.
METHODS = frozenset(
    (
        "GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "QUERY", "ACL", "BASELINE-CONTROL", "BIND",
        "CHECKIN",
        "CHECKOUT", "COPY", "LABEL", "LINK", "LOCK", "MERGE", "MKACTIVITY", "MKCALENDAR", "MKCOL", "MKREDIRECTREF",
        "MKWORKSPACE", "MOVE", "ORDERPATCH", "PROPFIND", "PROPPATCH", "REBIND", "REPORT", "SEARCH", "UNBIND",
        "UNCHECKOUT", "UNLINK", "UNLOCK", "UPDATE", "UPDATEREDIRECTREF", "VERSION-CONTROL",
    )
)  # fmt: skip


class Forwarder(Passage):
    """A client connection in plain HTTP. head: the request under way; kept: what self.upstream is connected for."""

    __slots__ = (
        "answer", "answer_seen", "buffer", "client_fin", "counted_in", "counted_out", "framer_in", "framer_out",
        "hard_deadline", "head", "incoming", "keep", "kept", "line_fin", "sending", "to_client", "to_line", "watching",
    )  # fmt: skip

    def __init__(
        self, ctx: "Context", listener: str, fd: int, ip: str, port: int, interface: str, client_fin: bool
    ) -> None:
        super().__init__(ctx, listener, fd, ip, port, interface)
        ctx.live[fd] = self
        ctx.reactor.handle(fd, self.on_client)
        self.client_fin = client_fin
        self.buffer = b""  # read from the client, not yet used
        self.to_line = bytearray()
        self.to_client = bytearray()
        self.kept: tuple[str, str, int, str, tuple[str, ...], int] | None = None
        self.watching = False
        self.hard_deadline = ctx.reactor.now
        self.head: RequestHead | None = None
        self._reset()

    @property
    def moved(self) -> int:
        """Bytes of the exchange so far, both directions."""
        return self.counted_out + self.counted_in

    def _reset(self) -> None:
        """Ready for the next request."""
        self.head = None
        self.flow = None
        self.incoming = b""  # read from the line, not yet understood
        self.answer: ResponseHead | None = None
        self.answer_seen = 0
        self.framer_out: BodyFramer | None = None
        self.framer_in: BodyFramer | None = None
        self.keep = False
        self.sending = False  # the record is written and the request is on its way
        self.counted_out = self.counted_in = 0
        self.line_fin = False

    # One request.

    def take(self, head: RequestHead, rest: bytes) -> None:
        """Starts on a request whose head was read; rest: what the client sent behind it."""
        self.head, self.buffer = head, rest
        now = self.ctx.reactor.now
        self.hard_deadline = now + self.ctx.timeouts.total
        self.deadline = now + self.ctx.timeouts.dial
        flow = self.begin()
        flow.record.method = head.method
        if head.method not in METHODS:
            self.refuse(Reason.METHOD_NOT_ALLOWED, "a method that is not registered, or not for passing on")
            return
        if head.form != "absolute":
            asked_by_place(self, head)
            return
        try:
            uri = parse_absolute_uri(head.target)
            flow.record.path = uri.path[:MAX_PATH].decode("ascii", "replace")
            if head.host is not None and not host_header_matches(uri.target, "http", head.host):
                raise TargetError(Reason.MALFORMED_REQUEST, "Host names another target than the request line")
            self.framer_out = BodyFramer(request_framing(head))
        except TargetError as error:
            self.refuse(error.reason, error.detail)
            return
        self.admit(flow, head, uri.target, Access.HTTP)

    def at_portal(self, identity: Identity) -> None:
        """The firm asks for its own page."""
        assert self.flow is not None
        visit(self, identity, self.flow.record.path.encode("ascii", "replace"))

    def next_line(self) -> None:
        """Reuses the connection of the last request where it serves the same tenant, target and line, under the policy
        it was made under and no kill of its address; else dials."""
        upstream = self.upstream
        if upstream is not None:
            flow = self.flow
            assert flow is not None
            line = self.lines[0]
            if (
                self.kept == self._wanted(line.id)
                and self._silent(upstream)
                and not (self.ctx.kills and self.killed(line, upstream.getpeername()[0]))
            ):
                record = flow.record
                self.line = self.lines.pop(0)
                self.heed_end(line)
                self.classify(line)
                record.line, record.address = line.id, upstream.getpeername()[0]
                record.egress_ip, record.egress_port = upstream.getsockname()[:2]
                self.on_open(0)
                return
            self.drop_upstream()
        super().next_line()

    def _wanted(self, line: str) -> tuple[str, str, int, str, tuple[str, ...], int]:
        """What a kept connection must have been made for: the address behind it was checked under that."""
        flow, target = self.flow, self.target
        assert flow is not None and flow.permit is not None and target is not None
        return flow.record.tenant, target.host, target.port, line, flow.permit.special_prefixes, self.ctx.revision

    @staticmethod
    def _silent(upstream: "SocketType") -> bool:
        """Whether an idle connection is still there and holds no byte: whatever came unasked is no answer to what is
        asked next."""
        try:
            upstream.recv(1, MSG_PEEK)
        except BlockingIOError:
            return True
        except OSError:
            pass
        return False

    def on_open(self, mask: int) -> None:
        """The line is there: record, then send."""
        flow, upstream, line = self.flow, self.upstream, self.line
        assert flow is not None and upstream is not None and line is not None
        self.kept = self._wanted(line.id)
        self.ctx.reactor.handle(upstream.fileno(), self.on_line)
        flow.opened(line.index)
        self.ctx.reactor.at_turn_end(self.confirm)

    def confirm(self) -> None:
        """The open record is in the spool: the request may leave."""
        head, target = self.head, self.target
        if self.flow is None or self.fd < 0 or head is None or target is None:
            return
        if self.ctx.spool_failed:
            self.refuse(Reason.EVIDENCE_UNAVAILABLE, "the record could not be written")
            return
        host = target.authority.removesuffix(":80")
        self.to_line += request_head(head, host)
        self.sending = True
        self.touch()
        self.pump()

    # Bytes.

    def on_client(self, mask: int) -> None:
        """The client's socket became readable, writable or ended."""
        if mask & (ERR | HUP):
            self.end(CloseCause.RESET)
            return
        if mask & RDHUP:
            self.client_fin = True
        if self.head is None:
            self.read_head()
        elif self.sending:
            self.touch()
            self.pump()

    def on_line(self, mask: int) -> None:
        """The service's socket became readable, writable or ended."""
        if self.head is None:
            if self.upstream is not None and not self._silent(self.upstream):
                self.drop_upstream()
        elif self.sending:
            self.touch()
            self.pump()

    def touch(self) -> None:
        """There was life."""
        self.deadline = min(self.ctx.reactor.now + self.ctx.timeouts.idle, self.hard_deadline)

    def pump(self) -> None:
        """Moves what can be moved in both directions, then sees whether the exchange is over."""
        try:
            for _ in range(ROUNDS):
                moved = self._client_to_line()
                moved = self._line_to_client() or moved
                if self.fd < 0 or self.head is None:
                    return
                if self._over():
                    self._finish()
                    return
                if not moved:
                    return
            self.ctx.reactor.again(self._resume)
        except HandshakeError as error:
            self._broken(error)
        except OSError:
            self.end(CloseCause.RESET)

    def _resume(self) -> None:
        if self.fd >= 0 and self.sending:
            self.pump()

    def _client_to_line(self) -> bool:
        """The request body, through its framer."""
        framer, upstream = self.framer_out, self.upstream
        assert framer is not None
        moved = False
        if not framer.done and len(self.to_line) < HIGH:
            data: bytes | None = self.buffer
            self.buffer = b""
            if not data:
                data = self._read(self.fd)
                if data == b"":
                    raise HandshakeError(Reason.MALFORMED_REQUEST, 400, "the connection ended inside a body")
            if data:
                fed = framer.feed(data)
                self.to_line += fed.forward
                self.buffer = fed.rest
                moved = True
        if self.to_line and upstream is not None:
            sent = self._write(upstream.fileno(), self.to_line)
            if sent < 0:  # the service does not want more of the request; what it answers is still read
                self.to_line.clear()
                self.keep = False
            else:
                self.counted_out += sent
                moved = moved or sent > 0
        return moved

    def _line_to_client(self) -> bool:
        """The response, through its parser and framer."""
        moved = False
        if self.upstream is not None and len(self.to_client) < HIGH and not (self.framer_in and self.framer_in.done):
            try:
                data = self._read(self.upstream.fileno())
            except ConnectionError:  # no orderly end: what came so far may not pass for a whole answer
                raise bad_response("the connection was reset") from None
            if data == b"":
                self._line_ended()
                moved = True
            elif data:
                self.counted_in += len(data)
                self._answered(data)
                moved = True
        if self.to_client and self.fd >= 0:
            sent = self._write(self.fd, self.to_client)
            if sent < 0:
                self.end(CloseCause.RESET)
                return False
            moved = moved or sent > 0
            if self.to_client and not self.watching:
                self.watching = True
                self.ctx.reactor.change(self.fd, BOTH_EDGE)
        return moved

    def _answered(self, data: bytes) -> None:
        """Response bytes: head or heads first, then the body."""
        assert self.head is not None and self.flow is not None
        while self.framer_in is None:
            self.incoming += data
            data = b""
            answer = parse_response_head(self.incoming, seen=self.answer_seen)
            if answer is None:
                self.answer_seen = len(self.incoming)
                return
            self.incoming, self.answer_seen = self.incoming[answer.consumed :], 0
            framing = response_framing(answer, self.head.method)
            if answer.interim:
                if self.head.version == "1.1":
                    self.to_client += response_head(answer, framing, client_version="1.1", keep_alive=True)
                continue
            self.answer = answer
            self.flow.record.status = answer.status
            body = self.framer_out
            self.keep = (
                self.head.keep_alive
                and not self.client_fin
                and not self.ctx.draining
                and body is not None
                and body.done
            )
            self.to_client += response_head(answer, framing, client_version=self.head.version, keep_alive=self.keep)
            self.framer_in = BodyFramer(framing, chunk_out=self.head.version == "1.1", error=bad_response)
            data, self.incoming = self.incoming, b""
        fed = self.framer_in.feed(data)
        self.to_client += fed.forward
        if fed.rest:
            self.line_fin = True  # bytes behind a complete response belong to nobody: the connection is not kept

    def _line_ended(self) -> None:
        self.line_fin = True
        if self.framer_in is None:
            raise bad_response("the connection ended before a response")
        self.to_client += self.framer_in.finish()

    def _read(self, fd: int) -> bytes | None:
        """None: nothing there now; b"": the end. Raises OSError."""
        try:
            return os.read(fd, READ_BYTES)
        except BlockingIOError:
            return None

    def _write(self, fd: int, data: bytearray) -> int:
        """Bytes taken; -1 when the other side takes no more."""
        try:
            sent = os.write(fd, data)
        except BlockingIOError:
            return 0
        except OSError:
            return -1
        del data[:sent]
        return sent

    # The end of a request.

    def _over(self) -> bool:
        return self.framer_in is not None and self.framer_in.done and not self.to_client

    def _finish(self) -> None:
        """The response is with the client: close the record, keep or close the connections."""
        flow, answer = self.flow, self.answer
        assert flow is not None and answer is not None
        whole = self.framer_out is not None and self.framer_out.done and not self.to_line
        flow.closed(CloseCause.COMPLETED, self.counted_out, self.counted_in)
        keep = self.keep and whole
        if not (keep and answer.keep_alive and not self.line_fin):
            self.drop_upstream()
        self._reset()
        self.expires = float("inf")
        if not keep:
            self._linger(b"")
            return
        self.deadline = self.ctx.reactor.now + KEEP_ALIVE
        self.ctx.reactor.again(self.read_head)

    def read_head(self) -> None:
        """The next request on a kept connection."""
        if self.fd < 0 or self.head is not None:
            return
        while True:
            if self.buffer:
                try:
                    head = self.next_head()
                except HandshakeError as error:
                    self.refuse(error.reason, error.detail, error.status)
                    return
                if head is not None:
                    self.take(head, self.buffer[head.consumed :])
                    return
            try:
                data = self._read(self.fd)
            except OSError:
                data = b""
            if data is None:
                return
            if not data:
                self.end(CloseCause.CLIENT_CLOSED)
                return
            self.buffer += data

    def next_head(self) -> RequestHead | None:
        """The next request, if it is whole. Raises HandshakeError."""
        head = parse_head(self.buffer, self.ctx.limits.header_bytes)
        if head is not None and head.form == "authority":
            raise HandshakeError(Reason.MALFORMED_REQUEST, 400, "CONNECT behind plain requests")
        return head

    def _broken(self, error: HandshakeError) -> None:
        """A body or response that cannot be passed on. Before the response began the client is told why; after that its
        connection just ends, so that a truncated answer never looks whole."""
        if self.answer is None:
            self.refuse(error.reason, error.detail, error.status)
        else:
            self.end(CloseCause.RESET)

    def on_refused(self, reason: Reason, status: int, detail: str) -> None:
        """Tells the client and closes its connection."""
        head = self.head
        if self.answer is not None:
            self.end(CloseCause.RESET)
            return
        words = self.refusal(
            reason,
            status,
            detail,
            method=head.method if head is not None else "GET",
            html=head is not None and head.accepts_html,
            text=head is not None and head.accepts_text,
            http_version=head.version if head is not None else "1.1",
        )
        self._linger(words)

    def sealed(self, last_words: bytes) -> bytes:
        """What goes over the wire for the last words of this connection."""
        return last_words

    def _linger(self, last_words: bytes) -> None:
        fd, self.fd = self.fd, -1
        self.drop_upstream()
        if fd >= 0:
            Lingering(self.ctx, fd, last_words)

    def due(self, now: float) -> None:
        """A stage took too long."""
        if self.head is None:
            if self.buffer:
                self.refuse(Reason.HANDSHAKE_TIMEOUT, "no whole request head in time")
            else:
                self.end(CloseCause.IDLE)
        elif self.sending and now >= self.hard_deadline:
            self.end(CloseCause.TOTAL_TIME)
        elif self.sending and self.answer is not None:
            self.end(CloseCause.IDLE)
        elif self.sending and self.framer_out is not None and not self.framer_out.done and not self.to_line:
            self.refuse(Reason.HANDSHAKE_TIMEOUT, "no whole request body in time")
        else:
            self.unanswered()

    def expired(self) -> None:
        """The grant, the credential or the tenant's approval ends at this second."""
        self.end(CloseCause.EXPIRED)

    def end(self, cause: CloseCause) -> None:
        """Closes everything without a word, with the closing record of an open flow; a flow that is not open yet is
        refused. Both sides of an open flow are reset, so that a part of an answer or of a body never looks whole."""
        flow = self.flow
        if flow is not None and not flow.opened_at:
            self.ended_early(cause)
            return
        reactor, self.flow = self.ctx.reactor, None
        close = reactor.close
        if flow is not None:
            flow.closed(cause, self.counted_out, self.counted_in)
            close = reactor.abort
        if self.upstream is not None:
            close(self.upstream.detach())
            self.upstream = self.kept = None
        if self.fd >= 0:
            self.ctx.live.pop(self.fd, None)
            close(self.fd)
            self.fd = -1

    def drop_upstream(self) -> None:
        """Closes the line's socket, if there is one."""
        self.kept = None
        super().drop_upstream()

    def hang_up(self) -> bool:
        """Others need the room: closes between two requests; whether it did."""
        if self.head is not None or self.fd < 0:
            return False
        self.end(CloseCause.IDLE)
        return True

    def draining(self) -> None:
        """No further request is taken: a connection between two requests closes."""
        if self.head is None and not self.buffer:
            self._linger(b"")

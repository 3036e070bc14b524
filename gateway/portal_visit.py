"""A client's connection while control is asked what the firm's own page shows.

The answer is taken whole, checked, recorded in one record of kind portal, and sent under headers of our own.
"""

import socket
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

import msgspec

from gateway.handshake import HandshakeError
from gateway.handshake.response import parse_response_head
from gateway.lingering import Lingering
from gateway.portal_words import away_page, headed
from gateway.reactor import ERR, HUP, READ_EDGE
from telemetry.record import CloseCause, Kind

if TYPE_CHECKING:
    from gateway.application import Application
    from gateway.context import Context
    from gateway.flow import Flow

SOCKET: Final = "portal.sock"
PAC_PATH: Final = b"/proxy.pac"
SENDING = 20.0  # seconds in which a client must have taken its page
MAX_ANSWER = 4 << 20  # bytes


class Question(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What control is asked. path: without a query; html: for a person; tenant, user (the pseudonym of the label),
    credential: the identity, credential "" where the place alone said it; gateway: the address the client came to,
    "host:port", "" where only a balancer knows it."""

    path: str
    html: bool
    tenant: str
    user: str = ""
    credential: str = ""
    source: str
    interface: str
    site: str = ""
    room: str = ""
    listener: str
    gateway: str = ""


class Visit:
    """A client's connection while control is asked; the descriptor is already watched. seal: makes of the last words
    what goes over the wire."""

    __slots__ = (
        "control",
        "ctx",
        "deadline",
        "expires",
        "fd",
        "flow",
        "head_only",
        "heard",
        "question",
        "seal",
        "under_way",
        "words",
    )

    asks_at = "/"

    def __init__(
        self, ctx: "Context", flow: "Flow", fd: int, question: "Question | Application", *, head_only: bool,
        seal: Callable[[bytes], bytes] = bytes,
    ) -> None:  # fmt: skip
        self.ctx = ctx
        self.flow: Flow | None = flow
        self.fd = fd
        self.question = question
        self.head_only = head_only
        self.seal = seal
        self.control: socket.socket | None = None
        self.heard = bytearray()
        self.words = b""
        self.under_way = True
        self.deadline = ctx.reactor.now + ctx.timeouts.dial
        self.expires = float("inf")
        ctx.live[fd] = self
        ctx.desk.under_way += 1
        ctx.reactor.handle(fd, self.on_client)

    def ask(self) -> None:
        """Sends the question, which fits into any socket buffer."""
        body = msgspec.json.encode(self.question)
        said = b"POST %b HTTP/1.1\r\nHost: portal\r\nConnection: close\r\n" % self.asks_at.encode("ascii")
        said += b"Content-Type: application/json\r\n"
        said += b"Content-Length: %d\r\n\r\n" % len(body) + body
        try:
            self.control = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
            self.control.connect(str(self.ctx.config.run_dir / SOCKET))
            sent = self.control.send(said)
        except OSError as error:
            self.away(f"control is not reached: {error.strerror}")
            return
        if sent != len(said):
            self.away("control does not take the question")
            return
        self.ctx.reactor.watch(self.control.fileno(), READ_EDGE, self.on_control)

    def on_control(self, mask: int) -> None:
        """Control speaks, or has said everything."""
        while self.control is not None:
            try:
                data = self.control.recv(65_536)
            except BlockingIOError:
                return
            except OSError as error:
                self.away(f"control was lost: {error.strerror}")
                return
            if not data:
                self.whole()
                return
            self.heard += data
            if len(self.heard) > MAX_ANSWER:
                self.away("control's answer is too long")

    def whole(self) -> None:
        """All was said: only a whole answer of a kind that we know goes out."""
        try:
            head = parse_response_head(self.heard)
        except HandshakeError as error:
            self.away(f"control's answer: {error.detail}")
            return
        body = bytes(self.heard[head.consumed :]) if head is not None else b""
        if head is None or head.content_length != len(body):
            self.away("control's answer is not whole")
            return
        kind = next((value for name, value in head.fields if name.lower() == b"content-type"), b"")
        words = headed(head.status, kind.decode("latin-1"), body, head_only=self.head_only)
        if words is None:
            self.away(f"control answered {head.status}")
            return
        self.finish(head.status, len(body), words)

    def away(self, why: str) -> None:
        """Control cannot be asked: said in plain words, to the client without what only the operator should know."""
        flow = self.flow
        assert flow is not None
        flow.record.detail = why
        body = away_page(flow.record.flow, html=self.question.html)
        self.finish(503, len(body[1]), headed(503, *body, head_only=self.head_only) or b"")

    def finish(self, status: int, length: int, words: bytes) -> None:
        """Writes the record; the answer goes out once it is in the spool."""
        flow, self.flow = self.flow, None
        assert flow is not None
        self.leave_control()
        self.words = words
        record = flow.record
        record.status = status
        record.decision = "permit"
        if status == 503:
            record.ref = record.flow
        record.bytes_in = 0 if self.head_only else length
        self.ctx.emit(record, Kind.PORTAL)
        self.ctx.reactor.at_turn_end(self.say)

    def say(self) -> None:
        """The record is in the spool, or could not be written: then nothing of the firm's is shown."""
        fd, self.fd = self.fd, -1
        if fd < 0:
            return
        words = self.words
        if self.ctx.spool_failed:
            words = headed(503, *away_page("", html=self.question.html), head_only=self.head_only) or b""
        last = Lingering(self.ctx, fd, self.seal(words))
        last.deadline = self.ctx.reactor.now + SENDING

    def on_client(self, mask: int) -> None:
        """Whatever the client still sends is no request: this was the last one on its connection."""
        if mask & (ERR | HUP):
            self.end(CloseCause.RESET)

    def due(self, now: float) -> None:
        """Control took too long."""
        if self.flow is not None:
            self.away("control did not answer in time")
        else:
            self.end(CloseCause.IDLE)

    def expired(self) -> None:
        """Nothing to expire: nothing leads out."""

    def crashed(self, error: Exception) -> None:
        """A defect of ours."""
        self.ctx.report(error)
        self.end(CloseCause.INTERNAL_ERROR)

    def end(self, cause: CloseCause) -> None:
        """Closes without a word, with the record if there was none yet."""
        flow, self.flow = self.flow, None
        self.leave_control()
        if flow is not None:
            flow.record.cause = cause
            self.ctx.emit(flow.record, Kind.PORTAL)
        if self.fd >= 0:
            self.ctx.live.pop(self.fd, None)
            self.ctx.reactor.close(self.fd)
            self.fd = -1

    def leave_control(self) -> None:
        """Once: the question is over."""
        if not self.under_way:
            return
        self.under_way = False
        self.ctx.desk.under_way -= 1
        if self.control is not None:
            fd = self.control.detach()
            self.control = None
            self.ctx.reactor.close(fd)

"""The relay: two directions of bytes, copied while small, spliced in the kernel when they come in bulk.

Half-close is honoured: the end of one direction is passed on, the other goes on until it ends too.
"""

import os
import socket
import struct
from typing import TYPE_CHECKING, Protocol

from gateway.reactor import BOTH_EDGE, ERR, HUP, IN, OUT, RDHUP
from gateway.relay.pipes import LARGE, Pipe
from telemetry.record import CloseCause

if TYPE_CHECKING:
    from gateway.context import Context
    from gateway.flow import Flow

COPY_BYTES = 32 * 1024
QUIET = 2.0  # seconds after which a tunnel's empty pipes serve others
ROUNDS = 4  # of at most a pipe each before other flows get their turn
_READABLE = IN | RDHUP | HUP | ERR
_ENDED = RDHUP | HUP | ERR
_ORDERLY = frozenset((CloseCause.CLIENT_CLOSED, CloseCause.UPSTREAM_CLOSED))
_SPLICE = os.SPLICE_F_MOVE | os.SPLICE_F_NONBLOCK
_TCP_INFO_BYTES = 160
_RTT_OFFSET, _RETRANS_OFFSET, _SEGMENTS_OFFSET = 68, 100, 156  # struct tcp_info, linux/tcp.h (data_segs_out: Linux 4.6)
_U32 = struct.Struct("=I")
_MAX_U32 = 0xFFFFFFFF


class Direction:
    """Bytes from src to dst. pending or in_pipe: read but not yet taken by dst. moved: taken by dst; measured of them
    at measured_at (monotonic seconds)."""

    __slots__ = ("done", "dst", "fin", "in_pipe", "measured", "measured_at", "moved", "pending", "pipe", "src")

    def __init__(self, src: int, dst: int) -> None:
        self.src = src
        self.dst = dst
        self.pending = b""
        self.pipe: Pipe | None = None
        self.in_pipe = 0
        self.moved = self.measured = 0
        self.measured_at = 0.0
        self.fin = False  # the end of src is known to be near: read on after a short read
        self.done = False


class Guard(Protocol):
    """Looks at the first bytes of a tunnel, until it takes itself out of it."""

    def said(self, tunnel: "Tunnel", data: bytes) -> bytes:
        """The client said something; what of it may go on."""

    def served(self, tunnel: "Tunnel", data: bytes | memoryview) -> None:
        """The service said something, which goes on."""


class Detour(Protocol):
    """What lies between the tunnel and its line where its content is inspected."""

    def waits(self) -> bool:
        """The tunnel's way to the line has ended: whether it is not known yet if that is an end or a failure. What is
        heard then calls pump(), or end()."""

    def close(self, cause: CloseCause) -> None:
        """The tunnel has ended."""


class Tunnel:
    """A live relay. deadline: monotonic seconds of the next look; expires: Unix seconds at which it must end."""

    __slots__ = (
        "active", "client", "ctx", "deadline", "detour", "down", "expires", "flow", "guard", "hard_deadline",
        "retransmits", "segments", "told", "up", "upstream", "watching_out",
    )  # fmt: skip

    def __init__(self, ctx: "Context", flow: "Flow", client: int, upstream: socket.SocketType, expires: float) -> None:
        self.ctx = ctx
        self.flow = flow
        self.client = client
        self.upstream = upstream
        fd = upstream.fileno()
        self.up = Direction(client, fd)
        self.down = Direction(fd, client)
        now = ctx.reactor.now
        self.active = self.told = now
        self.hard_deadline = now + ctx.timeouts.total
        self.deadline = now + ctx.timeouts.idle
        self.expires = expires
        self.watching_out = False
        self.guard: Guard | None = None
        self.detour: Detour | None = None
        self.segments = self.retransmits = 0  # towards the line, as far as they are in its figures
        reactor = ctx.reactor
        reactor.handle(client, self.on_client)
        reactor.handle(fd, self.on_upstream)
        ctx.live[client] = self

    def start(self, first: bytes, client_fin: bool, spoke: bool, upstream_mask: int) -> None:
        """Sends what the handshake had read already, and catches up with edges that came before the tunnel was
        there. spoke: the client said more that nobody has read yet."""
        self.up.pending = first
        self.up.fin = client_fin
        # The handshake emptied the client's socket; an edge tells of what comes later, unless the end came already.
        if first and not client_fin and not spoke and len(first) < COPY_BYTES:
            try:
                self._copy(self.up)
            except OSError:
                self.end(CloseCause.RESET)
                return
        else:
            self.pump(self.up)
        if upstream_mask & _READABLE and self.client >= 0:
            self.on_upstream(upstream_mask & _READABLE)

    def on_client(self, mask: int) -> None:
        """The client's socket became readable, writable or ended."""
        self.active = self.ctx.reactor.now
        up = self.up
        if mask & _ENDED:
            up.fin = True
        if mask & _READABLE and not up.done and not (up.pending or up.in_pipe):
            self.pump(up)
        if mask & OUT and self.client >= 0 and (self.down.pending or self.down.in_pipe):
            self.pump(self.down)
        if mask & ERR and self.client >= 0:
            self.broken()

    def on_upstream(self, mask: int) -> None:
        """The service's socket became readable, writable or ended."""
        self.active = self.ctx.reactor.now
        down = self.down
        if mask & _ENDED:
            down.fin = True
        if mask & _READABLE and not down.done and not (down.pending or down.in_pipe):
            self.pump(down)
        if mask & OUT and self.client >= 0 and (self.up.pending or self.up.in_pipe):
            self.pump(self.up)
        if mask & ERR and self.client >= 0:
            self.broken()

    def pump(self, d: Direction) -> None:
        """Moves what can be moved now; stops at an empty source, a full destination, the end, or after ROUNDS."""
        if self.client < 0:
            return
        try:
            for _ in range(ROUNDS):
                if not (self._copy(d) if d.pipe is None else self._splice(d, d.pipe)):
                    return
        except OSError:
            self.broken()
            return
        self.ctx.reactor.again(self._resume_up if d is self.up else self._resume_down)

    # In the turn between, an event may have found the end already: it must not be passed on twice.

    def _resume_up(self) -> None:
        if not self.up.done:
            self.pump(self.up)

    def _resume_down(self) -> None:
        if not self.down.done:
            self.pump(self.down)

    def _copy(self, d: Direction) -> bool:
        """One read and write through user space. True: there may be more at once."""
        data = d.pending
        left_over = bool(data)
        if left_over:
            d.pending = b""
        else:
            try:
                data = os.read(d.src, COPY_BYTES)
            except BlockingIOError:
                return False
            if not data:
                self._source_ended(d)
                return False
            if self.guard is not None:
                if d is self.down:
                    self.guard.served(self, data)
                else:
                    left_over = True  # how much of it goes on says nothing of how full the read was
                    if not (data := self.guard.said(self, data)):
                        return self.client >= 0
        try:
            taken = os.write(d.dst, data)
        except BlockingIOError:
            taken = 0
        d.moved += taken
        if taken < len(data):
            d.pending = data[taken:]
            self._want_room(d)
            return False
        if left_over:
            return True
        if len(data) == COPY_BYTES:
            d.pipe = self.ctx.pipes.take()  # bulk: from here on through the kernel
            return True
        return d.fin  # a short read emptied the socket; without its end in sight the next edge will tell

    def farewell(self, last_words: bytes) -> bytes:
        """What goes over the wire for the last words to the client, behind what it has not taken yet."""
        return self.down.pending + last_words

    def part(self) -> int:
        """Lets go of the client, which the caller ends, and resets the service's side. The client's descriptor."""
        fd, self.client = self.client, -1
        self._give_back(fd)
        if self.detour is not None:
            self.detour.close(CloseCause.REFUSED)
        self.ctx.reactor.abort(self.upstream.detach())
        return fd

    def _give_back(self, fd: int) -> None:
        for d in (self.up, self.down):
            if d.pipe is not None:
                self.ctx.pipes.give(d.pipe, empty=not d.in_pipe)
                d.pipe = None
        self.ctx.live.pop(fd, None)

    def _splice(self, d: Direction, pipe: Pipe) -> bool:
        """One round through the kernel. True: there may be more at once."""
        if not d.in_pipe:
            if d.pending:
                return self._copy(d)
            try:
                got = os.splice(d.src, pipe[1], LARGE, flags=_SPLICE)
            except BlockingIOError:
                return False
            if not got:
                self._source_ended(d)
                return False
            d.in_pipe = got
        try:
            sent = os.splice(pipe[0], d.dst, d.in_pipe, flags=_SPLICE)
        except BlockingIOError:
            self._want_room(d)
            return False
        d.in_pipe -= sent
        d.moved += sent
        self.ctx.bulk.notice(self, d)
        return True

    def catch_up(self, d: Direction) -> None:
        """Reads what came without an edge while src woke us only for much."""
        if not (d.done or d.pending or d.in_pipe):
            self.pump(d)

    def _want_room(self, d: Direction) -> None:
        """Makes sure that an edge comes when dst takes bytes again; the service's socket is watched for it already."""
        if d is self.down and not self.watching_out:
            self.watching_out = True
            self.ctx.reactor.change(self.client, BOTH_EDGE)

    def _source_ended(self, d: Direction) -> None:
        if d is self.down and self.detour is not None and self.detour.waits():
            return
        d.done = True
        if d is self.up:
            if self.down.done:
                self.end(CloseCause.UPSTREAM_CLOSED)
            else:
                self.upstream.shutdown(socket.SHUT_WR)
        elif self.up.done:
            self.end(CloseCause.CLIENT_CLOSED)
        else:
            client = socket.socket(socket.AF_INET, socket.SOCK_STREAM, 0, self.client)
            try:
                client.shutdown(socket.SHUT_WR)
            finally:
                client.detach()

    def due(self, now: float) -> None:
        """The deadline passed: end the tunnel if it really was idle or too old, else look again later."""
        if now >= self.hard_deadline:
            self.end(CloseCause.TOTAL_TIME)
        elif now >= self.active + self.ctx.timeouts.idle:
            self.end(CloseCause.IDLE)
        else:
            self.deadline = min(self.active + self.ctx.timeouts.idle, self.hard_deadline)

    def expired(self) -> None:
        """The grant, the credential or the tenant's approval ends at this second."""
        self.end(CloseCause.EXPIRED)

    def look(self, now: float, progress: float) -> None:
        """Called now and then: gives back the pipes of a quiet tunnel, and tells how far a busy one has come, at most
        once in `progress` seconds."""
        if self.client < 0:
            return
        if now - self.active > QUIET:
            for d in (self.up, self.down):
                if d.pipe is not None and not d.in_pipe:
                    self.ctx.pipes.give(d.pipe, empty=True)
                    d.pipe = None
        elif now - self.told >= progress:
            self.told = now
            self.flow.progressed(self.up.moved, self.down.moved)

    @property
    def moved(self) -> int:
        """Bytes so far, both directions."""
        return self.up.moved + self.down.moved

    def sample(self) -> None:
        """Reads the kernel's figures of the connection abroad (one system call) into those of its line, and into the
        record. What was read before counts only once."""
        if self.client < 0:
            return
        try:
            info = self.upstream.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO_BYTES)
        except OSError:
            return
        if len(info) < _TCP_INFO_BYTES:
            return
        (rtt,) = _U32.unpack_from(info, _RTT_OFFSET)
        (retransmits,) = _U32.unpack_from(info, _RETRANS_OFFSET)
        (segments,) = _U32.unpack_from(info, _SEGMENTS_OFFSET)
        record = self.flow.record
        record.rtt, record.retransmits = rtt, retransmits
        # Both are 32 bits wide and may wrap round in a flow of terabytes.
        again = retransmits - self.retransmits & _MAX_U32
        figures, line = self.ctx.figures, self.flow.line
        figures.sampled(line, rtt, segments - self.segments & _MAX_U32, again)
        figures.heard(line, record.host, rtt, again)
        self.segments, self.retransmits = segments, retransmits

    def broken(self) -> None:
        """A socket failed. Where one side had already ended, that is what ended the flow: programs often close without
        reading the other's last words, and the kernel then resets."""
        if self.detour is not None and self.detour.waits():
            return
        if self.up.done:
            self.end(CloseCause.CLIENT_CLOSED)
        elif self.down.done:
            self.end(CloseCause.UPSTREAM_CLOSED)
        else:
            self.end(CloseCause.RESET)

    def crashed(self, error: Exception) -> None:
        """A defect of ours while serving this tunnel."""
        self.ctx.report(error)
        self.end(CloseCause.INTERNAL_ERROR)

    def end(self, cause: CloseCause) -> None:
        """Closes both sides and writes the one closing record. What did not end by itself is reset: nothing that was
        cut still goes out of the kernel's buffers, and neither side takes a part for the whole."""
        if self.client < 0:
            return
        ctx = self.ctx
        self.sample()
        self._give_back(self.client)
        close = ctx.reactor.close if cause in _ORDERLY else ctx.reactor.abort
        close(self.client)
        close(self.upstream.detach())
        self.client = -1
        if self.detour is not None:
            self.detour.close(cause)
        self.flow.closed(cause, self.up.moved, self.down.moved)

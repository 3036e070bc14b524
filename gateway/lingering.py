"""The last words to a client: sent after the record is written, then both sides close without cutting them off.

Closing a socket with unread bytes makes the kernel send a reset, which throws away what the client has not read yet. So
the writing side is shut, what still comes is read and thrown away for a short while, and then the socket is closed.
"""

import os
import socket
from typing import TYPE_CHECKING

from gateway.reactor import BOTH_EDGE, ERR, HUP, OUT
from telemetry.record import CloseCause

if TYPE_CHECKING:
    from gateway.context import Context

LINGER = 2.0  # seconds
MAX_THROWN_AWAY = 1 << 20


class Lingering:
    """A client connection that is being closed. The descriptor is already watched. briefly: for those who are sent away
    so that others have room, it closes in this turn, whatever the client has read."""

    __slots__ = ("briefly", "ctx", "deadline", "expires", "fd", "left", "said", "thrown", "watching")

    def __init__(self, ctx: "Context", fd: int, last_words: bytes) -> None:
        self.ctx = ctx
        self.fd = fd
        self.left = last_words
        self.thrown = 0
        self.watching = False
        self.said = False
        self.briefly = ctx.crowd.leaving
        self.deadline = ctx.reactor.now + LINGER
        self.expires = float("inf")
        if self.briefly:
            ctx.live.pop(fd, None)  # it is gone with this turn
        else:
            ctx.live[fd] = self
            ctx.crowd.linger(fd, self)
        ctx.reactor.handle(fd, self.on_client)
        ctx.reactor.at_turn_end(self.say)

    def say(self) -> None:
        """Writes what is left, then shuts the writing side."""
        if self.fd < 0:
            return
        if self.left:
            try:
                self.left = self.left[os.write(self.fd, self.left) :]
            except BlockingIOError:
                pass
            except OSError:
                self.end(CloseCause.RESET)
                return
        self.said = True
        if self.briefly:
            self.end(CloseCause.CLIENT_CLOSED)
            return
        if self.left:
            if not self.watching:
                self.watching = True
                self.ctx.reactor.change(self.fd, BOTH_EDGE)
            return
        sock = socket.SocketType(socket.AF_INET, socket.SOCK_STREAM, 0, self.fd)
        try:
            sock.shutdown(socket.SHUT_WR)
        except OSError:
            pass
        finally:
            sock.detach()
        self.on_client(0)

    def on_client(self, mask: int) -> None:
        """Throws away what the client still sends, until it ends or it is too much."""
        if mask & (ERR | HUP):
            self.end(CloseCause.RESET)
            return
        if mask & OUT and self.left:
            self.say()
        while self.fd >= 0:
            try:
                data = os.read(self.fd, 65536)
            except BlockingIOError:
                return
            except OSError:
                data = b""
            self.thrown += len(data)
            if not data or self.thrown > MAX_THROWN_AWAY:
                self.end(CloseCause.CLIENT_CLOSED)

    def overdue(self) -> None:
        """Others need the room: it ends as soon as the last words were tried."""
        self.briefly = True
        if self.said:
            self.end(CloseCause.IDLE)

    def due(self, now: float) -> None:
        """Long enough."""
        self.end(CloseCause.IDLE)

    def expired(self) -> None:
        """Nothing to expire: no flow is open."""

    def crashed(self, error: Exception) -> None:
        """A defect of ours."""
        self.ctx.report(error)
        self.end(CloseCause.INTERNAL_ERROR)

    def end(self, cause: CloseCause) -> None:
        """Closes the connection."""
        if self.fd >= 0:
            self.ctx.live.pop(self.fd, None)
            self.ctx.crowd.lingering.pop(self.fd, None)
            self.ctx.reactor.close(self.fd)
            self.fd = -1

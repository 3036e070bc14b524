"""A worker's connection to an inspector, for one tunnel. Nothing here ever waits."""

import socket
import zlib
from typing import TYPE_CHECKING, Protocol

import msgspec

from gateway.inspection.wire import (
    Begin,
    FromInspector,
    FromWorker,
    Ready,
    Sorry,
    read_from_inspector,
    receive,
    send,
)
from gateway.reactor import IN

if TYPE_CHECKING:
    from gateway.context import Context

PATIENCE = 2.0  # seconds that an inspector has to say that it is ready
AT_ONCE = 16  # packets that one tunnel's inspector may say before others get their turn


class Owner(Protocol):
    """Who is told."""

    def inspector_ready(self) -> None:
        """It will take the tunnel."""

    def inspector_lost(self, detail: str) -> None:
        """It will not, or does no more. The channel is closed."""

    def told(self, message: FromInspector) -> None:
        """It said something else."""


class Channel:
    """ready: the inspector has said so. owner: may be changed while nothing was lost."""

    __slots__ = ("ctx", "owner", "ready", "sock")

    def __init__(self, ctx: "Context", owner: Owner, begin: Begin) -> None:
        """Raises OSError: no inspector is there, or it has no room for one more."""
        self.ctx = ctx
        self.owner = owner
        self.ready = False
        number = zlib.crc32(begin.grant.encode()) % max(1, ctx.config.inspectors)  # what a grant used is in one place
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_NONBLOCK)
        try:
            sock.connect(str(ctx.config.run_dir / f"inspector{number}.sock"))
            send(sock, begin)
        except OSError:
            sock.close()
            raise
        self.sock: socket.socket | None = sock
        ctx.reactor.watch(sock.fileno(), IN, self.on_packet)
        ctx.reactor.later(PATIENCE, self._look)

    def _look(self) -> None:
        if self.sock is not None and not self.ready:
            self._lose("the inspector does not answer")

    def say(self, message: FromWorker, descriptors: tuple[int, ...] = ()) -> None:
        """Says something. Where that cannot be, the inspector is lost."""
        if self.sock is None:
            return
        try:
            send(self.sock, message, descriptors)
        except OSError as error:
            self._lose(f"the inspector takes no more: {error.strerror}")

    def on_packet(self, mask: int) -> None:
        """The inspector says something, or is gone. Level-triggered: what is left comes again."""
        for _ in range(AT_ONCE):
            if self.sock is None:
                return
            try:
                data, _ = receive(self.sock, 0)
                message = read_from_inspector(data) if data else None
            except BlockingIOError:
                return
            except OSError as error:
                self._lose(f"the inspector is gone: {error.strerror or error}")
                return
            except msgspec.DecodeError:
                self._lose("the inspector says what nobody understands")
                return
            match message:
                case None:
                    self._lose("the inspector is gone")
                case Ready():
                    if not self.ready:
                        self.ready = True
                        self.owner.inspector_ready()
                case Sorry():
                    self._lose(message.detail[:200])
                case _:
                    self.owner.told(message)

    def crashed(self, error: Exception) -> None:
        """A defect of ours."""
        self.ctx.report(error)
        self._lose("an error in the gateway")

    def _lose(self, detail: str) -> None:
        if self.sock is not None:
            self.close()
            self.owner.inspector_lost(detail)

    def close(self) -> None:
        """The tunnel is over: so it is for the inspector."""
        if self.sock is not None:
            self.ctx.reactor.close(self.sock.detach())
            self.sock = None

"""The relay between an inspector and the line: a tunnel whose client is the inspector, and whose records, limits and
end are those of the tunnel that it is a part of."""

from socket import SocketType
from typing import TYPE_CHECKING, Final

from gateway.reactor import READ_EDGE
from gateway.relay.tunnel import QUIET, Tunnel
from telemetry.record import CloseCause

if TYPE_CHECKING:
    from gateway.detour.detour import Detour


class Leg(Tunnel):
    """line: the connection to the service."""

    __slots__ = ("detour_of",)

    # What is the connection's own affair; everything else ends the tunnel too.
    OWN: Final = frozenset((CloseCause.CLIENT_CLOSED, CloseCause.UPSTREAM_CLOSED, CloseCause.RESET, CloseCause.IDLE))

    def __init__(self, detour: "Detour", inner: SocketType, line: SocketType) -> None:
        assert detour.tunnel is not None
        self.detour_of = detour
        detour.ctx.reactor.watch(inner.fileno(), READ_EDGE, lambda _mask: None)
        super().__init__(detour.ctx, detour.tunnel.flow, inner.detach(), line, detour.tunnel.expires)
        detour.legs.add(self)

    @property
    def moved(self) -> int:
        """Nothing: bytes are counted where they are the client's."""
        return 0

    def look(self, now: float, progress: float) -> None:
        """Gives back the pipes of a quiet leg; the tunnel tells how far it has come."""
        if now - self.active > QUIET:
            super().look(now, float("inf"))

    def end(self, cause: CloseCause) -> None:
        """Closes both sides; the record is the tunnel's."""
        if self.client < 0:
            return
        ctx = self.ctx
        self.sample()
        self._give_back(self.client)
        close = (
            ctx.reactor.close if cause in (CloseCause.CLIENT_CLOSED, CloseCause.UPSTREAM_CLOSED) else ctx.reactor.abort
        )
        ctx.reactor.close(self.client)
        close(self.upstream.detach())
        self.client = -1
        self.detour_of.leg_ended(self, cause)

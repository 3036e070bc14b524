"""The look at all live connections, every few seconds: bytes into their tenants' usage, and an end to those whose quota
is used up; figures of the lines; progress records of long flows, and pipes back from quiet ones."""

from typing import TYPE_CHECKING

from gateway.forward import Forwarder
from gateway.relay.tunnel import Tunnel
from gateway.slices import walk
from telemetry.record import CloseCause

if TYPE_CHECKING:
    from gateway.context import Context, Live
    from gateway.enforce import Enforcer

LOOK = 5  # seconds between looks
SAMPLES = 64  # live tunnels whose TCP_INFO is read in a look
PROGRESS = 60.0  # seconds between progress records of a long flow


class Look:
    """One look at a time, in slices."""

    def __init__(self, ctx: "Context", enforcer: "Enforcer") -> None:
        self._ctx = ctx
        self._enforcer = enforcer
        self._under_way = False
        self._limited = False  # somebody seen in this look has a quota
        self._tunnels = 0  # seen in this look
        self._sampled = 0  # the first tunnel whose TCP_INFO is read
        self._turn = -1  # in which it was last asked whether progress may be told, and the answer
        self._telling = False

    def begin(self) -> None:
        """Begins a look, unless the one before is still under way."""
        if self._under_way:
            return
        self._under_way = True
        self._limited = False
        self._tunnels = 0
        walk(self._ctx, self._visit, self._over)

    def _visit(self, live: "Live") -> None:
        try:
            if isinstance(live, Tunnel):
                self._count(live)
                self._tunnel(live)
            elif isinstance(live, Forwarder):
                self._count(live)
        except Exception as error:  # noqa: BLE001 - one flow's defect must not spare the others
            self._ctx.report(error)
            live.end(CloseCause.INTERNAL_ERROR)

    def _count(self, live: Tunnel | Forwarder) -> None:
        flow = live.flow
        if flow is not None:
            flow.count(live.moved)
            self._limited = self._limited or flow.has_quota

    def _tunnel(self, tunnel: Tunnel) -> None:
        reactor = self._ctx.reactor
        if self._turn != reactor.turns:
            self._turn, spool = reactor.turns, self._ctx.spool
            # Where the spool fills up, the room that is left is for closing records.
            self._telling = not (spool.healthy(reactor.now) or self._ctx.spool_failed)
        if self._sampled <= self._tunnels < self._sampled + SAMPLES:
            tunnel.sample()
        self._tunnels += 1
        if self._telling:
            tunnel.look(reactor.now, PROGRESS)

    def _over(self) -> None:
        self._under_way = False
        self._sampled = self._sampled + SAMPLES if self._sampled + SAMPLES < self._tunnels else 0
        if self._limited:
            self._enforcer.by_quota()

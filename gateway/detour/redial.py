"""A further connection to the service of an inspected tunnel: the passage again, from its line on."""

from copy import copy
from functools import partial
from typing import TYPE_CHECKING

from gateway.flow import Flow
from gateway.inspection.wire import Failed
from gateway.passage import Passage
from whitelist.reason import Reason

if TYPE_CHECKING:
    from gateway.detour.detour import Detour


class Redial(Passage):
    """Under the permit, for the target and on the line of the tunnel, with addresses checked as the first was. Its flow
    only carries these: it is in no record."""

    __slots__ = ("detour", "number")

    def __init__(self, detour: "Detour", number: int) -> None:
        tunnel = detour.tunnel
        assert tunnel is not None
        ctx, flow = detour.ctx, tunnel.flow
        record = copy(flow.record)
        super().__init__(ctx, record.listener, -1, record.client_ip, record.client_port, record.interface)
        self.detour = detour
        self.number = number
        self.flow = Flow(ctx, record)
        self.flow.permit, self.flow.target, self.flow.tenant = flow.permit, flow.target, flow.tenant
        self.target = flow.target
        self.expires = tunnel.expires
        usable, why = ctx.lines.look(record.line, ctx.reactor.wall)
        self.fault = Reason.LINE_UNAVAILABLE, f"{record.line}: {why}"
        self.lines = [] if usable is None else [usable]
        self.dial_until = ctx.reactor.now + ctx.timeouts.dial
        ctx.reactor.later(ctx.timeouts.dial, partial(self._late, self.flow))

    def next_line(self) -> None:
        """The one line that it may take."""
        if self.lines:
            super().next_line()
        else:
            self.refuse(*self.fault)

    def _late(self, flow: Flow) -> None:
        if self.flow is flow:
            self.refuse(Reason.DIAL_FAILED, "the service did not answer in time")

    def on_open(self, mask: int) -> None:
        """The line is connected."""
        upstream, self.upstream, self.flow = self.upstream, None, None
        assert upstream is not None
        if self.detour.tunnel is None:
            self.ctx.reactor.close(upstream.detach())
        else:
            self.detour.dialled(self.number, upstream, mask)

    def refuse(self, reason: Reason, detail: str = "", status: int = 0, rule: str = "") -> None:
        """The inspector is told; the record is that of the inner request."""
        self.drop_upstream()
        self.flow = None
        self.detour.channel.say(Failed(self.number, reason, detail or rule))

    def crashed(self, error: Exception) -> None:
        """A defect of ours: nothing is let through."""
        self.ctx.report(error)
        if self.flow is not None:
            self.refuse(Reason.INTERNAL_ERROR)

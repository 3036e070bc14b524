"""Changes that reach live flows: a new policy, a line's state, a kill switch, a single cut, the end of a grant.

Re-deciding goes in slices, so that a change that touches every tunnel does not hold up the others.
"""

import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from gateway.flow import Flow
from telemetry.record import CloseCause
from whitelist.address import AddressForbidden, check
from whitelist.decide import Permit, decide, denied_address
from whitelist.snapshot import Touched

if TYPE_CHECKING:
    from gateway.context import Context, Live

SLICE = 0.002  # seconds of re-deciding in one turn

Verdict = Callable[["Live", Flow], CloseCause | None]


def flow_of(live: "Live") -> Flow | None:
    """The open flow of a live thing, if it has one."""
    flow: Flow | None = getattr(live, "flow", None)
    return flow if flow is not None and flow.permit is not None else None


def sweep(ctx: "Context") -> None:
    """Once a second: ends what is overdue or expired."""
    now, wall = ctx.reactor.now, ctx.reactor.wall
    for live in [live for live in ctx.live.values() if live.deadline <= now or live.expires <= wall]:
        try:
            if live.expires <= wall:
                live.expired()
            else:
                live.due(now)
        except Exception as error:  # noqa: BLE001 - one flow's defect must not spare the others
            ctx.report(error)
            live.end(CloseCause.INTERNAL_ERROR)


class Enforcer:
    """Looks at every live flow with a question, a slice at a time.

    A slice goes by the descriptors of connections, not by what held them when the question came up: between two slices
    a session may have become a tunnel, which must be asked too, and what it was must not be ended any more.
    """

    def __init__(self, ctx: "Context") -> None:
        self._ctx = ctx

    def every(self, question: Verdict) -> None:
        """Ends each flow for which the question has a cause."""
        self._slice(iter(list(self._ctx.live)), question)

    def _slice(self, connections: Iterator[int], question: Verdict) -> None:
        end = time.monotonic() + SLICE
        for fd in connections:
            live = self._ctx.live.get(fd)
            flow = flow_of(live) if live is not None else None
            if live is not None and flow is not None:
                try:
                    cause = question(live, flow)
                except Exception as error:  # noqa: BLE001 - an error while deciding is a denial
                    self._ctx.report(error)
                    cause = CloseCause.INTERNAL_ERROR
                if cause is not None:
                    live.end(cause)
            if time.monotonic() >= end:
                self._ctx.reactor.again(lambda: self._slice(connections, question))
                return

    def by_policy(self, touched: Touched) -> None:
        """Re-decides the flows that a change touches."""
        tenants, credentials = touched.tenants, touched.credentials
        self.every(
            lambda live, flow: (
                self.still_permitted(live, flow)
                if touched.everything or flow.record.tenant in tenants or flow.record.credential in credentials
                else None
            )
        )

    def still_permitted(self, live: "Live", flow: Flow) -> CloseCause | None:
        """The verdict of today on a flow of yesterday; None if it may go on. Its expiry follows the new permit."""
        ctx = self._ctx
        snapshot, record, target, access = ctx.snapshot, flow.record, flow.target, flow.access
        if snapshot is None or target is None or access is None:
            return None  # without a valid policy nothing new starts, and what was permitted goes on until it expires
        credential = snapshot.credential(record.credential)
        tenant = snapshot.tenant(record.tenant)
        if credential is None or credential.revoked or tenant is None:
            return CloseCause.CUT_BY_POLICY
        beside = snapshot.credential(flow.beside) if flow.beside else credential
        if beside is None or beside.revoked:
            return CloseCause.CUT_BY_POLICY
        verdict = decide(snapshot, tenant, record.client_ip, record.interface, target, access, int(ctx.reactor.wall))
        if type(verdict) is not Permit or (record.line and record.line not in verdict.lines):
            return CloseCause.CUT_BY_POLICY
        if record.line and ctx.lines.gone(record.line):
            return CloseCause.CUT_BY_POLICY
        if record.address and not self._may_be_reached(record.address, target.port, verdict):
            return CloseCause.CUT_BY_POLICY
        flow.permit, flow.tenant = verdict, tenant
        valid_until = min(credential.valid_until, beside.valid_until)
        live.expires = min(verdict.not_after, valid_until, ctx.lines.ends(record.line) or verdict.not_after)
        return None

    def _may_be_reached(self, address: str, port: int, permit: Permit) -> bool:
        """Whether the address that was dialled would be dialled today."""
        snapshot = self._ctx.snapshot
        try:
            check(address, permit.special_prefixes, self._ctx.own)
        except AddressForbidden:
            return False
        return snapshot is not None and not denied_address(snapshot, address, port)

    def by_line(self, line: str) -> None:
        """Ends the flows of a line that is dead."""
        self.every(lambda _, flow: CloseCause.LINE_DOWN if flow.record.line == line else None)

    def by_kill(self) -> None:
        """Ends every flow that a kill in force covers."""
        self.every(self._killed)

    def _killed(self, live: "Live", flow: Flow) -> CloseCause | None:
        r = flow.record
        hit = self._ctx.kills.hit(r.tenant, r.service, r.line, r.host, self._ctx.reactor.wall, r.address)
        if not hit:
            return None
        r.rule = hit
        return CloseCause.CUT_BY_KILL

    def one(self, flow_id: str, cause: CloseCause) -> int:
        """Ends the flow with this id; how many there were."""
        found = [
            live for live in self._ctx.live.values() if (f := flow_of(live)) is not None and f.record.flow == flow_id
        ]
        for live in found:
            live.end(cause)
        return len(found)

    def by_quota(self) -> None:
        """Ends every open flow of a tenant whose bytes of the day or month are used up."""
        ctx = self._ctx
        spent: dict[int, bool] = {}

        def question(_: "Live", flow: Flow) -> CloseCause | None:
            tenant = flow.tenant
            if tenant is None or not flow.opened_at or not flow.has_quota:
                return None
            if tenant.slot not in spent:
                used = ctx.usage.used(tenant.slot, ctx.reactor.wall)
                spent[tenant.slot] = used.exhausted(tenant.bytes_per_day, tenant.bytes_per_month) is not None
            return CloseCause.QUOTA_EXHAUSTED if spent[tenant.slot] else None

        self.every(question)

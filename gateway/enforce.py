"""Changes that reach live flows: a new policy, a line's state, a kill switch, a single cut, the end of a grant.

Re-deciding goes in slices, so that a change that touches every tunnel does not hold up the others.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

from gateway.flow import Flow
from gateway.handshake.hello_terms import hello_fault
from gateway.line.model import LineHandle
from gateway.residence import NO_CREDENTIAL
from gateway.slices import walk
from telemetry.record import CloseCause
from whitelist.address import AddressForbidden, check
from whitelist.decide import Permit, decide, denied_address
from whitelist.model import Protocol
from whitelist.reason import Reason
from whitelist.snapshot import Touched

if TYPE_CHECKING:
    from gateway.context import Context, Live

Verdict = Callable[["Live", Flow], CloseCause | None]


def flow_of(live: "Live") -> Flow | None:
    """The open flow of a live thing, if it has one."""
    flow: Flow | None = getattr(live, "flow", None)
    return flow if flow is not None and flow.permit is not None else None


def line_of(live: "Live", flow: Flow) -> str:
    """The line that a flow is on, or over which its name is being asked for; "" for none."""
    if flow.record.line:
        return flow.record.line
    line: LineHandle | None = getattr(live, "line", None)
    return line.id if line is not None else ""


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
    """Looks at every live flow with a question, a slice at a time (gateway.slices)."""

    def __init__(self, ctx: "Context") -> None:
        self._ctx = ctx

    def every(self, question: Verdict) -> None:
        """Ends each flow for which the question has a cause."""

        def ask(live: "Live") -> None:
            flow = flow_of(live)
            if flow is None:
                return
            try:
                cause = question(live, flow)
            except Exception as error:  # noqa: BLE001 - an error while deciding is a denial
                self._ctx.report(error)
                cause = CloseCause.INTERNAL_ERROR
            if cause is not None:
                live.end(cause)

        walk(self._ctx, ask)

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
        credential = snapshot.credential(record.credential) if record.credential else NO_CREDENTIAL
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
        if flow.permit is not None and verdict.inspect != flow.permit.inspect:
            return CloseCause.CUT_BY_POLICY  # what it may do inside is settled where it began
        if verdict.protocol is Protocol.TLS and not _began_rightly(flow, verdict):
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
        """Ends the flows of a line that is dead; those that are not open yet go on over another."""
        self.every(lambda live, flow: CloseCause.LINE_DOWN if line_of(live, flow) == line else None)

    def by_kill(self) -> None:
        """Ends every flow that a kill in force covers."""
        self.every(self._killed)

    def _killed(self, live: "Live", flow: Flow) -> CloseCause | None:
        r = flow.record
        hit = self._ctx.kills.hit(r.tenant, r.service, r.line, r.host, self._ctx.reactor.wall, r.address, r.user)
        if not hit:
            return None
        reason, r.rule = self._ctx.kills.refusal(hit)
        return CloseCause.CUT_BY_RULE if reason is Reason.REGULATOR_RULE else CloseCause.CUT_BY_KILL

    def one(self, flow_id: str, cause: CloseCause, rule: str = "") -> int:
        """Ends the flow with this id; how many there were. rule: the one that asked for it."""
        found = [
            live for live in self._ctx.live.values() if (f := flow_of(live)) is not None and f.record.flow == flow_id
        ]
        for live in found:
            if rule and (flow := flow_of(live)) is not None:
                flow.record.rule = rule
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
                used = ctx.usage.used(tenant.slot, tenant.id, ctx.reactor.wall)
                spent[tenant.slot] = used.exhausted(tenant.bytes_per_day, tenant.bytes_per_month) is not None
            return CloseCause.QUOTA_EXHAUSTED if spent[tenant.slot] else None

        self.every(question)


def _began_rightly(flow: Flow, permit: Permit) -> bool:
    """Whether what a tunnel began with may begin a tunnel under today's TLS permit. Where nothing was read yet, the
    session will ask; but bytes let through unread under another protocol cannot be read any more."""
    if flow.hello is None:
        return not flow.opened_at or flow.permit is None or flow.permit.protocol is Protocol.TLS
    assert flow.target is not None
    return hello_fault(flow.hello, flow.target, flow.record.address, permit.tls) is None

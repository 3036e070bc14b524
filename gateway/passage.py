"""From a request head to a connected socket on a line: identify, decide, take a share, choose a line, resolve,
check; then dial (gateway.dialling).

The owner says what to do when the passage is open or refused. Every step can refuse, and each refusal has one
reason; an error of ours on the way is a refusal too.
"""

import math
from functools import partial
from itertools import chain, zip_longest
from typing import TYPE_CHECKING

from gateway.clock import zone_time
from gateway.dialling import ATTEMPT_DELAY, LINE_PATIENCE, NAME_PATIENCE, Dialling
from gateway.flow import Flow
from gateway.handshake.connect import ConnectFields
from gateway.handshake.http1 import RequestHead
from gateway.identity import Identity, UnidentifiedError
from gateway.line.model import LineHandle
from gateway.resolver.resolver import Names
from telemetry.record import CloseCause
from whitelist.address import AddressForbidden, CheckedAddress, check
from whitelist.decide import Access, Denial, Permit, decide, denied_address
from whitelist.entries import TenantEntry
from whitelist.reason import WORDING, Reason
from whitelist.target import Target

if TYPE_CHECKING:
    from gateway.context import Context

Head = RequestHead | ConnectFields

_TOO_MANY = (Reason.OVERLOADED, "too many connections")
MAX_ADDRESSES = 4  # tried within the dial timeout
# What a flow is refused for that something ended before its line was there.
_ENDED_EARLY = {
    CloseCause.CUT_BY_POLICY: (Reason.NOT_WHITELISTED, "the policy changed while the connection was being made"),
    CloseCause.CUT_BY_KILL: (Reason.KILL_SWITCH, ""),
    CloseCause.CUT_BY_RULE: (Reason.REGULATOR_RULE, ""),
    CloseCause.CUT_BY_OPERATOR: (Reason.KILL_SWITCH, "cut by the operator"),
    CloseCause.EXPIRED: (Reason.GRANT_EXPIRED, "ended while the connection was being made"),
    CloseCause.QUOTA_EXHAUSTED: (Reason.QUOTA_EXHAUSTED, "used up while the connection was being made"),
    CloseCause.DRAINED: (Reason.OVERLOADED, "draining"),
    CloseCause.INTERNAL_ERROR: (Reason.INTERNAL_ERROR, ""),
}


class Passage(Dialling):
    """One request on its way out. fd: the client's socket, -1 once it was given away or closed. deadline
    (monotonic) and expires (Unix) make it a Live thing.

    free_at: Unix seconds at which a quota or rate is free again."""

    __slots__ = ("free_at", "interface", "ip", "is_too_much", "listener", "port", "ref")

    def __init__(self, ctx: "Context", listener: str, fd: int, ip: str, port: int, interface: str) -> None:
        super().__init__(ctx, fd)
        self.listener = listener
        self.ip = ip
        self.port = port
        self.interface = interface
        self.deadline = ctx.reactor.now + ctx.first_byte
        self.ref = ""
        self.free_at = 0.0
        self.is_too_much = False

    # What the owner adds.

    def on_refused(self, reason: Reason, status: int, detail: str) -> None:
        """The refusal is recorded; tell the client."""
        raise NotImplementedError

    def at_portal(self, identity: Identity) -> None:
        """The firm asks for its own page, in a way that cannot show it."""
        name = self.ctx.config.portal_name
        self.refuse(
            Reason.PROTOCOL_NOT_ALLOWED, f"the firm's own page is plain http, asked of the proxy: http://{name}/"
        )

    def refusal(
        self, reason: Reason, status: int, detail: str, *, method: str, http_version: str = "1.1", html: bool = False,
        text: bool = False,
    ) -> bytes:  # fmt: skip
        """The answer of HTTP that says so (gateway.refusal)."""
        return self.ctx.refusal(
            reason,
            ref=self.ref,
            revision=self.ctx.revision,
            method=method,
            html=html,
            text=text,
            http_version=http_version,
            detail=detail,
            status=status,
            host=self.target.host if html and self.target is not None else "",
            retry_after=self.retry_after(),
        )

    def inspected(self, permit: Permit) -> bool:
        """Whether what is asked can be inspected, as the grant wants it; else it is refused: it never passes unread."""
        assert self.flow is not None
        self.flow.record.service, self.flow.record.grant = permit.service, permit.grant
        self.refuse(Reason.INSPECTION_UNAVAILABLE, "the grant asks for inspection, which this way in does not have")
        return False

    # The way out, in order.

    def unready(self) -> tuple[Reason, str] | None:
        """Why nothing new may be taken, or not from this connection: it is one too many. That was settled when it came,
        or every one of a crowd would be refused for the others' sake."""
        return _TOO_MANY if self.is_too_much else self.ctx.unready()

    def begin(self) -> Flow:
        """A flow with a new reference, and all that is known before a head was read."""
        ctx = self.ctx
        record = ctx.new_record()
        record.flow = ctx.refs.next()
        record.client_ip = self.ip
        record.client_port = self.port
        record.listener = self.listener
        record.interface = self.interface
        place = ctx.config.places.get(self.interface)
        if place is not None:
            record.site, record.room = place
        self.flow = Flow(ctx, record)
        return self.flow

    def admit(self, flow: Flow, head: Head, target: Target, access: Access) -> None:
        """Identify, decide, count; goes on to the line, or refuses."""
        ctx = self.ctx
        record = flow.record
        record.method = head.method
        record.user_agent = head.user_agent
        record.host = target.host
        record.port = target.port
        self.target = flow.target = target
        flow.access = access
        unready = self.unready()
        if unready is not None:
            self.refuse(*unready)
            return
        identifier, snapshot = ctx.identifier, ctx.snapshot
        if identifier is None or snapshot is None:  # since unready() looked, in this very turn
            self.refuse(Reason.POLICY_UNAVAILABLE, "no valid policy")
            return
        wall = ctx.reactor.wall
        authorization = head.proxy_authorization
        try:
            if authorization is None and self.listener in ctx.by_place:
                identity = ctx.residents.at(snapshot, self.ip, self.interface)
            else:
                identity = identifier.identify(authorization, wall)
        except UnidentifiedError as unknown:
            if unknown.credential is not None:
                record.credential = unknown.credential.id
                record.tenant = unknown.credential.tenant
            self.refuse(unknown.reason, unknown.detail)
            return
        credential, tenant = identity.credential, identity.tenant
        record.tenant = tenant.id
        record.credential = credential.id
        record.user = credential.user
        asked = (tenant.id, self.ip, self.interface, target.host, target.port, access)
        verdict = ctx.permits.get(asked)
        if verdict is None or verdict.not_after <= wall:
            if target.host == ctx.config.portal_name:  # never decided, so never remembered, resolved or dialled
                self.at_portal(identity)
                return
            fresh = decide(snapshot, tenant, self.ip, self.interface, target, access, int(wall))
            if type(fresh) is not Permit:
                self._denied(fresh)
                return
            verdict = ctx.remember(asked, fresh)
        if verdict.inspect is not None and not self.inspected(verdict):
            return
        flow.permit = verdict
        record.service = verdict.service
        record.grant = verdict.grant
        self.expires = float(min(verdict.not_after, credential.valid_until))
        full = flow.take_share(verdict, credential.user)
        if full:
            self.refuse(Reason.RATE_LIMITED, full)
            return
        flow.tenant = tenant
        limited = tenant.tunnels_per_second or tenant.bytes_per_day or tenant.bytes_per_month or ctx.kills
        if limited and self._limited(tenant):
            return
        self._choose_lines(verdict)

    def _choose_lines(self, verdict: Permit) -> None:
        """The permit's lines that can be taken, best first; goes on over the first."""
        ctx, target, wall = self.ctx, self.target, self.ctx.reactor.wall
        assert target is not None
        usable, why = ctx.lines.usable(verdict.lines, wall, verdict.weights)
        self.lines = ctx.doubts.ordered(usable, target.host, ctx.reactor.now) if ctx.doubts else list(usable)
        self.tried = [why] if why else []
        self.silent = ()
        if ctx.kills:
            self._heed_kills(verdict)
            if self.flow is None:
                return
        if not self.lines:
            self.refuse(Reason.LINE_UNAVAILABLE, why)
            return
        self.dial_until = ctx.reactor.now + ctx.timeouts.dial
        self.next_line()

    def _limited(self, tenant: TenantEntry) -> bool:
        """Refuses what is beyond the tenant's quotas and rate, and says when they are free again."""
        ctx = self.ctx
        wall = ctx.reactor.wall
        used = ctx.usage.used(tenant.slot, tenant.id, wall)
        spent = used.exhausted(tenant.bytes_per_day, tenant.bytes_per_month)
        if spent is not None:
            self.free_at = spent[1]
            self.refuse(Reason.QUOTA_EXHAUSTED, f"used up: {spent[0]}; free again at {zone_time(spent[1])}")
            return True
        rate, rule = tenant.tunnels_per_second, ""
        slower, by = ctx.kills.rate(tenant.id, wall)
        if slower and (not rate or slower < rate):
            rate, rule = slower, by
        if rate and (wait := ctx.attempts.take(tenant.slot, rate, ctx.reactor.now)):
            self.free_at = wall + wait
            free = zone_time(math.ceil(self.free_at))
            self.refuse(
                Reason.RATE_LIMITED, f"more than {rate} new tunnels in a second; free again at {free}", rule=rule
            )
            return True
        return False

    def retry_after(self) -> int:
        """Whole seconds until what this was refused for is free again, 0 where nobody knows."""
        return max(1, math.ceil(self.free_at - self.ctx.reactor.wall)) if self.free_at else 0

    def _denied(self, denial: "Denial | Permit") -> None:
        assert isinstance(denial, Denial)
        assert self.flow is not None
        self.flow.record.grant = denial.grant
        self.refuse(denial.reason, denial.detail, rule=denial.rule)

    def _heed_kills(self, permit: Permit) -> None:
        """Refuses what a kill covers; a killed line is only passed over while another is designated."""
        assert self.target is not None and self.flow is not None
        ctx, host = self.ctx, self.target.host
        kill = ctx.kills.hit(permit.tenant, permit.service, "", host, ctx.reactor.wall, "", self.flow.record.user)
        left = [n for n in self.lines if not ctx.kills.hit("", "", n.id, "", ctx.reactor.wall)]
        if not kill and self.lines and not left:
            kill = ctx.kills.hit("", "", self.lines[0].id, "", ctx.reactor.wall)
        self.lines = left
        if kill:
            reason, rule = ctx.kills.refusal(kill)
            self.refuse(reason, "", rule=rule)

    def next_line(self) -> None:
        """Takes the next designated line and finds addresses over it."""
        flow, target = self.flow, self.target
        assert flow is not None and target is not None
        line = self.line = self.lines.pop(0)
        if target.is_ip:
            self.checked(Names((target.host,), 0.0))
            return
        names = self.ctx.resolver.known(line, target.host)
        if names is not None and names.reason is None:
            self.checked(names)
        elif names is not None:
            self.resolved(flow, line, names)
        else:
            self.allow(NAME_PATIENCE)
            self.ctx.resolver.resolve(line, target.host, partial(self.resolved, flow, line))

    def resolved(self, flow: Flow, line: LineHandle, names: Names) -> None:
        """The word of the line's resolvers; by now the client may be gone, or the flow on another line."""
        if self.flow is not flow or self.line is not line or self.upstream is not None:
            return
        if names.reason is not None:
            self.fault = names.reason, names.detail
            self._line_failed(names.failed)
            return
        self.checked(names)

    def checked(self, names: Names) -> None:
        """Takes the addresses that pass the classifier, and dials. Where one family is not settled yet, its addresses
        are added when they come."""
        flow, line, target = self.flow, self.line, self.target
        assert flow is not None and line is not None and target is not None
        passed = self._passed(flow, names)
        if passed is None:
            return
        self.addresses = list(passed[:MAX_ADDRESSES])
        self.more_coming = names.partial
        self.allow(NAME_PATIENCE if names.partial else LINE_PATIENCE)
        if names.partial:
            known = frozenset(names.addresses)
            self.ctx.resolver.resolve(line, target.host, partial(self._add, flow, line, known))
        self.dial()

    def _add(self, flow: Flow, line: LineHandle, known: frozenset[str], names: Names) -> None:
        """The other family is settled: its addresses are tried too, each in its time."""
        if self.flow is not flow or flow.opened_at or self.line is not line or not self.more_coming:
            return
        self.more_coming = False
        self.allow(LINE_PATIENCE)
        if names.addresses:
            passed = self._passed(flow, names)
            if passed is None:
                return
            self.addresses += [a for a in passed if a.text not in known][:MAX_ADDRESSES]
        if self.upstream is None:
            self.dial()
        elif self.addresses:
            self.ctx.reactor.later(max(0.0, self.dialled_at + ATTEMPT_DELAY - self.ctx.reactor.now), self.hurry)

    def _passed(self, flow: Flow, names: Names) -> tuple[CheckedAddress, ...] | None:
        """Puts every address through the classifier; None: the flow was refused. What passed once is kept with the
        answer, for as long as neither the question nor the host's own addresses change."""
        ctx, target = self.ctx, self.target
        assert flow.permit is not None and target is not None
        if ctx.snapshot is None:  # lost while the name was being resolved
            self.refuse(Reason.POLICY_UNAVAILABLE, "no valid policy")
            return None
        asked = (flow.permit.special_prefixes, ctx.own, ctx.revision, target.port)
        passed = names.checked.get(asked)
        if passed is None:
            found: list[CheckedAddress] = []
            forbidden, rule = "", ""
            for address in names.addresses:
                try:
                    checked = check(address, flow.permit.special_prefixes, ctx.own)
                except AddressForbidden as error:
                    forbidden = error.detail
                    continue
                rule = denied_address(ctx.snapshot, checked.text, target.port) or rule
                if not rule:
                    found.append(checked)
            if rule:  # a name must not lead around a global deny of an address behind it
                self.refuse(Reason.NOT_WHITELISTED, "global deny of an address behind the name", rule=rule)
                return None
            if not found and names.partial:  # the other family may have what may be dialled
                return ()
            if not found:
                self.refuse(Reason.ADDRESS_FORBIDDEN, forbidden)
                return None
            passed = _interleaved(found)
            names.checked = {asked: passed}
        return passed

    # Endings.

    def refuse(self, reason: Reason, detail: str = "", status: int = 0, rule: str = "") -> None:
        """Records the refusal and has the client told once it is written."""
        self.drop_upstream()
        flow, self.flow = self.flow if self.flow is not None else self.begin(), None
        status = status or WORDING[reason].status
        flow.count(self.moved)
        flow.refused(reason, status, detail, rule)
        self.ref = flow.record.ref
        self.on_refused(reason, status, detail)

    @property
    def moved(self) -> int:
        """Bytes of the tenant so far, both directions."""
        return 0

    def ended_early(self, cause: CloseCause) -> None:
        """Something ended a flow that is not open yet: that is a refusal like any other. Only where its line went down
        it goes on over the next one that is designated."""
        if cause is CloseCause.LINE_DOWN:
            try:
                self.leave_line(Reason.LINE_UNAVAILABLE, "the line went down")
            except Exception as error:  # noqa: BLE001 - whoever ends all flows of a line must get to the others
                self.crashed(error)
            return
        self.refuse(*_ENDED_EARLY.get(cause, (Reason.DIAL_FAILED, "the client left before the line answered")))

    def crashed(self, error: Exception) -> None:
        """A defect of ours: nothing is let through."""
        self.ctx.report(error)
        if self.flow is not None:
            self.refuse(Reason.INTERNAL_ERROR)
        elif self.fd >= 0:
            self.end(CloseCause.INTERNAL_ERROR)

    def end(self, cause: CloseCause) -> None:
        """Closes everything without a word to the client."""
        raise NotImplementedError


def _interleaved(found: list[CheckedAddress]) -> tuple[CheckedAddress, ...]:
    """Addresses of both families in turn, IPv6 first, each family in its order (RFC 8305 clause 4)."""
    families = ([a for a in found if a.family == family] for family in (6, 4))
    return tuple(address for address in chain.from_iterable(zip_longest(*families)) if address is not None)

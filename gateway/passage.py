"""From a request head to a connected socket on a line: identify, decide, take a share, choose a line, resolve,
check, dial.

The owner says what to do when the passage is open or refused. Every step can refuse, and each refusal has one
reason; an error of ours on the way is a refusal too.
"""

import errno
import os
import socket
from typing import TYPE_CHECKING

from gateway.flow import Flow
from gateway.handshake.connect import ConnectFields
from gateway.handshake.http1 import RequestHead
from gateway.identity import UnidentifiedError
from gateway.line.dial import DialError, connect
from gateway.line.model import LineError, LineHandle
from gateway.reactor import BOTH_EDGE, ERR, HUP, OUT
from gateway.resolver.resolver import Names
from telemetry.record import CloseCause
from whitelist.address import AddressForbidden, CheckedAddress, check
from whitelist.decide import Access, Denial, Permit, decide, denied_address
from whitelist.reason import WORDING, Reason
from whitelist.target import Target

if TYPE_CHECKING:
    from gateway.context import Context

Head = RequestHead | ConnectFields

MAX_ADDRESSES = 4  # tried one after the other within the dial timeout
_OUT_OF_ROOM = frozenset((errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM))
# What a line without a live far end answers (its gateway does not resolve, or says so by ICMP): another line may do.
_NO_WAY = frozenset((errno.EHOSTUNREACH, errno.ENETUNREACH, errno.ENETDOWN))
# What a flow is refused for that something ended before its line was there.
_ENDED_EARLY = {
    CloseCause.CUT_BY_POLICY: (Reason.NOT_WHITELISTED, "the policy changed while the connection was being made"),
    CloseCause.CUT_BY_KILL: (Reason.KILL_SWITCH, ""),
    CloseCause.CUT_BY_RULE: (Reason.REGULATOR_RULE, ""),
    CloseCause.CUT_BY_OPERATOR: (Reason.KILL_SWITCH, "cut by the operator"),
    CloseCause.EXPIRED: (Reason.GRANT_EXPIRED, "ended while the connection was being made"),
    CloseCause.LINE_DOWN: (Reason.LINE_UNAVAILABLE, "the line went down"),
    CloseCause.DRAINED: (Reason.OVERLOADED, "draining"),
    CloseCause.INTERNAL_ERROR: (Reason.INTERNAL_ERROR, ""),
}


class Passage:
    """One request on its way out. fd: the client's socket, -1 once it was given away or closed. deadline
    (monotonic) and expires (Unix) make it a Live thing."""

    __slots__ = (
        "addresses", "ctx", "deadline", "expires", "fd", "flow", "interface", "ip", "line", "lines", "listener",
        "port", "ref", "target", "upstream",
    )  # fmt: skip

    def __init__(self, ctx: "Context", listener: str, fd: int, ip: str, port: int, interface: str) -> None:
        self.ctx = ctx
        self.listener = listener
        self.fd = fd
        self.ip = ip
        self.port = port
        self.interface = interface
        self.deadline = ctx.reactor.now + ctx.timeouts.handshake
        self.expires = float("inf")
        self.ref = ""
        self.flow: Flow | None = None
        self.target: Target | None = None
        self.line: LineHandle | None = None
        self.lines: list[LineHandle] = []
        self.addresses: list[CheckedAddress] = []
        self.upstream: socket.SocketType | None = None

    # What the owner adds.

    def on_open(self, mask: int) -> None:
        """The line is connected; self.upstream is watched for both edges. mask: what the event said beside that, such
        as that the service has spoken already; it is not said again."""
        raise NotImplementedError

    def on_refused(self, reason: Reason, status: int, detail: str) -> None:
        """The refusal is recorded; tell the client."""
        raise NotImplementedError

    # The way out, in order.

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
        unready = ctx.unready()
        if unready is not None:
            self.refuse(*unready)
            return
        identifier, snapshot = ctx.identifier, ctx.snapshot
        if identifier is None or snapshot is None:  # since unready() looked, in this very turn
            self.refuse(Reason.POLICY_UNAVAILABLE, "no valid policy")
            return
        wall = ctx.reactor.wall
        try:
            identity = identifier.identify(head.proxy_authorization, wall)
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
            fresh = decide(snapshot, tenant, self.ip, self.interface, target, access, int(wall))
            if type(fresh) is not Permit:
                self._denied(fresh)
                return
            verdict = ctx.remember(asked, fresh)
        flow.permit = verdict
        record.service = verdict.service
        record.grant = verdict.grant
        self.expires = float(min(verdict.not_after, credential.valid_until))
        if not flow.take_share(verdict.slot, verdict.max_tunnels or ctx.limits.tunnels_per_tenant):
            self.refuse(Reason.RATE_LIMITED, "the firm's tunnels in all workers are at their limit")
            return
        usable, why = ctx.lines.usable(verdict.lines, wall)
        self.lines = list(usable)
        if ctx.kills:
            self._heed_kills(verdict)
            if self.flow is None:
                return
        if not self.lines:
            self.refuse(Reason.LINE_UNAVAILABLE, why)
            return
        self.deadline = ctx.reactor.now + ctx.timeouts.dial
        self.next_line()

    def _denied(self, denial: "Denial | Permit") -> None:
        assert isinstance(denial, Denial)
        assert self.flow is not None
        self.flow.record.grant = denial.grant
        self.refuse(denial.reason, denial.detail, rule=denial.rule)

    def _heed_kills(self, permit: Permit) -> None:
        """Refuses what a kill covers; a killed line is only passed over while another is designated."""
        assert self.target is not None
        ctx, host = self.ctx, self.target.host
        kill = ctx.kills.hit(permit.tenant, permit.service, "", host, ctx.reactor.wall)
        left = [n for n in self.lines if not ctx.kills.hit("", "", n.id, "", ctx.reactor.wall)]
        if not kill and self.lines and not left:
            kill = ctx.kills.hit("", "", self.lines[0].id, "", ctx.reactor.wall)
        self.lines = left
        if kill:
            self.refuse(Reason.KILL_SWITCH, "", rule=kill)

    def next_line(self) -> None:
        """Takes the next designated line and finds addresses over it."""
        target = self.target
        assert target is not None
        line = self.line = self.lines.pop(0)
        if target.is_ip:
            self.checked(Names((target.host,), 0.0))
            return
        names = self.ctx.resolver.known(line, target.host)
        if names is not None and names.reason is None:
            self.checked(names)
        elif names is not None:
            self.resolved(names)
        else:
            self.ctx.resolver.resolve(line, target.host, self.resolved)

    def resolved(self, names: Names) -> None:
        """The resolver's word; the client may be gone by now."""
        if self.flow is None or self.upstream is not None:
            return
        if names.reason is not None:
            if self.lines:
                self.next_line()
            else:
                self.refuse(names.reason, names.detail)
            return
        self.checked(names)

    def checked(self, names: Names) -> None:
        """Puts every address through the classifier; those that pass may be dialled, in order. What passed once is kept
        with the answer, for as long as neither the question nor the host's own addresses change."""
        ctx, flow, target = self.ctx, self.flow, self.target
        assert flow is not None and flow.permit is not None and target is not None
        if ctx.snapshot is None:  # lost while the name was being resolved
            self.refuse(Reason.POLICY_UNAVAILABLE, "no valid policy")
            return
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
                return
            if not found:
                self.refuse(Reason.ADDRESS_FORBIDDEN, forbidden)
                return
            passed = tuple(found)
            names.checked = {asked: passed}
        self.addresses = list(passed[:MAX_ADDRESSES])
        self.dial()

    def dial(self) -> None:
        """Tries the next address on this line, then the next designated line, then refuses."""
        flow, line, target = self.flow, self.line, self.target
        assert flow is not None and flow.permit is not None and line is not None and target is not None
        why, line_failed, kill = "no address answered", False, ""
        while self.addresses:
            checked = self.addresses.pop(0)
            if self.ctx.kills and (kill := self.killed(line, checked.text)):  # of the address, or engaged meanwhile
                continue
            try:
                self.upstream = connect(flow.permit, checked, target.port, line)
            except LineError as error:
                why, line_failed = str(error), True
                if error.errno == 0:  # does not carry this family; another address may be of the other
                    continue
                break
            except DialError as error:
                why, line_failed = str(error), False
                if error.errno in _OUT_OF_ROOM:
                    self.ctx.shortage(str(error))
                    self.refuse(Reason.OVERLOADED, "out of descriptors")
                    return
                continue
            flow.record.address = checked.text
            flow.record.line = line.id
            self.ctx.reactor.watch(self.upstream.fileno(), BOTH_EDGE, self.on_dialling)
            return
        if (line_failed or kill) and self.lines:
            self.next_line()
        elif kill:
            self.refuse(Reason.KILL_SWITCH, "", rule=kill)
        else:
            self.refuse(Reason.LINE_UNAVAILABLE if line_failed else Reason.DIAL_FAILED, why)

    def killed(self, line: LineHandle, address: str) -> str:
        """The id of a kill that covers this flow on this line to this address, or ""."""
        assert self.flow is not None and self.flow.permit is not None and self.target is not None
        permit, wall = self.flow.permit, self.ctx.reactor.wall
        return self.ctx.kills.hit(permit.tenant, permit.service, line.id, self.target.host, wall, address)

    def on_dialling(self, mask: int) -> None:
        """The connection is established, or failed."""
        upstream = self.upstream
        assert upstream is not None and self.flow is not None and self.line is not None
        if mask & (ERR | HUP):
            error = upstream.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            self.drop_upstream()
            if self.addresses:
                self.dial()
            elif error in _NO_WAY and self.lines:
                self.next_line()
            else:
                self.refuse(Reason.DIAL_FAILED, f"line {self.line.id}: {os.strerror(error or errno.ECONNRESET)}")
            return
        if not mask & OUT:
            return
        upstream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        record = self.flow.record
        name = upstream.getsockname()
        record.egress_ip, record.egress_port = name[0], name[1]
        self.heed_end(self.line)
        self.on_open(mask)

    def heed_end(self, line: LineHandle) -> None:
        """The flow ends with its line's contract at the latest."""
        end = self.ctx.lines.ends(line.id)
        if end:
            self.expires = min(self.expires, float(end))

    # Endings.

    def refuse(self, reason: Reason, detail: str = "", status: int = 0, rule: str = "") -> None:
        """Records the refusal and has the client told once it is written."""
        self.drop_upstream()
        flow, self.flow = self.flow if self.flow is not None else self.begin(), None
        status = status or WORDING[reason].status
        flow.refused(reason, status, detail, rule)
        self.ref = flow.record.ref
        self.on_refused(reason, status, detail)

    def drop_upstream(self) -> None:
        """Closes the line's socket, if there is one."""
        if self.upstream is not None:
            self.ctx.reactor.close(self.upstream.detach())
            self.upstream = None

    def ended_early(self, cause: CloseCause) -> None:
        """Something ended a flow that is not open yet: that is a refusal like any other."""
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

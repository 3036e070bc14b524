"""From the checked addresses of a service to a connected socket on one line: attempts in turn, and beside each other
where one is slow (RFC 8305 clause 5). Which line comes next is the passage's to say."""

import errno
import os
import socket
from functools import partial
from typing import TYPE_CHECKING

from gateway.line.dial import DialError, connect
from gateway.line.model import LineError, LineHandle
from gateway.reactor import BOTH_EDGE, ERR, HUP, OUT
from whitelist.address import CheckedAddress
from whitelist.reason import Reason

if TYPE_CHECKING:
    from gateway.context import Context
    from gateway.flow import Flow
    from whitelist.target import Target

ATTEMPT_DELAY = 0.25  # seconds without an answer until the next address is tried beside it (RFC 8305 clause 5)
# Seconds that a line gets while another is designated, from the first attempt on it: the time for a SYN, one repeated
# after a second (RFC 6298 clause 2.1), and its answer from the far side of the world. Looked at once a second.
LINE_PATIENCE = 1.5
NAME_PATIENCE = 3.0  # the same for its resolvers, so that the second can answer where the first is silent
_OUT_OF_ROOM = frozenset((errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM))
# What a line without a live far end answers (its gateway does not resolve, or says so by ICMP): another line may do.
_UNANSWERED = frozenset((errno.EHOSTUNREACH, errno.ENETUNREACH, errno.ENETDOWN, errno.ETIMEDOUT))


class Dialling:
    """The part of a passage that dials. upstream: the socket of the latest attempt, in the end the connected one;
    earlier: attempts before it on this line that have no answer yet, with their addresses. fault: what the last attempt
    failed of (the id of a kill); tried: what kept the flow from lines that could not be taken, then what those failed
    of that were; silent: the lines that did not answer in their time. more_coming: addresses of the other family may
    follow; priority: the traffic class that the client's socket is in. deadline: of this line (monotonic seconds);
    dial_until: of all of them together."""

    __slots__ = (
        "addresses", "ctx", "deadline", "dial_until", "dialled_at", "earlier", "expires", "fault", "fd", "flow", "line",
        "lines", "more_coming", "priority", "silent", "target", "tried", "upstream",
    )  # fmt: skip

    def __init__(self, ctx: "Context", fd: int) -> None:
        self.ctx = ctx
        self.fd = fd
        self.expires = float("inf")
        self.deadline = self.dial_until = 0.0
        self.flow: Flow | None = None
        self.target: Target | None = None
        self.line: LineHandle | None = None
        self.lines: list[LineHandle] = []
        self.addresses: list[CheckedAddress] = []
        self.upstream: socket.SocketType | None = None
        self.earlier: list[tuple[socket.SocketType, str]] | None = None
        self.dialled_at = 0.0
        self.more_coming = False
        self.fault: tuple[Reason, str] = (Reason.DIAL_FAILED, "no address answered")
        self.tried: list[str] = []
        self.silent: tuple[str, ...] = ()
        self.priority = 0

    # What the passage adds.

    def on_open(self, mask: int) -> None:
        """The line is connected; self.upstream is watched for both edges. mask: what the event said beside that, such
        as that the service has spoken already; it is not said again."""
        raise NotImplementedError

    def next_line(self) -> None:
        """Takes the next designated line and finds addresses over it."""
        raise NotImplementedError

    def refuse(self, reason: Reason, detail: str = "", status: int = 0, rule: str = "") -> None:
        """Records the refusal and has the client told once it is written."""
        raise NotImplementedError

    # Attempts.

    def dial(self) -> None:
        """Tries the next address on this line. Where none is left, attempts under way may still succeed; else the next
        designated line is tried, or the flow refused."""
        flow, line, target = self.flow, self.line, self.target
        assert flow is not None and flow.permit is not None and line is not None and target is not None
        ctx, elsewhere = self.ctx, False
        while self.addresses:
            checked = self.addresses.pop(0)
            if ctx.kills and (kill := self.killed(line, checked.text)):  # of the address, or engaged meanwhile
                elsewhere = True
                self.fault = Reason.KILL_SWITCH, kill  # the switch; whose it is, is said in the end
                continue
            try:
                self.upstream = connect(flow.permit, checked, target.port, line)
            except LineError as error:
                elsewhere = True
                self.fault = Reason.LINE_UNAVAILABLE, str(error)
                if error.errno == 0:  # does not carry this family; another address may be of the other
                    continue
                ctx.figures.failed(line.index)
                self.addresses.clear()
                break
            except DialError as error:
                if error.errno in _OUT_OF_ROOM:
                    ctx.shortage(str(error))
                    self.refuse(Reason.OVERLOADED, "out of descriptors")
                    return
                elsewhere = error.errno == errno.EADDRNOTAVAIL
                if elsewhere:
                    ctx.figures.exhausted(line.index)
                self.fault = Reason.OVERLOADED if elsewhere else Reason.DIAL_FAILED, str(error)
                continue
            ctx.figures.dialled(line.index)
            flow.record.address = checked.text
            flow.record.line = line.id
            ctx.reactor.watch(self.upstream.fileno(), BOTH_EDGE, self.on_dialling)
            self.dialled_at = ctx.reactor.now
            if self.addresses:
                ctx.reactor.later(ATTEMPT_DELAY, self.hurry)
            return
        if self.earlier:
            self._back_to_earlier()
        elif not self.more_coming:
            self._line_failed(elsewhere)

    def hurry(self) -> None:
        """The latest attempt had its time without an answer: the next address is tried beside it."""
        flow, upstream = self.flow, self.upstream
        if flow is None or flow.opened_at or upstream is None or not self.addresses:
            return
        if self.ctx.reactor.now < self.dialled_at + ATTEMPT_DELAY:
            return  # there was another attempt since, with a timer of its own
        if self.earlier is None:
            self.earlier = []
        self.earlier.append((upstream, flow.record.address))
        self.ctx.reactor.handle(upstream.fileno(), partial(self.on_earlier, upstream))
        self.upstream = None
        self.dial()

    def on_earlier(self, upstream: socket.SocketType, mask: int) -> None:
        """An attempt that was overtaken has its answer after all. The first to connect is taken."""
        assert self.flow is not None and self.earlier is not None
        at = next(n for n, (sock, _) in enumerate(self.earlier) if sock is upstream)
        _, address = self.earlier.pop(at)
        if mask & (ERR | HUP):
            self._answered_no(upstream)
            return
        self.earlier.append((upstream, address))
        latest, self.upstream = self.upstream, None
        if latest is not None:
            self.ctx.reactor.close(latest.detach())
        self._back_to_earlier()
        self.on_dialling(mask)

    def _back_to_earlier(self) -> None:
        """The last of the earlier attempts is the latest again."""
        assert self.flow is not None and self.earlier
        self.upstream, self.flow.record.address = self.earlier.pop()
        self.ctx.reactor.handle(self.upstream.fileno(), self.on_dialling)

    def _answered_no(self, upstream: socket.SocketType) -> int:
        """Closes an attempt that failed. The error number."""
        assert self.line is not None
        error = upstream.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) or errno.ECONNRESET
        self.ctx.reactor.close(upstream.detach())
        if error in _UNANSWERED:
            self.ctx.figures.failed(self.line.index)
        self.fault = Reason.DIAL_FAILED, f"line {self.line.id}: {os.strerror(error)}"
        return error

    def _line_failed(self, elsewhere: bool = True) -> None:
        """Nothing is left to try on this line. elsewhere: another line may do better."""
        flow = self.flow
        assert flow is not None and flow.permit is not None and self.line is not None
        reason, detail = self.fault
        failed = _of_line(self.line.id, "killed" if reason is Reason.KILL_SWITCH else detail)
        if elsewhere and self.lines:
            self.tried.append(failed)
            failed = ""
            while self.lines:  # as they are by now
                following, why = self.ctx.lines.look(self.lines[0].id, self.ctx.reactor.wall)
                if self.lines[0].id not in flow.permit.lines:
                    why = "no longer designated"
                elif following is not None:
                    flow.record.line = flow.record.address = ""
                    self.lines[0] = following
                    self.next_line()
                    return
                self.tried.append(f"{self.lines.pop(0).id}: {why}")
        if reason is Reason.KILL_SWITCH:
            whose, rule = self.ctx.kills.refusal(detail)
            self.refuse(whose, rule=rule)
        elif self.tried:
            self.refuse(reason, ", ".join((*self.tried, failed) if failed else self.tried))
        else:
            self.refuse(reason, detail)

    def leave_line(self, reason: Reason, detail: str) -> None:
        """Gives up whatever is under way on this line: it is the line that is at fault, as far as anyone can tell, so
        the next designated one is tried, or the flow refused."""
        assert self.flow is not None and self.line is not None
        self.fault = reason, detail
        if not self.flow.opened_at:
            for _ in range((self.upstream is not None) + len(self.earlier or ())):
                self.ctx.figures.failed(self.line.index)
        self.drop_upstream()
        self.addresses.clear()
        self.more_coming = False
        self._line_failed()

    def allow(self, patience: float) -> None:
        """Sets how long this line may take: so many seconds while another is left, and all the time there is if not."""
        self.deadline = min(self.ctx.reactor.now + patience, self.dial_until) if self.lines else self.dial_until

    def killed(self, line: LineHandle, address: str) -> str:
        """The id of a kill that covers this flow on this line to this address, or ""."""
        assert self.flow is not None and self.flow.permit is not None and self.target is not None
        permit, wall = self.flow.permit, self.ctx.reactor.wall
        user = self.flow.record.user
        return self.ctx.kills.hit(permit.tenant, permit.service, line.id, self.target.host, wall, address, user)

    def on_dialling(self, mask: int) -> None:
        """The connection is established, or failed."""
        upstream = self.upstream
        assert upstream is not None and self.flow is not None and self.line is not None
        if mask & (ERR | HUP):
            self.upstream = None
            error = self._answered_no(upstream)
            if self.addresses:
                self.dial()
            elif self.earlier:
                self._back_to_earlier()
            elif not self.more_coming:
                self._line_failed(error in _UNANSWERED)
            return
        if not mask & OUT:
            return
        self.addresses.clear()
        self.more_coming = False
        self.deadline = self.dial_until
        if self.earlier is not None:
            self._drop_earlier()
        self.classify(self.line)
        upstream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        record = self.flow.record
        name = upstream.getsockname()
        record.egress_ip, record.egress_port = name[0], name[1]
        self.heed_end(self.line)
        for silent in self.silent:
            self.ctx.doubts.add(silent, self.flow.record.host, self.ctx.reactor.now)
        self.on_open(mask)

    def classify(self, line: LineHandle) -> None:
        """Puts what goes down to the client into the traffic class of the flow's share of the line."""
        assert self.flow is not None
        priority = line.egress(self.flow.record.tenant).priority
        if priority != self.priority and self.fd >= 0:
            self.priority = priority
            client = socket.SocketType(socket.AF_INET, socket.SOCK_STREAM, 0, self.fd)
            try:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_PRIORITY, priority)
            finally:
                client.detach()

    def heed_end(self, line: LineHandle) -> None:
        """The flow ends with its line's contract at the latest."""
        end = self.ctx.lines.ends(line.id)
        if end:
            self.expires = min(self.expires, float(end))

    def unanswered(self) -> None:
        """The time of this line is over. Silence may be the line's fault: the next one is tried with the time that is
        left, or the flow refused."""
        assert self.flow is not None and self.line is not None
        if self.flow.opened_at or self.ctx.reactor.now >= self.dial_until:
            self.lines.clear()
        self.silent = (*self.silent, self.line.id)
        if self.upstream is None:
            self.leave_line(Reason.RESOLVE_FAILED, "no answer of a resolver in time")
        else:
            self.leave_line(Reason.DIAL_FAILED, "the service did not answer in time")

    def _drop_earlier(self) -> None:
        """Closes the attempts that another was quicker than."""
        for sock, _ in self.earlier or ():
            self.ctx.reactor.close(sock.detach())
        self.earlier = None

    def drop_upstream(self) -> None:
        """Closes the line's sockets, if there are any."""
        if self.earlier is not None:
            self._drop_earlier()
        if self.upstream is not None:
            self.ctx.reactor.close(self.upstream.detach())
            self.upstream = None


def _of_line(line: str, detail: str) -> str:
    """A line and what it failed of, named once."""
    return f"{line}: {detail.removeprefix(f'line {line}: ')}"

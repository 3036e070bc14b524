"""An inspected tunnel: client ⇄ worker ⇄ inspector ⇄ worker ⇄ line. The worker keeps both ends, the records, the limits
and the cuts; the inspector holds two ends of socket pairs and cannot reach anything else.

The tunnel proper relays between client and inspector, a leg between inspector and line; more legs where the inspector
needs more connections to the service, each dialled as the first was, over the same line.
"""

import re
import socket
from typing import TYPE_CHECKING

from gateway.detour.leg import Leg
from gateway.detour.redial import Redial
from gateway.inspection.wire import MAX_PATH, Ask, Bye, Dial, Dialled, Done, Failed, FromInspector, Go, Start, Stop
from gateway.reactor import BOTH_EDGE
from telemetry.record import CloseCause, Kind, Record
from whitelist.inspection import media_type
from whitelist.reason import WORDING, Reason

if TYPE_CHECKING:
    from gateway.context import Context
    from gateway.detour.channel import Channel
    from gateway.relay.tunnel import Tunnel

MAX_LEGS = 32  # connections to the service of one tunnel
MAX_OPEN = 1024  # inner requests of one tunnel that have not ended
_METHOD = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]{1,32}").fullmatch
_PATH = re.compile(r"[!->@-~]*").fullmatch  # visible ASCII without a question mark
_RULE = re.compile(r"[ -~]{0,63}").fullmatch
_BASE = (
    "tenant", "site", "room", "interface", "user", "credential", "client_ip", "client_port", "original_dst", "listener",
    "host", "port", "sni", "address", "line", "egress_ip", "egress_port", "service", "grant", "revision",
)  # fmt: skip
_CAUSES = frozenset(cause.value for cause in CloseCause)
_REASONS = frozenset(reason.value for reason in Reason)


class Detour:
    """near: the worker's end of the client's pair, which the tunnel takes for its service. tunnel: once it is there."""

    __slots__ = ("channel", "ctx", "far", "legs", "near", "requests", "through", "tunnel", "waiting")

    def __init__(self, ctx: "Context", channel: "Channel") -> None:
        self.ctx = ctx
        self.channel = channel
        self.near, self.far = pair()
        ctx.reactor.watch(self.near.fileno(), BOTH_EDGE, _ignore)
        self.tunnel: Tunnel | None = None
        self.through = False  # the inspector has said so
        self.waiting = False  # for that, or for its failure to be known
        self.legs: set[Leg] = set()
        self.requests: dict[int, tuple[str, float, Record]] = {}  # under way, by number: their ids, beginnings

    def begin(self, tunnel: "Tunnel", line: socket.SocketType, mask: int) -> None:
        """Gives the inspector its two ends. line: the connection to the service; mask: edges of it so far."""
        self.tunnel = tunnel
        self.channel.owner = self
        ours, theirs = pair()
        leg = Leg(self, ours, line)
        try:
            self.channel.say(Start(), (self.far.fileno(), theirs.fileno()))
        finally:
            self.far.close()
            theirs.close()
        if tunnel.client >= 0:
            leg.start(b"", client_fin=False, spoke=True, upstream_mask=mask)

    # What the inspector says.

    def inspector_ready(self) -> None:
        """It was before."""

    def inspector_lost(self, detail: str) -> None:
        """Nothing passes unread: the tunnel ends."""
        if self.tunnel is not None:
            self.tunnel.flow.record.detail = detail
            self.tunnel.end(CloseCause.INSPECTION_FAILED)

    def waits(self) -> bool:
        """An end that the inspector has not announced: the next that is heard of it tells what it was."""
        self.waiting = not self.through
        return self.waiting

    def told(self, message: FromInspector) -> None:
        """One thing that it said."""
        tunnel = self.tunnel
        if tunnel is None or tunnel.client < 0:
            return
        match message:
            case Dial():
                if len(self.legs) >= MAX_LEGS or len(self.ctx.live) >= self.ctx.max_live:
                    self.channel.say(Failed(message.number, Reason.OVERLOADED, "too many connections to the service"))
                else:
                    Redial(self, message.number).next_line()
            case Ask():
                self._asked(message)
            case Done():
                self._done(message)
            case Bye():
                self.through = True
                self.channel.close()
                self._end_requests(CloseCause.CLIENT_CLOSED)
                if self.waiting:
                    tunnel.pump(tunnel.down)
            case _:
                pass

    def dialled(self, number: int, line: socket.SocketType, mask: int) -> None:
        """A further connection to the service is there."""
        ours, theirs = pair()
        leg = Leg(self, ours, line)
        try:
            self.channel.say(Dialled(number), (theirs.fileno(),))
        finally:
            theirs.close()
        if self.tunnel is not None and self.tunnel.client >= 0:
            leg.start(b"", client_fin=False, spoke=True, upstream_mask=mask)

    # Records of inner requests.

    def _asked(self, ask: Ask) -> None:
        """Writes it down; the inspector may go on once it is in the spool. What it says is held to its form: it has
        read a stranger's bytes."""
        ctx, tunnel = self.ctx, self.tunnel
        assert tunnel is not None
        known = self.requests.pop(ask.of, None) if ask.of else None
        record = known[2] if known is not None else self._record(tunnel.flow.record)
        record.method = ask.method if _METHOD(ask.method) else "?"
        path = ask.path.partition("?")[0][:MAX_PATH]
        record.path = path if _PATH(path) else ""
        record.rule = ask.rule if _RULE(ask.rule) else ""
        record.content_type = media_type(ask.content_type)
        record.user_agent = ask.user_agent[:256]
        allowed = not ask.reason and not ask.of and len(self.requests) < MAX_OPEN
        if allowed:
            record.decision = "permit"
            ctx.emit(record, Kind.REQUEST)
            self.requests[ask.number] = (record.flow, ctx.reactor.now, record)
        else:
            reason = Reason(ask.reason) if ask.reason in _REASONS else Reason.OVERLOADED
            record.decision, record.reason, record.ref = "deny", reason, record.flow
            record.status = ask.status if ask.status in range(400, 600) else WORDING[reason].status
            record.detail = ask.detail[:200]
            record.bytes_out, record.bytes_in = max(0, ask.bytes_out), max(0, ask.bytes_in)
            ctx.emit(record, Kind.DENY)
        may = allowed or bool(ask.reason)
        number, ref = ask.number, record.flow

        def written() -> None:
            go = may and not ctx.spool_failed
            self.channel.say(Go(number, ref) if go else Stop(number, ref))

        ctx.reactor.at_turn_end(written)

    def _done(self, done: Done) -> None:
        known = self.requests.pop(done.number, None)
        if known is not None:
            self._ended(known, done)

    def _ended(self, known: tuple[str, float, Record], done: Done) -> None:
        """How a request ended, into the records."""
        ctx = self.ctx
        _, began, record = known
        record.status = done.status if done.status in range(1000) else 0
        record.content_type = media_type(done.content_type)
        record.bytes_out, record.bytes_in = max(0, done.bytes_out), max(0, done.bytes_in)
        record.bytes_as_of = int(ctx.reactor.wall * 1_000_000)
        record.duration = int((ctx.reactor.now - began) * 1_000_000)
        record.cause = done.cause if done.cause in _CAUSES else CloseCause.RESET
        ctx.emit(record, Kind.RESPONSE)

    def _record(self, base: Record) -> Record:
        record = self.ctx.new_record()
        for name in _BASE:
            setattr(record, name, getattr(base, name))
        record.flow = self.ctx.refs.next()
        record.tunnel = base.flow
        return record

    # The end.

    def leg_ended(self, leg: Leg, cause: CloseCause) -> None:
        """A connection to the service is over. What ended it may concern the whole tunnel."""
        self.legs.discard(leg)
        if self.tunnel is not None and cause not in Leg.OWN:
            self.tunnel.end(cause)

    def close(self, cause: CloseCause) -> None:
        """The tunnel has ended, and with it all that is the inspector's."""
        self.tunnel = None
        self.channel.close()
        for leg in list(self.legs):
            leg.end(cause)
        self._end_requests(cause)

    def _end_requests(self, cause: CloseCause) -> None:
        for known in self.requests.values():
            self._ended(known, Done(0, 0, "", 0, 0, cause))
        self.requests.clear()


def pair() -> tuple[socket.socket, socket.socket]:
    """Two ends, neither of which ever waits."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    return ours, theirs


def _ignore(mask: int) -> None:
    """Until the tunnel is there."""

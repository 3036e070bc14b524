"""The resolver: questions leave marked and bound on the flow's own line, to that line's resolvers, and to no other.

Equal questions in flight are asked once; answers and their absence are kept for their bounded time. A and AAAA are
asked together: once one has come, the other gets a short while more (RFC 8305 clause 3), and what comes later is added
to what is known.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from socket import SocketType

from gateway.line.dial import DialError, connect_resolver
from gateway.line.model import LineError, LineHandle
from gateway.reactor import BOTH_EDGE, ERR, HUP, IN, OUT, READ_EDGE, Reactor
from gateway.resolver.messages import Answer, BadAnswer, Question, ask, read
from gateway.resolver.tls import TlsChannel, TlsChannels
from whitelist.address import CheckedAddress
from whitelist.reason import Reason

# How long addresses of a family wait for those of the other (RFC 8305 clause 3).
RESOLUTION_DELAY = {6: 0.0, 4: 0.05}
TRY_SECONDS = 2.0
TLS_TRY_SECONDS = 3.0  # three round trips, where the connection is new
ROUNDS = 2
MAX_ENTRIES = 20_000
MAX_IN_FLIGHT = 2_000


@dataclass(slots=True)
class Names:
    """What is known of a host on a line: addresses (IPv6 first), until when (monotonic seconds), why there are none.

    failed: the line's resolvers gave no usable answer, so another line may; a name without existence or address
    is an answer. partial: the other family is still being asked for; resolve() calls back when it is settled.
    """

    addresses: tuple[str, ...]
    until: float
    reason: Reason | None = None
    detail: str = ""
    failed: bool = False
    partial: bool = False
    # What may be dialled, by what was asked: special prefixes, the host's own addresses, policy revision, port.
    checked: dict[tuple[tuple[str, ...], frozenset[str], int, int], tuple[CheckedAddress, ...]] = field(
        default_factory=dict
    )


Found = Callable[[Names], None]


class Resolver:
    """One worker's resolver and its cache, by line and host."""

    def __init__(self, reactor: Reactor) -> None:
        self.reactor = reactor
        self.channels = TlsChannels(reactor)
        self._known: dict[tuple[str, str], Names] = {}
        self._asking: dict[tuple[str, str], _Lookup] = {}

    def known(self, line: LineHandle, host: str) -> Names | None:
        """What the cache says, if it is still good."""
        names = self._known.get((line.id, host))
        return names if names is not None and names.until > self.reactor.now else None

    def resolve(self, line: LineHandle, host: str, found: Found) -> None:
        """Calls found once, with addresses or a reason, later in this or another turn. Where known() has told a part,
        it is called with the whole."""
        key = (line.id, host)
        lookup, names = self._asking.get(key), self.known(line, host)
        if names is not None and not names.partial:  # the whole has come since
            found(names)
            return
        if lookup is not None and not (lookup.told and names is None):
            lookup.waiting.append(found)
            return
        if not line.resolvers:
            detail = f"line {line.id} has no resolver"
            found(Names((), 0.0, Reason.RESOLVE_FAILED, detail, failed=True))
            return
        if len(self._asking) >= MAX_IN_FLIGHT:
            found(Names((), 0.0, Reason.OVERLOADED, "too many names are being resolved"))
            return
        lookup = self._asking[key] = _Lookup(self, line, host)
        lookup.waiting.append(found)
        lookup.start()

    def tell(self, lookup: "_Lookup", names: Names) -> None:
        """Keeps what was found, unless the line has changed since it was asked, and tells those who wait."""
        key = (lookup.line.id, lookup.host)
        if self._asking.get(key) is lookup:
            if not names.partial:
                del self._asking[key]
            if names.until > self.reactor.now:
                self._keep(key, names)
        waiting, lookup.waiting = lookup.waiting, []
        for found in waiting:
            self.reactor.guard(partial(found, names), getattr(getattr(found, "func", found), "__self__", None))

    def _keep(self, key: tuple[str, str], names: Names) -> None:
        if len(self._known) >= MAX_ENTRIES:
            self._known = {k: n for k, n in self._known.items() if n.until > self.reactor.now}
            if len(self._known) >= MAX_ENTRIES:
                self._known.clear()
        self._known[key] = names

    def forget_line(self, line: str) -> None:
        """Drops what was learnt, and is being learnt, over a line that changed. Who waits is still told."""
        self._known = {key: names for key, names in self._known.items() if key[0] != line}
        self._asking = {key: lookup for key, lookup in self._asking.items() if key[0] != line}
        self.channels.forget_line(line)


@dataclass(slots=True)
class _Lookup:
    """One host being resolved on one line: a question per family the line carries. told: a part was given out."""

    resolver: Resolver
    line: LineHandle
    host: str
    waiting: list[Found] = field(default_factory=list)
    answers: dict[int, Answer] = field(default_factory=dict)
    families: tuple[int, ...] = ()
    told: bool = False

    def start(self) -> None:
        line = self.line
        self.families = tuple(f for f, source in ((6, line.source6), (4, line.source4)) if source)
        for family in self.families:
            _Exchange(self, ask(self.host, family)).attempt()
        if not self.families:
            self.resolver.reactor.again(self.finish)

    def answered(self, family: int, answer: Answer) -> None:
        """One family is settled; what there is is told when both are, or a while after the first with addresses."""
        self.answers[family] = answer
        if len(self.answers) == len(self.families):
            self.finish()
        elif answer.addresses:
            self.resolver.reactor.later(RESOLUTION_DELAY[family], self.tell_part)

    def tell_part(self) -> None:
        """What one family has, while the other is still asked for."""
        if len(self.answers) == 1 and not self.told:
            self.told = True
            self.resolver.tell(self, self._names(part=True))

    def finish(self) -> None:
        """Both families are settled."""
        self.resolver.tell(self, self._names(part=False))

    def _names(self, part: bool) -> Names:
        now = self.resolver.reactor.now
        answers = [self.answers[family] for family in self.families if family in self.answers]
        addresses = tuple(a for answer in answers for a in answer.addresses)
        if addresses:
            return Names(addresses, now + min(a.ttl for a in answers if a.addresses), partial=part)
        failed = next((a.failed for a in answers if a.failed), "") or ("" if answers else "it has no source address")
        ttl = 0 if failed else min(a.ttl for a in answers)
        detail = f"over line {self.line.id}: {failed or 'the name has no address'}"
        return Names((), now + ttl, Reason.RESOLVE_FAILED, detail, failed=bool(failed))


class _Exchange:
    """One question, asked of the line's resolvers in turn, over UDP and, where the answer is cut short, TCP; or over
    TLS, and then never in clear."""

    __slots__ = (
        "again", "attempts", "buffer", "channel", "fd", "lookup", "question", "sock", "tcp", "tries", "why",
    )  # fmt: skip

    def __init__(self, lookup: _Lookup, question: Question) -> None:
        self.lookup = lookup
        self.question = question
        self.sock: SocketType | None = None
        self.fd = -1
        self.tries = 0  # resolvers asked
        self.attempts = 0  # the same, with those over TCP for an answer that was cut short
        self.tcp = False
        self.buffer = b""
        self.channel: TlsChannel | None = None
        self.again = False  # asked anew, since a connection kept open had been closed
        self.why = ""

    def attempt(self) -> None:
        """Asks the next resolver; gives up after ROUNDS over all of them."""
        resolvers = self.lookup.line.resolvers
        if self.tries >= ROUNDS * len(resolvers):
            why = "no resolver answered" + (f": {self.why}" if self.why else "")
            self.lookup.answered(self.question.family, Answer((), 0, failed=why))
            return
        target = resolvers[self.tries % len(resolvers)]
        self.tries += 1
        self.attempts += 1
        ticket = self.attempts
        reactor = self.lookup.resolver.reactor
        asked = reactor.now
        try:
            if target.tls_name:
                self.channel = self.lookup.resolver.channels.ask(self.lookup.line, target, self)
                reactor.later(TLS_TRY_SECONDS, lambda: self.timed_out(ticket, asked))
                return
            sock = self.sock = connect_resolver(self.lookup.line, target, datagram=not self.tcp)
            self.fd = sock.fileno()
            if self.tcp:
                reactor.watch(self.fd, BOTH_EDGE, self.on_tcp)
            else:
                sock.send(self.question.wire)
                reactor.watch(self.fd, READ_EDGE, self.on_udp)
        except (LineError, DialError, OSError) as error:
            self.why = str(error)
            self.close()
            reactor.again(self.attempt)
            return
        reactor.later(TRY_SECONDS, lambda: self.timed_out(ticket, asked))

    def timed_out(self, ticket: int, asked: float) -> None:
        """The resolver asked at that time has not answered."""
        if self.attempts != ticket:
            return
        if self.channel is not None:
            channel, self.channel = self.channel, None
            channel.give_up(self, asked)
            self.why = "no answer over TLS in time"
            self.attempt()
        elif self.sock is not None:
            self.close()
            self.attempt()

    def lost(self, why: str, reused: bool) -> None:
        """The connection over TLS ended. One that had been kept open is made anew, once."""
        self.channel = None
        self.why = why
        if reused and not self.again:
            self.again = True
            self.tries -= 1
        self.lookup.resolver.reactor.again(self.attempt)

    def on_udp(self, mask: int) -> None:
        """Datagrams of the connected resolver; what does not answer the question is ignored."""
        while self.sock is not None:
            try:
                wire = self.sock.recv(4096)
            except BlockingIOError:
                return
            except OSError:
                self.close()
                self.attempt()
                return
            if self.settle(wire):
                return

    def on_tcp(self, mask: int) -> None:
        """RFC 7766: a two-byte length before each message."""
        if self.sock is None:
            return
        try:
            if mask & (ERR | HUP) and not mask & IN:
                raise ConnectionError("resolver closed")
            if mask & OUT and not self.buffer:
                self.buffer = b"\0"  # asked
                self.sock.send(len(self.question.wire).to_bytes(2) + self.question.wire)
            while True:
                data = self.sock.recv(65536)
                if not data:
                    raise ConnectionError("resolver closed")
                self.buffer += data
                message = self.buffer[1:]
                if len(message) >= 2 and len(message) >= 2 + int.from_bytes(message[:2]):
                    if not self.settle(message[2 : 2 + int.from_bytes(message[:2])]):
                        raise ConnectionError("answers another question")
                    return
        except BlockingIOError:
            return
        except OSError:
            self.close()
            self.attempt()

    def settle(self, wire: bytes) -> bool:
        """Takes an answer. False: it is not one to this question."""
        try:
            answer = read(self.question, wire)
        except BadAnswer:
            return False
        over_tls = self.channel is not None
        self.channel = None
        self.close()
        if answer.truncated:
            if self.tcp or over_tls:
                self.attempt()
            else:
                self.tcp = True
                self.buffer = b""
                self.tries -= 1
                self.attempt()
        elif answer.failed and self.tries < ROUNDS * len(self.lookup.line.resolvers):
            self.attempt()
        else:
            self.lookup.answered(self.question.family, answer)
        return True

    def close(self) -> None:
        if self.sock is not None:
            fd = self.sock.detach()
            if self.fd >= 0:
                self.lookup.resolver.reactor.close(fd)
            self.sock = None
            self.fd = -1
            self.buffer = b""

"""Connections that have not said yet what they want, and which of them leave when there are too many.

Whoever floods abandons what it opened, or lets it drip; who is honest has said all within a few round trips. So it is
the oldest that leave, of those sources that have the most, and of sources that have a tunnel all but their last few. A
newcomer is turned away only where nobody can leave: where all who came before are being served.
"""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from whitelist.ip_text import parse_v6
from whitelist.reason import Reason

if TYPE_CHECKING:
    from gateway.context import Context
    from gateway.flow import Flow
    from gateway.lingering import Lingering

LOOK = 0.1  # seconds between two looks for connections that are between two requests
KNOWN_FOR = 0.25  # seconds that a look at who has a tunnel is good for
SPARED = 8  # handshakes of a source that has a tunnel, which leave last
PART = 8  # an eighth leaves at once, so that looking for them costs each newcomer little
OVER = "made room for newer ones"


class Newcomer(Protocol):
    """A connection in its handshake. flow is None until its request is whole, which is when it can no longer be sent
    away for others."""

    ip: str
    flow: "Flow | None"

    def leave(self, reason: Reason, detail: str) -> None:
        """Records the refusal, says it, and closes without waiting for the client."""


Source = str | int


@runtime_checkable
class Idle(Protocol):
    """What may be between two requests of a client."""

    def hang_up(self) -> bool:
        """Closes if it is; whether it did."""


class Crowd:
    """members: handshakes in progress on this worker by descriptor, the oldest first, until a tunnel or a forwarder
    takes over; sources: how many each address has of them; lingering: refused clients that may still be reading.

    leaving: somebody is being sent away just now, who must not count as another newcomer meanwhile."""

    def __init__(self, ctx: "Context", per_source: int, in_all: int) -> None:
        self._ctx = ctx
        self.members: dict[int, Newcomer] = {}
        self.sources: dict[str, int] = {}
        self.lingering: dict[int, Lingering] = {}
        self.leaving = False
        self._look_again = self._known_until = 0.0
        self._known: frozenset[Source] = frozenset()
        self._per_source, self._in_all, self._lingering = per_source, in_all, in_all

    def resize(self, live: int) -> None:
        """The process has room for so many connections: handshakes get half of it at most, so that tunnels keep the
        other, and refused clients an eighth."""
        self._in_all = min(self._in_all, max(8, live // 2))
        self._lingering = max(8, live // 8)

    def enter(self, fd: int, who: Newcomer, ip: str) -> tuple[Reason, str] | None:
        """Counts one more; why it must be refused, if so."""
        sources, members = self.sources, self.members
        sources[ip] = of_source = sources.get(ip, 0) + 1
        members[fd] = who
        if of_source > self._per_source or len(members) > self._in_all:
            return None if self.leaving else self._squeeze(who, of_source)
        return None

    def join(self, fd: int, who: Newcomer) -> None:
        """Counts one whose source is not known yet, and which is not to be refused at once."""
        self.members[fd] = who
        if len(self.members) > self._in_all and not self.leaving:
            self._squeeze(who, 0)

    def exit(self, fd: int, ip: str) -> None:
        """Counts one less (once)."""
        if self.members.pop(fd, None) is None:
            return
        count = self.sources.get(ip, 0)
        if count <= 1:
            self.sources.pop(ip, None)
        else:
            self.sources[ip] = count - 1

    def part(self, fd: int) -> None:
        """The same for one that joined."""
        self.members.pop(fd, None)

    def linger(self, fd: int, who: "Lingering") -> None:
        """Counts a client that is being told why it is refused; the longest told leaves where it is one too many."""
        lingering = self.lingering
        lingering[fd] = who
        if len(lingering) > self._lingering:
            next(iter(lingering.values())).overdue()

    def _squeeze(self, newcomer: Newcomer, of_source: int) -> tuple[Reason, str] | None:
        """Room for a newcomer, whose source has so many; else why it is refused."""
        if of_source > self._per_source:
            ip, what = newcomer.ip, "too many handshakes in progress from this address"
            if not self.make_room(self._per_source, lambda w: w.ip == ip, newcomer, Reason.RATE_LIMITED, what):
                return Reason.RATE_LIMITED, what
        if len(self.members) > self._in_all:
            what = "too many handshakes in progress"
            if not self.make_room(self._in_all, lambda w: True, newcomer, Reason.OVERLOADED, what):
                return Reason.OVERLOADED, what
        return None

    def make_room(
        self, limit: int, among: Callable[[Newcomer], bool], newcomer: Newcomer | None, reason: Reason, detail: str
    ) -> bool:
        """Sends an eighth of the limit away, of those among whom it is to be; whether there were any."""
        waiting = [w for w in self.members.values() if w.flow is None and w is not newcomer and among(w)]
        if not waiting:
            return False
        self.leaving = True
        try:
            came = [(network(w.ip), w) for w in waiting]
            for who in chosen(came, max(1, limit // PART), self._with_tunnels()):
                who.leave(reason, f"{detail}: {OVER}")
        finally:
            self.leaving = False
        return True

    def _with_tunnels(self) -> frozenset[Source]:
        """The sources that had a tunnel a moment ago."""
        ctx = self._ctx
        if ctx.reactor.now >= self._known_until:
            self._known_until = ctx.reactor.now + KNOWN_FOR
            flows = [flow for live in ctx.live.values() if (flow := getattr(live, "flow", None)) is not None]
            known = {flow.record.client_ip for flow in flows if flow.opened_at}
            self._known = frozenset(network(ip) for ip in known)
        return self._known

    def relieve(self) -> bool:
        """Room in the whole process, which is out of it: first of refused clients, then of handshakes, then of
        connections between two requests. Whether there was any."""
        before = len(self.lingering)
        for told in list(self.lingering.values()):
            told.overdue()
        if len(self.lingering) < before:
            return True
        if self.make_room(len(self.members), lambda _: True, None, Reason.OVERLOADED, "out of room"):
            return True
        ctx = self._ctx
        if ctx.reactor.now < self._look_again:  # a walk over all that is live: not for each of many
            return False
        self._look_again = ctx.reactor.now + LOOK
        idle = [live for live in ctx.live.values() if isinstance(live, Idle)]
        return bool([live for live in idle if live.hang_up()])


def network(ip: str) -> Source:
    """What counts as one source when there are too many in all: an IPv4 address, or an IPv6 network of 64 bits, in
    which one machine has as many addresses as it likes."""
    if ":" not in ip:
        return ip
    return (parse_v6(ip) or 0) >> 64


def chosen[W](
    waiting: Sequence[tuple[Source, W]], count: int, known: Collection[Source] = (), spared: int = SPARED
) -> list[W]:
    """So many of those who wait, each with its source, the oldest first: of the sources that have the most, down to a
    level that is the same for all; the last few of those that are known only where no others are left."""
    left = Counter(source for source, _ in waiting)
    first: list[tuple[Source, W]] = []
    last: list[tuple[Source, W]] = []
    for item in waiting:
        source = item[0]
        (last if left[source] <= spared and source in known else first).append(item)
        left[source] -= 1
    found = _cut(first, count)
    return found + _cut(last, count - len(found))


def _cut[W](waiting: Sequence[tuple[Source, W]], count: int) -> list[W]:
    left = Counter(source for source, _ in waiting)
    level = _level(left.values(), len(waiting) - count)
    found: list[W] = []
    for source, who in waiting:
        if len(found) == count:
            break
        if left[source] > level:
            left[source] -= 1
            found.append(who)
    return found


def _level(counts: Iterable[int], keep: int) -> int:
    """The highest level to which all sources may be cut so that at most `keep` stay."""
    ordered = sorted(counts)
    before = 0  # of the sources that are below the level
    for at, count in enumerate(ordered):
        others = len(ordered) - at
        if before + count * others > keep:
            return max(0, (keep - before) // others)
        before += count
    return ordered[-1] if ordered else 0

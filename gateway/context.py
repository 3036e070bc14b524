"""What all flows of one worker share: policy, lines, spool, counters, and the list of what is live."""

import traceback
from functools import partial
from typing import Protocol

from gateway.addresses import own_addresses
from gateway.attempts import Attempts
from gateway.config import WorkerConfig
from gateway.crowd import Crowd
from gateway.doubts import Doubts
from gateway.figures import Figures
from gateway.flow import References
from gateway.handshake.hello_memo import HelloMemo
from gateway.identity import Identifier
from gateway.kills import Kills
from gateway.lines import LineTable
from gateway.portal import Desk
from gateway.reactor import Reactor
from gateway.refusal import build
from gateway.relay.bulk import Bulk
from gateway.relay.pipes import PipePool
from gateway.residence import Residents
from gateway.resolver.resolver import Resolver
from gateway.say import say
from gateway.seats import Seats
from gateway.shares import Shares
from gateway.usage import Usage
from telemetry.record import CloseCause, Kind, Record, encode
from telemetry.spool import SpoolFull, SpoolWriter
from telemetry.strangers import Suppressor
from whitelist.decide import Access, Permit
from whitelist.reason import Reason
from whitelist.snapshot import Snapshot

MAX_PERMITS = 12_288

# Everything a verdict depends on beside policy and time: tenant, source address and interface, host, port, access.
Asked = tuple[str, str, str, str, int, Access]


class Live(Protocol):
    """Anything that holds a client connection, kept in Context.live by the client's descriptor."""

    deadline: float
    expires: float

    def due(self, now: float) -> None:
        """The deadline passed."""

    def expired(self) -> None:
        """The second came at which it may not go on."""

    def end(self, cause: CloseCause) -> None:
        """Close it, with its final record."""


class Context:
    """One worker's shared state. snapshot is None while no valid policy could be loaded."""

    def __init__(
        self,
        config: WorkerConfig,
        reactor: Reactor,
        spool: SpoolWriter,
        shares: Shares,
        seats: Seats,
        attempts: Attempts,
        usage: Usage,
        figures: Figures,
        pipes: PipePool,
    ) -> None:
        self.config = config
        self.timeouts = config.timeouts
        self.limits = config.limits
        self.reactor = reactor
        self.spool = spool
        self.shares = shares
        self.seats = seats
        self.attempts = attempts
        self.usage = usage
        self.figures = figures
        self.pipes = pipes
        self.bulk = Bulk(reactor)
        self.resolver = Resolver(reactor)
        self.lines = LineTable(config.mark_base)
        self.doubts = Doubts()
        self.kills = Kills()
        self.refs = References()
        self.hellos = HelloMemo()
        self.strangers = Suppressor(config.limits.stranger_refusals_per_second)
        self.live: dict[int, Live] = {}
        limits = config.limits
        self.crowd = Crowd(self, limits.handshakes_per_source, limits.handshakes)
        self.max_live = 1 << 20
        self.first_byte = min(config.timeouts.first_byte, config.timeouts.handshake)
        self.residents = Residents()
        self.desk = Desk()
        # Listeners on which the place alone says who asks, where no credential is shown.
        self.by_place = frozenset(found.name for found in config.listeners if found.demands == ("prefix",))
        self.draining = False
        self.snapshot: Snapshot | None = None
        self.identifier: Identifier | None = None
        self.permits: dict[Asked, Permit] = {}  # of this revision; a permit says itself how long it is good
        self.revision = 0
        self.refusal = partial(build, node=config.node, portal=config.portal)  # the answer of HTTP, in this node's name
        self.last_word = reactor.now  # when control was last heard of
        self.unrecorded = 0
        self.spool_failed = False
        self.shortages = 0
        self.defects = 0
        self._defect_said = -1
        self.own = own_addresses()  # the host's own, never dialled
        self._asked_in = -1  # the turn in which unready() was last looked into, and what it found
        self._unready: tuple[Reason, str] | None = None

    def read_own_addresses(self) -> None:
        """Called every few seconds: addresses may have been added since."""
        try:
            self.own = own_addresses()
        except OSError as error:  # out of descriptors, most likely: those of a moment ago will do
            self.shortage(f"own addresses: {error.strerror}")

    def remember(self, asked: Asked, permit: Permit) -> Permit:
        """Keeps a permit until the next revision."""
        if len(self.permits) >= MAX_PERMITS:
            self.permits.clear()
        self.permits[asked] = permit
        return permit

    def unready(self) -> tuple[Reason, str] | None:
        """Why no new flow may be taken in this turn, whoever asks for it."""
        if self._asked_in != self.reactor.turns:
            self._asked_in = self.reactor.turns
            self._unready = self._look_for_trouble()
        return self._unready

    def _look_for_trouble(self) -> tuple[Reason, str] | None:
        now = self.reactor.now
        why = self.spool.healthy(now)
        if why or self.spool_failed:
            return Reason.EVIDENCE_UNAVAILABLE, why or "spool cannot be written"
        if self.snapshot is None:
            return Reason.POLICY_UNAVAILABLE, "no valid policy"
        if now - self.last_word > self.config.max_staleness:
            return Reason.POLICY_UNAVAILABLE, "no word from control for too long"
        return None

    def emit(self, record: Record, kind: Kind) -> None:
        """Gives the record its number and time and puts it into this turn's batch."""
        record.kind = kind
        record.seq = self.spool.next_seq()
        record.time = int(self.reactor.wall * 1_000_000)
        self.spool.append(encode(record))

    def emit_refusal(self, record: Record) -> None:
        """A deny record; refusals of strangers beyond the limit are counted and written as one later."""
        if self.spool.healthy(self.reactor.now) or self.spool_failed:
            self.unrecorded += 1
            return
        if record.tenant or self.strangers.admit(record.client_ip, record.reason, self.reactor.now):
            self.emit(record, Kind.DENY)

    def emit_counted(self, until: float) -> None:
        """Writes the counted refusals of strangers whose second was over by then (monotonic; inf at the end), and how
        many had to go unrecorded."""
        if self.spool.healthy(self.reactor.now) or self.spool_failed:
            return
        for counted in self.strangers.flush(until):
            record = self.new_record()
            record.client_ip = counted.source
            record.decision = "deny"
            record.reason = counted.reason
            record.count = counted.count
            self.emit(record, Kind.DENY)
        if self.unrecorded:
            record = self.new_record()
            record.count, self.unrecorded = self.unrecorded, 0
            record.reason = Reason.EVIDENCE_UNAVAILABLE
            record.decision = "deny"
            self.emit(record, Kind.DENY)

    def new_record(self) -> Record:
        """A record of this worker with nothing in it yet."""
        config = self.config
        return Record(
            node=config.node,
            boot=config.boot,
            worker=config.process,
            seq=0,
            kind="",
            time=0,
            revision=self.revision,
        )

    def flush(self) -> None:
        """Writes this turn's records. While that fails no new flow is taken; the records stay and go out first
        later."""
        try:
            self.spool.flush()
            self.spool_failed = False
        except SpoolFull as error:
            if not self.spool_failed:
                say(f"records cannot be written, new flows are refused: {error}")
            self.spool_failed = True

    def hold(self, max_live: int) -> None:
        """The process has room for so many connections."""
        self.max_live = max_live
        self.crowd.resize(max_live)

    def is_full(self) -> bool:
        """Whether there is no room for one more connection, nor any to be made."""
        return len(self.live) >= self.max_live and not self.crowd.relieve()

    def shortage(self, what: str) -> bool:
        """The process is out of descriptors or memory: said once a minute, counted always. Makes room of handshakes and
        of connections that do nothing; whether there was any, which is free from the end of this turn on."""
        if self.shortages % 300 == 0:
            say(f"out of room: {what}")
        self.shortages += 1
        return self.crowd.relieve()

    def report(self, error: BaseException) -> None:
        """A defect of ours: the trace goes to the log, at most one a second, without any client's bytes."""
        self.defects += 1
        if int(self.reactor.now) == self._defect_said:
            return
        self._defect_said = int(self.reactor.now)
        frames = traceback.extract_tb(error.__traceback__)
        where = " < ".join(f"{f.filename.rpartition('/')[2]}:{f.lineno} {f.name}" for f in reversed(frames[-6:]))
        say(f"internal error ({self.defects} so far): {type(error).__name__} at {where}")

"""A worker process: one reactor, its listeners, the policy, the hub's orders, and a heartbeat."""

import errno
import gc
import os
import random
import resource
import signal
import socket
import threading
from functools import partial

import msgspec

from gateway.arrival import SESSIONS, arrival
from gateway.attempts import Attempts
from gateway.config import ListenerSocket, WorkerConfig
from gateway.context import Context
from gateway.enforce import Enforcer, sweep
from gateway.figures import PERIOD, Figures
from gateway.forward import Forwarder
from gateway.identity import Identifier
from gateway.listener.plain import PlainListener
from gateway.listener.tls import TlsEntrance
from gateway.live import MAX_PACKET, LineState, LiveKind, LiveMessage, ack, hello, parse
from gateway.look import LOOK, Look
from gateway.preamble import Begin
from gateway.reactor import IN, Reactor
from gateway.relay.pipes import PipePool
from gateway.say import say
from gateway.seats import Seats
from gateway.secure import SecureSession
from gateway.shares import Shares
from gateway.usage import Usage
from telemetry.record import CloseCause, Kind
from telemetry.spool import SpoolFull, SpoolWriter
from whitelist.admitted import Admission
from whitelist.snapshot import Snapshot, SnapshotError, Touched

HEARTBEAT = 10.0
SWEEP = 600.0  # between verifications of the policy's files
RELOAD = 1.0  # between tries to load a policy that could not be loaded
POOL_PAGES = 8_192  # of the 16,384 pipe pages that the kernel gives the workers' user, for all workers together


class Worker:
    """Wires the parts together and answers the hub."""

    def __init__(self, config: WorkerConfig) -> None:
        self.config = config
        reactor = self.reactor = Reactor()
        spool = SpoolWriter(
            config.run_dir / "spool", config.node, config.boot, config.process, config.limits.spool_bytes
        )
        shares = Shares(config.run_dir / "counters", config.columns)
        seats = Seats(config.run_dir / "users", config.columns)
        attempts = Attempts(config.run_dir / "attempts", config.columns)
        usage = Usage(config.usage, config.columns)
        figures = Figures(config.run_dir / "figures", config.columns)
        pipes = PipePool(POOL_PAGES // max(1, config.columns // 2))
        self.ctx = ctx = Context(config, reactor, spool, shares, seats, attempts, usage, figures, pipes)
        soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        ctx.hold(max(16, (soft - 64 - 2 * pipes.limit) // 2))
        self.enforcer = Enforcer(ctx)
        self.look = Look(ctx, self.enforcer)
        self.listeners: list[PlainListener] = []
        self.entrances: dict[str, TlsEntrance] = {}
        self.hub: socket.socket | None = None
        self._second = 0
        self._beaten = reactor.now
        self._tried = reactor.now
        self._drain_until = 0.0
        self._trouble = ""  # why the policy could not be loaded the last time
        self._sweep_at = reactor.now + SWEEP * (0.5 + random.random() / 2)  # noqa: S311 - workers take turns
        self._sweeper: threading.Thread | None = None
        self._swept: Exception | None = None
        reactor.before_flush = ctx.flush
        reactor.on_error = ctx.report

    def run(self) -> None:
        """Serves until told to stop. Returns once every flow has its closing record."""
        self._signals()
        self.load_policy()
        self._join_hub()
        for listener in self.config.listeners:
            http = listener.kind in ("plain", "http") and listener.tls is None
            sock = socket.socket(fileno=os.dup(listener.fd))
            arrived = arrival(self.ctx, listener, self.begins(listener))
            self.listeners.append(PlainListener(self.ctx, listener.name, sock, arrived, http=http))
        gc.collect()
        gc.freeze()
        gc.disable()  # a pass over tens of thousands of tunnels stops all of them; young garbage goes once a minute
        self.reactor.later(0.0, self.tick)
        self.reactor.run()
        for live in list(self.ctx.live.values()):
            live.end(CloseCause.DRAINED)
        self.reactor.finish_turn()
        self.heartbeat()
        self.ctx.emit_counted(float("inf"))
        for counters in (self.ctx.shares, self.ctx.seats, self.ctx.attempts, self.ctx.usage, self.ctx.figures):
            counters.close()
        try:
            self.ctx.spool.close()
        except SpoolFull as error:
            lost = self.ctx.spool.pending
            say(f"{lost} records are lost: they cannot be written: {error}")

    def begins(self, listener: ListenerSocket) -> Begin:
        """What makes a session of each connection of this listener."""
        if listener.tls is None:
            return SESSIONS[listener.kind]
        if listener.name not in self.entrances:
            self.entrances[listener.name] = TlsEntrance(listener.name, listener.tls, listener.demands)
        return partial(SecureSession, entrance=self.entrances[listener.name])

    # Policy.

    def load_policy(self) -> None:
        """Opens the snapshot; without a valid one every request is refused, and it is tried again each second."""
        self._tried = self.reactor.now
        try:
            admission = Admission(self.config.admitted, self.config.notary) if self.config.admitted else None
            snapshot = Snapshot.open(self.config.snapshot_dir, self.config.public_key.read_bytes(), admission)
        except (SnapshotError, OSError) as error:
            if str(error) != self._trouble:  # said once, not each second
                self._trouble = str(error)
                say(f"policy cannot be loaded, new flows are refused: {error}")
            return
        self._take(snapshot)

    def _take(self, snapshot: Snapshot) -> None:
        ctx = self.ctx
        self._trouble = ""
        ctx.snapshot = snapshot
        ctx.identifier = Identifier(snapshot)
        ctx.permits.clear()
        ctx.revision = snapshot.revision
        ctx.lines.load(snapshot.lines())

    def advance(self) -> None:
        """Takes what control has published since, and re-decides the flows it touches."""
        ctx = self.ctx
        if ctx.snapshot is None:
            self.load_policy()
            self.enforcer.by_policy(Touched(everything=True))
            return
        try:
            touched = ctx.snapshot.advance()
        except (SnapshotError, OSError) as error:
            self.distrust(error)
            return
        assert ctx.identifier is not None
        ctx.revision = ctx.snapshot.revision
        ctx.identifier.forget()
        ctx.permits.clear()
        ctx.lines.load(ctx.snapshot.lines())
        if touched:
            self.enforcer.by_policy(touched)

    def distrust(self, error: Exception) -> None:
        """The policy does not verify: nothing new is let through until it does again; what was permitted goes on."""
        say(f"policy is damaged, new flows are refused: {error}")
        ctx = self.ctx
        ctx.snapshot = None
        ctx.identifier = None
        ctx.permits.clear()

    def sweep_policy(self) -> None:
        """Verifies the files of the policy again, in a thread, since it reads all of them."""
        snapshot = self.ctx.snapshot
        if snapshot is None or (self._sweeper is not None and self._sweeper.is_alive()):
            return

        def sweep_files() -> None:
            try:
                snapshot.sweep()
            except (SnapshotError, OSError) as error:
                self._swept = error

        self._sweeper = threading.Thread(target=sweep_files, name="policy-sweep", daemon=True)
        self._sweeper.start()

    # The hub.

    def _join_hub(self) -> None:
        """Connects to live control and says who we are. A worker that nobody can tell to cut must not run."""
        hub = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC)
        hub.connect(str(self.config.run_dir / "live.sock"))
        hub.send(hello(self.config.process))
        hub.setblocking(False)
        self.hub = hub
        self.reactor.watch(hub.fileno(), IN, self.on_hub)

    def on_hub(self, mask: int) -> None:
        """Orders, each acknowledged once it is in force."""
        assert self.hub is not None
        while True:
            try:
                packet = self.hub.recv(MAX_PACKET)
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno == errno.EINTR:
                    continue
                packet = b""
            if not packet:
                self.reactor.forget(self.hub.fileno())
                self.reactor.stop()
                say("the supervisor is gone: ending")
                return
            try:
                message = parse(packet)
            except msgspec.DecodeError as error:
                say(f"an order that cannot be read is not acknowledged: {error}")
                continue
            self.obey(message)
            try:
                self.hub.send(ack(message.seq))
            except OSError:  # the hub is gone, as the next packet says; or deaf, and it kills who does not acknowledge
                pass

    def obey(self, message: LiveMessage) -> None:
        """Puts one order into force."""
        ctx = self.ctx
        match message.kind:
            case LiveKind.STATE:
                ctx.lines.replace(message.lines)
                ctx.kills.replace(message.kills)
                self.enforcer.by_kill()
                self.advance()
                ctx.last_word = self.reactor.now
            case LiveKind.REVISION:
                ctx.last_word = self.reactor.now
                if message.revision != ctx.revision or ctx.snapshot is None:
                    self.advance()
                if ctx.snapshot is None and message.revision > ctx.revision:
                    # Nobody knows what the change takes away. Acknowledged means in force, so nothing may live on.
                    self.enforcer.every(lambda *_: CloseCause.CUT_BY_POLICY)
            case LiveKind.LINE if message.state is not None:
                ctx.lines.report(message.line, message.state)
                if message.state in (LineState.DOWN, LineState.DRAINING):
                    ctx.resolver.forget_line(message.line)
                if message.state is LineState.DOWN:
                    self.enforcer.by_line(message.line)
            case LiveKind.KILL:
                ctx.kills.engage(message.kill())
                self.enforcer.by_kill()
            case LiveKind.UNKILL:
                ctx.kills.release(message.id)
            case LiveKind.CUT:
                known = message.cause in CloseCause
                cause = CloseCause(message.cause) if known else CloseCause.CUT_BY_OPERATOR
                self.enforcer.one(message.flow, cause, message.rule)
            case _:
                pass

    # Time.

    def tick(self) -> None:
        """At the start of every second: what is due, what expired, what is to be counted."""
        reactor, ctx = self.reactor, self.ctx
        reactor.later(1.0 - reactor.wall % 1.0 + 0.001, self.tick)
        if int(reactor.wall) == self._second:
            return
        self._second = int(reactor.wall)
        sweep(ctx)
        for counters in (ctx.shares, ctx.seats, ctx.attempts, ctx.usage, ctx.figures):
            counters.survey()
        ctx.emit_counted(reactor.now)
        for entrance in self.entrances.values():
            entrance.refresh()
        if ctx.snapshot is None and reactor.now - self._tried >= RELOAD:
            self.advance()
        if reactor.now - self._beaten >= HEARTBEAT:
            self._beaten = reactor.now
            self.heartbeat()
            for listener in self.listeners:
                listener.forget_names()
        if self._second % 60 == 0:
            gc.collect(1)
        if reactor.now >= self._sweep_at:
            self._sweep_at = reactor.now + SWEEP
            self.sweep_policy()
        if self._swept is not None:
            error, self._swept = self._swept, None
            self.distrust(error)
        if self._second % PERIOD == 0:
            ctx.figures.new_period()
        if self._second % LOOK == 0:
            ctx.read_own_addresses()
            self.look.begin()
        if ctx.draining and (not ctx.live or reactor.now >= self._drain_until):
            reactor.stop()

    def heartbeat(self) -> None:
        """A record that says this worker lives, and its gauges."""
        ctx = self.ctx
        if ctx.spool.healthy(self.reactor.now) or ctx.spool_failed:
            return
        record = ctx.new_record()
        record.values = {
            "connections": len(ctx.live),
            "handshakes": len(ctx.crowd.members),
            "pipes": ctx.pipes.lent,
            "shortages": ctx.shortages,
            "defects": ctx.defects,
            "revision": ctx.revision,
            "turns": self.reactor.turns,
        }
        ctx.emit(record, Kind.HEARTBEAT)

    # Ending.

    def _signals(self) -> None:
        reader, writer = socket.socketpair()
        reader.setblocking(False)
        writer.setblocking(False)
        signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
        self._wakeup = (reader, writer)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: None)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        self.reactor.watch(reader.fileno(), IN, self.on_signal)

    def on_signal(self, mask: int) -> None:
        """SIGTERM: drain; a second one: end now."""
        try:
            self._wakeup[0].recv(64)
        except BlockingIOError:
            return
        if self.ctx.draining:
            self.reactor.stop()
        else:
            self.drain()

    def drain(self) -> None:
        """Accepts nothing new; connections that were accepted may go on until the drain timeout, so that nobody is
        refused for a worker being replaced."""
        self.ctx.draining = True
        self._drain_until = self.reactor.now + self.config.timeouts.drain
        for listener in self.listeners:
            listener.pause()
        for live in list(self.ctx.live.values()):
            if isinstance(live, Forwarder):
                live.draining()
        if not self.ctx.live:
            self.reactor.stop()

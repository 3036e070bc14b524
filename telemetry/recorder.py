"""The recorder process: tails the spools into the log, makes it durable, closes the flows of the dead, and serves what
it knows.

Turn by turn: look for spool files, copy what is new, fsync once for all of it, tell the watchers, and every few seconds
store a checkpoint and remove spool files that are done with. A failed write or fsync of the log ends the process with
status 1 after the status file says so: workers then refuse new flows at once, and the spools keep everything for the
next start.

A second thread takes what is durable into the evidence log and publishes a checkpoint every second. Its failure is one
of the log, and its lag is the recorder's.

The turns have a thread of their own, which alone changes the journal: it sleeps and waits for the disk without an event
loop's wake-ups and hand-overs, which would cost more than the records, and the query API answers while a disk hangs.
The API's threads only read, and only by single operations that the interpreter does not interrupt (copies of dicts).
"""

import argparse
import asyncio
import fcntl
import logging
import os
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import uvloop

from telemetry import checkpoint as store
from telemetry import statement
from telemetry.evidence.error import EvidenceError
from telemetry.evidence.integrate import DIRECTORY, INTERVAL, Integrator
from telemetry.evidence.keys import FURTHER
from telemetry.expiry import Expiry
from telemetry.follow import Follower, Process
from telemetry.journal import Journal
from telemetry.mourning import Mourning
from telemetry.opening import open_all
from telemetry.patrol import Patrol
from telemetry.query import Service
from telemetry.retention import DEFAULT, HOLDS
from telemetry.rulefiles import RuleFiles
from telemetry.spooldir import Status, check_process, open_status, read_status, spool_bytes, write_status
from telemetry.watch import Watch

# Seconds. What a turn costs beside its records (waking, the fsync) is shared by all of them, so turns are as rare as
# leaves room for the fsync: a record is durable well within 100 ms.
TURN = 0.04
LOOK = 0.25  # seconds between looks for dead processes, and between status updates
STATEMENTS = 500  # daily statements written in one look
CHECKPOINT = 5.0  # seconds, or longer where storing takes long
BUDGET = 8 << 20  # bytes of one process in one turn

log = logging.getLogger("feiyu.recorder")


class Recorder:
    """The loop. All times are CLOCK_MONOTONIC seconds; what goes into records is Unix µs. evidence: not yet started;
    restored: how many records of the log came back from it."""

    def __init__(
        self,
        journal: Journal,
        spool: Path,
        status_fd: int,
        evidence: Integrator | None = None,
        restored: int = 0,
        patrol: Patrol | None = None,
    ) -> None:
        self.journal = journal
        self.spool = spool
        self.follower = Follower(spool, journal.cursors)
        self.stopping = False
        before = read_status(status_fd)  # a quick restart is no reason to refuse flows
        self.durable = before.durable if before and before.durable < time.monotonic() else 0.0  # all before is on disk
        self.evidence = evidence
        if evidence:
            evidence.covered = self.durable
        self._restored = restored
        self.expiry: Expiry | None = None
        self._patrol = patrol
        self._damage = ""
        self._day = 0  # whose statements are written
        self.spool_bytes = 0
        self.service: Service | None = None
        self._status_fd = status_fd
        self._looked = self._stored = float("-inf")
        self._changed = True
        self._mourning = Mourning(journal, self.follower, spool, self._drain)
        self._every = CHECKPOINT

    def run(self) -> None:
        """Until stopping is set. Raises OSError when the log or a spool cannot be used, EvidenceError when the evidence
        does not fit them."""
        self.follower.scan()
        self._mourning.find_orphans()
        found = self.journal.recovery
        self.journal.act(_now(), found.words, {"replayed": found.replayed, "cut": found.cut})
        if self._restored:
            words = "records at the end of the log were missing or altered; put back as the evidence has them"
            self.journal.act(_now(), words, {"restored": self._restored})
        if self._patrol:
            self._patrol.start(_now())
        try:
            if self.evidence:
                self.evidence.start(self._safe)
            self._run()
        finally:
            if self.evidence:
                self.evidence.stop()

    def _run(self) -> None:
        while True:
            stopping = self.stopping
            started = time.monotonic()
            complete = self._turn(started)
            if stopping and complete and not self._mourning.busy:
                break
            rest = TURN - (time.monotonic() - started)
            if complete and rest > 0 and not self._mourning.busy:
                time.sleep(rest)
        if self._patrol:
            self._patrol.stop(_now())
            self._commit()
        if self.evidence:
            self.evidence.finish(self._safe)
        self._checkpoint(clean=True)

    def _safe(self) -> tuple[float, tuple[int, int]]:
        """For the evidence's thread: a moment, and where the log was or is durable with all that was written before."""
        moment = self.durable  # first: the place may only be further on
        return moment, self.journal.segments.durable

    def stop(self) -> None:
        """Ends run() once everything written so far is durable."""
        self.stopping = True

    def say(self, failed: str = "") -> None:
        """Updates the status file."""
        safe = min(self.durable, self.evidence.covered) if self.evidence else self.durable
        status = Status(time.monotonic(), safe, failed, self.journal.segments.records, self.spool_bytes)
        write_status(self._status_fd, status)

    def _turn(self, started: float) -> bool:
        if self.evidence:
            self.evidence.check()
        self.follower.scan()
        complete = True
        for process in list(self.follower.processes.values()):
            complete &= self._drain(process)
        if look := started - self._looked >= LOOK:
            self._looked = started
            self._mourning.find_dead(_now())
            self._tell_damage()
            if self.expiry:
                self.expiry.turn(started)
            self._state_days(_now())
        self._mourning.close_some(_now())
        if self._patrol:
            self._patrol.look(_now(), look, complete)
        self._commit()
        if self._patrol:
            self._patrol.act()
        if complete:
            self.durable = started
        if look:
            self.spool_bytes = spool_bytes(self.spool)
            self.say()
        if self._changed and started - self._stored >= self._every:
            self._checkpoint(clean=False)
        return complete

    def _drain(self, process: Process) -> bool:
        """Copies what a process wrote; False when there is more."""
        taken = 0
        for chunk in self.follower.chunks(process, BUDGET):
            self.journal.take(process, chunk, _now())
            taken += len(chunk.data)
        return taken < BUDGET

    def _tell_damage(self) -> None:
        """Old evidence that does not verify any more becomes a record, and so does its mending."""
        if self.evidence and self.evidence.damage != self._damage:
            self._damage = self.evidence.damage
            words = f"the evidence is damaged: {self._damage}" if self._damage else "the damaged evidence is mended"
            log.error("%s; feiyu evidence verify says more", words)
            self.journal.act(_now(), words, {"damaged": 1 if self._damage else 0})

    def _state_days(self, now: int) -> None:
        """Once a day is over each firm's statement is written, some in each look."""
        if self._day != statement.day_of(now) and self.journal.state_days(now, STATEMENTS):
            self._day = statement.day_of(now)

    def _commit(self) -> None:
        journal = self.journal
        if not journal.dirty:
            return
        journal.segments.sync()
        journal.dirty = False
        self._changed = True
        if self.service:
            self.service.publish()

    def _checkpoint(self, clean: bool) -> None:
        """Only called with nothing taken since the last commit."""
        started = time.monotonic()
        finished = list(self.follower.finished)
        data = self.journal.checkpoint(self.follower, clean)
        self._every = max(CHECKPOINT, 50 * (time.monotonic() - started))
        store.store(self.journal.directory, data)
        self.follower.remove(finished)
        for file in finished:
            key = f"{file.name.boot}-{file.name.process}"
            if key not in self.follower.processes:
                self.journal.state.forget(key)
        self._stored = time.monotonic()
        self._changed = False


def _now() -> int:
    return time.time_ns() // 1000


async def _serve(recorder: Recorder, run_dir: Path, metrics: str) -> int:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, recorder.stop)
    service = recorder.service = Service(recorder, loop)
    try:
        await service.start(run_dir / "recorder.sock", metrics)
        await asyncio.to_thread(recorder.run)
    except (OSError, EvidenceError) as error:
        words = _said(error)
        log.critical("stopped: %s; new flows are refused until the log can be written again", words)
        recorder.say(words)
        return 1
    except Exception as error:
        recorder.say(f"internal error: {type(error).__name__}")
        raise
    finally:
        await service.stop()
    return 0


def _said(error: OSError | EvidenceError) -> str:
    if isinstance(error, EvidenceError):
        return f"evidence: {error}"
    return f"{error.strerror or error}" + (f": {error.filename}" if error.filename else "")


def run(
    *,
    state_dir: Path,
    run_dir: Path,
    node: str,
    boot: str,
    metrics: str = "",
    segment_bytes: int = 256 << 20,
    evidence_interval: float = INTERVAL,
    signatures: Sequence[str] = (),
    witness: Sequence[str] = (),
    retention_days: int = DEFAULT,
    personal_days: int = 0,
    rules: Sequence[Path] = (),
    act: bool = False,
) -> int:
    """Runs the recorder until SIGTERM (0), or until the log cannot be written or is another recorder's (1).

    metrics: HOST:PORT for /metrics, empty for none; evidence_interval: seconds between checkpoints; signatures: kinds
    of second ones under them; witness: verifier keys of those that the cosigner process asks; retention_days: how long
    records are kept; personal_days: how long the personal fields in them can be read, 0 to leave them unsealed; rules:
    files and folders of detection rules; act: whether they may block and cut. Raises ValueError for an odd boot.
    """
    check_process(boot, "recorder")
    directory, spool = state_dir / "log", run_dir / "spool"
    directory.mkdir(parents=True, exist_ok=True)
    spool.mkdir(parents=True, exist_ok=True)
    lock = os.open(directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        log.critical("%s: another recorder holds this log", directory)
        return 1
    status = open_status(spool)
    try:
        files = RuleFiles(rules, state_dir / "rules" / "last") if rules else None
        found, problem = files.first() if files else (None, "")
        watch = Watch(found) if found is not None else None
        opened = open_all(
            state_dir,
            node,
            boot,
            segment_bytes,
            evidence_interval,
            tuple(signatures),
            tuple(witness),
            personal_days > 0,
            watch,
        )
    except (OSError, EvidenceError) as error:
        remedy = f"put the file back from a copy, or move {state_dir / DIRECTORY} aside to begin a log with a new key"
        log.critical("the log cannot be opened: %s%s", _said(error), f"; {remedy}" * isinstance(error, EvidenceError))
        write_status(status, Status(time.monotonic(), 0.0, _said(error)))
        return 1
    live = run_dir / "live.sock"
    patrol = Patrol(opened.journal, watch, files, live, act, problem) if watch and files else None
    recorder = Recorder(opened.journal, spool, status, opened.evidence, opened.restored, patrol)
    recorder.expiry = Expiry(opened.journal, opened.evidence, retention_days, personal_days, state_dir / HOLDS)
    return uvloop.run(_serve(recorder, run_dir, metrics))


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="telemetry.recorder", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--state-dir", type=Path, required=True)
    parser.add_argument("--run-dir", type=Path, required=True)
    parser.add_argument("--node", required=True)
    parser.add_argument("--boot", required=True, help="8 hex characters, new for each start of the node")
    parser.add_argument("--metrics", default="", help="HOST:PORT of /metrics; empty for none")
    parser.add_argument("--segment-bytes", type=int, default=256 << 20)
    parser.add_argument("--evidence-interval", type=float, default=INTERVAL, help="seconds between checkpoints")
    parser.add_argument("--signatures", nargs="*", default=[], choices=FURTHER, help="second ones under checkpoints")
    parser.add_argument("--witness", nargs="*", default=[], metavar="VKEY", help="whose cosignatures are taken")
    parser.add_argument("--retention-days", type=int, default=DEFAULT, help="how long records are kept")
    parser.add_argument(
        "--personal-days", type=int, default=0, help="how long personal fields can be read; 0: unsealed"
    )
    parser.add_argument("--rules", type=Path, action="append", default=[], help="file or folder of detection rules")
    parser.add_argument("--act", action="store_true", help="rules may block and cut, not only tell")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(name)s: %(message)s")
    return run(**vars(arguments))


if __name__ == "__main__":
    sys.exit(main())

"""What takes the node's records into its evidence: a thread of the recorder that follows the log, batch by batch.

It reads only what is durable in the log, so that the evidence never holds a record that the log could still lose.
"""

import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from telemetry.evidence import checkpoint
from telemetry.evidence.cosigned import Cosigned
from telemetry.evidence.error import EvidenceError
from telemetry.evidence.keys import NAME, further_keys, load_key, make_key, settle_origin
from telemetry.evidence.log import MAX_BATCH, EvidenceLog
from telemetry.evidence.prune import Pruner
from telemetry.evidence.source import Source
from telemetry.evidence.tile import WIDTH, TileTree
from telemetry.evidence.verify import verify_hashes, verify_range

DIRECTORY = "evidence"  # below state_dir
PRUNED_AT_ONCE = 1000  # bundles
LOOK = 0.05  # seconds between looks for cosignatures
INTERVAL = 1.0  # seconds: with the recorder's turn a decision is under a published checkpoint within 1.5 s

type Durable = Callable[[], tuple[float, tuple[int, int]]]


class Integrator:
    """interval: seconds between checkpoints; cosigned: where witnesses are asked. covered: all written before this
    moment (CLOCK_MONOTONIC) is under a published checkpoint; failed: why nothing is taken any more.

    minimum: entries below it are deleted, some at a time; whoever sets it has said so in a record that is published.

    Between batches one old bundle after the other is verified again, a bundle each interval, so that damage shows
    before somebody needs what it hit; damage: what was found, until it is mended. It stops nothing: new records are
    still proved.
    """

    def __init__(
        self,
        log: EvidenceLog,
        source: Source,
        interval: float,
        covered: float = 0.0,
        cosigned: Cosigned | None = None,
    ) -> None:
        self.log = log
        self.cosigned = cosigned
        self.covered = covered
        self.failed: Exception | None = None
        self.damage = ""
        self.pruner = Pruner(log.reader.directory.parent, log.reader.directory.name)
        self.minimum = self.pruner.minimum
        self._scrubbed = 0  # bundles, of this round
        self._source = source
        self._interval = interval
        self._ending = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self, durable: Durable) -> None:
        """Begins. durable: a moment, and the place in the log up to which all that was written before it is on disk."""
        self._thread = threading.Thread(target=self._run, args=(durable,), name="evidence", daemon=True)
        self._thread.start()

    def check(self) -> None:
        """Raises what ended it: OSError, or EvidenceError."""
        if self.failed is not None:
            raise self.failed

    def stop(self, timeout: float | None = 5.0) -> None:
        """Ends the thread after its current batch; after so many seconds a disk that hangs is not waited for."""
        self._ending.set()
        if self._thread is not None:
            self._thread.join(timeout)

    def finish(self, durable: Durable) -> None:
        """Ends the thread and takes what is left. Raises OSError, EvidenceError."""
        self.stop(timeout=None)
        self.check()
        self.catch_up(durable)

    def catch_up(self, durable: Durable) -> None:
        """Takes everything durable. Raises OSError, EvidenceError."""
        moment, place = durable()
        while entries := self._source.read(place, MAX_BATCH):
            self.log.append(entries)
        self.covered = max(self.covered, moment)

    def scrub(self) -> None:
        """Verifies the next full bundle and its tiles from the disk up to the published root."""
        end = self.log.size // WIDTH
        number = self._scrubbed if self._scrubbed < end else 0
        if not end:
            return
        try:
            head = checkpoint.open_signed(self.log.reader.checkpoint(), self.log.key)
            if number < self.pruner.minimum // WIDTH:  # its entries are gone, its hashes must stand
                verify_hashes(TileTree(head.size, self.log.reader.tile), head, number)
            else:
                verify_range(self.log.reader, head, number * WIDTH, (number + 1) * WIDTH)
        except EvidenceError as error:
            self.damage = str(error)  # and this bundle again, until somebody has put it back
        else:
            self.damage = ""
            self._scrubbed = number + 1

    def prune(self) -> None:
        """Deletes some of what is to go. Raises OSError."""
        if self.minimum > self.pruner.minimum:
            self.pruner.raise_to(self.minimum)
        self.pruner.work(PRUNED_AT_ONCE)

    def _run(self, durable: Durable) -> None:
        while not self._ending.is_set():
            started = time.monotonic()
            try:
                self.catch_up(durable)
                self.scrub()
                self.prune()
                self._rest(started + self._interval)
            except Exception as error:  # noqa: BLE001 - the recorder's thread raises it again
                self.failed = error
                return

    def _rest(self, end: float) -> None:
        """Until the next batch is due; what witnesses sign meanwhile is published at once."""
        while not self._ending.is_set() and (left := end - time.monotonic()) > 0:
            self._ending.wait(min(left, LOOK) if self.cosigned else left)
            if self.cosigned:
                self.cosigned.publish(self.log)


def open_log(directory: Path, node: str, kinds: Sequence[str] = (), name: str = NAME) -> EvidenceLog:
    """The evidence log of a node's records in `directory`, or another of its own `name`; a new node's is made, with its
    key where init did not. kinds: of second signatures (keys.FURTHER). Raises OSError, EvidenceError."""
    directory.mkdir(mode=0o750, parents=True, exist_ok=True)
    make_key(directory, name)
    key = load_key(directory, name)
    origin = settle_origin(directory, name, f"{node}/{name}", key)
    return EvidenceLog(directory, name, origin, key, further=further_keys(directory, name, origin, kinds))

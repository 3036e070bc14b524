"""What a witness remembers, durably: of each log the latest checkpoint that it cosigned, and what it caught.

    DIRECTORY/<hash of the origin>         the log's latest cosigned checkpoint, as the log signed it
    DIRECTORY/caught/<hash>                requests with a checkpoint, truly signed, that contradicts the one kept

The check of a checkpoint and its being kept are one step (compare and swap): of two requests that overlap, one is
checked against what the other left.
"""

import os
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

from telemetry.evidence import checkpoint, merkle, note
from telemetry.evidence.checkpoint import Checkpoint
from telemetry.evidence.error import EvidenceError
from telemetry.evidence.files import Calls, Files, read_or_none
from telemetry.witness.protocol import Request

MOST_CAUGHT = 1000  # files: proof of one lie is enough, and nobody shall fill the disk with more


class ConflictError(Exception):
    """The old size is not the one kept. size: that one."""

    def __init__(self, size: int) -> None:
        super().__init__(f"the latest cosigned checkpoint is of size {size}")
        self.size = size


class ForkError(Exception):
    """The log's key signed two trees of which neither is the beginning of the other, or at least does not prove it.
    str() says which."""


class DamagedError(Exception):
    """What the witness remembers is not what it wrote. str() says which file, and what to do."""


class Memory:
    """Of one process; not to be used by two threads at once. All methods raise OSError: then nothing may be signed, and
    the next request reads what is on disk."""

    def __init__(self, directory: Path, calls: Calls = os) -> None:
        self.directory = directory
        self._caught = directory / "caught"
        directory.mkdir(mode=0o750, parents=True, exist_ok=True)
        self._caught.mkdir(mode=0o750, exist_ok=True)
        self._files = Files(directory, directory / ".staging", calls)

    def latest(self, origin: str, keys: tuple[note.VerifierKey, ...]) -> Checkpoint | None:
        """The latest checkpoint of a log, None before the first. Raises DamagedError for a file that is not the log's:
        somebody else wrote here."""
        path = self._path(origin)
        data = read_or_none(path)
        if data is None:
            return None
        try:
            return open_by_any(data, keys)
        except EvidenceError as error:
            raise DamagedError(f"{path}: {error}; put it back from a backup, it is what the witness knows") from None

    def take(
        self,
        request: Request,
        new: Checkpoint,
        keys: tuple[note.VerifierKey, ...],
        before: Callable[[Request], None] = lambda _: None,
    ) -> None:
        """Keeps a checkpoint, which `request` holds and whose signature was verified, if it continues the latest one.
        before: called when that is so and the log grew, and before anything is kept. Raises ConflictError, ForkError,
        DamagedError, EvidenceError for a proof that does not show it, and what `before` raises."""
        latest = self.latest(new.origin, keys)
        size = latest.size if latest else 0
        if request.old != size:
            raise ConflictError(size)
        if latest and latest.size == new.size and latest.root != new.root:
            self._catch(request)
            raise ForkError(f"two trees of the one size {size} are signed by the key of {new.origin}")
        if size == 0:
            if request.proof:
                raise EvidenceError("the proof from size 0 is not empty")
        elif latest:
            try:
                merkle.verify_consistency(size, new.size, latest.root, new.root, request.proof)
            except EvidenceError:
                self._catch(request)
                raise
        if new.size > size:
            before(request)
        self.keep(new.origin, request.signed)

    def keep(self, origin: str, signed: bytes) -> None:
        """Keeps a checkpoint as the latest, also one that is there already: the last time its sync may have failed."""
        self._files.replace(self._path(origin), signed)

    def _path(self, origin: str) -> Path:
        return self.directory / sha256(origin.encode()).hexdigest()

    def _catch(self, request: Request) -> None:
        """Keeps what may convict the log: its own signature under a checkpoint that does not continue the other."""
        path = self._caught / sha256(request.signed).hexdigest()
        if not path.exists() and len(os.listdir(self._caught)) < MOST_CAUGHT:
            self._files.replace(path, request.signed)


def open_by_any(data: bytes, keys: tuple[note.VerifierKey, ...]) -> Checkpoint:
    """A checkpoint that one of a log's keys signed; others of them, if they did, truly. Raises EvidenceError."""
    found = note.parse(data)
    signed = note.verify(found, keys)
    return checkpoint.open_signed(data, signed[0], keys)

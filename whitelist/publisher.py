"""Control's side of the snapshot: compiles what the register says and publishes it, whole or change by change.

A publication is a file written aside, synced, and renamed; `current`, renamed last, puts it into force. A killed
publisher leaves the policy as it was before or as it is after.
"""

import fcntl
import os
import re
import threading
from collections.abc import Sequence
from itertools import takewhile
from pathlib import Path
from typing import Self

import lmdb
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from msgspec.structs import replace

from tenants.change import Changed
from whitelist import base, compiler
from whitelist.base import Base
from whitelist.casbin_model import load_model
from whitelist.document import Document
from whitelist.signed import CURRENT, Current, Delta, SnapshotError, delta_name, seal
from whitelist.snapshot import Snapshot, merged

COMPACT_DELTAS = 256  # deltas, and keys in them, after which a new base is made
COMPACT_KEYS = 20_000
_NAMED = re.compile(r"(?:base-(\d+)-[0-9a-f]+\.lmdb|delta-(\d+)\.bin)").fullmatch


class Publisher:
    """The one writer of a snapshot directory. snapshot: the policy in force, for questions by the same thread; None
    while there is none that is sound, fault then says why (None too: nothing was ever published). Not thread-safe."""

    def __init__(self, directory: Path, private_key: bytes) -> None:
        """Makes the directory if need be. Raises SnapshotError when another process publishes there or the key is
        wrong, ModelError when the Casbin model is, OSError."""
        load_model()
        self.directory = directory
        self.snapshot: Snapshot | None = None
        self.fault: SnapshotError | None = None
        self._compaction: _Compaction | None = None
        self.trouble: Exception | None = None  # why the last compaction failed; the policy is as good without it
        try:
            self._key = Ed25519PrivateKey.from_private_bytes(private_key)
        except ValueError as error:
            raise SnapshotError("the private key is not 32 bytes of Ed25519", directory, "run feiyu init") from error
        self._public = self._key.public_key().public_bytes_raw()
        directory.mkdir(parents=True, exist_ok=True)
        self._lock = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(self._lock)
            raise SnapshotError("is locked: another control publishes here", directory, "end the other one") from error
        for left in directory.glob(".*.tmp"):
            left.unlink(missing_ok=True)
        self._open()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def revision(self) -> int:
        """The revision published last, 0 for none; where it cannot be read, the highest that file names speak of, so
        that no number is used twice."""
        if self.snapshot is not None:
            return self.snapshot.revision
        names = (_NAMED(path.name) for path in self.directory.iterdir())
        return max((int(name[1] or name[2]) for name in names if name), default=0)

    @property
    def valid(self) -> bool:
        """Whether what is published can be used; else it takes a publish_all()."""
        return self.snapshot is not None

    def publish_all(self, document: Document, revision: int) -> None:
        """Compiles the whole register and puts it into force. Raises SnapshotError, OSError; the policy in force then
        stays."""
        self._drop_compaction()
        try:
            fresh = base.write(self.directory, revision, compiler.compiled(document, self.directory / ".sort.tmp"))
        except lmdb.Error as error:  # while sorting
            raise SnapshotError(f"cannot be compiled: {error}", self.directory, "make room on the disk") from error
        self._enforce(fresh)
        self._reopen()

    def publish(self, changes: Sequence[Changed], revision: int) -> None:
        """Puts changed items into force as the next revision, at the cost of the keys they touch. Raises SnapshotError
        (no sound policy to change, or not its next revision) and OSError; the policy in force then stays."""
        snapshot = self.snapshot
        if snapshot is None:
            raise self.fault or SnapshotError("nothing was published yet", self.directory)
        entries = compiler.changed(snapshot.get, changes)
        if len(entries) > COMPACT_KEYS:
            overlay = snapshot.overlay | entries
            self._drop_compaction()
            self._enforce(base.write(self.directory, revision, merged(snapshot.base, overlay)))
            self._reopen()
            return
        delta = Delta(revision=revision, previous=snapshot.revision, entries=entries, touched=compiler.touched(changes))
        if revision != snapshot.revision + 1:
            what = f"revision {snapshot.revision} is in force, so {revision} is not the next"
            raise SnapshotError(what, self.directory)
        self._write(delta_name(revision), seal(delta, self._key))
        self._write(CURRENT, seal(replace(self._current(), revision=revision), self._key))
        os.fsync(self._lock)
        snapshot.apply(delta)
        self._tend()

    def compact(self) -> None:
        """Makes a new base of the one in force and its deltas, now. Raises SnapshotError, OSError."""
        if self.snapshot is None or not self.snapshot.deltas:
            return
        if self._compaction is None:
            self._compaction = _Compaction(self.snapshot)
            self._compaction.start()
        self._compaction.join()
        self._tend()
        if self.trouble is not None:
            raise self.trouble

    def sweep(self) -> None:
        """Verifies all files of the policy in force again. Raises SnapshotError, after which `valid` is false."""
        if self.snapshot is not None:
            try:
                self.snapshot.sweep()
            except SnapshotError as error:
                self._close_snapshot()
                self.fault = error
                raise

    def close(self) -> None:
        """Ends a compaction that runs, and gives the directory back."""
        self._drop_compaction()
        self._close_snapshot()
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def _open(self) -> None:
        try:
            self.snapshot, self.fault = Snapshot.open(self.directory, self._public), None
        except SnapshotError as error:
            self.fault = error if self.revision or (self.directory / CURRENT).exists() else None

    def _reopen(self) -> None:
        self._close_snapshot()
        self._open()

    def _close_snapshot(self) -> None:
        if self.snapshot is not None:
            self.snapshot.close()
            self.snapshot = None

    def _current(self) -> Current:
        assert self.snapshot is not None
        return self.snapshot.base.current

    def _tend(self) -> None:
        """Puts a finished compaction into force, or starts one where it is time."""
        snapshot, running = self.snapshot, self._compaction
        assert snapshot is not None
        if running is not None and not running.is_alive():
            self._compaction = None
            self.trouble = running.error
            if running.made is not None:
                self._enforce(replace(running.made, revision=snapshot.revision))
                snapshot.adopt(Base(self.directory, running.made, verified=True))
        elif running is None and (len(snapshot.deltas) >= COMPACT_DELTAS or len(snapshot.overlay) >= COMPACT_KEYS):
            self._compaction = _Compaction(snapshot)
            self._compaction.start()

    def _drop_compaction(self) -> None:
        if self._compaction is not None:
            self._compaction.stop = True
            self._compaction.join()
            if self._compaction.made is not None:
                (self.directory / self._compaction.made.base).unlink(missing_ok=True)
            self._compaction = None

    def _enforce(self, fresh: Current) -> None:
        """Puts a base into force, and removes all but it and its predecessor with their deltas."""
        before = None if self.snapshot is None else self._current()
        self._write(CURRENT, seal(fresh, self._key))
        os.fsync(self._lock)
        kept = {fresh.base} if before is None else {fresh.base, before.base}
        oldest = fresh.base_revision if before is None else before.base_revision
        for path in self.directory.iterdir():
            name = _NAMED(path.name)
            if name and (int(name[2]) <= oldest if name[2] else path.name not in kept):
                path.unlink(missing_ok=True)

    def _write(self, name: str, data: bytes) -> None:
        temporary = self.directory / f".{name}.tmp"
        with temporary.open("wb") as file:
            os.fchmod(file.fileno(), 0o644)
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.rename(self.directory / name)


class _Compaction(threading.Thread):
    """Makes a new base of a base and the deltas on it, beside the work: neither ever changes."""

    def __init__(self, snapshot: Snapshot) -> None:
        super().__init__(name="compact-base", daemon=True)
        self._directory = snapshot.directory
        self._overlay = dict(snapshot.overlay)
        self._revision = snapshot.revision
        # A view of its own: a transaction is for one thread.
        self._under = Base(snapshot.directory, snapshot.base.current, verified=True)
        self.stop = False
        self.made: Current | None = None
        self.error: Exception | None = None

    def run(self) -> None:
        """The thread's work."""
        try:
            items = takewhile(lambda _: not self.stop, merged(self._under, self._overlay))
            made = base.write(self._directory, self._revision, items)
            if self.stop:
                (self._directory / made.base).unlink()
            else:
                self.made = made
        except (SnapshotError, OSError) as error:
            self.error = error
        finally:
            self._under.close()

"""A base file: the whole policy as of one revision, in an LMDB database that is never changed once it has its name.

It is verified and mapped through one descriptor, so that what was verified is what is read, whatever happens to the
name meanwhile. No lock file: readers of a file that nobody writes need none, and may have read access only.
"""

import hashlib
import os
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import lmdb

from whitelist.signed import Current, SnapshotError

_CHUNK = 1 << 20
_BATCH = 50_000  # rows per transaction while writing: bounds the dirty pages in memory
_MAP = 1 << 38  # bytes of address space while writing; the file is as long as what it holds
_REPAIR = "remove the file, then publish the policy again from the register (restart control)"


class Base:
    """A verified base, open for reading. get and items read from the mapped file."""

    def __init__(self, directory: Path, current: Current, *, verified: bool = False) -> None:
        """Raises SnapshotError, FileNotFoundError. verified: the digest was compared before."""
        self.path = directory / current.base
        self.current = current
        self._fd = _open(self.path)
        try:
            if not verified:
                self.verify()
            self._env = _shared(self._fd, current.base_size)
        except lmdb.Error as error:
            os.close(self._fd)
            raise SnapshotError(f"cannot be mapped: {error}", self.path, _REPAIR) from error
        except BaseException:
            os.close(self._fd)
            raise
        self._txn = self._env.begin()
        self.get: Callable[[bytes], bytes | None] = self._txn.get

    def verify(self) -> None:
        """Raises SnapshotError when size or digest are not those that were signed. Reads the whole file; may run on a
        thread of its own."""
        verify(self._fd, self.path, self.current)

    def items(self, prefix: bytes = b"") -> Iterator[tuple[bytes, bytes]]:
        """Keys and values in order of keys, of all keys with the prefix."""
        with self._txn.cursor() as cursor:
            if not cursor.set_range(prefix):
                return
            for key, value in cursor:
                if not key.startswith(prefix):
                    return
                yield key, value

    def close(self) -> None:
        """Lets go of the file."""
        self._txn.abort()
        _release(self._fd)
        os.close(self._fd)


# LMDB opens no file twice in one process, so those who read the same one share it: environment and how many they are.
_open_files: dict[tuple[int, int], tuple["lmdb.Environment", int]] = {}
_opening = threading.Lock()


def _shared(fd: int, size: int) -> "lmdb.Environment":
    """The open file, mapped. Raises lmdb.Error."""
    status = os.fstat(fd)
    identity = (status.st_dev, status.st_ino)
    with _opening:
        if identity in _open_files:
            env, users = _open_files[identity]
        else:
            env, users = _map(fd, size), 0
        _open_files[identity] = (env, users + 1)
    return env


def _map(fd: int, size: int) -> "lmdb.Environment":
    # Through the descriptor: what its name leads to by now may be another file than the one that was verified.
    path = f"/proc/self/fd/{fd}"
    return lmdb.open(path, subdir=False, readonly=True, lock=False, readahead=False, map_size=max(size, 1 << 20))


def _release(fd: int) -> None:
    status = os.fstat(fd)
    identity = (status.st_dev, status.st_ino)
    with _opening:
        env, users = _open_files.pop(identity)
        if users > 1:
            _open_files[identity] = (env, users - 1)
        else:
            env.close()


def verify(fd: int, path: Path, current: Current) -> None:
    """Raises SnapshotError unless the open file is the one that was signed."""
    size = os.fstat(fd).st_size
    if size != current.base_size:
        raise SnapshotError(f"has {size} bytes instead of {current.base_size}", path, _REPAIR)
    if digest(fd) != current.base_digest:
        raise SnapshotError("is damaged: its digest is not the one that was signed", path, _REPAIR)


def digest(fd: int) -> bytes:
    """SHA-256 of an open file."""
    sha, offset = hashlib.sha256(), 0
    while chunk := os.pread(fd, _CHUNK, offset):
        sha.update(chunk)
        offset += len(chunk)
    return sha.digest()


def write(directory: Path, revision: int, items: Iterable[tuple[bytes, bytes]]) -> Current:
    """Writes a base from items in order of keys, durably, under a name of its own; gives what `current` is to say of
    it. Raises OSError, SnapshotError."""
    temporary = directory / f".base-{revision}.{os.getpid()}.tmp"
    temporary.unlink(missing_ok=True)
    try:
        env = lmdb.open(str(temporary), subdir=False, lock=False, map_size=_MAP, sync=False, mode=0o644)
        try:
            _append(env, items)
            env.sync(True)
        finally:
            env.close()
        fd = _open(temporary)
        try:
            os.fchmod(fd, 0o644)  # the directory says who may look; umask must not
            os.fsync(fd)
            sha, size = digest(fd), os.fstat(fd).st_size
        finally:
            os.close(fd)
        name = f"base-{revision}-{sha.hex()[:16]}.lmdb"
        temporary.rename(directory / name)
    except lmdb.Error as error:
        temporary.unlink(missing_ok=True)
        raise SnapshotError(f"cannot be written: {error}", temporary, "make room on the disk and try again") from error
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    return Current(base=name, base_revision=revision, base_size=size, base_digest=sha, revision=revision)


def _append(env: "lmdb.Environment", items: Iterable[tuple[bytes, bytes]]) -> None:
    batch: list[tuple[bytes, bytes]] = []
    for item in items:
        batch.append(item)
        if len(batch) == _BATCH:
            _put(env, batch)
            batch.clear()
    _put(env, batch)


def _put(env: "lmdb.Environment", batch: list[tuple[bytes, bytes]]) -> None:
    with env.begin(write=True) as txn, txn.cursor() as cursor:
        _, added = cursor.putmulti(batch, append=True)
    if added != len(batch):
        raise AssertionError("base items are not in order of keys")


def _open(path: Path) -> int:
    try:
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        raise
    except OSError as error:
        what = f"cannot be opened: {error.strerror or error}"
        raise SnapshotError(what, path, "give the worker's user read access") from error

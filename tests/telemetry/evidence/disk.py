"""A disk for tests: real files, through calls that can fail, be the last ones, or be forgotten when the power goes."""

import errno
import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any


class Killed(BaseException):
    """The process ended here."""


class Disk:
    """Calls for telemetry.evidence.files. At call number `at` (from 1) it does `fault`; `done` lists all calls made.

    What was written and not synced, and names that were made and not synced, are remembered: power_loss() takes any
    part of them back, as a file system may.
    """

    def __init__(self, at: int = 0, fault: "str | int" = "") -> None:
        self.at, self.fault = at, fault
        self.done: list[str] = []
        self._paths: dict[int, Path] = {}
        self._unsynced: set[Path] = set()
        self._names: list[tuple[Path, Callable[[], None]]] = []  # directory, how to take it back

    def open(self, path: Path, flags: int, mode: int = 0o777) -> int:
        self._call("open", path)
        fd = os.open(path, flags, mode)
        self._paths[fd] = Path(path)
        if flags & os.O_CREAT:
            self._unsynced.add(Path(path))
        return fd

    def write(self, fd: int, data: memoryview) -> int:
        if self._call("write", self._paths[fd], short=True):
            return os.write(fd, data[: max(1, len(data) // 2)])
        return os.write(fd, data)

    def posix_fadvise(self, fd: int, offset: int, length: int, advice: int) -> None:
        self._call("posix_fadvise", self._paths[fd])

    def fsync(self, fd: int) -> None:
        path = self._paths[fd]
        self._call("fsync", path)
        self._unsynced.discard(path)
        self._names = [(directory, undo) for directory, undo in self._names if directory != path]

    def close(self, fd: int) -> None:
        os.close(fd)  # a kill here is one before the next call
        del self._paths[fd]

    def rename(self, src: Path, dst: Path) -> None:
        self._call("rename", dst)
        before = dst.read_bytes() if dst.exists() else None
        if src in self._unsynced:
            self._unsynced.remove(src)
            self._unsynced.add(dst)
        os.rename(src, dst)
        self._names.append((dst.parent, lambda: self._put_back(dst, before)))

    def mkdir(self, path: Path, mode: int = 0o777) -> None:
        self._call("mkdir", path)
        os.mkdir(path, mode)
        self._names.append((path.parent, lambda: shutil.rmtree(path, ignore_errors=True)))

    def unlink(self, path: Path) -> None:
        self._call("unlink", path)
        os.unlink(path)  # taking this back would only show more

    def rmdir(self, path: Path) -> None:
        self._call("rmdir", path)
        os.rmdir(path)

    def power_loss(self, seed: int) -> None:
        """The machine lost its power: seed 0 takes back all that was not synced, others any part of it."""
        chance = random.Random(seed)
        for directory, undo in reversed(self._names):
            if (not seed or chance.random() < 0.5) and directory.exists():
                undo()
        for path in self._unsynced:
            if path.is_file() and (not seed or chance.random() < 0.5):
                os.truncate(path, chance.randrange(path.stat().st_size + 1) if seed else 0)

    def _put_back(self, path: Path, before: "bytes | None") -> None:
        if before is None:
            path.unlink(missing_ok=True)
        else:
            path.write_bytes(before)

    def _call(self, name: str, path: Any, short: bool = False) -> bool:
        self.done.append(f"{name} {Path(path).name}")
        if len(self.done) != self.at:
            return False
        if self.fault == "kill":
            raise Killed
        if self.fault == "short":
            return short
        assert isinstance(self.fault, int)
        raise OSError(self.fault, os.strerror(self.fault), str(path))


FAULTS: "dict[str, str | int]" = {"a kill": "kill", "EIO": errno.EIO, "ENOSPC": errno.ENOSPC, "a short write": "short"}

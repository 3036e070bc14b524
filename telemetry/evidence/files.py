"""Writing files so that they are there whole and durable, or not at all: the only place where the evidence log writes.

Everything goes through a few calls of the kernel (Calls), so that tests can let each of them fail or be the last.
"""

import os
import stat
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Protocol

from telemetry.evidence.error import EvidenceError

MOST = 256 * (2 + 65_535)  # bytes of the largest bundle, and so of any file of a log
TOGETHER = 64  # files written before they are synced: the file system then commits them together


class Calls(Protocol):
    """What is asked of the operating system, in the words of the module os, which is one. All raise OSError."""

    def open(self, path: Path, flags: int, mode: int = 0o777) -> int:
        """open(2)."""
        ...

    def write(self, fd: int, data: memoryview) -> int:
        """write(2)."""
        ...

    def posix_fadvise(self, fd: int, offset: int, length: int, advice: int, /) -> None:
        """posix_fadvise(2)."""
        ...

    def fsync(self, fd: int) -> None:
        """fsync(2)."""
        ...

    def close(self, fd: int) -> None:
        """close(2)."""
        ...

    def rename(self, src: Path, dst: Path) -> None:
        """rename(2)."""
        ...

    def mkdir(self, path: Path, mode: int = 0o777) -> None:
        """mkdir(2)."""
        ...

    def unlink(self, path: Path) -> None:
        """unlink(2)."""
        ...

    def rmdir(self, path: Path) -> None:
        """rmdir(2)."""
        ...


class Files:
    """Writes below `root` by way of the directory `staging` on the same file system. All raise OSError; after one of
    them what was to be written may be there or not, and must be written again."""

    def __init__(self, root: Path, staging: Path, calls: Calls = os) -> None:
        self.root = root
        self._staging = staging
        self._calls = calls
        self._known: set[Path] = set()  # directories that are there, durably once _touched is
        self._touched: set[Path] = set()  # directories whose new names are not durable yet
        for directory in (root, staging):
            self._directory(directory)
        for left in os.listdir(staging):  # by a process that was killed
            calls.unlink(staging / left)
        self.settle()

    def write(self, files: Iterable[tuple[str, bytes]]) -> None:
        """Puts files in their places and replaces what is there; durable with their names after settle()."""
        pending = list(files)
        for at in range(0, len(pending), TOGETHER):
            self._write(pending[at : at + TOGETHER])

    def settle(self) -> None:
        """Makes the names of all files written durable."""
        # deepest first: a directory is durable before the name that leads to it
        for directory in sorted(self._touched, key=lambda path: -len(path.parts)):
            self._sync(directory)
        self._touched.clear()

    def replace(self, path: Path, data: bytes) -> None:
        """One file, durably replaced in a single step."""
        self._stage([(path, data)])
        self._sync(path.parent)

    def drop(self, directory: str) -> None:
        """Removes a directory of plain files below root, if it is there."""
        path = self.root / directory
        try:
            names = os.listdir(path)
        except FileNotFoundError:
            return
        for name in names:
            self._calls.unlink(path / name)
        self._calls.rmdir(path)
        self._known.discard(path)

    def _write(self, files: Sequence[tuple[str, bytes]]) -> None:
        targets = [(self.root / name, data) for name, data in files]
        for path, _ in targets:
            self._directory(path.parent)
        self._stage(targets)
        self._touched.update(path.parent for path, _ in targets)

    def _stage(self, files: Sequence[tuple[Path, bytes]]) -> None:
        calls = self._calls
        opened: list[int] = []
        try:
            for number, (_, data) in enumerate(files):
                flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
                opened.append(calls.open(self._staging / str(number), flags, 0o640))
                view = memoryview(data)
                while view:
                    done = calls.write(opened[-1], view)
                    if done <= 0:
                        raise OSError(f"write(2) made no progress on {self._staging / str(number)}")
                    view = view[done:]
            # All writing is begun before any of it is waited for: one commit of the file system's journal then serves
            # most of the files (measured on ext4: a third less time).
            for fd in opened:
                calls.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
            for fd in opened:
                calls.fsync(fd)
        finally:
            for fd in opened:
                calls.close(fd)
        for number, (path, _) in enumerate(files):
            calls.rename(self._staging / str(number), path)

    def _directory(self, path: Path) -> None:
        if path in self._known:
            return
        if path not in (self.root, self._staging):
            self._directory(path.parent)
        if not path.is_dir():
            self._calls.mkdir(path, 0o750)
        # also for one that is there: whoever made it may have been killed before it was durable
        self._touched.add(path.parent)
        self._known.add(path)

    def _sync(self, directory: Path) -> None:
        fd = self._calls.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            self._calls.fsync(fd)
        finally:
            self._calls.close(fd)


def read_or_none(path: Path, most: int = MOST) -> bytes | None:
    """A file's bytes, None where there is none. Raises EvidenceError for one that cannot be read, is not a plain file
    or has more than `most` bytes: whoever hands over a log may have put anything there."""
    try:
        with open(path, "rb", opener=_open_without_waiting) as file:
            info = os.fstat(file.fileno())
            if not stat.S_ISREG(info.st_mode):
                raise EvidenceError(f"{path} is not a plain file")
            data = file.read(min(info.st_size, most) + 1)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise EvidenceError(f"{path} cannot be read: {error.strerror}") from None
    if len(data) > most:
        raise EvidenceError(f"{path} has more than {most} bytes")
    return data


def _open_without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK)  # a pipe would wait for a writer

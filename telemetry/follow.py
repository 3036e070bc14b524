"""Following the spools: which files there are, what is new in them, and whose writer has died.

The standard library has no inotify, so the recorder asks often (a directory listing and one pread per process and turn,
some 10 µs). Descriptors stay open, so a file that someone else removes is still read to its end.

What is read at once is small, so that what becomes of it (its records, decoded) stays in the processor's cache.
"""

import fcntl
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from telemetry.fold import OWN, process_key
from telemetry.spooldir import MAX_LINE, SpoolName, parse_name

CHUNK = 1 << 16
LARGE = 1 << 20  # where that holds no end of a line


@dataclass(slots=True)
class SpoolFile:
    """One open spool file; offset: bytes taken. garbage: inside a line too long to be a record."""

    name: SpoolName
    fd: int
    offset: int
    garbage: bool = False
    vanished: bool = False


@dataclass(slots=True)
class Process:
    """The spool files of one process, oldest first; all but the last are complete."""

    boot: str
    name: str
    files: list[SpoolFile] = field(default_factory=list)

    @property
    def key(self) -> str:
        """Its chain of sequence numbers."""
        return process_key(self.boot, self.name)


@dataclass(frozen=True, slots=True)
class Chunk:
    """What was read next: whole lines, or bytes that are not a line (torn by a kill, or beyond any record's length)."""

    file: SpoolFile
    data: bytes
    lines: bool = True


class Follower:
    """All spool files of a directory. cursors: offsets by file name from the last checkpoint. Methods raise OSError."""

    def __init__(self, directory: Path, cursors: dict[str, int]) -> None:
        self._directory = directory
        self._cursors = dict(cursors)
        self.processes: dict[str, Process] = {}
        self.finished: list[SpoolFile] = []  # taken to their end; to be removed once a checkpoint says so
        self._known: set[str] = set()

    def scan(self) -> None:
        """Opens files that are new. To be done before reading: what has a successor now is complete when read after
        this."""
        names = [
            name for entry in os.listdir(self._directory) if entry not in self._known and (name := parse_name(entry))
        ]
        for name in sorted(names):
            if name.process == OWN:  # its records go straight into the log, so this would be a forgery
                continue
            try:
                fd = os.open(self._directory / name.file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
            except (FileNotFoundError, PermissionError):
                continue
            self._known.add(name.file)
            if not stat.S_ISREG(os.fstat(fd).st_mode):
                os.close(fd)
                continue
            process = self.processes.setdefault(process_key(name.boot, name.process), Process(name.boot, name.process))
            process.files.append(SpoolFile(name, fd, self._cursors.pop(name.file, 0)))
            process.files.sort(key=lambda file: file.name)

    def chunks(self, process: Process, budget: int) -> Iterator[Chunk]:
        """What is new, in order, up to about `budget` bytes. The taker moves chunk.file.offset before asking for the
        next."""
        while budget > 0 and process.files:
            file = process.files[0]
            data = os.pread(file.fd, CHUNK, file.offset)
            end = data.rfind(b"\n") + 1
            last = len(process.files) == 1 and len(data) < CHUNK  # the file's end, and nothing behind it
            if not end and len(data) == CHUNK:
                data = os.pread(file.fd, LARGE, file.offset)
                end = data.rfind(b"\n") + 1
            if file.garbage and end:
                end = data.index(b"\n") + 1
                file.garbage = False
                yield Chunk(file, data[:end], lines=False)
            elif end:
                budget -= end
                yield Chunk(file, data[:end])
                if last:
                    return
            elif len(data) > MAX_LINE:
                file.garbage = True
                budget -= len(data)
                yield Chunk(file, data, lines=False)
            elif len(process.files) > 1:
                if data:
                    yield Chunk(file, data, lines=False)
                self.finished.append(process.files.pop(0))
            else:
                return

    def dead(self, process: Process) -> bool:
        """Whether its writer is gone. True stays true; what it wrote last may still have to be read."""
        last = process.files[-1]
        try:
            fcntl.flock(last.fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        fcntl.flock(last.fd, fcntl.LOCK_UN)
        self.scan()  # a successor made before the lock was let go is there by now
        return process.files[-1] is last

    def torn(self, process: Process) -> Chunk | None:
        """The half line a dead process left, after all its chunks are taken."""
        if not process.files:
            return None
        file = process.files[-1]
        data = os.pread(file.fd, CHUNK, file.offset)
        return Chunk(file, data, lines=False) if data else None

    def finish(self, process: Process) -> None:
        """Done with a dead process."""
        self.finished.extend(process.files)
        process.files = []
        self.processes.pop(process.key, None)

    def odd(self) -> Iterator[tuple[Process, str]]:
        """What others did to spool files: (process, what), each told once."""
        for process in list(self.processes.values()):
            for file in process.files:
                info = os.fstat(file.fd)
                if info.st_size < file.offset:
                    lost, file.offset = file.offset - info.st_size, info.st_size
                    yield process, f"spool file {file.name.number} shrank below what was taken by {lost} bytes"
                if info.st_nlink == 0 and not file.vanished:
                    file.vanished = True
                    yield process, f"spool file {file.name.number} was removed by another"

    def cursors(self) -> dict[str, int]:
        """Offsets of all files that are still there."""
        files = [file for process in self.processes.values() for file in process.files]
        return {file.name.file: file.offset for file in [*files, *self.finished]}

    def remove(self, files: list[SpoolFile]) -> None:
        """Removes finished files that the last checkpoint covers."""
        for file in files:
            os.close(file.fd)
            (self._directory / file.name.file).unlink(missing_ok=True)
            self._known.discard(file.name.file)
            self.finished.remove(file)

    def close(self) -> None:
        """Lets go of all files."""
        for file in [*self.finished, *(file for process in self.processes.values() for file in process.files)]:
            os.close(file.fd)

"""The append-only spool of one process: a record is *written* once it is in here, whoever is killed afterwards.

append() is a list append, flush() one write(2) per turn of the event loop. Nothing here waits for a disk: the recorder
copies the spool into the log and makes it durable.

When the spool cannot take lines (SpoolFull), all unwritten lines stay pending, in order, and go out first with the next
flush that succeeds, since their sequence numbers are spent. A caller that refuses a flow because of SpoolFull therefore
appends a closing record for the open record it had appended. What bounds the memory is that callers ask healthy()
before they append anything but a closing record.

Three bounds: at limit - reserve (1/8 of the limit) healthy() says no, so no opens, denials, progress or heartbeats; the
rest is for closing records; at the limit itself nothing more is written. A full disk is met the same way: each writer
holds some allocated blocks beside its file and gives them up for closing records.
"""

import errno
import fcntl
import os
from collections.abc import Callable
from pathlib import Path

from telemetry.spooldir import (
    MAX_LINE,
    STATUS_FILE,
    SpoolName,
    check_process,
    parse_name,
    read_status,
    reserve_name,
    spool_bytes,
)

MAX_LAG = 30.0  # seconds
ROTATE_BYTES = 64 << 20
RESERVE_BLOCKS = 4 << 20


class SpoolFull(OSError):  # noqa: N818  # a state of the spool, not a mistake
    """The spool cannot take records now: no space, an I/O error, or its limit. The lines stay pending."""


class SpoolWriter:
    """Writes the records of one process. Not for use by several threads; forked children must not keep it.

    node, boot and process belong into the records (process as their `worker`); process must never have been used under
    this boot, so restarted processes carry a generation ("w0.3"). now is CLOCK_MONOTONIC in seconds everywhere. Raises
    ValueError for an odd name, FileExistsError for one that is in use, OSError when the file cannot be made.
    """

    def __init__(
        self,
        directory: Path,
        node: str,
        boot: str,
        process: str,
        limit_bytes: int,
        *,
        rotate_bytes: int = ROTATE_BYTES,
        write: Callable[[int, bytes], int] = os.write,
    ) -> None:
        check_process(boot, process)
        self.node, self.boot, self.process = node, boot, process
        self._directory = directory
        self._limit = limit_bytes
        self._soft = limit_bytes - limit_bytes // 8
        # Small against the limit, or the copied part of files still in use would fill it.
        self._rotate_at = max(4096, min(rotate_bytes, limit_bytes // 64))
        self._write = write
        self._seq = 0
        self._lines: list[bytes] = []
        self._number = 0
        self._size = 0  # bytes of whole lines in the current file
        self._torn = False  # half a line may stand behind _size
        self._total = 0  # bytes of the whole spool at the last look, plus what was written since
        self._why = ""
        self._checked = self._started = float("-inf")
        self._status = -1
        self._reserve = -1
        self._holding = False  # the reserve's blocks are allocated
        if any(name and name[:2] == (boot, process) for name in map(parse_name, os.listdir(directory))):
            raise FileExistsError(errno.EEXIST, "process name already used under this boot", f"{boot}-{process}")
        self._fd = self._create(0)
        self._hold_reserve()

    def next_seq(self) -> int:
        """The next sequence number, from 1 without a gap. Whoever takes one must append a record with it."""
        self._seq += 1
        return self._seq

    def append(self, line: bytes) -> None:
        """Buffers one record (no newline in it or behind it) until flush().

        Raises ValueError, with nothing buffered, for an empty line, one with a newline, or one above 65,535 bytes:
        encode it again without the long field and with the same sequence number.
        """
        if not 0 < len(line) <= MAX_LINE or b"\n" in line:
            raise ValueError(f"record of {len(line)} bytes: expected one line of 1 to {MAX_LINE} bytes")
        self._lines.append(line)

    @property
    def pending(self) -> int:
        """Lines appended and not yet written."""
        return len(self._lines)

    def flush(self) -> None:
        """Writes all pending lines. Raises SpoolFull; then whole lines only are in the file and the others stay
        pending."""
        if not self._lines:
            return
        try:
            self._flush()
        except OSError as error:
            self._why = f"spool: {error.strerror or error}"
            raise SpoolFull(error.errno or errno.EIO, self._why) from error

    def healthy(self, now: float) -> str:
        """Empty when new flows may be taken, otherwise why not. Looks at the disk at most once a second."""
        if now - self._checked >= 1.0:
            self._checked = now
            self._why = self._look(now)
        return self._why

    def close(self) -> None:
        """Writes what is pending, removes the reserve and lets go of the lock. Raises SpoolFull when lines are left."""
        try:
            self.flush()
        finally:
            for fd in (self._fd, self._status, self._reserve):
                if fd >= 0:
                    os.close(fd)
            self._fd = self._status = self._reserve = -1
            (self._directory / reserve_name(self.boot, self.process)).unlink(missing_ok=True)

    def _flush(self) -> None:
        if self._torn:
            os.ftruncate(self._fd, self._size)
            self._torn = False
        data = b"\n".join([*self._lines, b""])
        if self._total + len(data) > self._limit:
            self._total = spool_bytes(self._directory)
            if self._total + len(data) > self._limit:
                raise OSError(errno.ENOSPC, "spool at its limit")
        try:
            self._write_all(data)
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT) or not self._holding:
                raise
            self._holding = False
            os.ftruncate(self._reserve, 0)
            self._write_all(b"\n".join([*self._lines, b""]))
            self._why = "spool: disk full"
        if self._size >= self._rotate_at:
            self._rotate()

    def _write_all(self, data: bytes) -> None:
        """Writes whole lines; on an error keeps those that got in and cuts off the half one."""
        done = 0
        try:
            done = self._write(self._fd, data)
            while done < len(data):
                wrote = self._write(self._fd, data[done:])
                if wrote <= 0:
                    raise OSError(errno.EIO, "write(2) made no progress")
                done += wrote
        except OSError:
            kept = data.rfind(b"\n", 0, done) + 1
            self._size += kept
            self._total += kept
            del self._lines[: data.count(b"\n", 0, kept)]
            self._torn = True  # until the next line proves that the cut worked
            os.ftruncate(self._fd, self._size)
            self._torn = False
            raise
        self._size += done
        self._total += done
        self._lines.clear()

    def _create(self, number: int) -> int:
        name = SpoolName(self.boot, self.process, number).file
        hidden = self._directory / f".{name}"
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC
        fd = os.open(hidden, flags, 0o640)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.rename(hidden, self._directory / name)
        except OSError:
            os.close(fd)
            raise
        return fd

    def _rotate(self) -> None:
        try:
            fd = self._create(self._number + 1)
        except OSError:  # out of descriptors or space: the old file serves on, and the next flush tries again
            return
        os.close(self._fd)
        self._fd = fd
        self._number += 1
        self._size = 0

    def _hold_reserve(self) -> None:
        path = self._directory / reserve_name(self.boot, self.process)
        try:
            if self._reserve < 0:
                self._reserve = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o640)
            os.posix_fallocate(self._reserve, 0, max(4096, min(RESERVE_BLOCKS, self._limit // 16)))
            self._holding = True
        except OSError as error:
            if self._reserve >= 0:
                os.ftruncate(self._reserve, 0)
            # A file system without fallocate has no reserve; everywhere else this means that the disk is full.
            self._holding = error.errno in (errno.EOPNOTSUPP, errno.EINVAL)

    def _look(self, now: float) -> str:
        if self._started == float("-inf"):
            self._started = now
        if self._lines and self._why.startswith("spool: "):
            try:
                self.flush()
            except SpoolFull:
                return self._why
        if not self._holding:
            self._hold_reserve()
            if not self._holding:
                return "spool: disk full"
        try:
            self._total = spool_bytes(self._directory)
            if self._status < 0:
                self._status = os.open(self._directory / STATUS_FILE, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            pass
        except OSError as error:
            return f"spool: {error.strerror}"
        if self._total >= self._soft:
            return f"spool at {self._total} of {self._limit} bytes"
        return self._lag(now)

    def _lag(self, now: float) -> str:
        status = read_status(self._status) if self._status >= 0 else None
        # A status from the future is of an earlier run of the host; without one, the recorder has had time since our
        # start.
        durable = status.durable if status and status.durable <= now + 1 else self._started
        if status and status.failed:
            return f"recorder: {status.failed}"
        if now - durable > MAX_LAG:
            return f"recorder: {now - durable:.0f} s behind"
        return ""

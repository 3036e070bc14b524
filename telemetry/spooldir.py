"""What writers and the recorder agree on in run_dir/spool: file names, locks, and the recorder's status.

A process writes `<boot>-<process>-<n>.jsonl` and holds flock(2) on its newest file as long as it lives. A file appears
under that name only after it is locked, and a successor appears before its predecessor is unlocked; so whoever gets the
lock of a process's newest file, and then still finds no newer one, knows that the process is dead.

The directory should belong to the recorder's user with mode 3770 (set-group-id, sticky): members of the group create
files, and only the file's owner and the recorder remove them.
"""

import os
import re
from pathlib import Path
from typing import NamedTuple

import msgspec

STATUS_FILE = "recorder.status"
STATUS_BYTES = 512
MAX_LINE = 65_535  # a record must fit an entry of a tile (uint16-framed, C2SP tlog-tiles)

_PROCESS = re.compile(r"[A-Za-z0-9_.]{1,32}", re.ASCII)
_NAME = re.compile(r"([0-9a-f]{8})-([A-Za-z0-9_.]{1,32})-([0-9]{1,9})\.jsonl", re.ASCII)


class SpoolName(NamedTuple):
    """The parts of a spool file's name; sorts by boot, process, number."""

    boot: str
    process: str
    number: int

    @property
    def file(self) -> str:
        """The name in the directory."""
        return f"{self.boot}-{self.process}-{self.number}.jsonl"


def parse_name(name: str) -> SpoolName | None:
    """The parts of a spool file's name, or None for any other file."""
    match = _NAME.fullmatch(name)
    return SpoolName(match[1], match[2], int(match[3])) if match else None


def check_process(boot: str, process: str) -> None:
    """Raises ValueError when boot is not 8 hex characters or process is not [A-Za-z0-9_.]{1,32}."""
    if parse_name(f"{boot}-{process}-0.jsonl") is None or not _PROCESS.fullmatch(process):
        raise ValueError(f"boot {boot!r}, process {process!r}: expected 8 hex characters and [A-Za-z0-9_.], at most 32")


def reserve_name(boot: str, process: str) -> str:
    """The file whose blocks a writer gives up when the disk is full, so that closing records still fit."""
    return f"{boot}-{process}.reserve"


class Status(msgspec.Struct, frozen=True, gc=False):
    """How far the recorder is. Times are seconds of CLOCK_MONOTONIC: every record written before `durable` is on
    disk."""

    time: float
    durable: float
    failed: str = ""  # why nothing is taken any more; empty while all is well
    records: int = 0
    spool_bytes: int = 0


_decoder = msgspec.json.Decoder(Status)


def write_status(fd: int, status: Status) -> None:
    """Overwrites the status in place (a full disk must not keep it from being said). Raises OSError."""
    if len(status.failed) > 200:
        status = msgspec.structs.replace(status, failed=status.failed[:200])
    os.pwrite(fd, msgspec.json.encode(status).ljust(STATUS_BYTES), 0)


def open_status(directory: Path) -> int:
    """Opens (makes) the status file for writing; the one inode stays, so readers keep their descriptor."""
    return os.open(directory / STATUS_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)


def read_status(fd: int) -> Status | None:
    """The status, or None when there is none yet or it is being written at this moment."""
    try:
        return _decoder.decode(os.pread(fd, STATUS_BYTES, 0))
    except (OSError, msgspec.DecodeError):
        return None


def spool_bytes(directory: Path) -> int:
    """Bytes of all spool files of all processes. Raises OSError."""
    total = 0
    with os.scandir(directory) as entries:
        for entry in entries:
            if entry.name.endswith(".jsonl"):
                try:
                    total += entry.stat().st_size
                except FileNotFoundError:  # the recorder has just finished with it
                    continue
    return total

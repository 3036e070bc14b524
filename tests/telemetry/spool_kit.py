"""A node's directories for tests: spools written by the real writer, and the recorder run in this or another
process."""

import http.client
import os
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from telemetry.journal import Journal
from telemetry.record import Record, decode, encode
from telemetry.recorder import Recorder
from telemetry.segments import Segments, list_segments, segment_name
from telemetry.spool import SpoolWriter
from telemetry.spooldir import Status, open_status, read_status

NODE, BOOT = "gw1.zone.example", "0000abcd"
DEADLINE = 20.0

# Checkpoints at every turn and small files, so that a short run passes through everything that a long one does.
_FAST = """
import sys; from pathlib import Path; import telemetry.recorder as r
r.CHECKPOINT, r.LOOK = float(sys.argv[4]), 0.03
if sys.argv[6] == "False":  # the kit's records are of 2023: their day is over
    r.statement.day_of = lambda time: 0
sys.exit(r.run(state_dir=Path(sys.argv[1]), run_dir=Path(sys.argv[2]), node="gw1.zone.example", boot=sys.argv[3],
               segment_bytes=int(sys.argv[5]), evidence_interval=0.02))
"""


def line(worker: str, seq: int, kind: str = "heartbeat", boot: str = BOOT, **fields: Any) -> bytes:
    """One record's bytes."""
    fields.setdefault("time", 1_700_000_000_000_000 + seq)
    return encode(Record(node=NODE, boot=boot, worker=worker, seq=seq, kind=kind, **fields))


def put(writer: SpoolWriter, kind: str, **fields: Any) -> bytes:
    """Appends the writer's next record and returns its bytes."""
    data = line(writer.process, writer.next_seq(), kind, writer.boot, **fields)
    writer.append(data)
    return data


def until(what: Callable[[], Any], why: str) -> Any:
    """Waits until something is true, within a bound."""
    end = time.monotonic() + DEADLINE
    while time.monotonic() < end:
        if found := what():
            return found
        time.sleep(0.01)
    raise AssertionError(f"not within {DEADLINE} s: {why}")


@dataclass
class Node:
    """state_dir and run_dir of a node."""

    root: Path

    def __post_init__(self) -> None:
        self.state, self.run = self.root / "state", self.root / "run"
        self.spool, self.log = self.run / "spool", self.state / "log"
        self.spool.mkdir(parents=True, exist_ok=True)
        self.log.mkdir(parents=True, exist_ok=True)

    def writer(self, process: str = "w0.1", limit: int = 1 << 30, **options: Any) -> SpoolWriter:
        """A spool writer in this process."""
        return SpoolWriter(self.spool, NODE, BOOT, process, limit, **options)

    def start(
        self,
        boot: str = BOOT,
        checkpoint: float = 0.02,
        segment_bytes: int = 20_000,
        wrap: tuple[str, ...] = (),
        statements: bool = False,
    ) -> subprocess.Popen[bytes]:
        """The recorder as a process of its own, or as a child of the command `wrap`."""
        arguments = [str(self.state), str(self.run), boot, str(checkpoint), str(segment_bytes), str(statements)]
        return subprocess.Popen([*wrap, sys.executable, "-c", _FAST, *arguments], stderr=subprocess.PIPE)

    def pass_once(self, boot: str = BOOT, segment_bytes: int = 20_000, **hooks: Any) -> Recorder:
        """Takes everything there is, in this process, and ends in order. hooks: write and fsync of the log."""
        recorder = self.recorder(boot, segment_bytes, **hooks)
        recorder.stopping = True
        recorder.run()
        return recorder

    def recorder(self, boot: str = BOOT, segment_bytes: int = 20_000, **hooks: Any) -> Recorder:
        """A recorder that has not begun."""
        journal = Journal(self.log, NODE, boot, Segments(self.log, segment_bytes, **hooks))
        return Recorder(journal, self.spool, open_status(self.spool))

    def status(self) -> Status | None:
        """What the recorder says of itself."""
        try:
            fd = os.open(self.spool / "recorder.status", os.O_RDONLY)
        except FileNotFoundError:
            return None
        try:
            return read_status(fd)
        finally:
            os.close(fd)

    def lines(self) -> list[bytes]:
        """Every line of the log; each must be whole."""
        found: list[bytes] = []
        for first in list_segments(self.log):
            assert first == len(found), "a segment is named after the index of its first record"
            data = (self.log / segment_name(first)).read_bytes()
            assert data == b"" or data.endswith(b"\n")
            found += data.split(b"\n")[:-1]
        return found

    def records(self, worker: str = "") -> list[Record]:
        """The log's records, of one worker or of all."""
        return [record for record in map(decode, self.lines()) if worker in ("", record.worker)]

    def ask(self, path: str) -> tuple[int, dict[str, str], bytes]:
        """One request to the recorder's socket."""
        connection = http.client.HTTPConnection("recorder", timeout=DEADLINE)
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.connect(str(self.run / "recorder.sock"))
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, dict(response.getheaders()), response.read()


def stop(process: subprocess.Popen[bytes], number: int = signal.SIGTERM) -> int:
    """Ends a process that a test started; its status."""
    process.send_signal(number)
    process.communicate(timeout=DEADLINE)
    return process.returncode


def check_log(node: Node, written: dict[str, list[bytes]], dead: bool = True) -> None:
    """Every written line stands in the log exactly once, byte for byte, in order; the recorder's own chain has no gap;
    and when the writers are dead, each flow that was opened has exactly one close."""
    lines = node.lines()
    records = [decode(text) for text in lines]
    for worker, wanted in written.items():
        found = [text for text, record in zip(lines, records, strict=True) if record.worker == worker]
        assert found == wanted, f"{worker}: {len(found)} lines in the log, {len(wanted)} were written"
    own: dict[str, int] = {}
    for record in records:
        if record.worker == "recorder":
            assert record.seq == own.get(record.boot, 0) + 1
            own[record.boot] = record.seq
            assert not (record.values or {}).get("gaps"), record.detail
    if dead:
        opened = Counter(record.flow for record in records if record.kind == "open")
        closed = Counter(record.flow for record in records if record.kind == "close")
        assert opened == closed

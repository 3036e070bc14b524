"""kill -9 at any moment: no written record is lost or doubled, and each flow gets exactly one close."""

import contextlib
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from telemetry import follow, recorder
from tests.telemetry.spool_kit import BOOT, NODE, Node, check_log, put, stop, until

WORK = ("w0.1", "w1.1")


def fill(node: Node) -> dict[str, list[bytes]]:
    """Spools of two dead processes: several files each, and flows left open."""
    written: dict[str, list[bytes]] = {}
    for name in WORK:
        writer = node.writer(name, rotate_bytes=4096)
        lines = written[name] = []
        for i in range(40):
            lines.append(put(writer, "open", flow=f"{name}-{i}", tenant="acme", host="api.example.com"))
            if i % 4:
                lines.append(put(writer, "close", flow=f"{name}-{i}", bytes_out=5, bytes_in=7, cause="idle"))
            else:
                lines.append(put(writer, "progress", flow=f"{name}-{i}", bytes_out=3, bytes_in=4, bytes_as_of=99))
            writer.flush()
        writer.close()
    return written


class Killer:
    """Kills its own process at the n-th system call that changes a file: before it, after it, or half-way through a
    write."""

    def __init__(self, at: int, moment: str) -> None:
        self.left, self.moment = at, moment

    def around(self, call: Callable[..., Any], writes: bool = False) -> Callable[..., Any]:
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            self.left -= 1
            if self.left:
                return call(*args, **kwargs)
            if self.moment == "after":
                with contextlib.suppress(OSError):
                    call(*args, **kwargs)
            elif self.moment == "half-way" and writes:
                call(args[0], bytes(args[1])[: len(args[1]) // 2])
            os.kill(os.getpid(), signal.SIGKILL)
            return None

        return wrapped


def run_and_die(node: Node, at: int, moment: str) -> bool:
    """One pass of the recorder in a forked process, killed at this point; False when it ended before it came to
    that."""
    pid = os.fork()
    if pid == 0:
        try:
            killer = Killer(at, moment)
            hooks = {"write": killer.around(os.write, writes=True), "fsync": killer.around(os.fdatasync)}
            for name, writes in (("write", True), ("rename", False), ("unlink", False), ("ftruncate", False)):
                setattr(os, name, killer.around(getattr(os, name), writes=writes))
            follow.CHUNK, recorder.BUDGET, recorder.CHECKPOINT, recorder.LOOK, recorder.SLICE = 3000, 5000, 0, 0, 3
            node.pass_once(segment_bytes=6000, **hooks)
            os._exit(0)
        finally:
            os._exit(1)
    status = os.waitpid(pid, 0)[1]
    assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0, "an exception in the recorder"
    return os.WIFSIGNALED(status)


@pytest.mark.parametrize("moment", ["before", "after", "half-way"])
def test_at_every_system_call_of_the_write_path(tmp_path: Path, moment: str) -> None:
    original = Node(tmp_path / "original")
    written = fill(original)
    deaths = 0
    for at in range(1, 200):
        node = Node(tmp_path / str(at))
        shutil.copytree(original.root, node.root, dirs_exist_ok=True)
        if not run_and_die(node, at, moment):
            break
        deaths += 1
        run_and_die(node, 1 + at % 7, moment)  # and once more, early in the next start
        node.pass_once(segment_bytes=6000)
        check_log(node, written)
        assert list(node.spool.glob("*.jsonl")) == []
        shutil.rmtree(node.root)
    assert 30 < deaths < 199


WRITER = """
import os, sys, time
from pathlib import Path
from telemetry import follow, recorder
from tests.telemetry.spool_kit import Node, put
node = Node(Path(sys.argv[1]))
writer = node.writer(sys.argv[2], rotate_bytes=16384)
for i in range(int(sys.argv[3])):
    lines = [put(writer, "open", flow=f"{sys.argv[2]}-{i}", tenant="acme")]
    if i % 50:
        lines.append(put(writer, "close", flow=f"{sys.argv[2]}-{i}", cause="idle"))
    writer.flush()
    os.write(1, b"".join(line + b"\\n" for line in lines))  # said only after it was written
    time.sleep(0.0005)
time.sleep(60)
"""


def start_writer(node: Node, name: str, flows: int, out: Path) -> subprocess.Popen[bytes]:
    with out.open("wb") as file:
        return subprocess.Popen([sys.executable, "-c", WRITER, node.root, name, str(flows)], stdout=file)


def test_at_random_moments_while_workers_write_and_are_killed_too(tmp_path: Path) -> None:
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    node = Node(tmp_path)
    said = {name: tmp_path / name for name in WORK}
    writers = {name: start_writer(node, name, 2500, said[name]) for name in WORK}
    try:
        for _ in range(6):
            recorder = node.start()
            before = node.status()
            until(lambda p=recorder, b=before: p.poll() is not None or node.status() != b, "the recorder runs")
            time.sleep(chance.uniform(0, 0.15))
            stop(recorder, signal.SIGKILL)
        for name in WORK:
            stop(writers.pop(name), signal.SIGKILL)
            assert said[name].stat().st_size > 0
    finally:
        for writer in writers.values():
            stop(writer, signal.SIGKILL)
    in_spool = node.pass_once()
    assert in_spool.journal.state.flows == {}
    found = {name: [text for text in node.lines() if f'"worker":"{name}"'.encode() in text] for name in WORK}
    for name in WORK:
        written = said[name].read_bytes().split(b"\n")[:-1]
        assert len(written) > 50
        assert found[name][: len(written)] == written
        assert len(found[name]) <= len(written) + 2, "what was written but not yet said"
    check_log(node, found)


def test_a_killed_worker_gets_its_closes_from_a_running_recorder(tmp_path: Path) -> None:
    node = Node(tmp_path)
    said = tmp_path / "said"
    recorder = node.start()
    try:
        writer = start_writer(node, "w0.1", 120, said)
        until(lambda: said.read_bytes().count(b"\n") >= 237, "the writer wrote all")
        until(lambda: len(node.records("w0.1")) == 237, "all is in the log")
        assert node.records("recorder")[-1].kind == "action", "nobody has died yet"
        stop(writer, signal.SIGKILL)
        until(lambda: len([r for r in node.records("recorder") if r.kind == "close"]) == 3, "closing records")
    finally:
        assert stop(recorder) == 0
    closes = [record for record in node.records("recorder") if record.kind == "close"]
    assert [record.flow for record in closes] == ["w0.1-0", "w0.1-50", "w0.1-100"]
    assert {(r.cause, r.tenant, r.detail) for r in closes} == {("worker-died", "acme", f"w0.1 of boot {BOOT} died")}
    assert list(node.spool.glob("*")) == [node.spool / "recorder.status"], "nothing of the dead is left"


def test_a_close_by_the_recorder_has_the_open_records_fields_and_the_last_bytes(tmp_path: Path) -> None:
    node = Node(tmp_path)
    writer = node.writer()
    put(
        writer, "open", flow="F", tenant="acme", host="api.example.com", port=443, line="l1", grant="g1", time=1_000_000
    )
    put(writer, "progress", flow="F", bytes_out=10, bytes_in=20, bytes_as_of=2_000_000)
    put(writer, "progress", flow="F", bytes_out=30, bytes_in=50, bytes_as_of=3_000_000)
    writer.close()
    node.pass_once()
    (close,) = [record for record in node.records("recorder") if record.kind == "close"]
    assert (close.flow, close.tenant, close.host, close.port, close.line, close.grant) == (
        "F", "acme", "api.example.com", 443, "l1", "g1",
    )  # fmt: skip
    assert (close.bytes_out, close.bytes_in, close.bytes_as_of) == (30, 50, 3_000_000)
    assert close.duration == close.time - 1_000_000
    assert (close.node, close.boot, close.worker) == (NODE, BOOT, "recorder")


def test_a_living_worker_keeps_its_flows_open_over_restarts(tmp_path: Path) -> None:
    node = Node(tmp_path)
    writer = node.writer()
    opened = put(writer, "open", flow="F", tenant="acme")
    writer.flush()
    for _ in range(3):
        assert list(node.pass_once().journal.state.flows) == ["F"]
    closed = put(writer, "close", flow="F", cause="client-closed")
    writer.close()
    node.pass_once()
    check_log(node, {"w0.1": [opened, closed]})

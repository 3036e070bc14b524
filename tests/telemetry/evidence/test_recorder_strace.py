"""System calls of the running recorder that fail, or at which it is killed, by strace: whatever it had published
stands, it ends and says so, and the next start has everything."""

import os
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from telemetry.evidence import note
from telemetry.evidence.reader import Reader
from telemetry.evidence.tile import bundles
from telemetry.evidence.verify import verify_log
from tests.telemetry.spool_kit import Node, put, stop, until


def traceable() -> bool:
    """Whether strace is here and may trace."""
    if not shutil.which("strace"):
        return False
    probe = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", "inject=fsync:error=EIO", "true"]
    return subprocess.run(probe, capture_output=True, timeout=60).returncode == 0


pytestmark = pytest.mark.skipif(not traceable(), reason="strace is missing, or may not trace")


def verified(node: Node) -> list[bytes]:
    """The published entries, all verified."""
    directory = node.state / "evidence"
    if not (directory / "flows/checkpoint").exists():
        return []
    key = note.parse_key((directory / "flows.vkey").read_text().strip())
    reader = Reader(directory / "flows")
    head = verify_log(reader, key).head
    return [entry for bundle in bundles(head.size) for entry in reader.entries(bundle)]


# How often a thread of the recorder makes each call of its write path in this test's run. Calls are counted in each
# thread by itself, so that one number means a call of the start, one of a turn and one of a batch.
CALLS = {"write": 9, "fsync": 20, "fdatasync": 2, "rename": 9, "mkdir": 8, "unlink": 4, "fadvise64": 9, "pwrite64": 3}
EFFECTS = ("error=EIO", "error=ENOSPC", "signal=KILL")
# openat is counted for each of these alone: a start opens hundreds of files that are none of the log's. write is
# counted for all of them together: the event loop wakes its threads by writes, too, and aborts where it cannot.
OPENED = {
    "log/00000000000000000000.jsonl": 2, "log/00000000000000000601.jsonl": 1, "log/checkpoint.new": 1, "log": 6,
    **{f"evidence/flows.staging/{number}": 1 for number in range(1, 7)}, "evidence/flows.staging/0": 3, "evidence": 3,
    "evidence/flows": 3, "evidence/flows/tile": 1, "evidence/flows/tile/0": 1, "evidence/flows/tile/entries": 1,
    "evidence/flows/tile/0/002.p": 1, "evidence/flows/tile/1/000.p": 1,
}  # fmt: skip

TOGETHER = " ".join(OPENED)
EVERY = [
    (f"{call}:{effect}:when={number}", path)
    for effect in EFFECTS
    for call, most, path in (
        *((call, most, TOGETHER if call == "write" else "") for call, most in CALLS.items()),
        *(("openat", most, path) for path, most in OPENED.items()),
    )
    for number in range(1, most + 1)
]
# All of them take minutes: FEIYU_FAULTS=all. The suite takes each 17th, which is of every call, effect and thread.
FAULTS = [*(EVERY if os.environ.get("FEIYU_FAULTS") == "all" else EVERY[::17]), ("pwrite64:error=EIO:when=9999", "")]


@pytest.mark.parametrize(("fault", "path"), FAULTS, ids=[f"{fault} {path}"[:60].strip() for fault, path in FAULTS])
def test_a_system_call_that_fails_or_is_the_last(tmp_path: Path, fault: str, path: str) -> None:
    node = Node(tmp_path)
    writer = node.writer()
    wanted = [put(writer, "open", flow=f"F{number}", tenant="acme") for number in range(600)]
    writer.flush()
    only = [word for name in path.split() for word in ("-P", str(node.state / name))]
    recorder = node.start(wrap=("strace", "-f", "-qq", "-o", "/dev/null", *only, "-e", f"inject={fault}"))
    until(lambda: recorder.poll() is not None or len(verified(node)) > 600, "it ends, or has published everything")
    failed = recorder.poll() is not None
    if not failed:
        traced = Path(f"/proc/{recorder.pid}/task/{recorder.pid}/children").read_text().split()
        for pid in traced:  # strace itself lets SIGTERM pass by
            os.kill(int(pid), signal.SIGTERM)
    try:
        _, told = recorder.communicate(timeout=20)
    finally:
        recorder.kill()
    if "when=9999" in fault:
        assert not failed, "none fails: the run is as any other"
        assert recorder.returncode == 0
    elif failed and "KILL" not in fault:
        assert recorder.returncode == 1, told
        name = "Input/output error" if "EIO" in fault else "No space left on device"
        assert name in told.decode()
        if (node.spool / "recorder.status").exists() and "pwrite64" not in fault:
            assert name in writer.healthy(0.0), "workers refuse new flows"
    entries = verified(node)
    assert entries == node.lines()[: len(entries)], "what is published is durable in the log"
    writer.close()
    before = node.status()
    recorder = node.start()
    until(lambda: node.status() != before and len(verified(node)) > 600, "the next start has everything")
    assert stop(recorder) == 0
    assert verified(node) == node.lines()
    assert [line for line in node.lines() if b'"w0.1"' in line and b'"open"' in line] == wanted

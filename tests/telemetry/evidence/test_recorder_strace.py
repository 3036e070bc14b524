"""System calls of the running recorder that fail, by strace: whatever it had published stands, it ends and says so, and
the next start has everything."""

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


# Calls are counted in each thread by itself: the first few are those of the start, later ones of batches.
FAULTS = [
    *(f"fsync:error=EIO:when={number}" for number in (1, 2, 5, 9, 14)),
    "fdatasync:error=EIO:when=1",
    *(f"rename:error=ENOSPC:when={number}" for number in (1, 3, 5)),
    *(f"mkdir:error=ENOSPC:when={number}" for number in (1, 5)),
    "pwrite64:error=EIO:when=9999",  # none fails: the run is as any other
]


@pytest.mark.parametrize("fault", FAULTS)
def test_a_system_call_that_fails(tmp_path: Path, fault: str) -> None:
    node = Node(tmp_path)
    writer = node.writer()
    wanted = [put(writer, "open", flow=f"F{number}", tenant="acme") for number in range(600)]
    writer.flush()
    recorder = node.start(wrap=("strace", "-f", "-qq", "-o", "/dev/null", "-e", f"inject={fault}"))
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
        assert not failed
        assert recorder.returncode == 0
    elif failed:
        assert recorder.returncode == 1, told
        name = "Input/output error" if "EIO" in fault else "No space left on device"
        assert name in told.decode()
        if (node.spool / "recorder.status").exists():
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

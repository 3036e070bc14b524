"""Witnesses and logs for tests: the witness as the process that `feiyu evidence witness` is."""

import os
import re
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from telemetry.evidence import checkpoint, merkle, note
from telemetry.evidence.log import EvidenceLog
from telemetry.evidence.tile import TileTree
from telemetry.witness import protocol
from tests.telemetry.evidence.disk import Disk

ORIGIN = "gw1.zone.example/flows"
SECRET = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
KEY = note.VerifierKey(ORIGIN, note.ED25519, SECRET.public_key().public_bytes_raw())
ENTRIES = [b'{"v":1,"seq":%d}' % number for number in range(2000)]


def log_in(directory: Path, size: int = 0, entries: list[bytes] = ENTRIES) -> EvidenceLog:
    """A log of the one key, with so many entries; it does not wait for a real disk."""
    directory.mkdir(parents=True, exist_ok=True)
    log = EvidenceLog(directory, "flows", ORIGIN, SECRET, Disk())
    while log.size < size:
        log.append(entries[log.size : size])
    return log


def request(log: EvidenceLog, old: int, signed: bytes | None = None) -> protocol.Request:
    """What a log says to a witness that has the size `old`."""
    signed = signed or log.signed
    head = checkpoint.open_signed(signed, KEY)
    tree = TileTree(head.size, log.reader.tile)
    proof = merkle.prove_consistency(old, head.size, tree.node) if 0 < old < head.size else []
    return protocol.Request(old, tuple(proof), signed)


@dataclass
class Running:
    """A witness that runs: its address and keys, and what it says."""

    url: str
    keys: tuple[note.VerifierKey, ...]
    process: subprocess.Popen[str]
    said: list[str]

    def post(self, body: bytes) -> tuple[int, str, bytes]:
        """Status, content type and body of its answer."""
        asked = urllib.request.Request(self.url + protocol.PATH, data=body, method="POST")
        try:
            with urllib.request.urlopen(asked, timeout=20) as answer:
                return answer.status, answer.headers["Content-Type"], answer.read()
        except urllib.error.HTTPError as error:
            return error.code, error.headers["Content-Type"], error.read()


@contextmanager
def witness(
    directory: Path, *logs: note.VerifierKey, name: str = "w1.example", options: tuple[str, ...] = (), port: int = 0
) -> Iterator[Running]:
    """`feiyu evidence witness` as a process, until the block ends."""
    command = [
        sys.executable, "-c", "import sys; from ops.cli.main import main; main(sys.argv[1:])", "evidence", "witness",
        "--name", name, "--dir", str(directory), "--listen", f"127.0.0.1:{port}", *options,
        *(f"--log={key}" for key in logs),
    ]  # fmt: skip
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)
    assert process.stdout
    assert process.stderr
    said: list[str] = []
    try:
        address = None
        for line in process.stderr:
            said.append(line)
            if address := re.search(r"listens on ([0-9.]+):(\d+)", line):
                break
        assert address, "".join(said)
        threading.Thread(target=lambda: said.extend(process.stderr or ()), daemon=True).start()
        count = 2 if "--mldsa44" in options else 1
        keys = tuple(note.parse_key(process.stdout.readline().strip()) for _ in range(count))
        yield Running(f"http://{address[1]}:{address[2]}", keys, process, said)
    finally:
        if process.poll() is None:
            process.terminate()
            process.wait(20)
        process.stdout.close()

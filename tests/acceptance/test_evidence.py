"""A refusal on the wire becomes a proof that stands without the node."""

import json
import subprocess
import sys
from pathlib import Path

from tests.acceptance.kit import Node


def test_a_refused_firm_can_prove_its_refusal_to_somebody_who_has_only_the_key(node: Node, tmp_path: Path) -> None:
    stage = node.stage
    evidence = stage.directory / "state" / "evidence"
    refusal = stage.clients["acme"].curl("https://video.example/")
    assert refusal.ref
    stage.record(ref=refusal.ref)
    proof, verifier, key = tmp_path / "refusal.tlog-proof", tmp_path / "verify.py", tmp_path / "key"
    stage.wait(
        lambda: stage.feiyu("evidence", "prove", refusal.ref, "--out", str(proof)).returncode == 0,
        "the refusal is not under a checkpoint",
    )
    assert stage.feiyu("evidence", "verifier", "--out", str(verifier)).returncode == 0
    key.write_bytes((evidence / "flows.vkey").read_bytes())
    command = [sys.executable, "-I", str(verifier), str(key), str(proof)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("valid: record ")
    assert f'"ref":"{refusal.ref}"' in done.stdout
    assert '"reason":"not-whitelisted"' in done.stdout


def test_the_running_nodes_whole_log_is_valid(node: Node) -> None:
    done = node.stage.feiyu("evidence", "verify")
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    key = node.stage.directory / "state" / "evidence" / "flows.key"
    assert key.stat().st_mode & 0o777 == 0o600


def test_nothing_is_missing_from_the_running_nodes_log(node: Node) -> None:
    done = node.stage.feiyu("evidence", "verify", "--omissions", "-o", "json")
    assert json.loads(done.stdout)["omissions"] == []
    assert done.returncode == 0

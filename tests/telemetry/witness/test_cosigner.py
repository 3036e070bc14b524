"""A recorder, its cosigner and witnesses, all as processes: what they sign is in the published checkpoint, what they do
not sign holds nobody up, and a log that was forked or rolled back is told by whoever knows a witness."""

import json
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from ops import directories, processes
from ops.cli.main import run
from ops.settings import parse_settings
from telemetry.evidence import note
from telemetry.evidence.error import EvidenceError
from telemetry.evidence.integrate import open_log
from telemetry.evidence.reader import Reader
from telemetry.witness.policy import Policy, best_witnessed, open_witnessed
from tests.telemetry.spool_kit import NODE, Node, put, until
from tests.telemetry.witness.kit import Running, witness

Output = pytest.CaptureFixture[str]


@contextmanager
def process(module: str, *arguments: object) -> Iterator[subprocess.Popen[str]]:
    """One of this project's own processes, until the block ends."""
    command = [sys.executable, "-m", module, *map(str, arguments)]
    running = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    try:
        yield running
    finally:
        running.terminate()
        running.wait(20)


def recorder(node: Node, keys: list[note.VerifierKey]) -> list[object]:
    """Its arguments."""
    return [
        "--state-dir", node.state, "--run-dir", node.run, "--node", NODE, "--boot", "0000abcd",
        "--evidence-interval", 0.05, "--signatures", "mldsa44", "--witness", *keys,
    ]  # fmt: skip


def cosigner(node: Node, quorum: int, witnesses: list[tuple[str, note.VerifierKey]]) -> list[object]:
    """Its arguments."""
    out = node.state / "witnessed"
    out.mkdir(exist_ok=True)
    log = f"--log=flows={node.state / 'evidence/flows'}"
    return [log, "--out", out, "--quorum", quorum, *(f"--witness={url}={key}" for url, key in witnesses)]


def log_key(node: Node) -> note.VerifierKey:
    return note.parse_key((node.state / "evidence/flows.vkey").read_text().strip())


def witnessed_size(node: Node, policy: Policy) -> int:
    """Of the largest checkpoint in the published log that has the quorum; 0 without."""
    reader = Reader(node.state / "evidence/flows")
    try:
        candidates = [reader.checkpoint(), reader.witnessed() or b""]
        return best_witnessed(candidates, log_key(node), policy).head.size
    except (EvidenceError, OSError):
        return 0


@pytest.fixture
def two(tmp_path: Path) -> Iterator[tuple[Node, Running, Running]]:
    """A node, and two witnesses that know its key before its log begins."""
    node = Node(tmp_path / "node")
    open_log(node.state / "evidence", NODE)
    with (
        witness(tmp_path / "w1", log_key(node), name="w1.example") as one,
        witness(tmp_path / "w2", log_key(node), name="w2.example", options=("--mldsa44",)) as other,
    ):
        yield node, one, other


def test_cosignatures_stand_in_the_published_checkpoint(two: tuple[Node, Running, Running], capsys: Output) -> None:
    node, one, other = two
    keys = [*one.keys, *other.keys]
    policy = Policy(tuple(keys), 2)
    asked = [*((one.url, key) for key in one.keys), *((other.url, key) for key in other.keys)]
    with (
        process("telemetry.recorder", *recorder(node, keys)),
        process("telemetry.witness.cosigner", *cosigner(node, 2, asked)),
    ):
        writer = node.writer()
        for number in range(5):
            put(writer, "open", flow=f"F{number}")
            writer.flush()
            until(lambda n=number: witnessed_size(node, policy) >= n + 2, "the newest checkpoint is witnessed")
        writer.close()
        until(lambda: b'"evidence_witnessed": ' in node.ask("/health")[2], "health says so")
        until(lambda: b"feiyu_evidence_witnessed_size 6.0" in node.ask("/metrics")[2], "and so do the metrics")
        assert b"feiyu_evidence_records 6.0" in node.ask("/metrics")[2]
    reader = Reader(node.state / "evidence/flows")
    signed = reader.checkpoint() if len(note.parse(reader.checkpoint()).signatures) > 2 else reader.witnessed() or b""
    assert open_witnessed(signed, log_key(node), policy).names == ("w1.example", "w2.example")
    kinds = {(line.name, len(line.data)) for line in note.parse(signed).signatures}
    assert kinds == {
        (f"{NODE}/flows", 64), (f"{NODE}/flows", 8 + 2420),  # the log's own two
        ("w1.example", 72), ("w2.example", 72), ("w2.example", 8 + 2420),
    }  # fmt: skip
    arguments = ["--log", str(reader.directory), *(word for key in keys for word in ("--witness", str(key)))]
    assert run(["evidence", "verify", *arguments, "-o", "json"]) == 0
    facts = json.loads(capsys.readouterr().out)["witnessed"]
    assert facts["witnesses"] == ["w1.example", "w2.example"]
    assert run(["evidence", "verify", *arguments, "--quorum", "3"]) == 1
    assert "a quorum of 3 witnesses cannot be had of 2" in capsys.readouterr().err


@pytest.fixture
def short() -> Iterator[Path]:
    """A directory whose name leaves room for sockets."""
    with TemporaryDirectory(prefix="fy") as name:
        yield Path(name) / "run"


def test_the_node_s_own_plan_runs_them(two: tuple[Node, Running, Running], tmp_path: Path, short: Path) -> None:
    node, one, other = two
    asked = [{"url": running.url, "key": str(running.keys[0])} for running in (one, other)]
    written = {
        "node": NODE, "state_dir": str(node.state), "run_dir": str(short), "workers": 1,
        "listeners": [{"name": "plain", "address": "127.0.0.1:3128"}], "metrics": {"address": "127.0.0.1:19464"},
        "evidence": {"interval": 0.05, "signatures": ["mldsa44"], "witnesses": asked, "quorum": 2},
    }  # fmt: skip
    settings = parse_settings(json.dumps(written), "feiyu.yaml")
    directories.prepare(settings)
    specs = {spec.name: spec for spec in processes.plan(settings, tmp_path / "none", "0000abcd", lambda _: {})}
    assert (specs["cosigner"].role, specs["cosigner"].privileges.capabilities) == ("cosigner", frozenset())
    running = [subprocess.Popen(specs[name].argv, env=specs[name].environment) for name in ("recorder", "cosigner")]
    try:
        policy = Policy((one.keys[0], other.keys[0]), 2)
        until(lambda: witnessed_size(node, policy), "both have signed")
    finally:
        for process_ in running:
            process_.terminate()
            process_.wait(20)
    without = parse_settings(json.dumps({**written, "evidence": {}}), "feiyu.yaml")
    assert "cosigner" not in {spec.name for spec in processes.plan(without, tmp_path, "0000abcd", lambda _: {})}


def test_a_witness_that_hangs_or_is_gone_holds_nobody_up(two: tuple[Node, Running, Running]) -> None:
    node, one, other = two
    with ExitStack() as stack:
        silent = stack.enter_context(socket.create_server(("127.0.0.1", 0)))  # it never accepts, reads or answers
        hanging = note.VerifierKey("w3.example", note.COSIGNATURE, bytes(32))
        gone = note.VerifierKey("w4.example", note.COSIGNATURE, b"4" * 32)
        asked = [(one.url, one.keys[0]), (other.url, other.keys[0])]
        asked += [(f"http://127.0.0.1:{silent.getsockname()[1]}", hanging), ("http://127.0.0.1:9", gone)]
        keys = [key for _, key in asked]
        stack.enter_context(process("telemetry.recorder", *recorder(node, keys)))
        stack.enter_context(process("telemetry.witness.cosigner", *cosigner(node, 2, asked)))
        writer = node.writer()
        for number in range(5):
            put(writer, "open", flow=f"F{number}")
            writer.flush()
            until(lambda n=number: witnessed_size(node, Policy(tuple(keys), 2)) >= n + 2, "two of four suffice")
        writer.close()
        assert witnessed_size(node, Policy(tuple(keys), 3)) == 0


def test_a_forked_and_a_rolled_back_log_are_caught(
    two: tuple[Node, Running, Running], tmp_path: Path, capsys: Output
) -> None:
    node, one, _ = two
    keys, asked = [one.keys[0]], [(one.url, one.keys[0])]
    policy = Policy(tuple(keys), 1)
    with (
        process("telemetry.recorder", *recorder(node, keys)),
        process("telemetry.witness.cosigner", *cosigner(node, 1, asked)),
    ):
        writer = node.writer()
        for number in range(50):
            put(writer, "open", flow=f"F{number}", tenant="acme")
        writer.close()
        until(lambda: witnessed_size(node, policy) >= 51, "witnessed")
    shown = tmp_path / "shown"  # what somebody else has been given of this log
    shutil.copytree(node.state / "evidence", shown)
    entries = list(node.lines())
    evidence = node.state / "evidence"
    for count, words in ((len(entries) + 5, "consistency proof"), (20, "it was rolled back")):
        shutil.rmtree(evidence / "flows")
        (evidence / "flows.committed").unlink()
        forged = [entries[0], entries[1].replace(b"acme", b"evil"), *entries[2:], *entries[:10]][:count]
        open_log(evidence, NODE).append(forged)
        shutil.rmtree(node.state / "witnessed")
        with process("telemetry.witness.cosigner", *cosigner(node, 1, asked)) as asking:
            assert asking.stderr
            told = next(line for line in asking.stderr if "w1.example" in line)
            assert words in told
        assert witnessed_size(node, policy) == 0, "the witness signs none of it"
        log = ["--log", str(evidence / "flows"), "--key", str(log_key(node))]
        assert run(["evidence", "verify", *log]) == 0, "in itself the forged log is as good as any"
        assert run(["evidence", "verify", *log, "--witness", str(keys[0])]) == 1
        assert "cosigned by 0 of the witnesses (none), and 1 are needed" in capsys.readouterr().err
    log = ["--log", str(shown / "flows"), "--key", str(log_key(node))]
    assert run(["evidence", "verify", *log, "--witness", str(keys[0])]) == 0, "the other copy has what the witness saw"


def test_a_proof_carries_its_witnesses(two: tuple[Node, Running, Running], tmp_path: Path, capsys: Output) -> None:
    node, one, _ = two
    with (
        process("telemetry.recorder", *recorder(node, [one.keys[0]])),
        process("telemetry.witness.cosigner", *cosigner(node, 1, [(one.url, one.keys[0])])),
    ):
        until(lambda: witnessed_size(node, Policy((one.keys[0],), 1)), "witnessed")
    where = ["--log", str(node.state / "evidence/flows"), "--key", str(log_key(node))]
    made = tmp_path / "first.tlog-proof"
    assert run(["evidence", "prove", "0", *where, "--out", str(made)]) == 0
    shutil.rmtree(node.state)
    check = ["evidence", "verify", str(made), *where[2:], "--witness", str(one.keys[0])]
    capsys.readouterr()
    assert run([*check, "-o", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["witnessed"]["witnesses"] == ["w1.example"]
    stranger = note.VerifierKey("w9.example", note.COSIGNATURE, b"9" * 32)
    assert run([*check, "--witness", str(stranger)]) == 1, "all that are named must have signed"
    assert "cosigned by 1 of the witnesses (w1.example), and 2 are needed" in capsys.readouterr().err
    assert run([*check, "--witness", str(stranger), "--quorum", "1"]) == 0

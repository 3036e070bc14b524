"""A log over logs: every checkpoint that a node showed stays provable, and that it continued the one before."""

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from ops.cli.main import run
from telemetry.evidence import checkpoint, note
from telemetry.evidence.error import EvidenceError
from telemetry.evidence.log import EvidenceLog
from telemetry.evidence.reader import Reader
from telemetry.evidence.verify import verify_log
from telemetry.witness.memory import Memory
from telemetry.witness.parent import Parent, entry_of, follow
from telemetry.witness.protocol import Request, render
from tests.telemetry.evidence.disk import Disk, Killed
from tests.telemetry.witness.kit import ENTRIES, KEY, ORIGIN, log_in, request, witness

Output = pytest.CaptureFixture[str]
ZONE = Ed25519PrivateKey.from_private_bytes(b"z" * 32)
ZONE_KEY = note.VerifierKey("zone.example/parent", note.ED25519, ZONE.public_key().public_bytes_raw())
OTHER = note.VerifierKey("gw2.zone.example/flows", note.ED25519, bytes(32))


def parent_log(directory: Path) -> EvidenceLog:
    directory.mkdir(exist_ok=True)
    return EvidenceLog(directory, "parent", ZONE_KEY.name, ZONE, Disk())


def test_what_a_witness_cosigns_is_an_entry_of_its_parent_log(tmp_path: Path, capsys: Output) -> None:
    log = log_in(tmp_path / "log", 5)
    with witness(tmp_path / "w", KEY, options=("--parent", "zone.example")) as running:
        for old, size in ((0, 5), (5, 300), (300, 301)):
            log.append(ENTRIES[log.size : size])
            assert running.post(render(request(log, old)))[0] == 200
        assert running.post(render(request(log, 301)))[0] == 200, "asked again: signed again"
        assert running.post(render(Request(301, (bytes(32),), log.signed)))[0] == 422
    files = tmp_path / "w"
    key = note.parse_key((files / "parent.vkey").read_text().strip())
    reader = Reader(files / "parent")
    head = verify_log(reader, key).head
    assert (head.origin, head.size) == ("zone.example/parent", 3), "one entry for each that was new"
    assert follow(reader, 3, [KEY])[ORIGIN] == (checkpoint.open_signed(log.signed, KEY), log.signed)
    where = ["--log", str(files / "parent"), "--key", str(key)]
    assert run(["evidence", "verify", *where, "--node", str(KEY)]) == 0
    assert f"{ORIGIN}" in (said := capsys.readouterr().out)
    assert "followed to size 301" in said
    assert run(["evidence", "verify", *where, "--node", str(OTHER)]) == 1
    assert f"entry 0: no key is given for the log '{ORIGIN}'" in capsys.readouterr().err
    under = ["--key", str(KEY), "--parent", str(files / "parent"), "--parent-key", str(key)]
    log.append(ENTRIES[301:400])
    assert run(["evidence", "verify", "--log", str(log.reader.directory), *under]) == 0
    forged = log_in(tmp_path / "forged", 400, [*ENTRIES[:299], b"other", *ENTRIES[300:]])
    assert run(["evidence", "verify", "--log", str(forged.reader.directory), *under]) == 1
    assert "size 301 that was seen before is of another log: it was forked" in capsys.readouterr().err


def test_an_entry_holds_no_signatures_of_others(tmp_path: Path) -> None:
    log = log_in(tmp_path / "log", 5)
    found = note.parse(log.signed)
    line = note.Signature("w1.example", b"abcd", bytes(72))
    cosigned = note.render(note.Note(found.text, (*found.signatures, line)))
    assert entry_of(request(log, 0, cosigned), [KEY]) == render(request(log, 0))


def test_an_entry_that_a_kill_kept_from_memory_is_remembered_at_the_next_start(tmp_path: Path) -> None:
    log = log_in(tmp_path / "log", 5)
    memory = Memory(tmp_path / "memory", Disk())
    parent = Parent(parent_log(tmp_path / "parent"), [KEY])

    def killed(asked: Request) -> None:
        parent.take(asked)
        raise Killed

    with pytest.raises(Killed):
        memory.take(request(log, 0), checkpoint.open_signed(log.signed, KEY), (KEY,), killed)
    assert memory.latest(ORIGIN, (KEY,)) is None
    again = Parent(parent_log(tmp_path / "parent"), [KEY])
    again.catch_up(memory)
    assert memory.latest(ORIGIN, (KEY,)) == checkpoint.open_signed(log.signed, KEY)
    log.append(ENTRIES[5:9])
    memory.take(request(log, 5), checkpoint.open_signed(log.signed, KEY), (KEY,), again.take)
    assert follow(again.log.reader, 2, [KEY])[ORIGIN][0].size == 9, "so each entry begins where the last ended"


BROKEN = {
    "a checkpoint twice": ((0, 5), (0, 5), "goes on from size 0, but its last checkpoint is of size 5"),
    "one left out": ((0, 5), (7, 9), "goes on from size 7, but its last checkpoint is of size 5"),
}


@pytest.mark.parametrize(("first", "second", "why"), BROKEN.values(), ids=BROKEN)
def test_a_chain_with_a_gap_is_told(tmp_path: Path, first: tuple[int, int], second: tuple[int, int], why: str) -> None:
    parent = Parent(parent_log(tmp_path / "parent"), [KEY])
    for number, (old, size) in enumerate((first, second)):
        parent.take(request(log_in(tmp_path / f"log{number}", size), old))
    with pytest.raises(EvidenceError, match=f"entry 1: .*{why}"):
        follow(parent.log.reader, 2, [KEY])


def test_entries_of_unknown_logs_are_passed_over_only_where_that_is_said(tmp_path: Path) -> None:
    parent = Parent(parent_log(tmp_path / "parent"), [KEY])
    parent.take(request(log_in(tmp_path / "log", 5), 0))
    assert follow(parent.log.reader, 1, [OTHER], others=True) == {}
    with pytest.raises(EvidenceError, match="entry 0: no key is given"):
        follow(parent.log.reader, 1, [OTHER])

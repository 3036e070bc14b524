"""What is old is deleted, after a record has said so; what the law or a hold keeps is not; and every proof holds on."""

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ops.cli.main import run as feiyu
from telemetry.evidence import checkpoint, note, proof
from telemetry.evidence.error import EvidenceError
from telemetry.evidence.integrate import Integrator, open_log
from telemetry.evidence.prune import Pruner, said_in
from telemetry.evidence.reader import Reader
from telemetry.evidence.source import Source
from telemetry.evidence.standalone import NotValid, check_log
from telemetry.evidence.standalone import parse_key as parse_key_alone
from telemetry.evidence.tile import TileTree, bundles
from telemetry.evidence.verify import verify_kept, verify_log, verify_records
from telemetry.record import Record, decode, encode
from telemetry.retention import DAY, HOLDS, Hold, Segment, due, write_holds
from telemetry.segments import list_segments, segment_name
from tests.telemetry.spool_kit import BOOT, NODE, Node, put, stop, until

NOW = time.time_ns() // 1000
OLD = NOW - 2000 * DAY
Output = pytest.CaptureFixture[str]


def hold(since: int, until: int) -> Hold:
    return Hold(id="h1", since=since, until=until, by="root", reason="case 7")


SEGMENTS = [Segment(0, 100 * DAY), Segment(300, 200 * DAY), Segment(700, 400 * DAY), Segment(900, 500 * DAY)]
DUE: dict[str, tuple[int, int, list[Hold], int]] = {
    "nothing is old": (250, 184, [], 0),
    "the first file is old": (300, 184, [], 300),
    "two are old": (385, 184, [], 700),
    "the newest stays, however old": (9_999, 184, [], 900),
    "less than the floor is the floor": (250, 1, [], 0),
    "a hold keeps what came after its beginning": (9_999, 184, [hold(150 * DAY, 10_000 * DAY)], 300),
    "a hold that ended keeps nothing": (9_999, 184, [hold(150 * DAY, 9_000 * DAY)], 900),
    "a hold on everything": (9_999, 184, [hold(0, 10_000 * DAY)], 0),
}


@pytest.mark.parametrize(("now", "days", "holds", "minimum"), DUE.values(), ids=DUE)
def test_what_is_due(now: int, days: int, holds: list[Hold], minimum: int) -> None:
    assert due(SEGMENTS, now * DAY, days, holds) == minimum


def test_a_file_whose_end_cannot_be_read_stops_it() -> None:
    assert due([Segment(0, 1), Segment(5, None), Segment(9, 1), Segment(10, 1)], NOW, 184, []) == 5
    assert due([], NOW, 184, []) == 0


WORDS = '","worker":"recorder","values":{"pruned":512}'
SAID: dict[str, tuple[str, dict[str, Any], int]] = {
    "the recorder's own": ("recorder", {"kind": "action", "values": {"pruned": 512}}, 512),
    "a client's words": ("w0.1", {"kind": "deny", "user_agent": WORDS}, 0),
    "another's": ("w0.1", {"kind": "action", "values": {"pruned": 512}}, 0),
}


@pytest.mark.parametrize(("worker", "fields", "minimum"), SAID.values(), ids=SAID)
def test_who_says_that_records_were_deleted(worker: str, fields: dict[str, Any], minimum: int) -> None:
    assert said_in(encode(Record(node=NODE, boot=BOOT, worker=worker, seq=1, time=1, **fields))) == minimum


_RUN = """
import sys; from pathlib import Path; import telemetry.recorder as r, telemetry.expiry as e
r.CHECKPOINT, r.LOOK, e.EVERY, r.STATEMENTS = 0.02, 0.03, 0.05, int(sys.argv[4])
sys.exit(r.run(state_dir=Path(sys.argv[1]), run_dir=Path(sys.argv[2]), node="gw1.zone.example", boot=sys.argv[3],
               segment_bytes=20000, evidence_interval=0.02))
"""


def start(node: Node, statements: int = 500) -> subprocess.Popen[bytes]:
    argv = [sys.executable, "-c", _RUN, node.state, node.run, BOOT, str(statements)]
    return subprocess.Popen(argv, stderr=subprocess.PIPE)


def fill(node: Node, name: str, count: int, when: int) -> None:
    writer = node.writer(name)
    for number in range(count):
        put(writer, "open", flow=f"{name}-{number}", tenant="acme", time=when)
        put(writer, "close", flow=f"{name}-{number}", tenant="acme", time=when, cause="idle")
        if number % 50 == 0:
            writer.flush()
    writer.close()


def key_of(node: Node) -> note.VerifierKey:
    return note.parse_key((node.state / "evidence/flows.vkey").read_text().strip())


@pytest.fixture
def node(tmp_path: Path) -> Node:
    """A node with 2,000 old records and 1,000 new ones, as it is before anything is deleted."""
    found = Node(tmp_path / "node")
    fill(found, "w0.1", 1000, OLD)
    found_recorder = found.start()
    until(lambda: len(found.records("w0.1")) == 2000, "the old ones are taken")
    stop(found_recorder)
    fill(found, "w1.1", 500, NOW)
    return found


def pruned(node: Node) -> int:
    return Pruner(node.state / "evidence", "flows").done


def test_old_records_are_deleted_and_all_proofs_hold(node: Node, tmp_path: Path, capsys: Output) -> None:
    reader, key = Reader(node.state / "evidence/flows"), key_of(node)
    kept = reader.checkpoint()
    head = checkpoint.open_signed(kept, key)
    tree = TileTree(head.size, reader.tile)
    first = reader.entries(next(bundles(head.size)))[7]
    made = proof.make(7, tree, kept, first)
    recorder = start(node)
    until(lambda: pruned(node) > 1500, "the old ones are deleted")
    until(lambda: list_segments(node.log)[0] >= pruned(node), "and so are the files of the log")
    assert stop(recorder) == 0
    found = verify_log(reader, key, [kept])
    assert found.pruned == pruned(node)
    assert found.entries + found.pruned == found.head.size
    assert verify_records(reader, found.head, node.log) == found.head.size - list_segments(node.log)[0]
    (said,) = [record for record in node_records(node) if (record.values or {}).get("pruned")]
    assert said.detail == f"records 0 to {said.values['pruned'] - 1} are deleted: kept 1096 days, and nobody holds them"  # type: ignore[index]
    assert proof.verify(made, first, key).size == head.size, "a proof of before holds"
    now = proof.make(7, TileTree(found.head.size, reader.tile), reader.checkpoint(), first)
    assert proof.verify(now, first, key) == found.head, "and whoever kept a record can still be given a new one"
    assert verify_kept(reader, found.head, kept, key) == head
    assert check_log(str(reader.directory), parse_key_alone(str(key)), []) == (found.head.size, found.pruned)
    where = ["--log", str(reader.directory), "--key", str(key)]
    assert feiyu(["evidence", "verify", *where, "-o", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["pruned"] == found.pruned
    assert feiyu(["evidence", "prove", "7", *where]) == 1
    assert "the first entries of the log were deleted, or are missing" in capsys.readouterr().err
    assert feiyu(["evidence", "export", "--tenant", "acme", *where, "--out", str(tmp_path / "out")]) == 0
    before = len(node_records(node))
    recorder = start(node)
    until(lambda: len(node_records(node)) > before, "it starts again")
    assert stop(recorder) == 0
    assert verify_log(reader, key, [kept]).pruned == found.pruned, "nothing is said or deleted twice"


def node_records(node: Node) -> list[Record]:
    """The recorder's own, of what is left of the log."""
    lines = b"".join((node.log / segment_name(first)).read_bytes() for first in list_segments(node.log)).splitlines()
    return [record for record in map(decode, lines) if record.worker == "recorder"]


def test_a_hold_keeps_them_and_a_broken_file_of_holds_does_too(node: Node) -> None:
    for content in (write_holds([hold(OLD - DAY, NOW + DAY)]), b"{"):
        (node.state / HOLDS).write_bytes(content)
        before = len(node_records(node))
        recorder = start(node)
        until(lambda n=before: len(node_records(node)) > n, "it runs")
        time.sleep(0.3)  # several looks
        assert stop(recorder) == 0
        assert pruned(node) == 0
    (node.state / HOLDS).write_bytes(write_holds([hold(OLD - DAY, NOW - DAY)]))
    recorder = start(node)
    until(lambda: pruned(node) > 1500, "the hold has ended")
    assert stop(recorder) == 0


def test_a_clock_that_leapt_deletes_nothing(tmp_path: Path) -> None:
    node = Node(tmp_path / "node")
    fill(node, "w0.1", 1000, OLD)  # and nothing newer: as if the clock had leapt by years since
    recorder = start(node, 0)  # a statement of today would keep the file it stands in
    until(lambda: len(node.records("w0.1")) == 2000, "taken")
    until(lambda: verify_log(Reader(node.state / "evidence/flows"), key_of(node)).entries > 2000, "published")
    assert recorder.stderr
    told = next(line for line in recorder.stderr if b"nothing is deleted" in line)
    assert b"is the clock right?" in told
    stop(recorder)
    assert pruned(node) == 0


def big(tmp_path: Path) -> tuple[Path, note.VerifierKey]:
    """A log of 1,000 entries, which says that 512 of them were deleted."""
    log = open_log(tmp_path, NODE)
    own = Record(node=NODE, boot=BOOT, worker="recorder", seq=1, kind="action", time=1, values={"pruned": 600})
    log.append([b'{"seq":%d}' % number for number in range(999)] + [encode(own)])
    (tmp_path / "log").mkdir()
    return tmp_path / "flows", log.key


GAPS: dict[str, tuple[Callable[[Path], object], str]] = {
    "one that was said to be deleted": (lambda d: (d / "tile/entries/000").unlink(), ""),
    "two": (lambda d: [(d / f"tile/entries/00{n}").unlink() for n in (0, 1)], ""),
    "one more than a record says": (
        lambda d: [(d / f"tile/entries/00{n}").unlink() for n in (0, 1, 2)],
        "tile/entries/002 is missing",
    ),
    "one in between": (lambda d: (d / "tile/entries/001").unlink(), "tile/entries/001"),
    "its tile is gone too": (
        lambda d: [(d / f"tile/{level}/000").unlink() for level in ("entries", "0")], "tile/0/000",
    ),
    "its tile was changed too": (
        lambda d: [(d / "tile/entries/000").unlink(), (d / "tile/0/000").write_bytes(bytes(8192))],
        "tile/0/000|of other records than these",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("damage", "why"), GAPS.values(), ids=GAPS)
def test_a_gap_is_believed_as_far_as_a_record_says_so(tmp_path: Path, damage, why: str) -> None:  # type: ignore[no-untyped-def]
    directory, key = big(tmp_path)
    damage(directory)
    alone = parse_key_alone(str(key))
    if not why:
        gone = verify_log(Reader(directory), key).pruned
        assert gone in (256, 512)
        assert check_log(str(directory), alone, []) == (1000, gone)
        return
    with pytest.raises(EvidenceError, match=why):
        verify_log(Reader(directory), key)
    with pytest.raises(NotValid, match=why):
        check_log(str(directory), alone, [])


def test_deleting_goes_on_after_a_kill_and_is_never_ahead_of_the_state(tmp_path: Path) -> None:
    directory, key = big(tmp_path)
    integrator = Integrator(open_log(tmp_path, NODE), Source(tmp_path / "log", 0), 1.0)
    integrator.minimum = 600
    pruner = integrator.pruner
    pruner.raise_to(600)
    assert pruner.work(1) == 1
    again = Pruner(tmp_path, "flows")
    assert (again.minimum, again.done) == (512, 256)
    assert again.work(10) == 1
    assert again.work(10) == 0
    integrator.pruner = again
    for _ in range(3):
        integrator.scrub()
    assert integrator.damage == "", "what was deleted is no damage"
    tile = directory / "tile/0/000"
    good = tile.read_bytes()
    tile.write_bytes(bytes(32) + good[32:])
    integrator.scrub()  # the third round has ended: the first tile again
    assert "leads to another root" in integrator.damage, "but a tile that should stand is"
    tile.write_bytes(good)
    integrator.scrub()
    assert integrator.damage == ""
    assert verify_log(Reader(directory), key).pruned == 512
    (tmp_path / "flows.minimum").write_bytes(b"all\n")
    with pytest.raises(EvidenceError, match="does not hold two numbers"):
        Pruner(tmp_path, "flows")

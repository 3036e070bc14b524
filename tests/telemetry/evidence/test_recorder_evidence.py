"""The recorder keeps its evidence: everything in the log, in order, under checkpoints that never contradict each other;
and without evidence nothing new is let in."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from telemetry.evidence import checkpoint, note
from telemetry.evidence.checkpoint import Checkpoint
from telemetry.evidence.error import EvidenceError
from telemetry.evidence.integrate import Integrator, open_log
from telemetry.evidence.reader import Reader
from telemetry.evidence.restore import restore
from telemetry.evidence.source import Source
from telemetry.evidence.tile import bundles
from telemetry.evidence.verify import verify_log, verify_records
from telemetry.segments import list_segments, segment_name
from tests.telemetry.evidence.disk import Disk
from tests.telemetry.spool_kit import NODE, Node, line, put, stop, until


@pytest.fixture
def node(tmp_path: Path) -> Node:
    return Node(tmp_path)


def evidence(node: Node, kept: tuple[bytes, ...] = ()) -> tuple[Checkpoint, list[bytes]]:
    """The published log, verified offline, and its entries."""
    directory = node.state / "evidence"
    key = note.parse_key((directory / "flows.vkey").read_text().strip())
    reader = Reader(directory / "flows")
    head = verify_log(reader, key, kept).head
    return head, [entry for bundle in bundles(head.size) for entry in reader.entries(bundle)]


def published(node: Node) -> int:
    """The size that the checkpoint says just now; 0 before the first."""
    try:
        return int((node.state / "evidence/flows/checkpoint").read_bytes().split(b"\n")[1])
    except FileNotFoundError:
        return 0


def fill(node: Node, name: str, flows: int) -> list[bytes]:
    writer = node.writer(name)
    lines = []
    for number in range(flows):
        lines.append(put(writer, "open", flow=f"{name}-{number}", tenant="acme"))
        lines.append(put(writer, "close", flow=f"{name}-{number}", tenant="acme", cause="idle"))
    writer.close()
    return lines


def run_to_the_end(node: Node, boot: str = "0000abcd") -> None:
    before = node.status()
    recorder = node.start(boot)
    until(lambda: node.status() != before, "it runs")
    assert stop(recorder) == 0


def test_the_evidence_is_the_log_record_for_record(node: Node) -> None:
    wanted = fill(node, "w0.1", 400)
    run_to_the_end(node)
    assert len(list_segments(node.log)) > 1, "over several files of the log"
    head, entries = evidence(node)
    assert entries == node.lines()
    assert [entry for entry in entries if b'"w0.1"' in entry] == wanted
    assert head.origin == f"{NODE}/flows"
    assert (node.state / "evidence/flows.key").stat().st_mode & 0o777 == 0o600
    fill(node, "w1.1", 3)
    run_to_the_end(node)
    assert evidence(node)[1] == node.lines()


def test_records_are_under_a_published_checkpoint_while_the_recorder_runs(node: Node) -> None:
    writer = node.writer()
    recorder = node.start()
    try:
        for number in range(5):
            put(writer, "open", flow=f"F{number}")
            writer.flush()
            until(lambda n=number: published(node) >= n + 2, "published")
            assert evidence(node)[1] == node.lines()[: published(node)]
    finally:
        assert stop(recorder) == 0


def test_a_log_from_before_there_was_evidence_is_taken_in(node: Node) -> None:
    fill(node, "w0.1", 300)
    node.pass_once()  # which keeps none
    assert published(node) == 0
    run_to_the_end(node)
    assert evidence(node)[1] == node.lines()


WRITER = """
import sys, time
from pathlib import Path
from tests.telemetry.spool_kit import Node, put
writer = Node(Path(sys.argv[1])).writer(rotate_bytes=65536)
for i in range(100000):
    put(writer, "open", flow=f"{i}", tenant="acme")
    put(writer, "close", flow=f"{i}", tenant="acme", cause="idle")
    writer.flush()
    time.sleep(0.0005)
"""


def test_kill_9_at_random_moments_never_leaves_a_false_checkpoint(node: Node) -> None:
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    writer = subprocess.Popen([sys.executable, "-c", WRITER, node.root])
    kept: list[bytes] = []
    try:
        for _ in range(8):
            recorder = node.start()
            before = published(node)
            until(lambda b=before: published(node) > b, "it publishes")
            time.sleep(chance.uniform(0, 0.1))
            stop(recorder, signal.SIGKILL)
            head, entries = evidence(node, tuple(kept))
            assert entries == node.lines()[: head.size], "what is published is durable in the log"
            kept.append((node.state / "evidence/flows/checkpoint").read_bytes())
    finally:
        stop(writer, signal.SIGKILL)
    run_to_the_end(node)
    assert evidence(node, tuple(kept))[1] == node.lines()
    assert not any((record.values or {}).get("restored") for record in node.records("recorder"))


def refused(node: Node, process: subprocess.Popen[bytes]) -> tuple[str, str]:
    """Why the recorder ended, as it says on stderr and to the workers."""
    _, told = process.communicate(timeout=20)
    assert process.returncode == 1
    writer = node.writer("w9.9")
    why = writer.healthy(0.0)
    writer.close()
    return told.decode(), why


def test_a_failure_of_the_running_evidence_ends_the_recorder_and_refuses_new_flows(node: Node) -> None:
    writer = node.writer()
    recorder = node.start()
    until(lambda: published(node), "it publishes")
    committed = node.state / "evidence/flows.committed"
    committed.write_bytes(committed.read_bytes() + b"x")
    put(writer, "open", flow="F")
    writer.flush()
    told, why = refused(node, recorder)
    assert "new flows are refused until the log can be written again" in told
    assert why.startswith("recorder: evidence: ")
    assert "flows.committed was changed by another" in why


def test_a_start_with_broken_evidence_is_refused_and_the_spool_keeps_everything(node: Node) -> None:
    run_to_the_end(node)
    wanted = fill(node, "w0.1", 20)
    tile = next((node.state / "evidence/flows/tile/0/000.p").iterdir())
    good = tile.read_bytes()
    tile.write_bytes(good[:-1] + bytes([good[-1] ^ 1]))
    told, why = refused(node, node.start())
    assert "do not have the checkpoint's root" in told
    assert "do not have the checkpoint's root" in why
    tile.write_bytes(good)
    run_to_the_end(node)
    assert [entry for entry in evidence(node)[1] if b'"w0.1"' in entry] == wanted


@pytest.mark.root
@pytest.mark.parametrize(
    ("name", "size"), [("evidence", "100k"), ("evidence", "180k"), ("log", "60k"), ("log", "180k")]
)
def test_a_full_disk_writes_short_stops_new_flows_and_loses_nothing(node: Node, name: str, size: str) -> None:
    directory = node.state / name
    directory.mkdir(exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", directory], check=True)
    try:
        fill(node, "w0.1", 1000)
        told, why = refused(node, node.start())
        assert "No space left on device" in told
        assert "No space left on device" in why
        whole = b"".join(path.read_bytes() for path in sorted(node.log.glob("*.jsonl"))).splitlines()
        assert published(node) == 0 or evidence(node)[1] == whole[: published(node)]
        subprocess.run(["mount", "-o", "remount,size=8m", directory], check=True)
        run_to_the_end(node)
        assert evidence(node)[1] == node.lines()
        assert sum(b'"w0.1"' in line for line in node.lines()) == 2000
    finally:
        subprocess.run(["umount", "-l", directory], check=True)


def last_segment(node: Node) -> Path:
    return node.log / segment_name(list_segments(node.log)[-1])


def cut_a_line(node: Node) -> None:
    os.truncate(last_segment(node), last_segment(node).stat().st_size - 10)


def change_a_line(node: Node) -> None:
    last_segment(node).write_bytes(last_segment(node).read_bytes().replace(b'"acme"', b'"evil"', 1))


def empty(node: Node) -> None:
    os.truncate(last_segment(node), 0)


LOST = {
    "its last line was cut": (cut_a_line, 1),
    "a line near its end was altered": (change_a_line, 1),
    "its last file was emptied": (empty, None),
    "its last file was removed": (lambda node: last_segment(node).unlink(), None),
}


@pytest.mark.parametrize(("damage", "count"), LOST.values(), ids=LOST)
def test_what_the_log_lost_comes_back_from_the_evidence(node: Node, damage, count: int | None) -> None:  # type: ignore[no-untyped-def]
    fill(node, "w0.1", 150)
    run_to_the_end(node)
    fill(node, "w0.2", 20)  # into a file of its own
    run_to_the_end(node)
    assert list_segments(node.log)[-1] == 301
    before = node.lines()
    damage(node)
    fill(node, "w1.1", 2)
    run_to_the_end(node)
    assert node.lines()[: len(before)] == before
    assert evidence(node)[1] == node.lines()
    said = [record for record in node.records("recorder") if (record.values or {}).get("restored")]
    assert [record.detail for record in said] == [
        "records at the end of the log were missing or altered; put back as the evidence has them"
    ]
    if count is not None:
        assert said[0].values == {"restored": count}


def test_records_behind_the_evidence_stay_when_an_altered_one_is_put_back(node: Node, tmp_path: Path) -> None:
    fill(node, "w0.1", 20)
    run_to_the_end(node)
    fill(node, "w1.1", 3)
    node.pass_once()  # in the log, and not yet in the evidence
    wanted = node.lines()
    change_a_line(node)
    assert restore(node.log, open_log(node.state / "evidence", NODE)) == 1
    assert node.lines() == wanted
    assert restore(node.log, open_log(node.state / "evidence", NODE)) == 0


def test_a_close_made_from_the_longest_open_still_fits_the_evidence(node: Node) -> None:
    writer = node.writer()
    room = 65_535 - len(line("w0.1", 1, "open", flow="F", tenant="acme", host="x"))
    put(writer, "open", flow="F", tenant="acme", host="x" * (1 + room))
    writer.close()
    run_to_the_end(node)
    assert evidence(node)[1] == node.lines()
    (close,) = [record for record in node.records("recorder") if record.kind == "close"]
    assert (close.flow, close.tenant, close.cause, len(close.host)) == ("F", "acme", "worker-died", 200)


def test_the_thread_tells_what_ended_it(tmp_path: Path) -> None:
    class Full(Disk):
        def fsync(self, fd: int) -> None:
            raise OSError(28, "No space left on device")

    log = open_log(tmp_path, NODE)
    (tmp_path / segment_name(0)).write_bytes(b"a\nb\nc")
    log._files._calls = Full()
    integrator = Integrator(log, Source(tmp_path, 0), 0.01, covered=5.0)
    integrator.start(lambda: (9.0, (0, 4)))
    until(lambda: integrator.failed, "it fails")
    integrator.stop()
    with pytest.raises(OSError, match="No space left"):
        integrator.check()
    assert integrator.covered == 5.0, "nothing more is called safe"
    assert log.size == 0


def test_damage_to_old_evidence_is_found_and_told_while_new_records_are_proved(node: Node) -> None:
    fill(node, "w0.1", 300)
    run_to_the_end(node)
    damaged = node.state / "evidence/flows/tile/entries/001"
    data = damaged.read_bytes()
    damaged.write_bytes(data.replace(b'"acme"', b'"evil"', 1))
    recorder = node.start()
    try:
        until(lambda: b"does not have the hash" in node.lines()[-1], "the damage is a record")
        assert b'"evidence_damage": "entry ' in node.ask("/health")[2]
        until(lambda: published(node) == len(node.lines()), "that record is proved too")
        damaged.write_bytes(data)
        until(lambda: b"the damaged evidence is mended" in node.lines()[-1], "the mending is a record")
    finally:
        assert stop(recorder) == 0
    said = [record for record in node.records("recorder") if (record.values or {}).get("damaged")]
    assert len(said) == 1
    assert "does not have the hash that tile/0/001 holds for it" in said[0].detail
    assert evidence(node)[1] == node.lines()


def test_evidence_that_lags_is_the_recorders_lag(node: Node, tmp_path: Path) -> None:
    log = open_log(tmp_path / "evidence", NODE)
    recorder = node.recorder()
    recorder.durable = 100.0
    recorder.say()
    assert node.status().durable == 100.0  # type: ignore[union-attr]
    recorder.evidence = Integrator(log, Source(node.log, 0), 1.0, covered=69.0)
    recorder.say()
    assert node.status().durable == 69.0  # type: ignore[union-attr]
    writer = node.writer()
    assert writer._look(99.5) == "recorder: 30 s behind"
    recorder.evidence.catch_up(lambda: (99.0, (0, 0)))
    recorder.say()
    assert writer._look(99.5) == ""
    writer.close()


def test_the_log_that_is_searched_is_compared_with_the_evidence(node: Node) -> None:
    fill(node, "w0.1", 300)
    run_to_the_end(node)
    head, entries = evidence(node)
    reader = Reader(node.state / "evidence/flows")
    assert verify_records(reader, head, node.log) == len(entries)
    first = node.log / segment_name(0)
    good = first.read_bytes()
    first.write_bytes(good.replace(b'"acme"', b'"evil"', 1))
    place = next(place for place, line in enumerate(node.lines()) if b'"evil"' in line)
    with pytest.raises(EvidenceError, match=f"record {place} in .* is not as it was logged"):
        verify_records(reader, head, node.log)
    first.write_bytes(good)
    change = last_segment(node)
    if change.stat().st_size == 0:
        change.unlink()
    os.truncate(last_segment(node), last_segment(node).stat().st_size - 10)
    with pytest.raises(EvidenceError, match=f"ends before record {len(entries) - 1}, which is in the evidence"):
        verify_records(reader, head, node.log)
    assert verify_records(reader, head, node.spool) == 0, "no log at all: nothing to compare"


def test_a_source_reads_whole_lines_up_to_what_is_durable(tmp_path: Path) -> None:
    (tmp_path / segment_name(0)).write_bytes(b"a\nbb\nccc\ndddd")
    source = Source(tmp_path, 0)
    assert source.read((0, 0), 9) == []
    assert source.read((0, 4), 9) == [b"a"]
    assert source.read((0, 9), 1) == [b"bb"]
    assert source.read((0, 9), 9) == [b"ccc"]
    assert source.read((0, 9), 9) == []
    assert source.index == 3
    (tmp_path / segment_name(0)).write_bytes(b"a\nbb\nccc\n")
    (tmp_path / segment_name(3)).write_bytes(b"d\n" * 100_000)
    assert Source(tmp_path, 2).read((3, 6), 99) == [b"ccc", b"d", b"d", b"d"]
    assert len(Source(tmp_path, 5).read((3, 200_000), 1 << 20)) == 99_998
    with pytest.raises(EvidenceError, match="the log ends 1 records before the end of its evidence, record 100004"):
        Source(tmp_path, 100_004)
    (tmp_path / segment_name(3)).rename(tmp_path / segment_name(4))
    with pytest.raises(EvidenceError, match="does not follow record 2"):
        Source(tmp_path, 0).read((4, 6), 99)


def test_the_size_in_health_is_the_published_one(node: Node) -> None:
    recorder = node.start()
    try:
        until((node.run / "recorder.sock").exists, "it listens")
        until(lambda: b'"evidence_size": 1,' in node.ask("/health")[2], "it publishes")
        assert published(node) == 1
    finally:
        assert stop(recorder) == 0
    head, _ = evidence(node)
    signed = (node.state / "evidence/flows.committed").read_bytes()
    key = note.parse_key((node.state / "evidence/flows.vkey").read_text().strip())
    assert checkpoint.open_signed(signed, key) == head

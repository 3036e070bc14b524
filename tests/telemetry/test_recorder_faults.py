"""Broken disks, broken spools, lost power: said in the log or in the status, never hidden."""

import errno
import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from telemetry import checkpoint
from telemetry.segments import list_segments, segment_name
from tests.telemetry.spool_kit import BOOT, Node, check_log, line, put, stop, until


@pytest.fixture
def node(tmp_path: Path) -> Node:
    return Node(tmp_path)


def write_spool(node: Node, name: str, data: bytes) -> None:
    (node.spool / f"{BOOT}-{name}-0.jsonl").write_bytes(data)


def own(node: Node) -> list[str]:
    """What the recorder said of itself, newest last."""
    return [record.detail for record in node.records("recorder") if record.kind == "action"]


GOOD = [line("w0.1", seq) for seq in range(1, 9)]
SPOILT = [
    ("a missing record", [*GOOD[:3], *GOOD[5:]], 6, {"gaps": 1, "missing": 2}, "4-5 missing"),
    ("the first records missing", GOOD[2:], 6, {"gaps": 1, "missing": 2}, "1-2 missing"),
    ("a record that comes twice", [*GOOD[:3], GOOD[2], *GOOD[3:]], 9, {"repeats": 1}, "3 after 3"),
    ("a line that is no JSON", [*GOOD[:3], b"\x00\x00", *GOOD[3:]], 8, {"unreadable": 1}, "no record, 2 bytes"),
    ("an empty line", [*GOOD[:3], b"", *GOOD[3:]], 8, {"unreadable": 1}, "no record, 0 bytes"),
    ("another worker's record", [*GOOD[:3], line("w9.9", 4), *GOOD[3:]], 8, {"unreadable": 1}, "no record"),
    ("the recorder's name forged", [*GOOD, line("recorder", 9)], 8, {"unreadable": 1}, "no record"),
    ("an unknown kind", [*GOOD, line("w0.1", 9, "policy")], 8, {"unreadable": 1}, "no record"),
    ("another boot's record", [*GOOD, line("w0.1", 9, boot="00000000")], 8, {"unreadable": 1}, "no record"),
    ("a line beyond any record", [*GOOD[:3], b"x" * 70_000, *GOOD[3:]], 8, {"unreadable": 1}, "70000 bytes"),
    ("a 64 kB name", [*GOOD[:3], line("w0.1", 4, host="x" * 65_536), *GOOD[4:]], 7, {"gaps": 1}, "4-4 missing"),
]


@pytest.mark.parametrize(("lines", "kept", "values", "words"), [row[1:] for row in SPOILT], ids=[r[0] for r in SPOILT])
def test_what_is_wrong_in_a_spool_becomes_a_record(
    node: Node, lines: list[bytes], kept: int, values: dict[str, int], words: str
) -> None:
    write_spool(node, "w0.1", b"".join(text + b"\n" for text in lines))
    state = node.pass_once().journal.state
    assert len(node.records("w0.1")) == kept
    findings = [r for r in node.records("recorder") if r.values and values.items() <= r.values.items()]
    assert len(findings) == 1, own(node)
    assert any(words in detail for detail in own(node))
    assert state.tally.gaps == values.get("gaps", 0)
    assert node.pass_once().journal.state.tally.gaps == state.tally.gaps, "counted once over restarts"


def test_a_huge_line_is_passed_over_without_being_held(node: Node) -> None:
    write_spool(node, "w0.1", GOOD[0] + b"\n" + b"x" * (5 << 20) + b"\n" + GOOD[1] + b"\n")
    node.pass_once()
    assert [record.seq for record in node.records("w0.1")] == [1, 2]
    assert sum((r.values or {}).get("unreadable", 0) for r in node.records("recorder")) > 0


def test_half_a_line_of_a_killed_writer_is_told_with_its_digest(node: Node) -> None:
    write_spool(node, "w0.1", GOOD[0] + b"\n" + GOOD[1][:30])
    node.pass_once()
    assert [record.seq for record in node.records("w0.1")] == [1]
    assert any("half a line, 30 bytes of w0.1" in detail for detail in own(node))


def test_control_characters_and_long_names_stay_one_line(node: Node) -> None:
    writer = node.writer()
    hosts = ["a\nb", "\x00\x1b[2J", "\u2028\u0085", '"}\n{"v":1}', "x" * 60_000]
    wanted = [put(writer, "deny", host=host, reason="name-invalid") for host in hosts]
    writer.close()
    node.pass_once()
    check_log(node, {"w0.1": wanted})
    assert [record.host for record in node.records("w0.1")] == hosts


def test_files_that_are_no_spool_are_left_alone(node: Node, tmp_path: Path) -> None:
    (node.spool / "notes.txt").write_text("x")
    (node.spool / f"{BOOT}-recorder-0.jsonl").write_bytes(line("recorder", 1) + b"\n")
    (tmp_path / "elsewhere").write_bytes(GOOD[0] + b"\n")
    (node.spool / f"{BOOT}-w7.1-0.jsonl").mkfifo() if hasattr(Path, "mkfifo") else os.mkfifo(
        node.spool / f"{BOOT}-w7.1-0.jsonl"
    )
    node.pass_once()
    assert own(node) == ["started: no checkpoint"]


def test_a_checkpoint_that_cannot_be_read_costs_time_and_nothing_else(node: Node) -> None:
    writer = node.writer(rotate_bytes=4096)
    wanted = []
    for i in range(50):
        wanted.append(put(writer, "open", flow=f"F{i}", tenant="acme"))
        writer.flush()
    before = node.pass_once().journal.state
    (node.log / checkpoint.FILE).write_bytes(b"\x93garbage")
    wanted.append(put(writer, "close", flow="F3", cause="idle"))
    writer.flush()
    after = node.pass_once().journal.state
    assert "state folded again from the whole log" in own(node)[-1]
    assert after.tally.opened == before.tally.opened == 50
    assert len(after.flows) == 49
    check_log(node, {"w0.1": wanted}, dead=False)


def test_after_lost_power_the_unsynced_tail_may_miss_and_the_log_says_so(node: Node) -> None:
    writer = node.writer()
    opened = put(writer, "open", flow="F", tenant="acme")
    put(writer, "open", flow="G", tenant="acme")
    writer.flush()
    node.pass_once()
    stored, _ = checkpoint.load(node.log)
    stored.clean, stored.host_boot = False, "another"
    checkpoint.store(node.log, checkpoint.encode(stored))
    last = node.log / segment_name(list_segments(node.log)[-1])
    with last.open("ab") as file:
        file.write(line("w0.1", 3, "close", flow="G", cause="idle") + b"\n" + opened[:40])  # written, not synced
    writer.close()
    for path in node.spool.glob("*.jsonl"):  # the spool was in memory
        path.unlink()
    node.pass_once(boot="0000beef")
    said = [record for record in node.records("recorder") if record.kind == "action"][-1]
    assert said.detail == "started after an unclean end of the host: what was not yet durable may be missing"
    assert said.values == {"replayed": 1, "cut": 40}
    closes = {record.flow: (record.cause, record.worker) for record in node.records() if record.kind == "close"}
    assert closes == {"G": ("idle", "w0.1"), "F": ("worker-died", "recorder")}


def test_a_log_that_was_cut_behind_our_back_is_told(node: Node) -> None:
    write_spool(node, "w0.1", b"".join(text + b"\n" for text in GOOD))
    node.pass_once()
    last = node.log / segment_name(list_segments(node.log)[-1])
    os.truncate(last, last.stat().st_size - 10)
    node.pass_once()
    assert any("bytes shorter than it was when last made durable" in detail for detail in own(node))


def test_a_spool_file_that_others_shorten_or_remove_is_told(node: Node) -> None:
    writer = node.writer()
    wanted = [put(writer, "open", flow="F"), put(writer, "open", flow="G")]
    writer.flush()
    recorder = node.start()
    try:
        until(lambda: len(node.records("w0.1")) == 2, "taken")
        path = node.spool / f"{BOOT}-w0.1-0.jsonl"
        path.unlink()
        until(lambda: any("was removed by another" in detail for detail in own(node)), "the removal is told")
        wanted.append(put(writer, "close", flow="F", cause="idle"))
        writer.flush()
        until(lambda: len(node.records("w0.1")) == 3, "what is written into a removed file is taken all the same")
        os.ftruncate(writer._fd, 5)
        until(lambda: any("shrank" in detail for detail in own(node)), "the loss is told")
    finally:
        stop(recorder)
    assert node.lines()[1:3] == wanted[:2]


@pytest.mark.parametrize("number", [errno.EIO, errno.ENOSPC])
@pytest.mark.parametrize("call", ["write", "fsync"])
def test_an_error_of_the_log_ends_the_pass_and_the_next_one_has_everything(node: Node, call: str, number: int) -> None:
    writer = node.writer()
    wanted = [put(writer, "open", flow=f"F{i}") for i in range(20)]
    writer.close()
    calls = 0

    def broken(fd: int, data: bytes = b"") -> int:
        nonlocal calls
        calls += 1
        if calls < 2 and call == "write":
            return os.write(fd, data[:50])
        raise OSError(number, os.strerror(number))

    with pytest.raises(OSError, match=os.strerror(number)):
        node.pass_once(**{call: broken})
    node.pass_once()
    check_log(node, {"w0.1": wanted})


@pytest.fixture
def small_disk(node: Node) -> Iterator[Path]:
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=200k", "tmpfs", node.log], check=True)
    try:
        yield node.log
    finally:
        subprocess.run(["umount", "-l", node.log], check=True)


@pytest.mark.root
def test_a_full_log_disk_stops_new_flows_and_loses_nothing(node: Node, small_disk: Path) -> None:
    writer = node.writer()
    wanted = [put(writer, "open", flow=f"F{i}", detail="x" * 500) for i in range(1000)]
    writer.flush()
    recorder = node.start(segment_bytes=50_000)
    _, told = recorder.communicate(timeout=20)
    assert recorder.returncode == 1
    assert b"No space left on device" in told
    assert writer.healthy(0.0) == "recorder: No space left on device"
    subprocess.run(["mount", "-o", "remount,size=4m", small_disk], check=True)
    recorder = node.start(segment_bytes=50_000)
    try:
        until(lambda: writer._look(0.0) == "", "well again")
        until(lambda: len(node.records("w0.1")) == 1000, "everything is in the log")
    finally:
        assert stop(recorder) == 0
    check_log(node, {"w0.1": wanted}, dead=False)


def test_a_second_recorder_for_the_same_log_does_not_start(node: Node) -> None:
    first = node.start()
    try:
        until(lambda: node.status() is not None and node.lines(), "the first runs")
        second = node.start()
        _, told = second.communicate(timeout=20)
        assert second.returncode == 1
        assert b"another recorder holds this log" in told
    finally:
        assert stop(first) == 0


def test_the_checkpoint_is_bounded_by_what_is_open(node: Node) -> None:
    writer = node.writer()
    for i in range(500):
        put(writer, "open", flow=f"F{i}", tenant="acme", detail="x" * 300)
        put(writer, "close", flow=f"F{i}", tenant="acme", cause="idle")
    writer.close()
    node.pass_once()
    stored, why = checkpoint.load(node.log)
    assert why == ""
    assert stored.clean
    assert len(msgspec.msgpack.encode(stored)) < 2000


ABSURD = [1 << 50, (1 << 63) - 1, (1 << 64) - 1, 1 << 70, -1, -(1 << 63)]


@pytest.mark.parametrize("number", ABSURD)
def test_absurd_numbers_do_not_stop_the_recorder_or_its_next_start(node: Node, number: int) -> None:
    def text(seq: int, kind: str, **fields: object) -> bytes:
        record = {"node": "n", "boot": BOOT, "worker": "w0.1", "seq": seq, "kind": kind, "time": 1, **fields}
        return json.dumps(record).encode() + b"\n"

    many = {"bytes_out": number, "bytes_in": number, "bytes_as_of": number, "revision": number, "duration": number}
    lines = [text(1, "open", flow="F", time=number, tenant="acme"), text(2, "open", flow="G", tenant="acme")]
    for seq in range(3, 200, 3):
        lines.append(text(seq, "progress", flow="G", **many))
        lines.append(text(seq + 1, "close", flow=f"H{seq}", cause="idle", **many))
        lines.append(text(seq + 2, "deny", reason="kill-switch", count=number, values={"x": number}))
    lines.append(text(201, "heartbeat", values={"x": number, "y" * 9000: 1}))
    lines.append(text(number, "heartbeat"))
    write_spool(node, "w0.1", b"".join(lines))
    node.pass_once()
    (node.log / checkpoint.FILE).unlink()
    state = node.pass_once().journal.state
    assert state.flows == {}
    for worker in ("w0.1", "recorder"):
        assert node.records(worker)
    assert node.pass_once().journal.recovery.words == "started"

"""The spool writer on real files: what is visible after short writes, errors, limits and a full disk."""

import contextlib
import errno
import fcntl
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from telemetry.spool import SpoolFull, SpoolWriter
from telemetry.spooldir import Status, open_status, write_status
from tests.telemetry.spool_kit import BOOT, NODE, Node, line, put


@pytest.fixture
def node(tmp_path: Path) -> Node:
    return Node(tmp_path)


def content(node: Node, number: int = 0, process: str = "w0.1") -> bytes:
    return (node.spool / f"{BOOT}-{process}-{number}.jsonl").read_bytes()


def test_one_flush_makes_all_lines_visible_whole(node: Node) -> None:
    writer = node.writer()
    first, second = put(writer, "open", flow="A"), put(writer, "close", flow="A")
    assert content(node) == b""
    writer.flush()
    assert content(node) == first + b"\n" + second + b"\n"
    assert writer.pending == 0
    assert writer.next_seq() == 3


@pytest.mark.parametrize("bad", [b"", b"a\nb", b"a\n", b"x" * 65_536], ids=["empty", "two lines", "newline", "64 KiB"])
def test_what_would_break_framing_is_refused_before_it_is_buffered(node: Node, bad: bytes) -> None:
    writer = node.writer()
    with pytest.raises(ValueError, match="record of"):
        writer.append(bad)
    assert writer.pending == 0
    writer.append(b"x" * 65_535)
    writer.flush()


@pytest.mark.parametrize("step", [1, 7, 1000])
def test_short_writes_are_completed(node: Node, step: int) -> None:
    writer = node.writer(write=lambda fd, data: os.write(fd, data[:step]))
    wanted = [put(writer, "open", flow=f"F{i}") for i in range(5)]
    writer.flush()
    assert content(node) == b"".join(text + b"\n" for text in wanted)


class Breaking:
    """Writes so many bytes, then fails with an error, until it is mended."""

    def __init__(self, room: int, number: int) -> None:
        self.room, self.number = room, number

    def __call__(self, fd: int, data: bytes) -> int:
        if self.room == 0:
            raise OSError(self.number, os.strerror(self.number))
        wrote = os.write(fd, data[: self.room])
        self.room -= wrote
        return wrote


@pytest.mark.parametrize("room", [0, 1, 50, 130, 131, 132, 260, 300])
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO])
def test_after_an_error_only_whole_lines_are_visible_and_the_rest_goes_out_later_once(
    node: Node, room: int, number: int
) -> None:
    disk = Breaking(room, number)
    writer = node.writer(write=disk)
    wanted = [put(writer, "open", flow=f"F{i}") for i in range(4)]
    with pytest.raises(SpoolFull) as caught:
        writer.flush()
    assert caught.value.errno == number
    seen = content(node)
    assert seen == b"".join(text + b"\n" for text in wanted[: 4 - writer.pending])
    assert os.strerror(number) in writer.healthy(1.0)
    disk.room = 1 << 20
    wanted.append(put(writer, "close", flow="F0"))
    writer.flush()
    assert content(node) == b"".join(text + b"\n" for text in wanted)
    assert writer.healthy(3.0) == ""


def test_it_recovers_by_itself_when_only_asked_whether_it_is_healthy(node: Node) -> None:
    disk = Breaking(0, errno.EIO)
    writer = node.writer(write=disk)
    put(writer, "close", flow="A")
    with pytest.raises(SpoolFull):
        writer.flush()
    disk.room = 1 << 20
    assert writer.healthy(1.0) == ""
    assert writer.pending == 0


def test_files_rotate_and_the_lock_moves_on(node: Node) -> None:
    writer = node.writer(rotate_bytes=4096)
    wanted = b""
    for i in range(60):
        wanted += put(writer, "open", flow=f"F{i}") + b"\n"
        writer.flush()
    numbers = sorted(int(path.stem.rpartition("-")[2]) for path in node.spool.glob("*.jsonl"))
    assert len(numbers) >= 2
    assert b"".join(content(node, number) for number in numbers) == wanted
    for number in numbers:
        with (node.spool / f"{BOOT}-w0.1-{number}.jsonl").open("rb") as file:
            held = number == numbers[-1]
            if held:
                with pytest.raises(BlockingIOError):
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            else:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_a_process_name_cannot_be_used_twice_under_one_boot(node: Node) -> None:
    node.writer().close()
    with pytest.raises(FileExistsError):
        node.writer()


@pytest.mark.parametrize("process", ["", "w0/1", "w-0", "../x", "w" * 33])
def test_odd_process_names_are_refused(node: Node, process: str) -> None:
    with pytest.raises(ValueError, match="process"):
        node.writer(process)


def test_opens_stop_before_the_limit_and_closes_go_on_to_it(node: Node) -> None:
    writer = node.writer(limit=80_000)
    big = "x" * 900
    now, status = 0.0, open_status(node.spool)
    while not (why := writer.healthy(now)):
        put(writer, "open", flow="F", detail=big)
        writer.flush()
        now += 1
        write_status(status, Status(now, now))
    assert "of 80000 bytes" in why
    closes, error = close_until_full(writer, [])
    assert "limit" in str(error)
    assert closes >= 5, "an eighth of the limit is kept for closing records"
    assert sum(path.stat().st_size for path in node.spool.glob("*.jsonl")) <= 80_000


STATUS = [
    ("the recorder is up to date", Status(100.0, 99.9), 100.0, ""),
    ("it lags by less than the limit", Status(100.0, 80.0), 100.0, ""),
    ("it lags by more", Status(100.0, 69.0), 100.0, "recorder: 31 s behind"),
    ("it died long ago", Status(100.0, 100.0), 131.0, "recorder: 31 s behind"),
    ("it failed", Status(100.0, 100.0, "No space left on device"), 100.0, "recorder: No space left on device"),
    ("the status is from before the host restarted", Status(9000.0, 9000.0), 10.0, ""),
]


@pytest.mark.parametrize(("status", "now", "why"), [row[1:] for row in STATUS], ids=[row[0] for row in STATUS])
def test_health_follows_the_recorders_status(node: Node, status: Status, now: float, why: str) -> None:
    write_status(open_status(node.spool), status)
    assert node.writer().healthy(now) == why


def test_without_any_recorder_health_ends_thirty_seconds_after_the_start(node: Node) -> None:
    writer = node.writer()
    assert writer.healthy(500.0) == ""
    assert writer.healthy(529.0) == ""
    assert writer.healthy(531.0) == "recorder: 31 s behind"


def test_health_looks_at_the_disk_once_a_second_only(node: Node) -> None:
    status = open_status(node.spool)
    write_status(status, Status(100.0, 100.0))
    writer = node.writer()
    assert writer.healthy(100.0) == ""
    write_status(status, Status(100.5, 100.5, "broken"))
    assert writer.healthy(100.9) == ""
    assert writer.healthy(101.0) == "recorder: broken"


def close_until_full(writer: SpoolWriter, wanted: list[bytes]) -> tuple[int, SpoolFull]:
    """Writes closing records until that fails: how many, and how it failed."""
    for count in range(200):
        wanted.append(put(writer, "close", flow=f"G{count}", detail="x" * 900))
        try:
            writer.flush()
        except SpoolFull as error:
            return count, error
    raise AssertionError("the spool took 200 records")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    where = tmp_path / "disk"
    where.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=512k", "tmpfs", where], check=True)
    try:
        yield where
    finally:
        subprocess.run(["umount", "-l", where], check=True)


@pytest.mark.root
def test_on_a_full_disk_the_reserve_takes_closing_records_and_space_heals_it(small_disk: Path) -> None:
    writer = SpoolWriter(small_disk, NODE, BOOT, "w0.1", 1 << 20)  # holds 64 KiB in reserve
    ballast = small_disk / "ballast"
    with ballast.open("ab", buffering=0) as file, contextlib.suppress(OSError):
        while file.write(b"x" * 4096) == 4096:
            pass
    wanted = [put(writer, "close", flow=f"F{i}", detail="x" * 900) for i in range(30)]
    writer.flush()
    assert writer.healthy(0.0) == "spool: disk full"
    _, error = close_until_full(writer, wanted)
    assert error.errno == errno.ENOSPC
    seen = content_of(small_disk)
    assert seen == b"".join(text + b"\n" for text in wanted[: len(wanted) - writer.pending])
    ballast.unlink()
    assert writer.healthy(2.0) == ""
    assert content_of(small_disk) == b"".join(text + b"\n" for text in wanted)
    writer.close()


def content_of(directory: Path) -> bytes:
    files = sorted(directory.glob("*.jsonl"), key=lambda path: int(path.stem.rpartition("-")[2]))
    return b"".join(path.read_bytes() for path in files)


def test_records_are_one_line_whatever_their_fields_hold(node: Node) -> None:
    writer = node.writer()
    hostile = ["a\nb", "\x00\x1b[31m", "\u2028", '"}\n{"v":1', "x" * 60_000, "\x7f\r\n"]
    for text in hostile:
        put(writer, "deny", host=text)
    writer.flush()
    assert content(node).count(b"\n") == len(hostile)
    assert b"\n" not in line("w0.1", 1, host="\n")

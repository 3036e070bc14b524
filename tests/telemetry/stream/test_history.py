"""Reading on in the log: whole durable lines in order, over segments, and what is said where lines are gone."""

import os
from pathlib import Path

import pytest

from telemetry.segments import Segments, list_segments, segment_name
from telemetry.spooldir import Status, open_status, write_status
from telemetry.stream.history import CHUNK, History, Place


class Log:
    """A log of segments of some 10 lines each, line i being "line i"."""

    def __init__(self, root: Path) -> None:
        self.directory, self.spool = root / "log", root / "spool"
        self.directory.mkdir()
        self.spool.mkdir()
        self.segments = Segments(self.directory, 80)
        self.status = open_status(self.spool)
        self.history = History(self.directory, self.spool)

    def append(self, count: int, width: int = 0) -> None:
        for _ in range(count):
            self.segments.append(b"line %d" % self.segments.records + b"." * width + b"\n", 1)
            self.segments.sync()
        self.say()

    def say(self, failed: str = "", records: int | None = None) -> None:
        count = self.segments.records if records is None else records
        write_status(self.status, Status(1.0, 1.0, failed, count))

    def everything(self, place: Place) -> tuple[list[bytes], int]:
        lines: list[bytes] = []
        missing = 0
        while True:
            piece = self.history.read(place, self.history.durable())
            assert piece.first == (place.index if not piece.missing else piece.then.index - len(piece.lines))
            lines += piece.lines
            missing += piece.missing
            if piece.then == place:
                return lines, missing
            place = piece.then


@pytest.fixture
def log(tmp_path: Path) -> Log:
    return Log(tmp_path)


START = Place(0, 0, 0)


def test_all_lines_come_in_order_over_all_segments(log: Log) -> None:
    assert log.everything(START) == ([], 0)
    log.append(57)
    assert len(list_segments(log.directory)) > 4
    assert log.everything(START) == ([b"line %d" % i for i in range(57)], 0)


@pytest.mark.parametrize("index", [0, 1, 9, 10, 11, 33, 56, 57, 99])
def test_any_line_is_found_by_its_index(log: Log, index: int) -> None:
    log.append(57)
    place = log.history.find(index)
    assert place.index == min(index, 57)
    assert log.everything(place)[0] == [b"line %d" % i for i in range(place.index, 57)]


def test_a_line_is_found_in_a_segment_of_several_megabytes(tmp_path: Path) -> None:
    log = Log(tmp_path)
    log.segments = Segments(log.directory, 1 << 30)
    log.append(300, width=20_000)
    for index in (0, 1, 151, 299):
        piece = log.history.read(log.history.find(index), 300)
        assert piece.lines[0].startswith(b"line %d." % index)


def test_nothing_is_read_that_is_not_on_disk_yet(log: Log) -> None:
    log.append(5)
    log.segments.append(b"line 5\nline 6\n", 2)
    assert log.everything(START)[0] == [b"line %d" % i for i in range(5)]
    log.say()
    assert len(log.everything(START)[0]) == 7


def test_half_a_line_waits_for_its_end(log: Log) -> None:
    log.append(3)
    log.say(records=5)
    path = log.directory / segment_name(0)
    with path.open("ab") as file:
        file.write(b"line 3\nlin")
    assert log.everything(START)[0] == [b"line %d" % i for i in range(4)]


def test_of_a_recorder_that_failed_only_finished_segments_are_read(log: Log) -> None:
    log.append(25)
    log.say(failed="No space left on device")
    last = list_segments(log.directory)[-1]
    assert log.everything(START)[0] == [b"line %d" % i for i in range(last)]
    os.unlink(log.spool / "recorder.status")
    assert log.history.durable() == last, "and so after a start of the host, before a recorder says anything"


def test_deleted_segments_are_counted_as_missing(log: Log) -> None:
    log.append(57)
    first, second, third = list_segments(log.directory)[:3]
    place = log.history.read(START, 5).then
    for segment in (first, second):
        (log.directory / segment_name(segment)).unlink()
    lines, missing = log.everything(place)
    assert missing == third - 5
    assert lines == [b"line %d" % i for i in range(third, 57)]
    assert log.history.find(2).index == third
    assert log.history.oldest() == Place(third, 0, third)


def test_segments_deleted_up_to_the_place_itself_are_no_gap(log: Log) -> None:
    log.append(57)
    second = list_segments(log.directory)[1]
    place = log.history.read(START, second).then
    (log.directory / segment_name(0)).unlink()
    assert log.everything(place) == ([b"line %d" % i for i in range(second, 57)], 0)


def test_a_log_that_became_shorter_is_told(log: Log) -> None:
    log.append(9)
    place = Place(0, 10_000, 40)
    piece = log.history.read(place, 41)
    assert (piece.shrunk, piece.then, piece.lines) == (31, START, []), "its segment comes again"
    assert len(log.everything(piece.then)[0]) == 9


def test_a_log_that_was_begun_anew_is_read_from_its_start(log: Log) -> None:
    log.append(9)
    piece = log.history.read(Place(5_000, 70, 5_003), 9)
    assert (piece.shrunk, piece.then) == (5_003, START)
    assert log.history.read(Place(0, 0, 0), 9).shrunk == 0


def test_a_line_as_long_as_a_record_may_be_is_read_whole(tmp_path: Path) -> None:
    log = Log(tmp_path)
    log.append(3, width=CHUNK + 7)
    assert [len(line) for line in log.everything(START)[0]] == [CHUNK + 7 + 6] * 3

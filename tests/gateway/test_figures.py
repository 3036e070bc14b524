"""The figures of lines over all workers: real files, real locks, real processes."""

import signal
from pathlib import Path

import pytest

from gateway.figures import BUCKETS, MAX_HOSTS, Figures, LineFigures, bucket_of, bucket_start, read
from tests.gateway.counters import Counting


class Worker(Counting):
    """A worker in another process. It does what it is told, as "opened 1"."""

    def __init__(self, path: Path, columns: int = 4) -> None:
        super().__init__(path.parent, columns, f":gateway.figures:Figures:{path.name}")
        assert self.ready

    def tell(self, *orders: str) -> None:
        for order in orders:
            assert self.do(order) == "None"

    def finish(self, number: int = 0) -> None:
        """Ends it in order, or by a signal."""
        assert self.end(number) == ""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "figures"


def test_before_any_worker_there_are_none(path: Path) -> None:
    assert read(path) == {}


def test_figures_are_sums_over_the_workers_by_line(path: Path) -> None:
    one, two = Worker(path), Worker(path)
    one.tell("dialled 1", "dialled 1", "failed 1", "opened 1", "sampled 1 2000 30 2", "exhausted 255")
    two.tell("dialled 1", "opened 1", "opened 1", "closed 1", "sampled 1 4000 10 1", "dialled 2")
    assert read(path) == {
        1: LineFigures(
            dialled=3, failed=1, open=2, samples=2, rtt_us_sum=6000, segments=40, retransmits=3, exhausted=0
        ),
        2: LineFigures(dialled=1),
        255: LineFigures(exhausted=1),
    }  # fmt: skip
    one.finish()
    two.finish()


ENDS = {"ended in order": 0, "was killed": signal.SIGKILL}


@pytest.mark.parametrize("end", ENDS)
def test_what_a_worker_counted_stays_and_what_it_had_open_does_not_once_it(path: Path, end: str) -> None:
    one, two = Worker(path), Worker(path)
    one.tell("dialled 1", "opened 1", "sampled 1 5 7 1")
    two.tell("dialled 1", "opened 1")
    one.finish(ENDS[end])
    two.tell("survey")
    assert read(path) == {1: LineFigures(dialled=2, open=1, samples=1, rtt_us_sum=5, segments=7, retransmits=1)}
    three = Worker(path)  # takes the first one's column
    three.tell("dialled 1", "opened 1")
    assert read(path) == {1: LineFigures(dialled=3, open=2, samples=1, rtt_us_sum=5, segments=7, retransmits=1)}
    two.finish()
    three.finish()
    assert read(path) == {1: LineFigures(dialled=3, samples=1, rtt_us_sum=5, segments=7, retransmits=1)}


def test_a_successor_clears_what_a_killed_worker_had_open(path: Path) -> None:
    one = Worker(path)
    one.tell("opened 3", "dialled 3")
    one.finish(signal.SIGKILL)
    assert read(path) == {3: LineFigures(dialled=1, open=1)}, "before anybody looked"
    Worker(path).finish()
    assert read(path) == {3: LineFigures(dialled=1)}


def test_a_survey_sees_columns_that_were_added(path: Path) -> None:
    small = Worker(path, 1)
    large = Worker(path, 3)
    large.tell("opened 1", "dialled 1")
    large.finish(signal.SIGKILL)
    small.tell("survey", "dialled 1")
    assert read(path) == {1: LineFigures(dialled=2)}
    small.finish()


def voices(**by_time: int) -> tuple[int, ...]:
    """A histogram, as ms40=2."""
    found = [0] * BUCKETS
    for name, count in by_time.items():
        found[bucket_of(int(name.removeprefix("ms")) * 1000)] += count
    return tuple(found)


def test_a_host_has_one_voice_in_a_period_and_line(path: Path) -> None:
    figures = Figures(path, 2)
    for _ in range(500):  # one firm's crawler
        figures.heard(1, "slow.example", 900_000, 3)
    figures.heard(1, "fast.example", 40_000, 0)
    figures.heard(2, "slow.example", 900_000, 0)
    assert read(path) == {
        1: LineFigures(losing=1, voices=voices(ms900=1, ms40=1)),
        2: LineFigures(voices=voices(ms900=1)),
    }
    figures.new_period()
    figures.heard(1, "slow.example", 40_000, 0)
    assert read(path)[1] == LineFigures(losing=1, voices=voices(ms900=1, ms40=2))
    figures.close()


def test_a_flood_of_hosts_takes_no_more_memory(path: Path) -> None:
    figures = Figures(path, 2)
    for number in range(2 * MAX_HOSTS):
        figures.heard(1, f"h{number}.example", 40_000, 0)
    assert sum(read(path)[1].voices) == MAX_HOSTS
    figures.close()


def test_every_round_trip_has_its_bucket() -> None:
    assert [bucket_of(bucket_start(bucket)) for bucket in range(BUCKETS)] == list(range(BUCKETS))
    assert [bucket_of(bucket_start(bucket + 1) - 1) for bucket in range(BUCKETS)] == list(range(BUCKETS))
    assert (bucket_of(0), bucket_of(1 << 31)) == (0, BUCKETS - 1)


SINCE: dict[str, tuple[LineFigures, LineFigures, LineFigures]] = {
    "what was added, and what is open now": (
        LineFigures(dialled=5, open=2, segments=90, voices=voices(ms40=1)),
        LineFigures(dialled=3, open=7, segments=40),
        LineFigures(dialled=2, open=2, segments=50, voices=voices(ms40=1)),
    ),
    "all of it, where the file was made anew": (
        LineFigures(dialled=5, segments=10),
        LineFigures(dialled=3, segments=40),
        LineFigures(dialled=5, segments=10),
    ),
}


@pytest.mark.parametrize("sentence", SINCE)
def test_since_an_earlier_reading_is(sentence: str) -> None:
    now, before, wanted = SINCE[sentence]
    assert now.since(before) == wanted

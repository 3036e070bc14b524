"""Bytes per firm, day and month, and new tunnels per second, over all workers: real files, locks and processes."""

import datetime
import re
import signal
from pathlib import Path

import pytest

from gateway.usage import Used, day_end, day_of, month_end, month_of, read, zone_time
from tests.gateway.counters import Counting


def at(text: str) -> float:
    """The Unix second of a time in the zone."""
    return datetime.datetime.fromisoformat(f"{text}+08:00").timestamp()


class Worker(Counting):
    """A worker in another process. It does what it is told, as "usage.add 7 1000 0.5"."""

    def __init__(self, there: Path, columns: int = 4) -> None:
        super().__init__(
            there, columns, "usage:gateway.usage:Usage:bytes", "attempts:gateway.attempts:Attempts:attempts"
        )
        assert self.ready

    def add(self, count: int, when: str, slot: int = 7) -> None:
        assert self.do(f"usage.add {slot} {count} {at(when)}") == "None"

    def used(self, when: str, slot: int = 7) -> str:
        """Bytes of the day and of the month, as this worker sees them."""
        said = self.do(f"usage.used {slot} {at(when)}")
        numbers = dict(re.findall(r"(\w+)=(\d+)", said))
        return f"({numbers['day']}, {numbers['month']})"

    def finish(self, number: int = 0) -> None:
        assert self.end(number) == ""


def test_days_and_months_are_the_zones() -> None:
    assert day_of(at("2026-03-01T00:00:00")) - day_of(at("2026-02-28T23:59:59")) == 1
    assert day_end(day_of(at("2026-02-28T12:00:00"))) == at("2026-03-01T00:00:00")
    assert month_end(month_of(day_of(at("2026-12-31T23:59:59")))) == at("2027-01-01T00:00:00")
    assert month_end(month_of(day_of(at("2026-02-01T00:00:00")))) == at("2026-03-01T00:00:00")
    assert zone_time(at("2026-02-28T23:59:59")) == "2026-02-28T23:59:59+08:00"


# What two workers count, and what both then see of the day and the month at the last time.
COUNTS: dict[str, tuple[list[tuple[int, int, str]], str, str]] = {
    "the bytes of all workers are one sum": (
        [(0, 100, "2026-11-25T10:00:00"), (1, 30, "2026-11-25T10:00:01")], "2026-11-25T10:00:02", "(130, 130)"
    ),
    "a new day begins at nothing, the month goes on": (
        [(0, 100, "2026-11-25T23:59:59"), (1, 30, "2026-11-26T00:00:00")], "2026-11-26T00:00:00", "(30, 130)"
    ),
    "a new month begins at nothing": (
        [(0, 100, "2026-11-30T23:59:59"), (1, 30, "2026-12-01T00:00:00")], "2026-12-01T00:00:00", "(30, 30)"
    ),
    "a new day in which nobody had bytes yet": ([(0, 100, "2026-11-25T23:59:59")], "2026-11-26T00:00:00", "(0, 100)"),
    "a year later": ([(0, 100, "2025-11-25T10:00:00")], "2026-11-25T10:00:00", "(0, 0)"),
    "a clock set back a day resets nothing": (
        [(0, 100, "2026-11-26T00:00:05"), (0, 7, "2026-11-25T23:59:58")], "2026-11-25T23:59:59", "(107, 107)"
    ),
    "bytes of another worker under a clock set back count in the later day": (
        [(1, 5, "2026-11-25T10:00:00"), (0, 100, "2026-11-26T00:00:05"), (1, 7, "2026-11-25T23:59:58")],
        "2026-11-25T23:59:59", "(107, 112)",
    ),
    "a clock set back over the end of a month resets nothing": (
        [(0, 100, "2026-12-01T00:00:05"), (1, 7, "2026-11-30T23:00:00")], "2026-11-30T23:00:01", "(107, 107)"
    ),
    "after a clock set back and on again nothing counts twice": (
        [(0, 100, "2026-11-26T08:00:00"), (1, 7, "2026-11-25T08:00:00"), (0, 1, "2026-11-26T09:00:00")],
        "2026-11-26T09:00:01", "(108, 108)",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", COUNTS)
def test_of_the_bytes_of_two_workers(case: str, tmp_path: Path) -> None:
    counts, when, expected = COUNTS[case]
    workers = [Worker(tmp_path), Worker(tmp_path)]
    for number, count, then in counts:
        workers[number].add(count, then)
    assert [worker.used(when) for worker in workers] == [expected] * 2
    found = read(tmp_path / "bytes", 7, at(when))
    assert str((found.day, found.month)) == expected
    assert workers[0].used(when, slot=8) == "(0, 0)", "another firm has its own"
    for worker in workers:
        worker.finish()


ENDS = {"ends in order": 0, "is killed": signal.SIGKILL}


@pytest.mark.parametrize("end", ENDS)
def test_bytes_stay_counted_once_when_a_worker(end: str, tmp_path: Path) -> None:
    day = "2026-11-25T10:00:00"
    one, two = Worker(tmp_path), Worker(tmp_path)
    one.add(100, day)
    two.add(10, day)
    one.finish(ENDS[end])
    assert two.do("usage.survey") == "None"
    assert two.used(day) == "(110, 110)"
    successor = Worker(tmp_path)  # in the column of the first
    successor.add(1, day)
    assert [two.used(day), successor.used(day)] == ["(111, 111)"] * 2
    two.finish()
    successor.finish()
    again = Worker(tmp_path, 2)  # all were gone, and there are fewer columns now
    again.add(1, day)
    assert again.used(day) == "(112, 112)"
    again.finish()


QUOTAS: dict[str, tuple[int, int, tuple[str, int] | None]] = {
    "none": (0, 0, None),
    "with bytes left": (101, 1001, None),
    "of the day, used up": (100, 1001, ("100 bytes of the day", 20)),
    "of the month, used up": (101, 1000, ("1000 bytes of the month", 30)),
    "both used up: free again with the later": (90, 900, ("90 bytes of the day and 900 bytes of the month", 30)),
}


@pytest.mark.parametrize("case", QUOTAS)
def test_a_quota(case: str) -> None:
    per_day, per_month, expected = QUOTAS[case]
    assert Used(day=100, day_end=20, month=1000, month_end=30).exhausted(per_day, per_month) == expected


def test_a_rate_holds_over_all_workers_and_is_free_again_with_the_next_second(tmp_path: Path) -> None:
    one, two = Worker(tmp_path), Worker(tmp_path)
    assert [w.do("attempts.take 7 3 100.1") for w in (one, two, one, two, one)] == [*["True"] * 3, *["False"] * 2]
    assert two.do("attempts.take 8 3 100.2") == "True", "another firm has its own"
    assert [w.do("attempts.take 7 3 101.0") for w in (two, two, one, one)] == [*["True"] * 3, "False"]
    assert two.do("attempts.take 7 3 100.999") == "False", "a turn that began before counts in the second of the others"
    assert one.do("attempts.take -1 3 102.0") == "False"
    one.finish(signal.SIGKILL)
    assert two.do("attempts.survey") == "None"
    assert two.do("attempts.take 7 3 101.9") == "False", "what a killed worker let through still counts"
    assert two.do("attempts.take 7 3 102.0") == "True"
    two.finish()

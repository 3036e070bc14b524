"""Bytes per firm, day and month, and new tunnels per second, over all workers: real files, locks and processes."""

import datetime
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from gateway.clock import zone_time
from gateway.usage import Usage, Used, day_end, day_of, month_end, month_of, read
from gateway.usage_damage import note_of
from ops.doctor.finding import Level
from ops.doctor.running import quotas
from tests.gateway.counters import Counting
from tests.gateway.node import CODE


def at(text: str) -> float:
    """The Unix second of a time in the zone."""
    return datetime.datetime.fromisoformat(f"{text}+08:00").timestamp()


class Worker(Counting):
    """A worker in another process. It does what it is told, as "usage.add 7 acme 1000 0.5"."""

    def __init__(self, there: Path, columns: int = 4) -> None:
        super().__init__(
            there, columns, "usage:gateway.usage:Usage:bytes", "attempts:gateway.attempts:Attempts:attempts"
        )
        assert self.ready

    def add(self, count: int, when: str, firm: str = "acme", slot: int = 7) -> None:
        assert self.do(f"usage.add {slot} {firm} {count} {at(when)}") == "None"

    def used(self, when: str, firm: str = "acme", slot: int = 7) -> str:
        """Bytes of the day and of the month, as this worker sees them."""
        said = self.do(f"usage.used {slot} {firm} {at(when)}")
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
    found = read(tmp_path / "bytes", 7, "acme", at(when))
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


DAY = "2026-11-25T10:00:00"
# What is counted by which worker, of which firm in one slot, and what all see then of acme and of birch.
HOLDERS: dict[str, tuple[list[tuple[int, int, str]], str, str]] = {
    "the next one in a slot begins at nothing": ([(0, 100, "acme")], "(100, 100)", "(0, 0)"),
    "and counts its own": ([(0, 100, "acme"), (0, 7, "birch")], "(0, 0)", "(7, 7)"),
    "what another worker counted of the one before is not its": (
        [(0, 100, "acme"), (1, 30, "acme"), (1, 7, "birch")], "(100, 100)", "(7, 7)"
    ),
    "one that comes back to its slot while nobody had bytes there finds its own": (
        [(0, 100, "acme"), (1, 5, "acme")], "(105, 105)", "(0, 0)"
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", HOLDERS)
def test_of_two_firms_in_one_slot(case: str, tmp_path: Path) -> None:
    counts, acme, birch = HOLDERS[case]
    workers = [Worker(tmp_path), Worker(tmp_path)]
    for number, count, firm in counts:
        workers[number].add(count, DAY, firm)
    for worker in workers:
        assert [worker.used(DAY, firm) for firm in ("acme", "birch")] == [acme, birch]
    for firm, expected in (("acme", acme), ("birch", birch)):
        found = read(tmp_path / "bytes", 7, firm, at(DAY))
        assert str((found.day, found.month)) == expected
    for worker in workers:
        worker.finish()


def test_a_clock_that_was_wrong_for_one_firm_is_not_for_the_next_in_its_slot(tmp_path: Path) -> None:
    worker = Worker(tmp_path)
    worker.add(100, "2027-01-05T10:00:00")
    worker.add(7, DAY, "birch")
    assert worker.used(DAY, "birch") == "(7, 7)"
    worker.finish()


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


def takes(worker: Worker, rate: int, *times: float, slot: int = 7) -> list[float]:
    """What so many attempts are told: 0.0, or in how many seconds one is free again."""
    return [float(worker.do(f"attempts.take {slot} {rate} {now:.3f}")) for now in times]


# Rate per second, when two workers in turn are asked for a new tunnel, and what they answer.
RATES: dict[str, tuple[int, list[float], list[float]]] = {
    "as many at once as in a second": (4, [100.0] * 5, [0.0] * 4 + [0.25]),
    "no second helping when the next second begins": (4, [99.99] * 4 + [100.01] * 2, [0.0] * 4 + [0.23] * 2),
    "one more in each part of a second": (
        4, [100.0] * 4 + [100.25, 100.25, 100.5, 100.6], [0.0] * 5 + [0.25, 0.0, 0.15]
    ),
    "an even stream at the rate is never refused": (4, [100 + n / 4 for n in range(12)], [0.0] * 12),
    "a full helping again a second later": (4, [100.0] * 4 + [101.0] * 5, [0.0] * 8 + [0.25]),
    "one a second": (1, [100.7, 101.0, 101.699, 101.7, 102.0], [0.0, 0.7, 0.001, 0.0, 0.7]),
    "a turn that began before counts behind what the others counted": (
        2, [101.0, 101.0, 100.999, 101.5], [0.0, 0.0, 0.501, 0.0]
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", RATES)
def test_a_rate_over_two_workers(case: str, tmp_path: Path) -> None:
    rate, times, expected = RATES[case]
    workers = [Worker(tmp_path), Worker(tmp_path)]
    told = [takes(workers[n % 2], rate, now)[0] for n, now in enumerate(times)]
    assert told == pytest.approx(expected, abs=1e-6)
    assert takes(workers[1], 1, 100.0, slot=8) == [0.0], "another firm has its own"
    assert takes(workers[1], 1, 100.0, slot=-1) == [1.0]
    for worker in workers:
        worker.finish()


def test_what_a_killed_worker_let_through_still_counts(tmp_path: Path) -> None:
    one, two = Worker(tmp_path), Worker(tmp_path)
    assert takes(one, 2, 100.0, 100.0) == [0.0, 0.0]
    one.finish(signal.SIGKILL)
    assert two.do("attempts.survey") == "None"
    successor = Worker(tmp_path)  # in the column of the first
    for worker in (two, successor):
        assert takes(worker, 2, 100.4) == pytest.approx([0.1], abs=1e-6)
    assert takes(successor, 2, 100.5) == [0.0]
    two.finish()
    successor.finish()


_RUSH = """
import sys
from pathlib import Path
from gateway.attempts import Attempts
attempts = Attempts(Path(sys.argv[1]), 4)
print("ready", flush=True)
sys.stdin.readline()
print(sum(not attempts.take(7, 10_000, 100.0) for _ in range(20_000)), flush=True)
attempts.close()
"""


def test_workers_that_race_let_no_more_through_than_one_alone(tmp_path: Path) -> None:
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", _RUSH, str(tmp_path / "attempts")], cwd=CODE, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )
        for _ in range(3)
    ]  # fmt: skip
    for worker in workers:
        assert worker.stdout and worker.stdout.readline() == "ready\n"
    for worker in workers:
        assert worker.stdin
        worker.stdin.write("go\n")
        worker.stdin.flush()
    through = sum(int(worker.communicate(timeout=30)[0]) for worker in workers)
    assert 1_000 < through <= 10_000, "no more than one bucket; some may be refused that raced"


LENGTHS = {
    "empty": 0,
    "shorter than its head": 100,
    "cut in its first column": 4096 + 64,
    "made longer by a byte": 4096 + 4 * Usage.COLUMN_CELLS * 8 + 1,
}
NOVEMBER, TOMORROW = "2026-11-25T10:00:00", "2026-11-26T10:00:00"


@pytest.mark.parametrize("how", LENGTHS)
def test_what_was_used_is_unknown_and_no_quota_is_left_where_the_file_is(how: str, tmp_path: Path) -> None:
    path = tmp_path / "bytes"
    whole = Usage(path, 4)
    whole.add(7, "acme", 100, at(NOVEMBER))
    whole.close()
    assert whole.damaged_at == 0
    os.truncate(path, LENGTHS[how])
    usage = Usage(path, 4)
    os.utime(note_of(path), (at(NOVEMBER), at(NOVEMBER)))
    usage.survey()
    for found in (usage.used(7, "acme", at(NOVEMBER)), read(path, 7, "acme", at(NOVEMBER))):
        words, end = found.exhausted(1_000, 1_000) or ("", 0)
        assert words.startswith("unknown (its file was damaged), so all 1000 bytes of the day and unknown")
        assert end == at("2026-12-01T00:00:00")
        assert found.exhausted(0, 0) is None, "a firm without a quota goes on"
    tomorrow = usage.used(7, "acme", at(TOMORROW))
    assert tomorrow.exhausted(1_000, 0) is None, "the day is over"
    assert tomorrow.exhausted(0, 1_000), "the month is not"
    assert usage.used(7, "acme", at("2026-12-01T00:00:01")).exhausted(1_000, 1_000) is None
    told = quotas(path)
    assert (told.level, str(LENGTHS[how]) in told.seen, str(note_of(path)) in told.remedy) == (Level.FAIL, True, True)
    usage.close()
    again = Usage(path, 4)
    assert again.used(7, "acme", at(NOVEMBER)).exhausted(1_000, 0), "a new worker knows it too"
    note_of(path).unlink()
    again.survey()
    assert again.used(7, "acme", at(NOVEMBER)).exhausted(1_000, 1_000) is None, "somebody looked"
    assert quotas(path).level is Level.OK
    again.close()


def test_the_columns_that_are_whole_count_on_after_damage_and_more_workers_are_none(tmp_path: Path) -> None:
    path = tmp_path / "bytes"
    first = Usage(path, 2)
    first.add(7, "acme", 100, at(NOVEMBER))
    first.close()
    more = Usage(path, 4)
    assert more.damaged_at == 0
    more.close()
    os.truncate(path, path.stat().st_size - 8)
    cut = Usage(path, 4)
    assert cut.used(7, "acme", at(NOVEMBER)).month == 100
    assert cut.damaged_at
    cut.close()

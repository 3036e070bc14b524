"""The shared counters of tunnels per firm: real files, real locks, real processes."""

import os
import signal
from pathlib import Path

import pytest

from gateway.columns import SharesError
from gateway.shares import ROWS, Shares
from tests.gateway.counters import Counting


def Other(path: Path, columns: int = 4) -> Counting:  # noqa: N802 - reads as what it is
    """A worker in another process: "take S L", "give S", "survey"."""
    return Counting(path.parent, columns, f":gateway.shares:Shares:{path.name}")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "counters"


def test_a_limit_holds_over_all_workers(path: Path) -> None:
    shares, other = Shares(path, 4), Other(path)
    assert [shares.take(7, 3), other.do("take 7 3"), shares.take(7, 3)] == [True, "True", True]
    assert [shares.take(7, 3), other.do("take 7 3")] == [False, "False"]
    assert shares.take(8, 3), "another firm has its own"
    other.do("give 7")
    assert shares.take(7, 3)
    assert other.end() == ""
    shares.close()


def test_a_refusal_counts_nothing(path: Path) -> None:
    shares = Shares(path, 4)
    for _ in range(1000):
        assert not shares.take(1, 0)
    assert shares.take(1, 1)
    shares.close()


@pytest.mark.parametrize("slot", [-1, ROWS, 1 << 40])
def test_a_slot_outside_the_table_is_refused(slot: int, path: Path) -> None:
    shares = Shares(path, 2)
    assert not shares.take(slot, 10)
    shares.close()


@pytest.mark.parametrize("slot", [0, ROWS - 1])
def test_the_first_and_the_last_slot_count(slot: int, path: Path) -> None:
    shares, other = Shares(path, 4), Other(path)
    assert shares.take(slot, 1)
    assert other.do(f"take {slot} 1") == "False"
    other.end()
    shares.close()


def test_a_killed_workers_share_is_given_back_by_those_who_live(path: Path) -> None:
    shares, other = Shares(path, 4), Other(path)
    other.do("take 5 2")
    other.do("take 5 2")
    assert not shares.take(5, 2)
    other.end(signal.SIGKILL)
    assert not shares.take(5, 2), "before anybody looked"
    shares.survey()
    assert [shares.take(5, 2), shares.take(5, 2), shares.take(5, 2)] == [True, True, False]
    shares.close()


def test_a_killed_workers_share_is_given_back_by_its_successor(path: Path) -> None:
    other = Other(path)
    other.do("take 5 1")
    other.end(signal.SIGKILL)
    shares = Shares(path, 4)
    assert shares.take(5, 1)
    shares.close()


def test_a_survey_spares_those_who_live(path: Path) -> None:
    shares, other = Shares(path, 4), Other(path)
    other.do("take 5 1")
    for _ in range(3):
        shares.survey()
        assert not shares.take(5, 1)
    assert other.do("survey") == "None"
    other.end()
    assert shares.take(5, 1), "an orderly end leaves nothing"
    shares.close()


def test_more_workers_than_columns_are_told(path: Path) -> None:
    held = [Other(path, 2) for _ in range(2)]
    third = Other(path, 2)
    assert not third.ready
    assert "SharesError: all 2 columns" in third.end()
    held[0].end(signal.SIGKILL)
    fourth = Other(path, 2)
    assert fourth.ready
    for other in (held[1], fourth):
        other.end()


def test_a_table_grows_with_the_number_of_workers(path: Path) -> None:
    small, other = Shares(path, 2), Other(path, 6)
    small.take(3, 9)
    assert other.do("take 3 1") == "False"
    other.end()
    small.close()


def test_no_descriptor_is_left(path: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(5):
        Shares(path, 2).close()
    with pytest.raises(OSError, match="directory"):
        Shares(path / "nothing" / "here", 2)
    assert len(os.listdir("/proc/self/fd")) == before
    assert issubclass(SharesError, Exception)

"""The shared counters of tunnels per user: real files, real locks, real processes."""

import signal
from pathlib import Path

import pytest

from gateway.seats import PROBES, ROWS, Seats
from tests.gateway.counters import Counting


def Other(path: Path, columns: int = 4) -> Counting:  # noqa: N802 - reads as what it is
    """A worker in another process: "take T U L", "give S"."""
    return Counting(path.parent, columns, f":gateway.seats:Seats:{path.name}")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "users"


def test_a_limit_holds_over_all_workers_and_for_each_user_alone(path: Path) -> None:
    seats, other = Seats(path, 4), Other(path)
    mine = seats.take("acme", "ann", 2)
    assert mine is not None
    assert other.do("take acme ann 2") not in ("None", "-1")
    assert seats.take("acme", "ann", 2) is None
    assert other.do("take acme ann 2") == "None"
    assert seats.take("acme", "bob", 2) is not None, "another user"
    assert seats.take("birch", "ann", 2) is not None, "the same label at another firm"
    seats.give(mine)
    assert other.do("take acme ann 2") != "None"
    assert other.end() == ""
    seats.close()


def test_a_refusal_counts_nothing(path: Path) -> None:
    seats = Seats(path, 2)
    assert seats.take("acme", "ann", 1) is not None
    for _ in range(1000):
        assert seats.take("acme", "ann", 1) is None
    assert seats.take("acme", "ann", 2) is not None
    seats.close()


def neighbours(seats: Seats, count: int) -> list[str]:
    """Users whose cells begin at the same place."""
    found, number = [], 0
    first, _ = seats._place("acme", "u")
    while len(found) < count:
        number += 1
        if seats._place("acme", f"u{number}")[0] == first:
            found.append(f"u{number}")
    return found


def test_users_at_one_place_are_told_apart_and_beyond_the_last_cell_not_counted(path: Path) -> None:
    seats = Seats(path, 2)
    users = neighbours(seats, PROBES + 1)
    held = [seats.take("acme", user, 1) for user in users[:PROBES]]
    assert len(set(held)) == PROBES
    assert None not in held
    assert [seats.take("acme", user, 1) for user in users[:PROBES]] == [None] * PROBES
    assert seats.take("acme", users[PROBES], 1) == -1
    assert held[0] is not None
    seats.give(held[0])
    assert seats.take("acme", users[PROBES], 1) == held[0], "a cell that is free again is another's"
    assert seats.take("acme", users[1], 1) is None, "who sits behind it is found still"
    seats.close()


def test_a_killed_workers_tunnels_are_over(path: Path) -> None:
    seats, other = Seats(path, 4), Other(path)
    other.do("take acme ann 1")
    assert seats.take("acme", "ann", 1) is None
    other.end(signal.SIGKILL)
    assert seats.take("acme", "ann", 1) is None, "before anybody looked"
    seats.survey()
    assert seats.take("acme", "ann", 1) is not None
    seats.close()


def test_a_place_never_reaches_beyond_the_column(path: Path) -> None:
    seats = Seats(path, 2)
    places = [seats._place("acme", f"u{number}")[0] for number in range(2000)]
    assert max(places) + PROBES <= seats.COLUMN_CELLS
    assert min(places) >= 0
    assert max(places) < ROWS
    seats.close()

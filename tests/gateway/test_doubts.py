"""Which lines come last for a host, and for how long."""

from gateway.doubts import MAX_DOUBTS, SECONDS, Doubts
from gateway.line.model import MARK_BASE, LineHandle, handle_of
from tests.gateway.test_lines import entry

LINES = tuple(handle_of(entry(name), MARK_BASE) for name in ("hk1", "sg1"))


def ids(lines: list[LineHandle]) -> list[str]:
    return [line.id for line in lines]


def test_a_line_in_doubt_comes_last_for_its_host_alone_and_until_its_time_is_over() -> None:
    doubts = Doubts()
    assert not doubts
    doubts.add("hk1", "a.example", 100.0)
    assert doubts
    assert ids(doubts.ordered(LINES, "a.example", 100.0)) == ["sg1", "hk1"]
    assert ids(doubts.ordered(LINES, "b.example", 100.0)) == ["hk1", "sg1"]
    assert ids(doubts.ordered(LINES, "a.example", 99.9 + SECONDS)) == ["sg1", "hk1"]
    assert ids(doubts.ordered(LINES, "a.example", 100.0 + SECONDS)) == ["hk1", "sg1"]
    assert not doubts, "nobody asks any more"


def test_lines_all_in_doubt_keep_their_order() -> None:
    doubts = Doubts()
    for line in ("sg1", "hk1"):
        doubts.add(line, "a.example", 100.0)
    assert ids(doubts.ordered(LINES, "a.example", 101.0)) == ["hk1", "sg1"]


def test_doubts_are_bounded_and_the_newest_counts() -> None:
    doubts = Doubts()
    for number in range(3 * MAX_DOUBTS):
        doubts.add("hk1", f"n{number}.example", 100.0 + number / 1e6)
    assert ids(doubts.ordered(LINES, f"n{3 * MAX_DOUBTS - 1}.example", 101.0)) == ["sg1", "hk1"]
    assert len(doubts) <= MAX_DOUBTS

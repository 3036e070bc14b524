"""From lines to traffic classes, and from what is there to what is wanted."""

import pytest

from gateway.line.model import REST, NodeConfig
from gateway.line.shaping import (
    AddQdisc,
    Class,
    DeleteClass,
    DeleteQdisc,
    SetClass,
    Step,
    Tree,
    diff,
    trees,
)
from tests.gateway.line.kit import NODE, line
from whitelist.model import Line, LineShare


def share(number: int, up: int = 0, ceiling: int = 0) -> LineShare:
    return LineShare(tenant=f"t{number}", number=number, up=up, up_ceiling=ceiling)


def up(*shares: LineShare, rate: int = 40_000, number: int = 1) -> Line:
    return line(number, rate_up=rate, shares=shares)


M = 125_000  # bytes per second in a Mbit/s
RATES = [
    ("the line's class has the line's rate", up(), 0x100, 40 * M, 40 * M),
    ("who has no share has one part in two hundred and may use all", up(), 0x1FF, 40 * M // 200, 40 * M),
    ("a guarantee and no ceiling but the line's", up(share(7, 10_000)), 0x107, 10 * M, 40 * M),
    ("a ceiling", up(share(7, 10_000, 20_000)), 0x107, 10 * M, 20 * M),
    ("a ceiling above the line's is the line's", up(share(7, 10_000, 90_000)), 0x107, 10 * M, 40 * M),
    ("a ceiling below the least rate bounds it", up(share(7, 0, 100)), 0x107, 12_500, 12_500),
    ("no guarantee", up(share(7)), 0x107, 40 * M // 200, 40 * M),
    ("guarantees of twice the line are halved", up(share(1, 39_800), share(2, 40_000)), 0x101, 19_900 * 125, 40 * M),
    ("more than 32 bits", up(share(3, 50_000_000), rate=100_000_000), 0x103, 50_000 * M, 100_000 * M),
    ("the highest index and number", up(share(250, 10_000), number=255), 0xFFFA, 10 * M, 40 * M),
]


@pytest.mark.parametrize(("entry", "minor", "rate", "ceil"), [pytest.param(*row[1:], id=row[0]) for row in RATES])
def test_rates(entry: Line, minor: int, rate: int, ceil: int) -> None:
    found = trees([entry], NODE)[entry.device].classes[minor]
    assert (found.rate, found.ceil) == (rate, ceil)
    assert 1_600 <= found.quantum <= 60_000


def test_the_guarantees_of_a_line_never_exceed_it() -> None:
    found = trees([up(*(share(n, 1_000 * n) for n in range(1, 251)))], NODE)["iplc1"].classes
    assert len(found) == 252
    assert sum(one.rate for one in found.values() if one.parent) <= found[0x100].rate


TREES = [
    ("nothing shaped, nothing wanted", [line(1), line(2)], {}),
    ("uploads on the line's device only", [up()], {"iplc1": (0x1FF, {0x100, 0x1FF})}),
    ("each line on its own device", [up(), up(number=2)], {"iplc1": (0x1FF, {256, 511}), "iplc2": (0x2FF, {512, 767})}),
    (
        "downloads of all lines on all access devices, the rest direct",
        [line(1, rate_down=5), line(2, rate_down=5, shares=(share(9),))],
        {device: (0, {0x100, 0x1FF, 0x200, 0x209, 0x2FF}) for device in ("acc0", "acc1")},
    ),
    ("numbers that no share may have", [up(share(0), share(251), share(REST))], {"iplc1": (0x1FF, {0x100, 0x1FF})}),
    ("a line without an index", [up(number=0), line(256, rate_down=5)], {}),
]


@pytest.mark.parametrize(("entries", "wanted"), [pytest.param(*row[1:], id=row[0]) for row in TREES])
def test_trees(entries: list[Line], wanted: dict[str, tuple[int, set[int]]]) -> None:
    found = trees(entries, NODE)
    assert {device: (tree.default, set(tree.classes)) for device, tree in found.items()} == wanted
    for tree in found.values():
        assert all(one.parent in (0, one.minor & 0xFF00) and one.minor == at for at, one in tree.classes.items())


def test_without_access_devices_downloads_are_not_shaped() -> None:
    assert trees([line(1, rate_down=5)], NodeConfig()) == {}


ROOT, LEAF = Class(0x100, 0, 500, 500, 60_000), Class(0x101, 0x100, 100, 500, 12_000)
SLOW, MOVED = Class(0x101, 0x100, 50, 500, 12_000), Class(0x101, 0, 100, 500, 12_000)
OURS = Tree(0x101, {0x101: LEAF, 0x100: ROOT})
ADDED: list[Step] = [SetClass("d", ROOT, new=True), SetClass("d", LEAF, new=True)]

STEPS: list[tuple[str, Tree | None, Tree | None, list[Step]]] = [
    ("nothing there, nothing wanted", None, None, []),
    ("as wanted", OURS, OURS, []),
    ("nothing there", OURS, None, [AddQdisc("d", 0x101), *ADDED]),
    ("a foreign qdisc", OURS, Tree(foreign="tbf 1:"), [AddQdisc("d", 0x101, "tbf 1:"), *ADDED]),
    ("a foreign qdisc where nothing is wanted", None, Tree(foreign="tbf 1:"), []),
    ("ours where nothing is wanted", None, OURS, [DeleteQdisc("d")]),
    ("another default", OURS, Tree(0, OURS.classes), [DeleteQdisc("d"), AddQdisc("d", 0x101), *ADDED]),
    ("another rate", OURS, Tree(0x101, {0x100: ROOT, 0x101: SLOW}), [SetClass("d", LEAF, new=False)]),
    ("a class is missing", OURS, Tree(0x101, {0x100: ROOT}), [SetClass("d", LEAF, new=True)]),
    ("all classes are missing", OURS, Tree(0x101), ADDED),
    ("another parent", OURS, Tree(0x101, {0x100: ROOT, 0x101: MOVED}), [DeleteClass("d", 0x101), ADDED[1]]),
    ("a line too many", Tree(0x101), OURS, [DeleteClass("d", 0x101), DeleteClass("d", 0x100)]),
]


@pytest.mark.parametrize(("want", "there", "steps"), [pytest.param(*row[1:], id=row[0]) for row in STEPS])
def test_steps(want: Tree | None, there: Tree | None, steps: list[Step]) -> None:
    assert diff({"d": want} if want else {}, {"d": there}) == steps


def test_a_device_that_is_not_there_waits() -> None:
    assert diff({"d": OURS}, {}) == []


def test_steps_say_what_they_do() -> None:
    assert [str(step) for step in (*diff({"d": OURS}, {"d": Tree(foreign="tbf 1:")}), DeleteClass("d", 0x1FF))] == [
        "add qdisc on d instead of foreign tbf 1:",
        "add class 4600:100 rate 4 ceil 4 kbit/s on d",
        "add class 4600:101 rate 0 ceil 4 kbit/s on d",
        "delete class 4600:1ff on d",
    ]

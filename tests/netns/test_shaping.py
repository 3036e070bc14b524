"""Two greedy tenants on one shaped line, measured against each other in one run, and what others do to the qdiscs."""

import contextlib
import selectors
import socket
from collections import Counter
from collections.abc import Iterator

import pytest

from gateway.line.model import REST, class_of
from gateway.line.shaper import Shaper
from gateway.line.shaping import HANDLE, trees
from gateway.line.tc import TrafficControl
from tests.netns.bench import line_of, node_of
from tests.netns.kit import Zone
from whitelist.model import Line, LineShare

pytestmark = pytest.mark.root
RATE = 40_000
WARM, MEASURED = 3_000_000, 7_500_000  # bytes
STREAMS = 3
_LARGEST = 1 << 17


def shaped(zone: Zone, *shares: tuple[int, int]) -> Line:
    """A line of 40 Mbit/s each way; shares: guaranteed and ceiling in kbit/s, the same in both directions."""
    line = line_of(zone, 1, "iplc1")
    rows = tuple(
        LineShare(tenant=f"t{n}", number=n, up=rate, up_ceiling=ceil, down=rate, down_ceiling=ceil)
        for n, (rate, ceil) in enumerate(shares, 1)
    )
    fields = {name: getattr(line, name) for name in line.__struct_fields__}
    return Line(**(fields | {"rate_up": RATE, "rate_down": RATE, "shares": rows}))


@contextlib.contextmanager
def shaping(zone: Zone, *lines: Line) -> Iterator[tuple[Shaper, list[tuple[str, bool]]]]:
    """The shaper after its first sweep, and what it tells."""
    told: list[tuple[str, bool]] = []
    with zone.gateway.inside():
        shaper = Shaper(node_of(zone), lambda detail, *, repaired: told.append((detail, repaired)))
    try:
        shaper.want(lines)
        assert shaper.sweep() == []
        assert told == []
        yield shaper, told
    finally:
        shaper.close()


def stands(zone: Zone, *lines: Line) -> bool:
    """Whether the kernel holds exactly the trees of these lines."""
    with zone.gateway.inside():
        control = TrafficControl()
    try:
        actual = control.read()[1]
    finally:
        control.close()
    return {device: tree for device, tree in actual.items() if tree is not None} == trees(lines, node_of(zone))


def shares_of(zone: Zone, device: str, numbers: tuple[int, ...]) -> Counter[int]:
    """Bytes that came through the device by tenant while all of them send as fast as they can."""
    wire = zone.wires[device]
    with wire.ns.inside():
        server = socket.create_server((wire.far[4], 5000), backlog=64)
    pairs: list[tuple[int, socket.socket, socket.socket]] = []
    with server, contextlib.ExitStack() as stack, selectors.DefaultSelector() as selector:
        for number in [number for number in numbers for _ in range(STREAMS)]:
            with zone.gateway.inside():
                sender = stack.enter_context(socket.socket())
            sender.setsockopt(socket.SOL_SOCKET, socket.SO_PRIORITY, class_of(1, number))
            sender.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _LARGEST)
            sender.settimeout(10)
            sender.connect((wire.far[4], 5000))
            receiver = stack.enter_context(server.accept()[0])
            pairs.append((number, sender, receiver))
        for number, sender, receiver in pairs:
            sender.setblocking(False)
            receiver.setblocking(False)
            selector.register(sender, selectors.EVENT_WRITE, 0)
            selector.register(receiver, selectors.EVENT_READ, number)
        total: Counter[int] = Counter()
        before: Counter[int] | None = None
        while before is None or total.total() - before.total() < MEASURED:
            for key, _ in selector.select(10):
                assert isinstance(key.fileobj, socket.socket)
                if key.data:
                    total[key.data] += len(key.fileobj.recv(_LARGEST))
                else:
                    key.fileobj.send(bytes(_LARGEST))
            if before is None and total.total() >= WARM:
                before = total.copy()
        return total - before


SHARES = [
    ("guarantees are kept in proportion", ((10_000, 0), (30_000, 0)), (1, 2), 0.25),
    ("a ceiling holds and the other gets the rest", ((20_000, 10_000), (20_000, 0)), (1, 2), 0.25),
    ("what an idle tenant leaves is lent", ((10_000, 0), (10_000, 10_000), (20_000, 0)), (1, 2), 0.75),
    ("a tenant without a share cannot crowd out a guarantee", ((30_000, 30_000),), (1, REST), 0.75),
]


@pytest.mark.parametrize("device", ["iplc1", "acc0"])
@pytest.mark.parametrize(("shares", "greedy", "part"), [pytest.param(*row[1:], id=row[0]) for row in SHARES])
def test_greedy_tenants(
    zone: Zone, device: str, shares: tuple[tuple[int, int], ...], greedy: tuple[int, ...], part: float
) -> None:
    line = shaped(zone, *shares)
    with shaping(zone, line):
        assert stands(zone, line)
        got = shares_of(zone, device, greedy)
    first = got[greedy[0]] / got.total()
    assert first == pytest.approx(part, rel=0.1), got
    assert 1 - first == pytest.approx(1 - part, rel=0.1), got


DAMAGE = [
    ("the line's qdisc removed", "tc qdisc del dev iplc1 root"),
    ("the access device's qdisc removed", "tc qdisc del dev acc0 root"),
    ("a foreign qdisc instead", "tc qdisc replace dev acc0 root handle 9: pfifo"),
    (
        "a class with another rate",
        "tc class change dev iplc1 classid 4600:101 htb rate 1mbit ceil 40mbit quantum 15000",
    ),
    ("a class gone", "tc class del dev acc0 classid 4600:101"),
    ("a class too many", "tc class add dev iplc1 parent 4600:100 classid 4600:177 htb rate 1mbit quantum 2000"),
]


@pytest.mark.parametrize("command", [pytest.param(row[1], id=row[0]) for row in DAMAGE])
def test_damage_is_repaired_and_told(zone: Zone, command: str) -> None:
    line = shaped(zone, (10_000, 0), (30_000, 0))
    with shaping(zone, line) as (shaper, told):
        zone.run(command)
        assert not stands(zone, line)
        assert shaper.sweep()
        assert told and all(repaired for _, repaired in told)
        assert stands(zone, line)
        assert shaper.sweep() == []


def test_other_shares_are_no_drift_and_no_shares_take_the_qdiscs_away(zone: Zone) -> None:
    first, second = shaped(zone, (10_000, 0), (30_000, 0)), shaped(zone, (20_000, 25_000))
    plain = line_of(zone, 1, "iplc1")
    with shaping(zone, first) as (shaper, told):
        for line in (second, plain):
            shaper.want([line])
            assert shaper.sweep() == []
            assert stands(zone, line)
        assert told == []


def test_a_foreign_qdisc_of_an_unshaped_device_is_left_alone(zone: Zone) -> None:
    zone.run("tc qdisc replace dev iplc2 root handle 9: pfifo")
    with shaping(zone, shaped(zone, (10_000, 0))) as (shaper, _):
        shaper.want([])
        assert shaper.sweep() == []
        with zone.gateway.inside():
            control = TrafficControl()
        found = control.read()[1]
        control.close()
    assert [tree.foreign for tree in found.values() if tree is not None] == ["pfifo 9:"]
    assert HANDLE >> 16 == 0x4600


def test_a_device_that_comes_again_is_shaped_again_without_drift(zone: Zone) -> None:
    line = shaped(zone, (10_000, 0))
    with shaping(zone, line) as (shaper, told):
        zone.run("ip link del iplc1")
        assert shaper.sweep() == []
        zone.plug("iplc1")
        assert shaper.sweep() == []
        assert stands(zone, line)
        assert told == []


def test_a_line_of_100_gbit_with_250_shares_reads_back_as_it_was_written(zone: Zone) -> None:
    rows = tuple(LineShare(tenant=f"t{n}", number=n, up=n, up_ceiling=400_000 * n) for n in range(1, 251))
    plain = line_of(zone, 1, "iplc1")
    fields = {name: getattr(plain, name) for name in plain.__struct_fields__}
    line = Line(**(fields | {"rate_up": 100_000_000, "shares": rows}))
    with shaping(zone, line) as (shaper, _):
        assert stands(zone, line)
        assert shaper.sweep() == []

"""No packet of a tenant leaves except marked, on its line's device, to its line's gateway: layer by layer.

Each case runs traffic with every layer on, takes one away while it runs, and counts what came out on the default wire
and on the other line. The first case has all layers off and must see the packets, or the counters prove nothing.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

from tests.netns.bench import FLUSH_ROUTES, FLUSH_RULES, NO_TABLE, Bench
from tests.netns.traffic import Opener, Traffic, partial, whole

pytestmark = pytest.mark.root
BEFORE, AFTER = 3, 12  # rounds of traffic before and after a removal; a round has 4 new sockets and 2 live ones
TABLE: list[str] = []


@pytest.fixture(scope="module", autouse=True)
def printed() -> Iterator[None]:
    yield
    print("\n\nlayer removed under running traffic           default wire  other line  on the line before / after")
    print("\n".join(TABLE))


LOOKUPS = [f"ip -{v} rule del pref {p}" for v in (4, 6) for p in (4610, 4610, 4620, 4620)]
PROHIBITS = [f"ip -{v} rule del pref {p}" for v in (4, 6) for p in (4680, 4690, 4690)]
UNREACHABLE = [f"ip -{v} route del unreachable default table 4601 metric 4278198272" for v in (4, 6)]
GATEWAYS = [f"ip -{v} route del default table 4601 metric 10" for v in (4, 6)]
OTHER_DEFAULT = [
    "ip route add default via 198.51.101.1 dev iplc2 metric 1",
    "ip -6 route add default via 2001:db8:2::1 dev iplc2 metric 1",
]
FORWARD = ["sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1"]


@dataclass
class Case:
    """sentence: what is missing; remove: commands in the gateway; opener: how the sockets are made."""

    sentence: str
    remove: list[str]
    opener: Callable[[Bench], Opener] = lambda bench: whole(bench.one)
    starts: bool = True  # whether the traffic reaches the line before the removal


def mark_only(bench: Bench) -> Opener:
    return partial(mark=bench.one.mark)


def device_only(bench: Bench) -> Opener:
    return partial(device=bench.one.device)


def source_only(bench: Bench) -> Opener:
    return partial(source=bench.one)


def nothing(bench: Bench) -> Opener:
    return partial()


def wrong_mark(bench: Bench) -> Opener:
    return partial(bench.two.mark, bench.one.device, bench.one)


def unknown_mark(bench: Bench) -> Opener:
    return partial(0x46007700, bench.one.device, bench.one)


def marked_without_device(bench: Bench) -> Opener:
    return partial(bench.one.mark, "", bench.one)


def bound_without_mark(bench: Bench) -> Opener:
    return partial(0, bench.one.device, bench.one)


CASES = [
    Case("nothing", []),
    Case("nft table", NO_TABLE),
    Case("mark and source rules", LOOKUPS),
    Case("prohibit rules", PROHIBITS),
    Case("all rules", FLUSH_RULES),
    Case("gateway routes", GATEWAYS),
    Case("unreachable routes", UNREACHABLE),
    Case("all routes", FLUSH_ROUTES),
    Case("nft table and all rules", [*NO_TABLE, *FLUSH_RULES]),
    Case("nft table and all routes", [*NO_TABLE, *FLUSH_ROUTES]),
    Case("nft table, all rules and all routes", [*NO_TABLE, *FLUSH_RULES, *FLUSH_ROUTES]),
    Case("rules and routes", FLUSH_RULES + FLUSH_ROUTES),
    Case("mark of the socket", [], bound_without_mark, starts=False),
    Case("device of the socket", [], marked_without_device),
    Case("source of the socket", [], lambda b: partial(b.one.mark, b.one.device)),
    Case("mark is the other line's", [], wrong_mark, starts=False),
    Case("mark is no line's", [], unknown_mark, starts=False),
    Case("nft table, and device of the socket", NO_TABLE, marked_without_device),
    Case("nft table, and mark of the socket", NO_TABLE, bound_without_mark, starts=False),
    Case("device of the socket, and all routes", FLUSH_ROUTES, marked_without_device),
    Case("device of the socket, and all rules", FLUSH_RULES, marked_without_device),
    Case("nft table alone left: plain sockets", FLUSH_RULES + FLUSH_ROUTES, nothing, starts=False),
    Case("nft table alone left: marked sockets", FLUSH_RULES + FLUSH_ROUTES, mark_only),
    Case("nft table alone left: sources", FLUSH_RULES + FLUSH_ROUTES, source_only, starts=False),
    Case("nft table alone left: devices", FLUSH_RULES + FLUSH_ROUTES, device_only, starts=False),
    Case("device binding alone left", [*NO_TABLE, *FLUSH_RULES, *FLUSH_ROUTES], device_only, starts=False),
    Case("line's device down", ["ip link set iplc1 down"]),
    Case("line's device down, nft table", ["ip link set iplc1 down", *NO_TABLE]),
    Case("line's device down, device of the socket", ["ip link set iplc1 down"], marked_without_device),
    Case("line's device down, table and device", ["ip link set iplc1 down", *NO_TABLE], marked_without_device),
    Case("line's device deleted", ["ip link del iplc1"]),
    Case("line's device deleted, nft table", ["ip link del iplc1", *NO_TABLE]),
    Case("line's device deleted, device of the socket", ["ip link del iplc1"], marked_without_device),
    Case("line's device renamed", ["ip link set iplc1 down", "ip link set iplc1 name other up"]),
    Case("line's device renamed, nft table", [*NO_TABLE, "ip link set iplc1 down", "ip link set iplc1 name other up"]),
    Case("line's addresses gone", ["ip -4 addr flush dev iplc1", "ip -6 addr flush dev iplc1 scope global"]),
    Case("forwarding switched on", FORWARD),
    Case("default route by the other line", OTHER_DEFAULT),
]  # fmt: skip


def test_with_all_layers_off_the_counters_see_the_packets(bench: Bench) -> None:
    bench.run(*NO_TABLE, *FLUSH_RULES, *FLUSH_ROUTES)
    bench.zone.count("wan0")
    with Traffic(bench.zone, partial()) as traffic:
        traffic.wait(BEFORE)
    seen = bench.zone.count("wan0")
    TABLE.append(f"{'every layer, plain sockets (control)':46}{seen.leaked:12}")
    assert seen.ipv4 > BEFORE
    assert seen.ipv6 > BEFORE


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.sentence)
def test_no_packet_leaves_elsewhere_without(bench: Bench, case: Case) -> None:
    for device in ("wan0", "iplc1", "iplc2"):
        bench.zone.count(device)
    with Traffic(bench.zone, case.opener(bench)) as traffic:
        traffic.wait(BEFORE)
        before = bench.zone.count("iplc1").leaked
        bench.run(*case.remove)
        traffic.wait(AFTER)
    wire, other, line = (bench.zone.count(device) for device in ("wan0", "iplc2", "iplc1"))
    TABLE.append(f"{case.sentence:46}{wire.leaked:12}{other.leaked:12}{before:12} / {line.leaked}")
    assert (wire.leaked, other.leaked) == (0, 0), f"{wire} {other}"
    assert bool(before) == case.starts

"""No packet of a line in a tunnel leaves except wrapped, by the wire under it: VXLAN over both families, and SRv6.

As test_leaks.py, with one thing more to count: packets on the right wire that are not wrapped. All layers off comes
first, and must see packets there and on the default wire.
"""

import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest
from msgspec.structs import replace

from gateway.line import dial
from ops.doctor import egress
from tests.netns.bench import FLUSH_RULES, NO_TABLE, Bench, node_of
from tests.netns.kit import ABROAD, AF, PORT, Zone
from tests.netns.traffic import Opener, Traffic, partial, whole
from tests.netns.tunnels import Tunnel, in_the_clear, srv6_line, tunnel, vxlan_line

pytestmark = pytest.mark.root
BEFORE, AFTER = 3, 8  # rounds of traffic before and after a removal
WRAPPED = 2 * BEFORE  # a line with traffic sends far more; the kernel's own MLD in the tunnel is one or two
VXLAN = ("VXLAN over IPv4", "VXLAN over IPv6")
KINDS = {
    VXLAN[0]: lambda zone: vxlan_line(zone, 4),
    VXLAN[1]: lambda zone: vxlan_line(zone, 6),
    "SRv6": srv6_line,
}
TABLE: list[str] = []


@pytest.fixture(scope="module", autouse=True)
def printed() -> Iterator[None]:
    yield
    heads = f"{'default wire':>12}{'other line':>12}{'in the clear':>14}{'wrapped before / after':>24}"
    print(f"\n\n{'layer removed under running traffic':62}{heads}")
    print("\n".join(TABLE))


@pytest.fixture(params=KINDS)
def found(zone: Zone, request: pytest.FixtureRequest) -> Iterator[Tunnel]:
    with tunnel(zone, KINDS[request.param](zone)) as made:
        yield made


def bound(bench: Bench) -> Opener:
    return partial(device=bench.one.device)


def bound_with_source(bench: Bench) -> Opener:
    return partial(0, bench.one.device, bench.one)


def marked(bench: Bench) -> Opener:
    return partial(bench.one.mark, "", bench.one)


def under(bench: Bench) -> Opener:
    return partial(bench.one.mark, "iplc1")


def plain(_bench: Bench) -> Opener:
    return partial()


@dataclass
class Case:
    """remove: commands in the gateway; opener: how sockets are made; starts: whether they reach the line before; kinds:
    of tunnels that it makes sense for; on_link: IPv4 packets of a device-bound socket may stand on the line's own wire
    without their wrapping, which only table and rules give them."""

    sentence: str
    remove: Callable[[Tunnel], list[str]] = lambda _: []
    opener: Callable[[Bench], Opener] = lambda bench: whole(bench.one)
    starts: bool = True
    kinds: tuple[str, ...] = (*VXLAN, "SRv6")
    on_link: tuple[str, ...] = ()


def no_table(_: Tunnel) -> list[str]:
    return NO_TABLE


def no_rules(_: Tunnel) -> list[str]:
    return FLUSH_RULES


def other_default(_: Tunnel) -> list[str]:
    return [f"ip -{v} route add default via {hop} dev iplc2 metric 1" for v, hop in
            ((4, "198.51.101.1"), (6, "2001:db8:2::1"))]  # fmt: skip


CASES = [
    Case("nothing"),
    Case("nft table", no_table),
    Case("underlay and segment rules", lambda t: t.rules(4605, 4615)),
    Case("mark rules", lambda t: t.rules(4610)),
    Case("source rules", lambda t: t.rules(4620)),
    Case("all rules that lead", lambda t: t.rules(4605, 4610, 4615, 4620)),
    Case("prohibit rules", lambda t: t.rules(4680, 4690)),
    Case("all rules", no_rules),
    Case("routes to next hops and segments", lambda t: t.metric(5, 10)),
    Case("route to the first segment", lambda t: t.metric(5)),
    Case("default routes", lambda t: t.metric(10)),
    Case("unreachable routes", lambda t: t.metric(4278198272)),
    Case("all routes", lambda t: t.tables()),
    Case("rules and routes", lambda t: FLUSH_RULES + t.tables()),
    Case("nft table and all rules", lambda _: NO_TABLE + FLUSH_RULES, on_link=("SRv6",)),
    Case("nft table and rules that lead", lambda t: NO_TABLE + t.rules(4605, 4610, 4615, 4620), on_link=("SRv6",)),
    Case("nft table and unreachable routes", lambda t: NO_TABLE + t.metric(4278198272)),
    Case("source of the socket", opener=lambda b: partial(b.one.mark, b.one.device)),
    Case("mark of the socket", opener=bound_with_source, starts=False),
    Case("device of the socket", opener=marked),
    Case("device of the socket, nft table", no_table, marked),
    Case("device is the wire's own", opener=under, starts=False, kinds=VXLAN),
    Case("device is the wire's own, all rules", no_rules, under, starts=False, kinds=VXLAN),
    Case("nft table alone left: plain sockets", lambda t: FLUSH_RULES + t.tables(), plain, starts=False),
    Case("nft table alone left: bound sockets", lambda t: FLUSH_RULES + t.tables(), bound, starts=False),
    Case("nft table alone left: marked sockets", lambda t: FLUSH_RULES + t.tables(), marked),
    Case("line's device down", lambda t: [f"ip link set {t.bench.one.device} down"]),
    Case("line's device down, nft table", lambda t: [*NO_TABLE, f"ip link set {t.bench.one.device} down"]),
    Case("line's device deleted", lambda t: [f"ip link del {t.bench.one.device}"]),
    Case("line's device deleted, nft table", lambda t: [*NO_TABLE, f"ip link del {t.bench.one.device}"]),
    Case("line's device deleted, device of the socket", lambda t: [f"ip link del {t.bench.one.device}"], marked),
    Case("wire down", lambda _: ["ip link set iplc1 down"]),
    Case("wire down, nft table", lambda _: [*NO_TABLE, "ip link set iplc1 down"]),
    Case("wire deleted", lambda _: ["ip link del iplc1"]),
    Case("wire deleted, nft table", lambda _: [*NO_TABLE, "ip link del iplc1"]),
    Case("wire renamed", lambda _: ["ip link set iplc1 down", "ip link set iplc1 name other up"]),
    Case("outer addresses gone", lambda _: ["ip -4 addr flush dev iplc1", "ip -6 addr flush dev iplc1 scope global"]),
    Case("forwarding switched on", lambda _: ["sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1"]),
    Case("default route by the other line", other_default),
    Case("default route by the other line, nft table", lambda t: [*NO_TABLE, *other_default(t)]),
]


def test_with_all_layers_off_the_counters_see_the_packets(found: Tunnel) -> None:
    bench = found.bench
    bench.run(*NO_TABLE, *FLUSH_RULES, *found.tables())
    for device in ("wan0", "iplc1"):
        bench.zone.count(device)
    for opener in (partial(), partial(device="iplc1")):
        with Traffic(bench.zone, opener) as traffic:
            traffic.wait(BEFORE)
    assert bench.zone.count("wan0").leaked > BEFORE
    assert len(in_the_clear(bench.zone.count("iplc1"))) > 0


@pytest.mark.parametrize(
    ("found", "case"),
    [pytest.param(kind, case, id=f"{kind}: {case.sentence}") for kind in KINDS for case in CASES if kind in case.kinds],
    indirect=["found"],
)
def test_no_packet_leaves_elsewhere_or_in_the_clear_without(
    found: Tunnel, case: Case, request: pytest.FixtureRequest
) -> None:
    bench, kind = found.bench, request.node.callspec.params["found"]
    for device in ("wan0", "iplc1", "iplc2"):
        bench.zone.count(device)
    with Traffic(bench.zone, case.opener(bench)) as traffic:
        traffic.wait(BEFORE)
        before = bench.zone.count("iplc1")
        bench.run(*case.remove(found))
        traffic.wait(AFTER)
    wire, other, line = (bench.zone.count(device) for device in ("wan0", "iplc2", "iplc1"))
    clear = in_the_clear(before) + in_the_clear(line)
    counts = f"{wire.leaked:12}{other.leaked:12}{len(clear):14}{before.leaked:12} / {line.leaked}"
    TABLE.append(f"{kind + ': ' + case.sentence:62}{counts}")
    assert (wire.leaked, other.leaked) == (0, 0), f"{wire} {other}"
    if kind in case.on_link:
        clear = [text for text in clear if bytes.fromhex(text)[0] >> 4 == 6]
    assert clear == []
    assert (before.leaked > WRAPPED) == case.starts


def test_doctor_egress_finds_no_way_out_and_tells_those_that_the_table_alone_closes(found: Tunnel) -> None:
    bench = found.bench
    with bench.zone.gateway.inside():
        whole = egress.examine(node_of(bench.zone), found.lines)
        bench.run(*NO_TABLE)
        bench.zone.count("wan0")
        bare = egress.examine(node_of(bench.zone), found.lines)
    assert not [result for result in whole if result.verdict in egress.BAD]
    told = {result.attempt for result in whole if result.verdict is egress.Verdict.STOPPED and result.line == "line-1"}
    assert {"outer source alone", "forged packet with its outer source"} <= told
    leaked = {result.attempt for result in bare if result.verdict is egress.Verdict.LEAKED}
    assert "plain socket of root" in leaked
    assert bench.zone.count("wan0").leaked > 0


def test_what_was_taken_away_comes_back_and_carries_data(found: Tunnel) -> None:
    bench = found.bench
    bench.run(*NO_TABLE, *FLUSH_RULES, *found.tables())
    if found.wanted.devices:
        bench.run(f"ip link del {bench.one.device}")
    with bench.zone.gateway.inside():
        bench.keeper.sweep()
        for version in AF:
            sock = dial.open_socket(version, bench.one)
            sock.settimeout(3)
            sock.connect((ABROAD[version], PORT))
            sock.sendall(bytes(300_000))  # more than one packet of the largest size
            sock.close()
        assert bench.keeper.sweep() == []  # and nothing is left to do


OWN_DEVICE: dict[str, tuple[str, list[str], list[str]]] = {
    "it is set down": ("ip link set vx1 down", ["set vx1 up", "add ip -4 route", "add ip -6 route"], []),
    "an address is taken off it": (
        "ip addr del 10.200.1.2/32 dev vx1", ["add address 10.200.1.2 to vx1", "add ip -4 route"], [],
    ),
    "a stranger's address is put on it": ("ip addr add 10.9.9.9/32 dev vx1", ["delete address 10.9.9.9 of vx1"], []),
    "its packets are made larger": ("ip link set vx1 mtu 1400", ["set vx1 mtu 1450"], []),
    "it is taken away": ("ip link del vx1", ["make ip link vx1"], []),
    "the one under it has smaller packets": ("ip link set iplc1 mtu 1400", [], ["set vx1 mtu 1350"]),
    "the one under it was taken away": ("ip link del iplc1", [], []),
}  # fmt: skip


@pytest.mark.parametrize("sentence", OWN_DEVICE)
def test_the_gateways_own_device_is_put_right_and_told_when(zone: Zone, sentence: str) -> None:
    command, told, untold = OWN_DEVICE[sentence]
    with tunnel(zone, vxlan_line(zone, 4)) as made, zone.gateway.inside():
        keeper = made.bench.keeper
        assert keeper.sweep() == []
        made.bench.run(command)
        taken = [str(step) for step in keeper.sweep()]
        assert keeper.repairs == len(told), taken
        for start in told + untold:
            assert any(step.startswith(start) for step in taken), taken


@pytest.mark.parametrize("kind", KINDS)
def test_no_segment_is_larger_than_the_inner_mtu_allows(zone: Zone, kind: str) -> None:
    line = KINDS[kind](zone)
    line = replace(line, encapsulation=replace(line.encapsulation, mtu=1300))
    with tunnel(zone, line) as made, zone.gateway.inside():
        assert made.bench.keeper.sweep() == []
        for version, headers in ((4, 40), (6, 60)):
            sock = dial.open_socket(version, made.bench.one)
            sock.settimeout(3)
            sock.connect((ABROAD[version], PORT))
            assert 1200 < sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG) + headers <= 1300
            sock.close()


def test_a_device_of_somebody_else_is_neither_used_nor_taken_away(zone: Zone) -> None:
    line = vxlan_line(zone, 4)
    zone.run("ip link add vx1 type vxlan id 99 dstport 4789 dev iplc1", "ip link set vx1 up")
    with pytest.raises(AssertionError), tunnel(zone, line):  # it is not up
        pass
    with zone.gateway.inside():
        assert "vx1" in {name for _, name in socket.if_nameindex()}

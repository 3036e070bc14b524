"""Known traps, each first seen with all layers off, then tried with all on and with each single one taken away.

Here: what the gateway's own sockets could send, and what no socket sends (answers to strangers, forwarded packets).
"""

import contextlib
import socket
import struct
from collections.abc import Callable, Iterator

import pytest

from gateway.line.model import handle_of
from tests.netns.bench import Bench, configured, line_of, node_of
from tests.netns.kit import ABROAD, AF, PORT, Zone
from tests.netns.packets import ACK, SYN
from tests.netns.traffic import partial
from tests.netns.trap_kit import BY_TABLE, Found, Trap, icmp, measured, packet, row, send, tcp, udp

pytestmark = pytest.mark.root
BEYOND = {4: "203.0.113.99", 6: "2001:db8:abcd::99"}  # abroad, and nobody there
MAPPED = "::ffff:203.0.113.10"
GROUP = {4: "224.0.0.1", 6: "ff02::1"}
_HDRINCL = {4: (socket.IPPROTO_IP, socket.IP_HDRINCL), 6: (socket.IPPROTO_IPV6, 36)}  # IPV6_HDRINCL
_FASTOPEN = 0x20000000  # MSG_FASTOPEN


def sent(bench: Bench, version: int, target: str, data: bytes = b"x", **parts: object) -> None:
    """A datagram of a socket that has only these parts of what holds it."""
    with contextlib.closing(partial(**parts)(version, datagram=True)) as sock:  # type: ignore[arg-type]
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        sock.sendto(data, (target, 53))


def forwarded(bench: Bench, version: int) -> None:
    wire = bench.zone.wires["acc0"]
    send(wire, udp(wire.far[version], ABROAD[version], (4711, 53)))


def neighbour_routes_through_us(bench: Bench, version: int) -> None:
    wire = bench.zone.wires["iplc1"]
    send(wire, udp(wire.far[version], BEYOND[version], (4711, 53)))


def late_segments(bench: Bench, version: int) -> None:
    wire = bench.zone.wires["iplc1"]
    send(wire, *[tcp(ABROAD[version], wire.near[version], (PORT, 40_000 + n), ACK) for n in range(3)])


def datagrams_nobody_takes(bench: Bench, version: int) -> None:
    wire = bench.zone.wires["iplc1"]
    send(wire, *[udp(ABROAD[version], wire.near[version], (53, 40_000 + n)) for n in range(3)])


def pings(bench: Bench, version: int) -> None:
    wire = bench.zone.wires["iplc1"]
    send(wire, icmp(ABROAD[version], wire.near[version], struct.pack("!BBHHH", 8 if version == 4 else 128, 0, 0, 1, 1)))


def unknown_protocol(bench: Bench, version: int) -> None:
    wire = bench.zone.wires["iplc1"]
    send(wire, packet(ABROAD[version], wire.near[version], 253, b"protocol nobody has"))  # RFC 3692 2.1


def pings_by_the_default_wire(bench: Bench, version: int) -> None:
    kind = 8 if version == 4 else 128
    target = bench.zone.wires["iplc1"].near[version]
    send(bench.zone.wires["wan0"], icmp(ABROAD[version], target, struct.pack("!BBHHH", kind, 0, 0, 1, 1)))


def bound_to_the_default_wire(bench: Bench, version: int) -> None:
    sent(bench, version, ABROAD[version], mark=bench.one.mark, device="wan0", source=bench.one)


def mapped(bench: Bench, mark: int, device: str = "") -> None:
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sock:
        if mark:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, mark)
        if device:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, device.encode())
        sock.sendto(b"x", (MAPPED, 53))


def raw(mark: bool, device: str, line: str) -> Callable[[Bench, int], None]:
    """A raw socket that writes its own header, with the source of the line on this wire."""

    def attack(bench: Bench, version: int) -> None:
        source = bench.zone.wires[line].near[version]
        with socket.socket(AF[version], socket.SOCK_RAW, socket.IPPROTO_RAW) as sock:
            sock.setsockopt(*_HDRINCL[version], 1)
            if mark:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, bench.one.mark)
            if device:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, device.encode())
            sock.sendto(udp(source, ABROAD[version], (4711, 53)), (ABROAD[version], 0))

    return attack


def to_the_group(bench: Bench, version: int, **parts: object) -> None:
    with contextlib.closing(partial(**parts)(version, datagram=True)) as sock:  # type: ignore[arg-type]
        if version == 4:
            near = socket.inet_aton(bench.zone.wires["wan0"].near[4])
            sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, near)
        else:
            index = struct.pack("@I", socket.if_nametoindex("wan0"))
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, index)
        sock.sendto(b"x", (GROUP[version], 53))


def broadcast(bench: Bench, version: int) -> None:
    sent(bench, 4, "255.255.255.255", mark=bench.one.mark, device="wan0")
    sent(bench, 4, "192.0.2.7", mark=bench.one.mark, device="wan0")  # wan0's own broadcast address (/29)


def fast_open(bench: Bench, version: int, **parts: object) -> None:
    with contextlib.closing(partial(**parts)(version, datagram=False)) as sock:  # type: ignore[arg-type]
        sock.sendto(b"x", _FASTOPEN, (ABROAD[version], PORT))


def listening_on_the_line(bench: Bench, version: int) -> None:
    wire = bench.zone.wires["iplc1"]
    with socket.create_server((wire.near[version], 4000), family=AF[version]) as server:
        server.setsockopt(socket.IPPROTO_TCP, socket.TCP_FASTOPEN, 16)
        send(wire, tcp(ABROAD[version], wire.near[version], (PORT, 4000), SYN))


def fragments(bench: Bench, version: int) -> None:
    sent(bench, version, ABROAD[version], b"x" * 4000, mark=bench.one.mark)


def lone_fragment(bench: Bench, version: int) -> None:
    """What stands behind a packet's first 8 octets, without the first fragment: no ports to look at."""
    source = bench.zone.wires["iplc1"].near[version]
    body = b"x" * 8 if version == 4 else struct.pack("!BBHI", 17, 0, 8, 77) + b"x" * 8  # RFC 8200 4.5
    whole = packet(source, ABROAD[version], 17 if version == 4 else 44, body, offset=1)
    with socket.socket(AF[version], socket.SOCK_RAW, socket.IPPROTO_RAW) as sock:
        sock.setsockopt(*_HDRINCL[version], 1)
        sock.sendto(whole, (ABROAD[version], 0))


def by_message(bench: Bench, version: int, mark: int, chosen: tuple[int, int, bytes], source: str = "") -> None:
    """One message says where it goes, over what its socket says (cmsg(3))."""
    with contextlib.closing(partial(mark)(version, datagram=True)) as sock:
        if source:
            sock.bind((bench.zone.wires[source].near[version], 0))
        sock.sendmsg([b"x"], [chosen], 0, (ABROAD[version], 53))


def on_the_default_wire(bench: Bench, version: int) -> None:
    index = socket.if_nametoindex("wan0")
    chosen = {
        4: (socket.IPPROTO_IP, 8, struct.pack("@i8x", index)),  # IP_PKTINFO, struct in_pktinfo
        6: (socket.IPPROTO_IPV6, socket.IPV6_PKTINFO, struct.pack("@16xI", index)),
    }
    by_message(bench, version, bench.one.mark, chosen[version])


def message_without_mark(bench: Bench, version: int) -> None:
    chosen = (socket.SOL_SOCKET, socket.SO_MARK, struct.pack("@I", 0))
    by_message(bench, version, bench.one.mark, chosen, "iplc1")


def unicast_by_the_default_wire(bench: Bench, version: int) -> None:
    index = struct.pack("!I", socket.if_nametoindex("wan0"))
    with contextlib.closing(partial(bench.one.mark)(version, datagram=True)) as sock:
        option = (socket.IPPROTO_IP, 50) if version == 4 else (socket.IPPROTO_IPV6, 76)  # IP_UNICAST_IF, IPV6_…
        sock.setsockopt(*option, index)
        sock.sendto(b"x", (ABROAD[version], 53))


def to_the_neighbour(bench: Bench, version: int) -> None:
    sent(bench, version, bench.zone.wires["wan0"].far[version], mark=bench.one.mark)


def source_routed(bench: Bench, _: int) -> None:
    """By way of the default wire's neighbour (RFC 791 3.1: loose source and record route)."""
    route = bytes([131, 7, 4]) + socket.inet_aton(bench.zone.wires["wan0"].far[4]) + b"\0"
    with contextlib.closing(partial(bench.one.mark)(4, datagram=True)) as sock:
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_OPTIONS, route)
        sock.sendto(b"x", (ABROAD[4], 53))


def link_local(bench: Bench, _: int) -> None:
    with contextlib.closing(partial(bench.one.mark)(6, datagram=True)) as sock:
        sock.sendto(b"x", ("ff02::fb", 5353, 0, socket.if_nametoindex("wan0")))


def closed_and_spoken_to(bench: Bench, version: int) -> None:
    """A connection that the gateway closed waits on without a process; what comes then is answered."""
    with contextlib.closing(partial(bench.one.mark, "", bench.one)(version, datagram=False)) as sock:
        sock.settimeout(1)
        sock.connect((ABROAD[version], PORT))
        host, port = sock.getsockname()[:2]
    send(
        bench.zone.wires["iplc1"], *[tcp(ABROAD[version], host, (PORT, port), flags) for flags in (SYN, ACK, SYN | ACK)]
    )


def discovery(
    kind: int, size: int, source: str = "", device: str = "", where: str = ABROAD[6], mark: bool = False
) -> Callable[[Bench, int], None]:
    """What looks like the kernel's own neighbour discovery (RFC 4861 4.3, 4.4) with so many bytes of a program's in it;
    source: the device whose address it has."""

    def attack(bench: Bench, _: int) -> None:
        with socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6) as sock:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS, 255)
            if mark:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, bench.one.mark)
            if device:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, device.encode())
            if source:
                sock.bind((bench.zone.wires[source].near[6], 0))
            target = where or bench.zone.wires["wan0"].far[6]
            sock.sendto(
                struct.pack("!BBHI", kind, 0, 0, 0) + socket.inet_pton(socket.AF_INET6, target) + b"x" * size,
                (target, 0),
            )

    return attack


def listener_report(bench: Bench, _: int) -> None:
    """What looks like the kernel's own MLD (RFC 3810 5.2) and is a program's, behind a router alert."""
    with socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6) as sock:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS, 1)
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_HOPOPTS, bytes([58, 0, 5, 2, 0, 0, 1, 0]))
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"wan0")
        sock.sendto(struct.pack("!BBHHH", 143, 0, 0, 0, 0) + b"x" * 400, (bench.zone.wires["wan0"].far[6], 0))


BOTH = [
    Trap("a client's packet to be forwarded", forwarded),
    Trap("a packet the line's neighbour routes through us", neighbour_routes_through_us),
    Trap("resets to late segments, no socket there", late_segments),
    Trap("ICMP port unreachable to late datagrams", datagrams_nobody_takes),
    Trap("answers to pings of the line's address", pings),
    Trap("ICMP protocol unreachable from the line's address", unknown_protocol),
    Trap("answers to pings of the line's address by the default wire", pings_by_the_default_wire),
    Trap("marked, with the line's source, bound to the default wire", bound_to_the_default_wire,
         BY_TABLE),
    Trap("own header, line's source, line's mark", raw(True, "", "iplc1")),
    Trap("own header, other line's source, line's mark", raw(True, "", "iplc2")),
    Trap("own header, line's source, no mark", raw(False, "", "iplc1"), BY_TABLE),
    Trap("own header, line's source, bound to the default wire", raw(True, "wan0", "iplc1"), BY_TABLE),
    Trap("own header, default wire's source, line's mark", raw(True, "", "wan0")),
    Trap("multicast by the default wire, no mark", to_the_group, BY_TABLE),
    Trap("multicast by the default wire, line's mark",
         lambda b, v: to_the_group(b, v, mark=b.one.mark), BY_TABLE),
    Trap("TCP fast open, no mark", fast_open, BY_TABLE),
    Trap("TCP fast open, line's mark", lambda b, v: fast_open(b, v, mark=b.one.mark)),
    Trap("a socket that listens on the line's address", listening_on_the_line),
    Trap("a datagram above the MTU, line's mark", fragments),
    Trap("one message by the default wire, socket with line's mark", on_the_default_wire, BY_TABLE),
    Trap("one message without the mark, line's source", message_without_mark),
    Trap("socket's unicast device is the default wire, line's mark", unicast_by_the_default_wire, BY_TABLE),
    Trap("to the default wire's neighbour itself, line's mark", to_the_neighbour),
    Trap("answers for a connection that was closed", closed_and_spoken_to),
    Trap("a later fragment without its first, line's source", lone_fragment, BY_TABLE),
]  # fmt: skip
IPV4 = [
    Trap("IPv4-mapped IPv6 socket, no mark", lambda b, _: mapped(b, 0), BY_TABLE),
    Trap("IPv4-mapped IPv6 socket, line's mark", lambda b, _: mapped(b, b.one.mark)),
    Trap("IPv4-mapped IPv6 socket, mark, default wire", lambda b, _: mapped(b, b.one.mark, "wan0"),
         BY_TABLE),
    Trap("source route by the default wire's neighbour, line's mark", source_routed),
    Trap("broadcast by the default wire, line's mark", broadcast, BY_TABLE),
]  # fmt: skip
IPV6 = [
    Trap("to a group of the default wire's link, line's mark", link_local, BY_TABLE),
    Trap("a program's neighbour solicitation to abroad, no mark", discovery(135, 400), BY_TABLE),
    Trap("a program's short neighbour solicitation to abroad, no mark", discovery(135, 8), BY_TABLE),
    Trap("a program's neighbour advertisement to abroad, no mark", discovery(136, 400), BY_TABLE),
    Trap("a program's neighbour solicitation of 20 kB in fragments, no mark", discovery(135, 20_000), BY_TABLE),
    Trap("a program's neighbour solicitation to abroad, line's source", discovery(135, 400, "iplc1"), BY_TABLE),
    Trap("a program's neighbour solicitation, line's source, default wire", discovery(135, 400, "iplc1", "wan0"),
         BY_TABLE),
    Trap("a program's neighbour solicitation, line's source and mark", discovery(135, 400, "iplc1", mark=True)),
    Trap("a program's neighbour solicitation to the default wire's neighbour", discovery(135, 400, where=""), BY_TABLE),
    Trap("a program's multicast listener report on the default wire", listener_report, BY_TABLE),
]  # fmt: skip
ROWS = [
    (trap, version)
    for traps, versions in ((BOTH, (4, 6)), (IPV4, (4,)), (IPV6, (6,)))
    for trap in traps
    for version in versions
]


@pytest.fixture(scope="module")
def found() -> Iterator[dict[tuple[str, int], tuple[int, Found]]]:
    """Everything is measured in one zone: each layer is taken away once."""
    with Zone() as zone, zone.gateway.inside():
        lines = [line_of(zone, 1, "iplc1"), line_of(zone, 2, "iplc2")]
        with configured(node_of(zone), lines) as keeper:
            results = measured(Bench(zone, keeper, *map(handle_of, lines)), ROWS)
    yield {(trap.sentence, version): result for (trap, version), result in zip(ROWS, results, strict=True)}
    print("\n\ntrap" + " " * 63 + "control  packets elsewhere without …")
    for (trap, version), (control, devices) in zip(ROWS, results, strict=True):
        print(row(f"{trap.sentence}, IPv{version}", control, devices))


@pytest.mark.parametrize(("trap", "version"), ROWS, ids=[f"{trap.sentence}, IPv{v}" for trap, v in ROWS])
def test_nothing_goes_elsewhere_by(found: dict[tuple[str, int], tuple[int, Found]], trap: Trap, version: int) -> None:
    control, elsewhere = found[trap.sentence, version]
    assert control, "the attack was not seen with all layers off"
    assert elsewhere.keys() == {"nothing", *trap.without}
    assert not any(count for devices in elsewhere.values() for count in devices.values()), elsewhere

"""VXLAN packets that are not the line's own: made by a program of the node, or come in by a wire or from a sender that
is not the line's. Each is first seen to get through where what holds it is missing, and then not to.
"""

import os
import re
import select
import signal
import socket
import struct
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

from gateway.line.killswitch import render
from gateway.line.plan import sort_out
from ops.privileges import Privileges, apply
from tests.netns.bench import node_of
from tests.netns.kit import ABROAD, AF, PORT, Zone
from tests.netns.traffic import LIMIT
from tests.netns.trap_kit import (
    ALL_OFF,
    BY_TABLE,
    FORWARDING,
    LAYERS,
    LOOSE,
    UDP,
    counted,
    packet,
    send,
    tcp,
    udp,
    watch,
)
from tests.netns.tunnels import INNER_FAR, INNER_NEAR, VNI, VXLAN_PORT, Tunnel, tunnel, vxlan_line

pytestmark = pytest.mark.root
NOBODY = 65534
SYN, FRAGMENT = 0x02, 44
OWN, FORGED, LAST = 40_000, 40_001, 40_002  # source ports, outer and inner
ETHERTYPE = {4: 0x0800, 6: 0x86DD}
STRANGER = {4: "198.51.100.3", 6: "2001:db8:1::3"}  # on the line's wire, not its peer
CLIENT = {4: "10.0.0.1", 6: "2001:db8:0::1"}
ALL = 3  # ETH_P_ALL
IGNORE_OUTGOING = 263, 23  # SOL_PACKET, PACKET_IGNORE_OUTGOING


@pytest.fixture(params=(4, 6), ids=("over IPv4", "over IPv6"))
def found(zone: Zone, request: pytest.FixtureRequest) -> Iterator[Tunnel]:
    with tunnel(zone, vxlan_line(zone, request.param)) as made:
        yield made


def ends(found: Tunnel) -> tuple[int, str, str]:
    """Family of the outer packets, the node's outer address and the peer's."""
    (device,) = found.wanted.devices
    return device.outer.version, device.outer.local, device.outer.peer


def framed(found: Tunnel, inner: bytes) -> bytes:
    """What stands in the datagram: VXLAN header (RFC 7348 5), and an Ethernet frame for the line's device."""
    mac = bytes.fromhex(found.wanted.devices[0].mac.replace(":", ""))
    head = struct.pack("!II", 0x08 << 24, VNI << 8)
    return head + mac + b"\x02far00" + struct.pack("!H", ETHERTYPE[inner[0] >> 4]) + inner


def source_port(whole: bytes) -> int:
    """Of a TCP or UDP packet without options; 0 of any other."""
    if whole[0] >> 4 == 4:
        at, protocol = 20, whole[9]
    else:
        at, protocol = 40, whole[6]
    return int.from_bytes(whole[at : at + 2]) if protocol in (socket.IPPROTO_TCP, socket.IPPROTO_UDP) else 0


def load_without(found: Tunnel, pattern: str) -> None:
    """Loads the lines' table without the rules in which the pattern is; there must be such."""
    node = node_of(found.bench.zone)
    text = render(sort_out(found.lines, node)[0], node).splitlines(keepends=True)
    kept = [line for line in text if not re.search(pattern, line)]
    assert len(kept) < len(text)
    done = subprocess.run(["nft", "-f", "-"], input="".join(kept), capture_output=True, text=True, timeout=10)
    assert done.returncode == 0, done.stderr


def arrived(found: Tunnel, attack: Callable[[], None]) -> int:
    """How many forged packets came out of the tunnel. The peer's own packet, sent behind them, marks the end."""
    _, local, peer = ends(found)
    last = udp(INNER_FAR[4], INNER_NEAR[4], (LAST, 9))
    count = 0
    with socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, 0) as tap:
        tap.setsockopt(*IGNORE_OUTGOING, 1)
        tap.bind(("vx1", ALL))
        attack()
        send(found.bench.zone.wires["iplc1"], udp(peer, local, (OWN, VXLAN_PORT), framed(found, last)))
        while select.select([tap], [], [], LIMIT)[0]:
            port = source_port(tap.recv(2048))
            if port == LAST:
                return count
            count += port == FORGED
    raise AssertionError("the peer's own packet did not arrive")


# ---- made by a program of the node


def as_nobody(attack: Callable[[], None]) -> None:
    """Runs it in a child without any privilege. What the kernel says to it is not looked at."""
    pid = os.fork()
    if not pid:
        try:
            apply(Privileges(uid=NOBODY, gid=NOBODY), os.getppid())
            attack()
        finally:
            os.kill(os.getpid(), signal.SIGKILL)  # nothing of the test's own may run on in it
    os.waitpid(pid, 0)


@dataclass(frozen=True)
class Program:
    """How a program's socket is made. bound: to the line's outer address; device: that it is bound to."""

    bound: bool = True
    device: str = ""


PROGRAMS = {
    "from the line's outer address": Program(),
    "from the line's outer address, bound to the wire": Program(device="iplc1"),
    "bound to the wire alone": Program(bound=False, device="iplc1"),
}


def program_of(found: Tunnel, program: Program, target: str, inner: bytes) -> Callable[[], None]:
    """What the program does."""
    version, local, _ = ends(found)

    def attack() -> None:
        with socket.socket(AF[version], socket.SOCK_DGRAM) as sock:
            if program.device:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, program.device.encode())
            sock.bind((local if program.bound else "", FORGED))
            sock.sendto(framed(found, inner), (target, VXLAN_PORT))

    return attack


@pytest.mark.parametrize("sentence", PROGRAMS)
def test_a_program_cannot_send_to_the_peer_in_the_lines_name(found: Tunnel, sentence: str) -> None:
    zone = found.bench.zone
    attack = program_of(found, PROGRAMS[sentence], ends(found)[2], tcp(INNER_NEAR[4], ABROAD[4], (FORGED, PORT), SYN))

    def left() -> int:
        zone.count("iplc1")
        as_nobody(attack)
        return sum(source_port(bytes.fromhex(text)) == FORGED for text in zone.count("iplc1").seen)

    load_without(found, "meta skuid")
    assert left() == 1
    found.bench.keeper.sweep()
    assert left() == 0
    for missing in BY_TABLE:
        found.bench.run(*LAYERS[missing])
        assert left() == 0, f"without {missing}"


def test_a_program_cannot_speak_in_the_peers_name_to_the_node_itself(found: Tunnel) -> None:
    inner = tcp(INNER_FAR[4], INNER_NEAR[4], (FORGED, PORT), SYN)
    attack = program_of(found, Program(), ends(found)[1], inner)
    load_without(found, "udp dport { 4789 }")
    assert arrived(found, lambda: as_nobody(attack)) == 1
    found.bench.keeper.sweep()
    assert arrived(found, lambda: as_nobody(attack)) == 0


# ---- come in from elsewhere


@dataclass(frozen=True)
class Injection:
    """device: the wire that the packets come by; by_stranger: not from the peer's address; cut: in fragments."""

    device: str
    by_stranger: bool = False
    cut: bool = False


INJECTIONS = {
    "by the access device": Injection("acc0"),
    "by the access device, in fragments": Injection("acc0", cut=True),
    "by the default wire": Injection("wan0"),
    "by the default wire, in fragments": Injection("wan0", cut=True),
    "by the other line": Injection("iplc2"),
    "by the line's wire, from another sender": Injection("iplc1", by_stranger=True),
    "by the line's wire, from another sender, in fragments": Injection("iplc1", by_stranger=True, cut=True),
}
INNER_TARGETS = {
    "the line's own address": INNER_NEAR,
    "a host abroad": ABROAD,
    "a client": CLIENT,
}


def fragments(whole: bytes, number: int) -> list[bytes]:
    """A UDP packet in two (RFC 791 3.2, RFC 8200 4.5), cut behind its VXLAN header; number: tells it from others."""
    first = 24  # bytes: headers of UDP and VXLAN, and a multiple of 8
    if whole[0] >> 4 == 4:
        source, target, body = *(socket.inet_ntop(socket.AF_INET, whole[at : at + 4]) for at in (12, 16)), whole[20:]
        return [
            packet(source, target, UDP, body[:first], offset=1 << 13),
            packet(source, target, UDP, body[first:], offset=first // 8),
        ]
    source, target, body = *(socket.inet_ntop(socket.AF_INET6, whole[at : at + 16]) for at in (8, 24)), whole[40:]
    heads = [struct.pack("!BBHI", UDP, 0, place, number) for place in (1, first)]
    return [
        packet(source, target, FRAGMENT, head + part)
        for head, part in zip(heads, (body[:first], body[first:]), strict=True)
    ]


@pytest.mark.parametrize("sentence", INJECTIONS)
def test_what_is_not_the_peers_never_comes_out_of_the_tunnel_or_goes_on(found: Tunnel, sentence: str) -> None:
    injection = INJECTIONS[sentence]
    bench, wire = found.bench, found.bench.zone.wires[injection.device]
    version, local, peer = ends(found)
    sender = STRANGER[version] if injection.by_stranger else peer
    packets = [
        udp(sender, local, (FORGED, VXLAN_PORT), framed(found, tcp(INNER_FAR[v], to[v], (FORGED, PORT), SYN)))
        for to in INNER_TARGETS.values()
        for v in (4, 6)
    ]
    count_of_all = len(packets)
    if injection.cut:
        packets = [part for number, whole in enumerate(packets) for part in fragments(whole, number)]
    elsewhere = ("acc0", "wan0", "iplc2")

    def tried() -> tuple[int, dict[str, int]]:
        counted(bench, *elsewhere)
        return arrived(found, lambda: send(wire, *packets)), counted(bench, *elsewhere)

    watch(bench)
    bench.run(*ALL_OFF, FORWARDING, LOOSE)
    count, on = tried()
    assert count == count_of_all
    assert on["wan0"] > 0
    for missing in ("nothing", *BY_TABLE):
        bench.keeper.sweep()
        assert bench.keeper.sweep() == []
        bench.run(*LAYERS.get(missing, []))
        assert tried() == (0, dict.fromkeys(elsewhere, 0)), f"without {missing}"

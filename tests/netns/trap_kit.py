"""What the tests of known traps share: packets made by hand at a wire's far end, and one table of what was seen.

A trap is an attack that was seen to succeed, or is known to, where one layer is missing. Each is first run with all
layers off, and must be seen then; after that with all layers on, and with each single layer taken away.
"""

import contextlib
import socket
import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from weakref import WeakKeyDictionary

from tests.netns.bench import FLUSH_ROUTES, FLUSH_RULES, NO_TABLE, Bench
from tests.netns.counts import SENTINEL, drain
from tests.netns.kit import Namespace, Wire

ALL_OFF = [*NO_TABLE, *FLUSH_RULES, *FLUSH_ROUTES]
FORWARDING = "sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1"
LOOSE = "sysctl -qw " + " ".join(
    f"net.ipv4.conf.{device}.rp_filter=0" for device in ("all", "acc0", "iplc1", "iplc2", "wan0")
)
UNLIMITED = "sysctl -qw net.ipv4.icmp_ratelimit=0 net.ipv6.icmp.ratelimit=0"  # ICMP errors are counted, so all come
FAST_OPEN = "sysctl -qw net.ipv4.tcp_fastopen=5"  # as a client, with data in the SYN without a cookie
LAYERS: Mapping[str, list[str]] = {
    "nft table": NO_TABLE,
    "rules": FLUSH_RULES,
    "routes": FLUSH_ROUTES,
    "sysctls": [FORWARDING, LOOSE],
}
BY_TABLE = tuple(name for name in LAYERS if name != "nft table")
ELSEWHERE = ("wan0", "iplc2")
WATCHED = (*ELSEWHERE, "iplc1")
UDP, TCP, ICMP4, ICMP6 = 17, 6, 1, 58
_SOL_PACKET, _PACKET_IGNORE_OUTGOING = 263, 23
_senders: WeakKeyDictionary[Namespace, socket.socket] = WeakKeyDictionary()
_ETHERTYPE = {4: 0x0800, 6: 0x86DD}


Found = dict[str, dict[str, int]]  # what was missing → device → packets


@dataclass(frozen=True)
class Trap:
    """sentence: what is tried; attack(bench, version): tries it; without: the layers that may be missing singly. Where
    the nft table is not among them, the socket itself is wrong and the table is what holds it."""

    sentence: str
    attack: Callable[[Bench, int], None]
    without: tuple[str, ...] = tuple(LAYERS)


def measured(bench: Bench, traps: Sequence[tuple[Trap, int]]) -> list[tuple[int, Found]]:
    """For each trap and family: packets on the default wire with all layers off, and those elsewhere by what was
    missing. The keeper repairs everything before each removal."""
    watch(bench)
    bench.run(UNLIMITED, FAST_OPEN, *ALL_OFF, FORWARDING, LOOSE)
    controls = [tried(bench, *trap)["wan0"] for trap in traps]
    found: list[Found] = [{} for _ in traps]
    for missing, removal in {"nothing": [], **LAYERS}.items():
        bench.keeper.sweep()
        assert bench.keeper.sweep() == []
        bench.run(*removal)
        for (trap, version), into in zip(traps, found, strict=True):
            if missing in ("nothing", *trap.without):
                seen = tried(bench, trap, version)
                into[missing] = {device: seen[device] for device in ELSEWHERE}
    return list(zip(controls, found, strict=True))


def tried(bench: Bench, trap: Trap, version: int) -> dict[str, int]:
    """Packets by device that the attack made, whatever the gateway's kernel says to it."""
    counted(bench, *WATCHED)
    with contextlib.suppress(OSError):
        trap.attack(bench, version)
    return counted(bench, *WATCHED)


def counted(bench: Bench, *devices: str) -> dict[str, int]:
    """Zone.count() of these devices, by sockets that stay open: closing one waits for the kernel."""
    found: dict[str, int] = {}
    out = _sender(bench.zone.wires["acc0"], bench.zone.gateway)
    for device in devices:
        with contextlib.suppress(OSError):
            out.sendto(b"\xff" * 6 + b"\x02" + bytes(5) + struct.pack("!H", SENTINEL) + bytes(46), (device, 0))
        tap = bench.zone.wires[device].tap
        assert tap is not None
        found[device] = int(drain(tap).leaked)
    return found


def _sender(wire: Wire, ns: Namespace) -> socket.socket:
    """A packet socket of the namespace, closed with the wire's servers."""
    if ns not in _senders:
        with ns.inside():
            _senders[ns] = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        wire.servers.append(_senders[ns])
    return _senders[ns]


def watch(bench: Bench) -> None:
    """The counters leave out what their own end sends, so that a flood of it cannot fill them."""
    for wire in bench.zone.wires.values():
        assert wire.tap is not None
        wire.tap.setsockopt(_SOL_PACKET, _PACKET_IGNORE_OUTGOING, 1)


def row(sentence: str, control: int | str, found: Mapping[str, Mapping[str, int]]) -> str:
    """A line of the table that is printed at the end."""
    worst = {missing: sum(devices.values()) for missing, devices in found.items()}
    return f"{sentence:66}{control!s:>8}  " + "  ".join(f"{missing}: {count}" for missing, count in worst.items())


# ---- packets


def checksum(data: bytes) -> int:
    """The internet checksum (RFC 1071)."""
    total = sum(struct.unpack(f"!{(len(data) + 1) // 2}H", data + b"\0" * (len(data) % 2)))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def _pseudo(source: str, target: str, protocol: int, length: int) -> bytes:
    return ip_address(source).packed + ip_address(target).packed + struct.pack("!II", length, protocol)


def packet(source: str, target: str, protocol: int, body: bytes, hops: int = 64, offset: int = 0) -> bytes:
    """An IPv4 or IPv6 packet. offset: IPv4's flags and fragment offset."""
    if ip_address(source).version == 6:
        head = struct.pack("!IHBB", 6 << 28, len(body), protocol, hops)
        return head + ip_address(source).packed + ip_address(target).packed + body
    words = [0x45, 0, 20 + len(body), 0x4711, offset, hops, protocol, 0]
    addresses = ip_address(source).packed + ip_address(target).packed
    words[-1] = checksum(struct.pack("!BBHHHBBH", *words) + addresses)
    return struct.pack("!BBHHHBBH", *words) + addresses + body


def udp(source: str, target: str, ports: tuple[int, int], data: bytes = b"x") -> bytes:
    """A datagram in its packet."""
    body = struct.pack("!HHHH", *ports, 8 + len(data), 0) + data
    summed = checksum(_pseudo(source, target, UDP, len(body)) + body) or 0xFFFF
    return packet(source, target, UDP, body[:6] + struct.pack("!H", summed) + body[8:])


def tcp(source: str, target: str, ports: tuple[int, int], flags: int) -> bytes:
    """A segment in its packet."""
    body = struct.pack("!HHIIBBHHH", *ports, 1000, 2000, 5 << 4, flags, 1024, 0, 0)
    summed = checksum(_pseudo(source, target, TCP, len(body)) + body)
    return packet(source, target, TCP, body[:16] + struct.pack("!H", summed) + body[18:])


def icmp(source: str, target: str, body: bytes, hops: int = 64) -> bytes:
    """An ICMP or ICMPv6 message; body: with zeros as its checksum."""
    six = ip_address(source).version == 6
    summed = checksum((_pseudo(source, target, ICMP6, len(body)) if six else b"") + body)
    body = body[:2] + struct.pack("!H", summed) + body[4:]
    return packet(source, target, ICMP6 if six else ICMP4, body, hops)


def send(wire: Wire, *packets: bytes, to: str = "") -> None:
    """Puts packets on the wire at its far end, whatever addresses they carry. to: another link address."""
    mac = bytes.fromhex((to or wire.mac(0)).replace(":", ""))
    own = bytes.fromhex(wire.mac(1).replace(":", ""))
    raw = _sender(wire, wire.ns)
    for one in packets:
        raw.sendto(mac + own + struct.pack("!H", _ETHERTYPE[one[0] >> 4]) + one, ("far", 0))

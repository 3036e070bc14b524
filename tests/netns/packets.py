"""TCP segments made by hand: late ones, and scans."""

import socket
import struct
from ipaddress import ip_address

from tests.netns.kit import AF, Wire

SYN, RST, ACK = 0x02, 0x04, 0x10


def _checksum(source: str, target: str, segment: bytes) -> int:
    pseudo = (
        ip_address(source).packed + ip_address(target).packed + struct.pack("!II", len(segment), socket.IPPROTO_TCP)
    )
    data = pseudo + segment + (b"\0" if len(segment) % 2 else b"")
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def send_segment(wire: Wire, source: tuple[str, int], target: tuple[str, int], flags: int) -> None:
    """Sends one segment out of the wire's far namespace, which must own the source address."""
    version = ip_address(source[0]).version
    head = struct.pack("!HHIIBBHHH", source[1], target[1], 1000, 2000, 5 << 4, flags, 1024, 0, 0)
    checksum = _checksum(source[0], target[0], head)
    segment = head[:16] + struct.pack("!H", checksum) + head[18:]
    with wire.ns.inside(), socket.socket(AF[version], socket.SOCK_RAW, socket.IPPROTO_TCP) as raw:
        raw.bind((source[0], 0))
        raw.sendto(segment, (target[0], 0))


def send_frame(wire: Wire, source: tuple[str, int], target: tuple[str, int], flags: int) -> None:
    """Sends one segment to the gateway's end of the wire, from and to whatever address: nobody here looks at them."""
    addresses = ip_address(source[0]), ip_address(target[0])
    head = struct.pack("!HHIIBBHHH", source[1], target[1], 1000, 2000, 5 << 4, flags, 1024, 0, 0)
    segment = head[:16] + struct.pack("!H", _checksum(source[0], target[0], head)) + head[18:]
    ends = b"".join(address.packed for address in addresses)
    if addresses[0].version == 4:
        start = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(segment), 0, 0, 64, socket.IPPROTO_TCP, 0)
        total = sum(struct.unpack("!10H", start + ends))
        total = (total & 0xFFFF) + (total >> 16)
        start = start[:10] + struct.pack("!H", ~(total + (total >> 16)) & 0xFFFF)
        ethertype = 0x0800
    else:
        start = struct.pack("!IHBB", 6 << 28, len(segment), socket.IPPROTO_TCP, 64)
        ethertype = 0x86DD
    macs = b"".join(bytes.fromhex(wire.mac(end).replace(":", "")) for end in (0, 1))
    with wire.ns.inside(), socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as raw:
        raw.bind(("far", 0))
        raw.send(macs + struct.pack("!H", ethertype) + start + ends + segment)

"""Sees what leaves the machine for what the egress test is to reach, on every device but the loopback (packet(7))."""

import ctypes
import select
import socket
import struct
import time
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import ip_address

_OUTGOING = 4  # PACKET_OUTGOING
_ALL = 3  # ETH_P_ALL
_ARP, _IPV4, _IPV6 = 0x0806, 0x0800, 0x86DD
_SOLICITATION = 135  # RFC 4861 4.3
_QUESTION = 48  # bytes at most of one that the kernel asks with; a longer one is an attempt's
_SO_ATTACH_FILTER = 26
_NET4, _NET6 = 0xCB007100, 0x20010DB8  # 203.0.113.0/24, 2001:db8::/32: where attempts go unless a target is named


def _filter(addresses: Mapping[int, str]) -> list[tuple[int, int, int, int]]:
    """A filter of the kernel's (BPF), so that a busy node's own traffic does not fill the socket: ARP, IPv4 to the
    target (or 203.0.113.0/24), IPv6 to the /32 of the target (or 2001:db8::/32), ICMPv6. Each: code, jump if true, jump
    if false, operand."""
    mask4, net4 = (0xFFFFFFFF, int(ip_address(addresses[4]))) if 4 in addresses else (0xFFFFFF00, _NET4)
    net6 = int(ip_address(addresses[6])) >> 96 if 6 in addresses else _NET6
    return [
        (0x28, 0, 0, 0xFFFFF000),  # the ethertype
        (0x15, 9, 0, _ARP),
        (0x15, 0, 3, _IPV4),
        (0x20, 0, 0, 16),  # destination
        (0x54, 0, 0, mask4),
        (0x15, 5, 6, net4),
        (0x15, 0, 5, _IPV6),
        (0x30, 0, 0, 6),  # next header
        (0x15, 2, 0, socket.IPPROTO_ICMPV6),
        (0x20, 0, 0, 24),  # destination
        (0x15, 0, 1, net6),
        (0x06, 0, 0, 128),  # take so many bytes
        (0x06, 0, 0, 0),  # take none
    ]


@dataclass(frozen=True, slots=True)
class Seen:
    """One packet that went out. target: the address it was for, or that was asked for on the link (asked). port and
    from_port: of TCP and UDP, or twice the number in an echo or a forged solicitation; 0 where there is none."""

    device: str
    asked: bool
    source: str
    target: str
    port: int
    from_port: int = 0


def parse(device: str, ethertype: int, packet: bytes) -> Seen | None:
    """What a packet without its link header says; None for what is no packet of the test's form."""
    if ethertype == _ARP and len(packet) >= 28:
        return Seen(device, True, str(ip_address(packet[14:18])), str(ip_address(packet[24:28])), 0)
    if ethertype == _IPV4 and len(packet) >= 28:
        start = (packet[0] & 15) * 4
        source, aim = ip_address(packet[12:16]), ip_address(packet[16:20])
        return Seen(device, False, str(source), str(aim), *_ports(packet[9], packet[start:]))
    if ethertype == _IPV6 and len(packet) >= 48:
        source, aim = ip_address(packet[8:24]), ip_address(packet[24:40])
        is_short = int.from_bytes(packet[4:6], "big") <= _QUESTION
        if packet[6] == socket.IPPROTO_ICMPV6 and packet[40] == _SOLICITATION and len(packet) >= 64 and is_short:
            return Seen(device, True, str(source), str(ip_address(packet[48:64])), 0)
        return Seen(device, False, str(source), str(aim), *_ports(packet[6], packet[40:]))
    return None


def _ports(protocol: int, body: bytes) -> tuple[int, int]:
    """Destination and source port, or twice the identifier of an echo."""
    to, of = (4, 4) if protocol in (socket.IPPROTO_ICMP, socket.IPPROTO_ICMPV6) else (2, 0)
    return int.from_bytes(body[to : to + 2], "big"), int.from_bytes(body[of : of + 2], "big")


class Watch:
    """A packet socket over all devices of the namespace. addresses: of the target by family, where one is named. Raises
    PermissionError without CAP_NET_RAW."""

    def __init__(self, addresses: Mapping[int, str] | None = None) -> None:
        self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK, socket.htons(_ALL))
        steps = _filter(addresses or {})
        code = b"".join(struct.pack("=HBBI", *step) for step in steps)
        held = ctypes.create_string_buffer(code)
        self._socket.setsockopt(
            socket.SOL_SOCKET, _SO_ATTACH_FILTER, struct.pack("@HP", len(steps), ctypes.addressof(held))
        )

    def close(self) -> None:
        """Ends the watch."""
        self._socket.close()

    def seen(self, wait: float = 0) -> list[Seen]:
        """What went out since the last call, and during so many seconds more."""
        found: list[Seen] = []
        end = time.monotonic() + wait
        while True:
            try:
                packet, (device, ethertype, kind, *_) = self._socket.recvfrom(128)
            except BlockingIOError:
                left = end - time.monotonic()
                if left <= 0 or not select.select([self._socket], [], [], left)[0]:
                    return found
                continue
            if kind == _OUTGOING and device != "lo" and (one := parse(device, ethertype, packet)):
                found.append(one)

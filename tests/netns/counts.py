"""What a packet socket has seen, by kind."""

import socket
from dataclasses import dataclass, field

SENTINEL = 0x88B5  # local experimental ethertype (IEEE 802)
_KERNELS_OWN = frozenset({130, 131, 132, 133, 135, 136, 143})  # ICMPv6: MLD, RS, NS, NA, MLDv2
_OUTGOING = 4  # PACKET_OUTGOING
_HEADERS = 60  # bytes of a packet that are kept for a failed test's message


@dataclass
class Count:
    """Packets by kind. kernel: neighbour discovery and MLD; arp: address resolution; seen: the others' first bytes."""

    ipv4: int = 0
    ipv6: int = 0
    arp: int = 0
    kernel: int = 0
    seen: list[str] = field(default_factory=list)

    @property
    def leaked(self) -> int:
        """Everything beside the kernel's ND and MLD; an ARP request too, since only a packet makes one."""
        return self.ipv4 + self.ipv6 + self.arp

    def add(self, ethertype: int, packet: bytes) -> None:
        """Counts one frame's payload."""
        if ethertype == 0x86DD and _is_kernels(packet):
            self.kernel += 1
            return
        self.arp += ethertype == 0x0806
        self.ipv4 += ethertype == 0x0800
        self.ipv6 += ethertype == 0x86DD
        self.seen.append(packet[:_HEADERS].hex())


def _is_kernels(packet: bytes) -> bool:
    header, at = packet[6], 40
    if header == 0:  # hop-by-hop, 8 bytes long, before MLD (RFC 3810 5)
        header, at = packet[40], 48
    return header == socket.IPPROTO_ICMPV6 and packet[at] in _KERNELS_OWN


def drain(tap: socket.socket) -> Count:
    """Counts up to the next sentinel, or what there is."""
    found = Count()
    while True:
        try:
            frame, address = tap.recvfrom(2048)
        except OSError:  # nothing more, or the device went down
            return found
        if address[2] == _OUTGOING:
            continue
        if address[1] == SENTINEL:
            return found
        found.add(address[1], frame[14:])

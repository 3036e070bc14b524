"""What a packet socket has seen, by kind."""

import socket
from dataclasses import dataclass, field

SENTINEL = 0x88B5  # local experimental ethertype (IEEE 802)
_MLD = frozenset({130, 131, 132, 143})  # ICMPv6 types: RFC 2710, RFC 3810
_ND = frozenset({133, 135, 136})  # RS, NS, NA (RFC 4861)
_ND_OPTIONS = frozenset({1, 2, 14})  # link addresses and nonce: all that the kernel puts in, 8 bytes each on Ethernet
_ABROAD = bytes.fromhex("20010db8abcd")  # on no link
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
    """Whether it can be the kernel's own word on the link: a program's may look alike but for where it goes, or for
    what is in it."""
    hops, target, length = packet[7], packet[24:40], int.from_bytes(packet[4:6], "big")
    if packet[6] == 0:  # hop-by-hop, 8 bytes long, before MLD (RFC 3810 5)
        return packet[40] == socket.IPPROTO_ICMPV6 and packet[48] in _MLD and hops == 1 and target[:2] == b"\xff\x02"
    if packet[6] != socket.IPPROTO_ICMPV6 or packet[40] not in _ND or hops != 255 or target.startswith(_ABROAD):
        return False
    fixed = 8 if packet[40] == 133 else 24
    options = packet[40 + fixed : 40 + length]
    return (length - fixed) in (0, 8, 16) and all(
        options[at] in _ND_OPTIONS and options[at + 1] == 1 for at in range(0, len(options), 8)
    )


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

"""Counts what arrives on a wire, by kind, at its far end.

A frame that the near end sends on purpose (an ethertype reserved for experiments, IEEE 802) marks the moment of each
reading: everything sent before it is counted then, and a counter that no longer sees anything cannot say zero.
"""

import contextlib
import socket
import struct
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from ipaddress import IPv6Address, IPv6Network
from typing import Self

from ops.demo.network import GATEWAY, Wire, Zone

SENTINEL = 0x88B5
_ALL = 0x0003  # ETH_P_ALL
_OUTGOING = 4  # PACKET_OUTGOING
_SOL_PACKET, _STATISTICS = 263, 6
_MLD = frozenset({130, 131, 132, 143})
_ND = {133: 8, 134: 16, 135: 24, 136: 24}  # ICMPv6 type: bytes before the options (RFC 4861 4.1 to 4.4)
_OPTIONS = frozenset({1, 2, 14})  # link addresses and a nonce (RFC 7527), 8 bytes each: all the kernel sends
_NAMES = {1: "ICMP", 6: "TCP", 17: "UDP", 58: "ICMPv6"}


class CounterError(Exception):
    """The counter did not see the mark, or lost packets: what it says is worth nothing."""


@dataclass
class Count:
    """Packets by kind since the last reset. kernel: neighbour discovery and MLD of the kernel itself."""

    kinds: Counter[str] = field(default_factory=Counter)

    @property
    def kernel(self) -> int:
        """Neighbour discovery and MLD."""
        return sum(n for kind, n in self.kinds.items() if kind in ("ND", "MLD"))

    @property
    def stray(self) -> int:
        """Everything else."""
        return sum(self.kinds.values()) - self.kernel

    def __str__(self) -> str:
        return ", ".join(f"{n} {kind}" for kind, n in sorted(self.kinds.items())) or "nothing"


def classify(ethertype: int, packet: bytes, link: str = "") -> str:
    """The kind of a frame: "IPv4 TCP", "IPv6 UDP", "ARP", "ND", "MLD" … packet: what is behind the Ethernet header;
    link: the IPv6 prefix of the wire. "ND" and "MLD" are only what the kernel itself sends: to a group, an address or a
    neighbour of the link, with nothing in it that it does not put there."""
    if ethertype == 0x0806:
        return "ARP"
    if ethertype == 0x0800 and len(packet) >= 20:
        return f"IPv4 {_NAMES.get(packet[9], packet[9])}"
    if ethertype == 0x86DD and len(packet) >= 40:
        header, offset = packet[6], 40
        if header == 0 and len(packet) >= 48:  # MLD comes behind a router alert option (RFC 3810 clause 5)
            header, offset = packet[40], 40 + 8 * (packet[41] + 1)
        if header == 58 and len(packet) > offset:
            if packet[offset] in _MLD and offset == 48 and packet[7] == 1 and packet[24:26] == b"\xff\x02":
                return "MLD"
            if packet[offset] in _ND and offset == 40 and packet[7] == 255 and _is_of_link(packet, link):
                return "ND"
        return f"IPv6 {_NAMES.get(header, header)}"
    return f"ethertype {ethertype:#06x}"


def _is_of_link(packet: bytes, link: str) -> bool:
    """Whether neighbour discovery goes to this link, with the standard's options and nothing else."""
    target = IPv6Address(packet[24:40])
    if not (packet[24:26] == b"\xff\x02" or target.is_link_local or (link and target in IPv6Network(link))):
        return False
    options = packet[40 + _ND[packet[40]] : 40 + int.from_bytes(packet[4:6], "big")]
    length = int.from_bytes(packet[4:6], "big") - _ND[packet[40]]
    return (
        length in (0, 8, 16)
        and len(options) == length
        and all(options[at] in _OPTIONS and options[at + 1] == 1 for at in range(0, length, 8))
    )


class WireCounter:
    """Counts what the gateway sends on one wire, from the far end; a context manager with a thread of its own."""

    def __init__(self, zone: Zone, wire: Wire) -> None:
        self._zone, self._wire = zone, wire
        self._count = Count()
        self._changed = threading.Condition()
        self._marks = 0
        self._seen = 0
        self._stop = threading.Event()
        with zone.inside(wire.ns):
            self._tap = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
            self._tap.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
            self._tap.bind(("gw", _ALL))
        self._tap.settimeout(0.2)
        self._thread = threading.Thread(target=self._watch, name=f"counter {wire.device}", daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(2)
        self._tap.close()

    def read(self, seconds: float = 5.0) -> Count:
        """All that was sent up to now. Raises CounterError."""
        self._marks += 1
        deadline = time.monotonic() + seconds
        with self._changed:
            while self._seen < self._marks:
                self._mark()
                if not self._changed.wait(0.2) and time.monotonic() > deadline:
                    raise CounterError(f"the counter on {self._wire.device} does not see what is sent there")
            dropped = struct.unpack("II", self._tap.getsockopt(_SOL_PACKET, _STATISTICS, 8))[1]
            if dropped:
                raise CounterError(f"the counter on {self._wire.device} lost {dropped} packets")
            return Count(Counter(self._count.kinds))

    def reset(self) -> None:
        """Counts from now on."""
        self.read()
        with self._changed:
            self._count = Count()

    def _mark(self) -> None:
        with self._zone.inside(GATEWAY), contextlib.closing(socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)) as out:
            out.bind((self._wire.device, 0))
            out.send(b"\xff" * 6 + b"\x02" + bytes(5) + struct.pack("!HI", SENTINEL, self._marks) + bytes(42))

    def _watch(self) -> None:
        while not self._stop.is_set():
            try:
                frame, address = self._tap.recvfrom(256)
            except TimeoutError:
                continue
            except OSError:  # the device went down; it may come up again
                if self._stop.wait(0.05):
                    return
                continue
            if address[2] == _OUTGOING:
                continue
            with self._changed:
                if address[1] == SENTINEL:
                    self._seen = struct.unpack("!I", frame[14:18])[0]
                    self._changed.notify_all()
                else:
                    self._count.kinds[classify(address[1], frame[14:], self._wire.prefixes[1])] += 1

"""Network namespaces without names (they end with the test process), veth wires between them, and packet counts.

The zone: a gateway namespace with acc0 (clients), iplc1 and iplc2 (lines) and wan0 (the default wire, which must stay
silent). Behind both lines and the default wire the same addresses abroad answer, so that a stray packet would succeed.
"""

import contextlib
import os
import socket
import struct
import subprocess
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from pyroute2 import IPRoute

from gateway.line.keeper import Keeper
from gateway.line.model import Access, NodeConfig
from whitelist.model import Line

ABROAD = {4: "203.0.113.10", 6: "2001:db8:abcd::10"}
PORT = 443
SENTINEL = 0x88B5  # local experimental ethertype (IEEE 802)
ICMPV6_OF_THE_KERNEL = frozenset({130, 131, 132, 133, 135, 136, 143})  # MLD, RS, NS, NA, MLDv2
_OUTGOING = 4  # PACKET_OUTGOING
_ALL = 3  # ETH_P_ALL


class Namespace:
    """One network namespace; `with ns:` puts the calling thread into it."""

    def __init__(self) -> None:
        self._home: list[int] = []
        with _here() as home:
            os.unshare(os.CLONE_NEWNET)
            self.fd = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
            for path in (
                "ipv6/conf/default/accept_dad",
                "ipv6/conf/default/router_solicitations",
                "ipv6/conf/default/accept_ra",
            ):
                Path("/proc/sys/net", path).write_text("0")
            with IPRoute() as ip:
                ip.link("set", index=1, state="up")
            os.setns(home, os.CLONE_NEWNET)

    @contextlib.contextmanager
    def inside(self) -> Iterator[None]:
        """The calling thread acts in this namespace."""
        with _here() as home:
            os.setns(self.fd, os.CLONE_NEWNET)
            try:
                yield
            finally:
                os.setns(home, os.CLONE_NEWNET)

    def close(self) -> None:
        os.close(self.fd)


@contextlib.contextmanager
def _here() -> Iterator[int]:
    fd = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        yield fd
    finally:
        os.close(fd)


@dataclass
class Wire:
    """One veth pair: device in the gateway, "far" in ns. near, far: addresses by family (length 30/64 on both)."""

    device: str
    ns: Namespace
    near: dict[int, str]
    far: dict[int, str]
    tap: socket.socket | None = None
    sockets: list[socket.socket] = field(default_factory=list)


LENGTH = {4: 29, 6: 64}
AF = {4: socket.AF_INET, 6: socket.AF_INET6}


class Zone:
    """Client, gateway, two lines and the default wire. Use as a context manager."""

    def __init__(self) -> None:
        self.gateway = Namespace()
        self.wires: dict[str, Wire] = {}
        for number, (device, net) in enumerate(
            (("acc0", "10.0.0"), ("iplc1", "198.51.100"), ("iplc2", "198.51.101"), ("wan0", "192.0.2"))
        ):
            near = {4: f"{net}.2", 6: f"2001:db8:{number}::2"}
            far = {4: f"{net}.1", 6: f"2001:db8:{number}::1"}
            self.wires[device] = Wire(device, Namespace(), near, far)
            self.plug(device)
        with self.gateway.inside(), IPRoute() as ip:
            for version in (4, 6):
                ip.route("add", family=AF[version], dst="default", gateway=self.wires["wan0"].far[version])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for wire in self.wires.values():
            for sock in (*wire.sockets, wire.tap):
                if sock is not None:
                    sock.close()
            wire.ns.close()
        self.gateway.close()

    def plug(self, device: str) -> None:
        """Creates the wire's veth pair with addresses and both ends' neighbours, so that no packet waits for one."""
        wire = self.wires[device]
        with self.gateway.inside(), IPRoute() as ip:
            ip.link("add", ifname=device, kind="veth", peer={"ifname": "far", "net_ns_fd": wire.ns.fd})
            index, near_mac = _configure(ip, device, wire.near)
        with wire.ns.inside(), IPRoute() as ip:
            far_index, far_mac = _configure(ip, "far", wire.far)
            for version in (4, 6):
                ip.neigh(
                    "replace",
                    family=AF[version],
                    dst=wire.near[version],
                    lladdr=near_mac,
                    ifindex=far_index,
                    state=0x80,
                )
                ip.route("replace", family=AF[version], dst="default", gateway=wire.near[version])
                if device != "acc0":
                    ip.addr("replace", index=1, address=ABROAD[version], prefixlen=32 if version == 4 else 128)
            if wire.tap is not None:
                wire.tap.close()
            wire.tap = socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_NONBLOCK, socket.htons(_ALL))
            wire.tap.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
            wire.tap.bind(("far", _ALL))
            if not wire.sockets and device != "acc0":
                wire.sockets = _servers()
        with self.gateway.inside(), IPRoute() as ip:
            for version in (4, 6):
                ip.neigh(
                    "replace", family=AF[version], dst=wire.far[version], lladdr=far_mac, ifindex=index, state=0x80
                )

    def run(self, *commands: str) -> None:
        """Runs commands in the gateway; one that fails fails the test."""
        with self.gateway.inside():
            for command in commands:
                done = subprocess.run(command.split(), capture_output=True, text=True, timeout=10, check=False)
                assert done.returncode == 0, f"{command}: {done.stderr}"

    def link(self, device: str, **change: object) -> None:
        """`ip link set device …` in the gateway, e.g. state="down" or ifname="other"."""
        with self.gateway.inside(), IPRoute() as ip:
            ip.link("set", index=ip.link_lookup(ifname=device)[0], **change)

    def far_link(self, device: str, state: str) -> None:
        """Sets the far end of the wire up or down."""
        with self.wires[device].ns.inside(), IPRoute() as ip:
            ip.link("set", index=ip.link_lookup(ifname="far")[0], state=state)

    def unplug(self, device: str) -> None:
        """Deletes the device, and with it the far end."""
        with self.gateway.inside(), IPRoute() as ip:
            ip.link("del", index=ip.link_lookup(ifname=device)[0])

    def count(self, device: str) -> "Count":
        """What came out of the gateway by this device since the last count, up to now: a frame sent behind everything
        else marks the end. Where the device is gone or down, what came until then."""
        tap = self.wires[device].tap
        assert tap is not None
        with (
            contextlib.suppress(OSError),
            self.gateway.inside(),
            socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as sender,
        ):
            sender.bind((device, 0))
            sender.send(b"\xff" * 6 + b"\x02" + bytes(5) + struct.pack("!H", SENTINEL) + bytes(46))
        found = Count()
        while True:
            try:
                frame, address = tap.recvfrom(2048)
            except (BlockingIOError, OSError):
                return found
            if address[2] == _OUTGOING:
                continue
            if address[1] == SENTINEL:
                return found
            found.add(address[1], frame[14:])


@dataclass
class Count:
    """Packets by kind. kernel: neighbour discovery and MLD; arp: address resolution."""

    ipv4: int = 0
    ipv6: int = 0
    arp: int = 0
    kernel: int = 0
    flags: list[str] = field(default_factory=list)

    @property
    def leaked(self) -> int:
        """Everything beside the kernel's ND and MLD; an ARP request too, since only a packet makes one."""
        return self.ipv4 + self.ipv6 + self.arp

    def add(self, ethertype: int, packet: bytes) -> None:
        if ethertype == 0x0806:
            self.arp += 1
        elif ethertype == 0x0800:
            self.ipv4 += 1
            self.flags.append(f"4 {packet[9]} {packet[12:20].hex()} {packet[20:40].hex()}")
        elif ethertype == 0x86DD:
            kind = packet[48] if packet[6] == 0 else packet[40]  # behind a hop-by-hop header of 8 bytes (MLD)
            if (packet[6] == 58 or packet[40] == 58) and kind in ICMPV6_OF_THE_KERNEL:
                self.kernel += 1
            else:
                self.ipv6 += 1
                self.flags.append(f"6 {packet[6]} {packet[8:40].hex()} {packet[40:60].hex()}")


def _configure(ip: IPRoute, device: str, addresses: dict[int, str]) -> tuple[int, str]:
    index = ip.link_lookup(ifname=device)[0]
    for version, address in addresses.items():
        ip.addr(
            "add", index=index, address=address, prefixlen=LENGTH[version], **({"flags": 2} if version == 6 else {})
        )
    ip.link("set", index=index, state="up")
    return index, str(ip.get_links(index)[0].get_attr("IFLA_ADDRESS"))


def _servers() -> list[socket.socket]:
    """TCP on PORT and UDP on 53, both families, answering by the kernel's own handshake."""
    found = []
    for version in (4, 6):
        tcp = socket.create_server(("" if version == 4 else "::", PORT), family=AF[version], backlog=4096)
        udp = socket.socket(AF[version], socket.SOCK_DGRAM)
        if version == 6:
            udp.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        udp.bind(("" if version == 4 else "::", 53))
        found += [tcp, udp]
    return found


def line_of(zone: "Zone", index: int, device: str) -> Line:
    """The line on this wire."""
    wire = zone.wires[device]
    hops = {"gateway4": wire.far[4], "gateway6": wire.far[6], "source4": wire.near[4], "source6": wire.near[6]}
    return Line(id=f"line-{index}", index=index, device=device, resolvers=tuple(ABROAD.values()), **hops)


def node_of(zone: "Zone", **more: Any) -> NodeConfig:
    """acc0 with a listener on 3128; more: other fields."""
    prefixes = (f"{zone.wires['acc0'].near[4]}/29", f"{zone.wires['acc0'].near[6]}/64")
    return NodeConfig(access=(Access(interface="acc0", prefixes=prefixes),), listener_ports=(3128,), **more)


@contextlib.contextmanager
def configured(node: NodeConfig, lines: Iterable[Line]) -> Iterator[Keeper]:
    """The lines put into the kernel of the namespace the thread is in."""
    keeper = Keeper(node, lambda *_: None, lambda *_, **__: None)
    try:
        keeper.want(lines)
        keeper.sweep()
        assert keeper.sweep() == []
        yield keeper
    finally:
        keeper.close()

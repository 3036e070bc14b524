"""Network namespaces without names (they end with the test process) and veth wires between them.

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
from typing import Self

from tests.netns.counts import SENTINEL, Count, drain

ABROAD = {4: "203.0.113.10", 6: "2001:db8:abcd::10"}
PORT = 443
AF = {4: socket.AF_INET, 6: socket.AF_INET6}
_LENGTH = {4: 29, 6: 64}
_ALL = 3  # ETH_P_ALL
_QUIET = ("accept_dad", "router_solicitations", "accept_ra")


class Namespace:
    """One network namespace, with lo up and without duplicate address detection."""

    def __init__(self) -> None:
        with _going_back():
            os.unshare(os.CLONE_NEWNET)
            self.fd = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
            for name in _QUIET:
                Path("/proc/sys/net/ipv6/conf/default", name).write_text("0")

    @contextlib.contextmanager
    def inside(self) -> Iterator[None]:
        """The calling thread acts in this namespace."""
        with _going_back():
            os.setns(self.fd, os.CLONE_NEWNET)
            yield

    def ip(self, commands: Iterable[str]) -> None:
        """Runs `ip` commands as one batch; all must succeed."""
        with self.inside():
            text = "".join(f"{command}\n" for command in commands)
            done = subprocess.run(["ip", "-batch", "-"], input=text, capture_output=True, text=True, timeout=10)
            assert done.returncode == 0, done.stderr

    def close(self) -> None:
        """Lets go of it; it ends when the last process and socket in it does."""
        os.close(self.fd)


@contextlib.contextmanager
def _going_back() -> Iterator[None]:
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        yield
    finally:
        os.setns(home, os.CLONE_NEWNET)
        os.close(home)


@dataclass
class Wire:
    """One veth pair: device in the gateway, "far" in ns. near, far: their addresses by family."""

    device: str
    number: int
    ns: Namespace
    near: dict[int, str]
    far: dict[int, str]
    tap: socket.socket | None = None
    servers: list[socket.socket] = field(default_factory=list)

    def mac(self, end: int) -> str:
        """The address of the near (0) or far (1) end."""
        return f"02:00:00:00:{self.number:02x}:{end:02x}"


class Zone:
    """Client, gateway, two lines and the default wire. Use as a context manager."""

    def __init__(self) -> None:
        self.gateway = Namespace()
        self.wires: dict[str, Wire] = {}
        nets = {"acc0": "10.0.0", "iplc1": "198.51.100", "iplc2": "198.51.101", "wan0": "192.0.2"}
        for number, (device, net) in enumerate(nets.items()):
            near = {4: f"{net}.2", 6: f"2001:db8:{number}::2"}
            far = {4: f"{net}.1", 6: f"2001:db8:{number}::1"}
            self.wires[device] = Wire(device, number, Namespace(), near, far)
            self.plug(device)
        defaults = self.wires["wan0"].far.values()
        self.gateway.ip(["link set lo up", *(f"route add default via {gateway}" for gateway in defaults)])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for wire in self.wires.values():
            for sock in (*wire.servers, wire.tap):
                if sock is not None:
                    sock.close()
            wire.ns.close()
        self.gateway.close()

    def plug(self, device: str) -> None:
        """Creates the wire's veth pair with addresses and both ends' neighbours, so that no packet waits for one."""
        wire = self.wires[device]
        peer = f"peer name far address {wire.mac(1)} netns /proc/{os.getpid()}/fd/{wire.ns.fd}"
        self.gateway.ip(
            [
                f"link add {device} address {wire.mac(0)} type veth {peer}",
                *_end(device, wire.near, wire.far, wire.mac(1)),
            ]
        )
        routes = [f"route replace default via {address}" for address in wire.near.values()]
        if not device.startswith("acc"):
            routes += [f"addr replace {address} dev lo" for address in ABROAD.values()]
        wire.ns.ip(["link set lo up", *_end("far", wire.far, wire.near, wire.mac(0)), *routes])
        with wire.ns.inside():
            if wire.tap is not None:
                wire.tap.close()
            wire.tap = socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_NONBLOCK, 0)
            wire.tap.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
            wire.tap.bind(("far", _ALL))
            if not wire.servers and not device.startswith("acc"):
                wire.servers = _servers()

    def run(self, *commands: str) -> None:
        """Runs commands in the gateway; one that fails fails the test."""
        with self.gateway.inside():
            for command in commands:
                done = subprocess.run(command.split(), capture_output=True, text=True, timeout=10)
                assert done.returncode == 0, f"{command}: {done.stderr}"

    def far_link(self, device: str, state: str) -> None:
        """Sets the far end of the wire up or down."""
        self.wires[device].ns.ip([f"link set far {state}"])

    def count(self, device: str) -> Count:
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
        return drain(tap)


def _end(device: str, own: dict[int, str], other: dict[int, str], mac: str) -> list[str]:
    addresses = [f"addr add {own[v]}/{_LENGTH[v]} dev {device}{' nodad' if v == 6 else ''}" for v in (4, 6)]
    neighbours = [f"neigh replace {other[v]} lladdr {mac} dev {device} nud permanent" for v in (4, 6)]
    return [*addresses, f"link set {device} up", *neighbours]


def _servers() -> list[socket.socket]:
    """TCP on PORT and UDP on 53, both families, answering by the kernel's own handshake."""
    found = []
    for version in (4, 6):
        address = "" if version == 4 else "::"
        found.append(socket.create_server((address, PORT), family=AF[version], backlog=4096))
        udp = socket.socket(AF[version], socket.SOCK_DGRAM)
        found.append(udp)
        if version == 6:
            udp.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        udp.bind((address, 53))
    return found

"""The network of a small zone: namespaces, wires between them, and programs run inside.

    acme ── acc-a ┐         ┌ hk1 ── hk ──┐
                  ├ gateway ┼ sg1 ── sg ──┼ abroad (services and resolvers)
   birch ── acc-b ┘         └ wan0 ─ wan ─┘

wan0 carries the gateway's default route and leads to the same services: a packet that strays there would arrive, be
answered and be counted. No namespace has a way to the machine's own network.
"""

import contextlib
import ipaddress
import os
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Self

from ops.demo.interrupt import whole

NETNS = Path("/run/netns")
TIMEOUT = 30.0  # seconds that a command may take
_SYSCTLS = {
    "ipv6/conf/default/accept_dad": "0",  # addresses are good at once
    "ipv6/conf/default/router_solicitations": "0",
    "ipv6/conf/default/accept_ra": "0",
    "ipv6/conf/default/keep_addr_on_down": "1",
    "ipv6/conf/all/keep_addr_on_down": "1",
}
_ROUTER = {"ipv4/ip_forward": "1", "ipv6/conf/all/forwarding": "1"}


class NetworkError(Exception):
    """The kernel or a program refused; str() is its own words."""


@dataclass(frozen=True, slots=True)
class Wire:
    """A veth pair between the gateway and a neighbour: `device` in the gateway, "gw" in `ns`. Addresses by family, the
    prefix length is the same at both ends. behind: whether abroad lies there."""

    device: str
    ns: str
    near: Mapping[int, str]
    far: Mapping[int, str]
    length: Mapping[int, int]
    number: int
    abroad: bool = False

    @property
    def prefixes(self) -> tuple[str, str]:
        """Its IPv4 and IPv6 prefix, canonical."""
        return (
            str(ipaddress.ip_network(f"{self.near[4]}/{self.length[4]}", strict=False)),
            str(ipaddress.ip_network(f"{self.near[6]}/{self.length[6]}", strict=False)),
        )


def _access(number: int, device: str, ns: str) -> Wire:
    near = {4: f"10.61.{number}.1", 6: f"fd61:{number}::1"}
    return Wire(device, ns, near, {4: f"10.61.{number}.10", 6: f"fd61:{number}::10"}, {4: 24, 6: 64}, number)


def _line(number: int, device: str, ns: str, net4: str, first: int) -> Wire:
    near = {4: f"{net4}.{first + 2}", 6: f"2001:db8:{number}::2"}
    far = {4: f"{net4}.{first + 1}", 6: f"2001:db8:{number}::1"}
    return Wire(device, ns, near, far, {4: 29, 6: 64}, number, abroad=True)


FIRMS = {"acme": _access(1, "acc-a", "acme"), "birch": _access(2, "acc-b", "birch")}
LINES = {"hk1": _line(11, "hk1", "hk", "192.0.2", 0), "sg1": _line(12, "sg1", "sg", "192.0.2", 8)}
DEFAULT = _line(19, "wan0", "wan", "192.0.2", 248)
WIRES = (*FIRMS.values(), *LINES.values(), DEFAULT)
GATEWAY, ABROAD = "gw", "abroad"


class Zone:
    """The namespaces and wires; use as a context manager. services: addresses that exist abroad."""

    def __init__(self, services: Sequence[str], prefix: str = "fyd") -> None:
        self.prefix = f"{prefix}-{os.getpid()}-"  # one zone of a prefix at a time in one process
        self.services = services
        self.namespaces = (GATEWAY, *(wire.ns for wire in WIRES), ABROAD)

    def __enter__(self) -> Self:
        try:
            with whole():
                self._build()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Takes the names away. A namespace ends with its last process."""
        for ns in reversed(self.namespaces):
            if self.path(ns).exists():
                argv = ["ip", "netns", "del", self.prefix + ns]
                subprocess.run(argv, capture_output=True, timeout=TIMEOUT, check=False)

    def path(self, ns: str) -> Path:
        """The file that stands for a namespace."""
        return NETNS / f"{self.prefix}{ns}"

    @contextlib.contextmanager
    def inside(self, ns: str) -> Iterator[None]:
        """The calling thread acts in this namespace."""
        home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        try:
            there = os.open(self.path(ns), os.O_RDONLY | os.O_CLOEXEC)
            try:
                os.setns(there, os.CLONE_NEWNET)
            finally:
                os.close(there)
            try:
                yield
            finally:
                os.setns(home, os.CLONE_NEWNET)
        finally:
            os.close(home)

    def command(self, ns: str, argv: Sequence[str]) -> list[str]:
        """What runs argv in a namespace. (`ip netns exec` would mount a /sys of its own, which containers refuse.)"""
        return ["nsenter", f"--net={self.path(ns)}", "--", *argv]

    def run(
        self, ns: str, argv: Sequence[str], timeout: float = TIMEOUT, **more: Any
    ) -> subprocess.CompletedProcess[str]:
        """Runs a program in a namespace to its end. Raises subprocess.TimeoutExpired."""
        with whole():
            return subprocess.run(
                self.command(ns, argv), capture_output=True, text=True, timeout=timeout, check=False, **more
            )

    def spawn(self, ns: str, argv: Sequence[str], **more: Any) -> subprocess.Popen[bytes]:
        """Starts a program in a namespace; see end(). It gets SIGTERM when this process ends, however that ends."""
        with whole():
            return subprocess.Popen(
                self.command(ns, ["setpriv", "--pdeathsig=TERM", "--", *argv]), start_new_session=True, **more
            )

    def set_sysctls(self, ns: str, values: Mapping[str, str]) -> None:
        """Writes settings below /proc/sys/net. Raises OSError."""
        with self.inside(ns):
            for name, value in values.items():
                Path("/proc/sys/net", name).write_text(value)

    def ip(self, ns: str, *commands: str) -> None:
        """Runs ip(8) commands in a namespace, all or until the first that fails. Raises NetworkError."""
        done = subprocess.run(
            ["ip", "-n", self.prefix + ns, "-batch", "-"],
            input="\n".join(commands),
            capture_output=True,
            text=True,
            timeout=TIMEOUT,
            check=False,
        )
        if done.returncode:
            raise NetworkError(f"ip in {ns}: {done.stderr.strip()}")

    def cut(self, wire: Wire) -> None:
        """The far end goes down: the gateway's device loses its carrier."""
        self.ip(wire.ns, "link set gw down")

    def mend(self, wire: Wire) -> None:
        """The far end comes up again."""
        self.ip(wire.ns, "link set gw up")

    # ---- building

    def _build(self) -> None:
        for ns in self.namespaces:
            done = subprocess.run(
                ["ip", "netns", "add", self.prefix + ns], capture_output=True, text=True, timeout=TIMEOUT, check=False
            )
            if done.returncode:
                raise NetworkError(f"cannot make the network namespace {self.prefix}{ns}: {done.stderr.strip()}")
            router = ns == ABROAD or any(wire.abroad and wire.ns == ns for wire in WIRES)
            self.set_sysctls(ns, _SYSCTLS | (_ROUTER if router else {}))
            self.ip(ns, "link set lo up")
        for wire in WIRES:
            self._plug(wire)
        self.ip(
            GATEWAY,
            f"route add default via {DEFAULT.far[4]} dev {DEFAULT.device}",
            f"route add default via {DEFAULT.far[6]} dev {DEFAULT.device}",
        )
        self.ip(ABROAD, *(f"addr add {a}/{128 if ':' in a else 32} dev lo" for a in self.services))

    def _plug(self, wire: Wire) -> None:
        near_mac, far_mac = f"02:fe:00:00:{wire.number:02x}:01", f"02:fe:00:00:{wire.number:02x}:02"
        peer = f"peer name gw address {far_mac} netns {self.prefix}{wire.ns}"
        self.ip(GATEWAY, f"link add {wire.device} address {near_mac} type veth {peer}")
        self.ip(GATEWAY, *self._end(wire, wire.device, wire.near, wire.far, far_mac))
        self.ip(wire.ns, *self._end(wire, "gw", wire.far, wire.near, near_mac))
        if wire.abroad:
            self._lead_abroad(wire)
        else:
            routes = (f"route add default via {wire.near[6]}", f"route add default via {wire.near[4]}")
            self.ip(wire.ns, *routes)

    def _end(self, wire: Wire, device: str, own: Mapping[int, str], other: Mapping[int, str], mac: str) -> list[str]:
        steps = [f"addr add {own[v]}/{wire.length[v]} dev {device}" for v in (4, 6)] + [f"link set {device} up"]
        if wire is DEFAULT:
            # On the wire that must stay silent nobody ever has to ask for an address: an ARP there is a stray packet's.
            steps += [f"neigh replace {other[v]} lladdr {mac} dev {device} nud permanent" for v in (4, 6)]
        return steps

    def _lead_abroad(self, wire: Wire) -> None:
        """A transit wire between the far end and abroad, with the routes both ways."""
        n, device = wire.number, f"from-{wire.ns}"
        self.ip(wire.ns, f"link add out type veth peer name {device} netns {self.prefix}{ABROAD}")
        self.ip(
            wire.ns,
            f"addr add 100.64.{n}.1/30 dev out",
            f"addr add fd00:{n}::1/64 dev out",
            "link set out up",
            f"route add default via 100.64.{n}.2",
            f"route add default via fd00:{n}::2",
        )
        self.ip(
            ABROAD,
            f"addr add 100.64.{n}.2/30 dev {device}",
            f"addr add fd00:{n}::2/64 dev {device}",
            f"link set {device} up",
            f"route add {wire.prefixes[0]} via 100.64.{n}.1",
            f"route add {wire.prefixes[1]} via fd00:{n}::1",
        )


def end(process: subprocess.Popen[Any], grace: float = 10.0) -> int:
    """SIGTERM, after the grace SIGKILL; returns the exit status. Closes its pipes."""
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(grace)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    pipes: tuple[IO[Any] | None, ...] = (process.stdin, process.stdout, process.stderr)
    for pipe in pipes:
        if pipe is not None:
            pipe.close()
    return process.returncode


def sweep(prefix: str = "fyd") -> list[str]:
    """Takes away the namespaces of runs that were killed: names with the number of a process that is gone."""
    gone = []
    for path in NETNS.glob(f"{prefix}-*-*"):
        pid = path.name.split("-")[1]
        if pid.isdecimal() and not Path("/proc", pid).exists():
            subprocess.run(["ip", "netns", "del", path.name], capture_output=True, timeout=TIMEOUT, check=False)
            gone.append(path.name)
    return gone

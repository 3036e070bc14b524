"""The ground for tests of the data path: a client, a gateway and abroad as network namespaces without names, and in
them real sockets. Workers are real processes (see node.py); services and resolvers abroad are sockets that the test
holds.

    client 10.0.0.2 (acme), 10.0.0.18 (birch) ── acc0 10.0.0.1 gateway iplc1, iplc2 ── far1, far2 abroad 203.0.113.0/24
"""

import contextlib
import itertools
import os
import socket
import ssl
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Self

from tests.gateway.nameserver import NameServer
from tests.netns.kit import Namespace

GATEWAY = "10.0.0.1"
SOURCES = {"acme": "10.0.0.2", "birch": "10.0.0.18", "stray": "10.0.0.40"}
LINES = {"hk1": ("iplc1", "198.51.100.2", "198.51.100.1"), "sg1": ("iplc2", "198.51.101.2", "198.51.101.1")}
LINES6 = {"hk1": ("2001:db8:1::2", "2001:db8:1::1"), "sg1": ("2001:db8:2::2", "2001:db8:2::1")}
RESOLVERS = ("203.0.113.53", "203.0.113.54")
ABROAD6 = "2001:db8:a::10"
PORTS = {"tls": 443, "http": 80, "tcp": 7000, "open": 7000}
PATIENCE = 8.0  # seconds that anything may take


def until(what: Callable[[], Any], why: str, seconds: float = PATIENCE) -> Any:
    """Waits until something is true, within a bound."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if found := what():
            return found
        time.sleep(0.01)
    raise AssertionError(f"not within {seconds} s: {why}")


@dataclass
class Site:
    """A service abroad: a name, what it resolves to, and its listening socket."""

    host: str
    port: int
    address: str
    listener: socket.socket
    held: list[socket.socket] = field(default_factory=list)

    @property
    def authority(self) -> str:
        return f"{self.host}:{self.port}"

    def accept(self, seconds: float = PATIENCE) -> "Talk":
        """The next connection that arrives."""
        self.listener.settimeout(seconds)
        found, _ = self.listener.accept()
        self.held.append(found)
        return Talk(found)

    def quiet(self) -> bool:
        """Whether nothing has arrived that was not accepted."""
        self.listener.settimeout(0)
        try:
            self.listener.accept()[0].close()
        except BlockingIOError:
            return True
        return False


class Talk:
    """One end of a connection, with what was read ahead."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.port: int = sock.getsockname()[1]
        self.ahead = b""
        sock.settimeout(PATIENCE)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def say(self, data: bytes | str) -> Self:
        self.sock.sendall(data.encode() if isinstance(data, str) else data)
        return self

    def trickle(self, data: bytes) -> Self:
        """Byte by byte, each in a segment of its own."""
        for at in range(len(data)):
            self.sock.sendall(data[at : at + 1])
        return self

    def more(self) -> bytes:
        """What comes next; b"" is the end."""
        data = self.sock.recv(65_536)
        self.ahead += data
        return data

    def head(self) -> str:
        """Everything up to and with the empty line."""
        while b"\r\n\r\n" not in self.ahead:
            assert self.more(), f"ended inside a head: {self.ahead!r}"
        head, _, self.ahead = self.ahead.partition(b"\r\n\r\n")
        return head.decode("latin-1") + "\r\n"

    def exactly(self, count: int) -> bytes:
        while len(self.ahead) < count:
            assert self.more(), f"ended after {len(self.ahead)} of {count} bytes"
        data, self.ahead = self.ahead[:count], self.ahead[count:]
        return data

    def rest(self) -> bytes:
        """All until the end."""
        while self.more():
            pass
        data, self.ahead = self.ahead, b""
        return data

    def was_reset(self) -> bool:
        """Whether the connection ends with a reset, after whatever came before it."""
        try:
            while self.more():
                pass
        except ConnectionResetError:
            return True
        return False

    def half_close(self) -> Self:
        self.sock.shutdown(socket.SHUT_WR)
        return self

    def close(self) -> None:
        self.sock.close()

    def reset(self) -> None:
        """Ends with a reset."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()


class Ground:
    """The three namespaces and a name server. Use as a context manager."""

    def __init__(self) -> None:
        self.client, self.gateway, self.abroad = Namespace(), Namespace(), Namespace()
        self._numbers = itertools.count(60)
        self._ports = iter(range(10_000, 65_000))  # none twice: a client's port names its connection in the records
        self._sites: list[Site] = []
        self._talks: list[Talk] = []
        for ns in (self.client, self.gateway, self.abroad):
            ns.ip(["link set lo up"])
        self._wire(self.client, "far", "acc0", ["10.0.0.1/24"], [f"{a}/24" for a in SOURCES.values()])
        for name, (device, near, far) in LINES.items():
            near6, far6 = LINES6[name]
            self._wire(self.abroad, f"far-{name}", device, [f"{near}/24", f"{near6}/64"], [f"{far}/24", f"{far6}/64"])
            metric = 100 * int(device[-1])
            self.gateway.ip(
                [f"route add default via {far} dev {device} metric {metric}",
                 f"route add default via {far6} dev {device} metric {metric}"]
            )  # fmt: skip
        self.abroad.ip(["addr add 203.0.113.1/24 dev lo", f"addr add {ABROAD6}/128 dev lo nodad"])
        with self.abroad.inside():
            self.names = NameServer(RESOLVERS)

    def _wire(self, other: Namespace, far: str, near: str, near_addresses: list[str], far_addresses: list[str]) -> None:
        peer = f"peer name {far} netns /proc/{os.getpid()}/fd/{other.fd}"
        self.gateway.ip([f"link add {near} type veth {peer}"])
        for ns, device, addresses in ((self.gateway, near, near_addresses), (other, far, far_addresses)):
            added = [f"addr add {a} dev {device}{' nodad' if ':' in a else ''}" for a in addresses]
            ns.ip([*added, f"link set {device} up"])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.tidy()
        self.names.close()
        for ns in (self.client, self.gateway, self.abroad):
            ns.close()

    def tidy(self) -> None:
        """Closes what a test left open."""
        self.tidy_talks()
        for site in self._sites:
            site.listener.close()
            for held in site.held:
                held.close()
        self._sites.clear()

    def tidy_talks(self) -> None:
        """Closes the clients' connections."""
        for talk in self._talks:
            talk.close()
        self._talks.clear()

    def site(self, kind: str = "tls", *, port: int = 0, v6: bool = False, backlog: int = 64) -> Site:
        """A new service under a new name; kind: a service of the policy (node.py)."""
        self._sites = [site for site in self._sites if site.listener.fileno() >= 0 or site.held]
        number = next(self._numbers)
        while any(site.address == f"203.0.113.{60 + number % 190}" for site in self._sites):
            number = next(self._numbers)
        address = ABROAD6 if v6 else f"203.0.113.{60 + number % 190}"
        host = f"n{number}.{kind}.example"
        port = port or PORTS[kind]
        with self.abroad.inside():
            listener = socket.create_server(
                (address, port), family=socket.AF_INET6 if v6 else socket.AF_INET, backlog=backlog
            )
        self.names.know(host, address)
        site = Site(host, port, address, listener)
        self._sites.append(site)
        return site

    def dial(self, port: int, firm: str = "acme", receive_buffer: int = 0) -> Talk:
        """A client's connection to the gateway."""
        with self.client.inside():
            sock = socket.socket()
        if receive_buffer:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        sock.settimeout(PATIENCE)
        sock.bind((SOURCES[firm], next(self._ports)))
        sock.connect((GATEWAY, port))
        talk = Talk(sock)
        self._talks.append(talk)
        return talk


def client_hello(name: str | None) -> bytes:
    """What a real TLS client says first."""
    context = ssl.create_default_context()
    if name is None:
        context.check_hostname = False
    out = ssl.MemoryBIO()
    tls = context.wrap_bio(ssl.MemoryBIO(), out, server_hostname=name)
    with contextlib.suppress(ssl.SSLWantReadError):
        tls.do_handshake()
    return out.read()


def with_extension(hello: bytes, kind: int, data: bytes) -> bytes:
    """The hello with a further extension at its end."""
    body = hello[9:]
    at = 35 + body[34]
    at += 2 + int.from_bytes(body[at : at + 2])
    at += 1 + body[at]
    extensions = body[at + 2 :] + struct.pack("!HH", kind, len(data)) + data
    body = body[:at] + struct.pack("!H", len(extensions)) + extensions
    return b"\x16\x03\x01" + struct.pack("!H", len(body) + 4) + b"\x01" + len(body).to_bytes(3) + body


def with_ech(hello: bytes) -> bytes:
    """The hello with an ECHClientHello of type outer at its end (RFC 9849 clause 5): real, or GREASE; who can tell."""
    return with_extension(hello, 0xFE0D, b"\0\0\1\0\1\x5a\0\x20" + os.urandom(32) + b"\0\x90" + os.urandom(144))


def in_records(hello: bytes, size: int) -> bytes:
    """The same handshake message in records of at most `size` bytes."""
    message = hello[5:]
    pieces = [message[at : at + size] for at in range(0, len(message), size)]
    return b"".join(b"\x16\x03\x01" + struct.pack("!H", len(p)) + p for p in pieces)

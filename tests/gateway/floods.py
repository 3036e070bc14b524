"""Floods: connections that are abandoned at some point of their handshake, and honest clients beside them."""

import contextlib
import socket
import ssl
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from tests.gateway.kit import GATEWAY, SOURCES, Ground, Talk, client_hello
from tests.gateway.node import Node, Worker, authorization, token
from tests.gateway.secure_kit import SERVER, Pki
from tests.gateway.test_socks5 import request

MANY = 4_000  # sources that may be told apart
_NETWORK = "10.1"  # of them, behind acme's address


@dataclass(frozen=True)
class Kind:
    """Where a flood goes, and what each of its connections says before it falls silent. drip: what it says more, a byte
    at a time, without an end; source: the only address that it can come from, "" for any."""

    listener: str
    says: bytes
    drip: bytes = b""
    source: str = ""


HEAD = b"CONNECT n1.tls.example:443 HTTP/1.1\r\nHost: n1.tls.example:443\r\n"
_GREETING = b"\x05\x01\x02"
KINDS = {
    "silence": Kind("plain", b""),
    "half a head": Kind("plain", HEAD),
    "a slow head": Kind("plain", HEAD + b"X-Slow: ", b"x"),
    "half a TLS hello": Kind("secure", client_hello(SERVER)[:100]),
    "a TLS hello and no more": Kind("secure", client_hello(SERVER)),
    "silence where TLS is spoken": Kind("secure", b""),
    "half a SOCKS greeting": Kind("socks", _GREETING[:1]),
    "a SOCKS greeting without a login": Kind("socks", _GREETING),
    "half a SOCKS login": Kind("socks", _GREETING + b"\x01\x20c-"),
    "half a PROXY header": Kind("balanced", b"PROXY TCP4 10.0", source="stray"),
    "a PROXY header from nowhere": Kind("balanced", b"PROXY UNKNOWN\r\n", source="stray"),
    "a PROXY header and half a head": Kind(
        "balanced", b"PROXY TCP4 10.0.0.2 10.0.0.1 99 3128\r\n" + HEAD, source="stray"
    ),
}


def listeners(pki: Pki) -> dict[str, dict[str, Any]]:
    """One of each kind, beside the plain one, all for a firm's token."""
    tls = {"certificate": str(pki.certificate), "key": str(pki.key)}
    return {
        "socks": {"kind": "socks5"},
        "secure": {"kind": "http", "tls": tls},
        "balanced": {"proxy_protocol": [f"{SOURCES['stray']}/32"]},
    }


def pki(directory: Path) -> Pki:
    """The certificates that they need."""
    return Pki(directory / "pki", int(time.time()))


@contextlib.contextmanager
def sources(ground: Ground) -> Iterator[None]:
    """Many addresses that clients can speak from, all of them behind acme's own."""
    network = f"{_NETWORK}.0.0/16"
    ground.client.ip([f"route add local {network} dev lo"])
    ground.gateway.ip([f"route add {network} via {SOURCES['acme']} dev acc0"])
    try:
        yield
    finally:
        ground.gateway.ip([f"route del {network} dev acc0"])
        ground.client.ip([f"route del local {network} dev lo"])


def address(number: int) -> str:
    """One of the many."""
    high, low = divmod(number % MANY, 250)
    return f"{_NETWORK}.{high}.{low + 1}"


class Flood:
    """Connections of one kind, of one source or of many. Use as a context manager."""

    def __init__(self, ground: Ground, worker: Worker, kind: Kind, *, many: bool = False, keep: int = 0) -> None:
        self.ground, self.kind, self.many = ground, kind, many
        self.to = (GATEWAY, worker.ports[kind.listener])
        self.opened = 0
        self.held: deque[socket.socket] = deque(maxlen=keep or None)  # the oldest are let go, and so closed

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for sock in self.held:
            sock.close()
        self.held.clear()

    def open(self, count: int) -> Self:
        """So many more."""
        with self.ground.client.inside():
            for _ in range(count):
                self._one()
        return self

    def _one(self) -> None:
        sock = socket.socket()
        if self.many and not self.kind.source:
            sock.bind((address(self.opened), 0))
        else:
            sock.bind((SOURCES[self.kind.source or "acme"], 0))
        sock.settimeout(8)
        sock.connect(self.to)
        sock.setblocking(False)
        with contextlib.suppress(OSError):  # it may have been sent away already
            if self.kind.says:
                sock.send(self.kind.says)
        self.held.append(sock)
        self.opened += 1

    def drip(self) -> None:
        """A byte more of each."""
        for sock in self.held:
            with contextlib.suppress(OSError):
                sock.send(self.kind.drip)

    def standing(self) -> int:
        """How many the gateway holds still."""
        count = 0
        for sock in self.held:
            try:
                seen = sock.recv(1, socket.MSG_PEEK)
            except BlockingIOError:
                count += 1
            except OSError:
                pass
            else:
                # A server's hello or a SOCKS method is an answer, and no refusal.
                count += bool(seen) and seen[0] in (0x16, 0x05) and not _over(sock)
        return count


def _over(sock: socket.socket) -> bool:
    """Whether its other side has ended, with bytes of it unread (TCP_INFO: tcpi_state is ESTABLISHED or not)."""
    return sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1) != b"\x01"


def honest(node: Node, worker: Worker, listener: str, authority: str, firm: str = "acme") -> Talk:
    """A client that says all at once, up to its open tunnel."""
    ground = node.ground
    who = f"Proxy-Authorization: {authorization(firm)}\r\n"
    head = f"CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n{who}\r\n".encode()
    context = ssl.create_default_context(cafile=node.directory / "pki" / "root.pem") if listener == "secure" else None
    talk = ground.dial(worker.ports[listener], "stray" if listener == "balanced" else firm)
    if listener == "socks":
        host, _, port = authority.partition(":")
        name, word = f"c-{firm:0<9}0".encode(), token(firm).encode()
        talk.say(_GREETING)
        assert talk.exactly(2) == b"\x05\x02"
        talk.say(b"\x01%c%b%c%b" % (len(name), name, len(word), word))
        assert talk.exactly(2) == b"\x01\x00"
        assert talk.say(request(host.encode(), int(port))).exactly(10)[1] == 0
        return talk
    if context is not None:
        talk.sock = context.wrap_socket(talk.sock, server_hostname=SERVER)
    if listener == "balanced":
        head = f"PROXY TCP4 {SOURCES[firm]} 10.0.0.1 {talk.port} 3128\r\n".encode() + head
    answer = talk.say(head).head()
    assert answer.startswith("HTTP/1.1 200 "), answer
    return talk

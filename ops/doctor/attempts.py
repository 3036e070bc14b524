"""The ways in which a packet could try to leave beside its line, each as the mistake it stands for."""

import contextlib
import ctypes
import socket
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from errno import EINPROGRESS
from ipaddress import ip_address

from gateway.line.model import MAX_INDEX, NodeConfig, mark_of
from gateway.line.spec import LineSpec, Segments, Underlay
from ops.doctor.aim import Aim

ROUTE_PORT = 46_000  # of no packet: a route is only looked up
_AF = {4: socket.AF_INET, 6: socket.AF_INET6}
_ECHO = {4: (socket.IPPROTO_ICMP, 8), 6: (socket.IPPROTO_ICMPV6, 128)}
_UDP = socket.IPPROTO_UDP
_ND_HOPS = 255  # what neighbours must see, and filters let pass (RFC 4861 11.2)
_TEXT = b"feiyu doctor egress"


@dataclass(frozen=True, slots=True)
class Attempt:
    """One packet that is to get out. kind: tcp, udp, icmp, nd (a neighbour solicitation with a text in it, as only a
    program sends it), or raw (a UDP packet with a header of our own making).

    mark, device, source, uid: what the socket has, where it has them. onlink: past every gateway (SO_DONTROUTE). held:
    the line's device and sources, where leaving by them is no leak; asked: the route is looked up first, and nothing is
    sent where it leads to the line.
    """

    name: str
    line: str
    version: int
    kind: str
    mark: int = 0
    device: str = ""
    source: str = ""
    uid: int = 0
    onlink: bool = False
    asked: bool = False
    held: tuple[str, frozenset[str]] = ("", frozenset())


class NotTriedError(Exception):
    """The socket could not be made as the attempt needs it; the text says why."""


def of_node(node: NodeConfig) -> Iterator[Attempt]:
    """What needs no line: a plain socket of root, one of a worker's user, an echo."""
    for version in (4, 6):
        for kind in ("tcp", "udp"):
            yield Attempt("plain socket of root", "", version, kind)
            for uid in node.worker_uids[:1]:
                yield Attempt("plain socket of a worker's user", "", version, kind, uid=uid)
        yield Attempt("echo request", "", version, "icmp")
    yield Attempt("forged neighbour solicitation", "", 6, "nd")
    for uid in node.worker_uids[:1]:
        yield Attempt("forged neighbour solicitation of a worker's user", "", 6, "nd", uid=uid)


def of_line(line: LineSpec, all_lines: Sequence[LineSpec], node: NodeConfig) -> Iterator[Attempt]:
    """Every mixture of mark, device and source that is not the whole of it."""
    used = {one.index for one in all_lines}
    unknown = next((index for index in range(MAX_INDEX, 0, -1) if index not in used), 0)
    other = next((one.mark for one in all_lines if one.index != line.index), 0)
    for way in line.ways:
        held = (line.device, frozenset(way.sources))
        for kind in ("tcp", "udp"):
            bare = Attempt("", line.id, way.version, kind, held=held)
            yield replace(bare, name="mark without device", mark=line.mark, asked=True)
            yield replace(bare, name="device without mark", device=line.device)
            yield replace(bare, name="source alone", source=way.source)
            whole = replace(bare, device=line.device, source=way.source)
            if other:
                yield replace(whole, name="another line's mark", mark=other)
            if unknown:
                yield replace(whole, name="mark of no line", mark=mark_of(unknown, node.mark_base))
            if way.version == 4:  # the kernel asks neighbours for any address; IPv6 has no such way
                yield replace(whole, name="past the gateway, to a neighbour", mark=line.mark, onlink=True)
        bare = Attempt("", line.id, way.version, "icmp", held=held)
        yield replace(bare, name="echo request from its source", source=way.source)
        yield replace(bare, name="forged packet with its source", kind="raw", source=way.source)
        if way.version == 6:
            yield replace(bare, name="forged neighbour solicitation from its source", kind="nd", source=way.source)
            yield replace(bare, name="forged neighbour solicitation by its device", kind="nd", device=line.device)
    yield from _of_tunnel(line)


def _of_tunnel(line: LineSpec) -> Iterator[Attempt]:
    """Unwrapped, by the wire that a tunnel's outer packets leave by, or with their source."""
    match line.tunnel:
        case Underlay(local=local, device=wire):
            ways = line.ways
        case Segments(local=local):  # its wire is the line's device, which is tried above
            wire, ways = "", ()
        case _:
            return
    version = 6 if ":" in local else 4
    for kind in ("tcp", "udp"):
        yield Attempt("outer source alone", line.id, version, kind, source=local)
        for way in ways:
            yield Attempt("by the wire under the tunnel", line.id, way.version, kind, mark=line.mark, device=wire)
    yield Attempt("forged packet with its outer source", line.id, version, "raw", source=local)


def stays(attempt: Attempt, target: str) -> bool:
    """Whether the route for such a socket leads to the line: the kernel chose one of its sources. Sends nothing.
    Raises OSError as connect(2) does: prohibited, unreachable."""
    with _socket(replace(attempt, kind="udp")) as asking:
        asking.connect((target, ROUTE_PORT))
        return str(asking.getsockname()[0]) in attempt.held[1]


def send(attempt: Attempt, aim: Aim) -> tuple[int, int]:
    """Tries it once. The errno with which the kernel refused, or 0, and the port or echo identifier that it was sent
    from. Raises NotTriedError."""
    with _socket(attempt) as sock:
        try:
            if attempt.kind == "icmp":
                sock.sendto(_echo(attempt.version, aim.own), (aim.address, 0))
                return 0, aim.own
            if attempt.kind == "nd":
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS, _ND_HOPS)
                sock.sendto(_solicitation(aim), (aim.address, 0))
                return 0, aim.own
            if attempt.kind == "raw":
                sock.sendto(_packet(attempt.source, aim), (aim.address, 0))
                return 0, aim.own
            sock.connect((aim.address, aim.port))
            sock.send(_TEXT)
        except OSError as error:
            refused = 0 if isinstance(error, BlockingIOError) else error.errno or 0
            return 0 if refused == EINPROGRESS else refused, _source_port(attempt, sock)
        return 0, _source_port(attempt, sock)


def _source_port(attempt: Attempt, sock: socket.socket) -> int:
    return int(sock.getsockname()[1]) if attempt.kind in ("tcp", "udp") else 0


def _socket(attempt: Attempt) -> socket.socket:
    kind, protocol = socket.SOCK_STREAM if attempt.kind == "tcp" else socket.SOCK_DGRAM, 0
    if attempt.kind == "icmp":
        kind, protocol = socket.SOCK_RAW, _ECHO[attempt.version][0]
    elif attempt.kind == "nd":
        kind, protocol = socket.SOCK_RAW, socket.IPPROTO_ICMPV6
    elif attempt.kind == "raw":
        kind, protocol = socket.SOCK_RAW, socket.IPPROTO_RAW
    with contextlib.ExitStack() as unmade:
        try:
            with _as_user(attempt.uid):  # a socket belongs to whoever made it; that is what nft's skuid asks
                sock = unmade.enter_context(socket.socket(_AF[attempt.version], kind | socket.SOCK_NONBLOCK, protocol))
            if attempt.mark:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, attempt.mark)
            if attempt.device:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, attempt.device.encode() + b"\0")
            if attempt.onlink:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_DONTROUTE, 1)
            if attempt.source and attempt.kind != "raw":
                sock.bind((attempt.source, 0))
        except OSError as error:
            raise NotTriedError(error.strerror or str(error)) from error
        unmade.pop_all()
    return sock


@contextlib.contextmanager
def _as_user(uid: int) -> Iterator[None]:
    """The thread makes files, and sockets, as another user (setfsuid(2)), with its own capabilities: a worker has that
    for raw sockets."""
    if not uid:
        yield
        return
    setfsuid = ctypes.CDLL(None).setfsuid
    before = setfsuid(uid)
    try:
        yield
    finally:
        setfsuid(before)


def _echo(version: int, identifier: int) -> bytes:
    """RFC 792, RFC 4443 4.1; the kernel fills in ICMPv6's checksum."""
    head = struct.pack("!BBHHH", _ECHO[version][1], 0, 0, identifier, 1)
    return head[:2] + struct.pack("!H", _checksum(head + _TEXT)) + head[4:] + _TEXT


def _solicitation(aim: Aim) -> bytes:
    """RFC 4861 4.3, with the attempt's number in what is reserved and more behind than any option of the kernel's."""
    return struct.pack("!BBHHH", 135, 0, 0, aim.own, 0) + ip_address(aim.address).packed + _TEXT * 4


def _packet(source: str, aim: Aim) -> bytes:
    """A whole UDP packet (RFC 768) in an IPv4 or IPv6 header."""
    ends = ip_address(source).packed + ip_address(aim.address).packed
    length = 8 + len(_TEXT)
    pseudo = ends + struct.pack("!II", length, _UDP)
    summed = _checksum(pseudo + struct.pack("!HHHH", aim.own, aim.port, length, 0) + _TEXT) or 0xFFFF
    body = struct.pack("!HHHH", aim.own, aim.port, length, summed) + _TEXT
    if ip_address(source).version == 6:
        return struct.pack("!IHBB", 6 << 28, length, _UDP, 64) + ends + body
    return struct.pack("!BBHHHBBH", 0x45, 0, 20 + length, 0, 0, 64, _UDP, 0) + ends + body  # the kernel sums it


def _checksum(data: bytes) -> int:
    """The internet checksum (RFC 1071)."""
    total: int = sum(struct.unpack(f"!{(len(data) + 1) // 2}H", data + b"\0" * (len(data) % 2)))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF

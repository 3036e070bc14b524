"""The one place where a socket towards abroad is made: marked, bound to the line's device and source, and read back.

A socket that is not provably on its line never reaches connect(2). Needs CAP_NET_RAW (SO_MARK since Linux 5.17) and no
other capability. Each connect costs eight system calls, on a shaped line nine; nothing here blocks.
"""

import errno
import os
from socket import (
    AF_INET,
    AF_INET6,
    IP_BIND_ADDRESS_NO_PORT,
    IPPROTO_IP,
    SO_BINDTODEVICE,
    SO_MARK,
    SO_PRIORITY,
    SOCK_CLOEXEC,
    SOCK_DGRAM,
    SOCK_NONBLOCK,
    SOCK_STREAM,
    SOL_SOCKET,
    SocketType,
)

from gateway.line.model import Egress, LineError, LineHandle, LineResolver
from whitelist.address import CheckedAddress
from whitelist.decide import Permit

_STREAM = SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC
_DATAGRAM = SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC
_NAME_BUFFER = 16  # IFNAMSIZ
DNS_PORT, DNS_TLS_PORT = 53, 853  # RFC 1035, RFC 7858
_ON_THE_WAY = (0, errno.EINPROGRESS)
# The kernel found no way on the line at all: prohibit, unreachable, a device that is down or gone, a dropped packet.
_LINE_ERRNOS = frozenset(
    (errno.ENETUNREACH, errno.EHOSTUNREACH, errno.EACCES, errno.EPERM, errno.ENODEV, errno.ENETDOWN, errno.ENONET)
)


class DialError(Exception):
    """connect(2) failed at once for a reason that is the destination's or the node's, not the line's."""

    def __init__(self, line: str, error: int, what: str = "") -> None:
        super().__init__(f"line {line}: {what or f'connect: {os.strerror(error)}'}")
        self.line = line
        self.errno = error


def open_socket(family: int, line: LineHandle, datagram: bool = False, egress: Egress | None = None) -> SocketType:
    """A non-blocking, unconnected socket whose packets leave on this line only. family: 4 or 6; egress: of the tenant,
    or None for the node's own questions, which leave by the line's own address in the class of all others.

    Raises LineError when the line does not carry the family, a call fails, or mark or device read back differ.
    """
    if family == 4:
        source, af = line.source4 if egress is None else egress.source4, AF_INET
    elif family == 6:
        source, af = line.source6 if egress is None else egress.source6, AF_INET6
    else:
        raise LineError(line.id, f"address family {family}", "use 4 or 6")
    if not source:
        raise LineError(line.id, f"carries no IPv{family}", "give the line a source and a gateway of this family")
    try:
        sock = SocketType(af, _DATAGRAM if datagram else _STREAM)
    except OSError as error:  # EMFILE and the like are the node's, and the caller knows what to do about them
        raise DialError(line.id, error.errno or errno.EIO) from error
    step = "set mark"
    try:
        sock.setsockopt(SOL_SOCKET, SO_MARK, line.mark)
        step = "bind to device"
        sock.setsockopt(SOL_SOCKET, SO_BINDTODEVICE, line.device_sockopt)
        step = "read back"
        mark = sock.getsockopt(SOL_SOCKET, SO_MARK)
        device = sock.getsockopt(SOL_SOCKET, SO_BINDTODEVICE, _NAME_BUFFER)
        if mark != line.mark or device != line.device_sockopt:
            raise LineError(line.id, f"socket has mark {mark:#x} and device {device!r}", "do not use the line")
        priority = (line.common if egress is None else egress).priority
        if priority:
            step = "set priority"
            sock.setsockopt(SOL_SOCKET, SO_PRIORITY, priority)
        step = "bind to source"
        sock.setsockopt(IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1)
        sock.bind((source, 0))
    except OSError as error:
        sock.close()
        raise LineError(line.id, f"{step}: {error.strerror}", _remedy(step, line), error.errno or 0) from error
    except BaseException:
        sock.close()
        raise
    return sock


def connect(permit: Permit, checked: CheckedAddress, port: int, line: LineHandle) -> SocketType:
    """Starts a TCP connection to a checked address on one of the permit's lines, from the source and in the traffic
    class that the permit's tenant has there; the socket becomes writable when it is established or failed (SO_ERROR).
    Raises LineError (try the next designated line) or DialError."""
    if type(permit) is not Permit or type(checked) is not CheckedAddress:
        raise TypeError("dialling takes a Permit and a CheckedAddress")
    if line.id not in permit.lines:
        raise LineError(line.id, "is not designated by the permit", "dial only on the permit's lines")
    egress = line.egress(permit.tenant)
    return _start(open_socket(checked.family, line, egress=egress), checked.text, port, line)


def connect_resolver(line: LineHandle, resolver: LineResolver, datagram: bool = True) -> SocketType:
    """A connected UDP socket, or a TCP connection under way, to one of the line's own resolvers, on the line; for one
    that is asked over TLS always the latter. The kernel draws the source port (IP_BIND_ADDRESS_NO_PORT, RFC 5452 10).
    Raises LineError or DialError."""
    if resolver not in line.resolvers:
        raise LineError(line.id, f"{resolver.address} is not one of its resolvers", "ask the line's resolvers only")
    sock = open_socket(resolver.family, line, datagram and not resolver.tls_name)
    return _start(sock, resolver.address, DNS_TLS_PORT if resolver.tls_name else DNS_PORT, line)


def _start(sock: SocketType, address: str, port: int, line: LineHandle) -> SocketType:
    error = sock.connect_ex((address, port))
    if error in _ON_THE_WAY:
        return sock
    if error == errno.EADDRNOTAVAIL:  # IP_BIND_ADDRESS_NO_PORT: the port is only looked for now
        source = sock.getsockname()[0]
        sock.close()
        raise DialError(line.id, error, f"no free port of {source} towards {address}:{port}")
    sock.close()
    if error in _LINE_ERRNOS:
        raise LineError(line.id, f"connect: {os.strerror(error)}", "see the line's routes and rules", error)
    raise DialError(line.id, error)


def _remedy(step: str, line: LineHandle) -> str:
    if step in ("set mark", "set priority"):
        return "give the worker CAP_NET_RAW"
    if step == "bind to device":
        return f"see that device {line.device} exists"
    return f"see that the line's source address stands on {line.device}"

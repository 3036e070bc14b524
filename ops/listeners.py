"""The listening sockets: one SO_REUSEPORT socket per worker and listener, owned by the supervisor.

They outlive workers. A client that arrives while its worker restarts waits in the accept queue; a replacement inherits
the same sockets as its predecessor, so that whatever the predecessor leaves in the queue is the replacement's. Sockets
of workers that are no longer wanted are not closed (that would reset their queue) but handed to the remaining ones.
"""

import errno
import json
import os
import socket
from collections.abc import Iterable

from ops.settings import Listener

BACKLOG = 4_096  # the kernel clips it to net.core.somaxconn

# Level and name of the option, by family (linux/in.h, linux/in6.h).
TRANSPARENT = {socket.AF_INET: (socket.IPPROTO_IP, 19), socket.AF_INET6: (socket.IPPROTO_IPV6, 75)}


class ListenError(Exception):
    """A listener cannot be opened; str() says which, why, and what to do."""


class Listeners:
    """All sockets, by address and interface."""

    def __init__(self) -> None:
        self._sockets: dict[str, list[socket.socket]] = {}

    def prepare(self, wanted: Iterable[Listener], workers: int) -> None:
        """Opens what is missing for so many workers, and closes nothing. Raises ListenError, having opened nothing."""
        opened: list[tuple[str, socket.socket]] = []
        try:
            for listener in wanted:
                missing = workers - len(self._sockets.get(listener.place, ()))
                opened.extend((listener.place, listen(listener)) for _ in range(missing))
        except ListenError:
            for _, sock in opened:
                sock.close()
            raise
        for place, sock in opened:
            self._sockets.setdefault(place, []).append(sock)

    def retain(self, wanted: Iterable[Listener]) -> None:
        """Closes the supervisor's sockets of places that are no longer listened on."""
        keep = {listener.place for listener in wanted}
        for place in [place for place in self._sockets if place not in keep]:
            for sock in self._sockets.pop(place):
                sock.close()

    def share(self, wanted: Iterable[Listener], slot: int, workers: int) -> dict[str, list[int]]:
        """The descriptors of worker slot of workers, by listener name."""
        return {
            listener.name: [sock.fileno() for sock in self._sockets[listener.place][slot::workers]]
            for listener in wanted
        }

    def close(self) -> None:
        """Closes all; workers that still hold theirs go on."""
        self.retain(())


def environment(share: dict[str, list[int]]) -> str:
    """FEIYU_LISTEN_FDS: a JSON object, listener name to descriptors (several after workers were taken away)."""
    return json.dumps(share)


def listen(listener: Listener) -> socket.socket:
    """Opens one listening socket, close-on-exec and non-blocking. Raises ListenError."""
    host, port = listener.endpoint
    family = listener.family
    sock = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        if listener.is_transparent:  # and so is every socket accepted from it, which may then answer from any address
            sock.setsockopt(*TRANSPARENT[family], 1)
        if listener.interface:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, listener.interface.encode() + b"\0")
        sock.bind((host, port))
        sock.listen(BACKLOG)
    except OSError as error:
        sock.close()
        number = error.errno or 0
        hint = f"; {_HINTS[number]}" if number in _HINTS else ""
        why = os.strerror(number)
        raise ListenError(f"listener {listener.name}: cannot listen on {listener.address}: {why}{hint}") from None
    return sock


_HINTS = {
    errno.EPERM: "a transparent listener needs CAP_NET_RAW or CAP_NET_ADMIN",
    errno.EADDRINUSE: "another program listens there: `ss -ltnp` shows which",
    errno.EADDRNOTAVAIL: "no interface of this host has that address: `ip address` shows what it has",
    errno.ENODEV: "there is no such interface: `ip link` shows which there are",
    errno.EACCES: "ports below 1024 need CAP_NET_BIND_SERVICE",
}

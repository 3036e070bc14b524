"""Running traffic of a worker: new connections, data on live ones, and name queries, over IPv4 and IPv6."""

import contextlib
import socket
import threading
import time
from typing import Protocol, Self

from gateway.line import dial
from gateway.line.model import LineHandle
from tests.netns.kit import ABROAD, AF, PORT, Zone


class Opener(Protocol):
    """Makes an unconnected, non-blocking socket of family 4 or 6."""

    def __call__(self, version: int, *, datagram: bool) -> socket.SocketType: ...


PAUSE = 0.003  # seconds between rounds: paces the load, no assertion depends on it
LIMIT = 5.0  # seconds a wait may take


def whole(line: LineHandle) -> Opener:
    """As the gateway does it."""

    def opener(version: int, *, datagram: bool) -> socket.SocketType:
        return dial.open_socket(version, line, datagram)

    return opener


def partial(mark: int = 0, device: str = "", source: LineHandle | None = None) -> Opener:
    """A socket that lacks some of what holds it on its line: the mistake that the other layers must catch."""

    def opener(version: int, *, datagram: bool) -> socket.SocketType:
        sock = socket.socket(
            AF[version], (socket.SOCK_DGRAM if datagram else socket.SOCK_STREAM) | socket.SOCK_NONBLOCK
        )
        if mark:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, mark)
        if device:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, device.encode())
        if source is not None:
            sock.bind((source.source4 if version == 4 else source.source6, 0))
        return sock

    return opener


class Traffic:
    """`with Traffic(zone, opener) as traffic:` runs it in the gateway's namespace on a thread of its own."""

    def __init__(self, zone: Zone, opener: Opener) -> None:
        self._zone = zone
        self._opener = opener
        self._stop = False
        self._round = threading.Condition()
        self._rounds = 0
        self._live: list[socket.SocketType] = []
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop = True
        self._thread.join(LIMIT)
        assert not self._thread.is_alive()

    def wait(self, rounds: int) -> None:
        """Returns when so many whole rounds have gone by."""
        with self._round:
            target = self._rounds + rounds + 1  # the round under way may have begun before
            assert self._round.wait_for(lambda: self._rounds >= target, LIMIT)

    def _run(self) -> None:
        with self._zone.gateway.inside():
            self._live = [sock for version in (4, 6) if (sock := self._establish(version)) is not None]
            while not self._stop:
                opened = self._one_round()
                with self._round:
                    self._rounds += 1
                    self._round.notify_all()
                time.sleep(PAUSE)
                for sock in opened:
                    sock.close()
            for sock in self._live:
                sock.close()

    def _establish(self, version: int) -> socket.SocketType | None:
        try:
            sock = self._opener(version, datagram=False)
        except dial.LineError:
            return None
        sock.settimeout(0.1)
        try:
            sock.connect((ABROAD[version], PORT))
        except OSError:
            sock.close()
            return None
        sock.settimeout(0)
        return sock

    def _one_round(self) -> list[socket.SocketType]:
        opened = []
        for sock in self._live:
            with contextlib.suppress(OSError):
                sock.send(b"data of a tenant")
        for version in (4, 6):
            for datagram in (False, True):
                with contextlib.suppress(OSError, dial.LineError):
                    sock = self._opener(version, datagram=datagram)
                    opened.append(sock)
                    sock.connect_ex((ABROAD[version], 53 if datagram else PORT))
                    if datagram:
                        sock.send(b"question of a tenant")
        return opened

"""The hub's connections: who connects, what arrives, who is gone. Knows packets, not their meaning."""

import asyncio
import os
import socket
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from gateway.live import MAX_PACKET

MAX_PER_UID = 256  # connections
PAUSE = 0.2  # seconds without accepting when descriptors are used up


@dataclass(eq=False, slots=True)
class Peer:
    """One connection: whose it is, says the kernel; role and name are the peer's own words, once checked."""

    sock: socket.socket
    pid: int
    uid: int
    role: str = ""
    name: str = ""
    state_seq: int = 0  # the number of its state message
    synced: bool = False  # has acknowledged that
    outstanding: int = 0  # its messages that are not answered


@dataclass(slots=True)
class Events:
    """What becomes of connections. allowed: whether a uid may connect; packet gets None for one that was too long."""

    allowed: Callable[[int], bool]
    packet: Callable[[Peer, bytes | None], None]
    gone: Callable[[Peer], None]
    log: Callable[[str], None]


class Peers:
    """All connections of one SOCK_SEQPACKET socket, in the running loop."""

    def __init__(self, path: Path, events: Events) -> None:
        self._path, self._events = path, events
        self._peers: set[Peer] = set()
        self._listening: socket.socket | None = None

    def __iter__(self) -> Iterator[Peer]:
        return iter(list(self._peers))

    def __contains__(self, peer: Peer) -> bool:
        return peer in self._peers

    def open(self, group: int | None) -> None:
        """Listens, for owner and group. Raises OSError."""
        self._path.unlink(missing_ok=True)
        listening = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_NONBLOCK)
        listening.bind(str(self._path))
        self._path.chmod(0o660)
        if group is not None:
            os.chown(self._path, -1, group)
        listening.listen(128)
        self._listening = listening
        asyncio.get_running_loop().add_reader(listening, self._accept)

    def close(self) -> None:
        """Ends all connections and the socket."""
        for peer in self:
            self.drop(peer)
        if self._listening:
            asyncio.get_running_loop().remove_reader(self._listening)
            self._listening.close()
            self._listening = None
            self._path.unlink(missing_ok=True)

    def send(self, peer: Peer, packet: bytes) -> None:
        """Sends at once or ends the connection: one that does not read is of no use."""
        if peer not in self._peers:
            return
        try:
            peer.sock.send(packet)
        except OSError as error:
            self._events.log(f"hub: {peer.name} cannot be told: {error.strerror}")
            self.drop(peer)

    def drop(self, peer: Peer) -> None:
        """Ends a connection."""
        if peer in self._peers:
            self._peers.discard(peer)
            asyncio.get_running_loop().remove_reader(peer.sock)
            peer.sock.close()
            self._events.gone(peer)

    def _accept(self) -> None:
        assert self._listening
        loop = asyncio.get_running_loop()
        try:
            sock, _ = self._listening.accept()
        except BlockingIOError:
            return
        except OSError as error:
            self._events.log(f"hub: accept: {error.strerror}")
            loop.remove_reader(self._listening)
            loop.call_later(PAUSE, self._resume)
            return
        os.set_blocking(sock.fileno(), False)
        pid, uid, _ = struct.unpack("3i", sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
        if not self._events.allowed(uid) or sum(peer.uid == uid for peer in self._peers) >= MAX_PER_UID:
            self._events.log(f"hub: turned away process {pid} of uid {uid}")
            sock.close()
            return
        peer = Peer(sock, pid, uid)
        self._peers.add(peer)
        loop.add_reader(sock, self._readable, peer)

    def _resume(self) -> None:
        if self._listening:
            asyncio.get_running_loop().add_reader(self._listening, self._accept)

    def _readable(self, peer: Peer) -> None:
        try:
            packet, _, flags, _ = peer.sock.recvmsg(MAX_PACKET)
        except BlockingIOError:
            return
        except OSError:
            packet, flags = b"", 0
        if packet:
            self._events.packet(peer, None if flags & socket.MSG_TRUNC else packet)
        else:
            self.drop(peer)

"""A listener of TCP: accepts connections, tells by which access interface each came, stops when there is no room."""

import errno
import os
import socket
import struct
from collections.abc import Callable
from typing import TYPE_CHECKING

from gateway.reactor import IN
from whitelist.reason import Reason

if TYPE_CHECKING:
    from gateway.context import Context

ACCEPTS_PER_TURN = 64
PAUSE = 0.2  # seconds without accepting after the process ran out of descriptors or memory
_SHORTAGE = frozenset((errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM))
_IP_PKTOPTIONS, _IP_PKTINFO = 9, 8  # linux/in.h
_IPV6_2292PKTOPTIONS = 6  # linux/in6.h
_PKTINFO4 = struct.Struct("@QiiI")  # cmsg_len, level, type, in_pktinfo.ipi_ifindex
_PKTINFO6 = struct.Struct("@Qii16sI")  # cmsg_len, level, type, in6_pktinfo
_MAPPED = "::ffff:"

Arrived = Callable[["PlainListener", int, str, int, str], None]


class PlainListener:
    """One inherited listening socket. arrived(listener, fd, client ip, client port, access interface) takes each one;
    fd is non-blocking. http: whether those who are turned away for want of descriptors can be told so in plain HTTP."""

    def __init__(self, ctx: "Context", name: str, sock: socket.socket, arrived: Arrived, *, http: bool = True) -> None:
        self.ctx = ctx
        self.name = name
        self._http = http
        self._sock = sock
        self._arrived = arrived
        self._six = sock.family == socket.AF_INET6
        self._interfaces: dict[int, str] = {}
        # A socket bound to a device hears that device only, whatever it is called by now.
        self._bound = sock.getsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, 16).rstrip(b"\0").decode("ascii")
        self._listening = False
        self._reserve = os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # inherited by every accepted socket
        if self._six:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
        else:
            sock.setsockopt(socket.IPPROTO_IP, _IP_PKTINFO, 1)
        self.resume()

    def resume(self) -> None:
        """Accepts (again). Level-triggered: what is not accepted in this turn is in the next."""
        if not self._listening:
            self._listening = True
            self.ctx.reactor.watch(self._sock.fileno(), IN, self.on_ready)

    def pause(self) -> None:
        """Leaves connections in the kernel's queue."""
        if self._listening:
            self._listening = False
            self.ctx.reactor.forget(self._sock.fileno())

    def on_ready(self, mask: int) -> None:
        """Accepts a bounded batch. Without descriptors left, nor any to be had of those who only wait, it stops for a
        while: accept would fail again at once."""
        accept = self._sock._accept  # type: ignore[attr-defined]  # the public accept() makes an object per connection
        for _ in range(ACCEPTS_PER_TURN):
            try:
                fd, peer = accept()
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno in _SHORTAGE:
                    if self.ctx.shortage(f"accept: {error.strerror}"):
                        return  # with room in the next turn
                    self._turn_away()
                    self.pause()
                    self.ctx.reactor.later(PAUSE, self._resume_unless_draining)
                    return
                continue  # the client is gone already (ECONNABORTED and its kin)
            os.set_blocking(fd, False)
            ip: str = peer[0]
            if self._six and ip.startswith(_MAPPED):
                ip = ip[len(_MAPPED) :]
            self._arrived(self, fd, ip, peer[1], self._bound or self._interface(fd))

    def _turn_away(self) -> None:
        """Out of descriptors: those who wait are told so, one after the other, by means of the one kept in reserve."""
        reserve, self._reserve = self._reserve, -1
        if reserve < 0:
            return
        os.close(reserve)  # its number is for one connection at a time
        try:
            for _ in range(ACCEPTS_PER_TURN):
                fd, peer = self._sock._accept()  # type: ignore[attr-defined]  # as in on_ready
                try:
                    os.set_blocking(fd, False)
                    self._say_overloaded(fd, peer[0], peer[1])
                finally:
                    os.close(fd)
        except OSError:
            pass  # nobody waits any more, or somebody else took the descriptor
        try:
            self._reserve = os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            pass  # tried again with the next shortage

    def _say_overloaded(self, fd: int, ip: str, port: int) -> None:
        ctx = self.ctx
        record = ctx.new_record()
        record.flow = record.ref = ctx.refs.next()
        record.client_ip, record.client_port, record.listener = ip.removeprefix(_MAPPED), port, self.name
        record.decision, record.reason, record.status = "deny", Reason.OVERLOADED, 503
        record.detail = "out of descriptors"
        ctx.emit_refusal(record)
        ctx.flush()
        if not self._http:
            return
        try:
            os.read(fd, 65_536)  # what is not read would turn the answer into a reset
        except OSError:
            pass
        try:
            os.write(fd, ctx.refusal(Reason.OVERLOADED, ref=record.ref, revision=ctx.revision, detail=record.detail))
        except OSError:
            pass  # gone already

    def _resume_unless_draining(self) -> None:
        if not self.ctx.draining:
            self.resume()

    def _interface(self, fd: int) -> str:
        """The interface the first packet came by; "" when the kernel does not say."""
        sock = socket.SocketType(self._sock.family, socket.SOCK_STREAM, 0, fd)
        try:
            if self._six:
                data = sock.getsockopt(socket.IPPROTO_IPV6, _IPV6_2292PKTOPTIONS, 64)
                index = _PKTINFO6.unpack_from(data)[4] if len(data) >= _PKTINFO6.size else 0
            else:
                data = sock.getsockopt(socket.IPPROTO_IP, _IP_PKTOPTIONS, 64)
                index = _PKTINFO4.unpack_from(data)[3] if len(data) >= _PKTINFO4.size else 0
        except OSError:
            return ""
        finally:
            sock.detach()
        name = self._interfaces.get(index)
        if name is None:
            try:
                name = socket.if_indextoname(index)
            except OSError:
                return ""
            if len(self._interfaces) >= 256:
                self._interfaces.clear()
            self._interfaces[index] = name
        return name

    def forget_names(self) -> None:
        """Interfaces may have been renamed or re-created since."""
        self._interfaces.clear()

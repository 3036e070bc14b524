"""The resolvers abroad, over UDP and TCP, in a thread: they answer as a test tells them to, and keep what was asked."""

import selectors
import socket
import struct
import threading
from collections.abc import Callable, Iterable
from typing import NamedTuple

import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import dns.rrset


class Asked(NamedTuple):
    """One question as it arrived. over: "udp" or "tcp"; resolver: the address asked; peer: who asked."""

    host: str
    kind: str
    over: str
    resolver: str
    peer: str


Answer = Callable[[dns.message.Message, Asked], list[bytes]]


def reply(query: dns.message.Message, *records: tuple[str, str, str], ttl: int = 30, rcode: int = 0) -> bytes:
    """An answer with these records: (owner or "" for the one asked, type, data)."""
    response = dns.message.make_response(query)
    response.flags |= dns.flags.RA
    response.set_rcode(dns.rcode.Rcode(rcode))
    for owner, kind, data in records:
        name = f"{owner}." if owner else query.question[0].name
        response.answer.append(dns.rrset.from_text(name, ttl, "IN", kind, data))
    return response.to_wire(max_size=65535)


class NameServer:
    """Answers on port 53 of these addresses. answers: by name; names that are not there do not exist."""

    def __init__(self, addresses: Iterable[str]) -> None:
        self.answers: dict[str, Answer] = {}
        self.asked: list[Asked] = []
        self._held: dict[str, list[tuple[socket.socket, bytes, str, tuple[str, int]]]] = {}
        self._stop, self._wake = socket.socketpair()
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._stop, selectors.EVENT_READ, None)
        for address in addresses:
            udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            udp.bind((address, 53))
            self._selector.register(udp, selectors.EVENT_READ, address)
            tcp = socket.create_server((address, 53))
            self._selector.register(tcp, selectors.EVENT_READ, address)
        self._thread = threading.Thread(target=self._serve, name="resolvers", daemon=True)
        self._thread.start()

    def know(self, host: str, *addresses: str, ttl: int = 30) -> None:
        """The name has these addresses."""

        def answer(query: dns.message.Message, asked: Asked) -> list[bytes]:
            fit = [a for a in addresses if (":" in a) == (asked.kind == "AAAA")]
            return [reply(query, *(("", asked.kind, a) for a in fit), ttl=ttl)]

        self.answers[host] = answer

    def hold(self, host: str) -> None:
        """Questions for the name wait until release()."""
        self._held[host] = []

    def release(self, host: str) -> None:
        """Answers what waited, and what comes."""
        for sock, wire, address, peer in self._held.pop(host):
            for answer in self._answers(wire, "udp", address, peer[0]):
                sock.sendto(answer, peer)

    def count(self, host: str) -> int:
        """How often the name was asked for."""
        return sum(a.host == host for a in self.asked)

    def waiting(self, host: str) -> int:
        """How many questions wait."""
        return len(self._held.get(host, ()))

    def close(self) -> None:
        self._wake.send(b"x")
        self._thread.join(5)
        for key in list(self._selector.get_map().values()):
            key.fileobj.close()  # type: ignore[union-attr]  # sockets, all of them
        self._wake.close()
        self._selector.close()

    def _serve(self) -> None:
        while True:
            for key, _ in self._selector.select():
                sock = key.fileobj
                if sock is self._stop:
                    return
                assert isinstance(sock, socket.socket)
                if sock.type == socket.SOCK_DGRAM:
                    wire, peer = sock.recvfrom(4096)
                    held = self._held.get(dns.message.from_wire(wire).question[0].name.to_text(omit_final_dot=True))
                    if held is not None:
                        held.append((sock, wire, key.data, peer))
                        continue
                    for answer in self._answers(wire, "udp", key.data, peer[0]):
                        sock.sendto(answer, peer)
                else:
                    self._over_tcp(sock, key.data)

    def _over_tcp(self, listener: socket.socket, address: str) -> None:
        connection, peer = listener.accept()
        connection.settimeout(1)
        with connection:
            try:
                size = struct.unpack("!H", connection.recv(2, socket.MSG_WAITALL))[0]
                for answer in self._answers(connection.recv(size, socket.MSG_WAITALL), "tcp", address, peer[0]):
                    connection.sendall(struct.pack("!H", len(answer)) + answer)
            except (OSError, struct.error):
                return

    def _answers(self, wire: bytes, over: str, resolver: str, peer: str) -> list[bytes]:
        query = dns.message.from_wire(wire)
        question = query.question[0]
        host = question.name.to_text(omit_final_dot=True)
        asked = Asked(host, dns.rdatatype.to_text(question.rdtype), over, resolver, peer)
        self.asked.append(asked)
        answer = self.answers.get(host)
        return [reply(query, rcode=3)] if answer is None else answer(query, asked)

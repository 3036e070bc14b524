"""DNS over TLS (RFC 7858), strict (RFC 8310 8.1): a server whose certificate does not hold is told nothing.

One connection per line and resolver, for as long as there are questions; they are put one behind the other and answered
in any order. TLS runs in memory between the line's own socket and the worker's reactor; nothing here blocks.
"""

import errno
import ssl
from typing import Protocol

from gateway.line.dial import connect_resolver
from gateway.line.model import LineHandle, LineResolver
from gateway.reactor import BOTH_EDGE, ERR, HUP, IN, OUT, Reactor
from gateway.resolver.messages import Question, ask

IDLE_SECONDS = 20.0
MAX_WAITING = 200  # questions on one connection
_READ = 65_536

# What a connection stands on: a line that moved gets another one.
_Key = tuple[str, int, bytes, str, str, LineResolver]


class Asker(Protocol):
    """Who waits for an answer."""

    question: Question

    def settle(self, wire: bytes) -> bool:
        """Takes an answer. False: it is not one to this question."""

    def lost(self, why: str, reused: bool) -> None:
        """The connection ended first. reused: it had answered before, so the server may only have closed it as idle."""


class TlsChannels:
    """One worker's connections to resolvers over TLS. The roots are the system's, or those that OpenSSL's SSL_CERT_FILE
    names; they are read when the first is needed."""

    def __init__(self, reactor: Reactor) -> None:
        self.reactor = reactor
        self._channels: dict[_Key, TlsChannel] = {}
        self._context: ssl.SSLContext | None = None

    def ask(self, line: LineHandle, resolver: LineResolver, asker: Asker) -> "TlsChannel":
        """Puts the question on the connection to this resolver, which is made if there is none.
        Raises LineError, DialError or OSError."""
        key = (line.id, line.mark, line.device_sockopt, line.source4, line.source6, resolver)
        channel = self._channels.get(key)
        if channel is None:
            if self._context is None:
                self._context = ssl.create_default_context()
            channel = self._channels[key] = TlsChannel(self, key, line, self._context)
        channel.ask(asker)
        return channel

    def drop(self, key: _Key) -> None:
        """The connection ended."""
        self._channels.pop(key, None)

    def forget_line(self, line: str) -> None:
        """Ends the connections over a line that changed."""
        for channel in [c for key, c in self._channels.items() if key[0] == line]:
            channel.close("the line changed")


class TlsChannel:
    """One connection: TCP, handshake, questions, answers."""

    def __init__(self, owner: TlsChannels, key: _Key, line: LineHandle, context: ssl.SSLContext) -> None:
        self.owner = owner
        self.key = key
        self.resolver = key[5]
        self.waiting: dict[int, Asker] = {}
        self.asked: list[bytes] = []  # before the handshake is over
        self.ready = self.closed = False
        self.answers = 0
        self.last_heard = 0.0
        self.last_used = owner.reactor.now
        self._buffer = bytearray()
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._unsent = b""
        try:
            self._tls = context.wrap_bio(self._in, self._out, server_hostname=self.resolver.tls_name)
            self._sock = connect_resolver(line, self.resolver)
        except BaseException:
            owner.drop(key)
            raise
        owner.reactor.watch(self._sock.fileno(), BOTH_EDGE, self.on_event)
        owner.reactor.later(IDLE_SECONDS, self._rest)

    def ask(self, asker: Asker) -> None:
        """Sends a question, now or once the server has proved who it is. Padded to 128 bytes (RFC 8467 4.1), with an id
        that no other question on this connection has. Raises OSError."""
        if len(self.waiting) >= MAX_WAITING:
            raise OSError(errno.ENOBUFS, "too many questions on one connection")
        host, family = asker.question.host, asker.question.family
        question = ask(host, family, pad=128)
        while question.ident in self.waiting:
            question = ask(host, family, pad=128)
        asker.question = question
        self.waiting[question.ident] = asker
        self.last_used = self.owner.reactor.now
        wire = len(question.wire).to_bytes(2) + question.wire  # RFC 7766 8: length and message in one piece
        if not self.ready:
            self.asked.append(wire)
            return
        try:
            self._tls.write(wire)
            self._flush()
        except OSError:
            self.waiting.pop(question.ident)
            self.owner.reactor.again(lambda: self.close("resolver closed"))
            raise

    def give_up(self, asker: Asker, since: float) -> None:
        """The answer did not come in time. A connection on which nothing was heard since then is of no use."""
        self.waiting.pop(asker.question.ident, None)
        if not self.ready or self.last_heard < since:
            self.close("no answer over TLS in time")

    def on_event(self, mask: int) -> None:
        """Moves what can be moved; any fault ends the connection, and with it the trust in it."""
        if self.closed:
            return
        try:
            if mask & (ERR | HUP) and not mask & IN:
                raise ConnectionError("resolver closed")
            ended = mask & IN and self._receive()
            if not self.ready and (mask & OUT or mask & IN):
                self._shake_hands()
            if self.ready:
                self._read()
            self._flush()
            if ended:
                raise ConnectionError("resolver closed")
        except ssl.SSLCertVerificationError as error:
            self.close(f"certificate of {self.resolver.tls_name}: {error.verify_message}")
        except ssl.SSLError as error:
            self.close(f"TLS: {error.reason or 'closed'}")
        except OSError:
            self.close("resolver closed")

    def close(self, why: str) -> None:
        """Ends it; those who wait are told in turn."""
        if self.closed:
            return
        self.closed = True
        self.owner.drop(self.key)
        try:
            self._flush()  # the alert that says what was wrong
        except OSError:
            pass
        self.owner.reactor.close(self._sock.detach())
        waiting, self.waiting = self.waiting, {}
        for asker in waiting.values():
            asker.lost(why, self.answers > 0)

    def _receive(self) -> bool:
        """From the socket to TLS; True at the end. At most so much in one turn."""
        for _ in range(4):
            try:
                data = self._sock.recv(_READ)
            except BlockingIOError:
                return False
            if not data:
                return True
            self._in.write(data)
        self.owner.reactor.again(lambda: self.on_event(IN))
        return False

    def _shake_hands(self) -> None:
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            return
        self.ready = True
        asked, self.asked = self.asked, []
        for wire in asked:
            self._tls.write(wire)

    def _read(self) -> None:
        """Every whole message goes to who asked it; a late answer to a question given up goes nowhere."""
        buffer = self._buffer
        while not self.closed:
            try:
                data = self._tls.read(_READ)
            except ssl.SSLWantReadError:
                return
            if not data:
                raise ConnectionError("resolver closed")
            buffer += data
            while len(buffer) >= 2 and len(buffer) >= (end := 2 + int.from_bytes(buffer[:2])):
                message = bytes(buffer[2:end])
                del buffer[:end]
                self.last_heard = self.last_used = self.owner.reactor.now
                asker = self.waiting.pop(int.from_bytes(message[:2]), None)
                if asker is None:
                    continue
                if not asker.settle(message):
                    self.waiting[asker.question.ident] = asker
                    raise ConnectionError("answers another question")
                self.answers += 1

    def _flush(self) -> None:
        """From TLS to the socket; what does not fit waits for the next edge."""
        while data := self._unsent or self._out.read():
            try:
                sent = self._sock.send(data)
            except BlockingIOError:
                self._unsent = data
                return
            self._unsent = data[sent:]

    def _rest(self) -> None:
        """Closes what nobody has used for a while."""
        if self.closed:
            return
        left = self.last_used + IDLE_SECONDS - self.owner.reactor.now
        if left <= 0 and not self.waiting:
            self.close("idle")
        else:
            self.owner.reactor.later(max(left, 1.0), self._rest)

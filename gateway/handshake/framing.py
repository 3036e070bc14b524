"""Where a message body ends (RFC 9112 clauses 6 and 7), and the one canonical form in which it is passed on.

What comes chunked leaves in chunks of the gateway's own making: extensions and trailers are dropped, so no second
reader ever sees the sender's framing.
"""

import re
from collections.abc import Callable
from typing import Literal, NamedTuple

from gateway.handshake import HandshakeError, malformed
from gateway.handshake.fields import FIELD_LINE
from gateway.handshake.http1 import RequestHead

MAX_CHUNK_LINE = 256
MAX_TRAILERS = 8192
_SIZE_LINE = re.compile(rb"([0-9A-Fa-f]{1,16})(?:[ \t]*+;[\t\x20-\x7e\x80-\xff]*+)?\r\n")
_TRAILER_LINE = re.compile(FIELD_LINE)
LAST_CHUNK = b"0\r\n\r\n"


class Framing(NamedTuple):
    """How a body's end is found: there is no body, after `length` octets, by chunks, or by the connection's end."""

    kind: Literal["none", "length", "chunked", "close"]
    length: int = 0


class Fed(NamedTuple):
    """What one piece of input gave: octets to pass on, whether the body is complete, what follows it in the input."""

    forward: bytes
    done: bool
    rest: bytes


def request_framing(head: RequestHead) -> Framing:
    """The framing of a request's body; its fields were judged when the head was read."""
    if head.chunked:
        return Framing("chunked")
    return Framing("length", head.content_length) if head.content_length else Framing("none")


class BodyFramer:
    """Finds the end of one body in pieces of any size.

    chunk_out: pass on what came chunked or close-delimited in chunks (false for an HTTP/1.0 reader: bare octets).
    error: makes the exception for a broken body (its argument is the gateway's own words).
    `done` is true from the start for an empty body.
    """

    __slots__ = ("_chunk_out", "_error", "_kind", "_left", "_line", "_state", "_trailers", "done")

    def __init__(
        self, framing: Framing, *, chunk_out: bool = True, error: Callable[[str], HandshakeError] = malformed
    ) -> None:
        self._kind = framing.kind
        self._left = framing.length  # octets of the body or of the current chunk still to come
        self._chunk_out = chunk_out and framing.kind in ("chunked", "close")
        self._error = error
        self._line = bytearray()
        self._state: Literal["size", "data", "data-end", "trailers"] = "size"
        self._trailers = 0
        self.done = framing.kind == "none" or framing == ("length", 0)

    def feed(self, data: bytes) -> Fed:
        """Takes the next octets of the connection. Raises what `error` makes for a broken chunk or trailer."""
        if self.done:
            return Fed(b"", done=True, rest=data)
        if self._kind == "close":
            return Fed(self._emit(data), done=False, rest=b"")
        if self._kind == "chunked":
            return self._feed_chunked(data)
        if len(data) < self._left:
            self._left -= len(data)
            return Fed(data, done=False, rest=b"")
        body, rest = data[: self._left], data[self._left :]
        self._left, self.done = 0, True
        return Fed(body, done=True, rest=rest)

    def finish(self) -> bytes:
        """The sender ended the connection: the last octets to pass on. Raises when the body is incomplete
        (RFC 9112 clause 8): the receiver must then not be told that it is whole."""
        if self.done:
            return b""
        if self._kind != "close":
            raise self._error("the connection ended inside a body")
        self.done = True
        return LAST_CHUNK if self._chunk_out else b""

    def _emit(self, piece: bytes) -> bytes:
        return b"%x\r\n%b\r\n" % (len(piece), piece) if self._chunk_out and piece else piece

    def _feed_chunked(self, data: bytes) -> Fed:
        out, at, end = [], 0, len(data)
        while at < end and not self.done:
            if self._state == "data":
                piece = data[at : at + self._left]
                out.append(self._emit(piece))
                at += len(piece)
                self._left -= len(piece)
                if not self._left:
                    self._state = "data-end"
                continue
            stop = data.find(b"\n", at) + 1 or end
            self._line += data[at:stop]
            at = stop
            whole = self._line.endswith(b"\n")
            self._check_line(whole)
            if whole:
                self._take_line(bytes(self._line))
                self._line.clear()
        if self.done and self._chunk_out:
            out.append(LAST_CHUNK)
        return Fed(b"".join(out), self.done, data[at:])

    def _check_line(self, whole: bool) -> None:
        """Bounds a line that may still be arriving."""
        size = len(self._line)
        if self._state == "data-end":
            if size > 2 or not b"\r\n".startswith(self._line):
                raise self._error("a chunk longer than its size")
        elif self._state == "size":
            if size > MAX_CHUNK_LINE:
                raise self._error("a chunk size line that is too long")
        elif self._trailers + size > MAX_TRAILERS:
            raise self._error("trailers that are too long")
        if whole and not self._line.endswith(b"\r\n"):
            raise self._error("a bare LF in the chunked coding")

    def _take_line(self, line: bytes) -> None:
        if self._state == "data-end":
            self._state = "size"
        elif self._state == "size":
            match = _SIZE_LINE.fullmatch(line)
            if match is None:
                raise self._error("a chunk size that is not a plain hexadecimal number")
            self._left = int(match[1], 16)
            self._state = "data" if self._left else "trailers"
        elif line == b"\r\n":
            self.done = True
        elif _TRAILER_LINE.fullmatch(line):
            self._trailers += len(line)
        else:
            raise self._error("an invalid trailer")

"""HTTP/1.x response heads of services abroad (RFC 9112 clauses 4 and 6.3), as strict as requests: a service must not be
able to make the gateway and the client disagree either."""

import re
from dataclasses import dataclass
from typing import Literal

from gateway.handshake import HandshakeError
from gateway.handshake.fields import FIELD_LINES, Fields, broken_line, content_length, find_head_end, split_fields
from gateway.handshake.framing import Framing
from whitelist.reason import Reason

_HEAD = re.compile(rb"HTTP/1\.([01]) ([1-5][0-9]{2})(?: ([\t\x20-\x7e\x80-\xff]*+))?\r\n" + FIELD_LINES + rb"\r\n")
_START = b"HTTP/1."


def bad_response(detail: str) -> HandshakeError:
    """What an unreadable or ambiguous response ends in: 502, as nothing usable came over the line."""
    return HandshakeError(Reason.DIAL_FAILED, 502, f"the service's response: {detail}")


@dataclass(frozen=True, slots=True)
class ResponseHead:
    """A valid response head. fields: names as sent; content_length: octets or None; consumed: bytes of the buffer."""

    version: Literal["1.0", "1.1"]
    status: int
    phrase: bytes
    fields: Fields
    content_length: int | None
    chunked: bool
    consumed: int

    @property
    def interim(self) -> bool:
        """A 1xx response: the final one follows. Not for HTTP/1.0 clients (RFC 9110 clause 15.2)."""
        return self.status < 200

    @property
    def keep_alive(self) -> bool:
        """Whether the service will take another request on this connection; never for HTTP/1.0."""
        options = b",".join(value for name, value in self.fields if name.lower() == b"connection").lower()
        return self.version == "1.1" and b"close" not in [option.strip(b" \t") for option in options.split(b",")]


def parse_response_head(buffer: bytes | bytearray, max_bytes: int = 65536, *, seen: int = 0) -> ResponseHead | None:
    """Reads one response head from the start of the buffer; None when more bytes are needed (`seen` as in parse_head).
    Raises HandshakeError with dial-failed and 502."""
    if not buffer.startswith(_START) and not _START.startswith(bytes(buffer[: len(_START)])):
        raise bad_response("not HTTP/1.x")
    try:
        end = find_head_end(buffer, max_bytes, seen)
        if not end:
            return None
        raw = bytes(buffer[:end])
        match = _HEAD.fullmatch(raw)
        if match is None:
            raise bad_response(broken_line(raw, 0, end) or "an invalid status line or field")
        return _judge(match, split_fields(raw), end)
    except HandshakeError as error:
        if error.reason is Reason.MALFORMED_REQUEST:
            raise bad_response(error.detail) from None
        raise


def _judge(match: re.Match[bytes], fields: Fields, consumed: int) -> ResponseHead:
    version: Literal["1.0", "1.1"] = "1.1" if match[1] == b"1" else "1.0"
    status = int(match[2])
    lengths = [value for name, value in fields if name.lower() == b"content-length"]
    codings = [value for name, value in fields if name.lower() == b"transfer-encoding"]
    if len(lengths) > 1 or len(codings) > 1:
        raise bad_response("more than one Content-Length or Transfer-Encoding field")
    if codings and (lengths or version == "1.0" or codings[0].lower() != b"chunked"):
        raise bad_response("an ambiguous Transfer-Encoding")
    if status == 101:
        raise bad_response("a switch of protocols that nobody asked for")
    if status == 407:
        raise bad_response("a demand for proxy credentials")  # only the gateway itself may ask for those
    length = content_length(lengths[0]) if lengths else None
    return ResponseHead(version, status, match[3] or b"", fields, length, bool(codings), consumed)


def response_framing(head: ResponseHead, method: str) -> Framing:
    """RFC 9112 clause 6.3 for the answer to a request with this method (never CONNECT)."""
    if head.interim or head.status in (204, 304) or method == "HEAD":
        return Framing("none")
    if head.chunked:
        return Framing("chunked")
    return Framing("close") if head.content_length is None else Framing("length", head.content_length)

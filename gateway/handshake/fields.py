"""The field section that requests and responses share (RFC 9112 clause 5), and where a head ends."""

import re
from typing import Final

from gateway.handshake import HandshakeError, malformed
from whitelist.reason import Reason

TOKEN: Final = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]"  # RFC 9110 clause 5.6.2
FIELD_LINE: Final = TOKEN + rb"++:[\t\x20-\x7e\x80-\xff]*+\r\n"  # RFC 9112 clause 5, without obs-fold
FIELD_LINES: Final = rb"(?:" + FIELD_LINE + rb")*+"
_BROKEN = re.compile(rb"\r[^\n]|(?<!\r)\n|[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
_FIELD = re.compile(rb"\r\n(" + TOKEN + rb"++):[ \t]*+([^\r]*+)")

Fields = list[tuple[bytes, bytes]]


def split_fields(raw: bytes) -> Fields:
    """Every field of a validated head in order: the name as it was sent, the value without white space around it."""
    return [(name, value.rstrip(b" \t")) for name, value in _FIELD.findall(raw)]


def find_head_end(buffer: bytes | bytearray, max_bytes: int, seen: int) -> int:
    """Where the head ends (after its empty line), or 0 while it is incomplete. `seen`: how much an earlier call has
    looked at. Raises HandshakeError as soon as the bytes cannot become a valid head: a bare CR or LF, a control
    character (400), more than max_bytes (431)."""
    end = buffer.find(b"\r\n\r\n", max(seen - 3, 0)) + 4
    if 4 <= end <= max_bytes:
        return end
    if fault := broken_line(buffer, max(seen - 1, 0), max_bytes):
        raise malformed(fault)
    if len(buffer) >= max_bytes:
        raise HandshakeError(Reason.MALFORMED_REQUEST, 431, "the head is too large")
    return 0


def broken_line(buffer: bytes | bytearray, start: int, end: int) -> str:
    """Names the first octet that no head may hold, or says ""."""
    match = _BROKEN.search(buffer, start, end)
    if match is None:
        return ""
    return {10: "a bare LF", 13: "a bare CR"}.get(match.group()[0], "a control character") + " in the head"


def diagnose_fields(lines: list[bytes]) -> str:
    """Which rule the first invalid field line breaks. Off the hot path."""
    for line in lines:
        name, colon, _ = line.partition(b":")
        if line[:1] in (b" ", b"\t"):
            return "a folded field line"
        if not colon:
            return "a field line without a colon"
        if not name:
            return "an empty field name"
        if name[-1:] in (b" ", b"\t"):
            return "white space before the colon"
        if not re.fullmatch(TOKEN + rb"+", name):
            return "an invalid field name"
    return "an invalid field value"


def content_length(value: bytes) -> int:
    """Octets. Digits only: no list, no sign, no underscore (RFC 9112 clause 6.2); at most 18 of them."""
    if not value.isdigit() or len(value) > 18:
        raise malformed("a Content-Length that is not a plain number")
    return int(value)

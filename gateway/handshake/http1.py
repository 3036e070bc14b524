"""HTTP/1.x request heads (RFC 9112 clauses 2, 3, 5), read strictly: what two readers could understand differently is
refused.

The whole head is validated by one regular expression; fields are then looked up on demand, since a CONNECT needs five.
"""

import re
from typing import Literal

from gateway.handshake import malformed
from gateway.handshake.fields import (
    FIELD_LINES,
    TOKEN,
    Fields,
    broken_line,
    content_length,
    diagnose_fields,
    find_head_end,
    split_fields,
)

Form = Literal["authority", "absolute", "origin", "asterisk"]

# The target: visible ASCII without the characters that no client leaves bare in a URI, and without a fragment. Browsers
# do leave ^ ` { | } and (in a query) \ bare.
_HEAD = re.compile(
    rb"(?:\r\n)?(" + TOKEN + rb"{1,32}+) ([!$-;=?-~]++) HTTP/1\.([01])\r\n" + FIELD_LINES + rb"\r\n", re.DOTALL
)
_ABSOLUTE = re.compile(rb"[A-Za-z][A-Za-z0-9+.\-]*+://")


class RequestHead:
    """A valid request head.

    method: a token; target: raw bytes; version: "1.0" or "1.1"; form: see RFC 9112 clause 3.2; consumed: bytes of the
    buffer that belong to the head; host: the Host value or None; content_length: octets or None; chunked: whether a
    chunked body follows; proxy_authorization: the value or None. At most one of each of these fields is ever present.
    """

    __slots__ = (
        "_lowered",
        "_raw",
        "chunked",
        "consumed",
        "content_length",
        "form",
        "host",
        "method",
        "proxy_authorization",
        "target",
        "version",
    )

    def __init__(self, raw: bytes, match: re.Match[bytes]) -> None:
        method, self.target, minor = match.groups()
        self.method: str = method.decode("ascii")
        self.version: Literal["1.0", "1.1"] = "1.1" if minor == b"1" else "1.0"
        self.consumed = len(raw)
        self._raw = raw
        self._lowered = raw.lower()
        self.form: Form = _form(self.method, self.target)
        self.host = self._single(b"\r\nhost:", "Host")
        if self.host is None and minor == b"1":
            raise malformed("no Host field in an HTTP/1.1 request")  # RFC 9112 clause 3.2
        self.proxy_authorization = self._single(b"\r\nproxy-authorization:", "Proxy-Authorization")
        length = self._single(b"\r\ncontent-length:", "Content-Length")
        coding = self._single(b"\r\ntransfer-encoding:", "Transfer-Encoding")
        self.content_length: int | None = None
        self.chunked = False
        if length is not None or coding is not None:
            self._frame(length, coding)

    def _single(self, needle: bytes, name: str) -> bytes | None:
        """The value of a field that may stand only once; `needle` is CR LF, the name in lower case and the colon."""
        at = self._lowered.find(needle)
        if at < 0:
            return None
        start = at + len(needle)
        end = self._raw.index(b"\r", start)
        if self._lowered.find(needle, end) >= 0:
            raise malformed(f"more than one {name} field")
        return self._raw[start:end].strip(b" \t")

    def _frame(self, length: bytes | None, coding: bytes | None) -> None:
        """RFC 9112 clause 6.3, in its strict reading: one digit string, or exactly "chunked", never both."""
        if coding is not None:
            if length is not None:
                raise malformed("Content-Length together with Transfer-Encoding")
            if coding.lower() != b"chunked":
                raise malformed("a transfer coding other than chunked")
            if self.version == "1.0":
                raise malformed("Transfer-Encoding in an HTTP/1.0 request")
            if self.form == "authority":
                raise malformed("a body in a CONNECT request")
            self.chunked = True
        elif length is not None:
            self.content_length = content_length(length)
            # Windows clients say Content-Length: 0 in a CONNECT; it announces nothing, so it is read as nothing.
            if self.content_length and self.form == "authority":
                raise malformed("a body in a CONNECT request")

    def values(self, name: bytes) -> list[bytes]:
        """All values of the field with this lower-case name, in order."""
        return [value for key, value in self.headers if key == name]

    def first(self, name: bytes) -> bytes | None:
        """The first value of the field with this lower-case name, without parsing the others."""
        needle = b"\r\n" + name + b":"
        at = self._lowered.find(needle)
        if at < 0:
            return None
        start = at + len(needle)
        return self._raw[start : self._raw.index(b"\r", start)].strip(b" \t")

    @property
    def fields(self) -> Fields:
        """Every field in order, names as sent."""
        return split_fields(self._raw)

    @property
    def headers(self) -> Fields:
        """Every field in order: lower-case name, value without the white space around it."""
        return [(name.lower(), value) for name, value in self.fields]

    @property
    def user_agent(self) -> str:
        """At most 256 bytes, for the record; "" when absent."""
        value = self.first(b"user-agent")
        return "" if value is None else value[:256].decode("utf-8", "replace")

    @property
    def accepts_html(self) -> bool:
        """Whether a person at a browser will read the answer."""
        return b"text/html" in (self.first(b"accept") or b"").lower()

    @property
    def accepts_text(self) -> bool:
        """Whether words in plain text reach a person where nothing else does: git shows a body of that type alone."""
        return self.user_agent.startswith("git/") or (self.first(b"accept") or b"").lower().startswith(b"text/plain")

    @property
    def expects_continue(self) -> bool:
        """Expect: 100-continue (RFC 9110 clause 10.1.1); an HTTP/1.0 client's is ignored."""
        return self.version == "1.1" and (self.first(b"expect") or b"").lower() == b"100-continue"

    @property
    def keep_alive(self) -> bool:
        """Whether the client wants the connection kept (RFC 9112 clause 9.3). Never for HTTP/1.0."""
        if self.version == "1.0":
            return False
        options = b",".join(self.values(b"connection") + self.values(b"proxy-connection")).lower()
        return b"close" not in [option.strip(b" \t") for option in options.split(b",")]


def _form(method: str, target: bytes) -> Form:
    """RFC 9112 clause 3.2. Whether an authority or an absolute URI is a valid one is for whitelist.target to say."""
    if method == "CONNECT":
        return "authority"
    if target.startswith(b"/"):
        return "origin"
    if target == b"*":
        return "asterisk"
    if _ABSOLUTE.match(target):
        return "absolute"
    raise malformed("a request target that is neither absolute-form nor CONNECT's authority-form")


def parse_head(
    buffer: bytes | bytearray, max_bytes: int = 16384, *, seen: int = 0, own_pages: bool = False
) -> RequestHead | None:
    """Reads one request head from the start of the buffer; None when more bytes are needed.

    seen: how much of the buffer an earlier call already looked at and answered None to (keeps a client that sends
    single bytes from costing quadratic time). own_pages: let origin-form and asterisk-form through, for a listener that
    serves pages of its own. One empty line before the request line is ignored (RFC 9112 clause 2.2).
    Raises HandshakeError with malformed-request and status 400, or 431 for a head larger than max_bytes.
    """
    end = find_head_end(buffer, max_bytes, seen)
    if not end:
        return None
    raw = bytes(buffer[:end])
    match = _HEAD.fullmatch(raw)
    if match is None:
        raise malformed(_diagnose(raw))
    head = RequestHead(raw, match)
    if not own_pages and (head.form == "origin" or head.form == "asterisk"):
        raise malformed("a request for the proxy itself: origin-form or asterisk-form target")
    return head


_REQUEST_LINE = re.compile(rb"(" + TOKEN + rb"++) ([!-~]++) (HTTP/\d\.\d)")


def _diagnose(raw: bytes) -> str:
    """Which rule an invalid head breaks first, for the record and the body of the refusal. Off the hot path."""
    if fault := broken_line(raw, 0, len(raw)):
        return fault
    request_line, *fields = raw.removeprefix(b"\r\n").split(b"\r\n")[:-2] or [b""]
    parts = _REQUEST_LINE.fullmatch(request_line)
    if parts is None:
        return "the request line is not method, target and version"
    if len(parts[1]) > 32:
        return "a method of more than 32 characters"
    if parts[3] not in (b"HTTP/1.0", b"HTTP/1.1"):
        return "an HTTP version other than 1.0 and 1.1"
    if re.search(rb'["#<>]', parts[2]):
        return "a character in the target that no URI may hold"
    return diagnose_fields(fields)

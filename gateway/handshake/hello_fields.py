"""What single extensions of a ClientHello hold: the server name (RFC 6066 clause 3), the protocols (RFC 7301)."""

import re
import struct
from functools import lru_cache
from typing import Literal

from whitelist.ip_text import format_v6, parse_v6

Kind = Literal["not-tls", "malformed", "too-large"]
_name_header = struct.Struct(">HBH").unpack_from
_NOT_PLAIN = re.compile(rb"[^!-+\--\[\]-~]")
_NAME = re.compile(r"(?=.{1,253}$)[a-z0-9_-]{1,63}(?:\.[a-z0-9_-]{1,63})*\Z")


class HelloError(Exception):
    """The bytes are no ClientHello that may be forwarded. kind: not-tls (another protocol), malformed, too-large."""

    def __init__(self, kind: Kind, detail: str) -> None:
        super().__init__(f"{kind}: {detail}")
        self.kind: Kind = kind
        self.detail = detail


def server_name(data: bytes) -> tuple[str, bool]:
    """RFC 6066 clause 3, with exactly one name of type host_name."""
    size = len(data)
    if size < 6:
        raise HelloError("malformed", "an empty server name")
    listed, kind, length = _name_header(data)
    if listed != size - 2 or length > size - 5:
        raise HelloError("malformed", "a server name of a wrong length")
    if kind:
        raise HelloError("malformed", "a server name that is not a host name")
    if length != size - 5:
        raise HelloError("malformed", "more than one server name")
    return _canonical(data[5:])


@lru_cache(maxsize=2048)
def _canonical(raw: bytes) -> tuple[str, bool]:
    """The name in lower case and whether it is an address literal, which then stands in its one spelling."""
    try:
        name = raw.decode("ascii").lower()
    except UnicodeDecodeError:
        raise HelloError("malformed", "a server name that is not ASCII") from None
    if _NAME.match(name):
        # No top-level domain is numeric: a numeric last label is an address in some notation (WHATWG URL clause 3.5).
        last = name.rpartition(".")[2]
        return name, last.isdigit() or bool(re.fullmatch(r"0x[0-9a-f]*", last))
    value = parse_v6(name)
    if value is not None and format_v6(value) == name:
        return name, True
    raise HelloError("malformed", "a server name that is not a host name in its one form")


def protocol_text(name: bytes) -> str:
    r"""A protocol name as text that no other name has: visible ASCII as it is, but a backslash or a comma (which
    separates names in records) and all other octets as \xNN."""
    return _NOT_PLAIN.sub(lambda found: b"\\x%02x" % found[0][0], name).decode("ascii")


@lru_cache(maxsize=256)
def protocols(data: bytes) -> tuple[str, ...]:
    """RFC 7301 clause 3.1."""
    names, at, end = [], 2, len(data)
    if end < 4 or int.from_bytes(data[:2]) != end - 2:
        raise HelloError("malformed", "a protocol list of a wrong length")
    while at < end:
        size = data[at]
        names.append(protocol_text(data[at + 1 : at + 1 + size]))
        at += 1 + size
        if not size or at > end:
            raise HelloError("malformed", "a protocol name of a wrong length")
    return tuple(names)

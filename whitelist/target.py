"""Where a client wants to go, in one canonical form; whatever has a second reading is refused.

Two reasons: malformed-request where the shape host ":" port (RFC 9112 3.2.3, RFC 3986 3.2) is broken, delimiters and
control bytes inside it included; name-invalid where the host is not a name or address in its one valid spelling.
"""

import re

import msgspec

from whitelist.ip_text import format_v6, parse_v4, parse_v6
from whitelist.name import LABEL, MAX_LABEL, MAX_NAME, TargetError, canonical_name
from whitelist.reason import Reason

__all__ = ["AbsoluteURI", "Target", "TargetError", "host_header_matches", "parse_absolute_uri", "parse_authority",
           "parse_host", "parse_host_field"]  # fmt: skip

DEFAULT_PORTS = {"http": 80, "https": 443}

_PORT = "[1-9][0-9]{0,4}"
# Nearly all requests: canonical already, no A-label, last label begins with a letter.
_ORDINARY = re.compile(rf"((?:(?!xn--){LABEL}\.)++(?!xn--)(?![0-9]){LABEL}):({_PORT})".encode()).fullmatch
_SHAPE = re.compile(rb"(?:\[([^\[\]]*)\]|([^\[\]:]+)):([^:]*)").fullmatch
_PORT_NUMBER = re.compile(_PORT.encode()).fullmatch
_BREAKS_SHAPE = re.compile(rb"[\x00-\x20\x7f@/\\?#]").search
_WITHOUT_PORT = re.compile(rb"\[[^\[\]]*\]|[^\[\]:]+").fullmatch
_ABSOLUTE = re.compile(rb"([A-Za-z][A-Za-z0-9+.-]*)://([^/?]*)([^?]*)(\?.*)?", re.DOTALL).fullmatch
_VISIBLE = re.compile(rb"[\x21-\x7e]*").fullmatch


class Target(msgspec.Struct, frozen=True, gc=False):
    """host: canonical name (lower-case A-labels, no trailing dot) or canonical IP text, no brackets; port: 1…65535."""

    host: str
    port: int
    is_ip: bool

    @property
    def authority(self) -> str:
        """host:port, IPv6 in brackets (RFC 3986 3.2.2)."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class AbsoluteURI(msgspec.Struct, frozen=True, gc=False):
    """An http URI in absolute-form (RFC 9112 3.2.2). origin_form: path and query as the origin gets them, at least "/";
    path: the same without query, for records; bare: neither path nor query was given (OPTIONS then asks for "*")."""

    target: Target
    origin_form: bytes
    path: bytes
    has_query: bool
    bare: bool


def parse_authority(raw: bytes) -> Target:
    """The target of CONNECT: host ":" port, port required. Raises TargetError (malformed-request, name-invalid)."""
    if ordinary := _ORDINARY(raw):
        host, port = ordinary.groups()
        number = int(port)
        if number <= 65535 and (len(host) <= MAX_LABEL or _fits(host)):
            return Target(str(host, "ascii"), number, is_ip=False)
    return _parse_unusual(raw)


def parse_host(text: str, port: int, *, single_label: bool = False) -> Target:
    """A host without brackets (a Target's host, an SNI, an endpoint) as a target. Raises TargetError."""
    if not 0 < port < 65536:
        raise _malformed("port outside 1…65535")
    if parse_v4(text) is not None:
        return Target(text, port, is_ip=True)
    if ":" in text:
        value = parse_v6(text)
        if value is None or format_v6(value) != text:
            raise TargetError(Reason.NAME_INVALID, "not an IPv6 address in its canonical spelling (RFC 5952)")
        return Target(text, port, is_ip=True)
    return Target(canonical_name(text, single_label=single_label), port, is_ip=False)


def recorded(host: str, port: int) -> Target:
    """The target that a record's host and port were: canonical, so nothing is parsed again."""
    return Target(host, port, is_ip=":" in host or (host[-1:].isdigit() and parse_v4(host) is not None))


def parse_asked(text: str, default_port: int) -> Target:
    """What a person writes: host, host:port, [v6]:port or a bare IPv6 address. Raises TargetError."""
    host, port = text, ""
    if text.startswith("["):
        host, _, port = text[1:].partition("]")
        port = port.removeprefix(":")
    elif text.count(":") == 1:
        host, _, port = text.partition(":")
    if port and not (port.isascii() and port.isdecimal() and len(port) <= 5 and 0 < int(port) < 65536):
        raise _malformed("needs a port from 1 to 65535")
    return parse_host(host, int(port or default_port))


def parse_absolute_uri(raw: bytes) -> AbsoluteURI:
    """The target of a request in absolute-form; the port defaults to 80.

    Raises TargetError: protocol-not-allowed for a URI of another scheme, else malformed-request (a fragment, userinfo,
    a backslash, no host, bytes that are not visible ASCII behind the host) and name-invalid.
    """
    parts = _ABSOLUTE(raw)
    if parts is None:
        raise _malformed("not an absolute URI")
    scheme, authority, path, query = parts.groups()
    if scheme.lower() != b"http":
        raise TargetError(Reason.PROTOCOL_NOT_ALLOWED, "absolute-form is for http only; https goes through CONNECT")
    if b"#" in raw or b"\\" in raw:
        raise _malformed("fragment or backslash in the URI")
    if not authority:
        raise _malformed("URI without a host")
    rest = path + (query or b"")
    if not _VISIBLE(rest):
        raise _malformed("path or query holds bytes that must be percent-encoded")
    target = parse_authority(authority + b":80" if _WITHOUT_PORT(authority) else authority)
    origin_form = rest if path else b"/" + rest
    return AbsoluteURI(target, origin_form, path or b"/", query is not None, not rest)


def parse_host_field(raw: bytes, port: int) -> Target:
    """What a Host field (RFC 9110 7.2) names; port: where it gives none. Raises TargetError, as parse_authority."""
    return parse_authority(b"%b:%d" % (raw, port) if _WITHOUT_PORT(raw) else raw)


def host_header_matches(target: Target, scheme: str, host_header: bytes) -> bool:
    """Whether a Host field (RFC 9110 7.2) names the target. Without a port it means the scheme's; under scheme ""
    (CONNECT, where clients differ) a port left out contradicts nothing."""
    if _WITHOUT_PORT(host_header):
        host_header = b"%b:%d" % (host_header, DEFAULT_PORTS.get(scheme, target.port))
    try:
        return parse_authority(host_header) == target
    except TargetError:
        return False


def _parse_unusual(raw: bytes) -> Target:
    if _BREAKS_SHAPE(raw):
        raise _malformed("control byte, space, userinfo or path in the authority")
    shape = _SHAPE(raw)
    if shape is None:
        raise _malformed("not host:port, or an IPv6 address without brackets")
    literal, name, port = shape.groups()
    if not _PORT_NUMBER(port) or int(port) > 65535:
        raise _malformed("port is not a decimal number of 1…65535 without leading zeros")
    try:
        host = str(name if literal is None else literal, "utf-8")
    except UnicodeDecodeError as error:
        raise TargetError(Reason.NAME_INVALID, "host is not UTF-8") from error
    if literal is not None and ":" not in host:
        raise TargetError(Reason.NAME_INVALID, "brackets are for IPv6 addresses")
    return parse_host(host, int(port))


def _fits(host: bytes) -> bool:
    return len(host) <= MAX_NAME and len(max(host.split(b"."), key=len)) <= MAX_LABEL


def _malformed(detail: str) -> TargetError:
    return TargetError(Reason.MALFORMED_REQUEST, detail)

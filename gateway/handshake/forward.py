"""Heads as the gateway passes them on (RFC 9110 clause 7.6): hop-by-hop and forged fields out, framing in its words.

Host, Content-Length and Transfer-Encoding are always written anew, so no Connection option can strip them.
"""

from gateway.handshake.fields import Fields
from gateway.handshake.framing import Framing
from gateway.handshake.http1 import RequestHead
from gateway.handshake.response import ResponseHead
from whitelist.target import parse_absolute_uri

_HOP_BY_HOP = frozenset(
    (b"connection", b"keep-alive", b"te", b"trailer", b"upgrade", b"http2-settings", b"proxy")  # "Proxy": CVE-2016-5385
)
_FRAMING = frozenset((b"host", b"content-length", b"transfer-encoding"))
# What a client says about where a request came from is not the gateway's word, so it does not leave.
_ORIGIN_CLAIMS = frozenset(
    (b"forwarded", b"via", b"x-real-ip", b"client-ip", b"x-client-ip", b"true-client-ip", b"x-cluster-client-ip")
)


def _end_to_end(fields: Fields, also: frozenset[bytes] = frozenset()) -> Fields:
    """The fields that go on. An underscore counts as a hyphen: many servers fold the two."""
    named = {
        option.strip(b" \t").replace(b"_", b"-")
        for name, value in fields
        if name.lower() in (b"connection", b"proxy-connection")
        for option in value.lower().split(b",")
    }
    drop = _HOP_BY_HOP | _FRAMING | also | named
    kept = []
    for name, value in fields:
        plain = name.lower().replace(b"_", b"-")
        if plain not in drop and not plain.startswith(b"proxy-"):
            kept.append((name, value))
    return kept


def _framing_fields(framing: Framing, length: int | None) -> Fields:
    if framing.kind == "chunked":
        return [(b"Transfer-Encoding", b"chunked")]
    return [] if length is None else [(b"Content-Length", b"%d" % length)]


def _join(start: bytes, fields: Fields) -> bytes:
    return start + b"".join([b"\r\n%b: %b" % field for field in fields]) + b"\r\n\r\n"


def request_head(head: RequestHead, host: str, *, close: bool = False) -> bytes:
    """The origin-form head for the service (RFC 9112 clause 3.2.1). host: the canonical authority, without the port
    where it is 80; it replaces whatever Host said (clause 3.2.2). close: ask the service to end the connection after
    it. Raises whitelist.target.TargetError for a target that is no http URI."""
    uri = parse_absolute_uri(head.target)
    target = b"*" if head.method == "OPTIONS" and uri.bare else uri.origin_form  # RFC 9112 clause 3.2.4
    kept = [
        field for field in _end_to_end(head.fields, _ORIGIN_CLAIMS)
        if not field[0].lower().replace(b"_", b"-").startswith(b"x-forwarded-")
        and (head.expects_continue or field[0].lower() != b"expect")
    ]  # fmt: skip
    framing = Framing("chunked") if head.chunked else Framing("none")
    fields = [(b"Host", host.encode("ascii")), *kept, (b"Via", b"%b feiyu" % head.version.encode("ascii"))]
    fields += _framing_fields(framing, head.content_length)
    if close:
        fields.append((b"Connection", b"close"))
    return _join(b"%b %b HTTP/1.1" % (head.method.encode("ascii"), target), fields)


def response_head(head: ResponseHead, framing: Framing, *, client_version: str, keep_alive: bool) -> bytes:
    """The head for the client; the body goes through BodyFramer(framing, chunk_out=client_version == "1.1").

    A body that ends with the service's connection goes to an HTTP/1.1 client in chunks, so that a truncated one shows.
    An HTTP/1.0 client gets bare octets and Connection: close, whatever keep_alive says. An interim response carries no
    framing.
    """
    via = (b"Via", b"%b feiyu" % head.version.encode("ascii"))
    fields = [*_end_to_end(head.fields), via]
    if not head.interim:
        length = None if head.status == 204 else head.content_length  # HEAD and 304 keep what they describe
        if framing.kind in ("chunked", "close"):
            framing, length = Framing("chunked" if client_version == "1.1" else "close"), None
        fields += _framing_fields(framing, length)
        fields.append((b"Connection", b"keep-alive" if keep_alive and client_version == "1.1" else b"close"))
    return _join(b"HTTP/1.1 %d %b" % (head.status, head.phrase), fields)

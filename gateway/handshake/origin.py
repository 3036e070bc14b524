"""Requests of clients that believe to speak to the service itself (RFC 9112 clause 3.2.1), read as those to a proxy.

The service is the one that Host names; the port, the one that was called. A name with another port, and one that the
absolute-form contradicts, have a second reading, and are refused.
"""

from gateway.handshake import HandshakeError, malformed
from gateway.handshake.http1 import RequestHead, parse_head
from whitelist.reason import Reason, status_of
from whitelist.target import DEFAULT_PORTS, TargetError, parse_absolute_uri, parse_host_field

_PORT = DEFAULT_PORTS["http"]


def parse_origin_head(buffer: bytes | bytearray, max_bytes: int, *, seen: int = 0) -> RequestHead | None:
    """One request head from the start of the buffer, made over to the absolute-form for its service; None when more
    bytes are needed. What it says to a proxy (Proxy-Authorization) is nothing here. Raises HandshakeError."""
    head = parse_head(buffer, max_bytes, seen=seen, own_pages=True)
    if head is None:
        return None
    if head.form == "authority":
        raise HandshakeError(Reason.METHOD_NOT_ALLOWED, status_of(Reason.METHOD_NOT_ALLOWED), "CONNECT, to no proxy")
    if head.form == "asterisk" and head.method != "OPTIONS":
        raise malformed("an asterisk for a target, and a method other than OPTIONS")
    try:
        if head.form == "absolute":
            target = parse_absolute_uri(head.target).target
        elif not head.host:
            raise malformed("no Host field, or an empty one: which service is asked is not said")
        else:
            target = parse_host_field(head.host, _PORT)
            head.target = b"http://" + head.host + (b"" if head.form == "asterisk" else head.target)
    except TargetError as error:
        raise HandshakeError(error.reason, status_of(error.reason), error.detail) from None
    if target.port != _PORT:
        raise malformed("Host names another port than the one that was called")
    head.form = "absolute"
    head.proxy_authorization = None
    return head

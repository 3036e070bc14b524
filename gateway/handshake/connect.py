"""The usual CONNECT, read quickly: request line, Host with the same words, and a block of fields seen before.

Everything here is a subset of what http1.parse_head accepts, and reads it the same way (the characters of the target
are left to whitelist.target, which is stricter); whatever is not the usual form goes there. What the block says is a
pure function of its bytes, which are the same in all requests of one client program with one credential, so it is
remembered.
"""

from functools import lru_cache
from typing import NamedTuple

from gateway.handshake import HandshakeError
from gateway.handshake.claim import Claim
from gateway.handshake.http1 import parse_head

_START = b"CONNECT "
_MIDDLE = b" HTTP/1.1\r\nHost: "
_END = b"\r\n\r\n"


class ConnectFields(NamedTuple):
    """What a session needs to know of a CONNECT's head beside its target. proxy_authorization: its value, or the claim
    that a certificate makes instead."""

    method: str
    version: str
    proxy_authorization: bytes | Claim | None
    user_agent: str


@lru_cache(maxsize=12_288)
def _fields(block: bytes) -> ConnectFields | None:
    """What the fields behind Host say; None where they need the full reading (or its refusal)."""
    try:
        head = parse_head(b"CONNECT a.example:1 HTTP/1.1\r\nHost: a.example:1\r\n" + block, len(block) + 256)
    except HandshakeError:
        return None
    if (
        head is None
        or head.consumed != len(block) + 49
        or head.content_length is not None
        or head.host != b"a.example:1"
    ):
        return None
    return ConnectFields("CONNECT", "1.1", head.proxy_authorization, head.user_agent)


def usual_connect(data: bytes, max_bytes: int) -> tuple[bytes, ConnectFields] | None:
    """The raw target and the fields of a whole CONNECT head with nothing behind it, in HTTP/1.1, whose first field is
    "Host: " with exactly the target's bytes. None for anything else, which parse_head then reads or refuses."""
    if not data.startswith(_START) or data.find(_END) != len(data) - 4 or len(data) > max_bytes:
        return None
    at = data.find(_MIDDLE, 8)
    target = data[8:at]
    block = at + 17 + len(target)  # behind Host's value
    if at < 9 or data[at + 17 : block + 2] != target + b"\r\n" or b" " in target:
        return None
    fields = _fields(data[block + 2 :])
    return None if fields is None else (target, fields)

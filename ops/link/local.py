"""What programs of this machine say to the link: only the head's end and, where a local token is set, one field. Pure.

Whoever can open a connection to the link uses this machine's certificate. On a PC that one person uses that is meant;
on a machine with several users, a local token keeps the others out: programs then show it as a proxy password, as they
would to any proxy, and it is taken out of the head before that goes on to the gateway.
"""

import base64
import binascii
import hmac
import ipaddress
import re

USER = "link"
MAX_HEAD = 65_536
_FIELD = re.compile(rb"\r\nproxy-authorization:[ \t]*([^\r\n]*?)[ \t]*(?=\r\n)", re.IGNORECASE)


def shown(head: bytes, token: str) -> bytes | None:
    """The head without the local token, or None where it is not there, not right, or there twice. head: up to and with
    its empty line, and what was read behind it."""
    end = head.find(b"\r\n\r\n")
    if end < 0:
        return None
    front, rest = head[: end + 2], head[end + 2 :]
    found = _FIELD.findall(front)
    if len(found) != 1 or found[0][:6].lower() != b"basic ":
        return None
    try:
        pair = base64.b64decode(found[0][6:].strip(), validate=True)
    except binascii.Error:
        return None
    if not hmac.compare_digest(pair, f"{USER}:{token}".encode()):
        return None
    return _FIELD.sub(b"", front) + rest


def is_loopback(address: str) -> bool:
    """Whether only this machine can reach it."""
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return address == "localhost"


def answer(status: int, phrase: str, chinese: str, english: str, *, challenge: bool = False) -> bytes:
    """The link's own words, where no gateway can have any."""
    body = f"{english}\n{chinese}\n".encode()
    field = 'Proxy-Authenticate: Basic realm="feiyu link"\r\n' if challenge else ""
    head = (
        f"HTTP/1.1 {status} {phrase}\r\n{field}Content-Type: text/plain; charset=utf-8\r\n"
        f"Content-Length: {len(body)}\r\nCache-Control: no-store\r\nConnection: close\r\n\r\n"
    )
    return head.encode("ascii") + body

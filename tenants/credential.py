"""Credentials: tokens made, kept as a digest, read from a Basic header (RFC 7617), compared in constant time."""

import binascii
import hashlib
import hmac
import secrets
from collections.abc import Callable

ID_LENGTH = 12  # "c-" and 10 characters
TOKEN_LENGTH = 43  # 32 bytes in base64url without padding (RFC 4648 clause 5)
_CROCKFORD = "0123456789abcdefghjkmnpqrstvwxyz"
_USER_PASS = ID_LENGTH + 1 + TOKEN_LENGTH
_ENCODED = (_USER_PASS + 2) // 3 * 4
_HEADER = 6 + _ENCODED  # "Basic " and the rest
_PUNCTUATION = bytes.maketrans(b"-_", b"AA")


def crockford(data: bytes, length: int) -> str:
    """The leading 5 × length bits of data in Crockford's base32, lower-case."""
    number = int.from_bytes(data) >> (8 * len(data) - 5 * length)
    return "".join(_CROCKFORD[number >> (5 * place) & 31] for place in reversed(range(length)))


def fresh_id() -> str:
    """An id for a credential, of 50 random bits."""
    return "c-" + crockford(secrets.token_bytes(7), ID_LENGTH - 2)


def new_token(randomness: Callable[[int], bytes] = secrets.token_bytes) -> str:
    """A token of 256 random bits, in base64url."""
    return binascii.b2a_base64(randomness(32), newline=False).decode().rstrip("=").translate({43: "-", 47: "_"})


def digest(token: str) -> str:
    """What the register keeps of a token: SHA-256, hex. It has 256 random bits, so a slow hash would add nothing."""
    return hashlib.sha256(token.encode("ascii")).hexdigest()


def matches(token: str, token_sha256: str) -> bool:
    """Whether the token is the one with this digest, in time that depends on neither."""
    return hmac.compare_digest(digest(token), token_sha256)


def parse_basic(value: bytes) -> tuple[str, str] | None:
    """(credential id, token) of a Proxy-Authorization value "Basic base64(id:token)", or None for anything else.

    There is one form only: one space, canonical base64, one colon, id and token in the shape they are issued in. All
    else is somebody's guess or mistake and means no identity."""
    if len(value) != _HEADER or value[:6].lower() != b"basic ":
        return None
    try:
        pair = binascii.a2b_base64(value[6:], strict_mode=True)
    except binascii.Error:
        return None
    # strict_mode lets the unused bits before the padding be anything: only what encodes back is canonical.
    if len(pair) != _USER_PASS or binascii.b2a_base64(pair, newline=False) != value[6:]:
        return None
    name, token = pair[:ID_LENGTH], pair[ID_LENGTH + 1 :]
    if (
        pair[ID_LENGTH] != 0x3A
        or name[:2] != b"c-"
        or not name[2:].isalnum()
        or not token.translate(_PUNCTUATION).isalnum()
    ):
        return None
    return name.decode("ascii"), token.decode("ascii")


def pseudonym(label: str, key: bytes) -> str:
    """The name that records bear instead of a user's label: keyed, so that nobody without the node's key can test a
    guess; the same label has the same name within a node. "" stays ""."""
    label = label.strip()
    if not label:
        return ""
    return "u-" + crockford(hmac.digest(key, label.encode(), "sha256"), 16)

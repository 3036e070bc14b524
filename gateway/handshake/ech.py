"""The encrypted ClientHello as an outsider sees it (RFC 9849 clause 5), and what can be told of it.

Told apart: what no server could decrypt. Not told apart: a hello that hides another name, and the look-alike that
browsers send to every server (GREASE, clause 6.2). Only the service's private key tells; clause 10.10.4 means it so.
"""

from typing import Final

ENCRYPTED_CLIENT_HELLO: Final = 0xFE0D
OUTER_EXTENSIONS: Final = 0xFD00  # clause 5.1: stands in the encrypted hello only
# The encrypted server name of the first drafts (0xFFCE), and the code points of those after it. Their contents are not
# looked at: whether one hides a name is left open.
OLDER_FORMS: Final = frozenset((0xFFCE, 0xFF02, *range(0xFE08, 0xFE0D)))
ANY_FORM: Final = OLDER_FORMS | {ENCRYPTED_CLIENT_HELLO, OUTER_EXTENSIONS}

_OUTER = 0
_KEY_AT = 6  # type, KDF, AEAD (2 octets each), config_id


class EchFault(Exception):  # noqa: N818 - a fault of the client's, named as the text says it
    """An extension that no server can read. The text says what is wrong, without any octet of it."""


def encapsulated_key(data: bytes) -> bytes:
    """The client's key share in an ECHClientHello of type outer; empty where the client left it out. Raises EchFault
    for type inner, which is for a server behind the one that decrypts, and for lengths that do not come out."""
    if not data or data[0] != _OUTER:
        raise EchFault("an encrypted hello that is not of type outer")
    size = int.from_bytes(data[_KEY_AT : _KEY_AT + 2])
    payload = _KEY_AT + 2 + size
    if len(data) < payload + 3 or len(data) != payload + 2 + int.from_bytes(data[payload : payload + 2]):
        raise EchFault("an encrypted hello of a wrong length")
    return data[_KEY_AT + 2 : payload]


def fresh_parts(data: bytes) -> list[tuple[int, int]]:
    """Offset and length of what differs from one hello of a program to the next, in data that encapsulated_key() could
    read: config_id, key and payload."""
    size = int.from_bytes(data[_KEY_AT : _KEY_AT + 2])
    payload = _KEY_AT + 2 + size + 2
    return [(_KEY_AT - 1, 1), (_KEY_AT + 2, size), (payload, len(data) - payload)]

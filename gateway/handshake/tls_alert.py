"""TLS alerts that the gateway itself sends to a client whose ClientHello, or wish, it refuses (RFC 8446 clause 6)."""

from typing import Final

UNEXPECTED_MESSAGE: Final = 10
ILLEGAL_PARAMETER: Final = 47
ACCESS_DENIED: Final = 49
DECODE_ERROR: Final = 50
INTERNAL_ERROR: Final = 80
MISSING_EXTENSION: Final = 109
UNRECOGNIZED_NAME: Final = 112  # RFC 6066 clause 3
NO_APPLICATION_PROTOCOL: Final = 120  # RFC 7301 clause 3.2


def fatal_alert(description: int = UNRECOGNIZED_NAME) -> bytes:
    """One plaintext record with one fatal alert: type 21, version 0x0303, length 2, level 2, description."""
    return bytes((21, 3, 3, 0, 2, 2, description))

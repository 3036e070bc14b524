"""What a client says it is, where it says it by a certificate."""

from typing import NamedTuple


class Claim(NamedTuple):
    """A client's certificate, whose key it has proven to hold, and what stood in the request beside it.

    certificate: SHA-256 of the whole of it; credential: the id that it names, "" where it names none; demands_token:
    the listener demands a token too, and authorization (a Proxy-Authorization value or None) must hold one of the same
    firm. It is a type of its own, so that no header value can ever be taken for it."""

    certificate: bytes
    credential: str
    demands_token: bool
    authorization: bytes | None

"""The second ClientHello of a TLS 1.3 handshake, which a service asks for with a HelloRetryRequest.

RFC 8446 clause 4.1.2: the client sends its first hello again, without change but for key shares, early data, cookie,
pre-shared keys and padding. So it names the same server and offers the same protocols, or it is no client's.
"""

from typing import NamedTuple

from gateway.handshake.client_hello import ClientHello, HelloReader
from gateway.handshake.hello_memo import HelloFacts
from gateway.handshake.hello_terms import HelloFault
from gateway.handshake.tls_alert import ILLEGAL_PARAMETER, UNRECOGNIZED_NAME
from whitelist.reason import Reason

# SHA-256 of "HelloRetryRequest", where a ServerHello has its random (clause 4.1.3).
RETRY_RANDOM = bytes.fromhex("cf21ad74e59a6111be1d8c021e65b891c2a211167abb8c5e079e09e2c8a8339c")
RANDOM_AT, RANDOM_END = 11, 43  # behind the headers of record and message, and the version
_SERVER_HELLO = 2
_HANDSHAKE, _OTHERS = 22, (20, 21, 23)  # change_cipher_spec, alert, early data that the service will not read


def asks_again(first: bytes | memoryview) -> bool | None:
    """Whether a service's first bytes are a HelloRetryRequest; None where they are too few to tell."""
    if len(first) >= RANDOM_END:
        return first[RANDOM_AT:RANDOM_END] == RETRY_RANDOM and first[0] == _HANDSHAKE and first[5] == _SERVER_HELLO
    begun = first[:1] in (b"", b"\x16") and first[5:6] in (b"", b"\x02")
    return None if begun and RETRY_RANDOM.startswith(bytes(first[RANDOM_AT:])) else False


class Passed(NamedTuple):
    """What may go on to the service; the hello, once it is whole; whether that was no TLS, so that nothing behind it
    can be a hello either: services answer it with an alert."""

    data: bytes
    hello: ClientHello | None = None
    is_other: bool = False


class SecondHelloReader:
    """Reads what a client says behind its first hello, in whatever pieces it comes. Records that are not of the
    handshake pass; a hello is kept until it is whole, and comes out only with it."""

    __slots__ = ("_kept", "_left", "_reader")

    def __init__(self) -> None:
        self._kept = b""
        self._left = 0  # of a record that passes
        self._reader = HelloReader()

    def read(self, data: bytes) -> Passed:
        """Takes the next piece. Raises HelloError for a record of the handshake with anything but a ClientHello."""
        data, self._kept = self._kept + data, b""
        at = 0
        while True:
            at += (taken := min(self._left, len(data) - at))
            self._left -= taken
            if at == len(data):
                break
            if data[at] == _HANDSHAKE:
                hello = self._reader.read(data[at:])
                if hello is not None:
                    return Passed(data, hello)
                break
            if data[at] not in _OTHERS:
                return Passed(data, is_other=True)
            if len(data) - at < 5:
                break
            self._left = 5 + int.from_bytes(data[at + 3 : at + 5])
        self._kept = data[at:]
        return Passed(data[:at])


def second_fault(first: HelloFacts, second: HelloFacts) -> HelloFault | None:
    """None for a second hello that says what the first said. In that of a client with ECH the encrypted part has no key
    of its own (RFC 9849 clause 6.1.5), so `ech` may be gone, but not come."""
    if (first.sni, first.sni_is_ip) != (second.sni, second.sni_is_ip):
        detail = "another server name in the second ClientHello"
        return HelloFault(Reason.NAME_MISMATCH, detail, UNRECOGNIZED_NAME)
    if first.offered != second.offered or (second.ech and not first.ech):
        detail = "a second ClientHello that offers what the first did not"
        return HelloFault(Reason.MALFORMED_REQUEST, detail, ILLEGAL_PARAMETER)
    return None

"""The TLS ClientHello (RFC 8446 clauses 4.1.2 and 5.1; RFC 5246 clause 7.4.1.2), read from the first bytes of a tunnel.

Only what a second reader must agree on is decided here: the server name, the protocols offered, whether the name that
counts may be an encrypted one (ECH). What a second reader might take otherwise is malformed.
"""

import struct

from gateway.handshake.ech import (
    ANY_FORM,
    ENCRYPTED_CLIENT_HELLO,
    OLDER_FORMS,
    OUTER_EXTENSIONS,
    EchFault,
    encapsulated_key,
)
from gateway.handshake.hello_fields import HelloError, Kind, protocols, server_name
from gateway.handshake.ja4 import GREASE, fingerprint

__all__ = ["MAX_BYTES", "ClientHello", "HelloError", "HelloReader", "Shape", "parse_client_hello"]

MAX_BYTES = 16384
SERVER_NAME, SIGNATURE_ALGORITHMS, ALPN, SUPPORTED_VERSIONS = 0, 13, 16, 43
NEXT_PROTOCOL_NEGOTIATION = 13172
TLS13 = 0x0304

Shape = tuple[int, int, bytes, tuple[tuple[int, int], ...]]
_two_shorts = struct.Struct(">HH").unpack_from


class ClientHello:
    """sni: the canonical name (lower case, no trailing dot) or None; sni_is_ip: it is an address literal, which
    RFC 6066 forbids; alpn: protocol names in the client's order, as text that no two names share; ech: the name that
    counts may be an encrypted one (gateway.handshake.ech); consumed: bytes of the buffer that its records take."""

    __slots__ = ("_body", "_ciphers", "_extensions", "alpn", "consumed", "ech", "sni", "sni_is_ip")

    def __init__(self, body: bytes, consumed: int) -> None:
        self.consumed = consumed
        self._body = body
        end = len(body)
        try:
            ciphers = 35 + body[34]  # after legacy_version, random and the session id
            cipher_end = ciphers + 2 + (body[ciphers] << 8 | body[ciphers + 1])
            extensions = cipher_end + 1 + body[cipher_end]
            if body[34] > 32 or cipher_end - ciphers < 4 or (cipher_end - ciphers) & 1 or not body[cipher_end]:
                raise HelloError("malformed", "a session id, cipher list or compression list of a wrong length")
        except IndexError:
            raise HelloError("malformed", "a ClientHello that ends inside its fixed part") from None
        self._ciphers = body[ciphers + 2 : cipher_end]
        self._extensions: dict[int, int] = {}  # type → where its two length bytes begin
        if extensions != end:  # a hello of TLS 1.2 or older may end here
            self._walk(body, extensions, end)
        found = self._extensions
        self.sni: str | None = None
        self.sni_is_ip = False
        if SERVER_NAME in found:
            self.sni, self.sni_is_ip = server_name(self.contents(SERVER_NAME))
        if SUPPORTED_VERSIONS in found:
            listed = self.contents(SUPPORTED_VERSIONS)
            if len(listed) < 3 or len(listed) & 1 == 0 or listed[0] != len(listed) - 1:
                raise HelloError("malformed", "a version list of a wrong length")  # RFC 8446 clause 4.2.1
        self.ech = not ANY_FORM.isdisjoint(found) and self._ech()
        self.alpn: tuple[str, ...] = protocols(self.contents(ALPN)) if ALPN in found else ()

    def _walk(self, body: bytes, at: int, end: int) -> None:
        found, count, unpack = self._extensions, 0, _two_shorts
        if end - at < 2 or at + 2 + int.from_bytes(body[at : at + 2]) != end:
            raise HelloError("malformed", "an extension block of a wrong length")
        at += 2
        try:
            while at < end:
                kind, size = unpack(body, at)
                found[kind] = at + 2
                at += 4 + size
                count += 1
        except struct.error:  # fewer than four bytes are left
            raise HelloError("malformed", "an extension that ends inside its header") from None
        if at != end:
            raise HelloError("malformed", "an extension longer than the message")
        if len(found) != count:
            raise HelloError("malformed", "an extension that stands twice")  # RFC 8446 clause 4.2

    def contents(self, kind: int) -> bytes:
        """What an extension holds; nothing for one that is not there."""
        at = self._extensions.get(kind, -1)
        return b"" if at < 0 else self._body[at + 2 : at + 2 + (self._body[at] << 8 | self._body[at + 1])]

    def _ech(self) -> bool:
        """Whether ECH is there in a form that a server could decrypt. Without TLS 1.3 or without the client's key none
        can, so what is there hides nothing."""
        found = self._extensions
        if OUTER_EXTENSIONS in found:
            raise HelloError("malformed", "a list of compressed extensions outside of an encrypted hello")
        older = not OLDER_FORMS.isdisjoint(found)
        if ENCRYPTED_CLIENT_HELLO not in found:
            return older
        try:
            key = encapsulated_key(self.contents(ENCRYPTED_CLIENT_HELLO))
        except EchFault as fault:
            raise HelloError("malformed", str(fault)) from None
        return older or (bool(key) and any(v >= TLS13 and v not in GREASE for v in self.versions))

    @property
    def npn(self) -> bool:
        """Whether the client would choose a protocol later, encrypted (Next Protocol Negotiation, which ALPN
        replaced)."""
        return NEXT_PROTOCOL_NEGOTIATION in self._extensions

    @property
    def in_one_record(self) -> bool:
        """Whether the whole message, and nothing else, came in one record."""
        return self.consumed == len(self._body) + 9

    @property
    def session_id_length(self) -> int:
        """Octets of the legacy session id, which begins 35 octets into the message."""
        return self._body[34]

    @property
    def shape(self) -> Shape:
        """Where everything lies: equal for two hellos whose lengths and extensions all come out the same."""
        key = self._extensions.get(ENCRYPTED_CLIENT_HELLO, -1)
        encapsulated = self._body[key + 8 : key + 10] if key >= 0 else b""  # the length of the key in it
        return len(self._body), self._body[34], encapsulated, tuple(self._extensions.items())

    def extension_places(self) -> list[tuple[int, int, int]]:
        """Type, where its contents begin in the message (without its header), and how long they are, of each
        extension."""
        body = self._body
        return [(kind, at + 2, body[at] << 8 | body[at + 1]) for kind, at in self._extensions.items()]

    @property
    def legacy_version(self) -> int:
        """The version field, 0x0303 in everything since TLS 1.2."""
        return int.from_bytes(self._body[:2])

    @property
    def versions(self) -> tuple[int, ...]:
        """The versions offered, in the client's order, GREASE too, by supported_versions or else by the old field."""
        data = self.contents(SUPPORTED_VERSIONS)[1:]
        return tuple(int.from_bytes(data[i : i + 2]) for i in range(0, len(data) - 1, 2)) or (self.legacy_version,)

    @property
    def ja4(self) -> str:
        """The JA4 client fingerprint; its costly parts are cached, so that common clients cost a few microseconds."""
        return fingerprint(
            self._body[:2],
            self._ciphers,
            self._extensions,
            self.contents(SUPPORTED_VERSIONS)[1:],
            self.contents(SIGNATURE_ALGORITHMS)[2:],
            self.contents(ALPN)[2:],
        )


class HelloReader:
    """Reads one ClientHello from a buffer that grows between calls, looking at each byte once.

    max_bytes bounds the bytes of the stream, record headers included.
    """

    __slots__ = ("_at", "_max", "_message")

    def __init__(self, max_bytes: int = MAX_BYTES) -> None:
        self._max = max_bytes
        self._at = 0
        self._message = bytearray()

    def read(self, buffer: bytes | bytearray) -> ClientHello | None:
        """None while more bytes are needed. `buffer` always begins with the first byte of the stream. Raises HelloError
        as soon as the bytes cannot become a ClientHello."""
        have, message = len(buffer), self._message
        if (
            not self._at
            and have > 9
            and buffer[:2] == b"\x16\x03"
            and buffer[2] <= 4
            and buffer[5:7] == b"\x01\x00"
            and (end := 5 + (buffer[3] << 8 | buffer[4])) <= have
            and end <= self._max
            and 9 + (buffer[7] << 8 | buffer[8]) == end
        ):  # the common case: the whole message in one record, there at once
            return ClientHello(bytes(buffer[9:end]), end)
        while True:
            at = self._at
            if have - at < 5:
                _check_record_start(buffer[at : at + 5], first=at == 0)
                return None
            header = buffer[at : at + 5]
            _check_record_start(header, first=at == 0)
            size = header[3] << 8 | header[4]
            if not 0 < size <= 16384:
                raise HelloError("malformed", "a record of a wrong length")
            if at + 5 + size > self._max:
                raise HelloError("too-large", "the records exceed the limit")
            # A record that is still arriving is looked at for its first four bytes only, the message header.
            seen = message if len(message) >= 4 else message + buffer[at + 5 : at + 5 + min(size, 4)]
            total = self._total(seen)
            if have - at - 5 < size:
                return None
            message += buffer[at + 5 : at + 5 + size]
            self._at = at = at + 5 + size
            if total and len(message) >= total:
                if len(message) > total:
                    raise HelloError("malformed", "another handshake message behind the ClientHello")
                return ClientHello(bytes(message[4:]), at)

    def end(self, buffer: bytes | bytearray) -> int:
        """Where the hello ends, once it was read or recalled (in one record) from this buffer."""
        return self._at or 5 + (buffer[3] << 8 | buffer[4])

    def _total(self, message: bytearray | bytes) -> int:
        """The message's length with its header, or 0 while the header is incomplete."""
        if message and message[0] != 1:
            raise HelloError("malformed", "a handshake message other than ClientHello")
        if len(message) < 4:
            return 0
        total = 4 + int.from_bytes(message[1:4])
        if total > self._max:
            raise HelloError("too-large", "the ClientHello exceeds the limit")
        return total


def _check_record_start(header: bytes | bytearray, *, first: bool) -> None:
    """Record type 22 and version 3.0 to 3.4, as far as the bytes are there (RFC 8446 clause 5.1)."""
    kind: Kind = "not-tls" if first else "malformed"
    if header and header[0] != 22:
        raise HelloError(kind, "not a handshake record")
    if (len(header) > 1 and header[1] != 3) or (len(header) > 2 and header[2] > 4):
        raise HelloError(kind, "not a TLS record version")


def parse_client_hello(buffer: bytes | bytearray, max_bytes: int = MAX_BYTES) -> ClientHello | None:
    """One ClientHello from the start of the buffer; None when more bytes are needed; raises HelloError. For a hello
    that may come in pieces, keep one HelloReader."""
    return HelloReader(max_bytes).read(buffer)

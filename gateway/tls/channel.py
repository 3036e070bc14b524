"""One TLS connection of a client, without input or output: ciphertext in, plaintext out, and the other way round.

The handshake is no stage of its own here: feed() goes on with it, and says nothing of plaintext before it is over.
"""

import hashlib
from typing import Any

from gateway.tls.context import ENROLMENT, TlsContext
from gateway.tls.library import NULL, ffi, first_error, lib, verify_word

MAX_HANDSHAKE = 32 * 1024  # bytes of a client before its handshake is over: a chain of four certificates fits in
BULK = 256 * 1024  # bytes of a read or write at most
_RECORD = 16_384

# One worker has one thread: what crosses the border to C goes through these, and is overwritten by the next that does.
# Fresh objects of this size would be mapped and unmapped by the allocator each time.
_plain = bytearray(BULK + 2 * _RECORD)  # of a read, and of a record's beginning from the one before
_plain_c: Any = ffi.from_buffer(_plain)
_plain_view = memoryview(_plain)
_cipher = bytearray(BULK + 2 * _RECORD + (BULK // _RECORD + 2) * 64)  # 64: what a record has beside its plaintext
_cipher_c: Any = ffi.from_buffer(_cipher)
_cipher_view = memoryview(_cipher)
_pointer: Any = ffi.new("char **")
_chosen: Any = ffi.new("const unsigned char **")
_chosen_length: Any = ffi.new("unsigned int *")

_DONE = lib.SSL_SENT_SHUTDOWN | lib.SSL_RECEIVED_SHUTDOWN


def _free(ssl: Any) -> None:
    """Frees a connection. OpenSSL takes the session of one that ended without close_notify out of its store, which was
    for versions that could not tell a truncation; what a session may do is decided anew each time here."""
    lib.SSL_set_shutdown(ssl, _DONE)
    lib.SSL_free(ssl)


class ChannelError(Exception):
    """The handshake failed or a record is not what it should be; detail in OpenSSL's words, never the client's. The
    alert for the client is in take()."""

    def __init__(self, detail: str, *, unknown: bool) -> None:
        super().__init__(detail)
        self.detail = detail
        self.unknown = unknown  # it is the client's certificate that is at fault, or missing


class Channel:
    """The server's side of a connection. established: the handshake is over; ended: the client's close_notify came,
    after which nothing more can (RFC 8446 clause 6.1)."""

    __slots__ = ("_context", "_in", "_out", "_ssl", "closed", "ended", "established", "failed", "fed")

    def __init__(self, context: TlsContext) -> None:
        self._context = context  # kept, whatever the listener has by now
        self._ssl: Any = ffi.gc(lib.SSL_new(context.pointer), _free)
        self._in: Any
        self._out: Any
        self._bind()
        lib.SSL_set_accept_state(self._ssl)
        self.established = self.ended = self.failed = self.closed = False
        self.fed = 0

    def feed(self, data: bytes | memoryview) -> memoryview:
        """Takes what the client sent (at most BULK bytes) and returns what it means, empty for nothing yet; it is good
        until the next call to any channel. Afterwards take() may have something to send. Raises ChannelError, and then
        nothing more may be fed."""
        if self.ended or self.failed:
            return _plain_view[:0]
        if not self.established:
            self.fed += len(data)
        if lib.BIO_write(self._in, ffi.from_buffer(data), len(data)) != len(data):
            raise self._failure("out of memory")
        if not self.established and not self._shake():
            return _plain_view[:0]
        ssl, at = self._ssl, 0
        while True:
            lib.ERR_clear_error()
            count = lib.SSL_read(ssl, _plain_c + at, len(_plain) - at)
            if count > 0:
                at += count
                continue
            error = lib.SSL_get_error(ssl, count)
            if error == lib.SSL_ERROR_ZERO_RETURN:
                self.ended = True
            elif error != lib.SSL_ERROR_WANT_READ:
                raise self._failure(first_error("broken off"))
            return _plain_view[:at]

    def _shake(self) -> bool:
        """Goes on with the handshake. True: it is over."""
        lib.ERR_clear_error()
        result = lib.SSL_do_handshake(self._ssl)
        if result == 1:
            self.established = True
            return True
        if lib.SSL_get_error(self._ssl, result) != lib.SSL_ERROR_WANT_READ:
            raise self._failure(first_error("broken off"))
        if self.fed > MAX_HANDSHAKE:
            raise self._failure("the handshake is too long")
        return False

    def take(self) -> bytes:
        """What is to be sent to the client now: answers of the handshake, sessions, alerts; b"" for nothing."""
        count = lib.BIO_read(self._out, _cipher_c, len(_cipher))
        return bytes(_cipher_view[:count]) if count > 0 else b""

    def seal(self, data: bytes | memoryview) -> memoryview:
        """Records with this plaintext (at most BULK bytes), and whatever else was to be sent before it; good until the
        next call to any channel. Raises ChannelError."""
        ssl, length, at = self._ssl, len(data), 0
        source: Any = ffi.from_buffer(data)
        while at < length:
            lib.ERR_clear_error()
            count = lib.SSL_write(ssl, source + at, length - at)
            if count <= 0:
                raise self._failure(first_error("broken off"))
            at += count
        return _cipher_view[: max(0, lib.BIO_read(self._out, _cipher_c, len(_cipher)))]

    def close(self) -> bytes:
        """A close_notify, once; b"" before the handshake is over or after a failure."""
        if self.closed or self.failed or not self.established:
            return self.take()
        self.closed = True
        lib.ERR_clear_error()
        lib.SSL_shutdown(self._ssl)
        lib.ERR_clear_error()
        return self.take()

    def slim(self) -> None:
        """Gives back the memory that a burst left behind (up to 300 kB), where nothing is in it."""
        if self.failed or lib.BIO_get_mem_data(self._in, _pointer) or lib.BIO_get_mem_data(self._out, _pointer):
            return
        self._bind()

    def _bind(self) -> None:
        """New, empty buffers on both sides."""
        self._in, self._out = lib.BIO_new(lib.BIO_s_mem()), lib.BIO_new(lib.BIO_s_mem())
        lib.BIO_set_mem_eof_return(self._in, -1)  # empty means later, not the end
        lib.BIO_set_mem_eof_return(self._out, -1)
        lib.SSL_set_bio(self._ssl, self._in, self._out)  # owns both, and frees those before

    def peer(self) -> bytes | None:
        """The client's certificate in DER, also on a resumed session; None where it showed none."""
        found = lib.SSL_get_peer_certificate(self._ssl)
        if found == NULL:
            return None
        bio = lib.BIO_new(lib.BIO_s_mem())
        lib.i2d_X509_bio(bio, found)
        count = lib.BIO_read(bio, _cipher_c, len(_cipher))
        lib.BIO_free(bio)
        lib.X509_free(found)
        return bytes(_cipher_view[:count])

    @property
    def enrols(self) -> bool:
        """Whether the client chose the protocol of enrolment, for which no certificate was demanded."""
        lib.SSL_get0_alpn_selected(self._ssl, _chosen, _chosen_length)
        length = _chosen_length[0]
        return length == len(ENROLMENT) and bytes(ffi.buffer(_chosen[0], length)) == ENROLMENT

    @property
    def resumed(self) -> bool:
        """Whether the handshake took up an earlier session."""
        return bool(lib.SSL_session_reused(self._ssl))

    @property
    def version(self) -> str:
        """ "TLSv1.3" or "TLSv1.2"."""
        word: bytes = ffi.string(lib.SSL_get_version(self._ssl))
        return word.decode("ascii")

    def _failure(self, detail: str) -> ChannelError:
        self.failed = True
        verified = lib.SSL_get_verify_result(self._ssl)
        if not self.established and verified != lib.X509_V_OK:
            return ChannelError(f"client certificate: {verify_word(verified)}", unknown=True)
        return ChannelError(f"TLS: {detail}", unknown="did not return a certificate" in detail)


def certificate_digest(der: bytes) -> bytes:
    """SHA-256 of a certificate, as the register knows it."""
    return hashlib.sha256(der).digest()

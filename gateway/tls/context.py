"""What a TLS listener serves with: its certificate and key, whose clients it knows, versions and suites.

TLS 1.2 with forward secrecy and AEAD only, TLS 1.3, no renegotiation, no compression (RFC 9325 clauses 3, 4). What a
resumed session may do is looked up anew each time, by the client's certificate that the session keeps.

Sessions are kept here and not in tickets: OpenSSL's keys for tickets cannot be set through this binding, so that other
workers could not read them either, and to write, encrypt and parse a ticket with a certificate in it costs 60 µs of
450 µs of a full handshake and 80 µs of 245 µs of a resumed one. A client that meets another of n workers makes a full
handshake, which costs less here than a resumed one with Python's ssl, whose keys for tickets could be shared (590 µs).
The library keeps 20,480 sessions at most, two for a handshake, of 3 to 5 kB each.
"""

import hashlib
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from gateway.tls.library import NULL, TlsError, ffi, lib, need

_SUITES_12 = (
    "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384:"
    "ECDHE-RSA-AES256-GCM-SHA384:ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305"
)
_SUITES_13 = "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256"
_SESSION_LIFE = 3_600  # seconds that a session can be resumed
_PROTOCOL = b"\x08http/1.1"  # as the ALPN extension writes it (RFC 7301)
ENROLMENT = b"feiyu-enrol"  # of a client that has no certificate yet, or a new one to ask for
_ENROLMENT = bytes((len(ENROLMENT),)) + ENROLMENT
_DEPTH = 4


class TlsContextError(Exception):
    """A certificate, key or CA file cannot be used; str() names the file, what is wrong with it and what to do."""


class TlsContext:
    """One listener's context. demands_certificate: a handshake without a client's certificate that chains up to one in
    client_ca fails. digest: of all that was read, so that a change of the files can be told."""

    def __init__(self, certificate: Path, key: Path, client_ca: Path | None) -> None:
        chain, private, anchors = _read(certificate), _read(key), _read(client_ca) if client_ca is not None else b""
        self.demands_certificate = client_ca is not None
        self.digest = _digest(chain, private, anchors)
        self.pointer: Any = ffi.gc(lib.SSL_CTX_new(lib.TLS_server_method()), lib.SSL_CTX_free)
        try:
            self._restrict()
        except TlsError as error:
            raise TlsContextError(f"TLS cannot be set up: {error}") from None
        self._identify(certificate, chain, key, private)
        if client_ca is not None:
            self._demand(client_ca, anchors)

    def _restrict(self) -> None:
        context = self.pointer
        need(lib.SSL_CTX_set_min_proto_version(context, lib.TLS1_2_VERSION), "TLS 1.2")
        need(lib.SSL_CTX_set_cipher_list(context, _SUITES_12.encode()), "suites of TLS 1.2")
        need(lib.SSL_CTX_set_ciphersuites(context, _SUITES_13.encode()), "suites of TLS 1.3")
        lib.SSL_CTX_set_options(
            context,
            lib.SSL_OP_NO_RENEGOTIATION
            | lib.SSL_OP_NO_COMPRESSION
            | lib.SSL_OP_CIPHER_SERVER_PREFERENCE
            | lib.SSL_OP_NO_TICKET,
        )
        lib.SSL_CTX_set_mode(
            context,
            lib.SSL_MODE_ENABLE_PARTIAL_WRITE | lib.SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | lib.SSL_MODE_RELEASE_BUFFERS,
        )
        lib.SSL_CTX_set_session_cache_mode(context, lib.SSL_SESS_CACHE_SERVER)
        lib.SSL_CTX_set_timeout(context, _SESSION_LIFE)
        lib.SSL_CTX_set_alpn_select_cb(context, _select_protocol, NULL)

    def _identify(self, certificate: Path, chain: bytes, key: Path, private: bytes) -> None:
        context = self.pointer
        found = _certificates(certificate, chain)
        bio = _memory(private)
        loaded = lib.PEM_read_bio_PrivateKey(bio, NULL, _no_passphrase, NULL)
        lib.BIO_free(bio)
        if loaded == NULL:
            lib.ERR_clear_error()
            raise TlsContextError(f"{key}: no private key in PEM, or an encrypted one; write it without a passphrase")
        try:
            need(lib.SSL_CTX_use_certificate(context, found[0]), "certificate")
            for further in found[1:]:
                lib.X509_up_ref(further)  # the context takes one reference over, and `found` gives up its own
                need(lib.SSL_CTX_add_extra_chain_cert(context, further), "chain")
            need(lib.SSL_CTX_use_PrivateKey(context, loaded), "key")
            need(lib.SSL_CTX_check_private_key(context), "key")
        except TlsError as error:
            raise TlsContextError(f"{certificate} and {key} cannot be used together: {error}") from None
        finally:
            lib.EVP_PKEY_free(loaded)

    def _demand(self, client_ca: Path, anchors: bytes) -> None:
        """Clients must show a certificate for clientAuth below one of these. Each of them is an anchor in itself
        (partial chain), so that the issuing CA's own signature is not verified again with every handshake."""
        context = self.pointer
        store = lib.SSL_CTX_get_cert_store(context)
        names = lib.sk_X509_NAME_new_null()
        for one in _certificates(client_ca, anchors):
            if lib.X509_STORE_add_cert(store, one) != 1:
                raise TlsContextError(f"{client_ca}: {one} is no certificate that can be trusted")
            lib.sk_X509_NAME_push(names, lib.X509_NAME_dup(lib.X509_get_subject_name(one)))
        lib.SSL_CTX_set_client_CA_list(context, names)  # owns them now
        lib.X509_VERIFY_PARAM_set_flags(lib.SSL_CTX_get0_param(context), lib.X509_V_FLAG_PARTIAL_CHAIN)
        lib.SSL_CTX_set_verify(context, lib.SSL_VERIFY_PEER | lib.SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL)
        # A session of another set of anchors is none of this one's.
        need(lib.SSL_CTX_set_session_id_context(context, self.digest, len(self.digest)), "session id")


def changed(context: TlsContext, certificate: Path, key: Path, client_ca: Path | None) -> bool:
    """Whether the files say anything else than the context was made of. Raises TlsContextError."""
    anchors = _read(client_ca) if client_ca is not None else b""
    return context.digest != _digest(_read(certificate), _read(key), anchors)


def _digest(*contents: bytes) -> bytes:
    return hashlib.sha256(b"".join(hashlib.sha256(content).digest() for content in contents)).digest()


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise TlsContextError(f"{path}: {error.strerror}; the workers' group must be able to read it") from None


def _memory(data: bytes) -> Any:
    """A BIO over a copy of data."""
    bio = lib.BIO_new(lib.BIO_s_mem())
    lib.BIO_write(bio, data, len(data))
    return bio


def _certificates(path: Path, data: bytes) -> list[Any]:
    """All certificates in PEM, at least one, as X509 pointers that free themselves."""
    try:
        parsed = x509.load_pem_x509_certificates(data)
    except ValueError as error:
        raise TlsContextError(f"{path}: no certificate in PEM: {error}") from None
    bio = _memory(b"".join(one.public_bytes(Encoding.PEM) for one in parsed))
    found = [ffi.gc(lib.PEM_read_bio_X509(bio, NULL, NULL, NULL), lib.X509_free) for _ in parsed]
    lib.BIO_free(bio)
    return found


@ffi.callback("int (*)(char *, int, int, void *)")  # type: ignore[untyped-decorator]  # cffi has no types
def _no_passphrase(_buffer: Any, _size: int, _writing: int, _data: Any) -> int:
    """Instead of OpenSSL's own, which would ask on the terminal."""
    return 0


@ffi.callback("int (*)(SSL *, const unsigned char **, unsigned char *, const unsigned char *, unsigned int, void *)")  # type: ignore[untyped-decorator]
def _select_protocol(ssl: Any, out: Any, out_length: Any, offered: Any, length: int, _data: Any) -> int:
    """http/1.1 for whoever offers it among others. Who offers only others is refused (RFC 7301 clause 3.2), but for who
    offers enrolment alone: it need not show a certificate, and gateway.enrolment lets it do nothing but enrol."""
    data = bytes(ffi.buffer(offered, length))
    if data == _ENROLMENT:
        lib.SSL_set_verify(ssl, lib.SSL_get_verify_mode(ssl) & ~lib.SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL)
        out[0], out_length[0] = offered + 1, len(ENROLMENT)
        return int(lib.SSL_TLSEXT_ERR_OK)
    at = 0
    while at < length:
        if data.startswith(_PROTOCOL, at):
            out[0] = offered + at + 1
            out_length[0] = data[at]
            return int(lib.SSL_TLSEXT_ERR_OK)
        at += 1 + data[at]
    return int(lib.SSL_TLSEXT_ERR_ALERT_FATAL)

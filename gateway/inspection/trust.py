"""Certificates on both sides of an inspected tunnel: leaves for clients, under the firm's own intermediate; and the
verification of services, by name, with the system's roots or the grant's."""

import ipaddress
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from OpenSSL import SSL, crypto
from OpenSSL._util import lib as _lib  # what pyOpenSSL does not wrap, as mitmproxy takes it

from tenants.ca import CaError
from tenants.inspection_ca import Intermediate, issue_leaf, load_intermediate

LEAVES = 1024  # kept, those used last
RENEW = 3_600  # seconds before its end at which a leaf is made anew
H2, H1 = b"h2", b"http/1.1"
_CIPHERS = b"ECDHE+AESGCM:ECDHE+CHACHA20:!aNULL"
# RFC 6125 clause 6.4: no partial wildcards, nothing from the subject where there are alternative names
_HOSTFLAGS = _lib.X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS | _lib.X509_CHECK_FLAG_NEVER_CHECK_SUBJECT


class TrustError(Exception):
    """No certificate can be shown for this firm and host; str() says why."""


@dataclass(slots=True)
class _Held:
    """A firm's intermediate, as its file was; modified: nanoseconds."""

    modified: int
    intermediate: Intermediate


class Trust:
    """directory: of the firms' intermediates, TENANT.pem. Files that change are read again."""

    def __init__(self, directory: Path, clock: Callable[[], float] = time.time) -> None:
        self._directory = directory
        self._clock = clock
        self._key = ec.generate_private_key(ec.SECP256R1())  # of all leaves of this process; in no file
        self._held: dict[str, _Held] = {}
        self._leaves: OrderedDict[tuple[str, str], tuple[float, int, SSL.Context]] = OrderedDict()
        self._verifiers: dict[str, SSL.Context] = {}
        self.issued = 0

    def intermediate(self, tenant: str) -> Intermediate:
        """The firm's, as it stands in its file now. Raises TrustError."""
        path = self._directory / f"{tenant}.pem"
        try:
            modified = path.stat().st_mtime_ns
            held = self._held.get(tenant)
            if held is None or held.modified != modified:
                held = self._held[tenant] = _Held(modified, load_intermediate(path.read_bytes()))
        except OSError as error:
            raise TrustError(f"the firm has no certificate authority for inspection here: {error.strerror}") from None
        except CaError as error:
            raise TrustError(str(error)) from None
        if held.intermediate.until <= self._clock():
            raise TrustError("the firm's intermediate for inspection has expired: feiyu inspection renew")
        return held.intermediate

    def leaf(self, tenant: str, host: str) -> SSL.Context:
        """A context that shows the firm's clients a certificate for the host. Raises TrustError."""
        intermediate = self.intermediate(tenant)
        now = self._clock()
        kept = self._leaves.get((tenant, host))
        if kept is not None and kept[0] > now and kept[1] == intermediate.certificate.serial_number:
            self._leaves.move_to_end((tenant, host))
            return kept[2]
        try:
            certificate = issue_leaf(intermediate, self._key.public_key(), host, int(now))
        except CaError as error:
            raise TrustError(str(error)) from None
        context = SSL.Context(SSL.TLS_SERVER_METHOD)
        context.set_min_proto_version(SSL.TLS1_2_VERSION)
        context.set_options(SSL.OP_NO_COMPRESSION | SSL.OP_NO_RENEGOTIATION)
        context.set_cipher_list(_CIPHERS)
        context.use_certificate(certificate)
        context.use_privatekey(self._key)
        context.add_extra_chain_cert(intermediate.certificate)
        context.set_alpn_select_callback(_choose)
        context.set_session_id(b"feiyu-inspection")
        until = certificate.not_valid_after_utc.timestamp()
        self._leaves[tenant, host] = (until - RENEW, intermediate.certificate.serial_number, context)
        self.issued += 1
        while len(self._leaves) > LEAVES:
            self._leaves.popitem(last=False)
        return context

    def accept(self, context: SSL.Context, service_alpn: bytes | None) -> SSL.Connection:
        """The client's side; service_alpn: what was agreed on with the service, None where nothing was yet."""
        connection = SSL.Connection(context)
        connection.set_app_data(service_alpn)
        connection.set_accept_state()
        return connection

    def connect(self, host: str, roots: str, offers: list[bytes]) -> SSL.Connection:
        """The service's side, which must prove that it is the host. roots: PEM, "" for the system's."""
        context = self._verifiers.get(roots)
        if context is None:
            if len(self._verifiers) >= LEAVES:
                self._verifiers.clear()
            context = self._verifiers[roots] = _verifier(roots)
        connection = SSL.Connection(context)
        parameters = _lib.SSL_get0_param(connection._ssl)
        _lib.X509_VERIFY_PARAM_set_hostflags(parameters, _HOSTFLAGS)
        try:
            packed = ipaddress.ip_address(host).packed
            fine = _lib.X509_VERIFY_PARAM_set1_ip(parameters, packed, len(packed))
        except ValueError:
            name = host.encode("ascii")
            connection.set_tlsext_host_name(name)
            fine = _lib.X509_VERIFY_PARAM_set1_host(parameters, name, len(name))
        if fine != 1:
            raise TrustError("the host cannot be verified")
        if offers:
            connection.set_alpn_protos(offers)
        connection.set_connect_state()
        return connection


def _verifier(roots: str) -> SSL.Context:
    context = SSL.Context(SSL.TLS_CLIENT_METHOD)
    context.set_min_proto_version(SSL.TLS1_2_VERSION)
    context.set_options(SSL.OP_NO_COMPRESSION | SSL.OP_NO_RENEGOTIATION)
    context.set_verify(SSL.VERIFY_PEER, None)
    if roots:
        store = context.get_cert_store()
        assert store is not None
        for certificate in x509.load_pem_x509_certificates(roots.encode()):
            store.add_cert(crypto.X509.from_cryptography(certificate))
    else:
        context.set_default_verify_paths()
    return context


def _choose(connection: SSL.Connection, offered: list[bytes]) -> Any:
    """What the service speaks, where that is known; else what the client likes best of what can be read here."""
    service = connection.get_app_data()
    if service in offered:
        return service
    if service in (None, b""):
        for protocol in offered:
            if protocol in (H2, H1) and (service is None or protocol == H1):
                return protocol
    elif H1 in offered:
        return H1
    return SSL.NO_OVERLAPPING_PROTOCOLS

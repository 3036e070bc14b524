"""TLS to a gateway that is the right one: its chain leads to the root that was pinned, and its name is right.

Nothing is sent before that holds. A machine that knows only the fingerprint makes one handshake to be shown the chain,
says nothing in it, takes the root whose SHA-256 is the pinned one, and begins anew with that root as the only one it
trusts: OpenSSL then verifies chain and host name as usual.
"""

import hashlib
import hmac
import re
import socket
import ssl
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ops.link.error import LinkError, Unreachable
from ops.link.words import t

ENROLMENT, HTTP = "feiyu-enrol", "http/1.1"  # protocols (ALPN)
PATIENCE = 10.0  # seconds
_DER = 2  # _ssl.ENCODING_DER
_PIN = re.compile(r"[0-9a-f]{64}")


def fingerprint(text: str) -> str:
    """A SHA-256 as people write it, with colons or capitals too. Raises LinkError."""
    found = text.replace(":", "").replace(" ", "").lower()
    if not _PIN.fullmatch(found):
        raise LinkError(t("the CA's fingerprint is not 64 hexadecimal digits"), t("Copy it as the operator sent it."))
    return found


def split(gateway: str) -> tuple[str, int]:
    """Host and port of "host:port" or "[address]:port". Raises LinkError."""
    host, _, port = gateway.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not host or not port.isascii() or not port.isdigit() or not 0 < int(port) < 65_536:
        raise LinkError(t("{gateway} is no HOST:PORT", gateway=gateway), t("Copy it as the operator sent it."))
    return host, int(port)


def root_shown(gateway: str, pin: str) -> bytes:
    """The pinned root in PEM, out of the chain that the gateway shows. Raises Unreachable; LinkError where the gateway
    is another one's, and then nothing was sent to it."""
    context = _bare()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE  # the pin is looked at below, and nothing is sent on this connection
    with connect(gateway, context) as tls:
        chain = _chain(tls)
    for der in chain:
        if hmac.compare_digest(hashlib.sha256(der).hexdigest(), pin):
            return ssl.DER_cert_to_PEM_cert(der).encode()
    raise LinkError(
        t("{gateway} does not show the zone's CA with the fingerprint given; nothing was sent", gateway=gateway),
        t("Compare gateway and fingerprint with what the operator sent. If they are right, somebody is in between."),
    )


def trusting(root: Path, identity: Path | None = None, protocol: str = HTTP) -> ssl.SSLContext:
    """A context that trusts the pinned root alone and shows this machine's certificate, where there is one. Raises
    LinkError."""
    context = _bare(protocol)
    try:
        context.load_verify_locations(cafile=str(root))
        if identity is not None:
            context.load_cert_chain(str(identity))
    except (OSError, ssl.SSLError) as error:
        raise LinkError(
            t("{path} cannot be used: {why}", path=identity or root, why=error), t("Enrol this machine again.")
        ) from None
    return context


def connect(gateway: str, context: ssl.SSLContext, patience: float = PATIENCE) -> ssl.SSLSocket:
    """A connection after its handshake. Raises Unreachable; LinkError where the gateway's certificate is not right."""
    host, port = split(gateway)
    try:
        raw = socket.create_connection((host, port), patience)
    except OSError as error:
        raise unreachable(gateway, error) from None
    try:
        return context.wrap_socket(raw, server_hostname=host)
    except ssl.SSLCertVerificationError as error:
        raise wrong_certificate(gateway, error) from None
    except OSError as error:
        raise unreachable(gateway, error) from None
    finally:
        if raw.fileno() >= 0:  # wrap_socket takes the descriptor over only where it succeeds
            raw.close()


def unreachable(gateway: str, error: OSError) -> Unreachable:
    """In words, what a gateway that is not reached says."""
    why = getattr(error, "reason", "") or error.strerror or str(error) or type(error).__name__
    return Unreachable(
        t("{gateway} is not reached: {why}", gateway=gateway, why=why), t("feiyu link doctor says where it stops.")
    )


def wrong_certificate(gateway: str, error: ssl.SSLCertVerificationError) -> LinkError:
    """In words, what a gateway that is not the right one says."""
    return LinkError(
        t("{gateway} is not a gateway of your zone: {why}", gateway=gateway, why=error.verify_message),
        t("Check this machine's clock and the gateway's name; nothing was sent."),
    )


def _bare(protocol: str = ENROLMENT) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols([protocol])
    return context


def _chain(tls: ssl.SSLSocket) -> Sequence[bytes]:
    """What the peer sent, in DER; public since Python 3.13, there since 3.10."""
    public: Any = getattr(tls, "get_unverified_chain", None)
    if public is not None:
        return list(public())
    inner: Any = tls._sslobj  # type: ignore[attr-defined]  # see above
    return [one.public_bytes(_DER) for one in inner.get_unverified_chain() or ()]

"""A machine's key and certificate: made here, never sent, read back for what they say."""

import base64
import re
from dataclasses import dataclass
from datetime import UTC
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from ops.link.error import LinkError
from ops.link.words import t

SKEW = 300  # seconds that the zone's CA dates certificates back
PROOF = b"feiyu-renew\0"  # before the request, in what the present key signs
_URI = re.compile(r"spiffe://[^/]+/tenant/([^/]+)/credential/([^/]+)")


@dataclass(frozen=True)
class Identity:
    """What a certificate says. begins, ends: Unix seconds; sha256: hex."""

    tenant: str
    credential: str
    begins: int
    ends: int
    sha256: str

    def renews_at(self, early: float = 0.0) -> float:
        """Unix seconds: two thirds of its life, or up to a twentieth of it earlier (early: 0 to 1)."""
        life = max(1, self.ends - self.begins)
        return self.begins + life * (2 / 3 - early / 20)


def new_request() -> tuple[bytes, bytes]:
    """A new P-256 key in PEM (PKCS #8), and a request for a certificate (RFC 2986) that names nobody: the register
    knows whose it is."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "feiyu link")])
    request = x509.CertificateSigningRequestBuilder().subject_name(name).sign(key, hashes.SHA256())
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return private, request.public_bytes(serialization.Encoding.PEM)


def belongs(key: bytes, certificate: bytes) -> bool:
    """Whether a certificate is for a key, both in PEM."""
    try:
        private = serialization.load_pem_private_key(key, None).public_key()
        public = x509.load_pem_x509_certificate(certificate).public_key()
    except (ValueError, TypeError):
        return False
    form = serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    return public.public_bytes(*form) == private.public_bytes(*form)


def proof(identity: Path, request: bytes) -> tuple[str, str]:
    """The present certificate in PEM, and base64 of its key's signature that the request is this machine's. Raises
    LinkError."""
    content = _read(identity)
    try:
        key = serialization.load_pem_private_key(content, None)
        shown = x509.load_pem_x509_certificate(content)
    except (ValueError, TypeError):
        raise _broken(identity) from None
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise _broken(identity)
    signature = key.sign(PROOF + request, ec.ECDSA(hashes.SHA256()))
    return shown.public_bytes(serialization.Encoding.PEM).decode(), base64.b64encode(signature).decode()


def read(identity: Path) -> Identity:
    """What the certificate in the file says. Raises LinkError."""
    try:
        found = x509.load_pem_x509_certificate(_read(identity))
        names = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        uris = names.get_values_for_type(x509.UniformResourceIdentifier)
        match = _URI.fullmatch(uris[0])
    except (ValueError, IndexError, x509.ExtensionNotFound):
        raise _broken(identity) from None
    if match is None:
        raise _broken(identity)
    ends = _seconds(found, "not_valid_after")
    begins = min(_seconds(found, "not_valid_before") + SKEW, ends)
    return Identity(match[1], match[2], begins, ends, found.fingerprint(hashes.SHA256()).hex())


def _seconds(certificate: x509.Certificate, name: str) -> int:
    """One of its times, also by a cryptography before 42, as Debian 12 has it, whose times do not say they are UTC."""
    found = getattr(certificate, f"{name}_utc", None) or getattr(certificate, name).replace(tzinfo=UTC)
    return int(found.timestamp())


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise LinkError(
            t("{path} cannot be read: {why}", path=path, why=error.strerror or error), t("Enrol this machine again.")
        ) from None


def _broken(path: Path) -> LinkError:
    return LinkError(t("{path} holds no key with its certificate", path=path), t("Enrol this machine again."))

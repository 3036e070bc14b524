"""The zone's certificate authority (RFC 5280): an offline root, an issuing CA under it, and what that issues.

Everything is ECDSA with SHA-256 on P-256. A client's certificate names its tenant and credential in one URI; of a
request (RFC 2986) only the public key is used, after its proof of possession holds. All times are Unix seconds, and
`now` is the caller's. Raises CaError in words.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from ipaddress import ip_address

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

DAY = 86_400
ROOT_LIFE, ISSUING_LIFE, CLIENT_LIFE, SERVER_LIFE, CRL_LIFE = 7_300 * DAY, 730 * DAY, 7 * DAY, 90 * DAY, 7 * DAY
SKEW = 300  # seconds that a certificate is valid before it was made: clients' clocks are not all right
MAX_REQUEST = 16_384  # bytes of a request that are looked at
_CURVES = (ec.SECP256R1, ec.SECP384R1)
_URI = re.compile(r"spiffe://[a-z0-9.-]+/tenant/([a-z0-9][a-z0-9-]{0,62})/credential/(c-[0-9a-z]{10})")
_USAGES = (
    "digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement",
    "key_cert_sign", "crl_sign", "encipher_only", "decipher_only",
)  # fmt: skip


class CaError(Exception):
    """What is wrong with a request, key or certificate, and what to do; it is an answer to who sent it."""


@dataclass(frozen=True, slots=True)
class Authority:
    """A CA: its certificate and its key."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @property
    def zone(self) -> str:
        """The domain that all names below this CA are in."""
        value = self.certificate.subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)[0].value
        return value if isinstance(value, str) else value.decode()


@dataclass(frozen=True, slots=True)
class Revoked:
    """An entry of the revocation list."""

    serial: int
    at: int


def new_root(zone: str, now: int, life: int = ROOT_LIFE) -> Authority:
    """A self-signed root for a zone's domain, e.g. zone.example. Its key belongs into a safe, not on a node."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = full_name(zone, "Feiyu root CA")
    builder = unsigned(name, name, key.public_key(), now, life)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=1), critical=True)
    builder = builder.add_extension(key_usage("key_cert_sign", "crl_sign"), critical=True)
    return Authority(signed_by(builder, key, key), key)


def new_issuing(root: Authority, now: int, life: int = ISSUING_LIFE) -> Authority:
    """An issuing CA under the root. It makes no further CAs, and names of the zone only (clause 4.2.1.10): a stolen one
    cannot speak for anybody else. Addresses are left open, since firms may know a gateway by its address."""
    key = ec.generate_private_key(ec.SECP256R1())
    # Two of one name would count as one in the length of a path (clause 6.1: self-issued): the key is part of the name.
    digest = x509.SubjectKeyIdentifier.from_public_key(key.public_key()).digest
    name = full_name(root.zone, f"Feiyu issuing CA {stamp(now)} {digest[:4].hex()}")
    builder = unsigned(root.certificate.subject, name, key.public_key(), now, within(root, now, life))
    names = (x509.DNSName(root.zone), x509.UniformResourceIdentifier(root.zone))
    builder = (
        builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(key_usage("key_cert_sign", "crl_sign"), critical=True)
        .add_extension(x509.NameConstraints(permitted_subtrees=names, excluded_subtrees=None), critical=True)
    )
    return Authority(signed_by(builder, root.key, root.key), key)


def issue_client(
    issuer: Authority, key: ec.EllipticCurvePublicKey, tenant: str, credential: str, now: int, life: int = CLIENT_LIFE
) -> x509.Certificate:
    """A certificate with which a tenant's program identifies itself as a credential (clientAuth only)."""
    uri = f"spiffe://{issuer.zone}/tenant/{tenant}/credential/{credential}"
    if not _URI.fullmatch(uri):
        raise CaError(f"{tenant!r} and {credential!r} are no ids of a tenant and a credential")
    return issue_under(
        issuer, key, credential, now, life, [x509.UniformResourceIdentifier(uri)], ExtendedKeyUsageOID.CLIENT_AUTH
    )


def issue_server(
    issuer: Authority, key: ec.EllipticCurvePublicKey, names: Iterable[str], now: int, life: int = SERVER_LIFE
) -> x509.Certificate:
    """A certificate for a TLS listener (serverAuth only). names: host names within the zone, or addresses."""
    general: list[x509.GeneralName] = []
    for name in names:
        try:
            general.append(x509.IPAddress(ip_address(name)))
        except ValueError:
            if name != issuer.zone and not name.endswith("." + issuer.zone):
                raise CaError(f"{name} is not in {issuer.zone}, for which this CA may speak") from None
            general.append(x509.DNSName(name))
    if not general:
        raise CaError("a server's certificate needs a name or an address")
    return issue_under(issuer, key, "Feiyu gateway", now, life, general, ExtendedKeyUsageOID.SERVER_AUTH)


def crl(issuer: Authority, revoked: Iterable[Revoked], number: int, now: int, life: int = CRL_LIFE) -> bytes:
    """The revocation list (clause 5) in PEM, for those who cannot ask the register: the gateway itself does not need
    it. number: higher with each list."""
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(issuer.certificate.subject)
        .last_update(_time(now))
        .next_update(_time(now + life))
        .add_extension(x509.CRLNumber(number), critical=False)
        .add_extension(_authority_key(issuer.key), critical=False)
    )
    for one in sorted(revoked, key=lambda entry: entry.serial):
        entry = x509.RevokedCertificateBuilder().serial_number(one.serial).revocation_date(_time(one.at)).build()
        builder = builder.add_revoked_certificate(entry)
    return builder.sign(issuer.key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def request_key(data: bytes) -> ec.EllipticCurvePublicKey:
    """The public key of a certificate request or of a public key in PEM. A request's signature must hold."""
    if len(data) > MAX_REQUEST:
        raise CaError(f"the request has more than {MAX_REQUEST} bytes")
    try:
        if b"CERTIFICATE REQUEST" in data:
            request = x509.load_pem_x509_csr(data)
            if not request.is_signature_valid:
                raise CaError("the request's signature does not hold: make it again with the key it is for")
            key = request.public_key()
        else:
            key = serialization.load_pem_public_key(data)  # type: ignore[assignment]  # more kinds, looked at below
    except (ValueError, TypeError, InvalidSignature, x509.UnsupportedGeneralNameType) as error:
        raise CaError("no certificate request and no public key in PEM: openssl req -new makes a request") from error
    except Exception as error:
        if isinstance(error, CaError):
            raise
        raise CaError(f"the request holds what is not supported: {error}") from error
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, _CURVES):
        raise CaError("the key is not ECDSA on P-256 or P-384: openssl ecparam -genkey -name prime256v1 makes one")
    return key


def identity(certificate: x509.Certificate) -> tuple[str, str] | None:
    """(tenant id, credential id) that a client's certificate names, None where it names none, or several."""
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, x509.DuplicateExtension, ValueError):
        return None
    found = [
        match for uri in names.get_values_for_type(x509.UniformResourceIdentifier) if (match := _URI.fullmatch(uri))
    ]
    return (found[0][1], found[0][2]) if len(found) == 1 else None


def fingerprint(certificate: x509.Certificate) -> str:
    """SHA-256 over the whole certificate, hex: what the register keeps of it."""
    return certificate.fingerprint(hashes.SHA256()).hex()


def pem(*certificates: x509.Certificate) -> bytes:
    """Certificates in PEM."""
    return b"".join(one.public_bytes(serialization.Encoding.PEM) for one in certificates)


def key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    """A private key in PEM (PKCS #8), not encrypted: the file's mode and place protect it."""
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def load(certificate: bytes, key: bytes) -> Authority:
    """A CA from PEM; the first certificate is its own."""
    try:
        found = x509.load_pem_x509_certificates(certificate)[0]
        private = serialization.load_pem_private_key(key, None)
    except (ValueError, TypeError) as error:
        raise CaError(f"the CA's certificate or key is not PEM, or the key is encrypted: {error}") from error
    if not isinstance(private, ec.EllipticCurvePrivateKey) or private.public_key() != found.public_key():
        raise CaError("the CA's key and certificate do not belong together")
    return Authority(found, private)


def issue_under(
    issuer: Authority, key: ec.EllipticCurvePublicKey, common: str, now: int, life: int,
    names: list[x509.GeneralName], usage: x509.ObjectIdentifier,
) -> x509.Certificate:  # fmt: skip
    """A certificate for an end, with these names and this one use."""
    builder = unsigned(issuer.certificate.subject, full_name(issuer.zone, common), key, now, within(issuer, now, life))
    builder = (
        builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(key_usage("digital_signature"), critical=True)
        .add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
    )
    return signed_by(builder, issuer.key, issuer.key)


def within(issuer: Authority, now: int, life: int) -> int:
    """A life that ends with the issuer's at the latest (else nobody could verify its last part)."""
    left = int(issuer.certificate.not_valid_after_utc.timestamp()) - now
    if left <= 0 or life <= 0:
        raise CaError("the CA has expired: feiyu ca rotate" if left <= 0 else "a life of no time")
    return min(life, left)


def unsigned(
    issuer: x509.Name, subject: x509.Name, key: ec.EllipticCurvePublicKey, now: int, life: int
) -> x509.CertificateBuilder:
    """A certificate in the making."""
    return (
        x509.CertificateBuilder()
        .issuer_name(issuer)
        .subject_name(subject)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(_time(now - SKEW))
        .not_valid_after(_time(now + life))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def signed_by(
    builder: x509.CertificateBuilder, key: ec.EllipticCurvePrivateKey, authority: ec.EllipticCurvePrivateKey
) -> x509.Certificate:
    """The certificate, signed. authority: whose key signs, as the certificate says."""
    return builder.add_extension(_authority_key(authority), critical=False).sign(key, hashes.SHA256())


def _authority_key(key: ec.EllipticCurvePrivateKey) -> x509.AuthorityKeyIdentifier:
    return x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key())


def full_name(zone: str, common: str) -> x509.Name:
    """A subject."""
    return x509.Name(
        [x509.NameAttribute(NameOID.ORGANIZATION_NAME, zone), x509.NameAttribute(NameOID.COMMON_NAME, common)]
    )


def key_usage(*allowed: str) -> x509.KeyUsage:
    """What a key may be used for."""
    return x509.KeyUsage(**{name: name in allowed for name in _USAGES})


def _time(at: int) -> datetime:
    return datetime.fromtimestamp(at, UTC)


def stamp(at: int) -> str:
    """The day, for names."""
    return f"{_time(at):%Y-%m-%d}"

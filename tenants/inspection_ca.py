"""Certificate authorities of inspection (RFC 5280): a firm's offline root, which its programs trust for nothing else;
an intermediate for some days, which may speak for the hosts that the firm's grants let inspect, and for nobody else;
leaves, made by inspectors. A new host needs a new intermediate and no new root. Raises CaError in words."""

from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import ip_address, ip_network

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID

from tenants import ca
from tenants.ca import DAY, Authority, CaError

ROOT_LIFE, INTERMEDIATE_LIFE, LEAF_LIFE = 3_650 * DAY, 30 * DAY, 2 * DAY
ANYWHERE = (x509.IPAddress(ip_network("0.0.0.0/0")), x509.IPAddress(ip_network("::/0")))


@dataclass(frozen=True, slots=True)
class Intermediate:
    """An intermediate with its key. hosts: what it may speak for, as its name constraints say; until: Unix seconds."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey
    hosts: tuple[str, ...]
    until: float


def new_root(tenant: str, now: int, life: int = ROOT_LIFE) -> Authority:
    """A firm's root of inspection. Its key belongs into a safe."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = ca.full_name(tenant, "Feiyu inspection root")
    builder = ca.unsigned(name, name, key.public_key(), now, life)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=1), critical=True)
    builder = builder.add_extension(ca.key_usage("key_cert_sign", "crl_sign"), critical=True)
    return Authority(ca.signed_by(builder, key, key), key)


def new_intermediate(root: Authority, hosts: Iterable[str], now: int, life: int = INTERMEDIATE_LIFE) -> Authority:
    """An intermediate for these hosts: names, "*.name" for all below it, or addresses and prefixes. A name constraint
    covers what is below a name too (clause 4.2.1.10)."""
    permitted: list[x509.GeneralName] = []
    for host in dict.fromkeys(hosts):
        try:
            permitted.append(x509.IPAddress(ip_network(host)))
        except ValueError:
            permitted.append(x509.DNSName(host.removeprefix("*.")))
    if not permitted:
        raise CaError("no grant of this firm has anything inspected: there is no host to speak for")
    families = {one.value.version for one in permitted if isinstance(one, x509.IPAddress)}
    excluded = [one for one in ANYWHERE if one.value.version not in families]  # else addresses would be left open
    if not any(isinstance(one, x509.DNSName) for one in permitted):
        permitted.append(x509.DNSName("invalid"))  # RFC 6761 clause 6.4: else all names would be left open
    key = ec.generate_private_key(ec.SECP256R1())
    digest = x509.SubjectKeyIdentifier.from_public_key(key.public_key()).digest
    name = ca.full_name(root.zone, f"Feiyu inspection {ca.stamp(now)} {digest[:4].hex()}")
    builder = ca.unsigned(root.certificate.subject, name, key.public_key(), now, ca.within(root, now, life))
    builder = (
        builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(ca.key_usage("key_cert_sign", "crl_sign"), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(
            x509.NameConstraints(permitted_subtrees=permitted, excluded_subtrees=excluded or None), critical=True
        )
    )
    return Authority(ca.signed_by(builder, root.key, root.key), key)


def load_intermediate(pem: bytes) -> Intermediate:
    """From a file with the certificate and its key in PEM."""
    authority = ca.load(pem, pem)
    try:
        found = authority.certificate.extensions.get_extension_for_class(x509.NameConstraints).value
    except x509.ExtensionNotFound:
        raise CaError("the intermediate may speak for anybody: it needs name constraints") from None
    hosts = tuple(str(one.value) for one in found.permitted_subtrees or ())
    return Intermediate(
        authority.certificate, authority.key, hosts, authority.certificate.not_valid_after_utc.timestamp()
    )


def may_speak_for(hosts: Iterable[str], host: str) -> bool:
    """Whether a host lies within the constraints of an intermediate."""
    try:
        address = ip_address(host)
    except ValueError:
        return any(host == name or host.endswith("." + name) for name in hosts if "/" not in name)
    return any(address in ip_network(prefix) for prefix in hosts if "/" in prefix)


def issue_leaf(intermediate: Intermediate, key: ec.EllipticCurvePublicKey, host: str, now: int) -> x509.Certificate:
    """A certificate for one host (serverAuth only)."""
    if not may_speak_for(intermediate.hosts, host):
        raise CaError(f"the firm's intermediate for inspection does not speak for {host}: feiyu inspection renew")
    issuer = Authority(intermediate.certificate, intermediate.key)
    name: x509.GeneralName
    try:
        name = x509.IPAddress(ip_address(host))
    except ValueError:
        name = x509.DNSName(host)
    return ca.issue_under(issuer, key, "Feiyu inspection", now, LEAF_LIFE, [name], ExtendedKeyUsageOID.SERVER_AUTH)


def bundle(authority: Authority) -> bytes:
    """Certificate and key in one PEM file."""
    return ca.pem(authority.certificate) + authority.key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )

"""The zone's CA: what a certificate may say, how long it lives, what a request must be, what a revocation list says."""

from collections.abc import Callable

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from tenants import ca
from tenants.ca import CaError, Revoked

NOW = 1_800_000_000
ZONE = "zone.example"
ROOT = ca.new_root(ZONE, NOW)
ISSUING = ca.new_issuing(ROOT, NOW)
KEY = ec.generate_private_key(ec.SECP256R1())
PEM = serialization.Encoding.PEM


def ends(certificate: x509.Certificate) -> int:
    return int(certificate.not_valid_after_utc.timestamp())


def test_each_certificate_is_signed_by_the_one_above_and_may_do_what_it_is_for() -> None:
    client = ca.issue_client(ISSUING, KEY.public_key(), "acme", "c-0123456789", NOW)
    server = ca.issue_server(ISSUING, KEY.public_key(), ["gw1.zone.example", "10.0.0.1"], NOW)
    for one, above, length in (
        (ROOT.certificate, ROOT, 1), (ISSUING.certificate, ROOT, 0), (client, ISSUING, None), (server, ISSUING, None),
    ):  # fmt: skip
        one.verify_directly_issued_by(above.certificate)
        constraints = one.extensions.get_extension_for_class(x509.BasicConstraints)
        assert constraints.critical
        assert (constraints.value.ca, constraints.value.path_length) == (length is not None, length)
        usage = one.extensions.get_extension_for_class(x509.KeyUsage).value
        assert (usage.key_cert_sign, usage.digital_signature) == (length is not None, length is None)
    for one, purpose in ((client, ExtendedKeyUsageOID.CLIENT_AUTH), (server, ExtendedKeyUsageOID.SERVER_AUTH)):
        assert list(one.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value) == [purpose]
    names = ISSUING.certificate.extensions.get_extension_for_class(x509.NameConstraints)
    assert names.critical
    assert [name.value for name in names.value.permitted_subtrees or ()] == [ZONE, ZONE]
    assert ca.identity(client) == ("acme", "c-0123456789")
    assert ca.identity(server) is None


def test_a_life_ends_with_the_issuers_at_the_latest_and_begins_for_slow_clocks() -> None:
    client = ca.issue_client(ISSUING, KEY.public_key(), "acme", "c-0123456789", NOW)
    assert ends(client) == NOW + 7 * ca.DAY
    assert int(client.not_valid_before_utc.timestamp()) == NOW - ca.SKEW
    late = ends(ISSUING.certificate) - 100
    assert ends(ca.issue_client(ISSUING, KEY.public_key(), "acme", "c-0123456789", late)) == late + 100
    with pytest.raises(CaError, match="feiyu ca rotate"):
        ca.issue_client(ISSUING, KEY.public_key(), "acme", "c-0123456789", late + 100)
    with pytest.raises(CaError, match="no time"):
        ca.issue_client(ISSUING, KEY.public_key(), "acme", "c-0123456789", NOW, -5)


def test_no_two_serial_numbers_are_alike() -> None:
    made = [ca.issue_client(ISSUING, KEY.public_key(), "acme", "c-0123456789", NOW).serial_number for _ in range(50)]
    assert len(set(made)) == 50
    assert min(made).bit_length() > 120


@pytest.mark.parametrize("name", ["", "a.other.example", "zone.example.evil", "xzone.example"])
def test_no_server_is_named_outside_of_the_zone(name: str) -> None:
    with pytest.raises(CaError, match=r"is not in zone\.example"):
        ca.issue_server(ISSUING, KEY.public_key(), [name], NOW)


@pytest.mark.parametrize(
    ("tenant", "credential"),
    [("acme/credential/c-x", "c-0123456789"), ("acme", "c-01234567890"), ("", "c-0123456789"), ("acme", "../c")],
)
def test_no_id_reaches_into_the_rest_of_the_name(tenant: str, credential: str) -> None:
    with pytest.raises(CaError, match="no ids"):
        ca.issue_client(ISSUING, KEY.public_key(), tenant, credential, NOW)


def request(key: ec.EllipticCurvePrivateKey = KEY) -> bytes:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "whoever I say I am")])
    builder = x509.CertificateSigningRequestBuilder().subject_name(name)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    return builder.sign(key, hashes.SHA256()).public_bytes(PEM)


def public(key: ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | rsa.RSAPrivateKey) -> bytes:
    return key.public_key().public_bytes(PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


def test_of_a_request_only_the_key_is_used() -> None:
    for data in (request(), public(KEY)):
        made = ca.issue_client(ISSUING, ca.request_key(data), "acme", "c-0123456789", NOW)
        assert made.public_key() == KEY.public_key()
        assert "whoever" not in made.subject.rfc4514_string()
        assert not made.extensions.get_extension_for_class(x509.BasicConstraints).value.ca


def forged() -> bytes:
    """A request whose key is another than the one that signed it."""
    other = ec.generate_private_key(ec.SECP256R1())
    there, here = (
        k.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
        for k in (KEY, other)
    )
    der = x509.load_pem_x509_csr(request()).public_bytes(serialization.Encoding.DER).replace(there, here)
    return x509.load_der_x509_csr(der).public_bytes(PEM)


BAD: dict[str, tuple[Callable[[], bytes], str]] = {
    "nothing": (lambda: b"", "no certificate request"),
    "no PEM": (lambda: b"hello", "no certificate request"),
    "PEM of nothing": (
        lambda: b"-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----\n",
        "no certificate request",
    ),
    "a private key": (lambda: ca.key_pem(KEY), "no certificate request"),
    "a request for a key that its sender does not hold": (forged, "signature does not hold"),
    "RSA": (lambda: public(rsa.generate_private_key(65537, 2048)), "not ECDSA"),
    "Ed25519": (lambda: public(ed25519.Ed25519PrivateKey.generate()), "not ECDSA"),
    "another curve": (lambda: public(ec.generate_private_key(ec.SECP521R1())), "P-256 or P-384"),
    "too much": (lambda: request() + b"\n" * 20_000, "more than 16384 bytes"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_a_request_is_refused_in_words(case: str) -> None:
    make, why = BAD[case]
    with pytest.raises(CaError, match=why):
        ca.request_key(make())


def test_a_revocation_list_names_serials_and_its_own_number_and_term() -> None:
    found = x509.load_pem_x509_crl(ca.crl(ISSUING, [Revoked(77, NOW - 5), Revoked(5, NOW - 9)], 412, NOW))
    assert [(one.serial_number, int(one.revocation_date_utc.timestamp())) for one in found] == [
        (5, NOW - 9), (77, NOW - 5),
    ]  # fmt: skip
    assert found.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number == 412
    assert found.next_update_utc is not None
    assert int(found.next_update_utc.timestamp()) == NOW + ca.CRL_LIFE
    key = ISSUING.certificate.public_key()
    assert isinstance(key, ec.EllipticCurvePublicKey)
    assert found.is_signature_valid(key)


def several(*uris: str) -> x509.Certificate:
    good = ca.issue_client(ISSUING, KEY.public_key(), "acme", "c-0123456789", NOW)
    builder = x509.CertificateBuilder(
        good.issuer, good.subject, KEY.public_key(), 1, good.not_valid_before_utc, good.not_valid_after_utc,
        [x509.Extension(
            x509.SubjectAlternativeName.oid, critical=False,
            value=x509.SubjectAlternativeName([x509.UniformResourceIdentifier(uri) for uri in uris]),
        )],
    )  # fmt: skip
    return builder.sign(ISSUING.key, hashes.SHA256())


@pytest.mark.parametrize(
    "uris",
    [
        ("spiffe://zone.example/tenant/acme/credential/c-0123456789", "spiffe://zone.example/tenant/b/credential/c-0123456789"),
        ("https://zone.example/tenant/acme/credential/c-0123456789",),
        ("spiffe://zone.example/tenant/acme/credential/c-0123456789/more",),
        ("spiffe://zone.example/tenant/acme/credential/c-0123456789\n",),
    ],
)  # fmt: skip
def test_a_certificate_that_names_several_or_in_another_form_names_nobody(uris: tuple[str, ...]) -> None:
    assert ca.identity(several(*uris)) is None


def test_a_ca_is_loaded_only_with_its_own_key() -> None:
    found = ca.load(ca.pem(ISSUING.certificate, ROOT.certificate), ca.key_pem(ISSUING.key))
    assert found.certificate == ISSUING.certificate
    assert found.zone == ZONE
    with pytest.raises(CaError, match="do not belong together"):
        ca.load(ca.pem(ISSUING.certificate), ca.key_pem(ROOT.key))
    with pytest.raises(CaError, match="not PEM"):
        ca.load(b"", ca.key_pem(ROOT.key))

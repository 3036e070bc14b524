"""Whether a hello may go out: the permitted name and a grant's terms, each refusal with its reason and alert."""
# ruff: noqa: E501 (tables have one case per line)

import pytest

from gateway.handshake.hello_memo import LATER, HelloFacts
from gateway.handshake.hello_terms import hello_fault
from whitelist.reason import Reason
from whitelist.target import Target
from whitelist.tls_terms import PROTOCOLS, Application, Ech, Nameless, TlsTerms, fits

ALLOW, REFUSE = Nameless.ALLOW, Nameless.REFUSE
NAME, ADDRESS = Target("api.example.com", 443, is_ip=False), Target("203.0.113.7", 443, is_ip=True)
ADDRESS6 = Target("2001:db8::7", 443, is_ip=True)
DIALLED = "203.0.113.9"
MISMATCH = (Reason.NAME_MISMATCH, 112)


def said(sni: str | None = "api.example.com", *offered: str, ech: bool = False, ip: bool = False) -> HelloFacts:
    return HelloFacts(sni, ip, ",".join(offered), offered, ech, "t13d")


def terms(**changes: object) -> TlsTerms:
    return TlsTerms(**changes)  # type: ignore[arg-type]  # the tables below name its fields


GOES_OUT = {
    "the name": (said(), NAME, None),
    "the name, every term at its strictest": (said(), NAME, terms(no_sni=REFUSE, ip_sni=REFUSE, ech=Ech.REFUSE, application=Application.WEB)),
    "the name with ECH beside it": (said(ech=True), NAME, None),
    "no name for an address": (said(None), ADDRESS, None),
    "the very address for an address": (said("203.0.113.7", ip=True), ADDRESS, None),
    "the very address for an IPv6 address": (said("2001:db8::7", ip=True), ADDRESS6, None),
    "no name for a name, allowed": (said(None), NAME, terms(no_sni=ALLOW)),
    "the dialled address for a name, allowed": (said(DIALLED, ip=True), NAME, terms(ip_sni=ALLOW)),
    "no name for an address, addresses for names being refused": (said(None), ADDRESS, terms(ip_sni=REFUSE)),
    "what a browser offers, for the web": (said("api.example.com", "h2", "http/1.1"), NAME, terms(application=Application.WEB)),
    "nothing offered, for the web": (said(), NAME, terms(application=Application.WEB)),
    "DNS over TLS, for DNS": (said("api.example.com", "dot"), NAME, terms(application=Application.DNS)),
    "anything, for any": (said("api.example.com", "ssh/2.0", "h3", "x" * 255), NAME, None),
}  # fmt: skip


@pytest.mark.parametrize(("facts", "target", "agreed"), GOES_OUT.values(), ids=GOES_OUT)
def test_goes_out(facts: HelloFacts, target: Target, agreed: TlsTerms | None) -> None:
    assert hello_fault(facts, target, DIALLED, agreed) is None


NO_WEB = (Reason.PROTOCOL_NOT_ALLOWED, 120)
IS_REFUSED = {
    "another name": (said("evil.example.com"), NAME, None, MISMATCH),
    "a name below": (said("a.api.example.com"), NAME, None, MISMATCH),
    "a name above": (said("example.com"), NAME, None, MISMATCH),
    "another name, whatever is allowed": (said("evil.example.com"), NAME, terms(no_sni=ALLOW, ip_sni=ALLOW), MISMATCH),
    "no name": (said(None), NAME, None, MISMATCH),
    "no name, addresses being allowed": (said(None), NAME, terms(ip_sni=ALLOW), MISMATCH),
    "no name, refused outright": (said(None), NAME, terms(no_sni=REFUSE), MISMATCH),
    "no name for an address, refused outright": (said(None), ADDRESS, terms(no_sni=REFUSE), MISMATCH),
    "the dialled address for a name": (said(DIALLED, ip=True), NAME, None, MISMATCH),
    "the dialled address for a name, no name being allowed": (said(DIALLED, ip=True), NAME, terms(no_sni=ALLOW), MISMATCH),
    "another address for a name, addresses being allowed": (said("203.0.113.8", ip=True), NAME, terms(ip_sni=ALLOW), MISMATCH),
    "the dialled address as a number": (said("3405803785", ip=True), NAME, terms(ip_sni=ALLOW), MISMATCH),
    "the very address for an address, refused outright": (said("203.0.113.7", ip=True), ADDRESS, terms(ip_sni=REFUSE), MISMATCH),
    "another address for an address": (said("203.0.113.8", ip=True), ADDRESS, None, MISMATCH),
    "a name for an address": (said("api.example.com"), ADDRESS, None, MISMATCH),
    "a name for an address, whatever is allowed": (said("api.example.com"), ADDRESS, terms(no_sni=ALLOW, ip_sni=ALLOW), MISMATCH),
    "ECH, refused": (said(ech=True), NAME, terms(ech=Ech.REFUSE), (Reason.ECH_NOT_ALLOWED, 49)),
    "ECH without a name, only ECH being refused": (said(None, ech=True), NAME, terms(ech=Ech.REFUSE, no_sni=ALLOW), (Reason.ECH_NOT_ALLOWED, 49)),
    "ECH and another name: the name is said first": (said("evil.example.com", ech=True), NAME, terms(ech=Ech.REFUSE), MISMATCH),
    "SSH's name among a browser's": (said("api.example.com", "h2", "ssh/2.0"), NAME, terms(application=Application.WEB), NO_WEB),
    "DNS over TLS, for the web": (said("api.example.com", "dot"), NAME, terms(application=Application.WEB), NO_WEB),
    "QUIC's HTTP/3, for the web": (said("api.example.com", "h3"), NAME, terms(application=Application.WEB), NO_WEB),
    "cleartext HTTP/2, for the web": (said("api.example.com", "h2c"), NAME, terms(application=Application.WEB), NO_WEB),
    "HTTP/2 in capitals, which is another name": (said("api.example.com", "H2"), NAME, terms(application=Application.WEB), NO_WEB),
    "two names in one": (said("api.example.com", "h2\\x2chttp/1.1"), NAME, terms(application=Application.WEB), NO_WEB),
    "a protocol to be chosen later, unseen": (said("api.example.com", "h2", LATER), NAME, terms(application=Application.WEB), NO_WEB),
    "a browser's, for mail": (said("api.example.com", "h2"), NAME, terms(application=Application.MAIL), NO_WEB),
    "ACME's challenge, for the web": (said("api.example.com", "acme-tls/1"), NAME, terms(application=Application.WEB), NO_WEB),
}  # fmt: skip


@pytest.mark.parametrize(("facts", "target", "agreed", "expected"), IS_REFUSED.values(), ids=IS_REFUSED)
def test_is_refused(facts: HelloFacts, target: Target, agreed: TlsTerms | None, expected: tuple[Reason, int]) -> None:
    fault = hello_fault(facts, target, DIALLED, agreed)
    assert fault is not None
    assert (fault.reason, fault.alert) == expected
    for octets in (facts.sni, *facts.offered):
        assert octets is None or octets not in fault.detail, "a detail carries no bytes of the client"


@pytest.mark.parametrize("application", Application)
def test_each_application_speaks_its_own_and_no_other_protocol(application: Application) -> None:
    for other, names in PROTOCOLS.items():
        for name in names:
            assert fits(application, (name,)) is (application in (other, Application.ANY))
    assert fits(application, ())


def test_the_table_has_every_application_and_no_protocol_twice() -> None:
    assert set(PROTOCOLS) == set(Application) - {Application.ANY}
    listed = [name for names in PROTOCOLS.values() for name in names]
    assert len(listed) == len(set(listed))

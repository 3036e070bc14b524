"""Whether a ClientHello may go out under a permit: its name is the permitted host's, and a grant's terms hold."""

from typing import NamedTuple

from gateway.handshake.hello_memo import HelloFacts
from gateway.handshake.tls_alert import ACCESS_DENIED, NO_APPLICATION_PROTOCOL, UNRECOGNIZED_NAME
from whitelist.reason import Reason
from whitelist.target import Target
from whitelist.tls_terms import USUAL, Ech, Nameless, TlsTerms, fits


class HelloFault(NamedTuple):
    """Why not: a reason, a detail without any octet of the client's, and the TLS alert for the client."""

    reason: Reason
    detail: str
    alert: int


_NO_NAME = HelloFault(Reason.NAME_MISMATCH, "no server name in the ClientHello", UNRECOGNIZED_NAME)
_OTHER_NAME = HelloFault(Reason.NAME_MISMATCH, "another server name in the ClientHello", UNRECOGNIZED_NAME)
_ADDRESS = HelloFault(Reason.NAME_MISMATCH, "an address instead of a server name in the ClientHello", UNRECOGNIZED_NAME)
_OTHER_ADDRESS = HelloFault(
    Reason.NAME_MISMATCH, "another address than the one dialled as server name", UNRECOGNIZED_NAME
)
_ECH = HelloFault(Reason.ECH_NOT_ALLOWED, "an encrypted ClientHello, or what looks like one (GREASE)", ACCESS_DENIED)
_APPLICATION = HelloFault(
    Reason.PROTOCOL_NOT_ALLOWED, "a protocol is offered (ALPN) that the grant's application does not speak",
    NO_APPLICATION_PROTOCOL,
)  # fmt: skip


def hello_fault(facts: HelloFacts, target: Target, address: str, terms: TlsTerms | None) -> HelloFault | None:
    """None for a hello that may go out. target: the permitted one; address: the one dialled, as canonical text; terms:
    the grant's, None for the usual. Name first, then ECH, then what is offered."""
    terms = terms or USUAL
    fault = _name_fault(facts, target, address, terms)
    if fault is not None:
        return fault
    if facts.ech and terms.ech is Ech.REFUSE:
        return _ECH
    return None if fits(terms.application, facts.offered) else _APPLICATION


def _name_fault(facts: HelloFacts, target: Target, address: str, terms: TlsTerms) -> HelloFault | None:
    if facts.sni is None:
        return None if _passes(terms.no_sni, target) else _NO_NAME
    if not facts.sni_is_ip:
        return None if facts.sni == target.host else _OTHER_NAME
    if not _passes(terms.ip_sni, target):
        return _ADDRESS
    return None if facts.sni == (target.host if target.is_ip else address) else _OTHER_ADDRESS


def _passes(rule: Nameless, target: Target) -> bool:
    return rule is Nameless.ALLOW or (rule is Nameless.USUAL and target.is_ip)

"""DNS messages, pure: a question to bytes, bytes to the addresses it was answered with (RFC 1035, 3596, 2308)."""

from dataclasses import dataclass

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdataclass
import dns.rdatatype

MIN_TTL = 5  # seconds; what is dialled is what was checked, so a short life protects nothing
MAX_TTL = 3600
MAX_NEGATIVE_TTL = 60
MAX_ADDRESSES = 16


class BadAnswer(Exception):  # noqa: N818 - named for what happened
    """The message is not an answer to the question; it is dropped and the question stays open."""


@dataclass(frozen=True, slots=True)
class Question:
    """A question on the wire. family: 4 or 6; ident is the 16-bit id the answer must carry."""

    host: str
    family: int
    ident: int
    wire: bytes


@dataclass(frozen=True, slots=True)
class Answer:
    """addresses: textual, in the order given, none when the name has none; ttl: seconds, bounded; failed: the server
    could not say (rcode), so another one may be asked; truncated: ask again over TCP."""

    addresses: tuple[str, ...]
    ttl: int
    failed: str = ""
    truncated: bool = False


def ask(host: str, family: int, pad: int = 0) -> Question:
    """The question for the A (family 4) or AAAA (6) records of a canonical host, under an id from the system's random
    source. pad: its length is filled up to a multiple of so many bytes (RFC 7830)."""
    kind = dns.rdatatype.A if family == 4 else dns.rdatatype.AAAA
    message = dns.message.make_query(dns.name.from_text(host), kind, use_edns=0, payload=1232, pad=pad)
    return Question(host, family, message.id, message.to_wire())


def read(question: Question, wire: bytes) -> Answer:
    """Reads the answer to this question and no other. Raises BadAnswer for anything else."""
    try:
        message = dns.message.from_wire(wire, ignore_trailing=False)
    except (dns.exception.DNSException, ValueError, IndexError) as error:
        raise BadAnswer(type(error).__name__) from error
    kind = dns.rdatatype.A if question.family == 4 else dns.rdatatype.AAAA
    asked = message.question
    if (
        message.id != question.ident
        or not message.flags & dns.flags.QR
        or not isinstance(message, dns.message.QueryMessage)
        or len(asked) != 1
        or asked[0].rdtype != kind
        or asked[0].rdclass != dns.rdataclass.IN
        or asked[0].name != dns.name.from_text(question.host)
    ):
        raise BadAnswer("answers another question")
    if message.flags & dns.flags.TC:
        return Answer((), 0, truncated=True)
    rcode = message.rcode()
    if rcode not in (dns.rcode.NOERROR, dns.rcode.NXDOMAIN):
        return Answer((), 0, failed=dns.rcode.to_text(rcode))
    try:
        chain = message.resolve_chaining()
    except dns.exception.DNSException as error:  # aliases in a circle, or records in an answer that says there are none
        return Answer((), 0, failed=type(error).__name__)
    if chain.answer is None:
        if any(records.rdtype == kind for records in message.answer):
            return Answer((), 0, failed="addresses of another name")
        told = any(
            records.rdtype == dns.rdatatype.SOA for records in message.authority
        )  # RFC 2308 5: else not for long
        return Answer((), max(MIN_TTL, min(chain.minimum_ttl, MAX_NEGATIVE_TTL)) if told else MIN_TTL)
    addresses = tuple(rdata.to_text() for rdata in list(chain.answer)[:MAX_ADDRESSES])
    return Answer(addresses, max(MIN_TTL, min(chain.minimum_ttl, MAX_TTL)))

"""What fuzzing starts from: all inputs in the parsers' own test tables, and DNS answers of each kind. python -m
tests.fuzz.seeds adds them to the corpus."""

from collections.abc import Iterator
from types import ModuleType
from typing import Any

import dns.flags
import dns.message
import dns.rcode
import dns.rrset

from tests.fuzz import corpus
from tests.gateway import test_client_hello as hellos
from tests.gateway import test_connect as connects
from tests.gateway import test_http1 as heads
from tests.gateway import test_proxy_protocol as headers
from tests.gateway import test_second_hello as seconds
from tests.gateway import test_smuggling as smuggled
from tests.gateway import test_socks5 as socks
from tests.gateway import test_transparent as called
from tests.whitelist import test_target as targets

MAX = 1_500  # bytes


def bytes_in(thing: Any) -> Iterator[bytes]:
    """All byte strings in nested dicts, lists and tuples."""
    if isinstance(thing, bytes):
        yield thing
    elif isinstance(thing, dict):
        for value in thing.values():
            yield from bytes_in(value)
    elif isinstance(thing, list | tuple):
        for value in thing:
            yield from bytes_in(value)


def tables(*modules: ModuleType) -> list[bytes]:
    """The byte strings in the capital names of test modules."""
    found = (bytes_in(value) for module in modules for name, value in vars(module).items() if name.isupper())
    return [data for each in found for data in each if len(data) <= MAX]


def socks_talks() -> list[bytes]:
    """Whole conversations, since most tables hold a part only."""
    asked = [socks.request(host, kind=kind) for host, kind in ((b"a.example", 3), (bytes(4), 1), (bytes(16), 4))]
    asked += [socks.request(b"127.0.0.1"), socks.request(b"::1"), socks.request(b"a.example", command=3)]
    return [socks.OFFER + login + request for request in asked for login in (b"", socks.LOGIN)]


def answers() -> list[bytes]:
    """Messages under the id and the name that the target asks for."""
    name, found = "www.a.example.", []
    for kind, address in (("A", "203.0.113.1"), ("AAAA", "2001:db8::1")):
        query = dns.message.make_query(name, kind, use_edns=0)
        query.id = 0x1234
        answer = dns.message.make_response(query)
        found.append(answer.to_wire())
        answer.authority.append(
            dns.rrset.from_text("a.example.", 60, "IN", "SOA", "ns.a.example. h.a.example. 1 2 3 4 5")
        )
        found.append(answer.to_wire())
        answer.answer.append(dns.rrset.from_text(name, 60, "IN", "CNAME", "b.example."))
        found.append(answer.to_wire())
        answer.answer.append(dns.rrset.from_text("b.example.", 60, "IN", "CNAME", "c.example."))
        answer.answer.append(dns.rrset.from_text("c.example.", 60, "IN", kind, address))
        found.append(answer.to_wire())
        direct = dns.message.make_response(query)
        direct.answer.append(dns.rrset.from_text(name, 60, "IN", kind, address))
        found.append(direct.to_wire())
        direct.flags |= dns.flags.TC
        found.append(direct.to_wire())
        direct.set_rcode(dns.rcode.SERVFAIL)
        found += [direct.to_wire(), query.to_wire()]
    return found


def seeds() -> dict[str, list[bytes]]:
    """By target."""
    return {
        "http1": tables(heads, connects, smuggled, called),
        "client_hello": tables(hellos),
        "second_hello": tables(seconds),
        "target": tables(targets),
        "socks5": tables(socks) + socks_talks(),
        "proxy_protocol": tables(headers),
        "dns_answer": answers(),
    }


if __name__ == "__main__":
    for target, found in seeds().items():
        corpus.save(target, [*corpus.load(target), *found])

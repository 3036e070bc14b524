"""A grant's terms for TLS in real tunnels."""

import ssl
from collections.abc import Callable
from typing import Any

import pytest

from tests.gateway.kit import Ground, Site, Talk, client_hello, in_records, with_ech
from tests.gateway.node import Node, grant, service
from whitelist.model import Endpoint, Protocol

pytestmark = pytest.mark.root

NAME, PREFIX = Endpoint(target="*.tls.example"), Endpoint(target="203.0.113.0/24")
BOTH = service("tls", endpoints=(NAME, PREFIX))


def offering(*protocols: str) -> Callable[[str], bytes]:
    """A real client's hello that offers these protocols."""

    def said(name: str) -> bytes:
        context = ssl.create_default_context()
        context.set_alpn_protocols(list(protocols))
        out = ssl.MemoryBIO()
        tls = context.wrap_bio(ssl.MemoryBIO(), out, server_hostname=name)
        with pytest.raises(ssl.SSLWantReadError):
            tls.do_handshake()
        return out.read()

    return said


def nameless(_: str) -> bytes:
    return client_hello(None)


def with_address(address: str) -> Callable[[str], bytes]:
    """A hello with an address for a name, which real libraries do not send: a name of the same length is replaced."""

    def said(_: str) -> bytes:
        stand_in = "a" * (len(address) - 2) + ".b"
        return client_hello(stand_in).replace(stand_in.encode(), address.encode())

    return said


def spoken(
    node: Node, ground: Ground, said: Callable[[str], bytes], by: str = "name"
) -> tuple[Talk, Talk, Site, bytes]:
    """A tunnel to a service by its name or its address, and what the client says in it."""
    site = ground.site("tls")
    asked = site.authority if by == "name" else f"{site.address}:{site.port}"
    talk = node.tunnel(node.workers["w0.1"], asked)
    there = site.accept()
    hello = said(site.host)
    talk.say(hello)
    return talk, there, site, hello


PASSES: dict[str, tuple[dict[str, Any], Callable[[str], bytes], str]] = {
    "no name where none is asked for": ({"no_sni": "allow"}, nameless, "name"),
    "no name for an address, as ever": ({}, nameless, "address"),
    "ECH, which is noted": ({}, lambda host: with_ech(client_hello(host)), "name"),
    "no ECH where it is refused": ({"ech": "refuse"}, client_hello, "name"),
    "a browser's protocols for the web": ({"application": "web"}, offering("h2", "http/1.1"), "name"),
    "no protocols for the web": ({"application": "web"}, client_hello, "name"),
    "DNS over TLS for DNS": ({"application": "dns"}, offering("dot"), "name"),
    "anything for any": ({}, offering("ssh/2.0", "x"), "name"),
}


@pytest.mark.parametrize("case", PASSES)
def test_passes(case: str, own: Node, ground: Ground) -> None:
    terms, said, by = PASSES[case]
    own.put(grants=grant("acme", "tls", **terms), services=BOTH)
    talk, there, _, hello = spoken(own, ground, said, by)
    assert there.exactly(len(hello)) == hello
    talk.close()
    there.close()
    record = own.final(talk)
    assert (record["kind"], record["bytes_out"]) == ("close", len(hello))
    assert record.get("ech", False) is ("noted" in case)


ALERTS = {"name-mismatch": 112, "ech-not-allowed": 49, "protocol-not-allowed": 120}
REFUSED: dict[str, tuple[dict[str, Any], Callable[[str], bytes], str, str]] = {
    "no name for an address where one is demanded": ({"no_sni": "refuse"}, nameless, "address", "name-mismatch"),
    "a name for an address": ({}, client_hello, "address", "name-mismatch"),
    "an address for a name": ({}, with_address("203.0.113.200"), "name", "name-mismatch"),
    "another address than the one dialled": (
        {"ip_sni": "allow"}, with_address("198.51.100.77"), "name", "name-mismatch",
    ),
    "no name where only an address is asked for": ({"ip_sni": "allow"}, nameless, "name", "name-mismatch"),
    "ECH": ({"ech": "refuse"}, lambda host: with_ech(client_hello(host)), "name", "ech-not-allowed"),
    "ECH in records of seven octets": (
        {"ech": "refuse"}, lambda host: in_records(with_ech(client_hello(host)), 7), "name", "ech-not-allowed",
    ),
    "DNS over TLS for the web": ({"application": "web"}, offering("dot"), "name", "protocol-not-allowed"),
    "one protocol too many for the web": (
        {"application": "web"}, offering("h2", "http/1.1", "xmpp-client"), "name", "protocol-not-allowed",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_is_refused(case: str, own: Node, ground: Ground) -> None:
    terms, said, by, reason = REFUSED[case]
    own.put(grants=grant("acme", "tls", **terms), services=BOTH)
    talk, there, _, _ = spoken(own, ground, said, by)
    assert talk.rest() == bytes((21, 3, 3, 0, 2, 2, ALERTS[reason]))
    assert there.was_reset()
    assert not there.ahead, "no byte of it may reach the service"
    record = own.final(talk)
    assert (record["kind"], record["reason"], record["cause"]) == ("close", reason, "refused")
    assert record["ja4"].startswith("t13")


def test_the_dialled_address_may_stand_for_a_name_where_the_grant_says_so(own: Node, ground: Ground) -> None:
    own.put(grants=grant("acme", "tls", ip_sni="allow"))
    site = ground.site("tls")
    talk = own.tunnel(own.workers["w0.1"], site.authority)
    there, hello = site.accept(), with_address(site.address)(site.host)
    talk.say(hello)
    assert there.exactly(len(hello)) == hello
    talk.close()
    there.close()
    record = own.final(talk)
    assert (record["sni"], record["address"], record["host"]) == (site.address, site.address, site.host)


CUTTING: dict[str, dict[str, Any]] = {
    "ECH is refused from now on": {"grants": grant("acme", "tls", ech="refuse")},
    "the application is another from now on": {"grants": grant("acme", "tls", application="mail")},
}


@pytest.mark.parametrize("case", CUTTING)
def test_a_tunnel_is_cut_that_could_not_begin_any_more(case: str, own: Node, ground: Ground) -> None:
    talk, there, _, hello = spoken(own, ground, lambda host: with_ech(offering("h2")(host)))
    there.exactly(len(hello))
    plain, there2, _, hello2 = spoken(own, ground, client_hello)
    there2.exactly(len(hello2))
    own.put(**CUTTING[case])
    assert talk.was_reset()
    assert own.final(talk)["cause"] == "cut-by-policy"
    plain.say(b"still here")
    assert there2.exactly(10) == b"still here"


def test_bytes_let_through_unread_end_when_the_service_is_to_speak_tls(own: Node, ground: Ground) -> None:
    site = ground.site("tcp")
    talk = own.tunnel(own.workers["w0.1"], site.authority)
    there = site.accept()
    talk.say(b"raw")
    assert there.exactly(3) == b"raw"
    tls = Endpoint(target="*.tcp.example", ports=(7000,), protocol=Protocol.TLS)
    own.put(services=service("tcp", endpoints=(tls,)))
    assert talk.was_reset()
    assert own.final(talk)["cause"] == "cut-by-policy"


def test_a_tunnel_that_waits_for_its_hello_is_held_to_the_terms_of_now(own: Node, ground: Ground) -> None:
    site = ground.site("tls")
    talk = own.tunnel(own.workers["w0.1"], site.authority)
    site.accept()
    own.put(grants=grant("acme", "tls", ech="refuse"))
    talk.say(with_ech(client_hello(site.host)))
    talk.rest()
    assert own.final(talk)["reason"] == "ech-not-allowed"

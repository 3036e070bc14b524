"""Listeners that demand the prefix alone: the place says which firm asks; a credential that is shown still counts."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gateway.identity import UnidentifiedError
from gateway.residence import Residents
from tenants.model import Place, Tenant, TenantState
from tests.gateway.kit import Ground, Talk
from tests.gateway.node import Node, authorization, credential, replace, tenant
from tests.gateway.test_balanced import one
from tests.gateway.test_socks5 import request
from tests.gateway.test_socks_session import NO_METHOD, reply
from tests.whitelist.policies import published
from tests.whitelist.policies import tenant as firm
from whitelist.reason import Reason
from whitelist.snapshot import Snapshot

PREFIX_ONLY = {"open": {"demands": ["prefix"]}, "open-socks": {"kind": "socks5", "demands": ["prefix"]}}


def at(*prefixes: str, interface: str = "acc0") -> tuple[Place, ...]:
    return tuple(Place(site="s", room="r", interface=interface, prefix=prefix) for prefix in prefixes)


FIRMS = [
    firm("firm-a", places=at("10.0.0.0/28", "fd00:1::/64")),
    firm("firm-b", places=at("10.0.0.16/28", "192.0.2.7/32")),
    firm("firm-c", places=at("10.0.0.0/28", interface="acc1")),
    firm("firm-d", places=at("172.16.0.0/16")),
    firm("firm-e", places=at("172.16.4.0/24")),
    firm("firm-f", places=at("192.0.2.0/25"), state=TenantState.REVOKED),
    firm("firm-g", places=at("198.18.0.0/24"), state=TenantState.SUSPENDED),
    firm("firm-h", places=at("0.0.0.0/0", interface="acc2")),
]


@pytest.fixture(scope="module")
def snapshot(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Snapshot]:
    directory: Path = tmp_path_factory.mktemp("snapshot")
    with published(directory, *FIRMS) as found:
        yield found


FOUND = {
    "the first address of a prefix": ("10.0.0.0", "acc0", {"firm-a"}),
    "the last address of a prefix": ("10.0.0.15", "acc0", {"firm-a"}),
    "the first behind it": ("10.0.0.16", "acc0", {"firm-b"}),
    "no prefix": ("10.0.0.32", "acc0", set()),
    "one address alone, inside what a revoked firm had": ("192.0.2.7", "acc0", {"firm-b"}),
    "what a revoked firm had": ("192.0.2.8", "acc0", set()),
    "a suspended firm's": ("198.18.0.1", "acc0", {"firm-g"}),
    "the same prefix behind another interface": ("10.0.0.2", "acc1", {"firm-c"}),
    "an interface that nobody is behind": ("10.0.0.2", "acc9", set()),
    "an interface that is not known": ("10.0.0.2", "", set()),
    "IPv6": ("fd00:1::ffff", "acc0", {"firm-a"}),
    "the next IPv6 prefix": ("fd00:1:0:1::", "acc0", set()),
    "two prefixes, one in the other": ("172.16.4.9", "acc0", {"firm-d", "firm-e"}),
    "everything": ("203.0.113.9", "acc2", {"firm-h"}),
}


@pytest.mark.parametrize("case", FOUND)
def test_whose_place_is(case: str, snapshot: Snapshot) -> None:
    ip, interface, firms = FOUND[case]
    assert snapshot.residents(ip, interface) == firms
    found = Residents()
    for _ in range(2):  # found, then remembered
        if len(firms) == 1:
            identity = found.at(snapshot, ip, interface)
            assert {identity.tenant.id} == firms
            assert identity.credential.id == ""
        else:
            with pytest.raises(UnidentifiedError) as caught:
                found.at(snapshot, ip, interface)
            assert caught.value.reason is Reason.IDENTITY_UNKNOWN
            assert ("more than one" in caught.value.detail) is (len(firms) > 1)


# ---- over real sockets


def connect(authority: str, fields: str = "") -> bytes:
    return f"CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n{fields}\r\n".encode()


def dial(node: Node, ground: Ground, listener: str, source: str = "acme") -> Talk:
    return ground.dial(node.workers["w0.1"].ports[listener], source)


@pytest.mark.root
@pytest.mark.parametrize("source", ["acme", "birch"])
def test_the_place_is_the_firm(source: str, ways: Node, ground: Ground) -> None:
    site = ground.site("tcp")
    http = dial(ways, ground, "open", source).say(connect(site.authority))
    assert http.head().startswith("HTTP/1.1 200 ")
    socks = dial(ways, ground, "open-socks", source).say(b"\x05\x02\x00\x02")
    assert socks.exactly(2) == b"\x05\x00"
    assert socks.say(request(site.host.encode(), site.port)).exactly(10) == reply(0)
    for talk in (http, socks):
        talk.close()
        site.accept().close()
        record = ways.final(talk)
        assert (record["tenant"], record["grant"]) == (source, f"g-{source}-tcp")
        assert "credential" not in record


@pytest.mark.root
def test_the_place_is_the_firm_of_every_plain_request(ways: Node, ground: Ground) -> None:
    site = ground.site("http")
    talk = dial(ways, ground, "open")
    there = None
    for path in ("/a", "/b"):
        talk.say(f"GET http://{site.host}{path} HTTP/1.1\r\nHost: {site.host}\r\n\r\n")
        there = there or site.accept()
        assert there.head().startswith(f"GET {path} HTTP/1.1\r\n")
        there.say("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        assert talk.head().startswith("HTTP/1.1 200 ")
    ways.final(talk, 2)
    assert [r["tenant"] for r in ways.of(talk) if r["kind"] == "close"] == ["acme", "acme"]


@pytest.mark.root
def test_a_stranger_is_asked_for_a_credential(ways: Node, ground: Ground) -> None:
    head = dial(ways, ground, "open", "stray").say(connect("n.tls.example:443")).head()
    assert head.startswith("HTTP/1.1 407 ")
    assert 'details="identity-unknown' in head
    talk = dial(ways, ground, "open-socks", "stray").say(b"\x05\x01\x00" + request(b"n.tls.example"))
    assert talk.rest() == b"\x05\x00" + reply(2)
    assert ways.final(talk)["reason"] == "identity-unknown"


CREDENTIALS = {
    "its own": (authorization("acme"), 200, ""),
    "a wrong token": (authorization("acme", 7), 407, "identity-unknown"),
    "another firm's": (authorization("birch"), 403, "source-not-allowed"),
}


@pytest.mark.root
@pytest.mark.parametrize("case", CREDENTIALS)
def test_a_credential_that_is_shown_counts(case: str, ways: Node, ground: Ground) -> None:
    shown, status, reason = CREDENTIALS[case]
    site = ground.site("tcp")
    talk = dial(ways, ground, "open").say(connect(site.authority, f"Proxy-Authorization: {shown}\r\n"))
    head = talk.head()
    assert head.startswith(f"HTTP/1.1 {status} ")
    if status == 200:
        talk.close()
        site.accept().close()
        assert ways.final(talk)["credential"] == "c-acme000000"
    else:
        assert f'details="{reason}' in head


@pytest.mark.root
def test_socks_without_a_login_takes_none(ways: Node, ground: Ground) -> None:
    talk = dial(ways, ground, "open-socks").say(b"\x05\x01\x02")
    assert talk.rest() == NO_METHOD


@pytest.mark.root
@pytest.mark.parametrize("source", ["acme", "birch"])
def test_behind_a_balancer_the_header_is_the_place(source: str, ways: Node, ground: Ground) -> None:
    address = {"acme": "10.0.0.2", "birch": "10.0.0.18"}[source]
    site = ground.site("tcp")
    talk = dial(ways, ground, "balanced-open", "stray")
    assert talk.say(one(address, talk.port) + connect(site.authority)).head().startswith("HTTP/1.1 200 ")
    talk.close()
    site.accept().close()
    assert ways.final(talk)["tenant"] == source


@pytest.mark.root
def test_a_place_that_is_given_up_ends_what_it_permitted(another: Callable[..., Node], ground: Ground) -> None:
    node = another(listeners=PREFIX_ONLY)
    node.worker()
    site = ground.site("tcp")

    def opened() -> Talk:
        return dial(node, ground, "open").say(connect(site.authority))

    live = opened()
    assert live.head().startswith("HTTP/1.1 200 ")
    node.put(credentials=credential("acme", revoked=1))  # no credential was shown: none can be revoked
    assert opened().head().startswith("HTTP/1.1 200 ")
    moved: Tenant = tenant("acme", 1)
    node.put(tenants=replace(moved, places=at("10.0.0.8/29")))
    assert live.was_reset()
    assert node.final(live)["cause"] == "cut-by-policy"
    assert opened().head().startswith("HTTP/1.1 407 ")
    node.put(tenants=moved)
    assert opened().head().startswith("HTTP/1.1 200 ")

"""SOCKS5 from the first byte to the last, over real sockets: logins, targets, TLS names, and what a refusal leaves."""

import os
import resource
from collections.abc import Callable
from typing import Any

import pytest

from tests.gateway.kit import Ground, Talk, client_hello, in_records, until
from tests.gateway.node import Node, credential, token
from tests.gateway.test_socks5 import request

pytestmark = pytest.mark.root

OFFER = b"\x05\x01\x02"


def login(firm: str = "acme", number: int = 0, password: str = "") -> bytes:
    name, word = f"c-{firm:0<9}{number}".encode(), (password or token(firm, number)).encode()
    return b"\x01" + bytes((len(name),)) + name + bytes((len(word),)) + word


def open_socks(node: Node, ground: Ground, firm: str = "acme") -> Talk:
    """Logged in, ready for the request."""
    talk = ground.dial(node.workers["w0.1"].ports["socks"], firm).say(OFFER)
    assert talk.exactly(2) == b"\x05\x02"
    assert talk.say(login(firm)).exactly(2) == b"\x01\x00"
    return talk


def reply(code: int) -> bytes:
    return bytes((5, code, 0, 1, 0, 0, 0, 0, 0, 0))


def refused(node: Node, talk: Talk, said: bytes, reason: str) -> dict[str, Any]:
    """What the client was told, until the end; and the one record of it, found by address and port."""
    assert talk.rest() == said
    record = node.final(talk)
    assert (record["kind"], record["reason"], record["listener"]) == ("deny", reason, "socks"), record
    assert record["ref"] == record["flow"]
    assert len(record["ref"]) == 16
    return record


def test_a_name_is_reached_and_recorded_as_it_is_for_connect(ways: Node, ground: Ground) -> None:
    site = ground.site("tls")
    talk = open_socks(ways, ground).say(request(site.host.upper().encode(), site.port))
    assert talk.exactly(10) == reply(0)
    hello = client_hello(site.host)
    there = site.accept()
    assert talk.say(hello).sock and there.exactly(len(hello)) == hello
    there.say(b"and back")
    assert talk.exactly(8) == b"and back"
    talk.close()
    there.close()
    record = ways.final(talk)
    expected = {
        "kind": "close", "listener": "socks", "method": "CONNECT", "host": site.host, "port": 443, "sni": site.host,
        "tenant": "acme", "credential": "c-acme000000", "service": "tls", "grant": "g-acme-tls", "line": "hk1",
        "address": site.address, "client_ip": "10.0.0.2", "interface": "acc0", "status": 200, "bytes_in": 8,
        "bytes_out": len(hello),
    }  # fmt: skip
    assert {key: record.get(key) for key in expected} == expected
    assert [r["kind"] for r in ways.of(talk)] == ["open", "close"]


ADDRESSES = {
    "an IPv4 address": lambda packed, text: (packed, 1),
    "an IPv4 address written as a name": lambda packed, text: (text.encode(), 3),
}


@pytest.mark.parametrize("case", ADDRESSES)
def test_a_granted_address_is_reached_as(case: str, ways: Node, ground: Ground) -> None:
    site = ground.site("tcp")
    address, kind = ADDRESSES[case](bytes(map(int, site.address.split("."))), site.address)
    talk = open_socks(ways, ground).say(request(address, 7000, kind=kind))
    assert talk.exactly(10) == reply(0)
    there = site.accept().say(b"hello")
    assert talk.exactly(5) == b"hello"
    talk.close()
    there.close()
    record = ways.final(talk)
    assert (record["host"], record["grant"]) == (site.address, "g-acme-literal")


@pytest.mark.parametrize("behind", [0, 1, 60_000])
def test_all_at_once_with_early_data_is_the_same(behind: int, ways: Node, ground: Ground) -> None:
    site = ground.site("tcp")
    early = b"early" * behind
    talk = ground.dial(ways.workers["w0.1"].ports["socks"])
    talk.say(OFFER + login() + request(site.host.encode(), site.port) + early).half_close()
    assert talk.exactly(14) == b"\x05\x02\x01\x00" + reply(0)
    assert site.accept().rest() == early


def test_byte_by_byte_is_the_same(ways: Node, ground: Ground) -> None:
    site = ground.site("tls")
    hello = client_hello(site.host)
    talk = ground.dial(ways.workers["w0.1"].ports["socks"])
    talk.trickle(OFFER + login() + request(site.host.encode()) + in_records(hello, 100)[:200])
    assert talk.exactly(14) == b"\x05\x02\x01\x00" + reply(0)
    talk.trickle(in_records(hello, 100)[200:])
    there = site.accept()
    assert there.exactly(len(in_records(hello, 100))) == in_records(hello, 100)


NO_METHOD, NO_LOGIN = b"\x05\xff", b"\x05\x02\x01\x01"
LOGINS = {
    "no login": (b"\x05\x01\x00", NO_METHOD, "identity-unknown"),
    "a wrong token": (OFFER + login(password="A" * 43), NO_LOGIN, "identity-unknown"),
    "a short token": (OFFER + login(password="A"), NO_LOGIN, "identity-unknown"),
    "another firm's token": (OFFER + login(password=token("birch")), NO_LOGIN, "identity-unknown"),
    "SOCKS 4": (b"\x04\x01\x01\xbb\x01\x02\x03\x04\x00", NO_METHOD, "malformed-request"),
    "HTTP": (b"CONNECT n.tls.example:443 HTTP/1.1\r\n\r\n", NO_METHOD, "malformed-request"),
    "a PROXY header": (b"PROXY TCP4 10.0.0.2 10.0.0.1 1 2\r\n" + OFFER, NO_METHOD, "malformed-request"),
    "a request without its login": (OFFER + request(b"n.tls.example"), NO_LOGIN, "malformed-request"),
}


@pytest.mark.parametrize("case", LOGINS)
def test_nobody_gets_in_with(case: str, ways: Node, ground: Ground) -> None:
    said, told, reason = LOGINS[case]
    talk = ground.dial(ways.workers["w0.1"].ports["socks"]).say(said)
    record = refused(ways, talk, told, reason)
    assert token("birch") not in str(record)


V6 = b"\x20\x01\x0d\xb8" + bytes(12)
REQUESTS: dict[str, tuple[bytes, int, str]] = {
    "a service that is not granted": (request(b"off.list.example"), 2, "not-whitelisted"),
    "another port of the service": (request(b"n.tls.example", 444), 2, "port-not-allowed"),
    "a tunnel to a plain HTTP service": (request(b"n.http.example", 80), 2, "protocol-not-allowed"),
    "loopback": (request(b"\x7f\0\0\1", kind=1), 2, "not-whitelisted"),
    "mapped loopback": (request(bytes(10) + b"\xff\xff\x7f\0\0\1", kind=4), 2, "not-whitelisted"),
    "the metadata service": (request(bytes((169, 254, 169, 254)), 80, kind=1), 2, "not-whitelisted"),
    "an IPv6 address": (request(V6, kind=4), 2, "not-whitelisted"),
    "loopback in short": (request(b"127.1"), 2, "name-invalid"),
    "an address with a zone": (request(b"fe80::1%eth0"), 2, "name-invalid"),
    "a NUL in the name": (request(b"n.tls.example\0.evil"), 1, "malformed-request"),
    "port zero": (request(b"n.tls.example", 0), 1, "malformed-request"),
    "BIND": (request(b"n.tls.example", command=2), 7, "method-not-allowed"),
    "UDP ASSOCIATE": (request(bytes(4), 0, command=3, kind=1), 7, "method-not-allowed"),
    "a command that there is not": (request(b"n.tls.example", command=9), 7, "method-not-allowed"),
    "an address type that there is not": (request(bytes(9), kind=2), 8, "malformed-request"),
    "a granted name that does not exist": (request(b"nowhere.tls.example"), 4, "resolve-failed"),
    "a line of HTTP": (b"GET / HTTP/1.1\r\n\r\n", 1, "malformed-request"),
}


@pytest.mark.parametrize("case", REQUESTS)
def test_a_request_is_refused_for(case: str, ways: Node, ground: Ground) -> None:
    said, code, reason = REQUESTS[case]
    talk = open_socks(ways, ground).say(said + b"\x16\x03\x01 what stands behind it is never looked at")
    record = refused(ways, talk, reply(code), reason)
    assert (record["tenant"], record["credential"]) == ("acme", "c-acme000000")


def test_a_service_that_does_not_accept_is_refused_as_such(ways: Node, ground: Ground) -> None:
    site = ground.site("tcp")
    site.listener.close()
    talk = open_socks(ways, ground).say(request(site.host.encode(), site.port))
    refused(ways, talk, reply(5), "dial-failed")


def test_a_line_that_is_down_is_an_unreachable_network(another: Callable[..., Node], ground: Ground) -> None:
    node = another(listeners={"socks": {"kind": "socks5"}})
    node.worker()
    for line in ("hk1", "sg1"):
        node.hub.say(kind="line", line=line, state="down")
    talk = open_socks(node, ground).say(request(b"n.tls.example"))
    refused(node, talk, reply(3), "line-unavailable")


def test_a_credential_from_another_place_is_refused(ways: Node, ground: Ground) -> None:
    talk = ground.dial(ways.workers["w0.1"].ports["socks"], "birch").say(OFFER + login("acme"))
    assert talk.exactly(4) == b"\x05\x02\x01\x00"
    record = refused(ways, talk.say(request(b"n.tls.example")), reply(2), "source-not-allowed")
    assert (record["tenant"], record["client_ip"]) == ("acme", "10.0.0.18")


def test_a_credential_revoked_between_login_and_request_is_refused(
    another: Callable[..., Node], ground: Ground
) -> None:
    node = another(listeners={"socks": {"kind": "socks5"}})
    node.worker()
    site = ground.site("tcp")
    waiting, live = open_socks(node, ground), open_socks(node, ground)
    live.say(request(site.host.encode(), site.port))
    assert live.exactly(10) == reply(0)
    node.put(credentials=credential("acme", revoked=1))
    assert live.was_reset()
    assert node.final(live)["cause"] == "cut-by-policy"
    refused(node, waiting.say(request(site.host.encode(), site.port)), reply(2), "identity-revoked")
    talk = ground.dial(node.workers["w0.1"].ports["socks"]).say(OFFER + login())
    record = refused(node, talk, NO_LOGIN, "identity-revoked")
    assert (record["tenant"], record["credential"]) == ("acme", "c-acme000000")


@pytest.mark.parametrize("name", ["other.tls.example", None])
def test_a_hello_with_another_name_is_refused_by_an_alert(name: str | None, ways: Node, ground: Ground) -> None:
    site = ground.site("tls")
    talk = open_socks(ways, ground).say(request(site.host.encode()) + client_hello(name))
    assert talk.rest() == reply(0) + bytes((21, 3, 3, 0, 2, 2, 112))
    there = site.accept()
    assert there.was_reset()
    assert not there.ahead
    record = ways.final(talk)
    assert (record["kind"], record["reason"], record["cause"]) == ("close", "name-mismatch", "refused")


HALVES = {
    "the methods": b"\x05\x02\x02",
    "the login": OFFER + login()[:20],
    "the request": OFFER + login() + b"\x05\x01",
}
TOLD = {"the methods": b"\x05\xff", "the login": NO_LOGIN, "the request": b"\x05\x02\x01\x00" + reply(1)}


@pytest.mark.parametrize("half", HALVES)
def test_a_handshake_that_ends_or_stops_within(half: str, ways: Node, ground: Ground) -> None:
    port = ways.workers["w0.1"].ports["socks"]
    ended, stopped = ground.dial(port).say(HALVES[half]).half_close(), ground.dial(port).say(HALVES[half])
    refused(ways, ended, TOLD[half], "malformed-request")
    refused(ways, stopped, TOLD[half], "handshake-timeout")


def test_a_client_that_leaves_without_a_word_leaves_no_record(ways: Node, ground: Ground) -> None:
    talks = [ground.dial(ways.workers["w0.1"].ports["socks"]) for _ in range(10)]
    for number, talk in enumerate(talks):
        talk.close() if number % 2 else talk.reset()
    site = ground.site("tcp")
    open_socks(ways, ground).say(request(site.host.encode(), site.port)).exactly(10)
    assert not [r for talk in talks for r in ways.of(talk)]


def test_out_of_descriptors_a_client_is_turned_away_without_http(another: Callable[..., Node], ground: Ground) -> None:
    node = another(listeners={"socks": {"kind": "socks5"}})
    worker = node.worker()
    used = {int(name) for name in os.listdir(f"/proc/{worker.pid}/fd")}
    # Few are left; the reserve, which is let go to turn somebody away, must be below the limit.
    limit = max(used) + 2
    resource.prlimit(worker.pid, resource.RLIMIT_NOFILE, (limit, 4096))
    talks = [ground.dial(worker.ports["socks"]) for _ in range(limit - len(used) + 120)]
    until(lambda: [r for r in node.records() if r.get("reason") == "overloaded"], "a record of those turned away")
    turned = {r["client_port"] for r in node.records() if r.get("reason") == "overloaded"}
    for talk in talks:
        if talk.port in turned:
            assert talk.rest() in (b"", b"\x05\xff"), "at the door, or out of a handshake that has to make room"
            break
    else:
        raise AssertionError("nobody was turned away")

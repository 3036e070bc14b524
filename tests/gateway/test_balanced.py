"""Behind a balancer: the address in the PROXY header is the client's, for its place and in the records; nobody else may
say one, and nothing of header and request runs together."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.gateway.kit import Ground, Talk, client_hello, until
from tests.gateway.node import Node, authorization
from tests.gateway.test_proxy_protocol import REFUSED, V1, V2, binary, checked
from tests.gateway.test_socks5 import request
from tests.gateway.test_socks_session import NO_METHOD, OFFER, login, reply

pytestmark = pytest.mark.root

BALANCER, CLIENT = "10.0.0.40", ("10.0.0.2", 4711)


def head(authority: str = "n.tls.example:443", firm: str = "acme") -> bytes:
    text = f"CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n"
    return f"{text}Proxy-Authorization: {authorization(firm)}\r\n\r\n".encode()


def one(source: str, port: int) -> bytes:
    return f"PROXY TCP4 {source} 10.0.0.1 {port} 3128\r\n".encode()


def two(source: str, port: int) -> bytes:
    return checked(bytes(map(int, source.split("."))) + bytes((10, 0, 0, 1)) + port.to_bytes(2) + b"\x0c\x38")


def dial(node: Node, ground: Ground, listener: str = "balanced", source: str = "stray") -> Talk:
    return ground.dial(node.workers["w0.1"].ports[listener], source)


def refused(node: Node, talk: Talk, status: int, reason: str, source: str = BALANCER, port: int = 0) -> dict[str, Any]:
    """The refusal as HTTP tells it, and its record, which names this source."""
    answer = talk.head()
    assert answer.startswith(f"HTTP/1.1 {status} "), answer
    assert f'details="{reason} ref=' in answer
    ref = answer.partition("(ref ")[2].partition(")")[0]
    found = [r for r in node.records() if r.get("ref") == ref]
    assert len(found) == 1
    record = found[0]
    assert (record["kind"], record["reason"], record["client_ip"]) == ("deny", reason, source)
    assert record["client_port"] == (port or talk.port)
    return record


@pytest.mark.parametrize("header", [one, two])
@pytest.mark.parametrize("slowly", [False, True], ids=["at once", "byte by byte"])
def test_the_client_is_the_one_in_the_header(header: Any, slowly: bool, ways: Node, ground: Ground) -> None:
    site = ground.site("tls")
    talk = dial(ways, ground)
    (talk.trickle if slowly else talk.say)(header(CLIENT[0], talk.port) + head(site.authority))
    assert talk.head().startswith("HTTP/1.1 200 ")
    hello = client_hello(site.host)
    talk.say(hello)
    there = site.accept()
    assert there.exactly(len(hello)) == hello
    talk.close()
    there.close()
    record = ways.final(talk)
    assert (record["client_ip"], record["tenant"], record["listener"]) == (CLIENT[0], "acme", "balanced")


@pytest.mark.parametrize("header", [one, two])
def test_early_data_behind_header_and_head_arrives(header: Any, ways: Node, ground: Ground) -> None:
    site = ground.site("tcp")
    talk = dial(ways, ground)
    talk.say(header(CLIENT[0], talk.port) + head(site.authority) + b"early" * 20_000).half_close()
    assert talk.head().startswith("HTTP/1.1 200 ")
    assert site.accept().rest() == b"early" * 20_000


@pytest.mark.parametrize("header", [one, two])
def test_a_request_in_absolute_form_behind_a_header(header: Any, ways: Node, ground: Ground) -> None:
    site = ground.site("http")
    talk = dial(ways, ground)
    who = f"Proxy-Authorization: {authorization('acme')}\r\n"
    talk.say(
        header(CLIENT[0], talk.port) + f"GET http://{site.host}/ HTTP/1.1\r\nHost: {site.host}\r\n{who}\r\n".encode()
    )
    there = site.accept()
    assert there.head().startswith("GET / HTTP/1.1\r\n")
    there.say("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
    assert talk.head().startswith("HTTP/1.1 200 ")
    assert ways.final(talk)["client_ip"] == CLIENT[0]


@pytest.mark.parametrize("header", [one, two])
def test_socks_behind_a_header(header: Any, ways: Node, ground: Ground) -> None:
    site = ground.site("tcp")
    talk = dial(ways, ground, "balanced-socks")
    talk.say(header(CLIENT[0], talk.port) + OFFER + login() + request(site.host.encode(), site.port))
    assert talk.exactly(14) == b"\x05\x02\x01\x00" + reply(0)
    talk.close()
    site.accept().close()
    assert ways.final(talk)["client_ip"] == CLIENT[0]


@pytest.mark.parametrize("header", [one, two])
def test_the_place_is_that_of_the_address_in_the_header(header: Any, ways: Node, ground: Ground) -> None:
    talk = dial(ways, ground).say(header("10.0.0.18", 99) + head())
    assert refused(ways, talk, 403, "source-not-allowed", "10.0.0.18", 99)["tenant"] == "acme"


@pytest.mark.parametrize("said", [one(*CLIENT) + head(), two(*CLIENT) + head(), head(), b""], ids=["1", "2", "no", "0"])
def test_nobody_but_the_balancer_is_listened_to(said: bytes, ways: Node, ground: Ground) -> None:
    talk = dial(ways, ground, source="acme").say(said)
    assert refused(ways, talk, 403, "source-not-allowed", "10.0.0.2")["detail"].startswith("not one of the balancers")


@pytest.mark.parametrize("listener", ["plain", "socks"])
@pytest.mark.parametrize("header", [one, two])
def test_a_header_on_a_listener_without_balancers_is_refused(
    header: Any, listener: str, ways: Node, ground: Ground
) -> None:
    talk = dial(ways, ground, listener).say(header(*CLIENT) + (head() if listener == "plain" else OFFER))
    if listener == "plain":
        refused(ways, talk, 400, "malformed-request")
    else:
        assert talk.rest() == NO_METHOD
        assert ways.final(talk)["reason"] == "malformed-request"


@pytest.mark.parametrize(
    "case", ["no header", "a bare LF", "a port beyond the last", "UDP in binary", "a wrong checksum"]
)
def test_a_header_is_refused_for(case: str, ways: Node, ground: Ground) -> None:
    data, words = REFUSED[case]
    talk = dial(ways, ground).say(data + head())
    assert words in refused(ways, talk, 400, "malformed-request")["detail"]


@pytest.mark.parametrize("second", [V1, V2], ids=["1", "2"])
@pytest.mark.parametrize("first", [one, two])
def test_a_second_header_changes_nothing_and_is_refused(first: Any, second: bytes, ways: Node, ground: Ground) -> None:
    talk = dial(ways, ground).say(first("10.0.0.18", 99) + second + head())
    refused(ways, talk, 400, "malformed-request", "10.0.0.18", 99)


def test_a_header_whose_room_reaches_over_the_head_swallows_it(ways: Node, ground: Ground) -> None:
    """A TLV that spans a whole request is part of the header: it is never read as a request too."""
    inner = head("off.list.example:443")
    room = bytes((10, 0, 0, 2, 10, 0, 0, 1)) + b"\0\x63\x0c\x38" + b"\x04" + len(inner).to_bytes(2) + inner
    talk = dial(ways, ground).say(binary(room) + head("other.list.example:443"))
    assert refused(ways, talk, 403, "not-whitelisted", "10.0.0.2", 99)["host"] == "other.list.example"
    assert not [r for r in ways.records() if r.get("host") == "off.list.example" and r["listener"] == "balanced"]


def test_what_the_balancer_says_of_itself_is_at_its_own_address(ways: Node, ground: Ground) -> None:
    talk = dial(ways, ground).say(binary(b"", 0, 0x20) + head())
    assert refused(ways, talk, 403, "source-not-allowed")["tenant"] == "acme"


UNKNOWN = {"version 1": b"PROXY UNKNOWN\r\n", "version 2": binary(b"", 0)}


@pytest.mark.parametrize("version", UNKNOWN)
def test_from_an_unknown_source_nothing_is_taken(version: str, ways: Node, ground: Ground) -> None:
    for pieces in ([UNKNOWN[version] + head()], [UNKNOWN[version], head()]):
        talk = dial(ways, ground)
        for piece in pieces:
            talk.say(piece)
        assert "does not say where" in refused(ways, talk, 403, "source-not-allowed")["detail"]


@pytest.mark.parametrize("said", [b"", binary(b"", 0, 0x20), *UNKNOWN.values()], ids=["nothing", "local", "1", "2"])
def test_a_health_check_leaves_no_record(said: bytes, ways: Node, ground: Ground) -> None:
    talk = dial(ways, ground).say(said).half_close()
    assert talk.rest() == b""
    assert not ways.of(talk)


def test_handshakes_in_progress_are_counted_by_the_source_in_the_header(
    another: Callable[..., Node], ground: Ground
) -> None:
    listeners = {"balanced": {"proxy_protocol": [f"{BALANCER}/32"]}}
    node = another(
        listeners=listeners, limits={"handshakes_per_source": 5}, timeouts={"handshake": 10, "first_byte": 10}
    )
    worker = node.worker()

    def begin(source: str) -> Talk:
        return ground.dial(worker.ports["balanced"], "stray").say(one(source, 99) + b"CONNECT ")

    before = worker.descriptors()
    held = [begin(f"10.0.0.{n}") for n in range(60, 80)] + [begin("10.0.0.99") for _ in range(5)]
    until(lambda: worker.descriptors() >= before + 25, "25 handshakes in progress")
    held.append(begin("10.0.0.99"))
    assert held.pop(20).head().startswith("HTTP/1.1 429 "), "the oldest of that source"
    assert node.records()[-1]["client_ip"] == "10.0.0.99"
    for talk in held:
        assert talk.say("\r\n\r\n").head().startswith("HTTP/1.1 400 ")  # it had not been refused before


@pytest.mark.parametrize("said", [V1[:20], V2[:20]])
def test_a_header_that_ends_or_stops_within_is_refused(said: bytes, ways: Node, ground: Ground) -> None:
    ended, stopped = dial(ways, ground).say(said).half_close(), dial(ways, ground).say(said)
    refused(ways, ended, 400, "malformed-request")
    refused(ways, stopped, 408, "handshake-timeout")

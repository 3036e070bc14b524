"""A worker's transparent listener, with the kernel's side as the lines process makes it."""

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

from gateway.handshake import HandshakeError
from gateway.handshake.origin import parse_origin_head
from gateway.handshake.tls_alert import ACCESS_DENIED, DECODE_ERROR, INTERNAL_ERROR, UNRECOGNIZED_NAME, fatal_alert
from gateway.line.keeper import Keeper
from gateway.line.model import Access, NodeConfig, Transparent
from tests.gateway.kit import GATEWAY, SOURCES, Ground, Talk, client_hello, in_records
from tests.gateway.node import Node, authorization, line
from whitelist.reason import Reason

# ruff: noqa: E501 - one case, one line

CALLED = "192.0.2.77"  # nobody is there
RECORDS = f"{CALLED}:443"


@dataclass
class Taken:
    """A node whose first worker also serves those who know of no proxy."""

    ground: Ground
    node: Node

    def call(self, port: int = 443, firm: str = "acme", address: str = CALLED) -> Talk:
        """A client's connection to elsewhere."""
        with self.ground.client.inside():
            sock = socket.socket()
        sock.settimeout(8)
        sock.bind((SOURCES[firm], next(self.ground._ports)))
        sock.connect((address, port))
        talk = Talk(sock)
        self.ground._talks.append(talk)
        return talk


@pytest.fixture(scope="module")
def module_taken(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Taken]:
    spec = {"kind": "transparent", "interface": "acc0", "demands": ["prefix"]}
    settings = {"listeners": {"taking": spec}, "timeouts": {"handshake": 1}, "limits": {"handshakes_per_source": 8}}
    with Ground() as ground, Node(ground, tmp_path_factory.mktemp("node"), **settings) as node:
        ground.client.ip([f"route add default via {GATEWAY}"])
        worker = node.worker()
        with ground.gateway.inside():
            taking = Transparent(interface="acc0", address=GATEWAY, port=worker.ports["taking"])
            access = Access(interface="acc0", prefixes=("10.0.0.0/24",))
            ports = (worker.ports["plain"],)
            config = NodeConfig(access=(access,), listener_ports=ports, transparent=(taking,))
            keeper = Keeper(config, lambda *_: None, lambda *_, **__: None)
            keeper.want([line("hk1"), line("sg1")])
            keeper.sweep()
            keeper.close()
        yield Taken(ground, node)


@pytest.fixture
def taken(module_taken: Taken) -> Iterator[Taken]:
    yield module_taken
    module_taken.ground.tidy()
    module_taken.node.restore()


# ---- heads


def head(*lines: str, start: str = "GET /a?b HTTP/1.1") -> bytes:
    return "\r\n".join([start, *lines, "", ""]).encode()


READ = {
    "origin-form": (head("Host: n1.example"), b"http://n1.example/a?b"),
    "origin-form with the port": (head("Host: n1.example:80"), b"http://n1.example:80/a?b"),
    "a path that looks like an authority": (head("Host: n1.example", start="GET //evil.example/ HTTP/1.1"), b"http://n1.example//evil.example/"),
    "a path that looks like a URI": (head("Host: n1.example", start="GET /http://evil.example/ HTTP/1.1"), b"http://n1.example/http://evil.example/"),
    "an asterisk": (head("Host: n1.example", start="OPTIONS * HTTP/1.1"), b"http://n1.example"),
    "absolute-form": (head("Host: n1.example", start="GET http://n1.example/ HTTP/1.1"), b"http://n1.example/"),
    "absolute-form in HTTP/1.0, without Host": (head(start="GET http://n1.example/ HTTP/1.0"), b"http://n1.example/"),
    "HTTP/1.0 with Host": (head("Host: n1.example", start="GET / HTTP/1.0"), b"http://n1.example/"),
    "an IPv6 address": (head("Host: [2001:db8::1]"), b"http://[2001:db8::1]/a?b"),
}  # fmt: skip


@pytest.mark.parametrize("sentence", READ)
def test_read_as_a_request_to_a_proxy_is(sentence: str) -> None:
    data, target = READ[sentence]
    for more in (b"", b"GET"):
        read = parse_origin_head(data + more, 4096)
        assert read is not None
        assert (read.target, read.form, read.consumed) == (target, "absolute", len(data))
    for at in range(len(data)):
        assert parse_origin_head(data[:at], 4096) is None


def test_a_credential_for_a_proxy_is_not_heard() -> None:
    read = parse_origin_head(head("Host: n1.example", "Proxy-Authorization: Basic YTpi"), 4096)
    assert read is not None
    assert read.proxy_authorization is None


REFUSED = {
    "no Host in HTTP/1.0": (head(start="GET / HTTP/1.0"), Reason.MALFORMED_REQUEST),
    "an empty Host": (head("Host:"), Reason.MALFORMED_REQUEST),
    "a Host of blanks": (head("Host: \t "), Reason.MALFORMED_REQUEST),
    "a port alone": (head("Host: :80"), Reason.MALFORMED_REQUEST),
    "a Host with another port": (head("Host: n1.example:443"), Reason.MALFORMED_REQUEST),
    "a Host with a port in another spelling": (head("Host: n1.example:080"), Reason.MALFORMED_REQUEST),
    "a Host with a path": (head("Host: n1.example/x"), Reason.MALFORMED_REQUEST),
    "a Host with a query": (head("Host: n1.example?x"), Reason.MALFORMED_REQUEST),
    "a Host with a fragment": (head("Host: n1.example#x"), Reason.MALFORMED_REQUEST),
    "a Host with a backslash": (head("Host: n1.example\\x"), Reason.MALFORMED_REQUEST),
    "a Host with userinfo": (head("Host: n1.example@n2.example"), Reason.MALFORMED_REQUEST),
    "a Host with a blank": (head("Host: n1.example n2.example"), Reason.MALFORMED_REQUEST),
    "a Host that is a URI": (head("Host: http://n1.example"), Reason.MALFORMED_REQUEST),
    "an address in another spelling": (head("Host: 0177.0.0.1"), Reason.NAME_INVALID),
    "an address as a number": (head("Host: 2130706433"), Reason.NAME_INVALID),
    "an IPv6 address with a zone": (head("Host: [fe80::1%25eth0]"), Reason.NAME_INVALID),
    "absolute-form on another port": (head("Host: n1.example", start="GET http://n1.example:8080/ HTTP/1.1"), Reason.MALFORMED_REQUEST),
    "absolute-form of https": (head("Host: n1.example", start="GET https://n1.example/ HTTP/1.1"), Reason.PROTOCOL_NOT_ALLOWED),
    "a CONNECT": (head("Host: n1.example:443", start="CONNECT n1.example:443 HTTP/1.1"), Reason.METHOD_NOT_ALLOWED),
    "an asterisk of another method": (head("Host: n1.example", start="GET * HTTP/1.1"), Reason.MALFORMED_REQUEST),
}  # fmt: skip


@pytest.mark.parametrize("sentence", REFUSED)
def test_refused_is(sentence: str) -> None:
    data, reason = REFUSED[sentence]
    with pytest.raises(HandshakeError) as caught:
        parse_origin_head(data, 4096)
    assert caught.value.reason is reason
    assert caught.value.status in (400, 403)


# ---- over real sockets


def whole(hello: bytes) -> list[bytes]:
    return [hello]


def bytewise(hello: bytes) -> list[bytes]:
    return [hello[at : at + 1] for at in range(len(hello))]


def small_records(hello: bytes) -> list[bytes]:
    return [in_records(hello, 40)]


WAYS: dict[str, Callable[[bytes], list[bytes]]] = {
    "in one piece": whole, "byte by byte": bytewise, "in small records": small_records,
    "in two pieces": lambda hello: [hello[:200], hello[200:]],
}  # fmt: skip


@pytest.mark.root
@pytest.mark.parametrize("way", WAYS)
def test_a_hello_reaches_the_service_it_names(way: str, taken: Taken) -> None:
    site = taken.ground.site("tls")
    talk = taken.call()
    pieces = WAYS[way](client_hello(site.host))
    for piece in pieces:
        talk.say(piece)
    said = b"".join(pieces)
    there = site.accept()
    assert there.exactly(len(said)) == said
    there.say(b"and back")
    assert talk.exactly(8) == b"and back", "nothing comes before the service's own words"
    there.close()
    talk.close()
    record = taken.node.final(talk)
    wanted = {"host": site.host, "sni": site.host, "original_dst": RECORDS, "tenant": "acme", "address": site.address}
    assert {key: record[key] for key in wanted} == wanted
    assert (record["kind"], record["method"], record["listener"]) == ("close", "CONNECT", "taking")
    assert "credential" not in record


@pytest.mark.root
def test_what_follows_the_hello_is_not_lost(taken: Taken) -> None:
    site = taken.ground.site("tls")
    hello, more = client_hello(site.host), bytes(200_000)
    talk = taken.call()
    sender = threading.Thread(target=lambda: talk.say(hello + more).half_close())
    sender.start()
    there = site.accept()
    assert there.rest() == hello + more
    sender.join()
    there.say(b"done").close()
    assert talk.rest() == b"done"
    assert taken.node.final(talk)["bytes_out"] == len(hello + more)


@pytest.mark.root
def test_the_name_decides_for_every_firm_by_its_place(taken: Taken) -> None:
    for firm in ("acme", "birch"):
        site = taken.ground.site("tls")
        talk = taken.call(firm=firm).say(client_hello(site.host))
        site.accept().close()
        talk.close()
        assert taken.node.final(talk)["tenant"] == firm


@pytest.mark.root
def test_the_address_called_is_not_dialled(taken: Taken) -> None:
    """Not even where a service that the firm may reach is there, and another was named."""
    site, other = taken.ground.site("tls"), taken.ground.site("tls")
    talk = taken.call(address=site.address).say(client_hello(other.host))
    other.accept().close()
    talk.close()
    record = taken.node.final(talk)
    assert (record["address"], record["original_dst"]) == (other.address, f"{site.address}:443")
    assert site.quiet()


NOBODY = "no firm's place, and no credential"


@pytest.mark.root
def test_who_is_nobodys_is_refused_and_not_asked_for_a_credential(taken: Taken) -> None:
    site = taken.ground.site("http")
    in_tls = taken.call(firm="stray").say(client_hello("n1.tls.example"))
    assert in_tls.rest() == fatal_alert(ACCESS_DENIED)
    plain = taken.call(80, "stray").say(f"GET / HTTP/1.1\r\nHost: {site.host}\r\n\r\n")
    answer = plain.head()
    assert answer.startswith("HTTP/1.1 403 Identity unknown (ref ")
    assert "Proxy-Authenticate" not in answer
    for talk in (in_tls, plain):
        record = taken.node.final(talk)
        assert (record["reason"], record["detail"], record["status"]) == ("identity-unknown", NOBODY, 403)


@pytest.mark.root
def test_a_credential_makes_nobody_somebody(taken: Taken) -> None:
    site = taken.ground.site("http")
    talk = taken.call(80, "stray")
    talk.say(f"GET / HTTP/1.1\r\nHost: {site.host}\r\nProxy-Authorization: {authorization('acme')}\r\n\r\n")
    assert talk.head().startswith("HTTP/1.1 403 Identity unknown")
    assert site.quiet()


@pytest.mark.root
def test_requests_go_to_the_services_in_their_hosts(taken: Taken) -> None:
    sites = [taken.ground.site("http"), taken.ground.site("http")]
    talk = taken.call(80)
    for site, path in ((sites[0], "/1"), (sites[1], "/2"), (sites[0], "/3")):
        talk.say(f"GET {path}?q HTTP/1.1\r\nHost: {site.host}\r\nX-Forwarded-For: 1.2.3.4\r\n\r\n")
        there = site.accept()
        request = there.head()
        assert request.startswith(f"GET {path}?q HTTP/1.1\r\nHost: {site.host}\r\n")
        assert "X-Forwarded-For" not in request
        there.say("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        assert talk.head().startswith("HTTP/1.1 200 ")
        assert talk.exactly(2) == b"ok"
    talk.close()
    taken.node.final(talk, 3)
    closed = [r for r in taken.node.of(talk) if r["kind"] == "close"]
    assert [(r["host"], r["path"], r["original_dst"]) for r in closed] == [
        (site.host, path, f"{CALLED}:80") for site, path in ((sites[0], "/1"), (sites[1], "/2"), (sites[0], "/3"))
    ]


@pytest.mark.root
@pytest.mark.parametrize("port", [80, 443])
def test_who_says_nothing_is_refused_in_time_and_recorded(port: int, taken: Taken) -> None:
    talk = taken.call(port)
    answer = talk.rest()
    assert answer.startswith(b"HTTP/1.1 408 ") if port == 80 else answer == fatal_alert(DECODE_ERROR)
    record = taken.node.final(talk)
    assert (record["reason"], record["original_dst"]) == ("handshake-timeout", f"{CALLED}:{port}")


@pytest.mark.root
def test_who_leaves_without_a_word_leaves_no_record(taken: Taken) -> None:
    talk, later = taken.call(), taken.call()
    talk.close()
    later.say(client_hello("localhost"))
    assert later.rest() == fatal_alert(UNRECOGNIZED_NAME)
    taken.node.final(later)
    assert not taken.node.of(talk)


@pytest.mark.root
def test_of_too_many_handshakes_of_one_source_the_oldest_is_refused(taken: Taken) -> None:
    oldest, *waiting = [taken.call() for _ in range(9)]
    assert oldest.rest() == fatal_alert(ACCESS_DENIED)
    assert taken.node.final(oldest)["reason"] == "rate-limited"
    for one in waiting:
        one.close()


@pytest.mark.root
def test_a_service_that_is_not_there_is_an_error_of_the_gateways_side(taken: Taken) -> None:
    site = taken.ground.site("tls")
    site.listener.close()
    talk = taken.call().say(client_hello(site.host))
    assert talk.rest() == fatal_alert(INTERNAL_ERROR)
    assert taken.node.final(talk)["reason"] == "dial-failed"


@pytest.mark.root
def test_a_grant_that_is_taken_away_ends_what_runs(taken: Taken) -> None:
    site = taken.ground.site("tls")
    talk = taken.call().say(client_hello(site.host))
    site.accept()
    taken.node.put(grants="g-acme-tls")
    with contextlib.suppress(ConnectionResetError):
        assert talk.rest() == b""
    assert taken.node.final(talk)["cause"] == "cut-by-policy"

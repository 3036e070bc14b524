"""DNS over TLS and the guesses at an answer: the resolver itself, on its reactor, against real servers in a network
namespace."""

import itertools
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import dns.message
import dns.rrset
import pytest

from gateway.line.model import LineError, LineHandle, handle_of
from gateway.reactor import Reactor
from gateway.resolver.resolver import Names, Resolver
from tests.gateway.nameserver import NameServer, Talk, TlsNameServer, certificate, framed, reply
from tests.netns.kit import Namespace
from whitelist.model import Line
from whitelist.reason import Reason

NAME, OTHER, FIRST, SECOND, CLEAR = "dns.example", "other.example", "127.0.1.1", "127.0.1.2", "127.0.1.3"
GOOD = "203.0.113.7"


class Bench:
    """A namespace whose loopback is a line, a resolver on it, and the servers that a test starts."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.ns = Namespace()
        self.ns.ip(["link set lo up", *(f"addr add 192.0.2.{number}/32 dev lo" for number in range(1, 10))])
        self.ns.ip(["addr add 2001:db8::1/128 dev lo"])
        self.authority = certificate(directory, "ca.example")
        self.pem = certificate(directory, NAME, issuer=self.authority)
        self.reactor = Reactor()
        self.resolver = Resolver(self.reactor)
        self.servers: list[TlsNameServer | NameServer] = []

    def line(self, *resolvers: str, number: int = 1, source6: str = "") -> LineHandle:
        """A line over lo. IPv4 only, so that a name is one question, unless source6 is given."""
        entry = Line(
            id=f"line-{number}", index=number, device="lo", source4=f"192.0.2.{number}", source6=source6,
            resolvers=resolvers,
        )  # fmt: skip
        return handle_of(entry)

    def tls(self, talk: Talk, address: str = FIRST, **kwargs: object) -> TlsNameServer:
        pem = kwargs.pop("pem", self.pem)
        with self.ns.inside():
            server = TlsNameServer(address, pem, talk, **kwargs)  # type: ignore[arg-type]
        self.servers.append(server)
        return server

    def clear(self, *addresses: str) -> NameServer:
        with self.ns.inside():
            server = NameServer(addresses)
        self.servers.append(server)
        return server

    def ask(self, line: LineHandle, *hosts: str) -> list[Names]:
        """Resolves all at once and turns the reactor until each was called back."""
        found: dict[str, Names] = {}
        with self.ns.inside():
            for host in hosts:
                self.resolver.resolve(line, host, lambda names, host=host: found.setdefault(host, names))
            self.turn(lambda: len(found) == len(hosts))
        return [found[host] for host in hosts]

    def turn(self, until: Callable[[], bool], seconds: float = 30) -> None:
        end = time.monotonic() + seconds
        while not until():
            assert time.monotonic() < end, "no word in time"
            self.reactor.turn(0.05)

    def close(self) -> None:
        for server in self.servers:
            server.close()
        self.resolver.forget_line("line-1")
        self.reactor.finish_turn()
        self.ns.close()


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    made = Bench(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(made.authority))
    yield made
    made.close()


def serves(sock: socket.socket, question: Callable[[], dns.message.Message]) -> None:
    """Answers everything with a good address."""
    while True:
        sock.sendall(framed(reply(question(), ("", "A", GOOD))))


def once(sock: socket.socket, question: Callable[[], dns.message.Message]) -> None:
    """Answers one question and closes."""
    sock.sendall(framed(reply(question(), ("", "A", GOOD))))


# ---- how a resolver is written

FORMS: dict[str, tuple[str, tuple[int, str, str] | str]] = {
    "an IPv4 address": ("192.0.2.53", (4, "192.0.2.53", "")),
    "an IPv6 address": ("2001:DB8::53", (6, "2001:db8::53", "")),
    "IPv4 over TLS": ("tls://192.0.2.53#dns.example", (4, "192.0.2.53", "dns.example")),
    "IPv6 over TLS in brackets": ("tls://[2001:db8::53]#DNS.example", (6, "2001:db8::53", "dns.example")),
    "IPv6 over TLS without": ("tls://2001:db8::53#dns.example", (6, "2001:db8::53", "dns.example")),
    "TLS without a name": ("tls://192.0.2.53", "has no name"),
    "TLS with an address for a name": ("tls://192.0.2.53#192.0.2.53", "has no name"),
    "TLS with a port": ("tls://192.0.2.53:853#dns.example", "is not an address"),
    "TLS by name": ("tls://dns.example#dns.example", "is not an address"),
    "IPv4 in brackets": ("tls://[192.0.2.53]#dns.example", "is not an address"),
    "a name without TLS": ("192.0.2.53#dns.example", "is not an address"),
    "another scheme": ("https://192.0.2.53#dns.example", "is not an address"),
    "a zone": ("fe80::53%eth0", "has a zone"),
}  # fmt: skip


@pytest.mark.parametrize("case", FORMS)
def test_a_resolver_written_as(case: str) -> None:
    text, expected = FORMS[case]
    entry = Line(id="l", index=1, device="lo", source4="192.0.2.2", resolvers=(text,))
    if isinstance(expected, tuple):
        assert handle_of(entry).resolvers == (expected,)
    else:
        with pytest.raises(LineError, match=expected):
            handle_of(entry)


# ---- a good server


@pytest.mark.root
def test_many_names_are_asked_over_one_connection_each_padded_to_128_bytes(bench: Bench) -> None:
    server = bench.tls(serves)
    line = bench.line(f"tls://{FIRST}#{NAME}")
    hosts = [f"n{n}.example" for n in range(50)]
    assert {n.addresses for n in bench.ask(line, *hosts)} == {(GOOD,)}
    assert {n.addresses for n in bench.ask(line, "later.example")} == {(GOOD,)}
    assert (server.connections, len(server.questions)) == (1, 51)
    assert {size % 128 for size in server.sizes} == {0}
    assert len({query.id for query in server.questions[:50]}) == 50, "no id twice while it is in use"


@pytest.mark.root
def test_answers_in_any_order_go_to_their_questions(bench: Bench) -> None:
    def backwards(sock: socket.socket, question: Callable[[], dns.message.Message]) -> None:
        queries = [question() for _ in range(20)]
        answers = [reply(q, ("", "A", f"203.0.113.{q.question[0].name.labels[0].decode()}")) for q in queries]
        sock.sendall(b"".join(framed(a) for a in reversed(answers)))
        question()

    bench.tls(backwards)
    found = bench.ask(bench.line(f"tls://{FIRST}#{NAME}"), *(f"{n}.example" for n in range(20)))
    assert [n.addresses for n in found] == [(f"203.0.113.{n}",) for n in range(20)]


@pytest.mark.root
def test_an_answer_byte_by_byte_is_put_together(bench: Bench) -> None:
    def dribble(sock: socket.socket, question: Callable[[], dns.message.Message]) -> None:
        wire = framed(reply(question(), ("", "A", GOOD)))
        for at in range(len(wire)):
            sock.sendall(wire[at : at + 1])
        question()

    bench.tls(dribble)
    assert bench.ask(bench.line(f"tls://{FIRST}#{NAME}"), "a.example")[0].addresses == (GOOD,)


@pytest.mark.root
def test_a_connection_that_the_server_closed_as_idle_is_made_anew(bench: Bench) -> None:
    server = bench.tls(once)
    line = bench.line(f"tls://{FIRST}#{NAME}")
    for host in ("a.example", "b.example", "c.example"):
        assert bench.ask(line, host)[0].addresses == (GOOD,)
    assert server.connections == 3


@pytest.mark.root
def test_a_change_of_the_line_ends_its_connections(bench: Bench) -> None:
    server = bench.tls(serves)
    line = bench.line(f"tls://{FIRST}#{NAME}")
    bench.ask(line, "a.example")
    bench.resolver.forget_line("line-1")
    bench.turn(lambda: bool(server.faults))
    assert server.faults == ["the client closed"]
    assert bench.ask(line, "a.example")[0].addresses == (GOOD,)
    assert (server.connections, len(server.questions)) == (2, 2), "what was known is forgotten too"


@pytest.mark.root
def test_each_line_has_a_connection_of_its_own(bench: Bench) -> None:
    server = bench.tls(serves)
    for number in (1, 2):
        bench.ask(bench.line(f"tls://{FIRST}#{NAME}", number=number), "a.example")
    assert server.connections == 2
    bench.resolver.forget_line("line-2")


# ---- a bad one: the next resolver is asked, and never this one in clear


def _hangs(sock: socket.socket) -> None:
    sock.recv(65_536)  # a hello; no answer to it
    threading.Event().wait(9)


def _speaks_no_tls(sock: socket.socket) -> None:
    sock.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")


def _closes(sock: socket.socket) -> None:
    sock.shutdown(socket.SHUT_RDWR)


def _is_cut(sock: socket.socket, question: Callable[[], dns.message.Message]) -> None:
    sock.sendall(framed(reply(question(), ("", "A", GOOD)))[:-3])


def _is_silent(sock: socket.socket, question: Callable[[], dns.message.Message]) -> None:
    while True:
        question()


def _answers_another_question(sock: socket.socket, question: Callable[[], dns.message.Message]) -> None:
    query = question()
    sock.sendall(framed(reply(dns.message.make_query("x.example", "A", id=query.id), ("", "A", "203.0.113.66"))))
    question()


def _knows_nothing(sock: socket.socket, question: Callable[[], dns.message.Message]) -> None:
    while True:
        sock.sendall(framed(reply(question(), rcode=2)))


BAD: dict[str, tuple[str, str]] = {  # what it does, and the word in the detail
    "certificate for another name": ("name", "not valid for 'dns.example'"),
    "certificate that has ended": ("expired", "expired"),
    "certificate signed by itself": ("self", "self-signed"),
    "slow handshake": ("hangs", "in time"),
    "no TLS": ("plain", "TLS:"),
    "closes before the handshake": ("closes", "closed"),
    "closes inside an answer": ("cut", "closed"),
    "is silent": ("silent", "in time"),
    "answers another question": ("stray", "closed"),
    "cannot say": ("servfail", "SERVFAIL"),
}


def start(bench: Bench, how: str) -> TlsNameServer:
    """A bad server of this kind on the first address."""
    raws = {"hangs": _hangs, "plain": _speaks_no_tls, "closes": _closes}
    talks = {
        "cut": _is_cut, "silent": _is_silent, "stray": _answers_another_question, "servfail": _knows_nothing,
    }  # fmt: skip
    pems = {
        "name": lambda: certificate(bench.directory, OTHER, issuer=bench.authority),
        "expired": lambda: certificate(bench.directory, NAME, issuer=bench.authority, days=-1),
        "self": lambda: certificate(bench.directory, NAME),
    }
    return bench.tls(talks.get(how, serves), raw=raws.get(how), pem=pems[how]() if how in pems else bench.pem)


@pytest.mark.root
@pytest.mark.parametrize("case", BAD)
def test_a_resolver_over_tls_gives_way_to_the_next_for(
    case: str, bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.resolver.resolver.TLS_TRY_SECONDS", 0.5)
    how, _ = BAD[case]
    bad, good, clear = start(bench, how), bench.tls(serves, SECOND), bench.clear(FIRST)
    line = bench.line(f"tls://{FIRST}#{NAME}", f"tls://{SECOND}#{NAME}")
    assert bench.ask(line, "a.example")[0].addresses == (GOOD,)
    assert (bad.connections, good.connections, clear.asked) == (1, 1, [])
    if how in {"name", "expired", "self"}:
        assert bad.questions == [], "nothing is told to who has not proved its name"


@pytest.mark.root
@pytest.mark.parametrize("case", BAD)
def test_alone_it_is_a_failure_with_a_reason_and_is_not_asked_in_clear(
    case: str, bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.resolver.resolver.TLS_TRY_SECONDS", 0.3)
    how, word = BAD[case]
    start(bench, how)
    clear = bench.clear(FIRST)
    names = bench.ask(bench.line(f"tls://{FIRST}#{NAME}"), "a.example")[0]
    assert (names.addresses, names.reason, names.failed) == ((), Reason.RESOLVE_FAILED, True)
    assert word in names.detail
    assert clear.asked == []
    assert bench.resolver.known(bench.line(), "a.example") is None, "a failure is not kept"


@pytest.mark.root
def test_where_nobody_listens_the_next_is_asked_in_clear_only_if_it_is_written_so(bench: Bench) -> None:
    clear = bench.clear(CLEAR)
    clear.know("a.example", GOOD)
    assert bench.ask(bench.line(f"tls://{FIRST}#{NAME}", CLEAR), "a.example")[0].addresses == (GOOD,)
    assert {a.resolver for a in clear.asked} == {CLEAR}


# ---- guesses at an answer in clear


@pytest.mark.root
def test_source_ports_and_ids_of_questions_are_drawn_anew_each_time(bench: Bench) -> None:
    ports: list[int] = []
    idents: list[int] = []
    with bench.ns.inside():
        server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        server.bind((CLEAR, 53))

    def answer() -> None:
        for _ in range(200):
            wire, peer = server.recvfrom(4096)
            ports.append(peer[1])
            idents.append(int.from_bytes(wire[:2]))
            server.sendto(reply(dns.message.from_wire(wire), ("", "A", GOOD)), peer)

    thread = threading.Thread(target=answer, daemon=True)
    thread.start()
    line = bench.line(CLEAR)
    for n in range(200):
        bench.ask(line, f"n{n}.example")
    thread.join(5)
    server.close()
    assert len(set(ports)) > 190
    assert len(set(idents)) > 190
    for drawn, width in ((ports, 28_232), (idents, 65_536)):
        steps = {(b - a) % width for a, b in itertools.pairwise(drawn)}
        assert len(steps) > 150, "no pattern in how they follow each other"


@pytest.mark.root
@pytest.mark.parametrize("forger", ["another address", "another port", "another resolver of the line"])
def test_an_answer_is_taken_from_the_resolver_that_was_asked_only(forger: str, bench: Bench) -> None:
    with bench.ns.inside():
        server, other = (socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2))
        server.bind((CLEAR, 53))
        where = {"another address": ("127.0.9.9", 53), "another port": (CLEAR, 5353)}
        other.bind(where.get(forger, (SECOND, 53)))

    def answer() -> None:
        wire, peer = server.recvfrom(4096)
        query = dns.message.from_wire(wire)
        for _ in range(5):
            other.sendto(reply(query, ("", "A", "203.0.113.66")), peer)
        server.sendto(reply(query, ("", "A", GOOD)), peer)

    thread = threading.Thread(target=answer, daemon=True)
    thread.start()
    names = bench.ask(bench.line(CLEAR, SECOND), "a.example")[0]
    thread.join(5)
    server.close()
    other.close()
    assert names.addresses == (GOOD,)


@pytest.mark.root
def test_an_answer_to_another_lines_socket_is_no_answer(bench: Bench) -> None:
    """Two lines ask for one name; each is answered, with the ids swapped first."""
    with bench.ns.inside():
        server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        server.bind((CLEAR, 53))

    def answer() -> None:
        (one, peer1), (two, peer2) = server.recvfrom(4096), server.recvfrom(4096)
        bad = ("", "A", "203.0.113.66")
        server.sendto(reply(dns.message.from_wire(two), bad), peer1)
        server.sendto(reply(dns.message.from_wire(one), bad), peer2)
        for wire, peer in ((one, peer1), (two, peer2)):
            server.sendto(reply(dns.message.from_wire(wire), ("", "A", f"203.0.113.{peer[0][-1]}")), peer)

    thread = threading.Thread(target=answer, daemon=True)
    thread.start()
    found: dict[int, Names] = {}
    with bench.ns.inside():
        for number in (1, 2):
            line = bench.line(CLEAR, number=number)
            bench.resolver.resolve(line, "a.example", lambda names, n=number: found.setdefault(n, names))
        bench.turn(lambda: len(found) == 2)
    thread.join(5)
    server.close()
    assert {n: names.addresses for n, names in found.items()} == {1: ("203.0.113.1",), 2: ("203.0.113.2",)}


# ---- what is an answer, what a failure, and how long each is kept


def _no_address(query: dns.message.Message, ttl: int | None, rcode: int = 0) -> bytes:
    response = dns.message.from_wire(reply(query, rcode=rcode))
    if ttl is not None:
        response.authority.append(dns.rrset.from_text("example.", 900, "IN", "SOA", f"a. b. 1 2 3 4 {ttl}"))
    return response.to_wire()


# what is answered: (failed, seconds it is kept)
KEPT: dict[str, tuple[Callable[[dns.message.Message], bytes], bool, int]] = {
    "an address for a moment": (lambda q: reply(q, ("", "A", GOOD), ttl=0), False, 5),
    "an address for long": (lambda q: reply(q, ("", "A", GOOD), ttl=99_999), False, 3600),
    "an address for a while": (lambda q: reply(q, ("", "A", GOOD), ttl=77), False, 77),
    "no such name, by the SOA": (lambda q: _no_address(q, 33, 3), False, 33),
    "no such name, for long": (lambda q: _no_address(q, 99_999, 3), False, 60),
    "no such name, without an SOA": (lambda q: _no_address(q, None, 3), False, 5),
    "no address, by the SOA": (lambda q: _no_address(q, 33), False, 33),
    "no address, without an SOA": (lambda q: _no_address(q, None), False, 5),
    "an alias to nothing": (lambda q: reply(q, ("", "CNAME", "b.example.")), False, 5),
    "server failure": (lambda q: reply(q, rcode=2), True, 0),
    "refused": (lambda q: reply(q, rcode=5), True, 0),
    "aliases in a circle": (lambda q: reply(q, ("", "CNAME", "b.x."), ("b.x", "CNAME", "a.example.")), True, 0),
    "an address of another name": (lambda q: reply(q, ("b.example", "A", GOOD)), True, 0),
    "an address of a name that does not exist": (lambda q: reply(q, ("", "A", GOOD), rcode=3), True, 0),
}  # fmt: skip


@pytest.mark.root
@pytest.mark.parametrize("case", KEPT)
def test_what_a_resolver_says_is_an_answer_or_a_failure_and_kept_so_long(case: str, bench: Bench) -> None:
    answer, failed, seconds = KEPT[case]
    bench.clear(CLEAR).answers["a.example"] = lambda q, a: [answer(q)]
    names = bench.ask(bench.line(CLEAR), "a.example")[0]
    assert (names.failed, names.partial) == (failed, False)
    left = names.until - bench.reactor.now
    assert seconds - 1 < left < seconds + 1e-6  # sums of floats


@pytest.mark.root
def test_what_is_kept_is_bounded(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.resolver.resolver.MAX_ENTRIES", 10)
    server = bench.clear(CLEAR)
    hosts = [f"n{n}.example" for n in range(25)]
    for host in hosts:
        server.know(host, GOOD)
    line = bench.line(CLEAR)
    bench.ask(line, *hosts)
    assert 0 < sum(bench.resolver.known(line, host) is not None for host in hosts) <= 10


# ---- RFC 8305 clause 3


@pytest.mark.root
@pytest.mark.parametrize("slow", ["A", "AAAA"])
def test_one_family_does_not_wait_for_the_other_which_is_added_when_it_comes(slow: str, bench: Bench) -> None:
    addresses = {"A": GOOD, "AAAA": "2001:db8::7"}
    with bench.ns.inside():
        server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        server.bind((CLEAR, 53))
    told = threading.Event()

    def answer() -> None:
        late: list[tuple[bytes, tuple[str, int]]] = []
        for _ in range(2):
            wire, peer = server.recvfrom(4096)
            query = dns.message.from_wire(wire)
            kind = "AAAA" if query.question[0].rdtype == 28 else "A"
            message = reply(query, ("", kind, addresses[kind]))
            if kind == slow:
                late.append((message, peer))
            else:
                server.sendto(message, peer)
        assert told.wait(5)
        server.sendto(*late[0])

    thread = threading.Thread(target=answer, daemon=True)
    thread.start()
    line = bench.line(CLEAR, source6="2001:db8::1")
    fast = addresses["A" if slow == "AAAA" else "AAAA"]
    first = bench.ask(line, "a.example")[0]
    assert (first.addresses, first.partial) == ((fast,), True)
    assert bench.resolver.known(line, "a.example") is first
    told.set()
    whole = bench.ask(line, "a.example")[0]
    assert (whole.addresses, whole.partial) == ((addresses["AAAA"], addresses["A"]), False)
    assert bench.resolver.known(line, "a.example") is whole
    thread.join(5)
    server.close()

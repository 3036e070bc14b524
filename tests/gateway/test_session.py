"""One client connection from its first byte to its last, over real sockets: heads, authorities, identity, TLS names."""

import contextlib
import struct
import time
from collections.abc import Callable

import pytest

from tests.gateway.kit import Ground, Talk, client_hello, in_records, until, with_ech, with_extension
from tests.gateway.node import Node, Worker, authorization, token

pytestmark = pytest.mark.root

GOOD = "n.tls.example:443"
WHO = f"Proxy-Authorization: {authorization('acme')}\r\n"


def refused(talk: Talk, status: int, reason: str, node: Node) -> dict[str, object]:
    """The refusal as the client saw it and as it was recorded: the same status, reason and reference."""
    head = talk.head()
    body = talk.rest()
    assert head.startswith(f"HTTP/1.1 {status} "), head
    record = node.final(talk)
    assert (record["kind"], record["reason"], record["status"]) == ("deny", reason, status), record
    assert f"(ref {record['ref']})" in head.splitlines()[0]
    assert f'details="{reason} ref={record["ref"]}"' in head
    assert record["ref"] == record["flow"]
    assert f'"reason":"{reason}"'.encode() in body or b"<html" in body
    return record


def connect(authority: str, fields: str = WHO, host: str | None = None) -> str:
    return f"CONNECT {authority} HTTP/1.1\r\nHost: {authority if host is None else host}\r\n{fields}\r\n"


MALFORMED, INVALID, OFF_LIST = (400, "malformed-request"), (403, "name-invalid"), (403, "not-whitelisted")

# What is no name and no address in its one spelling never gets as far as the whitelist; what is one, but is not on it,
# does. Either way nothing is resolved and nothing dialled.
AUTHORITIES = {
    "loopback in short": ("127.1:443", INVALID),
    "loopback as a number": ("2130706433:443", INVALID),
    "loopback in hexadecimal": ("0x7f000001:443", INVALID),
    "loopback in octal": ("0177.0.0.1:443", INVALID),
    "leading zero in an address": ("127.0.0.01:443", INVALID),
    "zero": ("0:443", INVALID),
    "loopback itself": ("127.0.0.1:443", OFF_LIST),
    "unspecified": ("[::]:443", OFF_LIST),
    "mapped loopback": ("[::ffff:127.0.0.1]:443", OFF_LIST),
    "a zone in the address": ("[fe80::1%eth0]:443", INVALID),
    "the metadata service": ("169.254.169.254:80", OFF_LIST),
    "the gateway itself": ("10.0.0.1:3128", OFF_LIST),
    "two trailing dots": ("n.tls.example..:443", INVALID),
    "a name that looks alike at its end": ("n.evil-tls.example:443", OFF_LIST),
    "a name that looks alike at its start": ("n.tls.example.evil:443", OFF_LIST),
    "the apex of a wildcard": ("tls.example:443", OFF_LIST),
    "an underscore": ("a_b.tls.example:443", INVALID),
    "a label of 64 octets": ("a" * 64 + ".tls.example:443", INVALID),
    "a name of 254 octets": (".".join(["a" * 60] * 4) + "aaaaaaa.tls.example:443", INVALID),
    "an A-label that does not come back": ("xn--a.tls.example:443", INVALID),
    "a comma": ("a,b.tls.example:443", INVALID),
    "userinfo": ("user@n.tls.example:443", MALFORMED),
    "a percent sign": ("n%2etls.example:443", INVALID),
    "no port": ("n.tls.example", MALFORMED),
    "an empty port": ("n.tls.example:", MALFORMED),
    "no host": (":443", MALFORMED),
    "zeros before the port": ("n.tls.example:0443", MALFORMED),
    "a negative port": ("n.tls.example:-12", MALFORMED),
    "a port by name": ("n.tls.example:https", MALFORMED),
    "a port beyond the last": ("n.tls.example:91337", MALFORMED),
    "port zero": ("n.tls.example:0", MALFORMED),
    "two brackets": ("[[::1]]:1", MALFORMED),
    "two ports": ("n.tls.example:443:443", MALFORMED),
    "another port of the service": ("n.tls.example:444", (403, "port-not-allowed")),
    "CONNECT to a plain HTTP service": ("n.http.example:80", (403, "protocol-not-allowed")),
}


@pytest.mark.parametrize("case", AUTHORITIES)
def test_an_authority_with(case: str, node: Node, worker: Worker, ground: Ground) -> None:
    authority, (status, reason) = AUTHORITIES[case]
    asked = {by.host for by in ground.names.asked}  # hosts, since a question of an earlier test may be repeated
    talk = ground.dial(worker.port).say(connect(authority))
    refused(talk, status, reason, node)
    assert {by.host for by in ground.names.asked} == asked


HEADS: dict[str, tuple[bytes | str, tuple[int, str]]] = {
    "another Host": (connect(GOOD, host="other.tls.example:443"), MALFORMED),
    "two Hosts": (connect(GOOD, WHO + f"Host: {GOOD}\r\n"), MALFORMED),
    "no Host": (f"CONNECT {GOOD} HTTP/1.1\r\n{WHO}\r\n", MALFORMED),
    "two credentials": (connect(GOOD, WHO + WHO), MALFORMED),
    "a bare LF": (connect(GOOD).replace("\r\n", "\n"), MALFORMED),
    "a bare CR": (connect(GOOD, WHO + "X: a\rb\r\n"), MALFORMED),
    "a folded line": (connect(GOOD, "X: a\r\n b\r\n" + WHO), MALFORMED),
    "a space before the colon": (connect(GOOD, "X : a\r\n" + WHO), MALFORMED),
    "an empty field name": (connect(GOOD, ": a\r\n" + WHO), MALFORMED),
    "a NUL in a value": (connect(GOOD, "X: a\0b\r\n" + WHO), MALFORMED),
    "a Content-Length on CONNECT": (connect(GOOD, WHO + "Content-Length: 5\r\n"), MALFORMED),
    "a chunked body on CONNECT": (connect(GOOD, WHO + "Transfer-Encoding: chunked\r\n"), MALFORMED),
    "an origin-form target": (f"GET / HTTP/1.1\r\nHost: {GOOD}\r\n{WHO}\r\n", MALFORMED),
    "an asterisk": (f"OPTIONS * HTTP/1.1\r\nHost: {GOOD}\r\n{WHO}\r\n", MALFORMED),
    "HTTP/2's preface": ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", MALFORMED),
    "HTTP/0.9": ("GET http://n.http.example/\r\n\r\n", MALFORMED),
    "a TLS hello instead of a head": (client_hello("n.tls.example"), MALFORMED),
    "an SSH banner instead of a head": ("SSH-2.0-OpenSSH_9.9\r\n\r\n", MALFORMED),
    "a PROXY preamble from nobody": ("PROXY TCP4 10.0.0.2 10.0.0.1 1 2\r\n" + connect(GOOD), MALFORMED),
    "two spaces in the request line": (connect(GOOD).replace(" HTTP", "  HTTP", 1), MALFORMED),
    "an endless head": (b"CONNECT n.tls.example:443 HTTP/1.1\r\nX: " + b"a" * 20_000, (431, "malformed-request")),
    "no credential": (connect(GOOD, ""), (407, "identity-unknown")),
    "another scheme": (connect(GOOD, "Proxy-Authorization: Bearer x\r\n"), (407, "identity-unknown")),
    "a wrong token": (
        connect(GOOD, WHO.replace(authorization("acme"), authorization("acme", 7))), (407, "identity-unknown"),
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", HEADS)
def test_a_head_with(case: str, node: Node, worker: Worker, ground: Ground) -> None:
    said, (status, reason) = HEADS[case]
    talk = ground.dial(worker.port).say(said)
    record = refused(talk, status, reason, node)
    assert token("acme") not in str(record)


def test_a_refusal_asks_for_credentials_and_closes(node: Node, worker: Worker, ground: Ground) -> None:
    talk = ground.dial(worker.port).say(connect(GOOD, ""))
    head = talk.head()
    assert 'Proxy-Authenticate: Basic realm="feiyu"\r\n' in head
    assert "Connection: close\r\n" in head
    talk.rest()


def test_nothing_is_read_as_a_request_behind_a_refusal(node: Node, worker: Worker, ground: Ground) -> None:
    site = ground.site("tcp")
    talk = ground.dial(worker.port).say(connect("off.list.example:443") + connect(site.authority))
    refused(talk, 403, "not-whitelisted", node)
    assert site.quiet()


def test_a_firm_cannot_use_its_credential_from_another_place(node: Node, worker: Worker, ground: Ground) -> None:
    for firm, source in (("acme", "birch"), ("birch", "stray")):
        fields = f"Proxy-Authorization: {authorization(firm)}\r\n"
        talk = ground.dial(worker.port, source).say(connect(GOOD, fields))
        record = refused(talk, 403, "source-not-allowed", node)
        assert record["tenant"] == firm


def test_a_head_byte_by_byte_is_the_same_head(node: Node, worker: Worker, ground: Ground) -> None:
    site = ground.site("tcp")
    talk = ground.dial(worker.port).trickle(connect(site.authority).encode())
    assert talk.head().startswith("HTTP/1.1 200 ")
    talk.close()
    site.accept().close()
    assert node.final(talk)["cause"] in ("client-closed", "upstream-closed")


CANONICAL = {"capitals": str.upper, "a trailing dot": lambda host: host + "."}


@pytest.mark.parametrize("case", CANONICAL)
def test_the_same_name_with(case: str, node: Node, worker: Worker, ground: Ground) -> None:
    site = ground.site("tcp")
    talk = node.tunnel(worker, f"{CANONICAL[case](site.host)}:{site.port}")
    talk.close()
    site.accept().close()
    assert node.final(talk)["host"] == site.host


def test_http_1_0_may_connect(node: Node, worker: Worker, ground: Ground) -> None:
    site = ground.site("tcp")
    talk = ground.dial(worker.port).say(f"CONNECT {site.authority} HTTP/1.0\r\n{WHO}\r\n")
    assert talk.head().startswith("HTTP/1.1 200 ")


# ---- TLS names


def greeted(node: Node, worker: Worker, ground: Ground, said: Callable[[str], bytes], *, slowly: bool = False) -> tuple[
    Talk, Talk, dict[str, object], bytes
]:  # fmt: skip
    """A tunnel on a TLS grant in which the client says something; what the service got of it, and the record."""
    site = ground.site("tls")
    talk = node.tunnel(worker, site.authority)
    there = site.accept()
    hello = said(site.host)
    (talk.trickle if slowly else talk.say)(hello)
    return talk, there, {"host": site.host}, hello


PASSING: dict[str, Callable[[str], bytes]] = {
    "in one piece": client_hello,
    "in capitals": lambda host: client_hello(host.upper()),
    "in records of 40 octets": lambda host: in_records(client_hello(host), 40),
    "in records of one octet": lambda host: in_records(client_hello(host), 1),
    "with ECH": lambda host: with_ech(client_hello(host)),
    "with bytes behind it": lambda host: client_hello(host) + b"\x14\x03\x03\x00\x01\x01",
}


@pytest.mark.parametrize("case", PASSING)
def test_a_hello_passes_unchanged(case: str, node: Node, worker: Worker, ground: Ground) -> None:
    talk, there, want, hello = greeted(node, worker, ground, PASSING[case])
    assert there.exactly(len(hello)) == hello
    there.say(b"and back")
    assert talk.exactly(8) == b"and back"
    talk.close()
    there.close()
    record = node.final(talk)
    assert (record["sni"], record["kind"], record["bytes_out"]) == (want["host"], "close", len(hello))
    assert record.get("ech", False) is (case == "with ECH")
    assert str(record["ja4"]).startswith("t13d")


def test_a_hello_byte_by_byte_passes_unchanged(node: Node, worker: Worker, ground: Ground) -> None:
    _talk, there, _, hello = greeted(node, worker, ground, client_hello, slowly=True)
    assert there.exactly(len(hello)) == hello


def test_a_hello_in_two_pieces_passes_wherever_it_is_cut(node: Node, worker: Worker, ground: Ground) -> None:
    site = ground.site("tls")
    hello = client_hello(site.host)
    cuts = [*range(1, 12), 43, 44, *range(len(hello) // 2, len(hello) // 2 + 4), len(hello) - 1]
    talks = [(cut, node.tunnel(worker, site.authority)) for cut in cuts]
    for cut, talk in talks:
        talk.say(hello[:cut])
    time.sleep(0.02)
    for cut, talk in talks:
        talk.say(hello[cut:])
    for _ in talks:
        assert site.accept().exactly(len(hello)) == hello


ALERT_NAME, ALERT_DECODE = 112, 50
HELLOS: dict[str, tuple[Callable[[str], bytes], str, int]] = {
    "another name": (lambda _: client_hello("other.tls.example"), "name-mismatch", ALERT_NAME),
    "no name": (lambda _: client_hello(None), "name-mismatch", ALERT_NAME),
    "the service's address as name": (lambda _: client_hello("203.0.113.60"), "name-mismatch", ALERT_NAME),
    "a name below the permitted one": (lambda host: client_hello("a." + host), "name-mismatch", ALERT_NAME),
    "another name, in pieces": (lambda _: in_records(client_hello("x.tls.example"), 7), "name-mismatch", ALERT_NAME),
    "SSH": (lambda _: b"SSH-2.0-OpenSSH_9.9\r\n", "protocol-not-allowed", ALERT_NAME),
    "plain HTTP": (lambda host: f"GET / HTTP/1.1\r\nHost: {host}\r\n\r\n".encode(), "protocol-not-allowed", ALERT_NAME),
    "an SSLv2 hello": (lambda _: b"\x80\x2e\x01\x00\x02" + bytes(40), "protocol-not-allowed", ALERT_NAME),
    "a record without contents": (lambda _: b"\x16\x03\x01\x00\x00", "malformed-request", ALERT_DECODE),
    "the name twice": (
        lambda host: with_extension(client_hello(host), 0, b"\0\6\0\0\3a.b"), "malformed-request", ALERT_DECODE,
    ),
    "an encrypted hello that no server can read": (
        lambda host: with_extension(client_hello(host), 0xFE0D, bytes(40)), "malformed-request", ALERT_DECODE,
    ),
    "an inner hello outside of an encrypted one": (
        lambda host: with_extension(client_hello(host), 0xFE0D, b"\1"), "malformed-request", ALERT_DECODE,
    ),
    "a hello of 70,000 octets": (
        lambda _: b"\x16\x03\x01\x40\x00\x01\x01\x11\x70" + bytes(40), "malformed-request", ALERT_DECODE,
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", HELLOS)
def test_behind_the_200_is_refused(case: str, node: Node, worker: Worker, ground: Ground) -> None:
    said, reason, alert = HELLOS[case]
    talk, there, _, _ = greeted(node, worker, ground, said)
    assert talk.rest() == bytes((21, 3, 3, 0, 2, 2, alert))
    assert there.was_reset()
    assert not there.ahead, "no byte of it may reach the service"
    record = node.final(talk)
    assert (record["kind"], record["reason"], record["cause"], record["decision"]) == (
        "close", reason, "refused", "deny",
    )  # fmt: skip
    assert [r["kind"] for r in node.of(talk)] == ["open", "close"]
    assert not record.get("bytes_out")


def test_a_hello_that_never_ends_is_refused_in_time(hasty: Node, ground: Ground) -> None:
    node, worker = hasty, hasty.workers["w0.1"]
    talk, there, _, _ = greeted(node, worker, ground, lambda host: client_hello(host)[:100])
    assert talk.rest() == bytes((21, 3, 3, 0, 2, 2, ALERT_DECODE))
    assert there.was_reset()
    record = node.final(talk)
    assert (record["reason"], record["cause"]) == ("handshake-timeout", "refused")


def test_a_client_that_leaves_before_its_hello_leaves_a_closing_record(
    node: Node, worker: Worker, ground: Ground
) -> None:
    talk, there, _, _ = greeted(node, worker, ground, lambda host: client_hello(host)[:100])
    talk.close()
    there.rest()
    assert node.final(talk)["cause"] == "client-closed"


# ---- handshakes that do not come to their end


def test_slow_heads_are_refused_in_time_and_the_worker_serves_on(hasty: Node, ground: Ground) -> None:
    node, worker = hasty, hasty.workers["w0.1"]
    slow = [ground.dial(worker.port).say(b"CONNECT n.tls.exam") for _ in range(50)]
    silent = [ground.dial(worker.port) for _ in range(50)]
    site = ground.site("tcp")
    node.tunnel(worker, site.authority).close()
    site.accept()
    end = time.monotonic() + 0.7
    while time.monotonic() < end:  # one more byte now and then buys no time
        for talk in slow[:5]:
            with contextlib.suppress(OSError):
                talk.say(b"x")
        time.sleep(0.1)
    for talk in slow + silent:
        assert talk.head().startswith("HTTP/1.1 408 ")
        assert node.final(talk)["reason"] == "handshake-timeout"


def test_a_head_that_ends_with_the_connection_is_refused(node: Node, worker: Worker, ground: Ground) -> None:
    talk = ground.dial(worker.port).say(b"CONNECT n.tls.exam").half_close()
    refused(talk, 400, "malformed-request", node)


def test_a_client_that_leaves_without_a_word_leaves_no_record(node: Node, worker: Worker, ground: Ground) -> None:
    talks = [ground.dial(worker.port) for _ in range(20)]
    for number, talk in enumerate(talks):
        talk.close() if number % 2 else talk.reset()
    site = ground.site("tcp")
    node.tunnel(worker, site.authority)
    assert not [r for talk in talks for r in node.of(talk)]


def test_a_client_that_leaves_while_its_line_is_dialled_is_recorded(node: Node, worker: Worker, ground: Ground) -> None:
    site = ground.site("tcp")
    ground.names.answers[site.host] = lambda *_: []
    talk = node.connect(worker, site.authority)
    until(lambda: ground.names.count(site.host), "the question")
    talk.reset()
    record = node.final(talk)
    assert (record["kind"], record["reason"]) == ("deny", "dial-failed")


def test_of_too_many_handshakes_of_one_source_the_oldest_are_refused(
    another: Callable[..., Node], ground: Ground
) -> None:
    limits = {"handshakes_per_source": 10, "stranger_refusals_per_second": 5}
    node = another(limits=limits, timeouts={"handshake": 10, "first_byte": 10})
    worker = node.worker()
    before = worker.descriptors()
    held = [ground.dial(worker.port) for _ in range(10)]
    until(lambda: worker.descriptors() >= before + 10, "ten handshakes in progress")
    beyond = [ground.dial(worker.port) for _ in range(30)]
    for talk in (*held, *beyond[:20]):
        assert talk.head().startswith("HTTP/1.1 429 ")
        assert talk.rest() != b"", "it says why"
    for talk in beyond[20:]:
        assert talk.say(connect(GOOD)).head().startswith("HTTP/1.1 502 "), "it goes on"
    assert ground.dial(worker.port, "birch").say(connect(GOOD)).head().startswith("HTTP/1.1 403 ")
    for talk in (*held, *beyond):
        talk.close()
    until(lambda: worker.descriptors() <= before + 4, "all are over")
    ground.dial(worker.port).say(connect(GOOD)).head()
    worker.stop()
    limited = [r for r in node.records() if r.get("reason") == "rate-limited"]
    counted = [r.get("count", 0) or 1 for r in limited]
    assert sum(counted) == 30, "what is not written one by one is counted, up to the worker's end"
    assert len(counted) < 15


def test_bytes_pipelined_behind_connect_arrive_behind_the_answer(node: Node, worker: Worker, ground: Ground) -> None:
    site = ground.site("tcp")
    sent = struct.pack("!I", 7) * 60_000
    talk = node.connect(worker, site.authority)
    talk.say(sent).half_close()
    talk.head()
    assert site.accept().rest() == sent

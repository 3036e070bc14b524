"""The TLS listener over real sockets: who gets in, what is relayed, what cuts, what certificates are in force."""

import hashlib
import os
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from gateway.handshake.tls_alert import fatal_alert
from tenants import ca
from tests.gateway.kit import GATEWAY, Ground, Talk, client_hello, until
from tests.gateway.node import Worker, authorization, replace
from tests.gateway.secure_kit import SERVER, ClientFile, SecureNode, ask, ended, goodbye
from tests.gateway.test_second_hello import EARLY, RETRY

pytestmark = pytest.mark.root

OPEN = "HTTP/1.1 200 "


@pytest.fixture(scope="module")
def shared(session_ground: Ground, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecureNode]:
    with SecureNode(session_ground, tmp_path_factory.mktemp("secure")) as found:
        found.worker()
        yield found


@pytest.fixture
def node(ground: Ground, shared: SecureNode) -> Iterator[SecureNode]:
    """A node whose listener demands certificates; its policy is put back after each test."""
    yield shared
    ground.tidy()
    shared.restore()


@pytest.fixture
def worker(node: SecureNode) -> Worker:
    return node.workers["w0.1"]


@pytest.fixture
def made(ground: Ground, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., SecureNode]]:
    """Nodes of a test's own."""
    nodes: list[SecureNode] = []

    def make(**settings: Any) -> SecureNode:
        nodes.append(SecureNode(ground, tmp_path_factory.mktemp("secure"), **settings))
        nodes[-1].worker()
        return nodes[-1]

    yield make
    for one in nodes:
        one.__exit__(None, None, None)


def tunnel(node: SecureNode, client: ClientFile, authority: str, **more: Any) -> Talk:
    talk = node.secure(node.workers["w0.1"], client, **more).say(ask(authority))
    head = talk.head()
    assert head.startswith(OPEN), head
    return talk


def test_a_certificate_alone_opens_a_tunnel(node: SecureNode, ground: Ground) -> None:
    client, site = node.known(), ground.site("tcp")
    talk = tunnel(node, client, site.authority)
    server = site.accept()
    server.say("hello from abroad")
    assert talk.exactly(17) == b"hello from abroad"
    talk.say("hello")
    assert server.exactly(5) == b"hello"
    goodbye(talk)
    assert server.rest() == b""
    server.close()
    record = node.final(talk)
    assert (record["kind"], record["cause"]) == ("close", "client-closed")
    assert (record["tenant"], record["credential"], record["listener"]) == ("acme", client.name, "secure")
    assert (record["bytes_out"], record["bytes_in"]) == (5, 17)


def test_the_clients_tls_inside_is_checked_as_without_tls_outside(node: SecureNode, ground: Ground) -> None:
    client, site = node.known(), ground.site("tls")
    talk = tunnel(node, client, site.authority)
    hello = client_hello(site.host)
    talk.trickle(hello)
    assert site.accept().exactly(len(hello)) == hello
    other = tunnel(node, client, site.authority).say(client_hello("other.tls.example"))
    assert other.rest()[:1] == b"\x15"
    assert node.final(other)["reason"] == "name-mismatch"


@pytest.mark.parametrize("asked", [True, False], ids=["after a retry", "ahead of it"])
def test_a_second_hello_is_checked_as_without_tls_outside(node: SecureNode, ground: Ground, asked: bool) -> None:
    client, site = node.known(), ground.site("tls")
    for other, said in (("other.tls.example", fatal_alert()), (site.host, b"")):
        talk, hello = tunnel(node, client, site.authority), client_hello(site.host)
        talk.say(hello)
        server = site.accept()
        server.exactly(len(hello))
        if asked:
            server.say(RETRY)
            assert talk.exactly(len(RETRY)) == RETRY
        second = client_hello(other)
        talk.say(EARLY + second[:50])
        assert server.exactly(len(EARLY)) == EARLY
        talk.say(second[50:])
        if said:
            assert talk.rest() == said
            assert server.was_reset()
            assert node.final(talk)["reason"] == "name-mismatch"
        else:
            assert server.exactly(len(second)) == second


def test_head_and_hello_may_come_in_one_record_or_byte_by_byte(node: SecureNode, ground: Ground) -> None:
    client, site = node.known(), ground.site("tls")
    hello = client_hello(site.host)
    for feed in ("say", "trickle"):
        talk = node.secure(node.workers["w0.1"], client)
        getattr(talk, feed)(ask(site.authority).encode() + hello)
        assert talk.head().startswith(OPEN)
        assert site.accept().exactly(len(hello)) == hello


def test_the_handshake_may_come_byte_by_byte(node: SecureNode, ground: Ground, worker: Worker) -> None:
    client, site = node.known(), ground.site("tcp")
    talk = ground.dial(worker.port)
    inward, outward = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = client.context().wrap_bio(inward, outward, server_hostname=SERVER)
    while True:
        try:
            tls.do_handshake()
        except ssl.SSLWantReadError:
            talk.trickle(outward.read())
            inward.write(talk.sock.recv(65_536))
        else:
            break
    tls.write(ask(site.authority).encode())
    talk.trickle(outward.read())
    heard = b""
    while b"\r\n\r\n" not in heard:
        inward.write(talk.sock.recv(65_536))
        try:
            heard += tls.read(65_536)
        except ssl.SSLWantReadError:
            continue
    assert heard.startswith(OPEN.encode())
    site.accept()


def none_shown(node: SecureNode) -> tuple[ClientFile, bool]:
    return node.known(), False


def expired(node: SecureNode) -> tuple[ClientFile, bool]:
    client = node.pki.client(now=node.pki.now - 90, life=30)
    node.put(credentials=client.credential())
    return client, True


def of_another_ca(node: SecureNode) -> tuple[ClientFile, bool]:
    client = node.pki.client(issuer=ca.new_issuing(ca.new_root("zone.example", node.pki.now), node.pki.now))
    node.put(credentials=client.credential())
    return client, True


AT_THE_DOOR = {
    "no certificate": (none_shown, "identity-unknown", "TLS: peer did not return a certificate"),
    "expired": (expired, "identity-revoked", "client certificate: certificate has expired"),
    "of another CA": (of_another_ca, "identity-unknown", "client certificate: unable to get local issuer certificate"),
}


@pytest.mark.parametrize("case", AT_THE_DOOR)
def test_who_fails_in_the_handshake_is_told_by_an_alert_and_recorded(
    node: SecureNode, worker: Worker, ground: Ground, case: str
) -> None:
    make, reason, detail = AT_THE_DOOR[case]
    client, shown = make(node)
    talk = ground.dial(worker.port)
    talk.sock = client.context(shown=shown).wrap_socket(talk.sock, server_hostname=SERVER)
    with pytest.raises(ssl.SSLError, match="ALERT"):
        talk.say(ask("n.tcp.example:7000")).more()
    record = node.final(talk)
    assert (record["kind"], record["reason"], record["detail"]) == ("deny", reason, detail)
    assert record["ref"] == record["flow"]


def unregistered(node: SecureNode) -> ClientFile:
    return node.pki.client()


def replaced(node: SecureNode) -> ClientFile:
    """An older certificate of a credential that has another one now."""
    older = node.pki.client()
    node.known()
    return older


def revoked(node: SecureNode) -> ClientFile:
    return node.known(revoked=node.pki.now)


def over(node: SecureNode) -> ClientFile:
    """Its term in the register is over before its certificate is."""
    return node.known(valid_until=node.pki.now - 1)


def a_tokens_name(node: SecureNode) -> ClientFile:
    """It names a credential that is a token."""
    return node.pki.client(number=0)


BEHIND_THE_DOOR: dict[str, tuple[Callable[[SecureNode], ClientFile], int, str]] = {
    "not in the register": (unregistered, 407, "identity-unknown"),
    "replaced by another": (replaced, 407, "identity-unknown"),
    "revoked": (revoked, 407, "identity-revoked"),
    "over in the register": (over, 407, "identity-revoked"),
    "naming a token's credential": (a_tokens_name, 407, "identity-unknown"),
}


@pytest.mark.parametrize("case", BEHIND_THE_DOOR)
def test_a_certificate_that_the_register_does_not_hold_valid_is_refused_in_words(node: SecureNode, case: str) -> None:
    make, status, reason = BEHIND_THE_DOOR[case]
    talk = node.secure(node.workers["w0.1"], make(node)).say(ask("n.tcp.example:7000"))
    head = talk.head()
    assert head.startswith(f"HTTP/1.1 {status} "), head
    assert f'"reason":"{reason}"'.encode() in talk.rest()  # and the end is a close_notify: rest() saw no error
    record = node.final(talk)
    assert (record["reason"], record["status"]) == (reason, status)
    assert record["ref"] in head.splitlines()[0]


def test_a_certificate_counts_from_its_firms_places_only(node: SecureNode) -> None:
    talk = node.secure(node.workers["w0.1"], node.known(), firm="birch").say(ask("n.tcp.example:7000"))
    assert talk.head().startswith("HTTP/1.1 403 ")
    assert node.final(talk)["reason"] == "source-not-allowed"


def test_a_token_does_not_stand_in_for_the_certificate(node: SecureNode) -> None:
    who = f"Proxy-Authorization: {authorization('acme')}\r\n"
    talk = node.secure(node.workers["w0.1"], node.pki.client()).say(ask("n.tcp.example:7000", who))
    assert talk.head().startswith("HTTP/1.1 407 ")
    assert node.final(talk)["reason"] == "identity-unknown"


def test_where_both_are_demanded_both_must_be_there_and_of_one_firm(
    made: Callable[..., SecureNode], ground: Ground
) -> None:
    node = made(demand=("certificate", "token"))
    client, site, worker = node.known(), ground.site("tcp"), node.workers["w0.1"]
    for firm, status, detail in (
        ("", "407", "no token beside the certificate"),
        ("birch", "407", "the token and the certificate belong to different firms"),
        ("acme", "200", ""),
    ):
        who = f"Proxy-Authorization: {authorization(firm)}\r\n" if firm else ""
        talk = node.secure(worker, client).say(ask(site.authority, who))
        assert talk.head().startswith(f"HTTP/1.1 {status} "), firm
        if detail:
            assert node.final(talk)["detail"] == detail
    # Either of them cuts the tunnel that is open.
    node.put(credentials=replace(node.policy["credentials:c-acme000000"], revoked=node.pki.now))
    assert node.final(talk)["cause"] == "cut-by-policy"


def test_where_a_token_is_demanded_no_certificate_is_asked_for(made: Callable[..., SecureNode], ground: Ground) -> None:
    node = made(demand=("token",))
    site, worker = ground.site("tcp"), node.workers["w0.1"]
    client = node.pki.client()
    context = client.context(shown=False)
    talk = node.secure(worker, client, context=context)
    talk.say(ask(site.authority, f"Proxy-Authorization: {authorization('acme')}\r\n"))
    assert talk.head().startswith(OPEN)
    talk = node.secure(worker, client).say(ask(site.authority))
    assert talk.head().startswith("HTTP/1.1 407 ")


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=str)
def test_revocation_cuts_the_tunnel_and_does_not_let_its_session_in_again(
    node: SecureNode, ground: Ground, worker: Worker, version: ssl.TLSVersion
) -> None:
    client, site = node.known(), ground.site("tcp")
    context = client.context(version)
    first = tunnel(node, client, site.authority, context=context)
    session = first.sock.session  # type: ignore[attr-defined]
    second = tunnel(node, client, site.authority, context=context, session=session)
    assert second.sock.session_reused  # type: ignore[attr-defined]
    assert node.of(second)[0]["credential"] == client.name
    node.put(credentials=client.credential(revoked=node.pki.now))
    for talk in (first, second):
        assert node.final(talk)["cause"] == "cut-by-policy"
        assert ended(talk)
    third = node.secure(worker, client, context=context, session=session)
    assert third.sock.session_reused  # type: ignore[attr-defined]
    assert third.say(ask(site.authority)).head().startswith("HTTP/1.1 407 ")
    assert node.final(third)["reason"] == "identity-revoked"


def test_a_client_that_takes_the_port_for_a_plain_proxys_is_told_in_plain_words(
    node: SecureNode, ground: Ground, worker: Worker
) -> None:
    talk = ground.dial(worker.port).say(ask("n.tcp.example:7000"))
    assert talk.head().startswith("HTTP/1.1 400 ")
    assert b"speaks TLS" in talk.rest()
    record = node.final(talk)
    assert (record["reason"], record["status"]) == ("malformed-request", 400)


def test_an_end_inside_the_handshake_is_recorded_and_one_before_it_is_not(
    node: SecureNode, ground: Ground, worker: Worker
) -> None:
    talk = ground.dial(worker.port).say(client_hello(SERVER)[:100]).half_close()
    assert talk.rest() == b""
    assert node.final(talk)["detail"] == "the connection ended inside the TLS handshake"
    talk = ground.dial(worker.port).half_close()
    assert talk.rest() == b""
    assert node.of(talk) == []


def test_a_handshake_that_goes_on_too_long_ends(made: Callable[..., SecureNode], ground: Ground) -> None:
    node = made(timeouts={"handshake": 1})
    talks = [ground.dial(node.workers["w0.1"].port).say(client_hello(SERVER)[:length]) for length in (0, 1, 200)]
    for talk in talks:
        assert talk.rest() == b""
        record = node.final(talk)
        assert (record["reason"], record["detail"]) == ("handshake-timeout", "no whole TLS handshake in time")


def test_handshakes_in_progress_are_bounded_and_those_that_are_over_do_not_count(
    made: Callable[..., SecureNode], ground: Ground
) -> None:
    node = made(limits={"tls_handshakes": 4})
    client, site, worker = node.known(), ground.site("tcp"), node.workers["w0.1"]
    live = [tunnel(node, client, site.authority) for _ in range(6)]
    waiting = [ground.dial(worker.port).say(client_hello(SERVER)[:50]) for _ in range(4)]
    assert tunnel(node, client, site.authority), "a newcomer is served while they wait"
    assert waiting[0].rest() == b""
    record = node.final(waiting[0])
    assert (record["reason"], record["detail"]) == (
        "overloaded", "too many TLS handshakes in progress: made room for newer ones",
    )  # fmt: skip
    assert not [talk for talk in waiting[1:] if node.of(talk)], "only the oldest had to leave"
    for talk in (*live, *waiting[1:]):
        talk.close()


def stream(seed: int, size: int) -> Iterator[bytes]:
    """Bytes that repeat nowhere near."""
    block = hashlib.sha512(str(seed).encode()).digest() * 1024
    for n in range(size // len(block)):
        yield n.to_bytes(8) + block[8:]


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=str)
@pytest.mark.parametrize("direction", ["up", "down", "both"])
def test_sixty_four_megabytes_arrive_as_they_were_sent(
    node: SecureNode, ground: Ground, direction: str, version: ssl.TLSVersion
) -> None:
    client, site, size = node.known(), ground.site("tcp"), 64 << 20
    talk = tunnel(node, client, site.authority, context=client.context(version))
    server = site.accept()
    found: dict[str, str] = {}

    def send(to: Talk, seed: int) -> None:
        for piece in stream(seed, size):
            to.sock.sendall(piece)

    def receive(end: Talk, name: str) -> None:
        left, digest = size, hashlib.sha256(end.ahead)
        while left:
            data = end.sock.recv(min(left, 1 << 18))
            assert data
            left -= len(data)
            digest.update(data)
        found[name] = digest.hexdigest()

    # A TLS socket of Python's is used by one thread at a time, so each way has its own turn, but both may be under way
    # at the gateway: what the service sends waits there.
    jobs: list[threading.Thread] = []
    if direction in ("down", "both"):
        jobs.append(threading.Thread(target=send, args=(server, 1)))
    if direction in ("up", "both"):
        jobs.append(threading.Thread(target=receive, args=(server, "up")))
    for job in jobs:
        job.start()
    if direction in ("up", "both"):
        send(talk, 2)
    if direction in ("down", "both"):
        receive(talk, "down")
    for job in jobs:
        job.join()
    for name, seed in (("down", 1), ("up", 2)):
        if name in found:
            assert found[name] == hashlib.sha256(b"".join(stream(seed, size))).hexdigest()
    assert len(found) == (2 if direction == "both" else 1)
    goodbye(talk)
    server.close()
    record = node.final(talk)
    assert record.get("bytes_in", 0) == (size if "down" in found else 0)
    assert record.get("bytes_out", 0) == (size if "up" in found else 0)


def test_a_client_that_does_not_read_holds_up_the_service_and_no_memory(node: SecureNode, ground: Ground) -> None:
    client, site, worker = node.known(), ground.site("tcp"), node.workers["w0.1"]
    pairs = []
    for _ in range(16):
        talk = tunnel(node, client, site.authority, receive_buffer=16_384)
        server = site.accept()
        server.sock.setblocking(False)
        pairs.append((talk, server))
    before = worker.anonymous()
    block = bytes(1 << 20)

    def full(server: Talk) -> bool:
        try:
            server.sock.send(block)
        except BlockingIOError:
            return True
        return False

    for _, server in pairs:
        until(lambda server=server: all(full(server) for _ in range(20) if not time.sleep(0.001)), "it is held up")
    assert worker.anonymous() - before < 16 * 1024  # kB: half a megabyte for each
    talk, _ = pairs[0]
    assert len(talk.exactly(1 << 20)) == 1 << 20
    for talk, server in pairs:
        server.reset()
        talk.close()


def test_the_services_end_is_a_close_notify_and_the_client_may_go_on(node: SecureNode, ground: Ground) -> None:
    client, site = node.known(), ground.site("tcp")
    talk = tunnel(node, client, site.authority)
    server = site.accept().say("last words").half_close()
    assert talk.rest() == b"last words"
    talk.say("and mine")
    assert server.exactly(8) == b"and mine"
    goodbye(talk)
    assert server.rest() == b""
    record = node.final(talk)
    assert (record["cause"], record["bytes_in"], record["bytes_out"]) == ("upstream-closed", 10, 8)


def test_an_end_without_close_notify_is_a_reset_to_a_service_that_could_not_tell(
    node: SecureNode, ground: Ground
) -> None:
    client, site = node.known(), ground.site("tcp")
    talk = tunnel(node, client, site.authority).say("half of a")
    server = site.accept()
    assert server.exactly(9) == b"half of a"
    os.close(talk.sock.detach())
    assert server.was_reset()
    inner = ground.site("tls")
    talk = tunnel(node, client, inner.authority)
    hello = client_hello(inner.host)
    talk.say(hello)
    server = inner.accept()
    assert server.exactly(len(hello)) == hello
    os.close(talk.sock.detach())
    assert server.rest() == b""


def test_key_updates_pass_by_the_tunnel(node: SecureNode, ground: Ground, worker: Worker) -> None:
    """openssl s_client asks for new keys of both directions with "K"."""
    client, site = node.known(), ground.site("tcp")
    command = ["openssl", "s_client", "-connect", f"{GATEWAY}:{worker.port}", "-tls1_3", "-crlf", "-CAfile"]
    command += [str(client.trusted), "-verify_return_error", "-cert", str(client.path), "-key", str(client.path)]
    with ground.client.inside():
        openssl = subprocess.Popen(
            [*command, "-bind", "10.0.0.2:0"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
    assert openssl.stdin is not None
    assert openssl.stdout is not None
    try:
        openssl.stdin.write(ask(site.authority).replace("\r", "").encode())
        openssl.stdin.flush()
        server = site.accept()
        for n in range(20):
            openssl.stdin.write(b"K\n")
            openssl.stdin.flush()
            time.sleep(0.02)  # s_client takes a command only where it is all that it reads
            openssl.stdin.write(b"%04d\n" % n)
            openssl.stdin.flush()
            assert server.exactly(6) == b"%04d\r\n" % n
            server.say(f"<{n:04}>")
        server.close()
        said = openssl.stdout.read()  # the close_notify ends it
    finally:
        openssl.kill()
        openssl.wait()
    assert said.count(b"KEYUPDATE") == 20
    assert said.count(b"<00") == 20


def test_a_worker_whose_listener_has_no_certificate_says_so_and_ends(
    ground: Ground, tmp_path_factory: pytest.TempPathFactory
) -> None:
    node = SecureNode(ground, tmp_path_factory.mktemp("secure"))
    node.pki.key.unlink()
    with node, pytest.raises(AssertionError, match=r"a TLS listener cannot be opened: .*server\.key: No such file"):
        node.worker()


def test_plain_requests_pass_inside_tls_and_the_connection_serves_the_next(node: SecureNode, ground: Ground) -> None:
    client, site = node.known(), ground.site("http")
    talk = node.secure(node.workers["w0.1"], client)
    body = os.urandom(3_000_000)
    for _ in range(2):
        talk.say(f"GET http://{site.host}/x HTTP/1.1\r\nHost: {site.host}\r\n\r\n")
        server = site.accept() if not site.held else Talk(site.held[0])
        assert server.head().startswith("GET /x HTTP/1.1")
        threading.Thread(
            target=server.say, args=(f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body,)
        ).start()
        assert talk.head().startswith("HTTP/1.1 200 ")
        assert talk.exactly(len(body)) == body
    record = node.final(talk, 2)
    assert (record["cause"], record["credential"]) == ("completed", client.name)
    talk.say("GET http://n.nowhere.example/ HTTP/1.1\r\nHost: n.nowhere.example\r\n\r\n")
    assert talk.head().startswith("HTTP/1.1 403 ")
    assert b"not-whitelisted" in talk.rest()


def shown(node: SecureNode, worker: Worker, client: ClientFile) -> bytes:
    """The certificate that the listener shows."""
    talk = node.secure(worker, client)
    der: bytes = talk.sock.getpeercert(True)  # type: ignore[attr-defined]
    talk.close()
    return der


def test_a_new_certificate_is_in_force_without_a_restart_or_a_lost_connection(
    made: Callable[..., SecureNode], ground: Ground
) -> None:
    node = made()
    client, site, worker = node.known(), ground.site("tcp"), node.workers["w0.1"]
    talk = tunnel(node, client, site.authority)
    server = site.accept()
    before = shown(node, worker, client)
    node.pki.certificate.write_text("half of a certif")
    until(lambda: "goes on with the certificate it has" in worker.said.read_text(), "the broken file is noticed")
    assert shown(node, worker, client) == before
    fresh = node.pki.serve()
    until(lambda: shown(node, worker, client) != before, "the new certificate is shown")
    assert shown(node, worker, client) == fresh.public_bytes(Encoding.DER)
    server.say("still here")
    assert talk.exactly(10) == b"still here"
    # Another CA: who has its certificate comes in, who has one of the old gets no further.
    issuing = ca.new_issuing(node.pki.root, node.pki.now)
    newer = node.pki.client(number=8, issuer=issuing)
    node.put(credentials=newer.credential())
    node.pki.client_ca.write_bytes(ca.pem(issuing.certificate))
    until(lambda: worker.said.read_text().count("has new TLS files in force") >= 2, "the new CA is taken")
    assert tunnel(node, newer, site.authority)
    with pytest.raises(ssl.SSLError, match="ALERT"):
        node.secure(worker, client).say(ask(site.authority)).more()
    server.say("and still")
    assert talk.exactly(9) == b"and still"


def test_a_drained_worker_ends_idle_connections_with_a_word_and_others_at_the_drain_timeout(
    made: Callable[..., SecureNode], ground: Ground
) -> None:
    node = made(timeouts={"drain": 1})
    client, site, worker = node.known(), ground.site("http"), node.workers["w0.1"]
    idle = node.secure(worker, client).say(f"GET http://{site.host}/ HTTP/1.1\r\nHost: {site.host}\r\n\r\n")
    server = site.accept()
    assert server.head().startswith("GET / ")
    server.say("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
    assert idle.head().startswith("HTTP/1.1 200 ")
    assert idle.exactly(2) == b"ok"
    busy = tunnel(node, client, ground.site("tcp").authority)
    worker.process.terminate()
    assert idle.rest() == b""  # a close_notify
    assert worker.ended() == 0
    assert node.final(busy)["cause"] == "drained"
    assert ended(busy)

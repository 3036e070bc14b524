"""A second ClientHello, after a HelloRetryRequest or ahead of it: what is read of it, what becomes of the tunnel."""

import ssl
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from gateway.handshake.client_hello import HelloError, parse_client_hello
from gateway.handshake.hello_memo import facts_of
from gateway.handshake.second_hello import RETRY_RANDOM, Passed, SecondHelloReader, asks_again, second_fault
from gateway.handshake.tls_alert import DECODE_ERROR, ILLEGAL_PARAMETER, UNRECOGNIZED_NAME, fatal_alert
from tests.gateway.kit import Ground, Talk, client_hello, in_records, with_ech, with_extension
from tests.gateway.node import Node, Worker
from tests.gateway.secure_kit import Pki

NAME = "n1.tls.example"
CHANGE, EARLY = b"\x14\x03\x03\0\1\1", b"\x17\x03\x03\0\5early"


def server_hello(random: bytes) -> bytes:
    """TLS_AES_128_GCM_SHA256, TLS 1.3, secp256r1: what a retry says, and, with another random, what a service says that
    has what it needs (but for its share)."""
    body = b"\x03\x03" + random + b"\0\x13\x01\0\0\x0c\0\x2b\0\2\x03\x04\0\x33\0\2\0\x17"
    message = b"\2" + len(body).to_bytes(3) + body
    return b"\x16\x03\x03" + len(message).to_bytes(2) + message


RETRY, USUAL = server_hello(RETRY_RANDOM), server_hello(bytes(range(32)))

FIRST_WORDS = {
    "a retry": (RETRY, True),
    "a retry and what comes behind it": (RETRY + CHANGE, True),
    "a ServerHello": (USUAL, False),
    "the random in another message": (RETRY[:5] + b"\x0b" + RETRY[6:], False),
    "the random in another record": (b"\x17" + RETRY[1:], False),
    "an alert": (fatal_alert(), False),
    "words of another protocol": (b"SSH-2.0-x\r\n", False),
    "nothing yet": (b"", None),
    "all of the random but the last octet": (RETRY[:42], None),
    "half of it, and then another": (RETRY[:30] + b"\0", False),
}


@pytest.mark.parametrize("case", FIRST_WORDS)
def test_the_first_words_of_a_service(case: str) -> None:
    said, asked = FIRST_WORDS[case]
    assert asks_again(said) is asked
    assert asks_again(memoryview(said)) is asked


HELLO = client_hello(NAME)
GOES_ON: dict[str, bytes] = {
    "a hello": HELLO,
    "behind change_cipher_spec": CHANGE + HELLO,
    "behind early data": EARLY + CHANGE + EARLY + HELLO,
    "in records of 40 octets": CHANGE + in_records(HELLO, 40),
}


@pytest.mark.parametrize("case", GOES_ON)
@pytest.mark.parametrize("step", [1, 7, 100_000])
def test_a_hello_comes_out_only_whole_and_nothing_else_waits(case: str, step: int) -> None:
    said, reader, out = GOES_ON[case], SecondHelloReader(), b""
    before = said.index(b"\x16\x03\x01")
    for at in range(0, len(said), step):
        passed = reader.read(said[at : at + step])
        out += passed.data
        if passed.hello is not None:
            break
        assert len(out) <= before
    assert passed.hello is not None
    assert passed.hello.sni == NAME
    assert out == said


def test_no_tls_is_no_hello() -> None:
    assert SecondHelloReader().read(b"GET / HTTP/1.1\r\n") == Passed(b"GET / HTTP/1.1\r\n", is_other=True)
    assert SecondHelloReader().read(CHANGE + b"CMD") == Passed(CHANGE + b"CMD", is_other=True)


@pytest.mark.parametrize("said", [b"\x16\x03\x03\0\4\x14\0\0\0", b"\x16\x03\x03\0\0", HELLO[:9] + CHANGE + HELLO[9:]])
def test_another_message_of_the_handshake_is_refused(said: bytes) -> None:
    with pytest.raises(HelloError):
        SecondHelloReader().read(said)


CHANGED: dict[str, tuple[Callable[[str], bytes], int]] = {
    "another name": (lambda name: client_hello("other.tls.example"), UNRECOGNIZED_NAME),
    "another case of the name is the same": (lambda name: client_hello(name.upper()), 0),
    "no name": (lambda _: client_hello(None), UNRECOGNIZED_NAME),
    "the same, with a cookie": (lambda name: with_extension(client_hello(name), 44, b"\0\2ok"), 0),
    "another protocol": (lambda name: with_extension(client_hello(name), 16, b"\0\3\2h2"), ILLEGAL_PARAMETER),
    "an encrypted hello": (lambda name: with_ech(client_hello(name)), ILLEGAL_PARAMETER),
}


@pytest.mark.parametrize("case", CHANGED)
def test_what_may_change(case: str) -> None:
    said, alert = CHANGED[case]
    first, second = parse_client_hello(HELLO), parse_client_hello(said(NAME))
    assert first is not None
    assert second is not None
    fault = second_fault(facts_of(first), facts_of(second))
    assert (fault.alert if fault else 0) == alert


def test_the_encrypted_part_of_a_second_hello_needs_no_key() -> None:
    first, second = parse_client_hello(with_ech(HELLO)), parse_client_hello(HELLO)
    assert first is not None
    assert second is not None
    assert second_fault(facts_of(first), facts_of(second)) is None


# ---- in tunnels


def greeted(node: Node, worker: Worker, ground: Ground, said: Callable[[str], bytes]) -> tuple[Talk, Talk, str]:
    """A tunnel on a TLS grant with what the client says first."""
    site = ground.site("tls")
    talk = node.tunnel(worker, site.authority)
    there = site.accept()
    talk.say(said(site.host))
    return talk, there, site.host


@pytest.mark.root
@pytest.mark.parametrize("case", CHANGED)
@pytest.mark.parametrize("pieces", [RETRY, RETRY + CHANGE], ids=["", "and more of the service's"])
def test_after_a_retry(case: str, pieces: bytes, node: Node, worker: Worker, ground: Ground) -> None:
    said, alert = CHANGED[case]
    talk, there, host = greeted(node, worker, ground, client_hello)
    there.exactly(len(client_hello(host)))
    there.say(pieces)
    assert talk.exactly(len(pieces)) == pieces
    second = CHANGE + said(host)
    talk.say(second[:20])
    assert there.exactly(len(CHANGE)) == CHANGE
    talk.say(second[20:])
    if alert:
        assert talk.rest() == fatal_alert(alert)
        assert there.was_reset()
        record = node.final(talk)
        assert (record["cause"], record["decision"]) == ("refused", "deny")
        assert record["reason"] == ("name-mismatch" if alert == UNRECOGNIZED_NAME else "malformed-request")
        assert record["bytes_in"] == len(pieces)
        return
    assert there.exactly(len(second) - len(CHANGE)) == second[len(CHANGE) :]
    talk.say(b"and on")
    assert there.exactly(6) == b"and on"
    talk.close()
    there.close()
    assert node.final(talk)["bytes_out"] == len(client_hello(host)) + len(second) + 6


@pytest.mark.root
@pytest.mark.parametrize("behind", [b"", CHANGE + EARLY], ids=["at once", "behind early data"])
@pytest.mark.parametrize("together", [True, False], ids=["in one piece", "in two"])
def test_ahead_of_the_retry(behind: bytes, together: bool, node: Node, worker: Worker, ground: Ground) -> None:
    """The service would read it after its retry, which nobody waited for."""
    other = behind + client_hello("other.tls.example")
    talk, there, host = greeted(node, worker, ground, lambda name: client_hello(name) + (other if together else b""))
    if not together:
        there.exactly(len(client_hello(host)))
        talk.say(other)
    assert talk.rest() == fatal_alert(UNRECOGNIZED_NAME)
    assert there.was_reset()
    assert node.final(talk)["reason"] == "name-mismatch"


@pytest.mark.root
def test_early_data_does_not_wait(node: Node, worker: Worker, ground: Ground) -> None:
    early = CHANGE + EARLY * 20_000
    talk, there, host = greeted(node, worker, ground, lambda name: client_hello(name) + CHANGE)
    there.exactly(len(client_hello(host)))
    talk.say(early)
    assert there.exactly(len(CHANGE + early)) == CHANGE + early
    there.say(USUAL)
    assert talk.exactly(len(USUAL)) == USUAL
    talk.say(client_hello("other.tls.example"))  # the service has no use for it any more
    assert there.exactly(5) == b"\x16\x03\x01" + client_hello("other.tls.example")[3:5]
    talk.close()
    there.close()


@pytest.mark.root
def test_another_message_ahead_of_the_service(node: Node, worker: Worker, ground: Ground) -> None:
    talk, there, host = greeted(node, worker, ground, client_hello)
    there.exactly(len(client_hello(host)))
    talk.say(b"\x16\x03\x03\0\4\x14\0\0\0")
    assert talk.rest() == fatal_alert(DECODE_ERROR)
    assert node.final(talk)["reason"] == "malformed-request"


@pytest.mark.root
def test_a_retry_in_single_octets(node: Node, worker: Worker, ground: Ground) -> None:
    talk, there, host = greeted(node, worker, ground, client_hello)
    there.exactly(len(client_hello(host)))
    there.trickle(RETRY)
    assert talk.exactly(len(RETRY)) == RETRY
    talk.say(client_hello("other.tls.example"))
    assert talk.rest() == fatal_alert(UNRECOGNIZED_NAME)


@pytest.mark.root
def test_a_real_library_asks_again_and_the_handshake_is_whole(
    node: Node, worker: Worker, ground: Ground, tmp_path: Path
) -> None:
    """The service takes P-384 alone, for which the client has sent no share."""
    site = ground.site("tls")
    pki = Pki(tmp_path, int(time.time()))
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(pki.certificate, pki.key)
    server.set_ecdh_curve("secp384r1")
    client = ssl.create_default_context(cafile=str(pki.trusted))
    client.check_hostname = False
    talk = node.tunnel(worker, site.authority)
    there = site.accept()
    got: list[bytes] = []

    def serve() -> None:
        with server.wrap_socket(there.sock, server_side=True) as tls:
            got.append(tls.recv(99))
            tls.sendall(b"answer")

    thread = threading.Thread(target=serve)
    thread.start()
    seen = bytearray()
    plain = talk.sock
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = client.wrap_bio(incoming, outgoing, server_hostname=site.host)

    def go(work: Callable[[], object]) -> object:
        while True:
            try:
                done = work()
            except ssl.SSLWantReadError:
                plain.sendall(outgoing.read())
                data = plain.recv(65_536)
                seen.extend(data)
                incoming.write(data)
                continue
            plain.sendall(outgoing.read())
            return done

    go(tls.do_handshake)
    go(lambda: tls.write(b"question"))
    assert go(lambda: tls.read(99)) == b"answer"
    thread.join(10)
    assert got == [b"question"]
    assert seen.count(RETRY_RANDOM) == 1, "it was a handshake with a retry"

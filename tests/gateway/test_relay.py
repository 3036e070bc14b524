"""Open tunnels: bytes, ends, resets, bulk, slow readers, timeouts; on a plain TCP grant, so that any bytes may come."""

import hashlib
import os
import socket
import threading
from collections.abc import Callable

import pytest

from tests.gateway.kit import Ground, Talk, client_hello, until
from tests.gateway.node import Node, Worker

pytestmark = pytest.mark.root
MB = 1 << 20


def opened(node: Node, worker: Worker, ground: Ground) -> tuple[Talk, Talk]:
    """A tunnel and its far end."""
    site = ground.site("tcp")
    return node.tunnel(worker, site.authority), site.accept()


# ---- edges: what came before anybody listened for it must not be forgotten


def test_a_service_that_speaks_first_is_heard_every_time(node: Node, worker: Worker, ground: Ground) -> None:
    site = ground.site("tcp")
    stop = threading.Event()

    def greet() -> None:
        while not stop.is_set():
            try:
                site.listener.settimeout(0.2)
                found, _ = site.listener.accept()
            except TimeoutError:
                continue
            found.send(b"220 hello\r\n")
            site.held.append(found)

    greeter = threading.Thread(target=greet)
    greeter.start()
    try:
        for _ in range(10):
            talks = [node.connect(worker, site.authority) for _ in range(20)]
            for talk in talks:
                talk.head()
                assert talk.exactly(11) == b"220 hello\r\n"
    finally:
        stop.set()
        greeter.join()


def test_a_service_that_closes_at_once_ends_the_tunnel_every_time(node: Node, worker: Worker, ground: Ground) -> None:
    site = ground.site("tcp")
    stop = threading.Event()

    def slam() -> None:
        while not stop.is_set():
            try:
                site.listener.settimeout(0.2)
                found, _ = site.listener.accept()
            except TimeoutError:
                continue
            found.close()

    slammer = threading.Thread(target=slam)
    slammer.start()
    try:
        for _ in range(10):
            talks = [node.connect(worker, site.authority) for _ in range(20)]
            for talk in talks:
                if talk.head().startswith("HTTP/1.1 200"):
                    assert talk.rest() == b""
                talk.close()
                node.final(talk)
    finally:
        stop.set()
        slammer.join()


@pytest.mark.parametrize("kind", ["tls", "tcp"])
def test_bytes_in_several_pieces_before_the_answer_all_arrive(
    kind: str, node: Node, worker: Worker, ground: Ground
) -> None:
    site = ground.site(kind)
    first = client_hello(site.host) if kind == "tls" else b"first"
    ground.names.hold(site.host)
    talk = node.connect(worker, site.authority, more=first)
    until(lambda: ground.names.waiting(site.host) == 2, "both questions")
    talk.say(b"second")
    talk.say(b"third")
    ground.names.release(site.host)
    talk.head()
    there = site.accept()
    assert there.exactly(len(first) + 11) == first + b"secondthird"


def test_a_client_that_ends_its_side_before_the_answer_still_gets_it(
    node: Node, worker: Worker, ground: Ground
) -> None:
    site = ground.site("tcp")
    talk = node.connect(worker, site.authority, more=b"question").half_close()
    talk.head()
    there = site.accept()
    assert there.rest() == b"question"
    there.say(b"answer").close()
    assert talk.rest() == b"answer"
    assert node.final(talk)["cause"] == "client-closed"  # it ended first


# ---- ends


def test_the_client_ends_its_side_and_the_other_goes_on(node: Node, worker: Worker, ground: Ground) -> None:
    talk, there = opened(node, worker, ground)
    talk.say(b"question").half_close()
    assert there.rest() == b"question"
    for piece in (b"an", b"swer"):
        there.say(piece)
        assert talk.exactly(len(piece)) == piece
    there.close()
    assert talk.rest() == b""
    close = node.final(talk)
    assert (close["cause"], close["bytes_out"], close["bytes_in"]) == ("client-closed", 8, 6)


def test_the_service_ends_its_side_and_the_other_goes_on(node: Node, worker: Worker, ground: Ground) -> None:
    talk, there = opened(node, worker, ground)
    there.say(b"banner").half_close()
    assert talk.rest() == b"banner"
    talk.say(b"still here")
    assert there.exactly(10) == b"still here"
    talk.close()
    assert there.rest() == b""
    assert node.final(talk)["cause"] == "upstream-closed"


def test_a_reset_of_the_client_resets_the_service(node: Node, worker: Worker, ground: Ground) -> None:
    talk, there = opened(node, worker, ground)
    talk.say(b"x")
    there.exactly(1)
    talk.reset()
    assert there.was_reset()
    assert node.final(talk)["cause"] == "reset"


def test_a_reset_of_the_service_resets_the_client(node: Node, worker: Worker, ground: Ground) -> None:
    talk, there = opened(node, worker, ground)
    there.say(b"part of an answer")
    talk.exactly(17)
    there.reset()
    assert talk.was_reset()
    assert node.final(talk)["cause"] == "reset"


# ---- bulk


def blob(size: int) -> bytes:
    return os.urandom(MB) * (size // MB)


def both_ways(talk: Talk, there: Talk, data: bytes) -> dict[str, str]:
    """Sends data both ways at once, each side ending its own; what each heard, as a digest."""
    heard: dict[str, str] = {}

    def hear(name: str, end: Talk) -> None:
        seen = hashlib.sha256()
        while piece := end.sock.recv(1 << 18):
            seen.update(piece)
        heard[name] = seen.hexdigest()

    threads = [threading.Thread(target=lambda end=end: end.say(data).half_close()) for end in (talk, there)]
    threads += [threading.Thread(target=hear, args=pair) for pair in (("client", talk), ("service", there))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    return heard


def test_the_end_of_one_direction_never_cuts_the_other(node: Node, worker: Worker, ground: Ground) -> None:
    """A direction that waits for its turn may end meanwhile: such transfers were cut short when it then went on."""
    data = blob(8 * MB)
    digest = hashlib.sha256(data).hexdigest()
    for _ in range(60):
        talk, there = opened(node, worker, ground)
        assert both_ways(talk, there, data) == {"client": digest, "service": digest}
        talk.close()
        there.close()


@pytest.mark.parametrize("size", [32 * 1024, 32 * 1024 + 1, 64 * 1024, MB, 40 * MB])
def test_a_big_transfer_both_ways_at_once_is_whole(size: int, node: Node, worker: Worker, ground: Ground) -> None:
    talk, there = opened(node, worker, ground)
    data = blob(size) if size >= MB else os.urandom(size)
    heard = both_ways(talk, there, data)
    digest = hashlib.sha256(data).hexdigest()
    assert heard == {"client": digest, "service": digest}
    close = node.final(talk)
    assert (close["bytes_out"], close["bytes_in"]) == (len(data), len(data))


@pytest.mark.parametrize("tail", [1, 1000, 100_000, 300_000])
def test_the_end_of_a_fast_transfer_is_not_held_back(tail: int, node: Node, worker: Worker, ground: Ground) -> None:
    talk, there = opened(node, worker, ground)
    for teller, listener in ((there, talk), (talk, there)):
        for turn in range(4):  # the sender goes on only once it was answered, so nothing pushes a held-back end out
            data = blob(24 * MB) + bytes([turn]) * tail
            sender = threading.Thread(target=teller.say, args=(data,))
            sender.start()
            assert listener.exactly(len(data)) == data
            sender.join()
            listener.say(b"go on")
            assert teller.exactly(5) == b"go on"
            teller.say(b"a little")
            assert listener.exactly(8) == b"a little"
    talk.close()
    there.close()
    assert node.final(talk)["bytes_in"] == 4 * (24 * MB + tail + 8 + 5)


def test_without_pipes_a_transfer_is_whole_all_the_same(another: Callable[..., Node], ground: Ground) -> None:
    node = another()
    worker = node.worker(descriptors=512)
    stalled = []
    for _ in range(40):  # more than there are pipes: each holds one, full
        talk, there = opened(node, worker, ground)
        there.sock.setblocking(False)
        sent = 0
        try:
            while sent < 4 * MB:
                sent += there.sock.send(bytes(65536))
        except BlockingIOError:
            pass
        stalled.append((talk, there))
    talk, there = opened(node, worker, ground)
    data = blob(2 * MB)
    sender = threading.Thread(target=lambda: there.say(data).half_close())
    sender.start()
    assert talk.rest() == data
    sender.join()
    talk.close()
    assert node.final(talk)["bytes_in"] == len(data)
    for talk, there in stalled:
        talk.close()
        there.close()


def test_a_reader_that_stops_costs_bounded_memory_and_gets_all_in_the_end(
    node: Node, worker: Worker, ground: Ground
) -> None:
    site = ground.site("tcp")
    before = worker.anonymous()
    ends = [(node.tunnel(worker, site.authority, receive_buffer=8192), site.accept()) for _ in range(20)]
    data = os.urandom(MB) * 4
    senders = [threading.Thread(target=lambda t=t: t.say(data).half_close()) for _, t in ends]
    for _, there in ends:
        there.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 16384)
        there.sock.settimeout(30)
    for sender in senders:
        sender.start()
    until(lambda: worker.anonymous() - before < 8192, "memory stays")
    for talk, _ in ends:
        assert hashlib.sha256(talk.rest()).digest() == hashlib.sha256(data).digest()
    for sender in senders:
        sender.join()
    assert worker.anonymous() - before < 8192, "kB for 20 stalled readers of 4 MB each"


def test_a_client_that_never_reads_is_ended_by_idleness(hasty: Node, ground: Ground) -> None:
    node = hasty
    talk, there = opened(node, node.workers["w0.1"], ground)
    there.sock.setblocking(False)
    with pytest.raises(BlockingIOError):  # noqa: PT012 - it takes as many as the buffers hold
        while True:
            there.sock.send(bytes(65536))
    there.sock.settimeout(8)
    assert node.final(talk)["cause"] == "idle"
    assert there.was_reset()


# ---- time


def test_a_silent_tunnel_ends_after_the_idle_time(hasty: Node, ground: Ground) -> None:
    talk, there = opened(hasty, hasty.workers["w0.1"], ground)
    close = hasty.final(talk)
    assert close["cause"] == "idle"
    assert 1_000_000 <= close["duration"] < 3_000_000
    assert there.was_reset()


def test_one_byte_a_moment_keeps_a_tunnel_until_its_total_time(hasty: Node, ground: Ground) -> None:
    talk, there = opened(hasty, hasty.workers["w0.1"], ground)
    for _ in range(100):
        try:
            talk.say(b"x")
            there.exactly(1)
        except (OSError, AssertionError):
            break
        if [r for r in hasty.of(talk) if r["kind"] == "close"]:
            break
        threading.Event().wait(0.1)
    close = hasty.final(talk)
    assert close["cause"] == "total-time"
    assert 2_000_000 <= close["duration"] < 4_000_000


def test_descriptors_and_shares_come_back_after_a_thousand_tunnels(node: Node, worker: Worker, ground: Ground) -> None:
    site = ground.site("tcp")
    before = worker.descriptors()
    for _ in range(50):
        talks = [node.connect(worker, site.authority, more=b"x") for _ in range(20)]
        for talk in talks:
            talk.head()
            there = site.accept()
            there.exactly(1)
            there.close()
        for number, talk in enumerate(talks):
            if number % 3:
                talk.close()
            else:
                talk.reset()
    until(lambda: worker.descriptors() <= before + 2, "descriptors are back")  # and two of idle pipes

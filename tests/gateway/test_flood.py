"""Floods of every kind against a real worker: an honest client is served while the flood still stands.

Nothing goes by the clock: a flood stands when the gateway holds some of its connections after the honest client's bytes
went through. How long it waited is `python -m tests.bench.flood`.
"""

import os
import resource
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from gateway.crowd import KNOWN_FOR
from tests.gateway.floods import HEAD, KINDS, Flood, Kind, honest, listeners, pki, sources
from tests.gateway.kit import Ground, until
from tests.gateway.node import Node, Worker, authorization, credential
from tests.gateway.test_worker import carries, opened, refusal

pytestmark = pytest.mark.root

DESCRIPTORS = 600  # of the worker: room for 242 connections, of which handshakes take 121 at most
ROOM = 121
PATIENT = {"handshake": 60, "first_byte": 60}  # no flood ends by itself
LIMITS = {"handshakes_per_source": 60, "tls_handshakes": 60, "stranger_refusals_per_second": 20}


@pytest.fixture(scope="module")
def flooded(session_ground: Ground, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    directory = tmp_path_factory.mktemp("node")
    ways = listeners(pki(directory))
    with Node(session_ground, directory, listeners=ways, limits=LIMITS, timeouts=PATIENT) as node:
        node.worker(descriptors=DESCRIPTORS)
        with sources(session_ground):
            yield node


def served(node: Node, worker: Worker, listener: str) -> None:
    """An honest client's tunnel opens, and carries."""
    site = node.ground.site("tcp")
    talk = honest(node, worker, listener, site.authority)
    there = site.accept()
    carries(talk, there)
    talk.close()
    there.close()


CASES = {f"{name} from one source": (kind, False) for name, kind in KINDS.items()}
CASES |= {f"{name} from many sources": (kind, True) for name, kind in KINDS.items() if not kind.source}


@pytest.mark.parametrize("case", CASES)
def test_an_honest_client_is_served_beside(case: str, flooded: Node, ground: Ground) -> None:
    (kind, many), worker = CASES[case], flooded.workers["w0.1"]
    live = opened(flooded, worker, ground)
    before = worker.descriptors()
    with Flood(ground, worker, kind, many=many) as flood:
        flood.open(DESCRIPTORS)
        until(lambda: flood.standing() <= ROOM, "what is too much has left")
        assert flood.standing() >= 40, "and no more than that"
        for _ in range(3):
            flood.drip()
            served(flooded, worker, kind.listener)
        carries(*live)
        assert flood.standing() >= 40, "the flood still stands"
    until(lambda: worker.descriptors() <= before + 2, "all of it is over")


def test_an_honest_client_is_served_beside_all_of_them_at_once(flooded: Node, ground: Ground) -> None:
    worker = flooded.workers["w0.1"]
    floods = [Flood(ground, worker, kind, many=True) for kind in KINDS.values()]
    try:
        for _ in range(6):  # by turns
            for flood in floods:
                flood.open(10)
        until(lambda: sum(flood.standing() for flood in floods) <= ROOM, "what is too much has left")
        for listener in ("plain", "secure", "socks", "balanced"):
            served(flooded, worker, listener)
        assert sum(flood.standing() for flood in floods) >= 60
    finally:
        for flood in floods:
            flood.__exit__()


WRONG = HEAD + b"Proxy-Authorization: Basic YWNtZTphY21l\r\n\r\n"
ENDLESS = {
    "silence": KINDS["silence"],
    "half a TLS hello": KINDS["half a TLS hello"],
    "refusals that nobody reads": Kind("plain", WRONG),
}


@pytest.mark.parametrize("name", ENDLESS)
def test_honest_clients_are_served_while_a_flood_goes_on(name: str, flooded: Node, ground: Ground) -> None:
    """To a source that has a tunnel: a few of its handshakes are never sent away for others."""
    kind, worker, over = ENDLESS[name], flooded.workers["w0.1"], threading.Event()
    live = opened(flooded, worker, ground)
    time.sleep(KNOWN_FOR)  # until then it may not be known of
    with Flood(ground, worker, kind, many=True, keep=1_000) as flood:

        def go_on() -> None:
            while not over.is_set():
                flood.open(20)

        thread = threading.Thread(target=go_on)
        thread.start()
        try:
            for _ in range(10):
                began = flood.opened
                served(flooded, worker, kind.listener)
                until(lambda n=began: flood.opened > n, "the flood goes on")
        finally:
            over.set()
            thread.join()
        assert flood.opened > DESCRIPTORS
    carries(*live)


def test_with_descriptors_used_up_those_who_only_wait_leave_for_an_honest_client(
    another: Callable[..., Node], ground: Ground
) -> None:
    node = another(timeouts=PATIENT)
    worker = node.worker()
    live = opened(node, worker, ground)
    before = worker.descriptors()
    with Flood(ground, worker, KINDS["half a head"]) as flood:
        flood.open(200)
        until(lambda: worker.descriptors() >= before + 200, "all wait")
        used = {int(name) for name in os.listdir(f"/proc/{worker.pid}/fd")}
        limit = min(set(range(1000)) - used)
        resource.prlimit(worker.pid, resource.RLIMIT_NOFILE, (limit, 4096))
        served(node, worker, "plain")
        assert 100 <= flood.standing() < 200
        carries(*live)
    assert "out of room" in worker.said.read_text()
    records = [r for r in node.records() if r.get("detail") == "out of room: made room for newer ones"]
    assert records
    assert {(r["reason"], r["status"]) for r in records} == {("overloaded", 503)}
    resource.prlimit(worker.pid, resource.RLIMIT_NOFILE, (4096, 4096))


def test_one_user_cannot_take_all_of_its_firms_tunnels(another: Callable[..., Node], ground: Ground) -> None:
    node = another(limits={"tunnels_per_user": 3})
    worker = node.worker()
    node.put(credentials=[credential("acme", n, user=f"u-{n}") for n in (0, 1)])
    held = [opened(node, worker, ground) for _ in range(3)]
    assert refusal(node, worker, ground) == "HTTP/1.1 429 Rate limited"
    assert node.records()[-1]["detail"] == "this user's tunnels in all workers are at their limit"
    site = ground.site("tcp")
    node.tunnel(worker, site.authority, number=1)
    carries(*held[0])
    talk, there = held.pop()
    talk.close()
    there.close()
    node.final(talk)
    assert refusal(node, worker, ground) == "", "what is over is given back"
    other = node.worker("w1.1")
    assert refusal(node, other, ground) == ""
    held.append(opened(node, other, ground))
    assert refusal(node, worker, ground) == "HTTP/1.1 429 Rate limited", "it is counted across workers"


def test_connections_between_two_requests_leave_for_an_honest_client(
    another: Callable[..., Node], ground: Ground
) -> None:
    node = another()
    worker = node.worker(descriptors=300)  # room for 92 connections
    web = ground.site("http", backlog=256)
    ask = f"GET http://{web.host}/ HTTP/1.1\r\nHost: {web.host}\r\n"
    ask += f"Proxy-Authorization: {authorization('acme')}\r\n\r\n"
    idle = []
    for _ in range(92):
        talk = ground.dial(worker.port).say(ask)
        there = web.accept()
        there.head()
        there.say("HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n").close()
        assert talk.head().startswith("HTTP/1.1 204 ")
        idle.append(talk)
    served(node, worker, "plain")


def pipes(worker: Worker) -> int:
    """How many it has."""
    open_ones = [os.readlink(f"/proc/{worker.pid}/fd/{fd}") for fd in os.listdir(f"/proc/{worker.pid}/fd")]
    return sum(what.startswith("pipe:") for what in open_ones) // 2


def test_with_pipes_used_up_an_honest_transfer_is_whole(another: Callable[..., Node], ground: Ground) -> None:
    node = another()
    worker = node.worker()
    site = ground.site("tcp", backlog=256)
    stuck = []
    for _ in range(60):  # more than there are pipes: each client asks for much and reads nothing
        talk = node.tunnel(worker, site.authority)
        there = site.accept()
        there.sock.setblocking(False)
        stuck.append(there)

    def fill() -> bool:
        sent = 0
        for there in stuck:
            try:
                sent += there.sock.send(bytes(1 << 20))
            except BlockingIOError:
                pass
        return not sent

    until(fill, "nothing more goes in")
    assert pipes(worker) >= 20
    talk, there = opened(node, worker, ground)
    sent = os.urandom(1 << 20)
    thread = threading.Thread(target=lambda: there.say(sent).close())
    thread.start()
    assert talk.rest() == sent
    thread.join()
    assert pipes(worker) >= 20, "the others still are stuck"

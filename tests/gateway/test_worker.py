"""Worker processes whole: shortage, evidence, policy, firms' shares across workers, drain, and sudden ends."""

import json
import os
import resource
import signal
import time
from collections.abc import Callable

import pytest

from tests.gateway.kit import Ground, Talk, until
from tests.gateway.node import Node, Worker, authorization, replace, tenant

pytestmark = pytest.mark.root
MB = 1 << 20


def opened(node: Node, worker: Worker, ground: Ground, firm: str = "acme") -> tuple[Talk, Talk]:
    site = ground.site("tcp")
    return node.tunnel(worker, site.authority, firm), site.accept()


def carries(talk: Talk, there: Talk) -> None:
    """The tunnel is alive."""
    talk.say(b"x")
    assert there.exactly(1) == b"x"
    there.say(b"y")
    assert talk.exactly(1) == b"y"


def refusal(node: Node, worker: Worker, ground: Ground, firm: str = "acme") -> str:
    """The status line with which a new flow is refused, without its reference; "" if it is not."""
    site = ground.site("tcp")
    talk = node.connect(worker, site.authority, firm)
    line = talk.head().splitlines()[0].partition(" (ref")[0]
    talk.close()
    if line.startswith("HTTP/1.1 200"):
        line = ""
        site.accept().close()
        node.final(talk)
    site.listener.close()
    return line


# ---- shortage


def test_with_all_descriptors_used_up_accepting_pauses_live_tunnels_go_on_and_it_recovers(
    another: Callable[..., Node], ground: Ground
) -> None:
    node = another()
    worker = node.worker()
    live = opened(node, worker, ground)
    before = worker.descriptors()
    # As if all others had been taken by what cannot be let go: the reserve alone is left, and then not even that.
    resource.prlimit(worker.pid, resource.RLIMIT_NOFILE, (3, 4096))
    held = [ground.dial(worker.port) for _ in range(400)]  # the kernel's queue takes them all
    spent = _cpu(worker)
    carries(*live)
    time.sleep(0.5)
    assert _cpu(worker) - spent < 0.25, "it does not spin"
    assert worker.descriptors() <= before
    resource.prlimit(worker.pid, resource.RLIMIT_NOFILE, (4096, 4096))
    for talk in held:
        talk.reset()
    until(lambda: worker.descriptors() <= before + 2, "descriptors are back", 10)
    carries(*live)
    assert refusal(node, worker, ground) == ""
    assert "out of room" in worker.said.read_text()


def _cpu(worker: Worker) -> float:
    with open(f"/proc/{worker.pid}/stat") as file:
        fields = file.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_when_a_line_socket_cannot_be_made_the_flow_is_refused_and_live_ones_go_on(
    another: Callable[..., Node], ground: Ground
) -> None:
    node = another()
    worker = node.worker()
    talk, there = opened(node, worker, ground)
    target = f"{ground.site('tcp').address}:7000"  # no name to be resolved
    before = worker.descriptors()
    waiting = ground.dial(worker.port)
    until(lambda: worker.descriptors() > before, "it is accepted")
    used = {int(name) for name in os.listdir(f"/proc/{worker.pid}/fd")}
    resource.prlimit(worker.pid, resource.RLIMIT_NOFILE, (min(set(range(1000)) - used), 4096))
    waiting.say(f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\nProxy-Authorization: {authorization('acme')}\r\n\r\n")
    assert waiting.head().startswith("HTTP/1.1 503 Overloaded")
    assert node.final(waiting)["reason"] == "overloaded"
    carries(talk, there)
    resource.prlimit(worker.pid, resource.RLIMIT_NOFILE, (4096, 4096))
    assert refusal(node, worker, ground) == ""


def test_too_many_connections_are_refused_before_descriptors_run_out(
    another: Callable[..., Node], ground: Ground
) -> None:
    node = another()
    worker = node.worker(descriptors=300)
    site = ground.site("tcp", backlog=256)
    talks = [node.connect(worker, site.authority) for _ in range(110)]
    heads = [talk.head().split(" (")[0].split("\r")[0] for talk in talks]
    assert heads.count("HTTP/1.1 503 Overloaded") > 10
    assert set(heads) == {"HTTP/1.1 503 Overloaded", "HTTP/1.1 200 Connection established"}
    assert "out of room" not in worker.said.read_text()


def test_a_flood_leaves_no_descriptor_no_memory_and_no_open_flow(own: Node, ground: Ground) -> None:
    node, worker = own, own.workers["w0.1"]
    site, web = ground.site("tcp", backlog=256), ground.site("http", backlog=256)
    off = "off.list.example:443"

    def flood(rounds: int) -> None:
        for _ in range(rounds):
            talks = [node.connect(worker, site.authority) for _ in range(10)]
            talks += [node.connect(worker, off) for _ in range(10)]
            talks += [ground.dial(worker.port).say(b"rubbish\r\n\r\n") for _ in range(10)]
            who = f"Proxy-Authorization: {authorization('acme')}\r\n"
            asked = [
                ground.dial(worker.port).say(f"GET http://{web.host}/ HTTP/1.1\r\nHost: {web.host}\r\n{who}\r\n")
                for _ in range(10)
            ]
            for _ in asked:
                there = web.accept()
                there.head()
                there.say("HTTP/1.1 204 No Content\r\n\r\n")
            for talk in talks + asked:
                talk.head()
                talk.close()
            for _ in range(10):
                site.accept().close()
            site.held.clear()
            web.held.clear()
            ground.tidy_talks()

    flood(5)
    until(lambda: worker.descriptors() < 40, "all are closed")
    before, memory = worker.descriptors(), worker.anonymous()
    flood(50)
    until(lambda: worker.descriptors() <= before, "all are closed")
    assert worker.anonymous() - memory < 2048, "kB for 2,000 flows that are over"
    opens = sum(r["kind"] == "open" for r in node.records())
    until(lambda: sum(r["kind"] == "close" for r in node.records()) == opens, "all closing records")


# ---- evidence


def test_with_the_spool_at_its_limit_new_flows_are_refused_live_ones_go_on_and_it_recovers(
    another: Callable[..., Node], ground: Ground
) -> None:
    node = another(limits={"spool_bytes": MB})
    worker = node.worker()
    live = [opened(node, worker, ground) for _ in range(3)]
    (node.spool / "0000abcd-other-0.jsonl").write_bytes(bytes(920_000))
    until(lambda: refusal(node, worker, ground) == "HTTP/1.1 503 Evidence unavailable", "the refusal", 4)
    for pair in live:
        carries(*pair)
    live[0][0].reset()
    assert node.final(live[0][0])["cause"] == "reset", "closing records still have room"
    (node.spool / "0000abcd-other-0.jsonl").unlink()
    until(lambda: refusal(node, worker, ground) == "", "recovery", 4)
    for pair in live[1:]:
        carries(*pair)
    until(
        lambda: [r for r in node.records() if r.get("reason") == "evidence-unavailable"],
        "how many could not be recorded is told afterwards",
    )


def test_with_a_spool_that_cannot_be_written_nothing_starts_and_no_record_is_lost(
    another: Callable[..., Node], ground: Ground
) -> None:
    node = another()
    worker = node.worker()
    live = [opened(node, worker, ground) for _ in range(3)]
    size = max(path.stat().st_size for path in node.spool.glob("*.jsonl"))
    resource.prlimit(worker.pid, resource.RLIMIT_FSIZE, (size + 10, resource.RLIM_INFINITY))
    site = ground.site("tcp")
    first = node.connect(worker, site.authority)
    assert first.head().startswith("HTTP/1.1 503 Evidence unavailable"), "no 200 before its record is written"
    assert site.accept().rest() == b"", "no byte of the client's went out"
    assert refusal(node, worker, ground) == "HTTP/1.1 503 Evidence unavailable"
    for pair in live:
        carries(*pair)
    live[0][0].reset()
    live[0][1].was_reset()
    assert not [r for r in node.of(live[0][0]) if r["kind"] == "close"]
    resource.prlimit(worker.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    assert node.final(live[0][0])["cause"] == "reset"
    assert node.final(first)["cause"] == "refused"
    until(lambda: refusal(node, worker, ground) == "", "recovery", 4)
    for pair in live[1:]:
        carries(*pair)


def test_without_a_recorder_new_flows_are_refused_and_it_recovers(another: Callable[..., Node], ground: Ground) -> None:
    node = another()
    worker = node.worker()
    live = opened(node, worker, ground)
    node.heard = False
    node.failed = "No space left on device"
    until(lambda: refusal(node, worker, ground) == "HTTP/1.1 503 Evidence unavailable", "the refusal", 4)
    carries(*live)
    node.failed, node.heard = "", True
    until(lambda: refusal(node, worker, ground) == "", "recovery", 4)


# ---- policy


@pytest.mark.parametrize("how", ["is damaged", "is missing"])
def test_when_the_policy(how: str, own: Node, ground: Ground) -> None:
    node, worker = own, own.workers["w0.1"]
    live = opened(node, worker, ground)
    current = node.state / "snapshot" / "current"
    whole = current.read_bytes()
    if how == "is damaged":
        current.write_bytes(whole[:-1] + bytes((whole[-1] ^ 1,)))
    else:
        current.unlink()
    site = ground.site("tcp")
    resolving = node.connect(worker, site.authority)
    ground.names.answers.pop(site.host)
    node.hub.say(kind="revision", revision=0)  # has it look at the files, and announces nothing new
    assert refusal(node, worker, ground) == "HTTP/1.1 503 Policy unavailable"
    carries(*live)
    resolving.head()
    current.write_bytes(whole)
    until(lambda: refusal(node, worker, ground) == "", "recovery by itself", 4)
    carries(*live)


def test_a_policy_that_is_lost_while_a_name_is_being_resolved_lets_nothing_through(own: Node, ground: Ground) -> None:
    node, worker = own, own.workers["w0.1"]
    site = ground.site("tcp")
    ground.names.hold(site.host)
    talk = node.connect(worker, site.authority)
    until(lambda: ground.names.waiting(site.host) == 2, "both questions")
    current = node.state / "snapshot" / "current"
    whole = current.read_bytes()
    current.write_bytes(b"nothing")
    node.hub.say(kind="revision", revision=0)  # has it look at the files, and announces nothing new
    ground.names.release(site.host)
    assert talk.head().startswith("HTTP/1.1 503 Policy unavailable")
    assert site.quiet()
    current.write_bytes(whole)
    until(lambda: refusal(node, worker, ground) == "", "recovery by itself", 4)


def test_a_change_that_cannot_be_read_ends_what_it_might_have_taken_away(own: Node, ground: Ground) -> None:
    node, worker = own, own.workers["w0.1"]
    talk, _ = opened(node, worker, ground)
    current = node.state / "snapshot" / "current"
    whole = current.read_bytes()
    current.write_bytes(b"nothing")
    node.hub.say(kind="revision", revision=node.hub.revision + 1)
    assert node.final(talk)["cause"] == "cut-by-policy"
    current.write_bytes(whole)
    until(lambda: refusal(node, worker, ground) == "", "recovery by itself", 4)


def test_a_worker_that_starts_without_a_policy_refuses_until_there_is_one(
    another: Callable[..., Node], ground: Ground
) -> None:
    node = another()
    current = node.state / "snapshot" / "current"
    whole = current.read_bytes()
    current.unlink()
    worker = node.worker()
    assert refusal(node, worker, ground) == "HTTP/1.1 503 Policy unavailable"
    current.write_bytes(whole)
    until(lambda: refusal(node, worker, ground) == "", "recovery by itself", 4)


def test_without_a_word_from_control_new_flows_are_refused(another: Callable[..., Node], ground: Ground) -> None:
    node = another(max_staleness=1)
    worker = node.worker()
    live = opened(node, worker, ground)
    until(lambda: refusal(node, worker, ground) == "HTTP/1.1 503 Policy unavailable", "the refusal", 4)
    carries(*live)
    node.hub.say(kind="revision", revision=1)
    assert refusal(node, worker, ground) == ""


# ---- shares of a firm


def test_a_firms_tunnels_are_counted_across_workers_and_given_back(
    another: Callable[..., Node], ground: Ground
) -> None:
    node = another()
    node.policy["tenants:acme"] = tenant("acme", 1)
    one, two = node.worker("w0.1"), node.worker("w1.1")
    node.put(tenants=replace(node.policy["tenants:acme"], max_tunnels=6))
    held = {w: [opened(node, w, ground) for _ in range(3)] for w in (one, two)}
    for worker in (one, two):
        assert refusal(node, worker, ground) == "HTTP/1.1 429 Rate limited"
        assert refusal(node, worker, ground, "birch") == "", "another firm's are its own"
    talk, there = held[one].pop()
    talk.close()
    there.close()
    node.final(talk)
    held[two].append(opened(node, two, ground))
    assert refusal(node, one, ground) == "HTTP/1.1 429 Rate limited"
    two.kill()
    until(lambda: refusal(node, one, ground) == "", "a killed worker's share is given back", 4)
    for pair in held[one]:
        carries(*pair)
    for _ in range(50):  # refusals and ends of all kinds leave the count as it was
        refusal(node, one, ground)
        node.connect(one, "off.list.example:443").head()
    more = [opened(node, one, ground) for _ in range(4)]
    assert refusal(node, one, ground) == "HTTP/1.1 429 Rate limited"
    replacement = node.worker("w1.2")
    assert refusal(node, replacement, ground) == "HTTP/1.1 429 Rate limited"
    for talk, there in more:
        there.close()
        talk.close()
        node.final(talk)
    assert refusal(node, replacement, ground) == ""


# ---- ends


def test_drain_lets_live_flows_finish_and_what_was_accepted_begin(another: Callable[..., Node], ground: Ground) -> None:
    node = another(timeouts={"drain": 20, "handshake": 10})
    worker = node.worker()
    live = opened(node, worker, ground)
    accepted = ground.dial(worker.port).say(b"CONNECT ")
    web = ground.site("http")
    who = f"Proxy-Authorization: {authorization('acme')}\r\n"
    asks = f"GET http://{web.host}/ HTTP/1.1\r\nHost: {web.host}\r\n{who}\r\n"
    idle = ground.dial(worker.port).say(asks)
    web.accept().say("HTTP/1.1 204 No Content\r\n\r\n")
    idle.head()
    busy = ground.dial(worker.port).say(asks)
    service = web.accept()
    service.head()
    worker.process.send_signal(signal.SIGTERM)
    assert idle.rest() == b"", "a connection between two requests is closed"
    carries(*live)
    service.say("HTTP/1.1 204 No Content\r\n\r\n")
    assert "Connection: close\r\n" in busy.head()
    site = ground.site("tcp")
    accepted.say(f"{site.authority} HTTP/1.1\r\nHost: {site.authority}\r\n{who}\r\n")
    assert accepted.head().startswith("HTTP/1.1 200 ")
    there = site.accept()
    carries(accepted, there)
    for talk in (accepted, there, *live, busy):
        talk.close()
    assert worker.ended() == 0
    assert node.final(live[0])["cause"] == "client-closed"


def test_drain_ends_what_does_not_finish_in_time(another: Callable[..., Node], ground: Ground) -> None:
    node = another(timeouts={"drain": 1})
    worker = node.worker()
    talk, there = opened(node, worker, ground)
    site = ground.site("tcp")
    ground.names.answers[site.host] = lambda *_: []
    waiting = node.connect(worker, site.authority)
    until(lambda: ground.names.count(site.host), "the question")
    worker.process.send_signal(signal.SIGTERM)
    carries(talk, there)
    assert worker.ended(4) == 0
    assert there.was_reset()
    assert node.final(talk)["cause"] == "drained"
    assert node.final(waiting)["reason"] == "overloaded"


def test_a_worker_whose_hub_ends_ends_its_flows_and_itself(another: Callable[..., Node], ground: Ground) -> None:
    node = another()
    worker = node.worker()
    talk, there = opened(node, worker, ground)
    node.hub.workers.pop("w0.1").close()
    assert worker.ended(3) == 0
    assert there.was_reset()
    assert talk.was_reset()
    assert node.final(talk)["cause"] == "drained"


def test_an_order_that_cannot_be_read_is_not_acknowledged_and_harms_nothing(own: Node, ground: Ground) -> None:
    node, worker = own, own.workers["w0.1"]
    hub = node.hub.workers["w0.1"]
    for packet in (b"{", b"[]", b'{"seq":1}', b'{"seq":1,"kind":"dance"}', b"\xff" * 100):
        hub.send(packet)
    node.hub.say(kind="revision", revision=1)  # the only one that is acknowledged
    carries(*opened(node, worker, ground))


def test_a_killed_workers_flows_are_closed_by_the_recorder(another: Callable[..., Node], ground: Ground) -> None:
    node = another(recorder=True)
    worker = node.worker()
    off = "off.list.example:443"  # refused either way, but in other words once the recorder is there
    until(lambda: node.connect(worker, off).head().startswith("HTTP/1.1 403 "), "the recorder is there", 10)
    talks = [opened(node, worker, ground)[0] for _ in range(5)]
    ports = {talk.port for talk in talks}
    worker.kill()

    def closed() -> list[dict[str, object]]:
        lines = [line for path in (node.state / "log").glob("*.jsonl") for line in path.read_bytes().splitlines()]
        found = [json.loads(line) for line in lines if line.startswith(b"{")]
        return [r for r in found if r.get("client_port") in ports and r["kind"] == "close"]

    until(lambda: len(closed()) >= 5, "closing records by the recorder", 10)
    assert {r["cause"] for r in closed()} == {"worker-died"}
    assert len(closed()) == 5

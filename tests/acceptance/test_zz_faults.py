"""kill -9 of each process under running downloads, and reloads. Named to run last: it restarts the node."""

import contextlib
import json
import os
import signal
import subprocess
import threading
from collections import Counter, defaultdict
from collections.abc import Iterator

import pytest

from ops.demo.world import SEARCH
from tests.acceptance.kit import RESTART, SLOW, Node

pytestmark = pytest.mark.root
CODE_URL = f"https://code.example/{SLOW}"
SEARCH_URL = f"https://{SEARCH}/{SLOW}"


@contextlib.contextmanager
def two_downloads(node: Node) -> Iterator[tuple[dict[str, subprocess.Popen[bytes]], list[str]]]:
    with node.download("acme", SEARCH_URL) as (acme, first), node.download("birch", CODE_URL) as (birch, second):
        yield {first: acme, second: birch}, [first, second]


def serves(node: Node) -> bool:
    return node.stage.clients["acme"].curl(f"https://{SEARCH}/", timeout=5).status == 200


@pytest.mark.parametrize("name", ["control", "lines", "recorder"])
def test_downloads_survive_the_death_of(node: Node, name: str) -> None:
    with two_downloads(node) as (downloads, flows):
        pid = node.kill(name)
        assert serves(node), "the workers serve on"
        node.stage.wait(lambda: node.child(name).get("pid") not in (0, pid, None), f"{name} is not back", RESTART)
        node.stage.wait(node.stage.is_ready, "not ready again", RESTART)
        assert all(curl.poll() is None for curl in downloads.values())
        assert serves(node)
    for flow in flows:
        assert len(node.closing(flow)) == 1


def test_a_killed_worker_leaves_one_closing_record_for_each_of_its_flows(node: Node) -> None:
    with two_downloads(node) as (downloads, flows):
        by_worker = {flow: node.stage.record(flow=flow)["worker"].split(".")[0] for flow in flows}
        victim = by_worker[flows[0]]
        pid = node.kill(victim)
        assert downloads[flows[0]].wait(5) != 0
        node.stage.wait(lambda: node.child(victim).get("pid") not in (0, pid, None), "no new worker", RESTART)
        node.stage.wait(node.stage.is_ready, "not ready again", RESTART)
        for flow in flows:
            if by_worker[flow] == victim:
                assert [close["cause"] for close in node.closing(flow)] == ["worker-died"]
            else:
                assert downloads[flow].poll() is None
        assert serves(node)
    for flow in flows:
        assert len(node.closing(flow)) == 1


def test_a_reload_replaces_the_workers_and_refuses_nobody(node: Node) -> None:
    supervisor = int(node.stage.liveness()["pid"])
    before = {name: node.child(name)["pid"] for name in ("w0", "w1")}
    accepted = node.stage.liveness()["reload"]["accepted"]
    answers: list[int] = []
    stop = threading.Event()

    def ask() -> None:
        while not stop.is_set():
            answers.append(node.stage.clients["acme"].curl(f"https://{SEARCH}/", timeout=8).status)

    asking = threading.Thread(target=ask)
    asking.start()
    try:
        os.kill(supervisor, signal.SIGHUP)
        node.stage.wait(lambda: node.stage.liveness()["reload"]["accepted"] > accepted, "no reload", 20)
    finally:
        stop.set()
        asking.join(10)
    assert len(answers) > 3
    assert set(answers) == {200}
    after = {name: node.child(name)["pid"] for name in ("w0", "w1")}
    assert not set(before.values()) & set(after.values())


def test_a_wrong_configuration_changes_nothing_and_says_where(node: Node) -> None:
    stage = node.stage
    before = [child["pid"] for child in stage.liveness()["children"]]
    good, refused = stage.config.read_text(), stage.liveness()["reload"]["refused"]
    with node.download("acme", SEARCH_URL) as (curl, _):
        try:
            stage.config.write_text("node: gw1.zone.example\nworkers: many\n")
            os.kill(int(stage.liveness()["pid"]), signal.SIGHUP)
            stage.wait(lambda: stage.liveness()["reload"]["refused"] > refused, "the reload was not refused")
        finally:
            stage.config.write_text(good)
        reload = stage.liveness()["reload"]
        assert reload["result"] == "rejected"
        assert f"{stage.config}:2: " in reload["detail"]
        assert [child["pid"] for child in stage.liveness()["children"]] == before
        assert curl.poll() is None
        assert serves(node)


def test_without_its_supervisor_the_node_ends_every_flow_and_comes_back(node: Node) -> None:
    stage = node.stage
    assert stage.node is not None
    children = [child["pid"] for child in stage.liveness()["children"]]
    with two_downloads(node) as (downloads, flows):
        os.kill(stage.node.pid, signal.SIGKILL)
        for curl in downloads.values():
            assert curl.wait(8) != 0, "nobody could cut this flow any more"
        stage.stop()
        assert node.counter.read().stray == 0, "the kernel's rules stay"
        stage.wait(lambda: not any(os.path.exists(f"/proc/{pid}") for pid in children), "children are left", 15)
        stage.start()
        for flow in flows:
            assert len(node.closing(flow)) == 1
    stage.wait(lambda: stage.line_states() == {"hk1": "up", "sg1": "up"}, "the lines are not up")
    assert serves(node)


def test_the_node_ends_in_good_order(node: Node) -> None:
    with node.download("acme", SEARCH_URL) as (curl, flow):
        assert node.stage.stop() == 0
        assert curl.wait(5) != 0
    node.stage.start()
    assert [close["cause"] for close in node.closing(flow)] == ["drained"]


def test_after_all_that_no_record_is_missing_and_every_flow_has_one_end(node: Node) -> None:
    assert serves(node)
    node.stage.wait(lambda: not node.stage.open_flows(), "flows are open")
    log = sorted((node.stage.directory / "state" / "log").glob("*.jsonl"))
    records = [json.loads(line) for file in log for line in file.read_bytes().splitlines()]
    numbers: dict[tuple[str, str], list[int]] = defaultdict(list)
    for record in records:
        numbers[record["boot"], record["worker"]].append(record["seq"])
    assert len({boot for boot, _ in numbers}) >= 3, "the node was started three times"
    assert [key for key, seen in numbers.items() if seen != list(range(1, len(seen) + 1))] == []
    opened = Counter(record["flow"] for record in records if record["kind"] == "open")
    closed = Counter(record["flow"] for record in records if record["kind"] == "close")
    assert opened == closed
    assert set(opened.values()) == {1}
    told = node.stage.feiyu("evidence", "verify")
    assert (told.returncode, told.stderr) == (0, ""), "over all starts and kills it is one log, and it is whole"

"""Rules in the recorder: findings in the log, once, also over kills; orders to live control once those are durable;
rules that change while it runs, and those that are refused."""

import json
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from random import Random
from typing import Any

import pytest

from telemetry.interception.ruleset import load
from telemetry.journal import Journal
from telemetry.record import Record, decode
from telemetry.segments import Segments
from telemetry.spooldir import Status
from telemetry.watch import Watch
from tests.telemetry.spool_kit import BOOT, NODE, Node, put, stop, until

_START = """
import sys; from pathlib import Path; import telemetry.recorder as r; import telemetry.rulefiles as f
r.CHECKPOINT, r.LOOK, f.LOOK = 0.02, 0.03, 0.05
sys.exit(r.run(state_dir=Path(sys.argv[1]), run_dir=Path(sys.argv[2]), node="gw1.zone.example", boot=sys.argv[3],
               evidence_interval=0.02, rules=[Path(sys.argv[4])], act="act" in sys.argv))
"""
ID = "6c1c9c1a-6f0b-4a52-8a86-00000000000"
RULE = """title: rule {n}
id: {id}{n}
name: rule_{n}
level: high
author: an author
logsource: {{category: proxy}}
detection: {{selection: {{cs-host: {host}}}, condition: selection}}
{more}
"""
COUNT = f"""---
title: count
id: {ID}9
level: medium
correlation: {{type: event_count, rules: [rule_5], group-by: [tenant], timespan: 1h, condition: {{gte: 7}}}}
"""


def rule(n: int, host: str, response: str = "") -> str:
    more = f"response: {{type: feiyu, {response}}}" if response else ""
    return RULE.format(id=ID, n=n, host=host, more=more)


@pytest.fixture
def node(tmp_path: Path) -> Node:
    (tmp_path / "rules").mkdir()
    return Node(tmp_path)


@contextmanager
def recorder(node: Node, *words: str, ends: int = signal.SIGTERM) -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, "-c", _START, str(node.state), str(node.run), BOOT, str(node.root / "rules"), *words]
    process = subprocess.Popen(command, stderr=subprocess.PIPE)
    try:
        until(lambda: (status := node.status()) and status.durable > 0 and not status.failed, "the recorder runs")
        yield process
    finally:
        stop(process, ends)


def findings(node: Node) -> list[Record]:
    return [record for record in node.records() if record.kind == "finding"]


def acts(node: Node) -> list[str]:
    return [record.detail for record in node.records("recorder") if record.kind == "action"]


def flow(name: str, host: str, **more: Any) -> dict[str, Any]:
    base = {"flow": name, "tenant": "acme", "user": "u-1", "client_ip": "10.0.0.7", "method": "CONNECT", "port": 443}
    return {**base, "host": host, "line": "hk1", "time": time.time_ns() // 1000, **more}


def durable(node: Node, status: Status | None) -> bool:
    now = node.status()
    return now is not None and status is not None and now.durable > status.time


class Hub:
    """Live control's socket, with whatever answers a test wants."""

    def __init__(self, path: Path, answer: dict[str, Any] | None = None) -> None:
        self.messages: list[dict[str, Any]] = []
        self.seen: list[int] = []  # how many lines the log had when an order came
        self.answer = {"done": 1, "acked": ["w0", "w1"], "killed": []} if answer is None else answer
        self.count = lambda: 0
        path.unlink(missing_ok=True)
        self._listening = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._listening.bind(str(path))
        self._listening.listen()
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                peer, _ = self._listening.accept()
            except OSError:
                return
            assert json.loads(peer.recv(65536))["hello"] == "recorder"
            while packet := peer.recv(65536):
                self.seen.append(self.count())
                self.messages.append(json.loads(packet))
                peer.send(json.dumps(self.answer).encode())

    def close(self) -> None:
        self._listening.close()


def test_a_hit_becomes_a_record_that_names_rule_author_and_flow(node: Node) -> None:
    (node.root / "rules" / "a.yml").write_text(rule(1, "evil.example"))
    with recorder(node), closing(node.writer()) as writer:
        put(writer, "open", **flow("F1", "evil.example"))
        put(writer, "open", **flow("F2", "good.example"))
        writer.flush()
        (found,) = until(lambda: findings(node), "a finding")
        status, _, text = node.ask("/metrics")
    assert (found.rule, found.flow, found.tenant, found.host) == (f"{ID}1", "F1", "acme", "evil.example")
    assert found.detail == "high: rule 1 by an author"
    assert found.values is None or "simulated" not in found.values
    assert "1 detection rules run; they only tell" in acts(node)
    assert status == 200
    assert f'feiyu_rule_hits_total{{rule="{ID}1"}} 1.0'.encode() in text
    assert b'feiyu_findings_total{level="high"} 1.0' in text
    assert b"feiyu_rules_loaded 1.0" in text


@pytest.mark.parametrize("seed", range(3))
def test_each_hit_is_told_once_however_often_the_recorder_is_killed(node: Node, seed: int) -> None:
    (node.root / "rules" / "a.yml").write_text(rule(1, "evil.example") + "---\n" + rule(5, "often.example") + COUNT)
    random = Random(seed)
    flows = 0
    with closing(node.writer()) as writer:
        for _ in range(6):
            with recorder(node, ends=random.choice([signal.SIGKILL, signal.SIGKILL, signal.SIGTERM])):
                for _ in range(random.randrange(10, 40)):
                    flows += 1
                    put(writer, "open", **flow(f"F{flows}", "evil.example"))
                    put(writer, "open", **flow(f"G{flows}", "often.example"))
                    writer.flush()
                if random.random() < 0.5:
                    before = node.status()
                    until(lambda b=before: durable(node, b), "some of it is durable")
        with recorder(node):
            until(lambda: len([f for f in findings(node) if f.rule == f"{ID}1"]) >= min(flows, 100), "all are told")
            before = node.status()
            until(lambda: durable(node, before), "and nothing more comes")
    told = [f.flow for f in findings(node) if f.rule == f"{ID}1"]
    tripped = any("is set aside" in words for words in acts(node))
    assert told == [f"F{n}" for n in range(1, len(told) + 1)]
    assert len(told) == flows or tripped
    assert len([f for f in findings(node) if f.rule == f"{ID}9"]) == flows // 7


def test_orders_go_to_live_control_once_the_finding_is_durable(node: Node) -> None:
    block, cut = "action: block, scope: tenant, for: 1h", "action: cut"
    user, slow = "action: block, scope: user, for: 1h", "action: throttle, scope: tenant, for: 1h, rate: 5"
    texts = [
        rule(1, "a.example", block),
        rule(2, "b.example", cut),
        rule(3, "c.example", user),
        rule(4, "d.example", slow),
    ]
    (node.root / "rules" / "a.yml").write_text("---\n".join([*texts, rule(5, "e.example", f"{block}, simulate: true")]))
    hub = Hub(node.run / "live.sock")
    hub.count = lambda: len(findings(node))
    with recorder(node, "act"), closing(node.writer()) as writer:
        for number, host in enumerate("abcde", 1):
            put(writer, "open", **flow(f"F{number}", f"{host}.example"))
        writer.flush()
        until(
            lambda: len(hub.messages) == 4 and sum(": in force in 2 workers" in a for a in acts(node)) == 4,
            "all is done",
        )
    hub.close()
    by_rule = {message["rule"][-1]: message for message in hub.messages}
    assert by_rule["1"].items() >= {"kind": "kill", "scope": "tenant", "value": "acme"}.items()
    assert by_rule["2"] == {"kind": "cut", "flow": "F2", "cause": "cut-by-rule", "rule": f"{ID}2"}
    assert by_rule["3"].items() >= {"scope": "user", "value": "acme/u-1"}.items()
    assert by_rule["4"].items() >= {"scope": "tenant", "value": "acme", "rate": 5}.items()
    assert min(hub.seen) == 5, "the findings stood in the log before the first order"
    simulated = {f.rule[-1]: (f.values or {}).get("simulated", 0) for f in findings(node)}
    assert simulated == {"1": 0, "2": 0, "3": 0, "4": 0, "5": 1}


def test_where_rules_may_only_tell_nothing_is_done(node: Node) -> None:
    (node.root / "rules" / "a.yml").write_text(rule(1, "a.example", "action: cut"))
    hub = Hub(node.run / "live.sock")
    with recorder(node), closing(node.writer()) as writer:
        put(writer, "open", **flow("F1", "a.example"))
        writer.flush()
        (found,) = until(lambda: findings(node), "a finding")
        before = node.status()
        until(lambda: durable(node, before), "turns go by")
    hub.close()
    assert found.values == {"figure": 1, "simulated": 1}
    assert hub.messages == []


def test_what_live_control_refuses_is_written_down(node: Node) -> None:
    (node.root / "rules" / "a.yml").write_text(rule(1, "a.example", "action: cut"))
    hub = Hub(node.run / "live.sock", {"error": "not you"})
    with recorder(node, "act"), closing(node.writer()) as writer:
        put(writer, "open", **flow("F1", "a.example"))
        writer.flush()
        until(
            lambda: any("refused by live control (not you): cut flow F1" in words for words in acts(node)), "it is told"
        )
    hub.close()


def test_a_live_control_that_comes_late_is_told_all_the_same(node: Node) -> None:
    (node.root / "rules" / "a.yml").write_text(rule(1, "a.example", "action: cut"))
    with recorder(node, "act"), closing(node.writer()) as writer:
        put(writer, "open", **flow("F1", "a.example"))
        writer.flush()
        until(lambda: findings(node), "a finding")
        hub = Hub(node.run / "live.sock")
        until(lambda: hub.messages, "the order")
    hub.close()


def test_an_order_that_waits_when_the_recorder_ends_is_told_as_not_done(node: Node) -> None:
    (node.root / "rules" / "a.yml").write_text(rule(1, "a.example", "action: cut"))
    with recorder(node, "act"), closing(node.writer()) as writer:
        put(writer, "open", **flow("F1", "a.example"))
        put(writer, "open", **flow("F2", "a.example"))
        writer.flush()
        until(lambda: len(findings(node)) == 2, "two findings")
        before = node.status()
        until(lambda: durable(node, before), "the orders wait")
    assert sum(words.startswith("not done, ") and "cut flow F" in words for words in acts(node)) == 2


def test_rules_change_while_it_runs_and_a_bad_set_changes_nothing_also_over_a_restart(node: Node) -> None:
    file = node.root / "rules" / "a.yml"
    file.write_text(rule(1, "a.example"))
    with closing(node.writer()) as writer:
        with recorder(node):
            file.write_text(rule(2, "a.example"))
            until(lambda: sum("detection rules run" in words for words in acts(node)) == 2, "other rules run")
            put(writer, "open", **flow("F1", "a.example"))
            writer.flush()
            until(lambda: [f.rule for f in findings(node)] == [f"{ID}2"], "they find")
            file.write_text(rule(3, "a.example").replace("cs-host", "cs-hots"))
            (said,) = until(lambda: [w for w in acts(node) if "refused" in w], "it is refused")
            assert f"{file}:7: unknown field 'cs-hots'" in said
            until(lambda: b"feiyu_rules_rejected 1.0" in node.ask("/metrics")[2], "a metric says so")
        with recorder(node):
            put(writer, "open", **flow("F2", "a.example"))
            writer.flush()
            until(lambda: [f.rule for f in findings(node)] == [f"{ID}2"] * 2, "those that ran run on")
            file.write_text(rule(4, "a.example"))
            until(lambda: b"feiyu_rules_rejected 0.0" in node.ask("/metrics")[2], "mended")


def test_a_replayed_log_gives_the_state_that_the_recorder_had(node: Node) -> None:
    (node.root / "rules" / "a.yml").write_text(rule(5, "often.example") + COUNT)
    with recorder(node, ends=signal.SIGKILL), closing(node.writer()) as writer:
        for number in range(5):
            put(writer, "open", **flow(f"F{number}", "often.example"))
        writer.flush()
        until(lambda: len(node.lines()) >= 6, "they are in the log")
    (node.log / "checkpoint").unlink(missing_ok=True)
    watch = Watch(load([node.root / "rules"]))
    Journal(node.log, NODE, BOOT, Segments(node.log, 1 << 20), watch=watch)
    assert watch.engine.groups == 1
    for number in (6, 7):
        line = node.lines()[-1]
        assert decode(line)
        watch.take([Record(node=NODE, boot=BOOT, worker="w9", seq=1, kind="open",
                           **flow(f"G{number}", "often.example"))])  # fmt: skip
    assert [hit.head.title for hit in watch.hits()] == ["count"]


def test_workers_do_not_load_the_rules() -> None:
    code = "import gateway.worker, ops.worker, sys; sys.exit('sigma' in sys.modules or 're2' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0

"""What tests of Prometheus, Alertmanager and Grafana files share."""

import json
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from ops.api.facts import of_processes
from tests.telemetry.spool_kit import BOOT, NODE, Node, put, stop, until
from tests.telemetry.stream.kit import free_port

CONFIGS = Path(__file__).parents[2] / "configs"
PROMETHEUS = CONFIGS / "prometheus"
RULES = sorted((PROMETHEUS / "rules").glob("*.yml"))

CHILDREN = [
    {"name": name, "role": name if name != "w0" else "worker", "state": "ready", "restarts": 0}
    for name in ("recorder", "control", "streams", "lines", "w0")
]


def rules() -> list[dict[str, Any]]:
    """All rules, each with its group's file as "file"."""
    found = []
    for path in RULES:
        for group in yaml.safe_load(path.read_text())["groups"]:
            found += [{**rule, "file": path.stem} for rule in group["rules"]]
    return found


def alerts() -> list[dict[str, Any]]:
    return [rule for rule in rules() if "alert" in rule]


@contextmanager
def serving(root: Path, **values: int) -> Iterator[tuple[Node, int]]:
    """A node's recorder and streams process with records of every kind of process, as workers, lines and control write
    them; the port of /metrics. values: of control's heartbeat."""
    node, port = Node(root), free_port()
    control, worker, lines = node.writer("control.1"), node.writer("w0.1"), node.writer("lines.1")
    beat = of_processes({"children": CHILDREN, "reload": {"result": "ok", "accepted": 1, "refused": 0}})
    expiries = {f"next_expiry_{kind}": 4_000_000_000 for kind in ("grant", "tenant", "token", "certificate")}
    put(control, "heartbeat", values={**beat, **expiries, "register_ok": 1, "published_ok": 1, **values})
    put(worker, "heartbeat", values={"connections": 1, "handshakes": 1, "pipes": 1, "shortages": 0, "turns": 1})
    where = {"tenant": "acme", "line": "hk1", "flow": "F1"}
    put(worker, "open", **where)
    put(worker, "close", **where, cause="idle", bytes_out=1, bytes_in=2, duration=1_000_000)
    put(worker, "deny", tenant="acme", reason="not-whitelisted")
    figures = {"flows": 1, "rtt_us": 9, "loss_permille": 1, "passive_rtt_us": 8, "retransmits_ppm": 3}
    more = {"contract_days": 90, "dropped": 0, "exhausted": 0, "repairs": 0}
    put(lines, "line", line="hk1", detail="up: tests", values={"state": 1, **figures, **more})
    put(lines, "heartbeat", detail="figures", values={"marked": 0, "unmarked": 0, "dropped": 0, "forwarded": 0})
    for writer in (control, worker, lines):
        writer.flush()
    directories = ["--state-dir", str(node.state), "--run-dir", str(node.run), "--node", NODE]
    sink = json.dumps([{"name": "archive", "kind": "file", "to": str(root / "out"), "begin": "oldest"}])
    argv = [sys.executable, "-m", "telemetry.recorder", *directories, "--boot", BOOT]
    recorder = subprocess.Popen([*argv, "--metrics", f"127.0.0.1:{port}"], stderr=subprocess.PIPE)
    streams = subprocess.Popen(
        [sys.executable, "-m", "telemetry.stream.main", *directories, "--sinks", sink], stderr=subprocess.PIPE
    )
    try:
        until(lambda: b"feiyu_stream_lag_records{" in scrape(port), "the streams in /metrics")
        until(lambda: b"feiyu_control_up 1" in scrape(port), "control in /metrics")
        yield node, port
    finally:
        stop(streams)
        stop(recorder)
        for writer in (control, worker, lines):
            writer.close()


def scrape(port: int) -> bytes:
    try:
        return get(f"http://127.0.0.1:{port}/metrics")
    except OSError:
        return b""


def get(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=5) as response:
        data: bytes = response.read()
        return data


def post(url: str, body: object) -> None:
    request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=5) as response:
        assert response.status == 200


class Inbox:
    """Takes what is posted to it over HTTP, in a thread."""

    def __init__(self) -> None:
        import threading
        from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

        heard = self.heard = []  # type: ignore[var-annotated]

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                heard.append((self.path, json.loads(body)))
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self.server.server_address[1]
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        self.thread.start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


def answers(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def now() -> float:
    return time.time()

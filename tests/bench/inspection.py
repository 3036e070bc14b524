"""python -m tests.bench.inspection [--json FILE] [--rounds N]: what inspection costs, beside mitmdump with an addon
that does the same (rules by method and path, streamed bodies, two records a request), in one run.

Proxy on one core, load and services on the other; each proxy in the same namespaces, by turns. CPU is that of all
processes of a proxy, from /proc. Needs root.
"""

import argparse
import contextlib
import json
import os
import socket
import ssl
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.gateway.inspection_kit import InspectedNode
from tests.gateway.kit import GATEWAY, SOURCES, Ground
from tests.gateway.node import authorization

CORE, LOAD = 0, 1
TUNNELS, REQUESTS, FIRSTS, PLAIN = 4, 400, 40, 1000
PEER_PORT = 8080

ADDON = """
import json, os, re, time
ADDRESSES = json.loads(os.environ["BENCH_ADDRESSES"])
RULES = [(("GET", "HEAD"), re.compile(r"/open/.*").fullmatch), (("GET", "POST"), re.compile(r"/large/.*").fullmatch)]
OUT = open(os.environ["BENCH_RECORDS"], "w", buffering=1)

class Inspection:
    def server_connect(self, data):
        host = data.server.address[0]
        data.server.address = (ADDRESSES.get(host, host), data.server.address[1])

    def requestheaders(self, flow):
        path = flow.request.path.partition("?")[0]
        allowed = any(flow.request.method in methods and fits(path) for methods, fits in RULES)
        OUT.write(json.dumps({"time": time.time(), "host": flow.request.pretty_host, "method": flow.request.method,
                              "path": path, "allowed": allowed}) + "\\n")
        if not allowed:
            from mitmproxy import http
            flow.response = http.Response.make(403, b"refused")
        else:
            flow.request.stream = True

    def responseheaders(self, flow):
        flow.metadata["bytes"] = 0
        def count(data):
            flow.metadata["bytes"] += len(data)
            return data
        flow.response.stream = count

    def response(self, flow):
        OUT.write(json.dumps({"time": time.time(), "host": flow.request.pretty_host, "status": flow.response.status_code,
                              "type": flow.response.headers.get("content-type", ""), "bytes": flow.metadata["bytes"]}) + "\\n")

addons = [Inspection()]
"""  # noqa: E501


def cpu(pids: list[int]) -> float:
    """Seconds of processor time that the threads of processes have had (schedstat counts nanoseconds, stat ticks)."""
    threads = [task for pid in pids for task in Path(f"/proc/{pid}/task").iterdir()]
    return sum(int((task / "schedstat").read_text().split()[0]) for task in threads) / 1e9


def anonymous(pid: int) -> int:
    """kB of anonymous memory."""
    for text in Path(f"/proc/{pid}/status").read_text().splitlines():
        if text.startswith("RssAnon:"):
            return int(text.split()[1])
    raise AssertionError("no RssAnon")


class Bench:
    """A node, a peer, and one service for both."""

    def __init__(self, ground: Ground, directory: Path) -> None:
        self.node = InspectedNode(ground, directory)
        self.worker = self.node.worker()
        self.beside = self.node.worker("w1.1")
        inspector = self.node.start_inspector()
        self.node.inspect()
        self.site, self.origin = self.node.service(("http/1.1",))
        self.plain = ground.site("tcp", backlog=1024)
        self.inspector = inspector.pid
        self.peer = self._peer(directory)
        for pid in (self.worker.pid, self.beside.pid, self.inspector, self.peer.pid):
            pin(pid, CORE)
        os.sched_setaffinity(0, {LOAD})

    def _peer(self, directory: Path) -> subprocess.Popen[bytes]:
        (directory / "addon.py").write_text(ADDON)
        (directory / "roots.pem").write_text(self.node.abroad.pem)
        environment = os.environ | {
            "BENCH_ADDRESSES": json.dumps({self.site.host: self.site.address}),
            "BENCH_RECORDS": str(directory / "peer.records"),
        }
        confdir = directory / "peer"
        argv = [str(Path(sys.executable).parent / "mitmdump"), "-q", "--listen-host", GATEWAY, "-p", str(PEER_PORT),
                "--set", f"confdir={confdir}", "--set", f"ssl_verify_upstream_trusted_ca={directory / 'roots.pem'}",
                "-s", str(directory / "addon.py")]  # fmt: skip
        with self.node.ground.gateway.inside():
            peer = subprocess.Popen(argv, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.peer_root = confdir / "mitmproxy-ca-cert.pem"
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError), self.node.ground.client.inside():
                socket.create_connection((GATEWAY, PEER_PORT), 1).close()
                if self.peer_root.exists():
                    return peer
            time.sleep(0.2)
        raise AssertionError("mitmdump does not come up")

    def close(self) -> None:
        """Ends the peer and the node."""
        self.peer.terminate()
        self.peer.wait(10)
        self.node.__exit__(RuntimeError, None, None)  # a benchmark's records are not checked

    def tunnel(self, port: int, root: Path) -> ssl.SSLSocket:
        """A TLS connection to the service through a proxy."""
        context = ssl.create_default_context(cafile=str(root))
        context.set_alpn_protocols(["http/1.1"])
        sock = connected(self.node.ground, port, self.site.authority)
        return context.wrap_socket(sock, server_hostname=self.site.host)

    def requests(self, port: int, root: Path, pids: list[int]) -> dict[str, float]:
        """Requests a second and CPU µs a request, over some kept connections at a time."""
        tunnels = [self.tunnel(port, root) for _ in range(TUNNELS)]
        for tls in tunnels:
            get(tls, self.site.host)
        began, used = time.monotonic(), cpu(pids)
        threads = [threading.Thread(target=lambda tls=tls: [get(tls, self.site.host) for _ in range(REQUESTS)])
                   for tls in tunnels]  # fmt: skip
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        seconds, spent = time.monotonic() - began, cpu(pids) - used
        for tls in tunnels:
            tls.close()
        count = TUNNELS * REQUESTS
        return {"requests_per_second": count / seconds, "cpu_us_per_request": spent / count * 1e6}

    def first(self, port: int, root: Path) -> float:
        """Median ms from the first byte to the proxy to the first answer, over new tunnels; the leaf is there."""
        found = []
        for _ in range(FIRSTS):
            began = time.monotonic()
            with self.tunnel(port, root) as tls:
                get(tls, self.site.host)
            found.append(time.monotonic() - began)
        return statistics.median(found) * 1e3

    def plain_cost(self) -> float:
        """CPU µs of a worker for a tunnel that is not inspected: opened, 512 bytes, closed."""

        def serve() -> None:
            for _ in range(PLAIN):
                with self.plain.listener.accept()[0] as sock:
                    sock.sendall(sock.recv(512))

        self.plain.listener.settimeout(30)
        thread = threading.Thread(target=serve)
        thread.start()
        used = cpu([self.beside.pid])
        for _ in range(PLAIN):
            with connected(self.node.ground, self.beside.port, self.plain.authority) as sock:
                sock.sendall(b"x" * 512)
                sock.recv(512)
        thread.join()
        return (cpu([self.beside.pid]) - used) / PLAIN * 1e6

    @contextlib.contextmanager
    def busy(self) -> Iterator[None]:
        """The inspector at full load, on the other core, while this lasts."""
        pin(self.inspector, LOAD)
        over = threading.Event()

        def load() -> None:
            with self.tunnel(self.worker.port, self.node.trusted) as tls:
                while not over.is_set():
                    get(tls, self.site.host)

        threads = [threading.Thread(target=load) for _ in range(TUNNELS)]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            over.set()
            for thread in threads:
                thread.join()
            pin(self.inspector, CORE)

    def large(self, size: int) -> dict[str, float]:
        """Seconds of a download and an upload, and kB by which the inspector grew in them."""
        url = f"https://{self.site.host}/large/a"
        found: dict[str, float] = {}
        for name, arguments in (("download", ()), ("upload", ("-X", "POST", "-T", "-", "-H", "Expect:"))):
            before, began, peak = anonymous(self.inspector), time.monotonic(), [0]
            over = threading.Event()

            def watch(peak: list[int] = peak, over: threading.Event = over) -> None:
                while not over.wait(0.1):
                    peak[0] = max(peak[0], anonymous(self.inspector))

            watcher = threading.Thread(target=watch)
            watcher.start()
            ask = f"{url}?size={size}" if name == "download" else url
            argv = ["curl", "-sS", "--http1.1", "--proxy", f"http://{GATEWAY}:{self.worker.port}", "--proxy-header",
                    f"Proxy-Authorization: {authorization('acme')}", "--interface", SOURCES["acme"], "--cacert",
                    str(self.node.trusted), "-o", "/dev/null", "-w", "%{http_code}", *arguments, ask]  # fmt: skip
            with self.node.ground.client.inside():
                source = subprocess.Popen(["head", "-c", str(size), "/dev/zero"], stdout=subprocess.PIPE)
                done = subprocess.run(argv, stdin=source.stdout, capture_output=True, timeout=600)
            source.kill()
            source.wait()
            over.set()
            watcher.join()
            assert done.stdout == b"200", done
            found[f"{name}_s"] = time.monotonic() - began
            found[f"{name}_growth_kb"] = peak[0] - before
        return found


def pin(pid: int, core: int) -> None:
    """All threads of a process to one core."""
    for task in Path(f"/proc/{pid}/task").iterdir():
        os.sched_setaffinity(int(task.name), {core})


def connected(ground: Ground, port: int, authority: str) -> socket.socket:
    """A tunnel through a proxy."""
    with ground.client.inside():
        sock = socket.socket()
    sock.settimeout(30)
    sock.bind((SOURCES["acme"], 0))
    sock.connect((GATEWAY, port))
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.sendall(f"CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n"
                 f"Proxy-Authorization: {authorization('acme')}\r\n\r\n".encode())  # fmt: skip
    head = sock.recv(4096)
    assert b" 200 " in head.split(b"\r\n")[0], head
    return sock


def get(tls: ssl.SSLSocket, host: str) -> None:
    """One request and its whole answer."""
    tls.sendall(f"GET /open/a?size=512 HTTP/1.1\r\nHost: {host}\r\nUser-Agent: bench\r\nAccept: */*\r\n\r\n".encode())
    data = b""
    while b"\r\n\r\n" not in data or len(data.partition(b"\r\n\r\n")[2]) < 512:
        more = tls.recv(65_536)
        assert more, data
        data += more
    assert data.startswith(b"HTTP/1.1 200"), data[:200]


def main() -> int:
    """Runs all of it and prints a table."""
    parser = argparse.ArgumentParser(prog="tests.bench.inspection")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--size", type=int, default=2 << 30, help="bytes of the large bodies")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory, Ground() as ground:
        Path(directory).chmod(0o755)
        bench = Bench(ground, Path(directory))
        try:
            result = measured(bench, given.rounds, given.size)
        finally:
            bench.close()
    print(json.dumps(result, indent=2))
    if given.json:
        given.json.write_text(json.dumps(result, indent=2) + "\n")
    return 0


def measured(bench: Bench, rounds: int, size: int) -> dict[str, Any]:
    """All figures: medians over the rounds, in which both proxies take turns."""
    ours = (bench.worker.port, bench.node.trusted, [bench.worker.pid, bench.inspector])
    peer = (PEER_PORT, bench.peer_root, [bench.peer.pid])
    found: dict[str, list[dict[str, float]]] = {"feiyu": [], "mitmdump": []}
    for _ in range(rounds):
        for name, (port, root, pids) in (("feiyu", ours), ("mitmdump", peer)):
            figures = bench.requests(port, root, pids)
            figures["first_request_ms"] = bench.first(port, root)
            found[name].append(figures)
    table = {name: {key: round(statistics.median(one[key] for one in each), 1) for key in each[0]}
             for name, each in found.items()}  # fmt: skip
    ratios = {key: round(table["feiyu"][key] / table["mitmdump"][key], 2) for key in table["feiyu"]}
    idle = statistics.median(bench.plain_cost() for _ in range(rounds))
    with bench.busy():
        busy = statistics.median(bench.plain_cost() for _ in range(rounds))
    beside = {"idle_us": round(idle, 1), "busy_us": round(busy, 1), "ratio": round(busy / idle, 2)}
    large = {key: round(value, 1) for key, value in bench.large(size).items()}
    return {**table, "ratio": ratios, "uninspected_tunnel": beside, "bytes": size, "large": large}


if __name__ == "__main__":
    sys.exit(main())

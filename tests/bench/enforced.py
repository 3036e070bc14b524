"""How long a change takes: a grant revoked through control's API while its tunnels are open, on a whole node."""

import http.client
import json
import select
import socket
import statistics
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from tests.bench import population
from tests.bench.load import LoadError
from tests.bench.measure import Row
from tests.bench.proxy import Proxy
from tests.bench.zone import GATEWAY, NAME, PORT

TUNNELS = 8  # of each tenant that loses its grant; they lie with all workers
PATIENCE = 5.0  # seconds


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("control")
        self._path = path

    def connect(self) -> None:
        """To the socket in the file system."""
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(10)
        self.sock.connect(str(self._path))


def measure(proxy: Proxy, run: Path, hello: bytes, times: int) -> Row:
    """Milliseconds over so many revocations, each of another tenant: from the request to the answer that every worker
    has acknowledged, and to the end of the last of the tenant's tunnels."""
    enforced, hub, cut = [], [], []
    for number in range(1, times + 1):
        with ExitStack() as stack:
            tunnels = [stack.enter_context(_tunnel(proxy, number, hello)) for _ in range(TUNNELS)]
            poller = select.poll()
            for tunnel in tunnels:
                poller.register(tunnel, select.POLLIN | select.POLLRDHUP)
            began = time.monotonic()
            answer = _post(
                run / "control.sock", f"/v1/grants/{population.grant_id(number)}/revoke", {"reason": "benchmark"}
            )
            enforced.append((time.monotonic() - began) * 1e3)
            if not answer["enforced"] or answer["enforced"]["killed"]:
                raise LoadError(f"a change was not enforced: {answer}")
            hub.append(answer["enforced"].get("ms", 0.0))
            cut.append(_all_ended(poller, len(tunnels), began))
    return {
        "change_enforced_ms_p50": statistics.median(enforced),
        "change_enforced_ms_max": max(enforced),
        "change_workers_ms_p50": statistics.median(hub),
        "change_cut_ms_p50": statistics.median(cut),
        "change_cut_ms_max": max(cut),
    }


def _tunnel(proxy: Proxy, number: int, hello: bytes) -> socket.socket:
    """An open tunnel of this tenant, its hello sent."""
    with proxy.load.zone.client.inside():
        sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    sock.settimeout(PATIENCE)
    sock.bind((population.source(number), 0))
    sock.connect((GATEWAY, proxy.load.port))
    sock.sendall(
        f"CONNECT {NAME}:{PORT} HTTP/1.1\r\nHost: {NAME}:{PORT}\r\n{population.header(number)}\r\n\r\n".encode()
    )
    answer = sock.recv(4096)
    if b" 200 " not in answer.split(b"\r\n")[0]:
        sock.close()
        raise LoadError(f"no tunnel for tenant {number}: {answer[:300]!r}")
    # The service answers: the tunnel is carrying.
    sock.sendall(hello + b"CMD1R\0\0\0" + (64).to_bytes(8, "little"))
    left = 64
    while left:
        data = sock.recv(left)
        if not data:
            raise LoadError(f"the tunnel of tenant {number} ended at once")
        left -= len(data)
    return sock


def _post(path: Path, url: str, body: dict[str, Any]) -> dict[str, Any]:
    connection = _UnixConnection(path)
    try:
        connection.request("POST", url, json.dumps(body), {"Content-Type": "application/json"})
        response = connection.getresponse()
        text = response.read()
        if response.status >= 300:
            raise LoadError(f"{url}: {response.status} {text.decode(errors='replace')[:300]}")
        answer: dict[str, Any] = json.loads(text)
        return answer
    finally:
        connection.close()


def _all_ended(poller: "select.poll", count: int, began: float) -> float:
    """Milliseconds from began until the last of the registered sockets had ended."""
    while count:
        events = poller.poll((began + PATIENCE - time.monotonic()) * 1e3)
        if not events:
            raise LoadError(f"{count} tunnels were not cut within {PATIENCE:g} s")
        for fd, _ in events:
            poller.unregister(fd)
            count -= 1
    return (time.monotonic() - began) * 1e3

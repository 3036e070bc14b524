"""What an inspector costs others when it dies, hangs or is full, and what is left of what went through it."""

import gzip
import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from gateway.inspection import wire
from tests.gateway.inspection_kit import InspectedNode
from tests.gateway.kit import Ground, client_hello, until

pytestmark = pytest.mark.root

SECRETS = {
    "query": "q7Lm2-planted-query", "cookie": "c9Xv4-planted-cookie", "authorization": "a3Kp8-planted-bearer",
    "field": "f5Rt1-planted-field", "body": "b8Wn6-planted-body", "answer": "s2Hd7-planted-answer",
}  # fmt: skip


@pytest.fixture
def made(ground: Ground, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., InspectedNode]]:
    """Nodes of a test's own."""
    nodes: list[InspectedNode] = []

    def make(*inspector: str, **settings: Any) -> InspectedNode:
        node = InspectedNode(ground, tmp_path_factory.mktemp("inspected"), **settings)
        nodes.append(node)
        node.worker()
        node.start_inspector(*inspector)
        node.inspect()
        return node

    yield make
    for node in nodes:
        node.__exit__(None, None, None)


def denied(node: InspectedNode, host: str) -> dict[str, Any]:
    found = until(
        lambda: [
            r for r in node.records() if r.get("host") == host and r["kind"] in ("deny", "close") and r.get("reason")
        ],
        "the record of the refusal",
    )
    return dict(found[-1])


def test_without_an_inspector_inspected_grants_alone_are_refused(made: Callable[..., InspectedNode]) -> None:
    node = made()
    worker, (site, origin) = node.workers["w0.1"], node.service()
    assert node.inspector is not None
    node.inspector.kill()
    node.inspector.wait()
    found = node.curl(worker, f"https://{site.host}/open/a")
    assert (found.exit, "503" in found.error) == (56, True), found
    assert denied(node, site.host)["reason"] == "inspection-unavailable"
    assert not origin.connections
    other = node.ground.site("tcp")
    talk = node.tunnel(worker, other.authority)
    talk.say("hello")
    assert other.accept().exactly(5) == b"hello"
    node.start_inspector()
    assert node.curl(worker, f"https://{site.host}/open/a").status == 200


def test_an_inspector_that_dies_ends_its_tunnels_alone(made: Callable[..., InspectedNode]) -> None:
    node = made()
    worker, (site, _) = node.workers["w0.1"], node.service(("http/1.1",))
    other = node.ground.site("tcp")
    beside = node.tunnel(worker, other.authority)
    talk = node.tunnel(worker, site.authority)
    served = other.accept()
    assert node.inspector is not None
    talk.say(client_hello(site.host))
    time.sleep(0.2)
    node.inspector.kill()
    assert talk.was_reset()
    record = node.final(talk)
    assert (record["cause"], record["detail"]) == ("inspection-failed", "the inspector is gone")
    beside.say("hello")
    assert served.exactly(5) == b"hello"


def test_an_inspector_that_hangs_is_not_waited_for(made: Callable[..., InspectedNode]) -> None:
    node = made()
    worker, (site, origin) = node.workers["w0.1"], node.service()
    assert node.inspector is not None
    os.kill(node.inspector.pid, signal.SIGSTOP)
    try:
        found = node.curl(worker, f"https://{site.host}/open/a")
        assert (found.exit, "503" in found.error) == (56, True), found
        record = denied(node, site.host)
        assert (record["reason"], record["detail"]) == ("inspection-unavailable", "the inspector does not answer")
        assert not origin.asked
    finally:
        os.kill(node.inspector.pid, signal.SIGCONT)


def test_an_inspector_whose_loop_does_not_turn_is_ended_by_the_kernel(tmp_path: Path) -> None:
    code = (
        "import gateway.inspection.process as p, asyncio, time, signal\n"
        "p.HANG, p.BEAT = 0.5, 0.1\n"
        "async def main():\n"
        "    beat = asyncio.create_task(p.Inspector._beat(type('I', (), {'_save': lambda s: None})()))\n"
        "    await asyncio.sleep(0.3)\n"
        "    sum(range(1 << 40))\n"
        "asyncio.run(main())\n"
    )
    done = subprocess.run([os.path.abspath(".venv/bin/python"), "-c", code], timeout=60)
    assert done.returncode == -signal.SIGALRM


def test_a_full_inspector_refuses_and_keeps_what_it_has(made: Callable[..., InspectedNode]) -> None:
    node = made("--max-tunnels", "1")
    worker, (site, _) = node.workers["w0.1"], node.service()
    talk = node.tunnel(worker, site.authority)
    found = node.curl(worker, f"https://{site.host}/open/a")
    assert (found.exit, "503" in found.error) == (56, True), found
    assert denied(node, site.host)["detail"] == "the inspectors have no room for another tunnel"
    talk.say(client_hello(site.host))
    assert talk.exactly(1) == b"\x16"  # it answers in TLS


def test_strangers_are_not_served_by_an_inspector(made: Callable[..., InspectedNode]) -> None:
    node = made()
    path = node.run / "inspector0.sock"
    path.chmod(0o666)
    code = (
        "import os, socket, sys; os.setuid(65534); s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)\n"
        f"s.connect({str(path)!r}); s.settimeout(5); s.send(b'x'); print(s.recv(10))"
    )
    for folder in (path, *path.parents):
        if folder.stat().st_uid == 0 and not folder.stat().st_mode & 0o001:
            folder.chmod(folder.stat().st_mode | 0o001)
    done = subprocess.run(["/usr/bin/env", "python3", "-c", code], capture_output=True, text=True, timeout=20)
    assert done.stdout.strip() == "b''" or "Error" in done.stderr.splitlines()[-1], done


def test_an_inspector_that_talks_nonsense_loses_its_tunnel_alone(made: Callable[..., InspectedNode]) -> None:
    node = made()
    worker, (site, origin) = node.workers["w0.1"], node.service()
    assert node.inspector is not None
    node.inspector.terminate()
    node.inspector.wait()
    path = node.run / "inspector0.sock"
    path.unlink()
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as false:
        false.bind(str(path))
        false.listen()
        talk = node.connect(worker, site.authority)
        channel, _ = false.accept()
        assert isinstance(wire.read_from_worker(channel.recv(wire.MAX_PACKET)), wire.Begin)
        channel.send(b"\xc1nonsense")
        assert talk.head().startswith("HTTP/1.1 503 ")
        assert denied(node, site.host)["detail"] == "the inspector says what nobody understands"
        assert channel.recv(10) == b""
        channel.close()
    assert not origin.asked


def test_no_planted_secret_is_left_anywhere(made: Callable[..., InspectedNode], tmp_path: Path) -> None:
    node = made()
    worker, (site, _) = node.workers["w0.1"], node.service()
    fields = ["-H", f"Cookie: id={SECRETS['cookie']}", "-H", f"Authorization: Bearer {SECRETS['authorization']}",
              "-H", f"X-Api-Key: {SECRETS['field']}"]  # fmt: skip
    query = f"?token={SECRETS['query']}"
    for how in ("--http1.1", "--http2"):
        node.curl(worker, f"https://{site.host}/open/{SECRETS['query'][:2]}{query}", how, *fields)
        node.curl(worker, f"https://{site.host}/closed{query}", how, *fields)
        body = ["-H", "Content-Type: application/json", "-d", SECRETS["body"]]
        node.curl(worker, f"https://{site.host}/in/a{query}", how, *fields, *body)
        node.curl(worker, f"https://{site.host}/pictures/a{query}&type={SECRETS['answer']}", how, *fields)
    # malformed ones, as they would be quoted in words of the library
    for raw in (
        f"GET /open/a{query} HTTP/1.1\r\nHost : x\r\nCookie: {SECRETS['cookie']}\r\n\r\n",
        f"GET /open/a{query} HTTP/1.1\r\nHost: {site.host}\r\nTransfer-Encoding: {SECRETS['field']}\r\n\r\n",
        f"GET /open/a{query} HTTP/1.1\r\nHost: {site.host}\r\nCookie: {SECRETS['cookie']}",
    ):
        speak(node, site.host, raw.encode())
    assert node.inspector is not None
    os.kill(node.inspector.pid, signal.SIGABRT)  # where a core would be written, were it allowed to
    node.inspector.wait()
    node.start_inspector()
    node.curl(worker, f"https://{site.host}/open/a{query}", *fields)
    node.inspector.terminate()
    node.inspector.wait()
    worker.stop()
    looked = found = 0
    for folder in (node.directory, Path("/tmp")):
        for path in folder.rglob("*") if folder == node.directory else folder.glob("core*"):
            if path.is_file():
                data = path.read_bytes()
                looked += 1
                for kind in [data] + ([gzip.decompress(data)] if data[:2] == b"\x1f\x8b" else []):
                    hits = [name for name, secret in SECRETS.items() if secret.encode() in kind]
                    found += bool(hits)
                    assert not hits, (path, hits)
    assert looked > 10
    kept = [json.loads(text) for path in node.spool.iterdir() for text in path.read_bytes().splitlines()
            if text.startswith(b'{"v"')]  # fmt: skip
    assert any(r.get("path") == f"/open/{SECRETS['query'][:2]}" for r in kept), "the paths are kept"


def speak(node: InspectedNode, host: str, raw: bytes) -> bytes:
    """Says raw bytes inside TLS inside a tunnel, and ends; what comes back."""
    import ssl

    context = ssl.create_default_context(cafile=str(node.trusted))
    context.set_alpn_protocols(["http/1.1"])
    talk = node.tunnel(node.workers["w0.1"], f"{host}:443")
    with context.wrap_socket(talk.sock, server_hostname=host) as tls:
        tls.sendall(raw)
        answer = b""
        tls.settimeout(5)
        try:
            while data := tls.recv(65_536):
                answer += data
        except (OSError, ssl.SSLError):
            pass
    return answer

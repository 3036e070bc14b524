"""A log that grows, pumps over it, and the real servers at the other end of sinks."""

import asyncio
import contextlib
import json
import shutil
import signal
import socket
import ssl
import subprocess
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any, Self

import pytest

from telemetry.segments import Segments
from telemetry.spooldir import Status, open_status, write_status
from telemetry.stream.history import History
from telemetry.stream.pump import Pump
from telemetry.stream.sink import Sink
from telemetry.stream.spec import Sink as Spec
from tests.gateway.secure_kit import Pki, new_key
from tests.telemetry.stream.records import NODE, line

DEADLINE = 30.0


class Log:
    """A log with a recorder's status, of small segments."""

    def __init__(self, root: Path, segment_bytes: int = 20_000) -> None:
        self.root = root
        self.directory, self.spool, self.cursors = root / "log", root / "spool", root / "streams"
        for directory in (self.directory, self.spool, self.cursors):
            directory.mkdir()
        self.segments = Segments(self.directory, segment_bytes)
        self.status = open_status(self.spool)
        self.history = History(self.directory, self.spool)
        self.said: list[bytes] = []

    def append(self, *lines: bytes) -> None:
        for text in lines:
            self.segments.append(text + b"\n", 1)
            if self.segments.size > 20_000:
                self.segments.sync()
        self.segments.sync()
        self.said += lines
        write_status(self.status, Status(1.0, 1.0, "", self.segments.records))

    def flows(self, count: int, kind: str = "open", **fields: Any) -> list[bytes]:
        start = self.segments.records + 1
        now = time.time_ns() // 1000
        lines = [line(kind, start + i, flow=f"F{start + i}", time=now + i, **fields) for i in range(count)]
        self.append(*lines)
        return lines

    @contextlib.asynccontextmanager
    async def pumping(self, spec: Spec, sink: Sink) -> AsyncIterator[Pump]:
        """A pump that runs meanwhile."""
        pump, stopping = Pump(spec, sink, self.history, self.cursors, NODE), asyncio.Event()
        task = asyncio.create_task(pump.run(stopping))
        try:
            yield pump
        finally:
            stopping.set()
            await asyncio.wait_for(task, DEADLINE)


async def until(what: Callable[[], Any], why: str) -> Any:
    end = time.monotonic() + DEADLINE
    while time.monotonic() < end:
        if found := what():
            return found
        await asyncio.sleep(0.02)
    raise AssertionError(f"not within {DEADLINE} s: {why}")


def program(name: str) -> str:
    """A program's path; the test is skipped, and says so, where it is not installed."""
    found = shutil.which(name, path="/usr/sbin:/usr/bin:/sbin:/bin:/usr/local/bin")
    if not found:
        pytest.skip(f"{name} is not installed (make test installs it as root)")
    return found


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def certificates(directory: Path) -> Pki:
    """A CA, and a server certificate for 127.0.0.1."""
    from tenants import ca

    now = int(time.time())
    pki = Pki(directory, now)
    key = new_key()
    made = ca.issue_server(pki.issuing, key.public_key(), ["127.0.0.1"], now)
    pki.key.write_bytes(ca.key_pem(key))
    pki.certificate.write_bytes(ca.pem(made, pki.issuing.certificate))
    return pki


def server_context(pki: Pki) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pki.certificate, pki.key)
    return context


@contextlib.contextmanager
def running(*argv: str, port: int) -> Iterator[subprocess.Popen[bytes]]:
    """A server, from when its port answers until it has ended."""
    process = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    try:
        end = time.monotonic() + DEADLINE
        while True:
            assert process.poll() is None, f"{argv[0]} ended: {process.stdout and process.stdout.read()!r}"
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
            assert time.monotonic() < end, f"{argv[0]} does not listen"
            time.sleep(0.05)
        yield process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(DEADLINE)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        assert process.stdout
        process.stdout.close()


class Receiver:
    """A syslog server over TLS that reads octet-counted frames as strictly as RFC 5425 writes them."""

    def __init__(self, pki: Pki, port: int = 0) -> None:
        self.context, self.port = server_context(pki), port
        self.frames: list[bytes] = []
        self.faults: list[str] = []
        self.reading = asyncio.Event()
        self.reading.set()
        self.server: asyncio.Server | None = None
        self.writers: list[asyncio.StreamWriter] = []

    async def __aenter__(self) -> Self:
        self.server = await asyncio.start_server(self._serve, "127.0.0.1", self.port, ssl=self.context, limit=1 << 16)
        self.port = self.server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self.server
        self.server.close()
        self.cut()

    def cut(self) -> None:
        """Resets all connections."""
        for writer in self.writers:
            writer.transport.abort()
        self.writers.clear()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writers.append(writer)
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError, ssl.SSLError):
            while True:
                await self.reading.wait()
                count = await reader.readuntil(b" ")
                if not count[:-1].isdigit() or count.startswith(b"0") or len(count) > 8:
                    self.faults.append(f"not a count: {count!r}")
                    return
                self.frames.append(await reader.readexactly(int(count)))

    def bodies(self) -> list[dict[str, Any]]:
        return [json.loads(frame[frame.index(b"] ") + 2 :]) for frame in self.frames]

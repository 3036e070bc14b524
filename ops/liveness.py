"""The liveness endpoint: HTTP on a unix socket, so that curl and systemd can ask. /live and /ready, JSON both."""

import asyncio
import contextlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

MAX_REQUEST = 4_096
PATIENCE = 2.0  # seconds a client has for its request


class Liveness:
    """GET /live answers 200 while the supervisor's loop turns; GET /ready answers 503 while ready() is false."""

    def __init__(self, path: Path, status: Callable[[], dict[str, Any]], ready: Callable[[], bool]) -> None:
        self._path, self._status, self._ready = path, status, ready
        self._server: asyncio.AbstractServer | None = None

    async def open(self, group: int | None) -> None:
        """Listens. Raises OSError."""
        self._path.unlink(missing_ok=True)
        self._server = await asyncio.start_unix_server(self._serve, self._path, limit=MAX_REQUEST)
        self._path.chmod(0o660)
        if group is not None:
            os.chown(self._path, -1, group)

    def close(self) -> None:
        """Stops listening."""
        if self._server:
            self._server.close()
            self._path.unlink(missing_ok=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, TimeoutError, asyncio.LimitOverrunError, asyncio.IncompleteReadError):
            async with asyncio.timeout(PATIENCE):
                head = await reader.readuntil(b"\r\n\r\n")
                line = head.split(b"\r\n", 1)[0].split(b" ")
                writer.write(self._answer(line))
                await writer.drain()
        writer.close()

    def _answer(self, line: list[bytes]) -> bytes:
        if len(line) != 3 or line[0] != b"GET" or line[1] not in (b"/live", b"/ready"):
            status, body = "404 Not Found", {"title": "only GET /live and GET /ready are here"}
        else:
            ready = line[1] == b"/live" or self._ready()
            status, body = ("200 OK" if ready else "503 Service Unavailable"), self._status()
        data = msgspec.json.encode(body) + b"\n"
        head = (f"HTTP/1.1 {status}", "Content-Type: application/json", f"Content-Length: {len(data)}")
        return "\r\n".join((*head, "Connection: close", "", "")).encode() + data

"""Control's side of the live channel: one JSON object per SOCK_SEQPACKET packet, one question at a time."""

import asyncio
import socket
import time
from pathlib import Path
from typing import Any

import msgspec

MAX_PACKET = 65_536  # bytes
TIMEOUT = 3.0  # seconds: the hub waits 1 s for workers, then kills and answers


class HubUnavailable(Exception):  # noqa: N818 - named for what happened
    """The hub cannot be reached, or refused; str() says why, in one sentence."""


class HubClient:
    """Publishes to the hub. Connects when needed, and again after a failure."""

    def __init__(self, path: Path, *, timeout: float = TIMEOUT) -> None:
        self._path = path
        self._timeout = timeout
        self._socket: socket.socket | None = None
        self._asking = asyncio.Lock()
        self.why_not = "not asked yet"  # "" while the last question was answered

    async def publish(self, message: dict[str, Any]) -> dict[str, Any]:
        """Sends a message and waits until it is enforced: the hub's answer (names of workers in "acked" and "killed",
        and more) with "ms", the milliseconds it took. {"kind": "status"} asks what is in force.

        Raises HubUnavailable. The message may then have been enforced nevertheless; all messages may be sent again.
        """
        async with self._asking:
            started = time.monotonic()
            try:
                async with asyncio.timeout(self._timeout):
                    done = await self._ask(message)
            except (OSError, TimeoutError, msgspec.DecodeError) as error:
                self.close()
                self.why_not = self._words(error)
                raise HubUnavailable(self.why_not) from error
            self.why_not = ""
            if "error" in done:
                raise HubUnavailable(f"the hub refused: {done['error']}")
            done.pop("done")
            return {**done, "ms": round((time.monotonic() - started) * 1000, 3)}

    def close(self) -> None:
        """Ends the connection."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    async def _ask(self, message: dict[str, Any]) -> dict[str, Any]:
        if self._socket is not None and not self._still_open(self._socket):
            self.close()
        loop = asyncio.get_running_loop()
        if self._socket is None:
            connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_NONBLOCK)
            self._socket = connection
            await loop.sock_connect(connection, str(self._path))
            await loop.sock_sendall(connection, msgspec.json.encode({"hello": "control", "name": "control"}))
        connection = self._socket
        await loop.sock_sendall(connection, msgspec.json.encode(message))
        while True:
            packet = await loop.sock_recv(connection, 4 * MAX_PACKET)
            if not packet:
                raise ConnectionResetError("the hub closed the connection")
            answer = msgspec.json.decode(packet, type=dict[str, Any])
            if "done" in answer or "error" in answer:
                return answer

    def _still_open(self, connection: socket.socket) -> bool:
        """Throws away what came unasked; False once the hub has closed."""
        while True:
            try:
                if not connection.recv(MAX_PACKET):
                    return False
            except BlockingIOError:
                return True
            except OSError:
                return False

    def _words(self, error: Exception) -> str:
        match error:
            case FileNotFoundError() | ConnectionRefusedError():
                return f"no hub listens at {self._path}"
            case TimeoutError():
                return f"the hub did not answer within {self._timeout:g} s"
            case _:
                return f"hub at {self._path}: {error}"

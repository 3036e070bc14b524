"""Findings to an HTTPS webhook, one request each, signed as Standard Webhooks 1.0 says (HMAC-SHA256).

Headers: webhook-id, webhook-timestamp (Unix seconds), webhook-signature "v1,BASE64" over "ID.TIMESTAMP.BODY". The same
id comes again when a request is repeated. An answer 2xx takes it; 408, 429 and 5xx, and no answer, are tried again at
growing intervals, for as long as it takes where there is no answer; what is refused (other 4xx) or was answered 5xx
ATTEMPTS times goes to the dead letters, so that one record cannot keep back the others.
"""

import asyncio
import base64
import binascii
import hashlib
import hmac
import os
import time
from collections.abc import Sequence
from pathlib import Path

import aiohttp
import msgspec

from telemetry.stream.event import Event
from telemetry.stream.sink import SinkError, read_secret, tls_context
from telemetry.stream.spec import Sink as Spec

ATTEMPTS = 12  # answers 5xx to one record, over some 20 minutes
FIRST, LONGEST = 0.5, 300.0  # seconds between attempts, doubled each time
TIMEOUT = 15.0
MOST_DEAD = 64 << 20  # bytes of dead letters; at that nothing more is given up
_AGAIN = frozenset({408, 425, 429})


class WebhookSink:
    """One URL. dead: the file for dead letters, one JSON object a line: id, why, body."""

    settle = 0.0
    batch = 20

    def __init__(self, spec: Spec, dead: Path) -> None:
        self._spec, self._dead = spec, dead
        self._session: aiohttp.ClientSession | None = None
        self._key = b""
        self._refused = 0
        self._done = ""  # the last id that was taken: a batch that comes again goes on behind it

    async def open(self) -> None:
        """Reads the files; connects with the first record."""
        self._key = await asyncio.to_thread(_key, self._spec.secret)
        context = await asyncio.to_thread(tls_context, self._spec)
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=context), timeout=aiohttp.ClientTimeout(TIMEOUT)
        )

    async def send(self, events: Sequence[Event]) -> None:
        """One after the other; waits between attempts."""
        ids = [event.id for event in events]
        start = ids.index(self._done) + 1 if self._done in ids else 0
        for event in events[start:]:
            await self._one(event)
            self._done = event.id

    async def close(self) -> None:
        """Ends the connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    def figures(self) -> dict[str, int]:
        """Dead letters written since the process began."""
        return {"dead_letters": self._refused}

    async def _one(self, event: Event) -> None:
        body = event.body(self._spec.format)
        delay, answered = FIRST, 0
        while True:
            status, wait = await self._post(event.id, body)
            if 200 <= status < 300:
                return
            again = status >= 500 or status in _AGAIN
            answered += status >= 500
            if not again or answered >= ATTEMPTS:
                await asyncio.to_thread(self._bury, event.id, f"answered {status}", body)
                return
            await asyncio.sleep(max(delay, min(wait, LONGEST)))
            delay = min(delay * 2, LONGEST)

    async def _post(self, id_: str, body: bytes) -> tuple[int, float]:
        """The answer's status, and the seconds it asks to wait. Raises SinkError where there is none."""
        if self._session is None:
            raise SinkError("not open")
        headers = {"Content-Type": "application/json", **signature(self._key, id_, int(time.time()), body)}
        try:
            async with self._session.post(self._spec.to, data=body, headers=headers, allow_redirects=False) as response:
                after = response.headers.get("Retry-After", "")
                return response.status, float(after) if after.isascii() and after.isdecimal() else 0.0
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise SinkError(f"{self._spec.to} does not answer: {error or type(error).__name__}") from None

    def _bury(self, id_: str, why: str, body: bytes) -> None:
        letter = {"id": id_, "why": why, "at": int(time.time()), "body": msgspec.Raw(body)}
        line = msgspec.json.encode(letter) + b"\n"
        fd = os.open(self._dead, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC, 0o640)
        try:
            if os.fstat(fd).st_size + len(line) > MOST_DEAD:
                words = f"{self._dead} is full ({MOST_DEAD >> 20} MiB of dead letters): deal with them, then remove it"
                raise SinkError(words)
            os.write(fd, line)
            os.fdatasync(fd)
        finally:
            os.close(fd)
        self._refused += 1


def signature(key: bytes, id_: str, at: int, body: bytes) -> dict[str, str]:
    """The three headers of a request."""
    mac = hmac.new(key, f"{id_}.{at}.".encode() + body, hashlib.sha256).digest()
    signed = f"v1,{base64.b64encode(mac).decode()}"
    return {"webhook-id": id_, "webhook-timestamp": str(at), "webhook-signature": signed}


def _key(path: str) -> bytes:
    """whsec_BASE64, as Standard Webhooks writes keys, of at least 24 bytes. Raises SinkError."""
    text = read_secret(path, "the webhook's secret")
    try:
        key = base64.b64decode(text.removeprefix(b"whsec_"), validate=True)
    except binascii.Error:
        key = b""
    if len(key) < 24:
        raise SinkError(f"the webhook's secret {path} is not whsec_ and 24 bytes or more in base64")
    return key

"""Control's questions to the recorder, over its unix socket. Records come as JSON lines."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
from aiohttp import web

from ops.api.problems import Problem

TIMEOUT = 20.0  # seconds, for a search through the whole log


class RecorderClient:
    """Reads records. what: who listens at the socket, in words.

    Every failure is a Problem: 422 for a search that is not understood, else 503."""

    def __init__(self, path: Path, what: str = "recorder") -> None:
        self._path, self._what = path, what
        self._session: aiohttp.ClientSession | None = None

    async def records(self, path: str, query: Mapping[str, str]) -> tuple[list[dict[str, Any]], str]:
        """The records, and the place to go on from ("": that was all)."""
        try:
            async with self._open().get(f"http://recorder{path}", params=query) as response:
                body = await response.read()
                _expect(response, body)
                following = response.headers.get("Feiyu-Next", "")
            return [msgspec.json.decode(line) for line in body.splitlines()], following
        except (OSError, aiohttp.ClientError, TimeoutError, msgspec.DecodeError) as error:
            raise self._gone(error) from error

    async def health(self) -> dict[str, Any]:
        """{"ok": whether the recorder is well, …}; never raises."""
        try:
            async with self._open().get("http://recorder/health", timeout=aiohttp.ClientTimeout(2)) as response:
                body = msgspec.json.decode(await response.read())
                return {"ok": response.status == 200, **(body if isinstance(body, dict) else {})}
        except (OSError, aiohttp.ClientError, TimeoutError, msgspec.DecodeError) as error:
            return {"ok": False, "why": self._gone(error).detail}

    async def relay(self, path: str, request: web.Request) -> web.StreamResponse:
        """Passes an endless answer through, as it comes, until either side ends it."""
        try:
            upstream = await self._open().get(
                f"http://recorder{path}",
                params=request.query,
                headers={name: request.headers[name] for name in ("Last-Event-ID",) if name in request.headers},
                timeout=aiohttp.ClientTimeout(total=None),
            )
        except (OSError, aiohttp.ClientError, TimeoutError) as error:
            raise self._gone(error) from error
        async with upstream:
            if upstream.status != 200:
                _expect(upstream, await upstream.read())
            content_type = upstream.headers.get("Content-Type", "text/event-stream")
            response = web.StreamResponse(headers={"Content-Type": content_type, "Cache-Control": "no-store"})
            await response.prepare(request)
            try:
                async for chunk in upstream.content.iter_any():
                    await response.write(chunk)
            except (OSError, aiohttp.ClientError):
                pass  # the recorder or the client is gone; the client sees the end, and there is nobody else to tell
            return response

    async def close(self) -> None:
        """Ends the connections, and so every relayed answer."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.UnixConnector(str(self._path)), timeout=aiohttp.ClientTimeout(TIMEOUT)
            )
        return self._session

    def _gone(self, error: Exception) -> Problem:
        why = "nobody listens" if isinstance(error, aiohttp.ClientConnectorError) else error or type(error).__name__
        words = f"the {self._what} at {self._path} does not answer: {why}"
        remedy = "records are kept in the spool meanwhile; see `feiyu status` and the recorder's log"
        return Problem(503, f"{self._what}-unavailable", f"{self._what.capitalize()} not available", words, remedy)


def _expect(response: aiohttp.ClientResponse, body: bytes) -> None:
    if response.status == 200:
        return
    if response.status == 400:
        words = body.decode("utf-8", "replace").strip()[:500]
        raise Problem(422, "search", "Search not understood", words, "correct the search")
    raise Problem(503, "recorder-failed", "Recorder failed", f"the recorder answered {response.status}", "see its log")

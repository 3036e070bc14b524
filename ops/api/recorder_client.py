"""Control's questions to the recorder, over its unix socket."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
from aiohttp import web

from ops.api.problems import Problem

TIMEOUT = 20.0  # seconds, for a search through the whole log


class RecorderClient:
    """Reads records. Every failure is a Problem with status 503."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._session: aiohttp.ClientSession | None = None

    async def items(self, path: str, query: Mapping[str, str]) -> list[dict[str, Any]]:
        """The records of an answer in JSON lines, a JSON array or {"items": […]}."""
        try:
            async with self._open().get(f"http://recorder{path}", params=query) as response:
                body = await response.read()
                _expect(response, body)
        except (OSError, aiohttp.ClientError, TimeoutError) as error:
            raise self._gone(error) from error
        return _items(body)

    async def healthy(self) -> str:
        """ "" or why the recorder is not well."""
        try:
            async with self._open().get("http://recorder/health", timeout=aiohttp.ClientTimeout(2)) as response:
                text = (await response.text()).strip()
                return "" if response.status == 200 else text or f"status {response.status}"
        except (OSError, aiohttp.ClientError, TimeoutError) as error:
            return self._gone(error).detail

    async def relay(self, path: str, request: web.Request) -> web.StreamResponse:
        """Passes an endless answer through, as it comes."""
        try:
            async with self._open().get(
                f"http://recorder{path}", params=request.query, timeout=aiohttp.ClientTimeout(total=None)
            ) as upstream:
                if upstream.status != 200:
                    _expect(upstream, await upstream.read())
                response = web.StreamResponse(
                    headers={"Content-Type": upstream.headers.get("Content-Type", "text/event-stream")}
                )
                await response.prepare(request)
                async for chunk in upstream.content.iter_any():
                    await response.write(chunk)
                return response
        except aiohttp.ClientConnectionResetError:
            raise ConnectionResetError from None  # our own client left
        except (OSError, aiohttp.ClientError, TimeoutError) as error:
            raise self._gone(error) from error

    async def close(self) -> None:
        """Ends the connections."""
        if self._session is not None:
            await self._session.close()

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.UnixConnector(str(self._path)), timeout=aiohttp.ClientTimeout(TIMEOUT)
            )
        return self._session

    def _gone(self, error: Exception) -> Problem:
        words = f"the recorder at {self._path} does not answer: {error or type(error).__name__}"
        remedy = "records are kept in the spool meanwhile; see `feiyu status` and the recorder's log"
        return Problem(503, "recorder-unavailable", "Recorder not available", words, remedy)


def _expect(response: aiohttp.ClientResponse, body: bytes) -> None:
    if response.status == 200:
        return
    if response.status in (400, 404, 422):
        words = body.decode("utf-8", "replace")[:500]
        raise Problem(response.status, "search", "Search not understood", words, "correct the search")
    raise Problem(503, "recorder-failed", "Recorder failed", f"the recorder answered {response.status}", "see its log")


def _items(body: bytes) -> list[dict[str, Any]]:
    try:
        answer = msgspec.json.decode(body) if body[:1] == b"[" else None
        if answer is None:
            lines: list[Any] = [msgspec.json.decode(line) for line in body.splitlines() if line]
            whole = len(lines) == 1 and isinstance(lines[0], dict) and isinstance(lines[0].get("items"), list)
            answer = lines[0]["items"] if whole else lines
        return list(answer)
    except msgspec.DecodeError as error:
        raise Problem(
            503, "recorder-failed", "Recorder failed", f"its answer is not JSON: {error}", "see its log"
        ) from error

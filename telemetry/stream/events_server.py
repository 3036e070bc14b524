"""GET /stream on run_dir/streams.sock: records as server-sent events (WHATWG HTML, 9.2), each with its index as id.

A client reads the log itself, as a sink does: one that is slow costs nothing and misses nothing; with Last-Event-ID it
goes on where it was. Where that is no longer in the log it is told so by an event `gap` before the next record.
"""

import asyncio
import os
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import msgspec
from aiohttp import web

from telemetry.search import Filter, parse_count, parse_filter
from telemetry.stream.event import Event, events
from telemetry.stream.history import History, Piece, Place
from telemetry.stream.spec import FORMATS, STREAM_KINDS

SOCKET = "streams.sock"
MAX_WATCHERS = 32
POLL = 0.2  # seconds between looks for new records
QUIET = 2.0  # seconds after which a comment finds out whether the client is still there
_ALL = frozenset(STREAM_KINDS)


class EventsServer:
    """The service."""

    def __init__(self, history: History) -> None:
        self._history = history
        self.watchers = 0
        self._stopping = asyncio.Event()
        self._runner: web.AppRunner | None = None

    async def start(self, socket: Path) -> None:
        """Listens. Raises OSError."""
        app = web.Application(client_max_size=1024)
        app.add_routes([web.get("/stream", self._stream)])
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.5)
        await self._runner.setup()
        with suppress(FileNotFoundError):
            os.unlink(socket)
        await web.UnixSite(self._runner, str(socket)).start()
        os.chmod(socket, 0o660)

    async def stop(self) -> None:
        """Ends all answers."""
        self._stopping.set()
        if self._runner is not None:
            await self._runner.cleanup()

    async def _stream(self, request: web.Request) -> web.StreamResponse:
        try:
            wanted, form, last = _asked(request)
        except ValueError as error:
            raise web.HTTPBadRequest(text=f"{error}\n") from None
        if self.watchers >= MAX_WATCHERS:
            raise web.HTTPServiceUnavailable(text=f"{MAX_WATCHERS} clients follow already\n")
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream", "Cache-Control": "no-store"})
        self.watchers += 1
        try:
            with suppress(ConnectionResetError):  # the client left
                await response.prepare(request)
                await self._follow(response, wanted, form, last)
        finally:
            self.watchers -= 1
        return response

    async def _follow(self, response: web.StreamResponse, wanted: Filter, form: str, last: int) -> None:
        place, gap = await asyncio.to_thread(self._begin, last)
        await response.write(b"retry: 1000\n\n" + gap)
        told, quiet = place.index, 0.0
        while not self._stopping.is_set():
            piece = await asyncio.to_thread(self._read, place)
            out = _gap(piece.first, piece.missing, piece.shrunk) if piece.missing or piece.shrunk else b""
            found, index = await asyncio.to_thread(_render, piece, wanted, form)
            out += found
            if index is not None:
                told = index
            if out:
                quiet = 0.0
                await response.write(out)
            elif quiet >= QUIET:
                # an id without data is no event, but it moves Last-Event-ID over what was filtered away
                moved, quiet = place.index - 1, 0.0
                await response.write(b"id: %d\n\n" % moved if moved > told else b":\n\n")
                told = max(told, moved)
            if piece.then == place:
                quiet += POLL
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._stopping.wait(), POLL)
            place = piece.then

    def _begin(self, last: int) -> tuple[Place, bytes]:
        """Where to go on behind the line with index `last` (-1: from now), and a gap where that is not possible."""
        durable = self._history.durable()
        if last < 0:
            return self._history.find(durable), b""
        place = self._history.find(min(last + 1, durable))
        missing, shrunk = max(0, place.index - last - 1), max(0, last + 1 - durable)
        return place, _gap(place.index, missing, shrunk) if missing or shrunk else b""

    def _read(self, place: Place) -> Piece:
        return self._history.read(place, self._history.durable())


def _render(piece: Piece, wanted: Filter, form: str) -> tuple[bytes, int | None]:
    """The events of a piece, and the index of the last."""
    found: list[Event] = [
        event for event in events(piece.lines, piece.first, _ALL) if wanted == Filter() or _matches(wanted, event)
    ]
    out = b"".join(b"id: %d\ndata: %b\n\n" % (event.index, event.body(form)) for event in found)
    return out, found[-1].index if found else None


def _matches(wanted: Filter, event: Event) -> bool:
    if wanted.kind and wanted.kind == event.kind != event.record.kind:  # findings are records of another kind
        return replace(wanted, kind="").matches(event.record)
    return wanted.matches(event.record)


def _gap(following: int, missing: int, shrunk: int) -> bytes:
    data = msgspec.json.encode({"missing": missing, "shrunk": shrunk, "next": following})
    return b"event: gap\ndata: %b\n\n" % data


def _asked(request: web.Request) -> tuple[Filter, str, int]:
    """Filter, format and the last event's id (-1: none). Raises ValueError."""
    form = request.query.get("format", "native")
    if form not in FORMATS:
        raise ValueError(f"format: {form[:40]!r}; expected one of {', '.join(FORMATS)}")
    kind = request.query.get("kind", "")
    if kind and kind not in _ALL:
        raise ValueError(f"kind: {kind[:40]!r}; expected one of {', '.join(STREAM_KINDS)}")
    text = request.headers.get("Last-Event-ID") or request.query.get("last_event_id", "")
    return parse_filter(request.query), form, parse_count("Last-Event-ID", text, 1 << 62) if text else -1

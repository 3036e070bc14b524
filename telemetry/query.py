"""What the recorder answers: open flows, search, the live tail, metrics and health.

All of it on a unix socket (0660); /metrics and /health alone on a TCP address. Records are answered as JSON lines, byte
for byte as stored. Work that grows with the log or the flows runs in threads, within bounds.
"""

import asyncio
import logging
import os
import time
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
from aiohttp import web

from telemetry import lines, metrics
from telemetry.fold import OpenFlow
from telemetry.node_metrics import Disk, Evidence, Surroundings
from telemetry.record import decode, encode
from telemetry.search import MAX_LIMIT, Filter, Place, parse_count, parse_filter, parse_place, search
from telemetry.stream import state

if TYPE_CHECKING:
    from telemetry.recorder import Recorder

MAX_WATCHERS = 16
WATCHER_QUEUE = 4096  # records one watcher may be behind before it is told of a gap
log = logging.getLogger("feiyu.recorder")
_LINES = "application/x-ndjson"
_TEXT = "text/plain; version=0.0.4; charset=utf-8"


class Watcher:
    """One client of /tail: records wait in a bounded queue; what does not fit is counted and told as a gap."""

    def __init__(self, wanted: Filter) -> None:
        self.wanted = wanted
        self.queue: asyncio.Queue[tuple[int, bytes]] = asyncio.Queue(WATCHER_QUEUE)
        self.missed = 0

    def offer(self, index: int, line: bytes) -> None:
        """Takes one durable record of the log."""
        if self.wanted != Filter() and not self.wanted.matches(decode(line)):
            return
        try:
            self.queue.put_nowait((index, line))
        except asyncio.QueueFull:
            self.missed += 1


class Service:
    """The HTTP side of a recorder."""

    def __init__(self, recorder: "Recorder", loop: asyncio.AbstractEventLoop) -> None:
        self._recorder = recorder
        self._loop = loop
        self._journal = recorder.journal
        self._threads = ThreadPoolExecutor(2, "query")
        self._watchers: set[Watcher] = set()
        self._runners: list[web.AppRunner] = []

    async def start(self, socket: Path, address: str) -> None:
        """Listens. Raises OSError when the socket cannot be made, ValueError for an address that is not HOST:PORT."""
        outside = [web.get("/metrics", self._metrics), web.get("/health", self._health)]
        inside = [
            web.get("/flows", self._flows),
            web.get("/lines", self._of_lines),
            web.get("/records", self._records),
            web.get("/tail", self._tail),
        ]
        runner = await self._runner([*outside, *inside])
        with suppress(FileNotFoundError):
            os.unlink(socket)  # ours: the log's lock says that no other recorder runs
        await web.UnixSite(runner, str(socket)).start()
        os.chmod(socket, 0o660)
        if address:
            host, _, port = address.rpartition(":")
            if not port.isdecimal():
                raise ValueError(f"metrics address {address!r}: expected HOST:PORT")
            try:
                await web.TCPSite(await self._runner(outside), host.strip("[]"), int(port)).start()
            except OSError as error:  # records matter more; the unix socket serves /metrics all the same
                log.error("metrics are not served on %s: %s", address, error)

    async def stop(self) -> None:
        """Ends all answers."""
        for runner in self._runners:
            await runner.cleanup()
        self._threads.shutdown(wait=False, cancel_futures=True)

    def publish(self) -> None:
        """Hands the records that have just become durable to the watchers. Called by the recorder's thread."""
        if fresh := self._journal.fresh:
            self._journal.fresh = []
            self._loop.call_soon_threadsafe(self._hand_out, fresh, self._journal.segments.records)

    def _hand_out(self, fresh: list[bytes], end: int) -> None:
        if not self._watchers:
            self._journal.fresh = None
            return
        lines = b"".join(fresh).split(b"\n")[:-1]
        for index, line in enumerate(lines, end - len(lines)):
            for watcher in self._watchers:
                watcher.offer(index, line)

    async def _runner(self, routes: list[web.RouteDef]) -> web.AppRunner:
        app = web.Application(client_max_size=1024)
        app.add_routes(routes)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.5)
        await runner.setup()
        self._runners.append(runner)
        return runner

    def _lag(self) -> float:
        return max(0.0, time.monotonic() - self._recorder.durable)

    async def _metrics(self, _: web.Request) -> web.Response:
        watch = self._journal.watch
        figures = watch.figures() if watch else None
        around = await asyncio.get_running_loop().run_in_executor(self._threads, self._around)
        seen = metrics.view(self._journal.state, self._lag(), self._recorder.spool_bytes, figures, around)
        body = await asyncio.get_running_loop().run_in_executor(self._threads, metrics.render, seen)
        return web.Response(body=body, headers={"Content-Type": _TEXT})

    def _around(self) -> Surroundings:
        """What a scrape sees beside the fold."""
        recorder, disks = self._recorder, []
        for name, directory in (("state", self._journal.directory), ("run", recorder.spool)):
            with suppress(OSError):
                found = os.statvfs(directory)
                disks.append(Disk(name, found.f_bavail * found.f_frsize, found.f_blocks * found.f_frsize))
        evidence = None
        if (log := recorder.evidence) is not None:
            lag = max(0.0, time.monotonic() - log.covered)
            witnessed = log.cosigned.size if log.cosigned else None
            evidence = Evidence(log.log.size, lag, bool(log.damage), log.pruner.done, witnessed)
        return Surroundings(disks, evidence, state.read(recorder.spool.parent))

    async def _health(self, _: web.Request) -> web.Response:
        lag, state = self._lag(), self._journal.state
        good = lag <= 30
        answer = {
            "status": "ok" if good else "behind",
            "lag_seconds": round(lag, 3),
            "records": self._journal.segments.records,
            "flows_open": len(state.flows),
            "spool_bytes": self._recorder.spool_bytes,
            "gaps": state.tally.gaps,
            "unreadable": state.tally.unreadable,
        }
        if evidence := self._recorder.evidence:
            answer["evidence_size"] = evidence.log.size
            answer["evidence_damage"] = evidence.damage
            if evidence.cosigned:
                answer["evidence_witnessed"] = evidence.cosigned.size
            answer["evidence_lag_seconds"] = round(max(0.0, time.monotonic() - evidence.covered), 3)
        return web.json_response(answer, status=200 if good else 503)

    async def _flows(self, request: web.Request) -> web.Response:
        wanted, limit = _parse(request)
        flows = list(self._journal.state.flows.items())
        body = await asyncio.get_running_loop().run_in_executor(self._threads, self._describe, flows, wanted, limit)
        return web.Response(body=body, content_type=_LINES)

    async def _of_lines(self, _: web.Request) -> web.Response:
        tally = self._journal.state.tally
        found = lines.describe(dict(tally.lines), dict(tally.line_bytes))
        return web.Response(body=b"".join(msgspec.json.encode(line) + b"\n" for line in found), content_type=_LINES)

    def _describe(self, flows: list[tuple[str, OpenFlow]], wanted: Filter, limit: int) -> bytes:
        lines = []
        for id_, flow in reversed(flows):
            if wanted.tenant not in ("", flow.tenant) or wanted.flow not in ("", id_):
                continue
            opened = self._journal.open_record(flow)
            if opened is None or not wanted.matches(opened):
                continue
            so_far = {"bytes_out": flow.bytes_out, "bytes_in": flow.bytes_in, "bytes_as_of": flow.as_of}
            lines.append(encode(msgspec.structs.replace(opened, **so_far)) + b"\n")
            if len(lines) >= limit:
                break
        return b"".join(lines)

    async def _records(self, request: web.Request) -> web.Response:
        wanted, limit = _parse(request)
        wanted = self._sealed_too(wanted)
        try:
            before = parse_place(request.query["before"]) if "before" in request.query else None
        except ValueError as error:
            raise _bad(error) from None
        segments = self._journal.segments
        durable = Place(*segments.durable)
        page = await asyncio.get_running_loop().run_in_executor(
            self._threads, search, segments.directory, wanted, limit, durable, before
        )
        headers = {"Feiyu-Next": str(page.next)} if page.next else {}
        lines = page.lines
        if sealer := self._journal.sealer:
            lines = await asyncio.get_running_loop().run_in_executor(
                self._threads, lambda: list(map(sealer.open_line, lines))
            )
        return web.Response(body=b"".join(line + b"\n" for line in lines), content_type=_LINES, headers=headers)

    def _sealed_too(self, wanted: Filter) -> Filter:
        """A source is looked for by what stands for it where personal fields are sealed."""
        sealer = self._journal.sealer
        if not sealer or not wanted.source:
            return wanted
        return replace(wanted, source="", sources=sealer.pseudonyms(wanted.source) | {wanted.source})

    async def _tail(self, request: web.Request) -> web.StreamResponse:
        wanted = self._sealed_too(_parse(request)[0])
        if len(self._watchers) >= MAX_WATCHERS:
            raise web.HTTPServiceUnavailable(text=f"{MAX_WATCHERS} watchers already")
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream", "Cache-Control": "no-store"})
        async with self._watching(Watcher(wanted)) as watcher:
            with suppress(ConnectionResetError):  # the client left
                await self._stream(response, request, watcher)
        return response

    async def _stream(self, response: web.StreamResponse, request: web.Request, watcher: Watcher) -> None:
        await response.prepare(request)
        await response.write(b": from here on\n\n")
        while not self._recorder.stopping:
            try:
                index, line = await asyncio.wait_for(watcher.queue.get(), 1.0)
            except TimeoutError:
                await response.write(b":\n\n")  # finds clients that are gone
                continue
            sealer = self._journal.sealer
            await response.write(b"id: %d\ndata: %b\n\n" % (index, sealer.open_line(line) if sealer else line))
            if watcher.missed and watcher.queue.empty():
                missed, watcher.missed = watcher.missed, 0
                await response.write(b'event: gap\ndata: {"missed":%d}\n\n' % missed)

    @asynccontextmanager
    async def _watching(self, watcher: Watcher) -> AsyncIterator[Watcher]:
        self._watchers.add(watcher)
        if self._journal.fresh is None:
            self._journal.fresh = []
        try:
            yield watcher
        finally:
            self._watchers.discard(watcher)


def _parse(request: web.Request) -> tuple[Filter, int]:
    try:
        limit = parse_count("limit", request.query.get("limit", "100"), MAX_LIMIT)
        return parse_filter(request.query), max(1, limit)
    except ValueError as error:
        raise _bad(error) from None


def _bad(error: ValueError) -> web.HTTPBadRequest:
    return web.HTTPBadRequest(text=f"{error}\n")

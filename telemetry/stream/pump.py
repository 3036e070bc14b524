"""One sink's loop: read on in the log, send, keep the cursor; after any failure go back to what is taken for good and
try again at growing intervals. Nothing is skipped but what the log itself no longer has, and that is said in the
stream.
"""

import asyncio
import logging
import random
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import msgspec

from telemetry.record import decode
from telemetry.stream import cursor as store
from telemetry.stream.cursor import Cursor
from telemetry.stream.event import Event, events, gap
from telemetry.stream.history import History, Place
from telemetry.stream.sink import Sink, SinkError
from telemetry.stream.spec import Sink as Spec

POLL = 0.2  # seconds between looks for new records
FIRST, LONGEST = 0.5, 60.0  # seconds before another try, doubled each time
STORE = 1.0  # seconds between writes of the cursor
log = logging.getLogger("feiyu.streams")


class SinkState(msgspec.Struct):
    """What is shown of a sink. lag_records: lines of the log not taken yet, wanted or not; lag_seconds: the age of the
    oldest of them, else 0; fault: why it does not move; empty while it does."""

    name: str
    kind: str
    to: str
    connected: bool = False
    lag_records: int = 0
    lag_seconds: float = 0.0
    sent: int = 0
    missing: int = 0
    failures: int = 0
    dead_letters: int = 0
    fault: str = ""


class Pump:
    """Feeds one sink. directory: of the cursors; node: whose log it is."""

    def __init__(self, spec: Spec, sink: Sink, history: History, directory: Path, node: str) -> None:
        self.spec, self._sink, self._history, self._node = spec, sink, history, node
        self._path = store.path_of(directory, spec.name)
        self.state = SinkState(spec.name, spec.kind, spec.to)
        self._settled = self._place = Place(0, 0, 0)
        self._pending: deque[tuple[float, Place]] = deque()  # sent at, and the place behind it
        self._stored = 0.0
        self._kept: Cursor | None = None
        self._delay = FIRST
        self._buried = 0
        self._waiting = 0  # µs, of the oldest line not taken yet

    async def run(self, stopping: asyncio.Event) -> None:
        """Until stopping is set; then what is taken is kept."""
        await self._until_done(self._begin, stopping)
        while not stopping.is_set():
            try:
                await self._sink.open()
                self.state.connected, self.state.fault = True, ""
                await self._feed(stopping)
            except (SinkError, OSError, TimeoutError) as error:
                await self._broke(str(error) or type(error).__name__, stopping)
            except Exception as error:  # one sink's defect must not end the others
                log.exception("sink %s", self.spec.name)
                await self._broke(f"internal error: {type(error).__name__}: {error}", stopping)
        await self._sink.close()
        await self._keep(force=True)

    async def _until_done(self, what: Callable[[], None], stopping: asyncio.Event) -> None:
        while not stopping.is_set():
            try:
                await asyncio.to_thread(what)
                return
            except OSError as error:
                await self._broke(f"{error.filename}: {error.strerror}", stopping)

    def _begin(self) -> None:
        kept = store.load(self._path)
        if kept is None:
            oldest = self.spec.begin == "oldest"
            place = self._history.oldest() if oldest else self._history.find(self._history.durable())
            kept = Cursor(place)
            store.store(self._path, kept)
        self._place = self._settled = kept.place
        state = self.state
        state.sent, state.missing, state.failures = kept.sent, kept.missing, kept.failures
        state.dead_letters = self._buried = kept.dead_letters

    async def _feed(self, stopping: asyncio.Event) -> None:
        while not stopping.is_set():
            if check := getattr(self._sink, "check", None):
                check()
            until = await asyncio.to_thread(self._history.durable)
            piece = await asyncio.to_thread(self._history.read, self._place, until)
            if piece.missing or piece.shrunk:
                told = gap(self._node, piece.first, piece.missing, piece.shrunk, time.time_ns() // 1000)
                log.warning("sink %s: %s", self.spec.name, told.record.detail)
                await self._send([told])
                self.state.missing += piece.missing
                if piece.shrunk:
                    self._pending.clear()
                    self._settled = piece.then
            self._waiting = _time_of(piece.lines)
            batch = list(events(piece.lines, piece.first, self.spec.wanted))
            for start in range(0, len(batch), self._sink.batch):
                await self._send(batch[start : start + self._sink.batch])
                if stopping.is_set():
                    return
            moved = piece.then != self._place
            if moved:
                self._place = piece.then
                self._pending.append((time.monotonic(), piece.then))
                self._delay = FIRST
            self._show(until)
            await self._keep()
            if not moved:
                await _pause(POLL, stopping)

    async def _send(self, batch: list[Event]) -> None:
        await self._sink.send(batch)
        self.state.sent += len(batch)

    def _show(self, until: int) -> None:
        state = self.state
        state.lag_records = max(0, until - self._place.index)
        behind = time.time() - self._waiting / 1e6 if state.lag_records and self._waiting else 0.0
        state.lag_seconds = round(max(0.0, behind), 3)
        state.dead_letters = self._buried + self._sink.figures().get("dead_letters", 0)

    async def _keep(self, force: bool = False) -> None:
        """Moves the cursor to what is taken for good, and stores it now and then."""
        now, state = time.monotonic(), self.state
        while self._pending and self._pending[0][0] + self._sink.settle <= now:
            self._settled = self._pending.popleft()[1]
        while len(self._pending) > 4096:  # only the grain of what would be sent again
            del self._pending[1]
        if force or now - self._stored >= STORE:
            self._stored = now
            kept = Cursor(self._settled, state.sent, state.missing, state.failures, state.dead_letters)
            if kept != self._kept:
                await asyncio.to_thread(store.store, self._path, kept)
                self._kept = kept

    async def _broke(self, why: str, stopping: asyncio.Event) -> None:
        state = self.state
        if why != state.fault:  # once, not at each try
            log.warning("sink %s: %s", state.name, why)
        state.connected, state.fault = False, why
        state.failures += 1
        await self._sink.close()
        now = time.monotonic()
        while self._pending and self._pending[0][0] + self._sink.settle <= now:
            self._settled = self._pending.popleft()[1]
        self._place = self._settled
        self._pending.clear()
        delay, self._delay = self._delay, min(self._delay * 2, LONGEST)
        end = now + delay * random.uniform(0.8, 1.2)  # noqa: S311 - so that not all come back at once
        while (rest := end - time.monotonic()) > 0 and not stopping.is_set():
            with suppress(OSError):
                until = await asyncio.to_thread(self._history.durable)
                self._waiting = _time_of((await asyncio.to_thread(self._history.read, self._place, until)).lines)
                self._show(until)
            await _pause(min(1.0, rest), stopping)


async def _pause(seconds: float, stopping: asyncio.Event) -> None:
    with suppress(TimeoutError):
        await asyncio.wait_for(stopping.wait(), seconds)


def _time_of(lines: list[bytes]) -> int:
    """The time of the first record among lines; 0 without one."""
    for line in lines:
        with suppress(msgspec.DecodeError):
            return decode(line).time
    return 0

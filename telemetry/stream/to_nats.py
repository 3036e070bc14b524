"""Records to NATS JetStream: many at once, each with Nats-Msg-Id, and each acknowledged by the stream.

The server acknowledges before its own fsync (sync_interval, two minutes unless configured), so an acknowledged record
may be lost when its host goes down. The log here outlives that: after a break all of the last SETTLE seconds is sent
again, and the stream drops what it has by its id.
"""

import asyncio
import logging
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from telemetry.stream.event import Event
from telemetry.stream.sink import SinkError, tls_context
from telemetry.stream.spec import Sink as Spec

if TYPE_CHECKING:
    from nats.aio.client import Client
    from nats.js import JetStreamContext

SETTLE = 150.0  # seconds, more than the server's sync_interval
WINDOW = 600.0  # seconds in which a stream made here knows doubles
TIMEOUT = 10.0
log = logging.getLogger("feiyu.streams")


class NatsSink:
    """One connection; it does not mend itself: the pump opens it anew and so knows that it was broken."""

    batch = 500

    def __init__(self, spec: Spec, settle: float = SETTLE) -> None:
        self._spec = spec
        self.settle = settle
        self._doubles = 0
        self._gone = asyncio.Event()
        self._connection: Client | None = None
        self._stream: JetStreamContext | None = None

    async def open(self) -> None:
        """Connects; makes the stream where there is none."""
        import nats  # late: 30 ms and 8 MB that only nodes with such a sink need
        from nats.js.errors import NotFoundError

        spec = self._spec
        secure = await asyncio.to_thread(tls_context, spec) if spec.to.startswith("tls://") else None
        self._gone.clear()

        async def left() -> None:
            self._gone.set()

        try:
            self._connection = await nats.connect(
                spec.to,
                allow_reconnect=False,
                connect_timeout=int(TIMEOUT),
                tls=secure,
                user_credentials=spec.credentials or None,
                error_cb=_said,
                disconnected_cb=left,
                closed_cb=left,
                pending_size=64 << 20,
            )
            self._stream = self._connection.jetstream(timeout=TIMEOUT)
            try:
                found = await self._stream.stream_info(spec.stream)
            except NotFoundError:
                found = await self._stream.add_stream(
                    name=spec.stream, subjects=[f"{spec.subject}.>"], duplicate_window=WINDOW
                )
            if (window := found.config.duplicate_window or 0) < SETTLE:
                log.warning("stream %s knows doubles for %g s only; after a break some may stay", spec.stream, window)
        except Exception as error:  # noqa: BLE001 - of all kinds; the pump says it and tries again
            await self.close()
            raise _failed(spec, error) from None

    async def send(self, events: Sequence[Event]) -> None:
        """Publishes all, then waits for all acknowledgements."""
        if self._stream is None:
            raise SinkError("not connected")
        stream, spec = self._stream, self._spec
        sent = [
            stream.publish(
                f"{spec.subject}.{event.kind}",
                event.body(spec.format),
                stream=spec.stream,
                headers={"Nats-Msg-Id": event.id, "Content-Type": "application/json"},
            )
            for event in events
        ]
        answers = asyncio.gather(*sent, return_exceptions=True)
        gone = asyncio.create_task(self._gone.wait())
        try:
            await asyncio.wait((answers, gone), return_when=asyncio.FIRST_COMPLETED)
            if not answers.done():  # no answer comes any more, and there is no need to wait for their timeouts
                raise SinkError(f"{spec.to} closed the connection")
        finally:
            gone.cancel()
            answers.cancel()
        for answer in answers.result():
            if isinstance(answer, BaseException):
                raise _failed(spec, answer) from None
            self._doubles += bool(answer.duplicate)

    async def close(self) -> None:
        """Ends the connection."""
        connection, self._connection, self._stream = self._connection, None, None
        if connection is not None:
            with suppress(Exception):
                await connection.close()

    def figures(self) -> dict[str, int]:
        """Records that the stream already had."""
        return {"doubles": self._doubles}

    def check(self) -> None:
        """Raises SinkError when the server has left."""
        if self._connection is not None and not self._connection.is_connected:
            raise SinkError(f"{self._spec.to} closed the connection")


def _failed(spec: Spec, error: BaseException) -> BaseException:
    if isinstance(error, asyncio.CancelledError):
        return error
    return SinkError(f"{spec.to}, stream {spec.stream}: {str(error) or type(error).__name__}")


async def _said(error: Exception) -> None:
    log.debug("nats: %s", error)

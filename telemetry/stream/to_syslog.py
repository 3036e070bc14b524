"""Records to a syslog server over TLS (RFC 5424 messages, RFC 5425 transport).

The protocol has no acknowledgement. What counts as taken is what the other host's kernel has acknowledged, on a
connection that then lives on for a while: after a break everything younger is sent again, and doubles are told by their
id. A server that dies with more unread than it reads in that while may still lose it.
"""

import array
import asyncio
import fcntl
import termios
from collections.abc import Sequence
from contextlib import suppress

from telemetry.stream.event import Event
from telemetry.stream.rfc5424 import frame, message
from telemetry.stream.sink import SinkError, tls_context
from telemetry.stream.spec import Sink as Spec

CONNECT = 10.0  # seconds
PATIENCE = 30.0  # seconds in which a batch must be acknowledged
_LOOK = 0.01


class SyslogSink:
    """One connection."""

    batch = 500

    def __init__(self, spec: Spec, settle: float = 5.0) -> None:
        self._spec = spec
        self.settle = settle
        host, _, port = spec.to.rpartition(":")
        self._host, self._port = host.strip("[]"), int(port)
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None

    async def open(self) -> None:
        """Connects and checks the server's certificate."""
        context = await asyncio.to_thread(tls_context, self._spec)
        async with asyncio.timeout(CONNECT):
            self._reader, self._writer = await asyncio.open_connection(
                self._host, self._port, ssl=context, server_hostname=self._host
            )
        self._writer.transport.set_write_buffer_limits(1, 0)  # drain() then waits until the kernel has it all

    async def send(self, events: Sequence[Event]) -> None:
        """Writes, and waits until the other kernel has acknowledged all of it."""
        reader, writer = self._reader, self._writer
        if reader is None or writer is None:
            raise SinkError("not connected")
        self._check(reader)
        writer.write(b"".join(frame(message(event, self._spec.format)) for event in events))
        try:
            async with asyncio.timeout(PATIENCE):
                await writer.drain()
                while _unacknowledged(writer):
                    self._check(reader)
                    await asyncio.sleep(_LOOK)
        except TimeoutError:
            raise SinkError(f"{self._spec.to} does not take what was sent within {PATIENCE:g} s") from None

    async def close(self) -> None:
        """Ends the connection, at once."""
        writer, self._writer, self._reader = self._writer, None, None
        if writer is not None:
            writer.transport.abort()
            with suppress(OSError, asyncio.CancelledError):
                await writer.wait_closed()

    def figures(self) -> dict[str, int]:
        """None."""
        return {}

    def check(self) -> None:
        """Raises SinkError when the server has left."""
        if self._reader is not None:
            self._check(self._reader)

    def _check(self, reader: asyncio.StreamReader) -> None:
        if error := reader.exception():
            raise SinkError(f"{self._spec.to}: the connection broke: {error}")
        if reader.at_eof():
            raise SinkError(f"{self._spec.to} closed the connection")


def _unacknowledged(writer: asyncio.StreamWriter) -> int:
    """Bytes that the other host has not acknowledged yet (SIOCOUTQ, tcp(7))."""
    count = array.array("i", [0])
    fcntl.ioctl(writer.get_extra_info("socket").fileno(), termios.TIOCOUTQ, count)
    return count[0]

"""The link while it runs: a plain proxy on localhost, each connection inside mutual TLS to a gateway that is well.

Bytes pass as they are, both ways, with each direction's end; refusals are the gateway's own. Where no gateway is
reached, or none takes this machine's certificate, the link says so itself.
"""

import asyncio
import contextlib
import os
import random
import socket
import ssl
import struct
import time
from collections.abc import Callable

from ops.link import local, pin
from ops.link.error import LinkError
from ops.link.files import Files, Settings
from ops.link.gateways import Gateways
from ops.link.wire import READ, Wire, open_wire
from ops.link.words import both, t

PATIENCE = 5.0  # seconds for a gateway's address, connection and handshake
SILENT = 60.0  # seconds in which a program must have said its first bytes


class Link:
    """Serves. say: takes a line for the machine's owner."""

    def __init__(self, files: Files, settings: Settings, say: Callable[[str], None]) -> None:
        self._files = files
        self._settings = settings
        self._say = say
        self.gateways = Gateways(settings.gateways)
        self._context: ssl.SSLContext | None = None
        self._stamp: tuple[int, int] | None = None

    async def listen(self) -> asyncio.Server:
        """Raises LinkError where the address cannot be had."""
        host, port = pin.split(self._settings.listen)
        try:
            return await asyncio.start_server(self._client, host, port, limit=local.MAX_HEAD)
        except OSError as error:
            raise LinkError(
                t("{address} cannot be listened on: {why}", address=self._settings.listen, why=error.strerror or error),
                t('Is a link running already? Else change "listen" in link.json.'),
            ) from None

    async def probe_for_ever(self) -> None:
        """Looks at gateways that failed, until cancelled."""
        while True:
            await asyncio.sleep(0.5)
            for name in self.gateways.to_probe(time.monotonic()):
                if (wire := await self._opened(name)) is not None:
                    self._say(t("{gateway} is reached again", gateway=name))
                    wire.close()

    def context(self) -> ssl.SSLContext:
        """With the certificate in force: a renewal is taken with the next connection. Raises LinkError."""
        try:
            status = self._files.identity.stat()
            stamp = status.st_mtime_ns, status.st_ino
        except OSError:
            stamp = None
        if self._context is None or stamp != self._stamp:
            self._context, self._stamp = pin.trusting(self._files.root, self._files.identity), stamp
        return self._context

    async def _client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection of a program."""
        wire: Wire | None = None
        try:
            first = await self._first(reader, writer)
            if not first:
                return
            wire = await self._any()
            if wire is None:
                words = both("No gateway of your zone is reached from this machine; feiyu link doctor says why.")
                writer.write(local.answer(502, "No gateway reached (feiyu link)", *words))
                return
            await self._relay(wire, first, reader, writer)
        except (OSError, LinkError, TimeoutError):
            _cut(writer)
        finally:
            if wire is not None:
                wire.close()
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    async def _first(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
        """What the program says first, without the local token where one is demanded; b"": that was all."""
        token = self._settings.local_token
        async with asyncio.timeout(SILENT):
            if not token:
                return await reader.read(READ)
            try:
                head = await reader.readuntil(b"\r\n\r\n")
            except (asyncio.IncompleteReadError, asyncio.LimitOverrunError):
                return b""
        first = local.shown(head, token)
        if first is None:
            words = both("This machine's link demands its local token as the proxy's password.")
            writer.write(local.answer(407, "Local token needed (feiyu link)", *words, challenge=True))
            return b""
        return first

    async def _any(self) -> Wire | None:
        """A connection to the first gateway that is well."""
        for name in self.gateways.order():
            if (wire := await self._opened(name)) is not None:
                return wire
        return None

    async def _opened(self, name: str) -> Wire | None:
        try:
            host, port = pin.split(name)
            wire = await open_wire(host, port, self.context(), PATIENCE)
        except (OSError, TimeoutError) as error:
            self.gateways.failed(name, time.monotonic(), random.random())  # noqa: S311 - spreads tries, hides nothing
            self._say(t("{gateway} is not reached: {why}", gateway=name, why=str(error) or type(error).__name__))
            return None
        self.gateways.worked(name)
        return wire

    async def _relay(
        self, wire: Wire, first: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        """Both directions until both have ended; the gateway's word outlives what it does not want to hear any more."""
        up = asyncio.create_task(_up(first, reader, wire))
        down = asyncio.create_task(self._down(wire, writer))
        try:
            await asyncio.wait((up, down), return_when=asyncio.FIRST_EXCEPTION)
            if up.done():
                up.result()
            await down
            if not up.done():
                await up
        finally:
            for task in (up, down):
                task.cancel()
            await asyncio.gather(up, down, return_exceptions=True)

    async def _down(self, wire: Wire, writer: asyncio.StreamWriter) -> None:
        """What the gateway says, to its end. Raises OSError where it was cut."""
        try:
            data = await wire.receive()
        except ssl.SSLError as error:  # with TLS 1.3 it is now that the gateway says what it thinks of the certificate
            why = str(error.reason or error).replace("_", " ").lower()
            self._say(t("the gateway does not take this machine's certificate: {why}", why=why))
            words = both(
                "The gateway does not take this machine's certificate ({why}); feiyu link doctor says what to do.",
                why=why,
            )
            writer.write(local.answer(502, "Certificate not taken (feiyu link)", *words))
            data = b""
        while data:
            writer.write(data)
            await writer.drain()
            data = await wire.receive()
        if writer.can_write_eof():
            writer.write_eof()


def _cut(writer: asyncio.StreamWriter) -> None:
    """Ends a program's connection with a reset, so that what was cut off does not look whole."""
    form = "hh" if os.name == "nt" else "ii"
    with contextlib.suppress(OSError):
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack(form, 1, 0))
    writer.transport.abort()


async def _up(data: bytes, reader: asyncio.StreamReader, wire: Wire) -> None:
    """What the program says, to its end. Raises OSError where the program is gone, never where the gateway is: that one
    may have said why."""
    while data:
        try:
            await wire.send(data)
        except OSError:
            return
        data = await reader.read(READ)
    with contextlib.suppress(OSError):
        await wire.finish()

"""A TLS connection to a gateway over a non-blocking socket, each direction with an end of its own.

asyncio's own TLS cannot end one direction and go on with the other, which programs do (RFC 8446 clause 6.1 allows it);
so the records go through two memory buffers here. A connection that ends without close_notify was cut off, and says so.
"""

import asyncio
import socket
import ssl

READ = 65_536


class Wire:
    """After open(). One task may read and another write."""

    def __init__(self, sock: socket.socket, context: ssl.SSLContext, host: str) -> None:
        self._sock = sock
        self._loop = asyncio.get_running_loop()
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._in, self._out, server_hostname=host)
        self._sending = asyncio.Lock()

    async def shake(self) -> None:
        """The handshake. Raises OSError (ssl.SSLError is one)."""
        while True:
            try:
                self._tls.do_handshake()
            except ssl.SSLWantReadError:
                await self._flush()
                await self._fill()
            else:
                await self._flush()
                return

    async def receive(self) -> bytes:
        """Plaintext; b"" once the gateway ended its direction. Raises OSError where it was cut."""
        while True:
            found = bytearray()
            try:
                while piece := self._tls.read(READ):
                    found += piece
                if not found:
                    return b""
            except ssl.SSLWantReadError:
                pass
            except ssl.SSLZeroReturnError:
                if not found:
                    return b""
            if found:
                return bytes(found)
            await self._flush()
            await self._fill()

    async def send(self, data: bytes) -> None:
        """Raises OSError."""
        view = memoryview(data)
        while view:
            view = view[self._tls.write(view) :]
        await self._flush()

    async def finish(self) -> None:
        """Ends this direction alone. Raises OSError."""
        try:
            self._tls.unwrap()
        except ssl.SSLWantReadError:
            pass  # the gateway goes on
        await self._flush()

    def close(self) -> None:
        """Ends the connection."""
        self._sock.close()

    async def _fill(self) -> None:
        data = await self._loop.sock_recv(self._sock, READ)
        if not data:
            raise ConnectionResetError("the gateway cut the connection")
        self._in.write(data)

    async def _flush(self) -> None:
        async with self._sending:
            if self._out.pending:
                await self._loop.sock_sendall(self._sock, self._out.read())


async def open_wire(host: str, port: int, context: ssl.SSLContext, patience: float) -> Wire:
    """A connection after its handshake. Raises OSError, TimeoutError among them."""
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(patience):
        found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        error: OSError = OSError(f"no address of {host}")
        for family, kind, protocol, _, address in found:
            sock = socket.socket(family, kind, protocol)
            sock.setblocking(False)
            try:
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                await loop.sock_connect(sock, address)
                wire = Wire(sock, context, host)
                await wire.shake()
            except BaseException as caught:
                sock.close()
                if not isinstance(caught, OSError) or isinstance(caught, ssl.SSLError):
                    raise
                error = caught
            else:
                return wire
        raise error

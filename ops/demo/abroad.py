"""The services and resolvers abroad, in one process: python -m ops.demo.abroad PEM. Serves until SIGTERM.

It says "ready" once it does.

GET /                        one JSON object: which host was asked, over what, and the client address that was seen
GET /download?bytes=N&rate=R N bytes at R bytes a second (0: as fast as it goes)
POST /                       the same object with the number of bytes received
"""

import asyncio
import json
import signal
import ssl
import sys
from pathlib import Path
from typing import Any

import dns.exception
import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import dns.rrset
from aiohttp import web

from ops.demo.world import ALL_ADDRESSES, DNS, HTTP, HTTPS, INSIDE, NAMES, RESOLVERS

_CHUNK = bytes(64 * 1024)
_MAX_BYTES = 1 << 34
_TTL = 30


async def _answer(request: web.Request) -> web.Response:
    received = 0
    async for chunk in request.content.iter_chunked(65_536):
        received += len(chunk)
    seen = {
        "host": request.host,
        "scheme": request.scheme,
        "method": request.method,
        "path": request.path,
        "client": request.remote,
        "received": received,
        "headers": sorted({name.lower() for name in request.headers}),
    }
    return web.Response(text=json.dumps(seen) + "\n", content_type="application/json")


async def _download(request: web.Request) -> web.StreamResponse:
    total = min(int(request.query.get("bytes", "1000000")), _MAX_BYTES)
    rate = int(request.query.get("rate", "0"))
    response = web.StreamResponse(headers={"Content-Length": str(total), "Content-Type": "application/octet-stream"})
    await response.prepare(request)
    piece = max(1, min(len(_CHUNK), rate // 20 or len(_CHUNK)))
    loop = asyncio.get_running_loop()
    start, sent = loop.time(), 0
    try:
        while sent < total:
            chunk = _CHUNK[: min(piece, total - sent)]
            await response.write(chunk)
            sent += len(chunk)
            if rate:
                await asyncio.sleep(max(0.0, start + sent / rate - loop.time()))
    except OSError:  # the client left, or was cut off
        pass
    return response


def reply(wire: bytes) -> bytes | None:
    """The answer to one question; None for what is no question."""
    try:
        question = dns.message.from_wire(wire)
        response = dns.message.make_response(question, recursion_available=True)
    except dns.exception.DNSException:
        return None
    response.flags |= dns.flags.AA
    for asked in question.question:
        addresses = NAMES.get(asked.name.to_text(omit_final_dot=True).lower())
        if addresses is None:
            response.set_rcode(dns.rcode.NXDOMAIN)
            continue
        own = {dns.rdatatype.A: ".", dns.rdatatype.AAAA: ":"}.get(asked.rdtype, "none")
        found = [a for a in addresses if own in a and not (own == "." and ":" in a)]
        if found:
            response.answer.append(dns.rrset.from_text(asked.name, _TTL, "IN", asked.rdtype, *found))
    return response.to_wire()


class _Resolver(asyncio.DatagramProtocol):
    def __init__(self) -> None:
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keeps the way to answer."""
        assert isinstance(transport, asyncio.DatagramTransport)
        self._transport = transport

    def datagram_received(self, data: bytes, addr: tuple[Any, ...]) -> None:
        """One question."""
        answer = reply(data)
        if answer and self._transport:
            self._transport.sendto(answer, addr)


async def serve(certificate: Path) -> None:
    """Serves all addresses until SIGTERM."""
    loop, stop = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    app = web.Application(client_max_size=_MAX_BYTES)
    app.router.add_get("/download", _download)
    app.router.add_route("*", "/{path:.*}", _answer)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.2)
    await runner.setup()
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate)
    tls.set_alpn_protocols(["http/1.1"])
    for address in ALL_ADDRESSES:
        if address not in RESOLVERS.values() and address not in INSIDE:
            await web.TCPSite(runner, address, HTTPS, ssl_context=tls).start()
            await web.TCPSite(runner, address, HTTP).start()
    for address in RESOLVERS.values():
        await loop.create_datagram_endpoint(_Resolver, local_addr=(address, DNS))
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    await stop.wait()
    await runner.cleanup()


if __name__ == "__main__":
    asyncio.run(serve(Path(sys.argv[1])))

"""mitmproxy's connection handler for one tunnel: no sockets of its own, no words of its own.

The client's and the service's bytes come over socket pairs whose other ends the worker holds; more connections to the
service are asked of it. mitmproxy's log lines, which may quote what somebody sent, go nowhere.
"""

import asyncio
import logging
import socket
import time
import traceback
from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Any

from mitmproxy import options as moptions
from mitmproxy.connection import Client, ConnectionState, Server
from mitmproxy.proxy import commands, events, layers, server
from mitmproxy.proxy.context import Context
from mitmproxy.proxy.layers import tls as tls_layers
from OpenSSL import SSL

from gateway.inspection.case import Case
from gateway.inspection.layers import FailedFault, InspectedHttp, TellHook
from gateway.inspection.trust import Trust, TrustError
from gateway.say import say
from whitelist.inspection import Fault
from whitelist.reason import Reason

NOWHERE = ("0.0.0.0", 0)  # mitmproxy wants to know who the peers are; it does not need to


class DialError(Exception):
    """No further connection to the service: reason and detail."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(fault[1])
        self.fault = fault


def frozen_options() -> Any:
    """mitmproxy's options as plain attributes: its own object looks each up by hand, some dozen times a request."""
    from mitmproxy.addons.proxyserver import Proxyserver

    found = moptions.Options()
    loader = SimpleNamespace(add_option=found.add_option)
    Proxyserver.load(SimpleNamespace(), loader)  # type: ignore[arg-type,no-untyped-call]  # adds its options
    values = {name: getattr(found, name) for name in found._options}
    values |= {"connection_strategy": "eager", "validate_inbound_headers": True, "http2_ping_keepalive": 0}
    return SimpleNamespace(**values)


class Handler(server.ConnectionHandler):
    """One tunnel. tell: waits until the worker has written down what is asked; dial: gives another connection."""

    def __init__(
        self,
        case: Case,
        trust: Trust,
        options: Any,
        tell: Callable[[TellHook], Awaitable[None]],
        dial: Callable[[], Awaitable[socket.socket]],
    ) -> None:
        self._case, self._trust, self._tell, self._dial = case, trust, tell, dial
        self._context = trust.leaf(case.begin.tenant, case.begin.host)
        now = time.time()
        client = Client(
            peername=NOWHERE,
            sockname=NOWHERE,
            state=ConnectionState.OPEN,
            timestamp_start=now,
            transport_protocol="tcp",
        )
        context = Context(client, options)
        host, port = case.begin.host, case.begin.port
        service = context.server = Server(address=(host, port), timestamp_start=now)
        service.state = ConnectionState.OPEN
        service.sni = host
        service.peername = service.sockname = NOWHERE
        super().__init__(context)
        self.service = service
        self.why = FailedFault()
        outer = layers.ServerTLSLayer(context)
        inner = layers.ClientTLSLayer(context)
        self.http = InspectedHttp(context, case, self.why)
        outer.child_layer, inner.child_layer = inner, self.http
        self.layer = outer
        self._begun = asyncio.Event()  # TLS with the service has: what it says before is for nobody yet

    async def run(self, client: socket.socket, line: socket.socket) -> None:
        """Serves until the client's side ends. Raises OSError where the descriptors are no sockets."""
        for connection, sock in ((self.client, client), (self.service, line)):
            reader, writer = await asyncio.open_unix_connection(sock=sock)
            self.transports[connection] = server.ConnectionIO(reader=reader, writer=writer)
        await self.server_event(events.Start())
        main = self.transports[self.client].handler = asyncio.create_task(self.handle_connection(self.client))
        self.transports[self.service].handler = asyncio.create_task(self._hear_service())
        try:
            await asyncio.wait([main])
        finally:
            self.http.abandon()
            for timer in self.wakeup_timer:
                timer.cancel()
            left = [io.handler for io in self.transports.values() if io.handler is not None]
            for task in left:
                task.cancel()
            if left:
                await asyncio.wait(left)
            for io in self.transports.values():  # of those that nobody listened to yet
                if io.writer is not None:
                    io.writer.close()

    async def _hear_service(self) -> None:
        await self._begun.wait()
        await self.handle_connection(self.service)

    async def open_connection(self, command: commands.OpenConnection) -> None:
        """Another connection to the service, from the worker: no other address can be asked for."""
        connection = command.connection
        try:
            connection.timestamp_start = time.time()
            sock = await self._dial()
            reader, writer = await asyncio.open_unix_connection(sock=sock)
        except DialError as error:
            self.why.fault = error.fault
            connection.error = str(error)
            await self.server_event(events.OpenConnectionCompleted(command, str(error)))
            return
        connection.timestamp_tcp_setup = time.time()
        connection.state = ConnectionState.OPEN
        connection.peername = connection.sockname = NOWHERE
        self.transports[connection] = server.ConnectionIO(asyncio.current_task(), reader, writer)
        await self.server_event(events.OpenConnectionCompleted(command, None))
        await self.handle_connection(connection)

    async def handle_hook(self, hook: commands.StartHook) -> None:
        """What mitmproxy asks for, and what our own layers do."""
        match hook:
            case TellHook():
                await self._tell(hook)
            case tls_layers.TlsClienthelloHook():
                # The service first: then the client is offered what the service speaks, and nothing is translated.
                hook.data.establish_server_tls_first = True
            case tls_layers.TlsStartClientHook():
                alpn = self.service.alpn if self.service.tls_established else None
                hook.data.ssl_conn = self._trust.accept(self._context, alpn)
            case tls_layers.TlsStartServerHook():
                self._start_service(hook)
            case tls_layers.TlsFailedServerHook():
                self.why.fault = Reason.UPSTREAM_TLS_FAILED, (hook.data.conn.error or "")[:160]
            case _:
                pass

    def _start_service(self, hook: tls_layers.TlsStartServerHook) -> None:
        client = self.client
        offers = [client.alpn] if client.alpn else [p for p in client.alpn_offers if p in (b"h2", b"http/1.1")]
        hook.data.conn.alpn_offers = offers
        try:
            hook.data.ssl_conn = self._trust.connect(self._case.begin.host, self._case.inspect.roots, offers)
        except (TrustError, SSL.Error, ValueError):
            self.why.fault = Reason.UPSTREAM_TLS_FAILED, "the grant's roots cannot be used"
        self._begun.set()

    def log(self, message: str, level: int = logging.INFO, exc_info: Any = None) -> None:
        """Nothing but where a defect is: messages may quote what somebody sent."""
        if exc_info is None:
            return
        import sys

        found = sys.exc_info()[2] if exc_info is True else exc_info[2]
        kind = sys.exc_info()[0] if exc_info is True else exc_info[0]
        frames = traceback.extract_tb(found)[-4:]
        where = " < ".join(f"{frame.filename.rpartition('/')[2]}:{frame.lineno}" for frame in reversed(frames))
        say(f"a tunnel is ended: {getattr(kind, '__name__', kind)} at {where}")
        io = self.transports.get(self.client)
        if io is not None and io.handler is not None:
            io.handler.cancel()

"""mitmproxy's HTTP layers, with judgement in the place of hooks: a request is looked at before anything of it leaves,
bodies stream through, and whatever is refused is answered with the gateway's own page."""

from dataclasses import dataclass, field
from typing import Any

from mitmproxy import http
from mitmproxy.connection import ConnectionState
from mitmproxy.net.http.http1 import expected_http_body_size
from mitmproxy.net.http.validate import validate_headers
from mitmproxy.proxy import commands, events, layer
from mitmproxy.proxy.context import Context
from mitmproxy.proxy.layers import tcp
from mitmproxy.proxy.layers.http import DropStream as Drop
from mitmproxy.proxy.layers.http import (
    GetHttpConnection,
    HttpLayer,
    HTTPMode,
    HttpStream,
    SendHttp,
)
from mitmproxy.proxy.layers.http._events import (
    ErrorCode,
    RequestData,
    RequestEndOfMessage,
    RequestHeaders,
    RequestProtocolError,
    RequestTrailers,
    ResponseData,
    ResponseEndOfMessage,
    ResponseHeaders,
    ResponseProtocolError,
    ResponseTrailers,
)
from mitmproxy.proxy.layers.http._http1 import Http1Server

from gateway.handshake import HandshakeError
from gateway.handshake.http1 import parse_head
from gateway.inspection.case import Case, Looked, clean
from gateway.inspection.pacing import Paced, PacedServer, Relieve
from gateway.inspection.websocket import handshake_fault
from gateway.inspection.wire import Ask
from telemetry.record import CloseCause
from whitelist.inspection import Fault, Inner, Rule, answer_fault, is_grpc, media_type
from whitelist.reason import WORDING, Reason, status_of

MAX_HEAD = 64 * 1024
NOTICE = "Feiyu-Inspected"  # the field by which every answer says that it was

Steps = layer.CommandGenerator[Any]


@dataclass
class TellHook(commands.StartHook):  # type: ignore[no-untyped-call]  # mitmproxy registers it
    """The worker is told, and has written it down. may: it may go on; ref: of the record."""

    ask: Ask
    may: bool = field(default=False, compare=False)
    ref: str = field(default="", compare=False)
    blocking = True


@dataclass
class FailedFault:
    """Why no connection to the service could be had; kept where the handler and the stream both find it."""

    fault: Fault | None = None


class InspectedHttp(HttpLayer):
    """One tunnel's HTTP."""

    def __init__(self, context: Context, case: Case, why: FailedFault) -> None:
        super().__init__(context, HTTPMode.transparent)
        self.case = case
        self.why = why
        self.paced: list[Paced] = []

    def _handle_event(self, event: events.Event) -> Steps:
        if isinstance(event, events.Start):
            context = self.context.fork()
            is_h2 = context.client.alpn == b"h2"
            self.connections[context.client] = PacedServer(context) if is_h2 else StrictServer(context, self.case)
        yield from super()._handle_event(event)
        for side in self.paced:
            if side.held and side.conn in self.connections:
                yield from self.event_to_child(self.connections[side.conn], Relieve())

    def untaken(self, source: Paced, stream: int) -> int:
        """Bytes of a stream that the other sides than the source have yet to take."""
        return sum(side.buffered(stream) for side in self.paced if side is not source)

    def make_stream(self, stream_id: int) -> Steps:
        """A stream for a request that begins."""
        stream = self.streams[stream_id] = InspectedStream(self.context.fork(), stream_id, self.case, self.why)
        yield from self.event_to_child(stream, events.Start())

    def abandon(self) -> None:
        """The tunnel is over: what was under way has ended with it."""
        for stream in self.streams.values():
            if isinstance(stream, InspectedStream):
                stream.finish(CloseCause.CLIENT_CLOSED)


class StrictServer(Http1Server):
    """HTTP/1.1 towards the client, whose heads pass the gateway's own reader first: what two readers could understand
    differently is refused before a second one sees it."""

    def __init__(self, context: Context, case: Case) -> None:
        super().__init__(context)
        self._case = case
        self._seen = 0

    def read_headers(self, event: events.ConnectionEvent) -> Steps:
        """Bytes of a head."""
        if not isinstance(event, events.DataReceived):
            if bytes(self.buf).strip():  # the base would put it into its log
                self.buf.maybe_extract_at_most(len(self.buf))
            yield from super().read_headers(event)
            return
        inner = Inner("?", "/")
        try:
            head = parse_head(bytes(self.buf), MAX_HEAD, seen=self._seen, own_pages=True)
            if head is None:
                self._seen = len(self.buf)
                return
            inner = Inner(head.method, head.target.partition(b"?")[0].decode("ascii"))
            if head.form == "authority":
                status = status_of(Reason.METHOD_NOT_ALLOWED)
                raise HandshakeError(Reason.METHOD_NOT_ALLOWED, status, "CONNECT inside a tunnel")
            if head.form != "origin":
                raise HandshakeError(Reason.MALFORMED_REQUEST, 400, "a target that is no path")
            self._seen = 0
        except HandshakeError as error:
            fault = error.reason, error.detail
            hook = TellHook(self._case.ask(Looked(inner, None, fault, error.status), self._case.next_number(), ""))
            self.state = self.done
            yield hook
            yield commands.SendData(self.conn, self._case.page_bytes(fault, hook.ref or "0", error.status, None))
            yield commands.CloseConnection(self.conn)
            return
        yield from super().read_headers(event)

    def send(self, event: Any) -> Steps:
        """Without the words of the library where it has something to say of its own."""
        if isinstance(event, ResponseProtocolError):
            if self.conn.state & ConnectionState.CAN_WRITE:
                yield commands.CloseConnection(self.conn)
            return
        if isinstance(event, ResponseTrailers):
            return  # chunks are made anew, without trailers
        yield from super().send(event)


class InspectedStream(HttpStream):
    """One inner request. number: 0 until the worker knows of it as allowed; sent, received: bytes of bodies."""

    def __init__(self, context: Context, stream_id: int, case: Case, why: FailedFault) -> None:
        super().__init__(context, stream_id)
        self.case = case
        self.why = why
        self.number = self.sent = self.received = 0
        self.rule: Rule | None = None
        self.expected: int | None = None  # octets of the answer, where it announces them
        self.answered = False  # the head of an answer went to the client

    # The request.

    def state_wait_for_request_headers(self, event: Any) -> Steps:
        """The head: judged, written down, and only then passed on."""
        assert isinstance(event, RequestHeaders)
        self.flow = http.HTTPFlow(self.context.client, self.context.server)
        request = self.flow.request = event.request
        looked = self.case.look(request, empty=event.end_stream)
        number = self.case.next_number()
        hook = TellHook(self.case.ask(looked, number, request.headers.get("user-agent", "")))
        yield hook
        if looked.fault is not None:
            yield from self.answer(self.case.page(looked.fault, hook.ref or "0", looked.status, request))
            return
        if not hook.may:
            fault = Reason.EVIDENCE_UNAVAILABLE, "the record could not be written"
            yield from self.answer(self.case.page(fault, hook.ref or "0", 0, request))
            return
        self.number, self.rule = number, looked.rule
        if notice := self.case.notice(request):
            self.flow.response = notice
            yield from self.answer(notice)
            self.finish(CloseCause.COMPLETED)
            return
        clean(request)
        assert self.context.server.address
        request.data.host, request.data.port = self.context.server.address[0], self.context.server.address[1]
        request.scheme = "https"
        if request.headers.get("expect", "").lower() == "100-continue":
            interim = http.Response.make(100)
            interim.headers.clear()
            yield SendHttp(ResponseHeaders(self.stream_id, interim), self.context.client)
            request.headers.pop("expect")
        self.server_state = self.state_wait_for_response_headers
        if not (yield from self.make_server_connection()):
            return
        yield SendHttp(RequestHeaders(self.stream_id, request, end_stream=event.end_stream), self.context.server)
        self.client_state = self.state_stream_request_body

    def state_stream_request_body(self, event: Any) -> Steps:
        """Its body, counted."""
        if isinstance(event, RequestData):
            self.sent += len(event.data)
            if fault := self.too_much_sent():
                yield from self.break_off(fault)
            else:
                yield SendHttp(event, self.context.server)
        elif isinstance(event, RequestTrailers):
            if self.context.server.alpn == b"h2":
                yield SendHttp(event, self.context.server)
        elif isinstance(event, RequestEndOfMessage):
            self.client_state = self.state_done
            yield SendHttp(event, self.context.server)
            if self.server_state == self.state_done:
                yield from self.flow_done()

    def too_much_sent(self) -> Fault | None:
        """What limit the body is beyond."""
        assert self.rule is not None
        if self.rule.upload_bytes and self.sent > self.rule.upload_bytes:
            return Reason.CONTENT_NOT_ALLOWED, f"more than {self.rule.upload_bytes} bytes to be sent"
        spent = self.case.usage.spent(self.case.begin.grant, self.case.inspect, sent=self.sent)
        return (Reason.QUOTA_EXHAUSTED, spent) if spent else None

    # The answer.

    def state_wait_for_response_headers(self, event: Any) -> Steps:
        """Its head: held against the rule, then passed on."""
        if not isinstance(event, ResponseHeaders):
            return
        response = self.flow.response = event.response
        assert self.rule is not None
        try:
            validate_headers(response)
            length = 0 if event.end_stream else expected_http_body_size(self.flow.request, response)
        except ValueError:
            yield from self.break_off((Reason.DIAL_FAILED, "the service's response can be read in two ways"))
            return
        self.expected = length
        kind = response.headers.get("content-type", "")
        fault = None
        if response.status_code == 101:
            fault = handshake_fault(self.flow.request, response)
        elif length != 0:
            fault = answer_fault(self.rule, kind, None if length == -1 else length)
            if fault is None and is_grpc(media_type(kind)) and not self.rule.grpc:
                fault = Reason.PROTOCOL_NOT_ALLOWED, "the grant does not allow gRPC"
        if fault is not None:
            yield from self.break_off(fault)
            return
        response.headers[NOTICE] = self.case.begin.grant
        if "alt-svc" in response.headers:
            del response.headers["alt-svc"]  # it would lead around the inspection
        self.answered = True
        yield SendHttp(ResponseHeaders(self.stream_id, response, end_stream=False), self.context.client)
        self.server_state = self.state_stream_response_body

    def state_stream_response_body(self, event: Any) -> Steps:
        """Its body, counted."""
        assert self.rule is not None
        if isinstance(event, ResponseData):
            self.received += len(event.data)
            limit = self.rule.download_bytes
            spent = self.case.usage.spent(self.case.begin.grant, self.case.inspect, received=self.received)
            if limit and self.received > limit:
                yield from self.break_off((Reason.CONTENT_NOT_ALLOWED, f"more than {limit} bytes to be received"))
            elif spent:
                yield from self.break_off((Reason.QUOTA_EXHAUSTED, spent))
            else:
                yield SendHttp(event, self.context.client)
        elif isinstance(event, ResponseTrailers):
            yield SendHttp(event, self.context.client)
        elif isinstance(event, ResponseEndOfMessage):
            self.server_state = self.state_done
            if self.client_state == self.state_done:
                yield from self.flow_done()

    def flow_done(self) -> Steps:
        """Both sides are through; after an upgrade all further bytes pass, counted."""
        assert self.flow.response
        if self.flow.response.status_code == 101:
            self.child_layer = tcp.TCPLayer(self.context, ignore=True)
            self._handle_event = self.passthrough
            yield from self.child_layer.handle_event(events.Start())
        else:
            self.finish(CloseCause.COMPLETED)
            yield Drop(self.stream_id)
        yield SendHttp(ResponseEndOfMessage(self.stream_id), self.context.client)

    def passthrough(self, event: events.Event) -> Steps:
        """Bytes of a WebSocket, which the rule allows; they are not looked into."""
        assert self.rule is not None
        if isinstance(event, RequestData):
            self.sent += len(event.data)
        elif isinstance(event, ResponseData):
            self.received += len(event.data)
        elif isinstance(event, RequestProtocolError | ResponseProtocolError):
            self.finish(CloseCause.CLIENT_CLOSED)
            return
        limit = self.rule.download_bytes
        if self.too_much_sent() or (limit and self.received > limit):
            self.finish(CloseCause.REFUSED)
            yield commands.CloseConnection(self.context.client)
            return
        yield from super().passthrough(event)

    # Endings.

    def make_server_connection(self) -> Steps:
        """The connection to the service, the first or another; else the client is told why there is none."""
        request = self.flow.request
        connection, error = yield GetHttpConnection((request.host, request.port), True, None, "tcp")
        if error:
            fault = self.why.fault or (Reason.DIAL_FAILED, "no connection to the service")
            yield from self.break_off(fault)
            return False
        if (connection.alpn == b"h2") is not (self.context.client.alpn == b"h2"):
            yield from self.break_off((Reason.DIAL_FAILED, "the service speaks another protocol than a moment ago"))
            return False
        self.context.server = self.flow.server_conn = connection
        return True

    def answer(self, response: http.Response) -> Steps:
        """Says something of our own, and is done with the request."""
        self.answered = True
        self.client_state = self.server_state = self.state_errored
        if self.context.client.alpn == b"h2":
            for name in ("connection", "keep-alive"):
                if name in response.headers:
                    del response.headers[name]
        body = response.raw_content or b""
        yield SendHttp(ResponseHeaders(self.stream_id, response, end_stream=False), self.context.client)
        if body and self.flow.request.method != "HEAD":
            yield SendHttp(ResponseData(self.stream_id, body), self.context.client)
        yield SendHttp(ResponseEndOfMessage(self.stream_id), self.context.client)
        yield Drop(self.stream_id)

    def break_off(self, fault: Fault) -> Steps:
        """An allowed request turns out to be none: the service hears no more of it, and the client is told, as long as
        it was not told anything else."""
        self.client_state = self.server_state = self.state_errored
        number, self.number = self.number, 0
        status = WORDING[fault[0]].status
        hook = TellHook(
            Ask(self.case.next_number(), self.flow.request.method[:64], self.flow.request.path.partition("?")[0][:2048],
                self.rule.id if self.rule else "", "", "", number, fault[0], status, fault[1], self.sent, self.received)
        )  # fmt: skip
        self.case.usage.add(self.case.begin.grant, self.sent, self.received)
        yield hook
        if self.context.server is self.flow.server_conn and self.context.server.connected and fault[0] in _BEGUN:
            yield SendHttp(RequestProtocolError(self.stream_id, "refused", ErrorCode.CANCEL), self.context.server)
        if self.answered:
            yield SendHttp(ResponseProtocolError(self.stream_id, "refused", ErrorCode.KILL), self.context.client)
            yield Drop(self.stream_id)
        else:
            yield from self.answer(self.case.page(fault, hook.ref or "0", 0, self.flow.request))

    def handle_protocol_error(self, event: Any) -> Steps:
        """One side has gone, or does not keep to the protocol."""
        if not hasattr(self, "flow"):
            yield Drop(self.stream_id)
            return
        if isinstance(event, RequestProtocolError):
            if self.number and self.context.server is self.flow.server_conn and self.server_state not in (
                self.state_done, self.state_errored
            ):  # fmt: skip
                yield SendHttp(event, self.context.server)
            self.client_state = self.server_state = self.state_errored
            self.finish(CloseCause.CLIENT_CLOSED)
            yield Drop(self.stream_id)
        elif self.number and not self.answered:
            yield from self.break_off((Reason.DIAL_FAILED, "the service ended the connection, or broke the protocol"))
        else:
            if self.client_state != self.state_errored:
                code = ErrorCode.HTTP_1_1_REQUIRED if event.code is ErrorCode.HTTP_1_1_REQUIRED else ErrorCode.KILL
                yield SendHttp(ResponseProtocolError(self.stream_id, "", code), self.context.client)
            self.server_state = self.client_state = self.state_errored
            self.finish(CloseCause.UPSTREAM_CLOSED)
            yield Drop(self.stream_id)

    def finish(self, cause: CloseCause) -> None:
        """Tells how it ended, once."""
        number, self.number = self.number, 0
        if number:
            if cause is CloseCause.CLIENT_CLOSED and self.answered and self.received == self.expected:
                cause = CloseCause.COMPLETED  # it had all that was announced, and did not wait for the end
            self.case.finish(number, self.flow.response, self.sent, self.received, cause)


_BEGUN = frozenset((Reason.CONTENT_NOT_ALLOWED, Reason.PROTOCOL_NOT_ALLOWED, Reason.QUOTA_EXHAUSTED))

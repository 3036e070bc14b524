"""HTTP/2 with bounded buffers. mitmproxy gives a peer leave to send two gigabytes, and keeps what the other side does
not take; here a peer may send on only as far as the other side has taken (RFC 9113 clause 5.2)."""

from collections import deque
from typing import TYPE_CHECKING, Any

import h2.connection
import h2.events
from mitmproxy.connection import ConnectionState
from mitmproxy.proxy import commands, events, layer
from mitmproxy.proxy.context import Context
from mitmproxy.proxy.layers import http as layers_http
from mitmproxy.proxy.layers.http._base import ReceiveHttp
from mitmproxy.proxy.layers.http._events import RequestData
from mitmproxy.proxy.layers.http._http2 import Http2Client, Http2Connection, Http2Server, StreamState
from mitmproxy.proxy.layers.http._http_h2 import BufferedH2Connection

if TYPE_CHECKING:
    from gateway.inspection.layers import InspectedHttp

STREAM_WINDOW = 2 << 20  # bytes that may be on their way and here, of one stream: 10 MB/s over 200 ms
CONNECTION_WINDOW = 8 << 20
LOW = 64 * 1024  # bytes that the other side has yet to take, below which more may come

Steps = layer.CommandGenerator[Any]


class Relieve(events.Event):
    """The other side may have taken something."""


class PacedConnection(BufferedH2Connection):
    """Windows that fit into memory."""

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self.local_settings.initial_window_size = STREAM_WINDOW
        self.local_settings.acknowledge()

    def initiate_connection(self) -> None:
        """The preface, and the connection's window."""
        h2.connection.H2Connection.initiate_connection(self)
        self.increment_flow_control_window(CONNECTION_WINDOW - self.inbound_flow_control_window)


class Paced(Http2Connection):
    """held: bytes received of each stream whose window was not yet given back."""

    held: dict[int, int]
    http: "InspectedHttp"

    def _pace(self) -> None:
        self.h2_conn = PacedConnection(self.h2_conf)
        self.held = {}
        self.http = next(one for one in self.context.layers if hasattr(one, "paced"))  # type: ignore[assignment]
        self.http.paced[:] = [side for side in self.http.paced if side.conn.state is not ConnectionState.CLOSED]
        self.http.paced.append(self)

    def buffered(self, stream: int) -> int:
        """Bytes that this side has yet to take of a stream, by the client's number for it."""
        waiting: deque[Any] | tuple[()] = self.h2_conn.stream_buffers.get(stream, ())
        return sum(len(one.data) for one in waiting)

    def theirs(self, stream: int) -> int:
        """The client's number of a stream of this connection."""
        return stream

    def _handle_event(self, event: events.Event) -> Steps:
        if isinstance(event, Relieve):
            yield from self._relieve()
        else:
            yield from super()._handle_event(event)

    def _relieve(self) -> Steps:
        for stream in list(self.held):
            if self.http.untaken(self, self.theirs(stream)) < LOW:
                self.h2_conn.acknowledge_received_data(self.held.pop(stream), stream)
        if data := self.h2_conn.data_to_send():
            yield commands.SendData(self.conn, data)

    def handle_h2_event(self, event: h2.events.Event) -> layer.CommandGenerator[bool]:
        """As in the base, but for when a window is given back."""
        if not isinstance(event, h2.events.DataReceived):
            return (yield from super().handle_h2_event(event))
        state = self.streams.get(event.stream_id)
        if state is StreamState.EXPECTING_HEADERS:
            yield from self.protocol_error("a data frame before the headers")
            return True
        if state is StreamState.HEADERS_RECEIVED and (event.data or not event.stream_ended):
            yield ReceiveHttp(self.ReceiveData(event.stream_id, event.data))
        octets = self.held.get(event.stream_id, 0) + event.flow_controlled_length
        if octets:
            self.held[event.stream_id] = octets
        return False


class PacedServer(Paced, Http2Server):
    """Towards the client."""

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._pace()


class PacedClient(Paced, Http2Client):
    """Towards the service."""

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._pace()
        self.h2_conn.local_settings.enable_push = 0
        self.h2_conn.local_settings.acknowledge()

    def _handle_event(self, event: events.Event) -> Steps:
        if isinstance(event, Relieve):
            yield from self._relieve()
        else:
            yield from Http2Client._handle_event(self, event)

    def buffered(self, stream: int) -> int:
        """As above; of a stream that has to wait for its turn, all of it."""
        ours = self.our_stream_id.get(stream)
        if ours is None:
            queue = self.stream_queue.get(stream, ())
            return sum(len(one.data) for one in queue if isinstance(one, RequestData))
        return super().buffered(ours)

    def theirs(self, stream: int) -> int:
        """The client's number of a stream of this connection."""
        return self.their_stream_id.get(stream, stream)


# The layer makes its connections to services of the class that its module names.
layers_http.Http2Client = PacedClient  # type: ignore[attr-defined]

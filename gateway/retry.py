"""Where a client says a second ClientHello, as a service may ask (HelloRetryRequest): it must say what the first said.

Between its first hello and the service's first words no client says anything but, perhaps, early data; so until then,
and behind a retry until the second hello is through, its records are looked at. The service's first bytes tell; mostly
they are no retry, and the tunnel is left to itself.
"""

from typing import TYPE_CHECKING

from gateway.handshake.client_hello import HelloError
from gateway.handshake.hello_memo import HelloFacts, facts_of
from gateway.handshake.hello_terms import HelloFault
from gateway.handshake.second_hello import SecondHelloReader, asks_again, second_fault
from gateway.handshake.tls_alert import DECODE_ERROR, fatal_alert
from gateway.lingering import Lingering
from whitelist.reason import WORDING, Reason

if TYPE_CHECKING:
    from gateway.relay.tunnel import Tunnel


class Watch:
    """The guard of all tunnels on TLS grants of which nothing has to be kept yet."""

    __slots__ = ()

    def said(self, tunnel: "Tunnel", data: bytes) -> bytes:
        """A client that does not wait for the service."""
        return self._guard(tunnel).said(tunnel, data)

    def served(self, tunnel: "Tunnel", data: bytes | memoryview) -> None:
        """The service's first bytes."""
        if asks_again(data) is False:
            tunnel.guard = None
        else:
            self._guard(tunnel).served(tunnel, data)

    def _guard(self, tunnel: "Tunnel") -> "RetryGuard":
        assert tunnel.flow.hello is not None
        tunnel.guard = guard = RetryGuard(tunnel.flow.hello)
        return guard


WATCH = Watch()


class RetryGuard:
    """The guard of one tunnel. first: what its hello says; asked: the service wants a second.

    seen: of the service's first bytes, while they are too few to tell."""

    __slots__ = ("asked", "first", "reader", "seen")

    def __init__(self, first: HelloFacts) -> None:
        self.first = first
        self.asked = False
        self.seen = b""
        self.reader: SecondHelloReader | None = None

    def said(self, tunnel: "Tunnel", data: bytes) -> bytes:
        """What goes on of the client's bytes: all but a hello that is not whole, or not as the first."""
        reader = self.reader = self.reader or SecondHelloReader()
        try:
            passed = reader.read(data)
        except HelloError as error:
            return self._refuse(tunnel, HelloFault(Reason.MALFORMED_REQUEST, error.detail, DECODE_ERROR))
        if passed.hello is not None:
            fault = second_fault(self.first, facts_of(passed.hello))
            if fault is not None:
                return self._refuse(tunnel, fault)
        if passed.hello is not None or passed.is_other:
            tunnel.guard = None
        return passed.data

    def served(self, tunnel: "Tunnel", data: bytes | memoryview) -> None:
        """The service's bytes, which go on; only the first tell."""
        if not self.asked:
            first = self.seen + data if self.seen else data
            again = asks_again(first)
            if again is False:
                tunnel.guard = None
            elif again:
                self.asked = True
            else:
                self.seen = bytes(first)

    def _refuse(self, tunnel: "Tunnel", fault: HelloFault) -> bytes:
        """As for a first hello: an alert for the client, a reset for the service, the reason into the record."""
        tunnel.guard = None
        words = tunnel.farewell(fatal_alert(fault.alert))
        moved = tunnel.up.moved, tunnel.down.moved
        fd = tunnel.part()
        tunnel.flow.refused(fault.reason, WORDING[fault.reason].status, fault.detail, moved=moved)
        Lingering(tunnel.ctx, fd, words)
        return b""

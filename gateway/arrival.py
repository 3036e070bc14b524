"""What becomes of a connection that a listener accepted: a session of the listener's kind, at once or, behind a
balancer, once the PROXY header has said where it came from."""

from typing import TYPE_CHECKING

from gateway.config import ListenerSocket
from gateway.listener.plain import Arrived, PlainListener
from gateway.preamble import Begin, PreambleReader, Trusted
from gateway.session import Session
from gateway.socks import SocksSession
from gateway.transparent import TransparentSession

if TYPE_CHECKING:
    from gateway.context import Context

SESSIONS: dict[str, Begin] = {
    "plain": Session,
    "http": Session,
    "socks5": SocksSession,
    "transparent": TransparentSession,
}


def arrival(ctx: "Context", spec: ListenerSocket, begin: Begin) -> Arrived:
    """What takes each connection of this listener. begin: makes the session."""
    if not spec.proxy_protocol:

        def arrived(listener: PlainListener, fd: int, ip: str, port: int, interface: str) -> None:
            begin(ctx, listener, fd, ip, port, interface)

        return arrived
    trusted = Trusted(spec.proxy_protocol)

    def announced(listener: PlainListener, fd: int, ip: str, port: int, interface: str) -> None:
        PreambleReader(ctx, begin, trusted, listener, fd, ip, port, interface)

    return announced

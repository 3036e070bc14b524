"""A connection on a TLS listener: the handshake first, then the same session, forwarder and parsers as without TLS.

The handshake is driven by the reads of the request head: until it is over they have nothing to say. A certificate
stands in for, or beside, the token of the request (gateway.handshake.claim).
"""

from typing import TYPE_CHECKING

from gateway import enrolment
from gateway.crowd import Newcomer
from gateway.flow import Flow
from gateway.link import Link
from gateway.passage import Head
from gateway.relay.secure import SecureTunnel
from gateway.secure_forward import SecureForwarder
from gateway.session import Session
from gateway.tls.channel import ChannelError
from telemetry.record import CloseCause
from whitelist.decide import Access
from whitelist.reason import Reason
from whitelist.target import Target

if TYPE_CHECKING:
    from socket import SocketType

    from gateway.context import Context
    from gateway.listener.plain import PlainListener
    from gateway.listener.tls import TlsEntrance

# What a client that takes the port for a plain proxy's is told by OpenSSL's parser, and can be told in its words.
_PLAIN = frozenset(("TLS: http request", "TLS: https proxy request"))


class SecureSession(Session):
    """A connection in its TLS handshake or its request head."""

    __slots__ = ("counted", "link", "plain_words")

    def __init__(
        self, ctx: "Context", listener: "PlainListener", fd: int, ip: str, port: int, interface: str,
        entrance: "TlsEntrance",
    ) -> None:  # fmt: skip
        self.link = Link(entrance)
        self.plain_words = False
        self.counted = True
        entrance.in_progress += 1
        super().__init__(ctx, listener, fd, ip, port, interface)
        if entrance.in_progress > ctx.limits.tls_handshakes and self.fd >= 0 and not ctx.crowd.leaving:
            self._squeeze(ctx, entrance)

    def _squeeze(self, ctx: "Context", entrance: "TlsEntrance") -> None:
        """The oldest handshakes of this entrance leave; where there are none, this one."""

        def inside(other: Newcomer) -> bool:
            return isinstance(other, SecureSession) and other.counted and other.link.entrance is entrance

        limit, what = ctx.limits.tls_handshakes, "too many TLS handshakes in progress"
        if not ctx.crowd.make_room(limit, inside, self, Reason.OVERLOADED, what):
            self.refuse(Reason.OVERLOADED, what)

    def on_head(self, mask: int) -> None:
        """Bytes of the TLS handshake, then of the request head."""
        try:
            super().on_head(mask)
        except ChannelError as error:
            self._failed(error)
        if self.link.channel.established:
            self._uncount()

    def hear(self, data: bytes) -> bool:
        """A piece of the head, or of the one request of a machine that has no certificate yet."""
        return enrolment.hear(self, data) if self.link.enrols else super().hear(data)

    def give_away(self) -> int:
        """The descriptor, for another owner: this one is done with it."""
        self._leave_handshake()
        self._uncount()
        fd, self.fd, self.flow, self.buffer = self.fd, -1, None, b""
        return fd

    def on_hello(self, mask: int) -> None:
        """As without TLS; a record that is wrong ends the connection."""
        try:
            super().on_hello(mask)
        except ChannelError:
            self.end(CloseCause.RESET)

    def _failed(self, error: ChannelError) -> None:
        """The handshake failed, or a record of the head. TLS has told the client with an alert, which carries no text:
        the record has it."""
        if self.flow is not None:
            self.end(CloseCause.RESET)
            return
        self.plain_words = error.detail in _PLAIN
        if error.unknown:
            expired = error.detail.endswith("has expired")
            self.refuse(Reason.IDENTITY_REVOKED if expired else Reason.IDENTITY_UNKNOWN, error.detail)
        else:
            self.refuse(Reason.MALFORMED_REQUEST, error.detail)

    def _gone(self) -> None:
        channel = self.link.channel
        if channel.fed and not channel.established:
            self.refuse(Reason.MALFORMED_REQUEST, "the connection ended inside the TLS handshake")
        else:
            super()._gone()

    def admit(self, flow: Flow, head: Head, target: Target, access: Access) -> None:
        """Identifies by the certificate, as the listener demands."""
        # What was read may have been more than the head: no edge will tell of what TLS or the socket still holds.
        self.spoke = self.spoke or self.link.more or self.link.channel.ended
        self.link.beside(head, flow)
        super().admit(flow, self.link.claimed(head), target, access)
        self.expires = self.link.until(self.ctx, self.flow, self.expires)

    def _read(self) -> bytes:
        return self.link.read(self.fd, self.fin)

    def _write(self, data: bytes) -> bool:
        return super()._write(bytes(self.link.channel.seal(data)))

    def _tunnel(self, flow: Flow, fd: int, upstream: "SocketType") -> SecureTunnel:
        channel = self.link.channel
        self.spoke = self.spoke or self.link.more or channel.ended
        return SecureTunnel(self.ctx, flow, fd, upstream, self.expires, channel)

    def _forwarder(self, fd: int) -> "SecureForwarder":
        return SecureForwarder(self.ctx, self.listener, fd, self.ip, self.port, self.interface, self.fin, self.link)

    def on_refused(self, reason: Reason, status: int, detail: str) -> None:
        """Answers inside TLS, or in plain words where the client took the port for a plain proxy's."""
        if self.plain_words:
            detail = "this port speaks TLS: set the proxy as https://"
            super()._say(self.refusal(reason, status, detail, method="CONNECT"))
        else:
            super().on_refused(reason, status, detail)

    def _say(self, last_words: bytes) -> None:
        channel = self.link.channel
        if channel.established and not channel.failed:
            last_words = bytes(channel.seal(last_words)) + channel.close()
        else:
            last_words = channel.take()
        self._uncount()
        super()._say(last_words)

    def _uncount(self) -> None:
        if self.counted:
            self.counted = False
            self.link.entrance.in_progress -= 1

    def begun(self) -> bool:
        """Whether the client has said anything yet."""
        return self.link.channel.fed > 0

    def late(self) -> None:
        """Ends what took too long."""
        if self.flow is None and not self.link.channel.established:
            self.refuse(Reason.HANDSHAKE_TIMEOUT, "no whole TLS handshake in time")
        else:
            super().late()

    def end(self, cause: CloseCause) -> None:
        """As without TLS."""
        super().end(cause)
        if self.fd < 0:
            self._uncount()

"""A connection on a TLS listener: the handshake first, then the same session, forwarder and parsers as without TLS.

The handshake is driven by the reads of the request head: until it is over they have nothing to say. A certificate
stands in for, or beside, the token of the request (gateway.handshake.claim).
"""

import os
from typing import TYPE_CHECKING

from gateway.flow import Flow
from gateway.forward import Forwarder
from gateway.handshake.claim import Claim
from gateway.handshake.connect import ConnectFields
from gateway.passage import Head
from gateway.refusal import build
from gateway.relay.secure import SecureTunnel
from gateway.session import READ_BYTES, Session
from gateway.tls.channel import Channel, ChannelError
from telemetry.record import CloseCause
from tenants.credential import parse_basic
from whitelist.decide import Access
from whitelist.reason import Reason
from whitelist.target import Target

if TYPE_CHECKING:
    from socket import SocketType

    from gateway.context import Context
    from gateway.listener.plain import PlainListener
    from gateway.listener.tls import TlsEntrance

SEAL_BYTES = 64 * 1024  # of an answer at once
# What a client that takes the port for a plain proxy's is told by OpenSSL's parser, and can be told in its words.
_PLAIN = frozenset(("TLS: http request", "TLS: https proxy request"))


class Link:
    """The client's side: its socket's descriptor is the owner's, the TLS is here. more: the last read was full, so
    there may be more without an edge."""

    __slots__ = ("channel", "entrance", "more", "who")

    def __init__(self, entrance: "TlsEntrance") -> None:
        self.entrance = entrance
        self.channel = Channel(entrance.context)
        self.more = False
        self.who: tuple[bytes, str] | None = None

    def read(self, fd: int, fin: bool) -> bytes:
        """Plaintext; b"" at the client's end. What TLS has to answer is sent. fin: the end is known to be near, read on
        after a short read. Raises BlockingIOError where there is none yet, OSError, ChannelError."""
        channel = self.channel
        while not channel.ended:
            raw = os.read(fd, READ_BYTES)
            self.more = len(raw) == READ_BYTES
            if not raw:
                break
            fresh = not channel.established
            data = bytes(channel.feed(raw))
            if fresh and channel.established:
                self.who = self.entrance.who(channel)
                # What TLS 1.3 has to say now are sessions to be resumed, which go with the answer to the head.
                fresh = channel.version != "TLSv1.3"
            if fresh and (answer := channel.take()) and os.write(fd, answer) != len(answer):
                raise ConnectionResetError("no room for a handshake's few bytes")
            if data:
                return data
            if not (self.more or fin or channel.ended):
                raise BlockingIOError  # a short read emptied the socket: the next edge will tell
        return b""

    def claimed(self, head: Head) -> Head:
        """The head, with what the certificate says in the place of its token."""
        if self.who is None:
            return head
        assert not isinstance(head.proxy_authorization, Claim)
        claim = Claim(*self.who, self.entrance.demands_token, head.proxy_authorization)
        return ConnectFields(head.method, head.version, claim, head.user_agent)

    def beside(self, head: Head, flow: Flow) -> None:
        """Notes the token that was demanded beside the certificate: its end is the flow's end too."""
        value = head.proxy_authorization
        if self.who is not None and self.entrance.demands_token and isinstance(value, bytes):
            claim = parse_basic(value)
            flow.beside = claim[0] if claim is not None else ""

    def until(self, ctx: "Context", flow: Flow | None, expires: float) -> float:
        """When the flow ends, with the second credential considered."""
        if flow is None or not flow.beside or ctx.snapshot is None:
            return expires
        credential = ctx.snapshot.credential(flow.beside)
        return min(expires, float(credential.valid_until)) if credential is not None else 0.0


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
        if entrance.in_progress > ctx.limits.tls_handshakes and self.fd >= 0:
            self.refuse(Reason.OVERLOADED, "too many TLS handshakes in progress")

    def on_head(self, mask: int) -> None:
        """Bytes of the TLS handshake, then of the request head."""
        try:
            super().on_head(mask)
        except ChannelError as error:
            self._failed(error)
        if self.link.channel.established:
            self._uncount()

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
            config = self.ctx.config
            detail = "this port speaks TLS: set the proxy as https://"
            words = build(
                reason, ref=self.ref, node=config.node, portal=config.portal, revision=self.ctx.revision,
                method="CONNECT", detail=detail, status=status,
            )  # fmt: skip
            super()._say(words)
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

    def due(self, now: float) -> None:
        """The handshake took too long."""
        if self.flow is None and not self.link.channel.established:
            self.refuse(Reason.HANDSHAKE_TIMEOUT, "no whole TLS handshake in time")
        else:
            super().due(now)

    def end(self, cause: CloseCause) -> None:
        """As without TLS."""
        super().end(cause)
        if self.fd < 0:
            self._uncount()


class SecureForwarder(Forwarder):
    """Plain HTTP requests of a client that speaks TLS to the gateway. records: sealed, not yet sent; sealing: bytes of
    the answer in them, which stay in the answer until all of the records went."""

    __slots__ = ("link", "records", "sealing")

    def __init__(
        self, ctx: "Context", listener: str, fd: int, ip: str, port: int, interface: str, client_fin: bool, link: Link
    ) -> None:
        super().__init__(ctx, listener, fd, ip, port, interface, client_fin)
        self.link = link
        self.records = b""
        self.sealing = 0

    def admit(self, flow: Flow, head: Head, target: Target, access: Access) -> None:
        """Identifies by the certificate, as the listener demands."""
        self.link.beside(head, flow)
        super().admit(flow, self.link.claimed(head), target, access)
        self.expires = self.link.until(self.ctx, self.flow, self.expires)

    def _read(self, fd: int) -> bytes | None:
        if fd != self.fd:
            return super()._read(fd)
        try:
            return self.link.read(fd, self.client_fin)
        except BlockingIOError:
            return None
        except ChannelError as error:
            raise ConnectionResetError(error.detail) from None

    def _write(self, fd: int, data: bytearray) -> int:
        if fd != self.fd:
            return super()._write(fd, data)
        if not self.records:
            self.sealing = min(len(data), SEAL_BYTES)
            self.records = bytes(self.link.channel.seal(bytes(data[: self.sealing])))
        try:
            sent = os.write(fd, self.records)
        except BlockingIOError:
            sent = 0
        except OSError:
            return -1
        self.records = self.records[sent:]
        if self.records:
            return 0
        sealed, self.sealing = self.sealing, 0
        del data[:sealed]
        return sealed

    def _linger(self, last_words: bytes) -> None:
        channel = self.link.channel
        if not channel.failed:
            last_words = self.records + bytes(channel.seal(last_words)) + channel.close()
        super()._linger(last_words)

    def end(self, cause: CloseCause) -> None:
        """An idle connection's end is told to the client; what is cut is not, so that it does not look whole."""
        if self.fd >= 0 and self.flow is None and not self.records:
            try:
                os.write(self.fd, self.link.channel.close())
            except OSError:
                pass  # it is gone already
        super().end(cause)

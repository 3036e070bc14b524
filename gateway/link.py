"""The client's side of a connection on a TLS listener: its TLS, and what its certificate says of it."""

import os
from typing import TYPE_CHECKING

from gateway.flow import Flow
from gateway.handshake.claim import Claim
from gateway.handshake.connect import ConnectFields
from gateway.passage import Head
from gateway.tls.channel import BULK, Channel
from tenants.credential import parse_basic

if TYPE_CHECKING:
    from gateway.context import Context
    from gateway.listener.tls import TlsEntrance

READ_BYTES = 32 * 1024


class Link:
    """The client's side: its socket's descriptor is the owner's, the TLS is here. more: the last read was full, so
    there may be more without an edge."""

    __slots__ = ("channel", "enrols", "entrance", "more", "who")

    def __init__(self, entrance: "TlsEntrance") -> None:
        self.entrance = entrance
        self.channel = Channel(entrance.context)
        self.more = self.enrols = False
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
                self.enrols = channel.enrols
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
        """The head, with what the certificate says in the place of its token. Where one is demanded and none is there,
        which only a session can be that was made to enrol and taken up for something else, a token is none either."""
        if self.who is None and not self.entrance.demands_certificate:
            return head
        assert not isinstance(head.proxy_authorization, Claim)
        claim = Claim(*(self.who or (b"", "")), self.entrance.demands_token, head.proxy_authorization)
        return ConnectFields(head.method, head.version, claim, head.user_agent)

    def sealed(self, words: bytes) -> bytes:
        """The last words of a connection in records, and close_notify; nothing once TLS has failed."""
        if self.channel.failed:
            return b""
        pieces = [bytes(self.channel.seal(words[at : at + BULK])) for at in range(0, len(words), BULK)]
        return b"".join(pieces) + self.channel.close()

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

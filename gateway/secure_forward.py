"""Plain HTTP requests inside TLS: the forwarder as it is, with the client's side sealed and opened."""

import os
from typing import TYPE_CHECKING

from gateway.flow import Flow
from gateway.forward import Forwarder
from gateway.link import Link
from gateway.passage import Head
from gateway.tls.channel import ChannelError
from telemetry.record import CloseCause
from whitelist.decide import Access
from whitelist.target import Target

if TYPE_CHECKING:
    from gateway.context import Context

SEAL_BYTES = 64 * 1024  # of an answer at once


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

    def sealed(self, last_words: bytes) -> bytes:
        """Records, behind those that were not sent yet."""
        return self.records + self.link.sealed(last_words)

    def _linger(self, last_words: bytes) -> None:
        super()._linger(self.sealed(last_words))

    def end(self, cause: CloseCause) -> None:
        """An idle connection's end is told to the client; what is cut is not, so that it does not look whole."""
        if self.fd >= 0 and self.flow is None and not self.records:
            try:
                os.write(self.fd, self.link.channel.close())
            except OSError:
                pass  # it is gone already
        super().end(cause)

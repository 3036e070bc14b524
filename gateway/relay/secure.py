"""The relay behind a TLS listener: the client's side sealed and opened in user space, the line's side as it is.

Each direction holds at most what one read gave it (BULK bytes): while that is not taken, its source is not read.
"""

import os
import socket
from typing import TYPE_CHECKING

from gateway.reactor import OUT
from gateway.relay.tunnel import COPY_BYTES, QUIET, Direction, Tunnel
from gateway.tls.channel import BULK, Channel, ChannelError
from telemetry.record import CloseCause
from whitelist.model import Protocol

if TYPE_CHECKING:
    from gateway.context import Context
    from gateway.flow import Flow

MAX_ANSWERS = 64 * 1024  # bytes of key updates' answers that a client may leave unread
_raw = bytearray(BULK)  # of one read; a worker has one thread
_raw_view = memoryview(_raw)
# BULK once reads come full: that costs a fifth less CPU per GB than 32 KiB, and 7 to 15 % less than 128 KiB
_ROOM = {room: [_raw_view[:room]] for room in (COPY_BYTES, BULK)}
_ORDERLY = frozenset((CloseCause.CLIENT_CLOSED, CloseCause.UPSTREAM_CLOSED))


class SecureTunnel(Tunnel):
    """A live relay to a client that speaks TLS. down.pending holds records (ciphertext), up.pending plaintext.

    room: bytes of the next read of each direction; sealed: plaintext in down.pending, counted once all of it went."""

    __slots__ = ("channel", "room_down", "room_up", "sealed", "shutting")

    def __init__(
        self, ctx: "Context", flow: "Flow", client: int, upstream: socket.SocketType, expires: float, channel: Channel
    ) -> None:
        super().__init__(ctx, flow, client, upstream, expires)
        self.channel = channel
        self.room_up = self.room_down = COPY_BYTES
        self.sealed = 0
        self.shutting = False  # our close_notify is among what is pending

    def on_client(self, mask: int) -> None:
        """As in the plain relay; answers to key updates may wait for room even where the service has ended."""
        super().on_client(mask)
        if mask & OUT and self.client >= 0 and self.down.pending:
            self.pump(self.down)

    def _copy(self, d: Direction) -> bool:
        try:
            return self._open(d) if d is self.up else self._seal(d)
        except ChannelError:  # a record that is not the client's, or no record
            self.end(CloseCause.RESET)
            return False

    def _open(self, d: Direction) -> bool:
        """One read of the client's records, and their plaintext to the service. True: there may be more at once."""
        channel, more = self.channel, True
        data: bytes | memoryview = d.pending
        if data:
            d.pending = b""
        else:
            if channel.ended:
                self._source_ended(d)
                return False
            room = self.room_up
            try:
                count = os.readv(d.src, _ROOM[room])
            except BlockingIOError:
                return False
            if not count:
                self._cut_short(d)
                return False
            data = channel.feed(_raw_view[:count])
            more = count == room or d.fin or channel.ended
            if self.guard is not None and data:
                data = self.guard.said(self, bytes(data))
                if self.client < 0:
                    return False
            if count == room:
                self.room_up = BULK
                self.ctx.bulk.notice(self, d)
        try:
            taken = os.write(d.dst, data) if data else 0
        except BlockingIOError:
            taken = 0
        d.moved += taken
        if taken < len(data):
            d.pending = bytes(data[taken:])
            self._want_room(d)
            more = False
        if (answer := channel.take()) and not self._answer(answer):
            return False
        return more

    def _seal(self, d: Direction) -> bool:
        """One read of the service's bytes, and their records to the client. True: there may be more at once."""
        if d.pending:
            return self._flush(d)
        if d.done:
            return False
        room = self.room_down
        try:
            count = os.readv(d.src, _ROOM[room])
        except BlockingIOError:
            return False
        if not count:
            self._source_ended(d)
            return False
        if count == room:
            self.room_down = BULK
            self.ctx.bulk.notice(self, d)
        if self.guard is not None:
            self.guard.served(self, _raw_view[:count])
        records = self.channel.seal(_raw_view[:count])
        try:
            taken = os.write(d.dst, records)
        except BlockingIOError:
            taken = 0
        if taken < len(records):
            d.pending = bytes(records[taken:])
            self.sealed = count
            self._want_room(d)
            return False
        d.moved += count
        return count == room or d.fin

    def _flush(self, d: Direction) -> bool:
        """Sends pending records. True: all of them went."""
        try:
            taken = os.write(d.dst, d.pending)
        except BlockingIOError:
            taken = 0
        d.pending = d.pending[taken:]
        if d.pending:
            self._want_room(d)
            return False
        d.moved += self.sealed
        self.sealed = 0
        if self.shutting:
            self._shut()
        return True

    def _answer(self, records: bytes) -> bool:
        """Sends records of the protocol's own, behind those that wait. False: the client takes none of them, and too
        many wait."""
        d = self.down
        if d.done:  # nothing follows our close_notify
            return True
        if len(d.pending) > BULK + MAX_ANSWERS:
            self.end(CloseCause.RESET)
            return False
        d.pending += records
        self._flush(d)
        return self.client >= 0

    def look(self, now: float, progress: float) -> None:
        """As in the plain relay; a quiet tunnel gives back what a burst left behind."""
        super().look(now, progress)
        if self.client >= 0 and now - self.active > QUIET and BULK in (self.room_up, self.room_down):
            self.room_up = self.room_down = COPY_BYTES
            self.channel.slim()

    def _source_ended(self, d: Direction) -> None:
        """The service's end becomes a close_notify, and the TCP end behind it; the client's close_notify becomes the
        end towards the service. Each side may go on sending (RFC 8446 clause 6.1)."""
        if self.detour is not None and d is self.down and self.detour.waits():
            return
        if d is self.up or self.up.done:
            super()._source_ended(d)
            return
        d.done = self.shutting = True
        d.pending = self.channel.close()
        if d.pending:
            self._flush(d)
        else:
            self._shut()

    def _shut(self) -> None:
        self.shutting = False
        client = socket.SocketType(socket.AF_INET, socket.SOCK_STREAM, 0, self.client)
        try:
            client.shutdown(socket.SHUT_WR)
        finally:
            client.detach()

    def _cut_short(self, d: Direction) -> None:
        """The client's TCP ended without a close_notify: many programs just close; so may somebody on the way who wants
        a part to look whole. Within a TLS grant the inner TLS tells one from the other, so it is passed on as an end;
        else the service sees a reset."""
        permit = self.flow.permit
        if permit is not None and permit.protocol is Protocol.TLS:
            super()._source_ended(d)
        else:
            self.end(CloseCause.RESET)

    def farewell(self, last_words: bytes) -> bytes:
        """As in the plain relay, inside TLS."""
        return self.down.pending + bytes(self.channel.seal(last_words)) + self.channel.close()

    def end(self, cause: CloseCause) -> None:
        """An orderly end is told to the client, unless it left without a word itself; what is cut is not, so that it
        does not look whole."""
        told = cause in _ORDERLY and (self.channel.ended or not self.up.done) and not self.down.pending
        if told and self.client >= 0 and (words := self.channel.close()):
            try:
                os.write(self.client, words)
            except OSError:
                pass  # it is gone already
        super().end(cause)

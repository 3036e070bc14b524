"""One flow as the records see it: deny, or open and later exactly one close."""

import os
from typing import TYPE_CHECKING

from telemetry.record import CloseCause, Kind, Record
from whitelist.reason import Reason

if TYPE_CHECKING:
    from gateway.context import Context
    from gateway.handshake.hello_memo import HelloFacts
    from whitelist.decide import Access, Permit
    from whitelist.entries import TenantEntry
    from whitelist.target import Target

_CROCKFORD = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_ALPHABET = bytes(_CROCKFORD[byte & 31] for byte in range(256))
_REF_LENGTH = 16


class References:
    """Flow ids: 80 random bits as 16 Crockford base32 characters, so that none repeats within the retention time and
    none can be guessed. They are cut from a block of random characters, five bits each."""

    def __init__(self) -> None:
        self._block = ""
        self._at = 0

    def next(self) -> str:
        """A new id."""
        at = self._at
        if at >= len(self._block):
            self._block = os.urandom(256 * _REF_LENGTH).translate(_ALPHABET).decode("ascii")
            at = 0
        self._at = end = at + _REF_LENGTH
        return self._block[at:end]


class Flow:
    """The record of one flow in the making, and what it holds of the tenant's share. tenant: the entry with its quotas;
    line: the index of the line it was opened on, -1 before; counted: bytes that are in the tenant's usage already;
    beside: the id of a second credential that was demanded, "" for none; hello: what the tunnel began with, once that
    was read on a TLS grant."""

    __slots__ = (
        "access", "beside", "counted", "ctx", "hello", "line", "opened_at", "permit", "record", "seat", "slot",
        "target", "tenant",
    )  # fmt: skip

    def __init__(self, ctx: "Context", record: Record) -> None:
        self.ctx = ctx
        self.record = record
        self.target: Target | None = None
        self.access: Access | None = None
        self.permit: Permit | None = None
        self.tenant: TenantEntry | None = None
        self.hello: HelloFacts | None = None
        self.slot = self.seat = -1
        self.line = -1
        self.beside = ""
        self.counted = 0
        self.opened_at = 0.0

    def take_share(self, permit: "Permit", user: str) -> str:
        """Counts this flow against its tenant's tunnels in all workers, and against its user's ("": nobody's). Which
        limit is reached, or ""."""
        ctx = self.ctx
        if not ctx.shares.take(permit.slot, permit.max_tunnels or ctx.limits.tunnels_per_tenant):
            return "the firm's tunnels in all workers are at their limit"
        self.slot = permit.slot
        if user and ctx.limits.tunnels_per_user:
            seat = ctx.seats.take(permit.tenant, user, ctx.limits.tunnels_per_user)
            if seat is None:
                return "this user's tunnels in all workers are at their limit"
            self.seat = seat
        return ""

    def opened(self, line: int) -> None:
        """Writes the open record (into this turn's batch). line: its index."""
        self.opened_at = self.ctx.reactor.now
        self.line = line
        self.ctx.figures.opened(line)
        self.record.decision = "permit"
        self.ctx.emit(self.record, Kind.OPEN)

    @property
    def has_quota(self) -> bool:
        """Whether the tenant's bytes are limited."""
        return self.tenant is not None and bool(self.tenant.bytes_per_day or self.tenant.bytes_per_month)

    def count(self, moved: int) -> None:
        """Puts what moved since the last time into the tenant's usage. moved: bytes so far, both directions."""
        tenant = self.tenant
        if moved > self.counted and tenant is not None:
            self.ctx.usage.add(tenant.slot, tenant.id, moved - self.counted, self.ctx.reactor.wall)
            self.counted = moved

    def progressed(self, bytes_out: int, bytes_in: int) -> None:
        """Writes how far a long flow has come."""
        record = self.record
        record.bytes_out, record.bytes_in = bytes_out, bytes_in
        record.bytes_as_of = int(self.ctx.reactor.wall * 1_000_000)
        self.ctx.emit(record, Kind.PROGRESS)

    def closed(self, cause: CloseCause, bytes_out: int = 0, bytes_in: int = 0) -> None:
        """Writes the closing record and gives the share back."""
        ctx = self.ctx
        record = self.record
        record.bytes_out, record.bytes_in = bytes_out, bytes_in
        record.bytes_as_of = int(ctx.reactor.wall * 1_000_000)
        record.duration = int((ctx.reactor.now - self.opened_at) * 1_000_000)
        record.cause = cause
        ctx.emit(record, Kind.CLOSE)
        self.count(bytes_out + bytes_in)
        self.release()

    def refused(
        self, reason: Reason, status: int, detail: str = "", rule: str = "", moved: tuple[int, int] = (0, 0)
    ) -> None:
        """Writes the refusal: a deny record before a flow was opened, its closing record after. moved: bytes out and in
        until then."""
        record = self.record
        record.decision = "deny"
        record.reason = reason
        record.status = status
        record.ref = record.flow
        if detail:
            record.detail = detail
        if rule:
            record.rule = rule
        if self.opened_at:
            self.closed(CloseCause.REFUSED, *moved)
        else:
            self.ctx.emit_refusal(record)
            self.release()

    def release(self) -> None:
        """Gives the tenant's share back (once)."""
        if self.line >= 0:
            self.ctx.figures.closed(self.line)
            self.line = -1
        if self.slot >= 0:
            self.ctx.shares.give(self.slot)
            self.slot = -1
        if self.seat >= 0:
            self.ctx.seats.give(self.seat)
            self.seat = -1

"""Daily statements: what the log held of a firm since its last one, as a record of the log. Pure.

A statement counts the firm's records between two places of the log, its last statement and itself, so that whoever has
the firm's own records can count again to the record, whatever their times. Statements are numbered without a gap. In
values: number, records, bytes_out and bytes_in (of closing records), refusals, reads (by authorities), and how many of
these reads are lawfully withheld from the firm. detail: the day of the first record counted, zone time (UTC+8).
"""

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta

import msgspec

from telemetry.record import Kind, Record

DAY = 86_400_000_000  # µs
ZONE = 28_800_000_000  # UTC+8, where the zone is
MOST = 1 << 50
WITHHELD = "withheld"  # in the facts of a read: why the firm is not told

NEVER = 1 << 62

_OPEN, _CLOSE, _DENY = Kind.OPEN.value, Kind.CLOSE.value, Kind.DENY.value
_READ, _STATEMENT = Kind.READ.value, Kind.STATEMENT.value


class Account(msgspec.Struct, gc=False):
    """What was counted of a firm since its last statement. number: of that one, 0 before the first; since: the earliest
    time in what was counted, Unix µs."""

    number: int = 0
    since: int = NEVER
    records: int = 0
    bytes_out: int = 0
    bytes_in: int = 0
    refusals: int = 0
    reads: int = 0
    withheld: int = 0

    def values(self, number: int) -> dict[str, int]:
        """As a statement's values; what is 0 stands there too."""
        counts = {name: getattr(self, name) for name in COUNTS}
        return {"number": number, **counts}


COUNTS = ("records", "bytes_out", "bytes_in", "refusals", "reads", "withheld")


def take(accounts: dict[str, Account], records: Iterable[Record], author: str = "recorder") -> None:
    """Counts consecutive records. A statement counts only where the recorder itself wrote it, and begins anew."""
    for record in records:
        tenant, kind = record.tenant, record.kind
        if not tenant:
            continue
        account = accounts.get(tenant)
        if account is None:
            account = accounts[tenant] = Account()
        account.records += 1
        if record.time < account.since:
            account.since = max(0, record.time)
        if kind == _OPEN:
            continue
        if kind == _CLOSE:
            account.bytes_out = min(MOST, account.bytes_out + max(0, record.bytes_out))
            account.bytes_in = min(MOST, account.bytes_in + max(0, record.bytes_in))
        elif kind == _DENY:
            account.refusals = min(MOST, account.refusals + max(1, record.count))
        elif kind == _READ:
            account.reads += 1
            account.withheld += is_withheld(record)
        elif kind == _STATEMENT and record.worker == author:
            accounts[tenant] = Account((record.values or {}).get("number", account.number + 1))


def is_withheld(record: Record) -> bool:
    """Whether this is a read that the firm is not told of, but for its number."""
    return record.kind == _READ and bool((record.facts or {}).get(WITHHELD))


def day_of(time: int) -> int:
    """The zone's day, counted from 1 January 1970. time: Unix µs."""
    return (time + ZONE) // DAY


def due(accounts: dict[str, Account], now: int, most: int) -> Iterator[tuple[str, str, dict[str, int]]]:
    """Firms whose day is over, at most so many: tenant, detail and values of the statement to write now."""
    today = day_of(now)
    for tenant, account in list(accounts.items()):
        if most and account.records and day_of(account.since) < today:
            most -= 1
            yield tenant, _named(account.since), account.values(account.number + 1)


def _named(time: int) -> str:
    return str((datetime(1970, 1, 1, tzinfo=UTC) + timedelta(days=day_of(min(time, MOST * 4)))).date())


class OmissionError(ValueError):
    """Records and statements do not agree; str() says which, without a full stop."""


def check(records: Iterable[Record], *, whole: bool) -> tuple[int, int]:
    """A firm's own records in the log's order, against the statements among them: how many statements agree, and how
    many records stand behind the last. whole: the records begin with the firm's first, so that the first statement can
    be checked too. Raises OmissionError for the first that does not."""
    accounts: dict[str, Account] = {}
    agree = 0
    bounded = whole
    last = 0
    for record in records:
        if record.kind != _STATEMENT:
            take(accounts, [record])
            continue
        stated, found = record.values or {}, accounts.get(record.tenant, Account())
        number = stated.get("number", 0)
        if last and number != last + 1:
            raise OmissionError(f"statement {number} of {record.tenant} follows statement {last}: one is missing")
        if bounded or last:
            _compare(stated, found, f"statement {number} of {record.tenant} ({record.detail})")
            agree += 1
        last = number
        accounts[record.tenant] = Account(number)
    return agree, sum(account.records for account in accounts.values())


def _compare(stated: dict[str, int], found: Account, name: str) -> None:
    """Withheld reads are in the log, but not in what the firm was given."""
    hidden = stated.get("withheld", 0) - found.withheld
    for what in COUNTS[:-1]:
        wanted = stated.get(what, 0) - (hidden if what in ("records", "reads") else 0)
        if getattr(found, what) != wanted:
            raise OmissionError(f"{name} counts {what}: {wanted}, but there are {getattr(found, what)}")

"""What the recorder deletes when it is old enough: first it says so in a record, and when that record is under a
published checkpoint it does it. Records go, and before them perhaps the keys of the personal fields in them."""

import calendar
import logging
import time
from collections.abc import Callable
from pathlib import Path

from telemetry import retention
from telemetry.evidence.integrate import Integrator
from telemetry.evidence.tile import WIDTH
from telemetry.journal import Journal

EVERY = 3600.0  # seconds between looks for what is old
LEAP = 31  # days: where the log's newest closed file is older, the clock may have leapt, and nothing is deleted

log = logging.getLogger("feiyu.retention")


class Expiry:
    """Of the recorder's thread. days: how long records are kept; personal_days: how long their personal fields can be
    read, where they are sealed; holds: the file of legal holds."""

    def __init__(self, journal: Journal, evidence: Integrator, days: int, personal_days: int, holds: Path) -> None:
        self._journal, self._evidence, self._holds = journal, evidence, holds
        self._days, self._personal_days = days, personal_days
        self._next = 0.0
        # Index of a record, and what it says is to be done. A kill may have come before that was done to the end.
        self._said: tuple[int, Callable[[], None]] | None = (-1, lambda: self._delete(evidence.minimum))

    def turn(self, started: float) -> None:
        """Once in EVERY seconds looks for what is old; `started`: CLOCK_MONOTONIC. Raises OSError."""
        if self._said and self._evidence.log.size > self._said[0]:
            act, self._said = self._said[1], None
            act()
        if started < self._next or self._said:
            return
        self._next = started + EVERY
        now = time.time_ns() // 1000
        holds = retention.read_holds(self._holds)
        if holds is not None:
            self._look(now, holds)

    def _look(self, now: int, holds: list[retention.Hold]) -> None:
        period = self._old_period(now, holds)
        minimum = self._due(now, holds)
        first = self._evidence.minimum
        if (period or minimum - minimum % WIDTH > first) and self._leapt(now):
            return
        if period:
            words = f"personal fields of records taken in {period} are erased: their key is destroyed"
            self._say(now, words, {"erased": 1}, lambda: self._erase(period))
            self._next = 0.0  # there may be more
        elif minimum - minimum % WIDTH > first:
            words = f"records {first} to {minimum - 1} are deleted: kept {self._days} days, and nobody holds them"
            self._say(now, words, {"pruned": minimum}, lambda: self._delete(minimum))

    def _say(self, now: int, words: str, values: dict[str, int], act: Callable[[], None]) -> None:
        self._journal.act(now, words, values)
        self._said = self._journal.segments.records - 1, act

    def _delete(self, minimum: int) -> None:
        self._evidence.minimum = minimum - minimum % WIDTH
        retention.delete(self._journal.directory, minimum)

    def _erase(self, period: str) -> None:
        assert self._journal.sealer
        self._journal.sealer.destroy(period)

    def _old_period(self, now: int, holds: list[retention.Hold]) -> str:
        """The oldest month whose key is due; empty for none."""
        sealer = self._journal.sealer
        oldest = retention.oldest_kept(now, self._personal_days, holds)
        periods = sealer.periods() if sealer else []
        return next((period for period in periods if _end(period) < oldest), "")

    def _due(self, now: int, holds: list[retention.Hold]) -> int:
        segments = retention.look(self._journal.directory, now - self._days * retention.DAY)
        return retention.due(segments, now, self._days, holds)

    def _leapt(self, now: int) -> bool:
        newest = retention.newest_closed(self._journal.directory)
        if newest is None or newest >= now - LEAP * retention.DAY:
            return False
        days = (now - newest) // retention.DAY
        log.error("nothing is deleted: the newest closed file of the log ends %d days ago; is the clock right?", days)
        return True


def _end(period: str) -> int:
    """When a month YYYY-MM ended, Unix µs; never for what is no month."""
    try:
        year, month = map(int, period.split("-"))
        following = (year + month // 12, month % 12 + 1, 1, 0, 0, 0)
        return calendar.timegm(following) * 1_000_000
    except ValueError:
        return 1 << 62

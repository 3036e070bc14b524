"""What the recorder deletes when it is old enough: first it says so in a record, and when that record is under a
published checkpoint it does it."""

import logging
import time
from pathlib import Path

from telemetry import retention
from telemetry.evidence.integrate import Integrator
from telemetry.evidence.tile import WIDTH
from telemetry.journal import Journal

EVERY = 3600.0  # seconds between looks for old records
LEAP = 31  # days: where the log's newest closed file is older, the clock may have leapt, and nothing is deleted

log = logging.getLogger("feiyu.retention")


class Expiry:
    """Of the recorder's thread. days: how long records are kept; holds: the file of legal holds."""

    def __init__(self, journal: Journal, evidence: Integrator, days: int, holds: Path) -> None:
        self._journal, self._evidence, self._days, self._holds = journal, evidence, days, holds
        self._next = 0.0
        self._said: tuple[int, int] | None = None  # a minimum, and the index of the record that says it
        retention.delete(journal.directory, evidence.pruner.minimum)  # a kill may have come before

    def turn(self, started: float) -> None:
        """Once in EVERY seconds looks for what is old; `started`: CLOCK_MONOTONIC. Raises OSError."""
        if self._said and self._evidence.log.size > self._said[1]:
            minimum, self._said = self._said[0], None
            self._evidence.minimum = minimum - minimum % WIDTH
            retention.delete(self._journal.directory, minimum)
        if started < self._next or self._said:
            return
        self._next = started + EVERY
        now = time.time_ns() // 1000
        minimum = self._due(now)
        first = self._evidence.minimum
        if minimum - minimum % WIDTH > first:
            words = f"records {first} to {minimum - 1} are deleted: kept {self._days} days, and nobody holds them"
            self._journal.act(now, words, {"pruned": minimum})
            self._said = minimum, self._journal.segments.records - 1

    def _due(self, now: int) -> int:
        holds = retention.read_holds(self._holds)
        if holds is None:
            return 0
        oldest = now - self._days * retention.DAY
        segments = retention.look(self._journal.directory, oldest)
        minimum = retention.due(segments, now, self._days, holds)
        newest = retention.newest_closed(self._journal.directory)
        if minimum and newest is not None and newest < now - LEAP * retention.DAY:
            log.error("nothing is deleted: the newest closed file of the log ends %d days ago; is the clock right?",
                      (now - newest) // retention.DAY)  # fmt: skip
            return 0
        return minimum

"""The rules' part of the recorder's turns: findings into the log, then what they ask for, then what came of it.

Nothing is done before the finding that says why is durable.
"""

import logging
from collections import deque
from pathlib import Path

from telemetry.acting import Actor
from telemetry.findings import Order, order
from telemetry.interception.engine import BREAKER, Hit
from telemetry.journal import Journal
from telemetry.rulefiles import RuleFiles
from telemetry.watch import Watch

log = logging.getLogger("feiyu.recorder")


class Patrol:
    """Used by the recorder's thread alone. acts: whether rules may block and cut on this node."""

    def __init__(
        self, journal: Journal, watch: Watch, files: RuleFiles, live: Path, acts: bool, problem: str = ""
    ) -> None:
        self._journal, self._watch, self._files = journal, watch, files
        self._acts = acts
        self._actor = Actor(live)
        self._orders: deque[Order] = deque()
        watch.problem = problem

    def start(self, now: int) -> None:
        """Says which rules run, and does again what may not have been done before the last end. now: Unix µs."""
        self._actor.start()
        self._files.start()
        if self._watch.problem:
            self._refused(now, self._watch.problem)
        self._running(now)
        if self._journal.forgot:
            self._journal.act(now, self._journal.forgot)
        for hit in self._watch.again():
            self._order(hit, now)

    def stop(self, now: int) -> None:
        """Ends the threads and writes down what came of the last orders."""
        self._files.stop()
        self._actor.stop()
        self._outcomes(now)

    def look(self, now: int, whole: bool, complete: bool) -> None:
        """What was found; whole: also other rules, outcomes, and, where complete says that no record waits in a spool,
        what the passing of time decides."""
        if whole:
            if complete:
                self._watch.tick(now)
            self._change(now)
            self._outcomes(now)
        hits = self._watch.hits()
        if not hits:
            return
        self._journal.tell(now, hits, self._acts)
        for hit in hits:
            self._order(hit, now)
            if hit.tripped:
                log.error("rule %s hit more than %d times in a minute and is set aside", hit.head.id, BREAKER)
                words = (
                    f"rule {hit.head.id} is set aside: more than {BREAKER} hits in a minute; a person must change it"
                )
                self._journal.act(now, words, {"tripped": 1})

    def act(self) -> None:
        """Hands on what is asked for; what it was asked for is durable."""
        while self._orders:
            self._actor.put(self._orders.popleft())

    def _outcomes(self, now: int) -> None:
        while self._actor.outcomes:
            words, done = self._actor.outcomes.popleft()
            self._journal.act(now, words, {"acted" if done else "not_acted": 1})

    def _order(self, hit: Hit, now: int) -> None:
        if not self._acts:
            return
        wanted = order(hit, now)
        if isinstance(wanted, Order):
            self._orders.append(wanted)
        elif wanted:
            self._journal.act(now, wanted, {"not_acted": 1})

    def _change(self, now: int) -> None:
        changed = self._files.changed()
        if isinstance(changed, str):
            self._watch.problem = changed
            self._refused(now, changed)
        elif changed is not None:
            self._watch.use(changed)
            self._running(now)

    def _running(self, now: int) -> None:
        count = len(self._watch.engine.rules)
        acting = "they may act" if self._acts else "they only tell"
        self._journal.act(now, f"{count} detection rules run; {acting}", {"rules": count})

    def _refused(self, now: int, problem: str) -> None:
        log.error("rules refused, those that run stay: %s", problem)
        self._journal.act(now, f"detection rules refused, those that run stay: {problem[:500]}")

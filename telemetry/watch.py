"""The rules beside the journal: every record that goes into the log is shown to them, at the same place in the order,
also when the log is replayed; so what they remember is as the log says, and each hit is told once.

Pure. The recorder writes the findings and sees to what must be done.
"""

from collections import Counter
from dataclasses import dataclass

from telemetry.interception.engine import Engine, Hit
from telemetry.interception.ruleset import RuleSet
from telemetry.record import Kind, Record

_FINDING = Kind.FINDING.value


@dataclass(frozen=True, slots=True)
class Figures:
    """For metrics. rejected: the files hold a set that was refused; tripped: rules set aside by their breaker; groups
    that correlations keep, and that they had to forget."""

    loaded: int
    rejected: bool
    tripped: int
    groups: int
    forgotten: int


class Watch:
    """One engine, and another when the rules change. problem: why the files' rules were refused, "" if they run."""

    def __init__(self, rules: RuleSet) -> None:
        self.engine = Engine(rules)
        self.problem = ""
        self._told: Counter[tuple[str, str]] = Counter()  # findings of the replayed log that no hit was found for yet
        self._again: list[Hit] = []

    def take(self, records: list[Record]) -> None:
        """Records that were just written."""
        take = self.engine.take
        for record in records:
            take(record)

    def replay(self, record: Record) -> None:
        """A record of the log behind the checkpoint. Its findings were told; what was to be done may not have been."""
        if record.kind != _FINDING:
            self.engine.take(record)
            return
        for hit in self.engine.hits:
            if (hit.head.id, hit.record.flow) == (record.rule, record.flow):
                self.engine.hits.remove(hit)
                self._again.append(hit)
                return
        self._told[record.rule, record.flow] += 1

    def tick(self, now: int) -> None:
        """Judges what the passing of time decides. now: Unix µs."""
        self.engine.tick(now)

    def hits(self) -> list[Hit]:
        """What was found since the last call and is still to be told."""
        if not self.engine.hits:
            return []
        found, self.engine.hits = self.engine.hits, []
        if not self._told:
            return found
        left = []
        for hit in found:
            key = hit.head.id, hit.record.flow
            if self._told[key]:
                self._told[key] -= 1
            else:
                left.append(hit)
        return left

    def again(self) -> list[Hit]:
        """Hits that were told before the last end, and may not have been acted upon."""
        found, self._again = self._again, []
        return found

    def use(self, engine: Engine) -> None:
        """Takes other rules; what is remembered of those that did not change stays."""
        engine.load(self.engine.dump())
        engine.hits = self.engine.hits
        self.engine, self.problem = engine, ""

    def figures(self) -> Figures:
        """As they are now."""
        engine = self.engine
        tripped = sum(breaker.tripped for breaker in list(engine.breakers.values()))
        return Figures(len(engine.rules), bool(self.problem), tripped, engine.groups, engine.evicted)

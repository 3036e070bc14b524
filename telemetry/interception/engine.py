"""Rules at work: records go in, hits come out; what must be remembered between is bounded and can be stored.

Pure: it knows the time of records and what the caller says the time is. A rule hits a flow at most once; a rule that
hits more often than its breaker allows is set aside until a person resets it.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import sha256

import msgspec

from telemetry.interception.correlation import Correlation, Part, Type
from telemetry.interception.dispatch import Index
from telemetry.interception.fields import KINDS_SINCE, Known
from telemetry.interception.group import Key, key_of, short
from telemetry.interception.leaf import texts
from telemetry.interception.novelty import Novelty
from telemetry.interception.rule import Head, Rule
from telemetry.interception.ruleset import RuleSet, by_name
from telemetry.interception.window import Group, Windows
from telemetry.record import Kind, Record

BREAKER = 100  # hits of one rule in a minute; more ask a person
_MINUTE = 60_000_000
_MAX_FLOWS = 200_000  # flows remembered of one rule, and for sums
_AHEAD = 60_000_000  # µs that a record may be ahead of the clock
_PROGRESS, _CLOSE = Kind.PROGRESS.value, Kind.CLOSE.value


@dataclass(frozen=True, slots=True)
class Hit:
    """A rule that holds: of one record, or of a group of a correlation, with the figure that was reached. tripped: this
    hit was one too many, and the rule is set aside."""

    head: Head
    record: Record
    figure: float = 1
    group: Key = ()
    tripped: bool = False


class Breaker(msgspec.Struct, array_like=True, gc=False):
    """Hits of one rule in the minute from `since` (µs) on; tripped until reset."""

    since: int = 0
    count: int = 0
    tripped: bool = False


class _Stored(msgspec.Struct):
    v: int
    now: int
    seen: dict[str, list[str]]
    moved: dict[str, tuple[int, int]]
    groups: dict[str, list[tuple[Key, Group]]]
    breakers: dict[str, Breaker]
    evicted: dict[str, int]
    new: dict[str, tuple[list[tuple[Key, int]], list[tuple[Key, int]]]] = {}


_VERSION = 1
_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(_Stored)

type _Target = Callable[[Record], None]


@dataclass(eq=False, slots=True)
class _Watch:
    """A rule with what follows from its hits on one kind of record. once: on the first record of a flow that it holds
    of; each: on every one."""

    rule: Rule
    once: list[_Target] = field(default_factory=list)
    each: list[_Target] = field(default_factory=list)


class Engine:
    """One set of rules. hits: found and not yet taken by the caller; limit: of the breaker."""

    def __init__(self, rules: RuleSet, limit: int = BREAKER) -> None:
        self.rules = rules
        self.limit = limit
        self.now = 0
        self.hits: list[Hit] = []
        self.breakers: dict[str, Breaker] = {}
        self._ceiling = 1 << 62
        self._windows = {id_: Windows(correlation) for id_, correlation in rules.correlations.items()}
        self._novelties = {id_: Novelty(rule.novel.of) for id_, rule in rules.rules.items() if rule.novel}
        self._seen: dict[str, list[str]] = {}  # flows that go on, with the rules that have hit them
        self._moved: dict[str, tuple[int, int]] = {}
        self._sums = False
        self._after: dict[str, list[_Target]] = {}
        for correlation in rules.correlations.values():
            for number, part in enumerate(correlation.parts):
                if part.ref in rules.correlations:
                    self._after.setdefault(part.ref, []).append(self._feeding(correlation, number, part))
        self._kinds = self._watches()

    def take(self, record: Record) -> None:
        """Asks all rules about a record."""
        time = record.time
        if time > self.now:
            self.now = min(time, self._ceiling)
        index = self._kinds.get(record.kind)
        if index is None:
            return
        for watch in index.always:
            if watch.rule.asks(record):
                self._holds(watch, record)
        for watch in dict.fromkeys(index.candidates(record)):
            if watch.rule.asks(record):
                self._holds(watch, record)
        if self._sums:
            self._remember(record)
        if record.kind == _CLOSE:
            self._seen.pop(record.flow, None)

    def tick(self, now: int) -> None:
        """Judges what the passing of time decides. now: Unix µs; the caller has given all records before."""
        self.now = max(self.now, now)
        self._ceiling = self.now + _AHEAD
        for id_, windows in self._windows.items():
            for done in windows.due(self.now):
                self._told(self.rules.correlations[id_], done.record, done.figure, done.group)

    def reset(self, rule: str) -> bool:
        """Lets a rule that tripped its breaker work again; False for one that did not."""
        breaker = self.breakers.pop(rule, None)
        return breaker is not None and breaker.tripped

    @property
    def evicted(self) -> int:
        """Groups that were forgotten for want of room."""
        kept: list[Windows | Novelty] = [*self._windows.values(), *self._novelties.values()]
        return sum(each.evicted for each in kept)

    @property
    def groups(self) -> int:
        """Groups that are kept."""
        return sum(map(len, self._windows.values()))

    # ---- what is kept over a restart

    def dump(self) -> bytes:
        """All that is remembered; about 1 µs for each group."""
        versions = self._versions()
        return _encoder.encode(
            _Stored(
                _VERSION,
                self.now,
                self._seen,
                self._moved,
                {versions[id_]: windows.dump() for id_, windows in self._windows.items()},
                {versions[id_]: breaker for id_, breaker in self.breakers.items() if id_ in versions},
                {versions[id_]: windows.evicted for id_, windows in self._windows.items()},
                {versions[id_]: novelty.dump() for id_, novelty in self._novelties.items()},
            )
        )

    def load(self, data: bytes) -> str:
        """Takes up what dump() gave, of rules that have not changed since. Returns "", or why nothing was taken."""
        try:
            stored = _decoder.decode(data)
        except msgspec.DecodeError as error:
            return f"the state of the rules cannot be read: {error}"
        if stored.v != _VERSION:
            return f"the state of the rules is of version {stored.v}"
        ids = {version: id_ for id_, version in self._versions().items()}
        self.now, self._moved, self._seen = stored.now, stored.moved, stored.seen
        self.breakers = {ids[version]: breaker for version, breaker in stored.breakers.items() if version in ids}
        for version, groups in stored.groups.items():
            if version in ids:
                windows = self._windows[ids[version]]
                windows.load(groups)
                windows.evicted = stored.evicted.get(version, 0)
        for version, seen in stored.new.items():
            if version in ids:
                self._novelties[ids[version]].load(seen)
        return ""

    def _versions(self) -> dict[str, str]:
        """Each rule's id with a digest of what it says: a rule that was changed begins anew."""
        return {
            rule.head.id: f"{rule.head.id}:{sha256(rule.text.encode()).hexdigest()[:16]}" for rule in self.rules.all()
        }

    # ---- from rules to what follows

    def _watches(self) -> dict[str, Index[_Watch]]:
        watches: dict[tuple[str, str], _Watch] = {}
        known = by_name(self.rules)

        def watch(rule: Rule, kind: str) -> _Watch:
            return watches.setdefault((kind, rule.head.id), _Watch(rule))

        for rule in self.rules.rules.values():
            if rule.output:
                for kind in rule.kinds:
                    watch(rule, kind).once.append(self._telling(rule))
        for correlation in self.rules.correlations.values():
            for number, part in enumerate(correlation.parts):
                base = known[part.ref]
                if isinstance(base, Rule):
                    kinds, each = _kinds(correlation, part, base)
                    self._sums |= each
                    for kind in kinds:
                        targets = watch(base, kind).each if each else watch(base, kind).once
                        targets.append(self._feeding(correlation, number, part, each))
        by_kind: dict[str, list[tuple[Rule, _Watch]]] = {}
        for (kind, _), made in watches.items():
            by_kind.setdefault(kind, []).append((made.rule, made))
        return {kind: Index(entries) for kind, entries in by_kind.items()}

    def _holds(self, watch: _Watch, record: Record) -> None:
        for target in watch.each:
            target(record)
        if not watch.once or (self._seen and watch.rule.head.id in self._seen.get(record.flow, ())):
            return
        if record.kind == _PROGRESS:
            self._seen.setdefault(record.flow, []).append(watch.rule.head.id)
            if len(self._seen) > _MAX_FLOWS:
                del self._seen[next(iter(self._seen))]
        for target in watch.once:
            target(record)

    def _telling(self, rule: Rule) -> _Target:
        novel = rule.novel
        if novel is None:
            return lambda record: self._hit(rule.head, record, record.count or 1, ())
        memory = self._novelties[rule.head.id]

        def tell(record: Record) -> None:
            key, value = key_of(novel.group, record), texts(novel.field.get(record))
            if key and value and memory.is_new(key, short(value[0]), min(record.time, self.now)):
                self._hit(rule.head, record, 1, (*key, short(value[0])))

        return tell

    def _feeding(self, correlation: Correlation, number: int, part: Part, each: bool = False) -> _Target:
        windows, group, value = self._windows[correlation.head.id], part.group, part.value

        def feed(record: Record) -> None:
            key = key_of(group, record)
            if key is None:
                return
            amount: float | str = 0
            if value is not None:
                found = value.get(record)
                if found is None or found == "":
                    return
                if correlation.type is Type.VALUE_COUNT:
                    amount = short(found if type(found) is str else texts(found)[0])
                elif isinstance(found, int | float):
                    amount = found - self._before(record, value.name) if each else found
                else:
                    return
            for done in windows.due(self.now):
                self._told(correlation, done.record, done.figure, done.group)
            time = min(record.time, self.now)
            done_now = windows.take(number, key, time, amount, record.count or 1, record)
            if done_now:
                self._told(correlation, done_now.record, done_now.figure, done_now.group)

        return feed

    def _before(self, record: Record, name: str) -> int:
        """What a flow's last record said of its bytes."""
        out, into = self._moved.get(record.flow, (0, 0))
        return {"bytes_out": out, "bytes_in": into}.get(name, out + into)

    def _remember(self, record: Record) -> None:
        if record.kind == _PROGRESS:
            self._moved[record.flow] = (record.bytes_out, record.bytes_in)
            if len(self._moved) > _MAX_FLOWS:
                del self._moved[next(iter(self._moved))]
        elif record.kind == _CLOSE:
            self._moved.pop(record.flow, None)

    def _told(self, correlation: Correlation, record: Record, figure: float, group: Key) -> None:
        if correlation.output:
            self._hit(correlation.head, record, figure, group)
        for target in self._after.get(correlation.head.id, ()):
            target(record)

    def _hit(self, head: Head, record: Record, figure: float, group: Key) -> None:
        breaker = self.breakers.get(head.id)
        if breaker is None:
            breaker = self.breakers[head.id] = Breaker(self.now)
        if breaker.tripped:
            breaker.count += 1
            return
        if self.now - breaker.since >= _MINUTE:
            breaker.since, breaker.count = self.now, 0
        breaker.count += 1
        breaker.tripped = breaker.count > self.limit
        self.hits.append(Hit(head, record, figure, group, breaker.tripped))


def _kinds(correlation: Correlation, part: Part, rule: Rule) -> tuple[frozenset[str], bool]:
    """Which records of a rule's flows a correlation hears of, and whether of all of a flow or of the first only. Sums
    take what a flow has moved since its last record; a value that is final later is taken from the last."""
    through = rule.kinds in (KINDS_SINCE[Known.OPEN], KINDS_SINCE[Known.PROGRESS], frozenset((_PROGRESS,)))
    if correlation.type is Type.VALUE_SUM and part.value is not None and part.value.grows and through:
        return KINDS_SINCE[Known.PROGRESS], True
    if part.known is Known.OPEN or not through:
        return rule.kinds, False
    return KINDS_SINCE[Known.CLOSE], False

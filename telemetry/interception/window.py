"""The memory of one correlation: its groups, each with what was seen within the timespan. Bounded, and storable.

What only grows (counts, sums, different values, rules seen) is told the moment it is reached, over a span that slides;
the group then begins anew. What may still change (averages, percentiles, upper limits, `not`) is judged when a span is
over that began with the group's first event.
"""

from collections import OrderedDict
from dataclasses import dataclass
from statistics import median

import msgspec

from telemetry.interception.correlation import Correlation, Type
from telemetry.interception.group import Key
from telemetry.record import Record

MAX_GROUPS = 100_000
MAX_JUDGED = 20_000  # groups that keep a record until the end of their span
MAX_CELLS = 1_000_000  # figures in all groups of one correlation
_EXACT = 64  # events of a group that are kept apart; more are put together by
_STEPS = 256  # parts of the span, and so forgotten up to one part too early
_SAMPLE = 1024  # values of which a percentile is taken; of more, every one has the same chance to be in


class Group(msgspec.Struct, array_like=True, gc=False):
    """Figures of one group. start, last: µs; flat: times and amounts by turns, or values, or starts of an order; seen:
    when each value or rule was seen last; record: the last, where it is needed at the end of the span."""

    start: int
    last: int
    count: int = 0
    total: float = 0.0
    flat: list[float] | None = None
    seen: dict[str, int] | None = None
    record: Record | None = None

    @property
    def cells(self) -> int:
        """How much is kept."""
        return 1 + len(self.flat or ()) + len(self.seen or ())


@dataclass(frozen=True, slots=True)
class Completed:
    """A group that fulfils the condition, with the figure that did."""

    group: Key
    figure: float
    record: Record


_NONE: list[Completed] = []


class Windows:
    """All groups of a correlation, the one that must be looked at next in front. evicted: groups that had to be
    forgotten, since the log began."""

    def __init__(self, correlation: Correlation, max_groups: int = MAX_GROUPS, max_cells: int = MAX_CELLS) -> None:
        self._of = correlation
        self._max_groups = max_groups if correlation.rising else min(max_groups, MAX_JUDGED)
        self._max_cells = max_cells
        self._groups: OrderedDict[Key, Group] = OrderedDict()
        self._cells = 0
        self._next = 0  # µs: before, nothing is over
        self.evicted = 0

    def __len__(self) -> int:
        return len(self._groups)

    def take(self, part: int, key: Key, time: int, value: float | str, weight: int, record: Record) -> Completed | None:
        """One hit of the rule with this number, in µs; value: a text that is short, or an amount; weight: how many it
        stands for."""
        of, groups = self._of, self._groups
        group = groups.get(key)
        if group is None or (of.rising and group.last < time - of.span):
            if group is not None:
                self._drop(key)
            group = groups[key] = Group(time, time)
            self._cells += group.cells
        elif of.rising:
            groups.move_to_end(key)
            if group.seen is not None and of.type is Type.VALUE_COUNT and value in group.seen:
                group.last = group.seen[value] = max(group.last, time)  # known, so nothing is reached by it
                return None
        before = group.cells
        group.last = max(group.last, time)
        figure = _ADD[of.type](of, group, part, group.last, value, weight)
        self._cells += group.cells - before
        if not of.rising:
            group.record = record
        elif figure is not None and self._reached(figure, group):
            self._drop(key)
            return Completed(key, figure, record)
        while self._cells > self._max_cells or len(groups) > self._max_groups:
            self._drop(next(iter(groups)))
            self.evicted += 1
        return None

    def due(self, now: int) -> list[Completed]:
        """What is decided by the passing of time alone; groups that are over are forgotten."""
        if now <= self._next:
            return _NONE
        groups, span, found = self._groups, self._of.span, []
        self._next = now
        while groups:
            key = next(iter(groups))
            group = groups[key]
            over = (group.last if self._of.rising else group.start) + span
            if over >= now:
                self._next = over
                break
            self._drop(key)
            if not self._of.rising and group.record is not None:
                figure = _figure(self._of, group)
                if self._reached(figure, group):
                    found.append(Completed(key, figure, group.record))
        return found

    def dump(self) -> list[tuple[Key, Group]]:
        """Everything, to be stored."""
        return list(self._groups.items())

    def load(self, stored: list[tuple[Key, Group]]) -> None:
        """What dump() gave."""
        self._groups = OrderedDict(stored[-self._max_groups :])
        self._cells = sum(group.cells for group in self._groups.values())

    def _drop(self, key: Key) -> None:
        self._cells -= self._groups.pop(key).cells

    def _reached(self, figure: float, group: Group) -> bool:
        if self._of.expression is not None and self._of.type is Type.TEMPORAL:
            return self._of.expression(frozenset(group.seen or ()))
        return self._of.reached(figure)


def _amount(of: Correlation, group: Group, _: int, time: int, value: float | str, weight: int) -> float:
    """Counts and sums over a span that slides."""
    amount = float(value) if of.type is Type.VALUE_SUM else float(weight)
    group.total += amount
    if not of.rising:
        return group.total
    flat = group.flat
    if flat is None:
        flat = group.flat = []
    over = time - of.span
    gone = 0
    while gone < len(flat) and flat[gone] < over:
        group.total -= flat[gone + 1]
        gone += 2
    del flat[:gone]
    if len(flat) >= 2 * _EXACT and time - flat[-2] < of.span // _STEPS:
        flat[-1] += amount
    else:
        flat += (time, amount)
    return group.total


def _distinct(of: Correlation, group: Group, part: int, time: int, value: float | str, weight: int) -> float:
    """Different values, or different rules, over a span that slides."""
    name = of.parts[part].ref if of.type is Type.TEMPORAL else str(value)
    seen = group.seen
    if seen is None:
        seen = group.seen = {}
    if name in seen or of.rising or of.type is Type.TEMPORAL or len(seen) <= of.limit:
        seen[name] = time
    if of.rising and len(seen) > 1:
        over = time - of.span
        if of.type is Type.TEMPORAL or len(seen) >= of.limit:
            for old in [old for old, at in seen.items() if at < over]:
                del seen[old]
    return len(seen)


def _ordered(of: Correlation, group: Group, part: int, time: int, value: float | str, weight: int) -> float | None:
    """Rules in their order within the span: for each, the latest start of an order that has come that far."""
    flat = group.flat
    if flat is None:
        flat = group.flat = [-1.0] * len(of.parts)
    if part == 0:
        flat[0] = time
    elif flat[part - 1] >= 0 and time - flat[part - 1] <= of.span:
        flat[part] = max(flat[part], flat[part - 1])
    else:
        return None
    return float(len(of.parts)) if part == len(of.parts) - 1 else None


def _sample(of: Correlation, group: Group, _: int, time: int, value: float | str, weight: int) -> float | None:
    """Values to take an average or a percentile of, at the end."""
    number = float(value)
    group.count += 1
    group.total += number
    if of.type is not Type.VALUE_AVG:
        flat = group.flat
        if flat is None:
            flat = group.flat = []
        if len(flat) < _SAMPLE:
            flat.append(number)
        elif (at := (group.count * 2_654_435_761 >> 7) % group.count) < _SAMPLE:
            flat[at] = number
    return None


_ADD = {
    Type.EVENT_COUNT: _amount,
    Type.VALUE_SUM: _amount,
    Type.VALUE_COUNT: _distinct,
    Type.TEMPORAL: _distinct,
    Type.TEMPORAL_ORDERED: _ordered,
    Type.VALUE_AVG: _sample,
    Type.VALUE_PERCENTILE: _sample,
    Type.VALUE_MEDIAN: _sample,
}


def _figure(of: Correlation, group: Group) -> float:
    """The figure at the end of a span."""
    match of.type:
        case Type.VALUE_AVG:
            return group.total / max(1, group.count)
        case Type.VALUE_MEDIAN:
            return median(group.flat or [0.0])
        case Type.VALUE_PERCENTILE:
            return percentile(group.flat or [0.0], of.percentile)
        case Type.VALUE_COUNT | Type.TEMPORAL:
            return len(group.seen or ())
    return group.total


def percentile(values: list[float], percent: int) -> float:
    """The least value that so many of a hundred do not exceed (nearest rank)."""
    ordered = sorted(values)
    return ordered[max(0, -(-percent * len(ordered) // 100) - 1)]

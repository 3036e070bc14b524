"""What was never seen before: our own addition to Sigma, which has no such correlation.

new:
    field: dst_country   # a hit only tells of values that are new …
    per: [tenant]        # … for this group
    within: 90d          # what was not seen for so long is new again
    learn: 14d           # nothing is told of a group for so long after its first record
"""

from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

from telemetry.interception.group import Key
from telemetry.interception.problem import FaultError
from telemetry.interception.response import span

MAX_KNOWN = 100_000
_KEYS = ("field", "per", "within", "learn")
_LONGEST = 366 * 86400


@dataclass(frozen=True, slots=True)
class New:
    """field and per: names as the rule writes them; within, learn: µs."""

    field: str
    per: tuple[str, ...]
    within: int
    learn: int


def parse_new(block: Any) -> New | None:
    """Reads the block; None for none. Raises FaultError."""
    if block is None:
        return None
    if not isinstance(block, dict) or set(block) - set(_KEYS) or not {"field", "per"} <= set(block):
        raise FaultError(("new",), "new names a field and per what it is new", "write field:, per:, within:, learn:")
    per = block["per"] if isinstance(block["per"], list) else [block["per"]]
    if not isinstance(block["field"], str) or not per or not all(isinstance(name, str) for name in per):
        raise FaultError(("new",), "field is a field's name, and per one or several", "write per: [tenant]")
    times = {}
    for key, default in (("within", "90d"), ("learn", "14d")):
        seconds = span(block.get(key, default))
        if not 0 <= seconds <= _LONGEST:
            raise FaultError(("new", key), f"{key} {block[key]!r:.40} is no time up to 366d", f"write {key}: {default}")
        times[key] = seconds * 1_000_000
    return New(block["field"], tuple(per), times["within"], times["learn"])


class Novelty:
    """What one rule has seen. evicted: values forgotten for want of room, which will be new again."""

    def __init__(self, of: New, most: int = MAX_KNOWN) -> None:
        self._of, self._most = of, most
        self._seen: OrderedDict[Key, int] = OrderedDict()  # group and value, when last
        self._first: OrderedDict[Key, int] = OrderedDict()  # group, when first
        self.evicted = 0

    def is_new(self, group: Key, value: str, time: int) -> bool:
        """Whether to tell of this value. time in µs."""
        first = self._first.setdefault(group, time)
        key = (*group, value)
        before = self._seen.get(key)
        self._seen[key] = time
        self._seen.move_to_end(key)
        for kept in (self._seen, self._first):
            if len(kept) > self._most:
                kept.popitem(last=False)
                self.evicted += 1
        return time - first >= self._of.learn and (before is None or time - before > self._of.within)

    def dump(self) -> tuple[list[tuple[Key, int]], list[tuple[Key, int]]]:
        """Everything, to be stored."""
        return list(self._seen.items()), list(self._first.items())

    def load(self, stored: tuple[list[tuple[Key, int]], list[tuple[Key, int]]]) -> None:
        """What dump() gave."""
        self._seen, self._first = (OrderedDict(items[-self._most :]) for items in stored)

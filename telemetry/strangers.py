"""Refusals of strangers: the first few a second are written one by one, the others become one counted record. Pure.

So nobody without a credential can fill the spool: at most `limit` records per second, source and reason, `total` per
second in all, and one counted record per source and reason. Memory is bounded by max_sources.
"""

import ipaddress
from collections import OrderedDict
from dataclasses import dataclass

OTHERS = ""  # the source of refusals that are counted together because there were too many sources


@dataclass(frozen=True, slots=True)
class Counted:
    """So many refusals of one source (an IPv4 address, an IPv6 /64, or OTHERS) for one reason, not written one by
    one."""

    source: str
    reason: str
    count: int


class Suppressor:
    """Decides which refusals are written. now is seconds of a clock that does not go back."""

    def __init__(self, limit: int, *, total: int = 1000, max_sources: int = 4096) -> None:
        self._limit = limit
        self._total = total
        self._max = max_sources
        self._second = 0
        self._written = 0
        self._seen: OrderedDict[tuple[str, str], int] = OrderedDict()
        self._counted: dict[tuple[str, str], int] = {}
        self._since = 0.0  # when the first of them was counted

    def admit(self, source: str, reason: str, now: float) -> bool:
        """True: write this refusal now. False: it was counted, and flush() will tell."""
        second = int(now)
        if second != self._second:
            self._second, self._written = second, 0
            self._seen.clear()
        key = (source_prefix(source), reason)
        seen = self._seen.get(key, 0)
        if seen < self._limit and self._written < self._total:
            self._seen[key] = seen + 1
            self._seen.move_to_end(key)
            if len(self._seen) > self._max:
                self._seen.popitem(last=False)
            self._written += 1
            return True
        if key not in self._counted and len(self._counted) >= self._max:
            key = (OTHERS, reason)
        if not self._counted:
            self._since = now
        self._counted[key] = self._counted.get(key, 0) + 1
        return False

    def flush(self, now: float) -> list[Counted]:
        """What was counted, once a second has passed since the first of it; to be written. At the end: flush(inf)."""
        if now < self._since + 1:
            return []
        counted = [Counted(source, reason, count) for (source, reason), count in self._counted.items()]
        self._counted.clear()
        return counted


def source_prefix(source: str) -> str:
    """What counts as one source: an IPv4 address, or the /64 of an IPv6 address (one host can use all of it)."""
    if ":" not in source:
        return source
    try:
        address = ipaddress.IPv6Address(source)
    except ValueError:
        return source
    if address.ipv4_mapped:
        return str(address.ipv4_mapped)
    return f"{ipaddress.IPv6Address(int(address) >> 64 << 64)}/64"

"""Which gateway is tried next: the order of the settings, with those put off that failed. Pure: `now` (monotonic
seconds) and chance (0 to 1) are the caller's."""

from collections.abc import Sequence

FIRST, LONGEST = 1.0, 60.0  # seconds that a gateway is put off, doubled with each failure


class Gateways:
    """What is known of each. One that failed is not tried by programs' connections until somebody found it well (the
    prober, at intervals that grow), unless there is no other: a dead gateway then costs nobody a wait."""

    def __init__(self, names: Sequence[str]) -> None:
        self.names = tuple(names)
        self._failures: dict[str, int] = {}
        self._probe_at: dict[str, float] = {}

    def order(self) -> list[str]:
        """All of them: first those that are well, in the order of the settings, then those that failed, as it is their
        turn."""
        failed = sorted((name for name in self.names if name in self._failures), key=lambda n: self._probe_at[n])
        return [name for name in self.names if name not in self._failures] + failed

    def failed(self, name: str, now: float, chance: float) -> None:
        """A connection to it came to nothing."""
        count = self._failures[name] = self._failures.get(name, 0) + 1
        self._probe_at[name] = now + min(LONGEST, FIRST * 2 ** min(count - 1, 10)) * (0.75 + chance / 2)

    def worked(self, name: str) -> None:
        """It is well."""
        self._failures.pop(name, None)
        self._probe_at.pop(name, None)

    def to_probe(self, now: float) -> list[str]:
        """Those that failed and are to be looked at again."""
        return [name for name in self.names if name in self._failures and self._probe_at[name] <= now]

"""How often an address may be wrong about tokens: a leaky bucket for each. Pure: `now` is the caller's."""

BURST = 10  # wrong ones at once
EVERY = 60.0  # seconds in which one of them is forgotten
MAX_KEPT = 10_000


class Guesses:
    """A token has 256 random bits: this keeps guessing from costing anything, and makes it stand out."""

    def __init__(self) -> None:
        self._full: dict[str, float] = {}  # when the bucket will be empty again, by address

    def too_many(self, source: str, now: float) -> bool:
        """Whether this address has to wait; right tokens too, or the answer would tell a right one."""
        return self._full.get(source, 0.0) - now > (BURST - 1) * EVERY

    def wrong(self, source: str, now: float) -> None:
        """One more was wrong."""
        if len(self._full) >= MAX_KEPT:
            self._full = {one: full for one, full in self._full.items() if full > now}
        self._full[source] = max(self._full.get(source, now), now) + EVERY

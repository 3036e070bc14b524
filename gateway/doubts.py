"""Lines that stayed silent towards a host which another line then reached: for a while they come last for that host.

Probes take some rounds to find such a line dead; until they have, only the first flow to a host waits for it. What one
host shows counts for that host alone, so that nobody's service can move the others' flows to another line. Pure.
"""

from collections.abc import Sequence

from gateway.line.model import LineHandle

SECONDS = 15.0  # as long as probes take to find a dead line, with the usual settings (gateway.config.Health)
MAX_DOUBTS = 4_096


class Doubts:
    """One worker's doubts. now: monotonic seconds. False while there are none."""

    def __init__(self) -> None:
        self._until: dict[tuple[str, str], float] = {}
        self._last = 0.0  # when the last of them is over

    def __len__(self) -> int:
        return len(self._until)

    def add(self, line: str, host: str, now: float) -> None:
        """The line, by its id, was silent where another was not."""
        if len(self._until) >= MAX_DOUBTS:
            self._until = {key: until for key, until in self._until.items() if until > now}
            if len(self._until) >= MAX_DOUBTS:
                self._until.clear()
        self._last = self._until[line, host] = now + SECONDS

    def ordered(self, lines: Sequence[LineHandle], host: str, now: float) -> list[LineHandle]:
        """The lines in their order, those in doubt behind the others."""
        if now >= self._last:
            self._until.clear()
        return sorted(lines, key=lambda line: self._until.get((line.id, host), 0.0) > now)

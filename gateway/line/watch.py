"""Probes the lines and tells their states: between the keeper, who knows the kernel, and whoever is to be told."""

import asyncio
import time
from collections.abc import Callable, Iterable

from gateway.line.health import DOWN
from gateway.line.hysteresis import HealthRules, LineHealth
from gateway.line.model import LineEntry, LineError, LineHandle, handle_of
from gateway.line.probe import ProbeResult, ask_all

OnState = Callable[[str, str, str], None]
OnRound = Callable[[str, list[ProbeResult]], None]
_TICK = 1.0  # seconds between looks at what is due


class Watch:
    """Use in the event loop. on_state: a line's first state and each change; on_round: the answers of one round."""

    def __init__(self, rules: HealthRules, mark_base: int, on_state: OnState, on_round: OnRound) -> None:
        self._rules = rules
        self._mark_base = mark_base
        self._on_state = on_state
        self._on_round = on_round
        self._health: dict[str, LineHealth] = {}
        self._said: dict[str, tuple[str, str]] = {}
        self._probed: dict[str, tuple[LineHandle, tuple[str, ...]]] = {}
        self._rounds: dict[str, asyncio.Task[None]] = {}

    def want(self, entries: Iterable[LineEntry]) -> None:
        """The lines of a policy revision."""
        self._probed = {}
        for entry in entries:
            if entry.probes and not getattr(entry, "retired", False):
                try:
                    self._probed[entry.id] = handle_of(entry, self._mark_base), entry.probes
                except LineError:  # the keeper says so
                    continue

    def told(self, line: str, state: str, why: str) -> None:
        """The keeper's word on a line."""
        health = self._health.setdefault(line, LineHealth(self._rules))
        health.told(state, why, time.monotonic())
        self._tell(line, health)

    async def run(self) -> None:
        """Probes until cancelled."""
        due: dict[str, float] = {}
        try:
            while True:
                now = time.monotonic()
                for line, (handle, targets) in self._probed.items():
                    if due.get(line, 0.0) <= now and line not in self._rounds:
                        due[line] = now + self._rules.interval
                        if (health := self._health.get(line)) is not None and health.kernel != DOWN:
                            self._rounds[line] = asyncio.create_task(self._round(line, handle, targets))
                for line, health in self._health.items():
                    self._tell(line, health)
                await asyncio.sleep(min(_TICK, self._rules.interval))
        finally:
            for task in self._rounds.values():
                task.cancel()

    async def _round(self, line: str, handle: LineHandle, targets: tuple[str, ...]) -> None:
        try:
            results = await ask_all(handle, targets, self._rules.timeout)
        finally:
            self._rounds.pop(line, None)
        health = self._health[line]
        health.probed([(result.ok, f"{result.target}: {result.why}") for result in results], time.monotonic())
        self._on_round(line, results)
        self._tell(line, health)

    def _tell(self, line: str, health: LineHealth) -> None:
        state = health.state(time.monotonic())
        if self._said.get(line) != state:
            self._said[line] = state
            self._on_state(line, *state)

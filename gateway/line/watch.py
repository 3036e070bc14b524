"""Probes the lines and tells their states: between the keeper, who knows the kernel, and whoever is to be told.

A line that the operator drains is draining while it lives, and down when it does not.
"""

import asyncio
import contextlib
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from gateway.clock import zone_time
from gateway.config import Health
from gateway.line.health import DOWN
from gateway.line.hysteresis import DEGRADED, LineHealth
from gateway.line.model import LineEntry, LineError, LineHandle, handle_of
from gateway.line.probe import ProbeResult, ask_all
from telemetry.lines import RETIRED

OnState = Callable[[str, str, str], None]
OnRound = Callable[[str, list[ProbeResult]], None]
DRAINING = "draining"
_TICK = 1.0  # seconds between looks at what is due
_REASONS = 30.0  # seconds at least between two reasons for one state


@dataclass(frozen=True, slots=True)
class _Probed:
    """A line with probes."""

    handle: LineHandle
    targets: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Term:
    """A line's contract, Unix seconds; nothing is sent over it outside of that."""

    begins: float
    ends: float

    def fault(self, wall: float) -> str:
        """Why it is not in force, or nothing."""
        if wall < self.begins:
            return f"its contract begins {_date(self.begins)}"
        return f"its contract ended {_date(self.ends)}" if wall >= self.ends else ""


_ALWAYS = _Term(0, float("inf"))


def _term(entry: LineEntry) -> _Term:
    return _Term(getattr(entry, "valid_from", 0), getattr(entry, "valid_until", 0) or float("inf"))


def _date(wall: float) -> str:
    try:
        return zone_time(wall)
    except (ValueError, OverflowError, OSError):  # beyond the year 9999
        return f"at {wall:.0f} (Unix time)"


def _kind(why: str) -> str:
    """The reason without its particulars, for probes fail in many words."""
    return why.partition(": ")[0]


class Watch:
    """Use in the event loop. on_state: a line's first state and each change; on_round: the answers of one round; stood:
    each line's last state as an earlier process told it."""

    def __init__(
        self, rules: Health, mark_base: int, on_state: OnState, on_round: OnRound, stood: Mapping[str, str]
    ) -> None:
        self._rules = rules
        self._mark_base = mark_base
        self._on_state = on_state
        self._on_round = on_round
        self._stood = dict(stood)
        self._drained: set[str] = set()
        self._terms: dict[str, _Term] = {}
        self._health: dict[str, LineHealth] = {}
        self._said: dict[str, tuple[str, str, float]] = {}  # state, why, when (monotonic)
        self._probed: dict[str, _Probed] = {}
        self._rounds: dict[str, asyncio.Task[None]] = {}
        self._due: dict[str, float] = {}
        self._sooner = asyncio.Event()  # a round became due earlier than was thought
        # After a lost round the next comes sooner by its share of the last one's wait, and a quarter to spare: the
        # verdict on a line that dies right after an answer is then no later than `failures` intervals.
        sooner = 1.25 * rules.timeout / max(1, rules.failures - 1)
        self._after_loss = max(rules.timeout, rules.interval - sooner)

    def want(self, entries: Iterable[LineEntry]) -> None:
        """The lines of a policy revision."""
        self._probed = {}
        entries = list(entries)
        for line in self._stood.keys() - {entry.id for entry in entries if not getattr(entry, "retired", False)}:
            del self._stood[line]  # retired while no lines process was there
            self._on_state(line, DOWN, RETIRED)
        self._drained = {entry.id for entry in entries if getattr(entry, "drained", False)}
        self._terms = {entry.id: _term(entry) for entry in entries}
        for entry in entries:
            if entry.probes and not getattr(entry, "retired", False):
                try:
                    handle = handle_of(entry, self._mark_base)
                except LineError:  # the keeper says so
                    continue
                self._probed[entry.id] = _Probed(handle, entry.probes)
        for line, health in self._health.items():
            if line not in self._probed:
                health.unprobed()
            self._tell(line, health)

    def told(self, line: str, state: str, why: str) -> None:
        """The keeper's word on a line."""
        health = self._health.get(line)
        now = time.monotonic()
        if health is None:
            health = self._health[line] = LineHealth(self._rules, ahead=time.time() - time.monotonic())
            health.begin(self._stood.pop(line, ""), now, probed=line in self._probed)
        health.told(state, why, now)
        if health.unknown and state != DOWN:  # nobody may use it until it is answered
            self._due.pop(line, None)
            self._sooner.set()
        self._tell(line, health)

    def heard(self, line: str, complaint: str | None) -> None:
        """What the line's flows complained of in a period."""
        if (health := self._health.get(line)) is not None:
            health.heard(complaint, time.monotonic())
            self._tell(line, health)

    async def run(self) -> None:
        """Probes until cancelled."""
        try:
            while True:
                now = time.monotonic()
                wall = time.time()
                for line, probed in self._probed.items():
                    if self._due.get(line, 0.0) <= now and line not in self._rounds:
                        self._due[line] = now + self._rules.interval
                        health = self._health.get(line)
                        term = self._terms[line]
                        if health is not None and health.kernel != DOWN and not term.fault(wall):
                            self._rounds[line] = asyncio.create_task(self._round(line, probed))
                for line, health in self._health.items():
                    self._tell(line, health)
                waiting = [self._due[line] - now for line in self._probed if line not in self._rounds]
                self._sooner.clear()
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._sooner.wait(), min(_TICK, self._rules.interval, *waiting))
        finally:
            for task in self._rounds.values():
                task.cancel()

    async def _round(self, line: str, probed: "_Probed") -> None:
        began = time.monotonic()
        try:
            results = await ask_all(probed.handle, probed.targets, self._rules.timeout)
        finally:
            self._rounds.pop(line, None)
        if not any(result.ok for result in results):
            self._due[line] = min(self._due[line], began + self._after_loss)
            self._sooner.set()
        health = self._health[line]
        health.probed([(result.ok, f"{result.target}: {result.why}") for result in results], time.monotonic())
        self._on_round(line, results)
        self._tell(line, health)

    def _tell(self, line: str, health: LineHealth) -> None:
        """A change of state at once; another reason for the same state now and then, for probes fail in many words."""
        now = time.monotonic()
        state, why = health.state(now)
        if state != DOWN and (over := self._terms.get(line, _ALWAYS).fault(time.time())):
            state, why = DOWN, over
        if line in self._drained and state != DOWN:
            beside = f"{DEGRADED}: {why}" if state == DEGRADED else why
            state, why = DRAINING, "; ".join(filter(None, ("drained by the operator", beside)))
        said = self._said.get(line)
        if (
            said is None
            or state != said[0]
            or (why != said[1] and (_kind(why) != _kind(said[1]) or now - said[2] >= _REASONS))
        ):
            self._said[line] = state, why, now
            self._on_state(line, state, why)

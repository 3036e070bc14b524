"""From what the kernel, the probes and live flows say of a line to the state that new flows go by. Pure.

kernel down                                    down, at once
every probe failed in `failures` rounds        down, until `successes` rounds in which one answered
some probe failed in `failures` rounds         degraded, until `successes` rounds in which all answered
flows complain in `failures` periods           degraded, until `successes` periods in which they do not
went down `flaps` times within `flap_window`   stays down for `hold_down` more, doubled with each further time

A process that begins takes a probed line as it stood: one that was down stays so until `successes` answered rounds. Of
one that nobody knows the first round decides; until then it is down, as a line must not be used on no evidence.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from gateway.clock import zone_time
from gateway.config import Health
from gateway.line.health import DOWN, UP

DEGRADED = "degraded"
_INCIDENT = 2.0  # seconds


@dataclass(slots=True)
class _Run:
    """How often in a row something went one way, and the state that came of it."""

    failed: bool = False
    bad: int = 0
    good: int = 0

    def take(self, ok: bool, rules: Health) -> None:
        self.bad, self.good = (0, self.good + 1) if ok else (self.bad + 1, 0)
        if self.bad >= rules.failures:
            self.failed = True
        elif self.good >= rules.successes:
            self.failed = False


@dataclass(slots=True)
class LineHealth:
    """One line. Times are monotonic seconds; every method answers nothing, state() says what came of it."""

    rules: Health
    kernel: str = DOWN
    kernel_why: str = "not yet looked at"
    any_answers: _Run = field(default_factory=_Run)
    all_answer: _Run = field(default_factory=_Run)
    why: str = ""  # what the last failed probe said
    downs: list[float] = field(default_factory=list)
    held_until: float = 0.0
    was_up: bool = False
    unknown: bool = False  # it has probes, none was sent yet, and nobody knows how it stood
    flows_fine: _Run = field(default_factory=_Run)
    flows_why: str = ""
    heard_at: float = 0.0
    inherited: bool = False  # nothing was found yet beside what an earlier process told; its reason is not known
    ahead: float = 0.0  # Unix seconds less monotonic ones, for times in words

    def begin(self, stood: str, now: float, *, probed: bool) -> None:
        """A line of which this process knows nothing yet. stood: its last state that was told, by an earlier process;
        empty or another word where that says nothing."""
        self.inherited = True
        self.flows_why = f"it was {DEGRADED} before this lines process began"
        if probed:
            self.any_answers.failed = stood == DOWN
            self.all_answer.failed = stood == DEGRADED
            self.unknown = stood not in (UP, DEGRADED, DOWN)
        elif stood == DEGRADED:
            self.flows_fine.failed, self.heard_at = True, now

    def unprobed(self) -> None:
        """It has no probes, or no more."""
        self.any_answers, self.all_answer, self.unknown = _Run(), _Run(), False

    def told(self, state: str, why: str, now: float) -> None:
        """The kernel's word. Without carrier no probe can be sent, so rounds in a row start anew; a line that its
        probes had found dead stays so until they are answered: a bounce of the link proves nothing of what lies
        behind."""
        self.kernel, self.kernel_why = state, why
        if state == DOWN:
            for run in (self.any_answers, self.all_answer):
                run.bad = run.good = 0
            self.flows_fine = _Run()  # its flows are cut
        self._settle(now)

    def probed(self, answers: Sequence[tuple[bool, str]], now: float) -> None:
        """One round: (ok, why) of each probe."""
        if not answers:
            return
        answered = any(ok for ok, _ in answers)
        if self.unknown:
            self.unknown, self.any_answers.failed = False, not answered
        self.any_answers.take(answered, self.rules)
        self.all_answer.take(all(ok for ok, _ in answers), self.rules)
        self.why = next((why for ok, why in answers if not ok), self.why)
        self.inherited = self.inherited and all(ok for ok, _ in answers)
        self._settle(now)

    def heard(self, complaint: str | None, now: float) -> None:
        """What the line's flows complained of in a period (gateway.line.passive); None: too few to go by. New flows
        avoid a degraded line, so it may fall silent: after hold_down_max it is tried again."""
        if complaint is not None:
            self.flows_fine.take(not complaint, self.rules)
            self.flows_why = complaint or self.flows_why
            self.heard_at = now
        elif now - self.heard_at >= self.rules.hold_down_max:
            self.flows_fine = _Run()

    def state(self, now: float) -> tuple[str, str]:
        """(up, degraded or down; why)."""
        if self.kernel == DOWN:
            return DOWN, self.kernel_why
        if self.unknown:
            return DOWN, "its probes are not yet answered"
        if self.any_answers.failed and self.inherited:
            rounds = f"{self.rules.successes} rounds of its probes must be answered, {self.any_answers.good} are"
            return DOWN, f"it was down before this lines process began: {rounds}"
        if self.any_answers.failed:
            return DOWN, f"no probe is answered: {self.why}"
        if now < self.held_until:
            until = zone_time(self.held_until + self.ahead)
            return DOWN, f"it went down {len(self.downs)} times of late: held down until {until}"
        if self.all_answer.failed and self.inherited:
            return DEGRADED, f"it was {DEGRADED} before this lines process began"
        if self.all_answer.failed:
            return DEGRADED, f"a probe is not answered: {self.why}"
        if self.flows_fine.failed:
            return DEGRADED, self.flows_why
        return UP, self.kernel_why

    def _settle(self, now: float) -> None:
        """Counts the times it went down, and holds down what does so too often."""
        alive = self.kernel != DOWN and not self.any_answers.failed and not self.unknown
        # One incident often makes a device come and go several times in an instant: that counts once.
        if self.was_up and not alive and not (self.downs and now - self.downs[-1] < _INCIDENT):
            self.downs = [*(at for at in self.downs if now - at < self.rules.flap_window), now]
            beyond = len(self.downs) - self.rules.flaps
            if beyond >= 0:
                held = min(self.rules.hold_down * 2.0 ** min(beyond, 32), self.rules.hold_down_max)
                self.held_until = now + held
        self.was_up = alive

"""From a line's death to the first flow over the next one: python -m tests.bench.failover [ROUNDS [INTERVAL TIMEOUT]]

A whole node with two designated lines, probed every INTERVAL seconds (1) with TIMEOUT (0.4); the first of them dies in
each round, first by its link, then in silence. A client asks for a tunnel every 20 ms and reads over each; others hold
tunnels on both lines. Times count from before the command that kills the line. Needs root; exit status 1 where a target
is missed.
"""

import os
import random
import sys
import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from statistics import median

from gateway import doubts
from gateway.config import Health, Timeouts
from ops.demo.network import LINES
from ops.demo.stage import Stage
from tests.netns.failover_kit import (
    EITHER,
    ONLY_SG1,
    Asker,
    Held,
    go_silent,
    node,
    recorded,
    speak_again,
    tally,
    until_lines,
)  # fmt: skip

FIRST, NEXT = LINES["hk1"], "sg1"
HELD = 4  # tunnels on each line
LONG = 0.5  # seconds; who waits longer is counted
AFTER = 1.0  # seconds that are looked at once the line is known to be down


@dataclass
class Seen:
    """One way of dying, by round: seconds until the first tunnel over the next line carried bytes, until the line was
    said to be down, and that any client waited; and what became of the tunnels that were asked for, and of those held
    on the two lines."""

    first: list[float] = field(default_factory=list)
    told: list[float] = field(default_factory=list)
    waited: list[float] = field(default_factory=list)
    asked: Counter[str] = field(default_factory=Counter)
    unasked: int = 0
    long: int = 0
    held: Counter[str] = field(default_factory=Counter)


def one_round(
    stage: Stage, authority: str, seen: Seen, kill: Callable[[], None], mend: Callable[[], None], pause: float
) -> None:
    """Kills the first line once, and has it back."""
    until_lines(stage, hk1="up", sg1="up")
    with ExitStack() as stack:
        on_first, on_next = ([Held(stage, to) for _ in range(HELD)] for to in (authority, ONLY_SG1))
        for held in (*on_first, *on_next):
            stack.callback(held.close)
        asker = stack.enter_context(Asker(stage, authority))
        time.sleep(1 + pause)
        died, wall = time.monotonic(), time.time()
        kill()
        try:
            until_lines(stage, hk1="down")
            time.sleep(AFTER)
            for name, tunnels in (("first", on_first), ("next", on_next)):
                seen.held[name] += sum(held.goes_on() for held in tunnels)
        finally:
            mend()
    attempts = [attempt for attempt in asker.attempts if attempt.ended > died]
    seen.first.append(min((a.ended for a in attempts if a.line == NEXT), default=float("inf")) - died)
    down = recorded(stage, lambda r: r["time"] / 1e6 >= wall and r["detail"][:4] == "down", kind="line", line="hk1")
    seen.told.append(down["time"] / 1e6 - wall)
    seen.waited.append(max(a.ended - a.began for a in attempts))
    seen.long += sum(a.ended - a.began > LONG for a in attempts)
    seen.asked.update(tally(attempts))
    seen.unasked += asker.unasked


def report(name: str, seen: Seen, target: float) -> bool:
    """Prints what was seen; whether the target was met."""
    met = max(seen.first) <= target
    print(f"{name}, {len(seen.first)} rounds{'':14}min   median      max  seconds")
    for what, times in (
        ("first tunnel over the next line", seen.first),
        ("the line is said to be down", seen.told),
        ("longest wait of a client", seen.waited),
    ):
        print(f"  {what:34}{min(times):8.3f} {median(times):8.3f} {max(times):8.3f}")
    print(f"  target: first tunnel within {target:g} s: {'met' if met else 'MISSED'}")
    print(f"  tunnels asked for that ended after the death: {dict(seen.asked)}, not asked for: {seen.unasked}")
    print(f"  of these waited more than {LONG:g} s: {seen.long}")
    on_dead, on_next = (f"{seen.held[name]} of {HELD * len(seen.first)}" for name in ("first", "next"))
    print(f"  tunnels held that went on: {on_dead} on the dead line, {on_next} on the other")
    return met


def main(rounds: int, interval: float, timeout: float) -> int:
    """Prints both ways of dying."""
    if os.geteuid() != 0:
        sys.stderr.write("network namespaces need root\n")
        return 1
    health = Health(interval=interval, timeout=timeout, flaps=100)
    by_link, silent = Seen(), Seen()
    chance = random.Random(1)
    free_at: dict[str, float] = {}  # when no worker remembers any more that the first line was silent towards it
    with node(health, Timeouts(drain=2)) as stage:
        zone = stage.zone
        for _ in range(rounds):
            one_round(stage, EITHER[0], by_link, lambda: zone.cut(FIRST), lambda: zone.mend(FIRST), 0)
        for number in range(rounds):
            authority = EITHER[number % len(EITHER)]
            time.sleep(max(0.0, free_at.get(authority, 0.0) - time.monotonic()))
            pause = chance.uniform(0, interval)  # anywhere between two probes
            one_round(
                stage, authority, silent, lambda: go_silent(zone, FIRST), lambda: speak_again(zone, FIRST), pause
            )  # fmt: skip
            free_at[authority] = time.monotonic() + doubts.SECONDS
    met = report("link death", by_link, 1.0)
    return 0 if report(f"silent death, probes every {interval:g} s", silent, 3 * interval) and met else 1


if __name__ == "__main__":
    numbers = [float(word) for word in sys.argv[1:]]
    sys.exit(main(int(numbers[0]) if numbers else 7, *(numbers[1:3] if len(numbers) > 2 else (1.0, 0.4))))

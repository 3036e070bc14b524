"""One supervised child: kept running, replaced without a gap, stopped.

IDLE → STARTING → READY → STOPPING → IDLE
          └────────┴──(died)──→ BACKOFF → STARTING
"""

import asyncio
import subprocess
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from ops.spawn import Listener, Process, ProcessSpec, spawn

FIRST_DELAY, LAST_DELAY = 0.1, 5.0  # seconds before a restart; doubled each time
STEADY = 10.0  # seconds a process must live for the delay to start over
INTENSITY, WINDOW = 4, 60.0  # more restarts than this within so many seconds are shown as degraded


class State(StrEnum):
    """Where a child is."""

    IDLE = "idle"
    STARTING = "starting"
    READY = "ready"
    STOPPING = "stopping"
    BACKOFF = "backoff"


@dataclass(slots=True)
class Owner:
    """What a child tells its supervisor. ended gets every process that was reaped; log a name and a line."""

    log: Callable[[str, str], None]
    ended: Callable[[Process], None]


class Child:
    """Keeps one ProcessSpec running."""

    def __init__(self, spec: ProcessSpec, owner: Owner) -> None:
        self.spec = spec
        self.state = State.IDLE
        self.restarts = 0
        self.last_exit = ""
        self.generation = 0
        self.current: Process | None = None
        self.leaving: list[Process] = []  # beside the current one: predecessors that drain, a successor that starts
        self._owner = owner
        self._listener = Listener(owner.log, self._ended)
        self._delay = FIRST_DELAY
        self._deaths: deque[float] = deque(maxlen=INTENSITY + 1)
        self._retry: asyncio.TimerHandle | None = None

    @property
    def processes(self) -> list[Process]:
        """All that run."""
        return [*([self.current] if self.current else []), *self.leaving]

    @property
    def degraded(self) -> bool:
        """Whether it dies so often that somebody should look."""
        return len(self._deaths) > INTENSITY and time.monotonic() - self._deaths[0] < WINDOW

    def overview(self) -> dict[str, Any]:
        """As JSON types, for the liveness endpoint."""
        current = self.current
        return {
            "name": self.spec.name,
            "role": self.spec.role,
            "state": self.state,
            "process": current.name if current else "",
            "pid": current.pid if current else 0,
            "seconds": round(time.monotonic() - current.started, 1) if current else 0,
            "leaving": [process.pid for process in self.leaving],
            "restarts": self.restarts,
            "degraded": self.degraded,
            "last_exit": self.last_exit,
        }

    def start(self) -> Process | None:
        """Starts it now. A start that fails counts as a death and is tried again."""
        self._forget_retry()
        self.state = State.STARTING
        try:
            self.current = self._spawn()
        except (OSError, subprocess.SubprocessError) as error:
            self._died(f"could not be started: {error}")
        return self.current

    def is_ready(self, process: Process) -> None:
        """The hub says that it has all state, or it needs no such word."""
        process.ready.set()
        if process is self.current and self.state is State.STARTING:
            self.state = State.READY

    async def replace(self, spec: ProcessSpec) -> bool:
        """Starts another beside the current one; once that is ready the old one is told to drain. False, and the old
        one stays, when the new one does not become ready."""
        old_spec, self.spec = self.spec, spec
        if self.current is None:  # new, or between two starts
            new = self.start()
            return bool(new and await new.becomes_ready())
        try:
            new = self._spawn()
        except (OSError, subprocess.SubprocessError) as error:
            self._owner.log("supervisor", f"{spec.name}: the replacement could not be started: {error}")
            self.spec = old_spec
            return False
        self.leaving.append(new)
        if not await new.becomes_ready():
            self.spec = old_spec
            new.kill("did not become ready as a replacement")
            return False
        self._forget_retry()  # the old one may have died meanwhile
        self.leaving.remove(new)
        retired, self.current, self.state = self.current, new, State.READY
        if retired:
            self.leaving.append(retired)
            retired.terminate()
        return True

    async def stop(self) -> None:
        """SIGTERM to all, SIGKILL after stop_timeout; returns once they have ended."""
        self._forget_retry()
        self.state = State.STOPPING
        for process in self.processes:
            process.terminate()
        for process in self.processes:
            await process.ended.wait()
        self.state = State.IDLE

    def hurry(self) -> None:
        """SIGKILL to all: the operator does not want to wait."""
        for process in self.processes:
            process.kill("hurried")

    def _spawn(self) -> Process:
        self.generation += 1
        process = spawn(self.spec, f"{self.spec.name}.{self.generation}", self._listener)
        if self.spec.announces:
            timeout = self.spec.start_timeout
            process.later(timeout, lambda: self._check_started(process, timeout))
        else:
            asyncio.get_running_loop().call_soon(self.is_ready, process)
        return process

    def _check_started(self, process: Process, timeout: float) -> None:
        if not process.ready.is_set() and not process.stopping:
            process.kill(f"was not ready within {timeout:g} s")

    def _ended(self, process: Process, said: str) -> None:
        self._owner.ended(process)
        if process is self.current:
            self.current = None
            if not process.stopping:
                self._died(said, process)
                return
        else:
            self.leaving.remove(process)
        self._owner.log("supervisor", f"{process.name} ({process.pid}) {said}")

    def _died(self, said: str, process: Process | None = None) -> None:
        now = time.monotonic()
        if process and now - process.started >= STEADY:
            self._delay = FIRST_DELAY
        delay, self._delay = self._delay, min(self._delay * 2, LAST_DELAY)
        self._deaths.append(now)
        self.restarts += 1
        self.last_exit = said
        self.state = State.BACKOFF
        name = f"{process.name} ({process.pid})" if process else self.spec.name
        degraded = "; DEGRADED: it keeps dying" if self.degraded else ""
        self._owner.log("supervisor", f"{name} {said}; starts again in {delay:g} s{degraded}")
        self._retry = asyncio.get_running_loop().call_later(delay, self.start)

    def _forget_retry(self) -> None:
        if self._retry:
            self._retry.cancel()
            self._retry = None

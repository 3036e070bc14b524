"""One supervised child: started with its privileges, its output as log lines, started again when it dies.

IDLE → STARTING → READY → STOPPING → IDLE
          └────────┴──(died)──→ BACKOFF → STARTING
"""

import asyncio
import os
import signal
import subprocess
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from ops import privileges
from ops.privileges import Privileges

FIRST_DELAY, LAST_DELAY = 0.1, 5.0  # seconds before a restart; doubled each time
STEADY = 10.0  # seconds a process must live for the delay to start over
INTENSITY, WINDOW = 4, 60.0  # more restarts than this within so many seconds are shown as degraded
MAX_LINE = 4_000  # bytes of one log line


class State(StrEnum):
    """Where a child is."""

    IDLE = "idle"
    STARTING = "starting"
    READY = "ready"
    STOPPING = "stopping"
    BACKOFF = "backoff"


NONE = Privileges()


@dataclass(frozen=True, slots=True)
class ProcessSpec:
    """What to run. name: "w0", "control" …; fds are inherited under their numbers; announces: it is ready only once the
    hub says so (else as soon as it runs), and one that is not within start_timeout seconds is killed; stop_timeout:
    seconds from SIGTERM to SIGKILL."""

    name: str
    role: str
    argv: tuple[str, ...]
    environment: dict[str, str]
    privileges: Privileges = NONE
    fds: tuple[int, ...] = ()
    announces: bool = False
    start_timeout: float = 15.0
    stop_timeout: float = 15.0


@dataclass(eq=False, slots=True)
class Process:
    """One running process of a child; a worker being replaced has two for a while."""

    name: str
    popen: subprocess.Popen[bytes]
    pidfd: int
    started: float
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    ready: asyncio.Event = field(default_factory=asyncio.Event)
    stopping: bool = False
    rest: bytes = b""

    @property
    def pid(self) -> int:
        """The process id; it may be another's once ended is set."""
        return self.popen.pid

    def send_signal(self, number: int) -> None:
        """Signals this very process, never another that got its pid."""
        if not self.ended.is_set():
            signal.pidfd_send_signal(self.pidfd, number)


@dataclass(slots=True)
class Owner:
    """What a child tells its supervisor. ended gets every pid that was reaped; log a name and a line."""

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
        self.leaving: list[Process] = []
        self._owner = owner
        self._delay = FIRST_DELAY
        self._deaths: deque[float] = deque(maxlen=INTENSITY + 1)
        self._timers: set[asyncio.TimerHandle] = set()
        self._retry: asyncio.TimerHandle | None = None

    @property
    def processes(self) -> list[Process]:
        """All that run: the current one and those that are leaving."""
        return [*([self.current] if self.current else []), *self.leaving]

    @property
    def degraded(self) -> bool:
        """Whether it dies so often that somebody should look."""
        full = len(self._deaths) > INTENSITY
        return full and time.monotonic() - self._deaths[0] < WINDOW

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
        if self._retry:
            self._retry.cancel()
            self._retry = None
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
        old, old_spec = self.current, self.spec
        self.spec = spec
        if old is None:  # between two starts: the next one is the new
            new = self.start()
            return bool(new and await self._becomes_ready(new))
        try:
            new = self._spawn()
        except (OSError, subprocess.SubprocessError) as error:
            self._owner.log("supervisor", f"{spec.name}: the replacement could not be started: {error}")
            self.spec = old_spec
            return False
        self.leaving.append(new)
        if not await self._becomes_ready(new):
            self.spec = old_spec
            self._kill(new, "did not become ready as a replacement")
            return False
        self.leaving.remove(new)
        retired, self.current, self.state = self.current, new, State.READY
        if self._retry:  # the old one had died meanwhile
            self._retry.cancel()
            self._retry = None
        if retired:
            self.leaving.append(retired)
            self._terminate(retired)
        return True

    async def stop(self) -> None:
        """SIGTERM to all, SIGKILL after stop_timeout; returns once they have ended."""
        if self._retry:
            self._retry.cancel()
            self._retry = None
        self.state = State.STOPPING if self.processes else State.IDLE
        for process in self.processes:
            self._terminate(process)
        for process in self.processes:
            await process.ended.wait()
        self.state = State.IDLE

    def hurry(self) -> None:
        """SIGKILL to all: the operator does not want to wait."""
        for process in self.processes:
            self._kill(process, "hurried")

    def kill(self, process: Process, why: str) -> None:
        """SIGKILL; it is started again unless it is leaving."""
        self._kill(process, why)

    async def _becomes_ready(self, process: Process) -> bool:
        waits = [asyncio.create_task(event.wait()) for event in (process.ready, process.ended)]
        await asyncio.wait(waits, timeout=self.spec.start_timeout, return_when=asyncio.FIRST_COMPLETED)
        for task in waits:
            task.cancel()
        return process.ready.is_set() and not process.ended.is_set()

    def _spawn(self) -> Process:
        spec, loop = self.spec, asyncio.get_running_loop()
        self.generation += 1
        name, parent = f"{spec.name}.{self.generation}", os.getpid()

        def before_exec() -> None:
            try:
                privileges.apply(spec.privileges, parent)
            except OSError as error:
                os.write(2, f"privileges: {error}\n".encode())
                raise

        popen = subprocess.Popen(
            spec.argv,
            env=spec.environment | {"FEIYU_PROCESS": name},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            pass_fds=spec.fds,
            start_new_session=True,  # a terminal's Ctrl-C is the supervisor's to handle
            preexec_fn=before_exec,  # noqa: PLW1509  # the supervisor has one thread
        )
        process = Process(name, popen, os.pidfd_open(popen.pid), time.monotonic())
        assert popen.stdout
        os.set_blocking(popen.stdout.fileno(), False)
        loop.add_reader(popen.stdout.fileno(), self._output, process)
        loop.add_reader(process.pidfd, self._reap, process)
        if spec.announces:
            self._later(spec.start_timeout, self._check_started, process)
        else:
            loop.call_soon(self.is_ready, process)
        return process

    def _later(self, delay: float, call: Callable[[Process], None], process: Process) -> None:
        def run() -> None:
            self._timers.discard(timer)
            if not process.ended.is_set():
                call(process)

        timer = asyncio.get_running_loop().call_later(delay, run)
        self._timers.add(timer)

    def _check_started(self, process: Process) -> None:
        if not process.ready.is_set() and not process.stopping:
            self._kill(process, f"was not ready within {self.spec.start_timeout:g} s")

    def _terminate(self, process: Process) -> None:
        if process.stopping:
            return
        process.stopping = True
        process.send_signal(signal.SIGTERM)
        timeout = self.spec.stop_timeout
        self._later(timeout, lambda late: self._kill(late, f"did not end within {timeout:g} s of SIGTERM"), process)

    def _kill(self, process: Process, why: str) -> None:
        if not process.ended.is_set():
            self._owner.log("supervisor", f"{process.name} ({process.pid}) is killed: {why}")
            process.send_signal(signal.SIGKILL)

    def _output(self, process: Process) -> bool:
        """Logs what it said; False when there is no more for now."""
        assert process.popen.stdout
        descriptor = process.popen.stdout.fileno()
        try:
            data = os.read(descriptor, 65_536)
        except BlockingIOError:
            return False
        if not data:
            asyncio.get_running_loop().remove_reader(descriptor)
        *lines, process.rest = (process.rest + data).split(b"\n")
        if len(process.rest) > MAX_LINE or not data:
            lines, process.rest = [*lines, process.rest], b""
        for line in lines:
            if line.strip():
                self._owner.log(process.name, line[:MAX_LINE].decode("utf-8", "replace"))
        return bool(data)

    def _reap(self, process: Process) -> None:
        loop = asyncio.get_running_loop()
        loop.remove_reader(process.pidfd)
        code = process.popen.wait()
        process.ended.set()
        os.close(process.pidfd)
        assert process.popen.stdout
        for _ in range(64):  # what it said last; a grandchild may hold the pipe open, so not to its end
            if not self._output(process):
                break
        loop.remove_reader(process.popen.stdout.fileno())
        process.popen.stdout.close()
        said = f"ended with {code}" if code >= 0 else f"ended by signal {-code} ({signal.strsignal(-code)})"
        self._owner.ended(process)
        if process in self.leaving:
            self.leaving.remove(process)
            self._owner.log("supervisor", f"{process.name} ({process.pid}) {said}")
        elif process is self.current:
            self.current = None
            if process.stopping:
                self._owner.log("supervisor", f"{process.name} ({process.pid}) {said}")
            else:
                self._died(said, process)

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

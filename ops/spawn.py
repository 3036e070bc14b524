"""One child process: started with its privileges, its output as log lines, signalled and reaped by its pidfd."""

import asyncio
import os
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from ops import privileges
from ops.privileges import Privileges

MAX_LINE = 4_000  # bytes of one log line
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


@dataclass(slots=True)
class Listener:
    """Who is told: ended once, when the process was reaped; log with a name and a line."""

    log: Callable[[str, str], None]
    ended: Callable[["Process", str], None]


@dataclass(eq=False, slots=True)
class Process:
    """One running process; spawn() makes it. name is the spec's with its generation, "w0.3"."""

    name: str
    spec: ProcessSpec
    popen: subprocess.Popen[bytes]
    pidfd: int
    listener: Listener
    started: float = field(default_factory=time.monotonic)
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    ready: asyncio.Event = field(default_factory=asyncio.Event)
    stopping: bool = False
    rest: bytes = b""

    @property
    def pid(self) -> int:
        """The process id; it may be another's once ended is set."""
        return self.popen.pid

    def terminate(self) -> None:
        """SIGTERM, and SIGKILL when its stop_timeout is over."""
        if not self.stopping and not self.ended.is_set():
            self.stopping = True
            signal.pidfd_send_signal(self.pidfd, signal.SIGTERM)
            timeout = self.spec.stop_timeout
            self.later(timeout, lambda: self.kill(f"did not end within {timeout:g} s of SIGTERM"))

    def kill(self, why: str) -> None:
        """SIGKILL, with the reason in the log."""
        if not self.ended.is_set():
            self.listener.log("supervisor", f"{self.name} ({self.pid}) is killed: {why}")
            signal.pidfd_send_signal(self.pidfd, signal.SIGKILL)

    def later(self, delay: float, call: Callable[[], None]) -> None:
        """Calls in delay seconds unless it has ended by then."""
        asyncio.get_running_loop().call_later(delay, lambda: None if self.ended.is_set() else call())

    async def becomes_ready(self) -> bool:
        """Waits until it is ready, has ended, or start_timeout is over."""
        waits = [asyncio.create_task(event.wait()) for event in (self.ready, self.ended)]
        await asyncio.wait(waits, timeout=self.spec.start_timeout, return_when=asyncio.FIRST_COMPLETED)
        for task in waits:
            task.cancel()
        return self.ready.is_set() and not self.ended.is_set()

    def read_output(self) -> bool:
        """Logs what it said; False when there is no more for now."""
        assert self.popen.stdout
        descriptor = self.popen.stdout.fileno()
        try:
            data = os.read(descriptor, 65_536)
        except BlockingIOError:
            return False
        if not data:
            asyncio.get_running_loop().remove_reader(descriptor)
        *lines, self.rest = (self.rest + data).split(b"\n")
        if len(self.rest) > MAX_LINE or not data:
            lines, self.rest = [*lines, self.rest], b""
        for line in lines:
            if line.strip():
                self.listener.log(self.name, line[:MAX_LINE].decode("utf-8", "replace"))
        return bool(data)

    def reap(self) -> None:
        """Its pidfd says that it has ended."""
        loop = asyncio.get_running_loop()
        loop.remove_reader(self.pidfd)
        code = self.popen.wait()
        self.ended.set()
        os.close(self.pidfd)
        assert self.popen.stdout
        for _ in range(64):  # what it said last; a grandchild may hold the pipe open, so not to its end
            if not self.read_output():
                break
        loop.remove_reader(self.popen.stdout.fileno())
        self.popen.stdout.close()
        said = f"ended with {code}" if code >= 0 else f"ended by signal {-code} ({signal.strsignal(-code)})"
        self.listener.ended(self, said)


def spawn(spec: ProcessSpec, name: str, listener: Listener) -> Process:
    """Starts a process. Raises OSError or subprocess.SubprocessError; why privileges failed is then in the log."""
    loop, parent = asyncio.get_running_loop(), os.getpid()
    said, saying = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)

    def before_exec() -> None:
        try:
            privileges.apply(spec.privileges, parent)
        except OSError as error:
            os.write(saying, f"privileges: {error}".encode())
            raise

    try:
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
    except subprocess.SubprocessError:
        os.close(saying)
        saying = -1
        words = os.read(said, 4_096).decode("utf-8", "replace")
        raise subprocess.SubprocessError(words or "it failed before exec") from None
    finally:
        os.close(said)
        if saying >= 0:
            os.close(saying)
    process = Process(name, spec, popen, os.pidfd_open(popen.pid), listener)
    assert popen.stdout
    os.set_blocking(popen.stdout.fileno(), False)
    loop.add_reader(popen.stdout.fileno(), process.read_output)
    loop.add_reader(process.pidfd, process.reap)
    return process

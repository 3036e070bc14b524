"""`feiyu up`: opens the listening sockets, starts the node's processes, keeps them running, and is their live control.

SIGTERM or SIGINT: workers drain, then lines and control end, at last the recorder (so that it takes the closing
records); a second one does not wait. SIGHUP: reads the configuration again. One that is wrong changes nothing and says
why; a good one replaces the workers one by one, each by a successor on the same sockets, and restarts the others when
anything changed. When the supervisor itself is killed, the kernel sends its children SIGTERM and their connection to
the hub ends: nobody could tell them to cut any more, so they end their flows and themselves.
"""

import argparse
import asyncio
import contextlib
import fcntl
import os
import secrets
import signal
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ops import directories, hub, processes
from ops.children import Child, State
from ops.children import Owner as ChildOwner
from ops.console import Console, notify
from ops.hub import Hub
from ops.hub_messages import PUBLISHES
from ops.listeners import ListenError, Listeners
from ops.liveness import Liveness
from ops.processes import Plan
from ops.reload import Reload, reload
from ops.settings import Settings, SettingsError, load_settings, settings_path
from ops.spawn import Process, ProcessSpec

LOST_GRACE = 1.0  # seconds that a worker without live control may still run
LAST = "recorder"


class StartError(Exception):
    """The node cannot start; str() says why and what to do."""


class Supervisor:
    """One node."""

    def __init__(self, path: Path, settings: Settings, plan: Plan, console: Console) -> None:
        self.path, self.settings, self._plan, self._console = path, settings, plan, console
        self.boot = secrets.token_hex(4)
        self.reload = Reload()
        self.children: dict[str, Child] = {}
        self.listeners = Listeners()
        self._started = time.monotonic()
        self._stop = asyncio.Event()
        self._reloading: asyncio.Task[None] | None = None
        self._again = False
        self._retiring: set[asyncio.Task[None]] = set()
        run = Path(settings.run_dir)
        self._config = run / "settings.json"
        owner = hub.Owner(self._kill, self._lost, self._ready, self.status, self.log)
        self.hub = Hub(run / "live.sock", Path(settings.state_dir) / "live.json", self._roles(), owner)
        self._liveness = Liveness(
            run / "supervisor.sock", lambda: self.status() | {"hub": self.hub.overview()}, self.is_ready
        )

    def log(self, text: str) -> None:
        """One line of the supervisor's own."""
        self._console.line("supervisor", text)

    async def run(self) -> None:
        """Serves until SIGTERM. Raises StartError or ListenError before anything was started."""
        loop = asyncio.get_running_loop()
        self.listeners.prepare(self.settings.listeners, self.settings.worker_count)
        group = self._group()
        try:
            self.hub.open(group)
            await self._liveness.open(group)
            self.write_config(self.settings)
        except OSError as error:
            raise StartError(f"{error.filename or self.settings.run_dir}: {error.strerror}") from None
        loop.add_signal_handler(signal.SIGHUP, self._hangup)
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._terminate)
        self.log(f"node {self.settings.node} starts, boot {self.boot}, configuration {self.path}")
        if self.settings.users.base and group is None:
            self.log("users: this process cannot become other users here; children only lose capabilities")
        for spec in self.specs(self.settings):
            self.add_child(spec).start()
        notify("READY=1")
        beat = asyncio.create_task(self._beat())
        await self._stop.wait()
        beat.cancel()
        await self._end()

    # ---- what others see

    def status(self) -> dict[str, Any]:
        """As JSON types; the hub answers it too."""
        return {
            "node": self.settings.node,
            "boot": self.boot,
            "pid": os.getpid(),
            "seconds": round(time.monotonic() - self._started, 1),
            "configuration": str(self.path),
            "listeners": {listener.name: listener.address for listener in self.settings.listeners},
            "reload": asdict(self.reload),
            "stopping": self._stop.is_set(),
            "children": [child.overview() for child in self.children.values()],
        }

    def is_ready(self) -> bool:
        """Whether every process runs and has all it needs."""
        return not self._stop.is_set() and all(child.state is State.READY for child in self.children.values())

    # ---- children

    def specs(self, settings: Settings) -> list[ProcessSpec]:
        """All processes these settings ask for."""
        count = settings.worker_count
        return self._plan(
            settings, self._config, self.boot, lambda slot: self.listeners.share(settings.listeners, slot, count)
        )

    def add_child(self, spec: ProcessSpec) -> Child:
        """A child that is kept from now on; not yet started."""
        owner = ChildOwner(log=self._console.line, ended=lambda process: self.hub.process_ended(process.pid))
        child = self.children[spec.name] = Child(spec, owner)
        return child

    def _find(self, pid: int) -> tuple[Child, Process] | None:
        for child in self.children.values():
            for process in child.processes:
                if process.pid == pid:
                    return child, process
        return None

    def _kill(self, pid: int, why: str) -> None:
        if found := self._find(pid):
            found[1].kill(why)
        else:
            self.log(f"process {pid}, which is not ours, should be killed: {why}")

    def _lost(self, pid: int) -> bool:
        if not self._find(pid):
            return False

        def late() -> None:
            if self._find(pid):
                self._kill(pid, f"it left live control and still ran {LOST_GRACE:g} s later")

        asyncio.get_running_loop().call_later(LOST_GRACE, late)
        return True

    def _ready(self, pid: int) -> None:
        if found := self._find(pid):
            found[0].is_ready(found[1])

    def _roles(self) -> dict[int, frozenset[str]]:
        every = frozenset(PUBLISHES)
        users = self.settings.users
        own = {"lines": users.lines, "worker": users.worker, "control": users.control, "recorder": users.recorder}
        return {uid: frozenset({role}) for role, uid in own.items() if uid is not None} | {
            0: every,
            os.geteuid(): every,
        }

    def _group(self) -> int | None:
        users = self.settings.users
        return processes.allowed(users.control, users.group).gid

    def write_config(self, settings: Settings) -> None:
        """Puts settings where children read them, whole. Raises OSError."""
        temporary = self._config.with_name("settings.json.new")
        temporary.unlink(missing_ok=True)
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o640)
        with os.fdopen(descriptor, "w") as file:
            if (group := self._group()) is not None:
                os.fchown(descriptor, -1, group)
            file.write(settings.to_json())
        temporary.replace(self._config)

    # ---- reload

    def _hangup(self) -> None:
        if self._stop.is_set():
            return
        if self._reloading and not self._reloading.done():
            self._again = True
            return
        self._reloading = asyncio.create_task(self._reload())

    async def _reload(self) -> None:
        while True:
            self._again = False
            self.reload.result, self.reload.at = "running", time.time()
            try:
                result, detail = await reload(self)
            except Exception as error:  # noqa: BLE001  # whatever it is: the node goes on, and says so
                result, detail = "failed", f"the node is between two configurations, reload again: {error!r}"
            self.reload.result, self.reload.detail, self.reload.at = result, detail, time.time()
            self.reload.accepted += result == "ok"
            self.reload.refused += result != "ok"
            for line in detail.splitlines():
                self.log(f"reload {result}: {line}")
            if not self._again:
                return

    def retire(self, name: str) -> None:
        """Drains a child that is no longer wanted, without waiting."""
        child = self.children[name]

        async def end() -> None:
            await child.stop()
            if self.children.get(name) is child:
                del self.children[name]

        task = asyncio.create_task(end())
        self._retiring.add(task)
        task.add_done_callback(self._retiring.discard)

    # ---- end

    def _terminate(self) -> None:
        if self._stop.is_set():
            self.log("told again: not waiting any longer")
            for child in self.children.values():
                if child.state is State.STOPPING:
                    child.hurry()
        self._stop.set()

    async def _end(self) -> None:
        notify("STOPPING=1")
        self.log("stopping: workers drain")
        if self._reloading:
            self._reloading.cancel()
        self.listeners.close()
        children = list(self.children.values())
        workers = [child for child in children if child.spec.role == "worker"]
        last = [child for child in children if child.spec.role == LAST]
        rest = [child for child in children if child not in workers and child not in last]
        for group in (workers, rest, last):
            await asyncio.gather(*(child.stop() for child in group))
        self._liveness.close()
        self.hub.close()
        self.log("stopped")

    async def _beat(self) -> None:
        """systemd's watchdog: silence means this loop no longer turns."""
        period = int(os.environ.get("WATCHDOG_USEC", "0") or 0) / 2_000_000
        while period:
            notify("WATCHDOG=1")
            await asyncio.sleep(period)


def run(config: str | None = None, plan: Plan = processes.plan) -> int:
    """Runs a node until it is told to stop; the exit status: 0, 1 when it cannot start, 2 for a wrong configuration."""
    path = settings_path(config)
    console = Console()
    try:
        settings = load_settings(path)
        if why := processes.cannot_run(settings):
            raise StartError(why)
        with _lock(Path(settings.run_dir)):
            directories.prepare(settings)
            asyncio.run(_main(path, settings, plan, console))
    except SettingsError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    except (StartError, ListenError, directories.DirectoryError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


async def _main(path: Path, settings: Settings, plan: Plan, console: Console) -> None:
    await Supervisor(path, settings, plan, console).run()


@contextlib.contextmanager
def _lock(run_dir: Path) -> Iterator[None]:
    """Held while the node runs; another supervisor on the same run_dir would take its sockets. Raises StartError."""
    try:
        run_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        file = (run_dir / "supervisor.lock").open("a+")
    except OSError as error:
        raise StartError(f"{error.filename}: {error.strerror}; it must be usable by this user") from None
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StartError(f"{run_dir}: another `feiyu up` runs on this run_dir") from None
        yield


def main() -> int:
    """python -m ops.supervisor [--config PATH]"""
    parser = argparse.ArgumentParser(prog="ops.supervisor", description="runs a node of Feiyu")
    parser.add_argument("--config", help="the node's configuration (default: FEIYU_CONFIG, else /etc/feiyu/feiyu.yaml)")
    return run(parser.parse_args().config)


if __name__ == "__main__":
    sys.exit(main())

"""The zone with what runs in it: abroad, and a real node (`feiyu init`, `feiyu up`) in the gateway's namespace."""

import contextlib
import json
import os
import secrets
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Self

import msgspec

from gateway.config import Limits, Timeouts
from ops import privileges, processes
from ops.cli.client import Client as ControlClient
from ops.cli.errors import CliError
from ops.demo import certificates, world
from ops.demo.client import ENVIRONMENT, Client, write_config
from ops.demo.interrupt import whole
from ops.demo.network import ABROAD, FIRMS, GATEWAY, Zone, end
from ops.settings import Access, Listener, Metrics, Settings, Users, load_settings

PORT = 3128
USERS = 62_000
START = 40.0  # seconds that a node may take to be ready on a busy machine
LINE_SECONDS = 5.0  # in which a line's end, or its return, is known to the workers
DURABLE_SECONDS = 3.0  # in which a record can be found


class StageError(Exception):
    """Something that must run does not; str() says what and shows its last words."""


class Stage:
    """Use as a context manager: the network and abroad are there then, the node after start(). Nothing is made before;
    close() takes away whatever was made, however far it came."""

    def __init__(self, prefix: str = "fyd", timeouts: Timeouts | None = None) -> None:
        self.zone = Zone(world.ALL_ADDRESSES, prefix)
        self.directory = Path(tempfile.gettempdir(), f"{self.zone.prefix}{secrets.token_hex(4)}")
        self.config = self.directory / "feiyu.yaml"
        self.log = self.directory / "node.log"
        self.ca = self.directory / "ca.pem"
        self.node: subprocess.Popen[bytes] | None = None
        self.clients: dict[str, Client] = {}
        self.credentials: dict[str, str] = {}  # firm → credential id
        self._written: Settings | None = None
        self._timeouts = timeouts or Timeouts(drain=5, dial=5)
        self._abroad: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        try:
            self.directory.mkdir(0o700)
            self.directory.chmod(0o755)  # the node's users must pass
            self.zone.__enter__()
            self._open_abroad()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Ends what was started and removes what was made, whatever fails."""
        with contextlib.ExitStack() as stack:
            stack.callback(shutil.rmtree, self.directory, ignore_errors=True)
            stack.callback(self.zone.close)
            stack.callback(self._end_abroad)
            stack.callback(self.stop)

    # ---- abroad

    def _open_abroad(self) -> None:
        _, server = certificates.make(self.directory, world.NAMES, world.ADDRESSES)
        argv = processes.module("ops.demo.abroad", str(server))
        with whole():
            self._abroad = self.zone.spawn(ABROAD, argv, env=self.environment(), stdout=subprocess.PIPE)
        assert self._abroad.stdout
        if self._abroad.stdout.readline() != b"ready\n":
            raise StageError("the services abroad did not start")

    def _end_abroad(self) -> None:
        if self._abroad:
            end(self._abroad)
            self._abroad = None

    # ---- the node

    def settings(self) -> Settings:
        """What the node is configured with: what was last written, else the stage's own."""
        if self._written is not None:
            return self._written
        addresses = {f"{wire.device}-{v}": wire.near[v] for wire in FIRMS.values() for v in (4, 6)}
        settings = Settings(
            node="gw1.zone.example",
            state_dir=str(self.directory / "state"),
            run_dir=str(self.directory / "run"),
            workers=2,
            listeners=tuple(
                Listener(name=name, address=f"[{address}]:{PORT}" if ":" in address else f"{address}:{PORT}")
                for name, address in addresses.items()
            ),
            access=tuple(
                Access(interface=wire.device, site="lingang-a", room=f"r{wire.number}", prefixes=wire.prefixes)
                for wire in FIRMS.values()
            ),
            users=Users(base=USERS),
            timeouts=self._timeouts,
            limits=Limits(),
            metrics=Metrics(),
            portal="https://portal.zone.example",
        )
        alone = os.geteuid() != 0 or not privileges.usable(USERS) or bool(processes.cannot_run(settings))
        return msgspec.structs.replace(settings, users=Users()) if alone else settings

    def write_config(self, settings: Settings) -> None:
        """Writes the configuration file (JSON is YAML)."""
        self._written = settings
        self.config.write_text(settings.to_json())

    def environment(self) -> dict[str, str]:
        """For programs of this project: no proxies of the person at the keyboard."""
        own = {"FEIYU_CONFIG": str(self.config), "PYTHONPATH": str(processes.CODE), "PYTHONDONTWRITEBYTECODE": "1"}
        return ENVIRONMENT | {"PATH": f"{os.environ.get('PATH', '')}:{ENVIRONMENT['PATH']}".lstrip(":")} | own

    def feiyu(self, *arguments: str, timeout: float = 60) -> subprocess.CompletedProcess[str]:
        """The feiyu command, outside the node's namespace: it needs only the node's sockets."""
        with whole():
            return subprocess.run(
                processes.module("ops.cli.main", *arguments),
                env=self.environment(),
                capture_output=True,
                text=True,
                timeout=timeout,
                check=False,
            )

    def ask(self, *arguments: str) -> Any:
        """The same with -o json; returns what it says. Raises StageError unless it ends with 0 or 1 and says JSON."""
        done = self.feiyu(*arguments, "-o", "json")
        try:
            if done.returncode > 1:
                raise ValueError
            return json.loads(done.stdout)
        except ValueError:
            said = (done.stderr or done.stdout).strip()
            raise StageError(f"feiyu {' '.join(arguments)}: exit {done.returncode}: {said}") from None

    def start(self) -> None:
        """Starts the node and waits until all of it is ready. Raises StageError."""
        argv = processes.module("ops.cli.main", "up")
        with whole(), self.log.open("ab") as log:
            self.node = self.zone.spawn(
                GATEWAY, argv, env=self.environment(), stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        self.wait(self.is_ready, "the node is not ready", START)

    def stop(self) -> int:
        """Ends the node in good order; its exit status."""
        if self.node is None:
            return 0
        node, self.node = self.node, None
        return end(node, grace=30)

    def liveness(self) -> dict[str, Any]:
        """What the supervisor says of itself and its children, with "ready"; {} where it does not answer."""
        with contextlib.suppress(OSError, ValueError), socket.socket(socket.AF_UNIX) as asking:
            asking.settimeout(2)
            asking.connect(str(self.directory / "run" / "supervisor.sock"))
            asking.sendall(b"GET /ready HTTP/1.1\r\n\r\n")
            head, _, body = b"".join(iter(lambda: asking.recv(65_536), b"")).partition(b"\r\n\r\n")
            facts: dict[str, Any] = json.loads(body)
            return facts | {"ready": head.split(b" ", 2)[1] == b"200"}
        return {}

    def is_ready(self) -> bool:
        """Whether all of the node serves: the supervisor says so, control and recorder answer. Raises StageError
        when a process keeps dying."""
        facts = self.liveness()
        dying = [child["name"] for child in facts.get("children", []) if child.get("degraded")]
        if dying:
            raise StageError(f"{', '.join(dying)} keeps dying:\n{self.last_words()}")
        if not facts.get("ready"):
            return False
        try:
            return bool((self.control("/v1/status").get("recorder") or {}).get("ok"))
        except CliError:
            return False

    def control(self, path: str, query: Mapping[str, object] | None = None) -> dict[str, Any]:
        """GET at control's API. Raises CliError."""
        return ControlClient(str(self.directory / "run" / "control.sock")).get(path, query)

    def metrics(self) -> dict[str, float]:
        """Samples of /metrics by name with labels."""
        done = self.zone.run(GATEWAY, ["curl", "-sS", f"http://{load_settings(self.config).metrics.address}/metrics"])
        samples = {}
        for line in done.stdout.splitlines():
            if line and not line.startswith("#"):
                name, _, value = line.rpartition(" ")
                samples[name] = float(value)
        return samples

    def line_states(self) -> dict[str, str]:
        """State by line, as live control knows it."""
        try:
            lines = self.control("/v1/status").get("lines") or {}
        except CliError:
            return {}
        return {name: str(state.get("state") if isinstance(state, dict) else state) for name, state in lines.items()}

    def is_line(self, line: str, state: str) -> bool:
        """Waits until live control says so; False if it does not within LINE_SECONDS."""
        try:
            self.wait(lambda: self.line_states().get(line) == state, f"line {line} is not {state}", LINE_SECONDS)
        except StageError:
            return False
        return True

    def records(self, **query: object) -> list[dict[str, Any]]:
        """Records of the log, the newest first. Raises CliError."""
        items: list[dict[str, Any]] = self.control("/v1/log", query)["items"]
        return items

    def record(self, **query: object) -> dict[str, Any]:
        """The newest record that matches, once it is there; {} if it is not within DURABLE_SECONDS."""
        until = time.monotonic() + DURABLE_SECONDS
        while True:
            with contextlib.suppress(CliError):
                if found := self.records(**query):
                    return found[0]
            if time.monotonic() > until:
                return {}
            time.sleep(0.05)

    def open_flows(self) -> list[dict[str, Any]]:
        """The flows that are open now. Raises CliError."""
        items: list[dict[str, Any]] = self.control("/v1/flows")["items"]
        return items

    def wait(self, condition: Callable[[], bool], what: str, seconds: float = 10.0) -> float:
        """Returns after how many seconds the condition holds. Raises StageError with the node's last words."""
        start = time.monotonic()
        while not condition():
            if self.node is not None and self.node.poll() is not None:
                raise StageError(f"the node ended with {self.node.returncode}:\n{self.last_words()}")
            if time.monotonic() - start > seconds:
                raise StageError(f"{what} after {seconds:g} s:\n{self.last_words()}")
            time.sleep(0.05)
        return time.monotonic() - start

    def last_words(self, lines: int = 15) -> str:
        """The end of the node's log."""
        text = self.log.read_text("utf-8", "replace") if self.log.exists() else ""
        return "\n".join(text.splitlines()[-lines:])

    # ---- clients

    def client(self, name: str, firm: str, identity: str, version: int = 4) -> Client:
        """A client in a firm's namespace, under a name of its own. identity: "credential:token" or ""."""
        wire, file = FIRMS[firm], self.directory / f"{name}.curl"
        write_config(file, wire, PORT, self.ca, identity, version=version)
        client = self.clients[name] = Client(self.zone, wire, file, self.directory)
        return client

    def issue(self, firm: str, *more: str, user: str = "workstation 7") -> tuple[str, str]:
        """A credential for a firm: its id and token."""
        ends = more or ("--for", "30d")
        issued = self.ask("credential", "issue", firm, "--user", user, *ends, "--reason", "demo")
        return str((issued.get("credential") or issued["item"])["id"]), str(issued["token"])

"""One node's data plane for tests: workers as real processes, a small hub on a real SOCK_SEQPACKET socket, a policy
made by the real publisher, and the records that the workers wrote."""

import base64
import hashlib
import json
import os
import resource
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Self

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from msgspec.structs import replace

from ops.listeners import listen
from ops.settings import Listener
from telemetry.spooldir import Status, open_status, parse_name, write_status
from tenants.change import Changed
from tenants.model import Credential, Place, Tenant
from tests.gateway.kit import GATEWAY, LINES, LINES6, PATIENCE, RESOLVERS, Ground, Talk, until
from whitelist.document import Document
from whitelist.model import Endpoint, Grant, Line, Protocol, Service, Window
from whitelist.publisher import Publisher

BOOT = "00c0ffee"
CODE = Path(__file__).parent.parent.parent
SPECIAL = ("203.0.113.0/24", "2001:db8:a::/64")
FINAL = ("close", "deny")
FOREVER = 1 << 40
_PLACES = {"acme": "10.0.0.0/28", "birch": "10.0.0.16/28"}
_KINDS = {
    "tls": Endpoint(target="*.tls.example", ports=(443,)),
    "http": Endpoint(target="*.http.example", ports=(80, 8080), protocol=Protocol.HTTP),
    "tcp": Endpoint(target="*.tcp.example", ports=(7000, 7001), protocol=Protocol.TCP),
    "open": Endpoint(target="*.open.example", ports=(7000,), protocol=Protocol.TCP),
    "literal": Endpoint(target="203.0.113.0/24", ports=(7000,), protocol=Protocol.TCP),
}


def token(firm: str, number: int = 0) -> str:
    """The token of a firm's credential."""
    return base64.urlsafe_b64encode(hashlib.sha256(f"{firm}{number}".encode()).digest()).decode().rstrip("=")


def authorization(firm: str, number: int = 0) -> str:
    """A Proxy-Authorization value."""
    return "Basic " + base64.b64encode(f"c-{firm:0<9}{number}:{token(firm, number)}".encode()).decode()


def credential(firm: str, number: int = 0, **changes: Any) -> Credential:
    digest = hashlib.sha256(token(firm, number).encode()).hexdigest()
    fields = {"id": f"c-{firm:0<9}{number}", "tenant": firm, "token_sha256": digest, "valid_until": FOREVER}
    return Credential(**fields | changes)


def grant(firm: str, kind: str, **changes: Any) -> Grant:
    fields = {
        "id": f"g-{firm}-{kind}", "subject": f"tenant:{firm}", "object": f"service:{kind}", "lines": ("hk1", "sg1"),
        "window": Window(valid_from=0, valid_until=FOREVER),
    }  # fmt: skip
    return Grant(**fields | changes)


def tenant(firm: str, slot: int, **changes: Any) -> Tenant:
    place = Place(site="s1", room="r1", interface="acc0", prefix=_PLACES[firm])
    fields = {"id": firm, "name": firm, "valid_from": 0, "valid_until": FOREVER, "places": (place,), "slot": slot}
    return Tenant(**fields | changes)


def service(kind: str, **changes: Any) -> Service:
    special = () if kind == "open" else SPECIAL
    fields = {"id": kind, "name": kind, "endpoints": (_KINDS[kind],), "special_prefixes": special}
    return Service(**fields | changes)


def line(name: str, **changes: Any) -> Line:
    device, near, far = LINES[name]
    fields = {
        "id": name, "index": int(device[-1]), "device": device, "gateway4": far, "source4": near,
        "gateway6": LINES6[name][1], "source6": LINES6[name][0], "resolvers": RESOLVERS,
    }  # fmt: skip
    return Line(**fields | changes)


def document() -> dict[str, Any]:
    """Everything in the policy, by "collection:id"."""
    things: dict[str, list[Any]] = {
        "tenants": [tenant("acme", 1), tenant("birch", 2)],
        "credentials": [credential(firm, n) for firm in _PLACES for n in (0, 1)],
        "services": [service(kind) for kind in _KINDS],
        "grants": [grant(firm, kind) for firm in _PLACES for kind in _KINDS],
        "lines": [line(name) for name in LINES],
    }
    return {f"{collection}:{thing.id}": thing for collection, found in things.items() for thing in found}


class Hub:
    """What a worker needs of live control: state at hello, orders, and their acknowledgements."""

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._socket.bind(str(path))
        self._socket.listen()
        self.lines = dict.fromkeys(LINES, "up")
        self.kills: list[dict[str, Any]] = []
        self.revision = 1
        self.seq = 0
        self.workers: dict[str, socket.socket] = {}

    def welcome(self, name: str) -> None:
        """Takes the next worker in and waits until it has all state."""
        self._socket.settimeout(PATIENCE * 2)
        connection, _ = self._socket.accept()
        connection.settimeout(PATIENCE)
        assert json.loads(connection.recv(65_536)) == {"hello": "worker", "name": name}
        self.workers[name] = connection
        self._tell([connection], kind="state", revision=self.revision, lines=self.lines, kills=self.kills)

    def say(self, **message: Any) -> None:
        """Gives an order to all workers and waits until it is in force in each."""
        match message["kind"]:
            case "line":
                self.lines[message["line"]] = message["state"]
            case "kill":
                self.kills.append(message)
        self._tell(list(self.workers.values()), **message)

    def _tell(self, connections: Iterable[socket.socket], **message: Any) -> None:
        self.seq += 1
        for connection in connections:
            connection.send(json.dumps({"seq": self.seq, **message}).encode())
        for connection in connections:
            while json.loads(connection.recv(65_536))["ack"] != self.seq:
                pass

    def close(self) -> None:
        for connection in (*self.workers.values(), self._socket):
            connection.close()


def opened(spec: dict[str, Any], port: int) -> socket.socket:
    """A listening socket, a transparent one as the supervisor opens it."""
    if spec.get("kind") == "transparent":
        return listen(Listener(name="t", address=f"{GATEWAY}:{port}", **spec))
    return socket.create_server((GATEWAY, port), backlog=1024)


class Worker:
    """A worker process and its ports, by listener; port: that of the node's chief one."""

    def __init__(self, node: "Node", name: str, ports: dict[str, int], descriptors: int) -> None:
        self.node, self.name, self.ports, self.port = node, name, ports, ports[node.listener]
        self.said = node.directory / f"{name}.log"
        with node.ground.gateway.inside(), self.said.open("wb") as log:
            listeners = {key: opened(node.listeners[key], port) for key, port in ports.items()}

            def before() -> None:
                if descriptors:
                    resource.setrlimit(resource.RLIMIT_NOFILE, (descriptors, descriptors))

            environment = os.environ | {
                "FEIYU_CONFIG": str(node.config), "FEIYU_BOOT": BOOT, "FEIYU_PROCESS": name,
                "FEIYU_LISTEN_FDS": json.dumps({key: [sock.fileno()] for key, sock in listeners.items()}),
            }  # fmt: skip
            self.process = subprocess.Popen(
                [sys.executable, "-m", "ops.worker"], cwd=CODE, env=environment, stdin=subprocess.DEVNULL, stdout=log,
                stderr=log, pass_fds=[sock.fileno() for sock in listeners.values()],
                preexec_fn=before, start_new_session=True,  # noqa: PLW1509 - sets a limit of the child, before exec
            )  # fmt: skip
            for sock in listeners.values():
                sock.close()
        self.pid = self.process.pid

    def descriptors(self) -> int:
        """How many it has open."""
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    def anonymous(self) -> int:
        """Anonymous memory in kB."""
        for text in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if text.startswith("RssAnon:"):
                return int(text.split()[1])
        raise AssertionError("no RssAnon")

    def ended(self, seconds: float = PATIENCE) -> int:
        """Waits for its end and returns the status."""
        self.node.hub.workers.pop(self.name, None)
        return self.process.wait(seconds)

    def kill(self) -> None:
        """kill -9."""
        self.process.kill()
        self.ended()

    def stop(self) -> None:
        """SIGTERM twice: ends at once."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            time.sleep(0.05)
            if self.process.poll() is None:
                self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()


class Node:
    """Directories, policy, hub and workers. Use as a context manager; its end checks all records and logs. listeners:
    those beside the plain one, with their settings."""

    _ports = iter(range(3128, 9000))
    listener = "plain"  # the chief one

    def __init__(self, ground: Ground, directory: Path, *, recorder: bool = False, **settings: Any) -> None:
        self.ground, self.directory = ground, directory
        self.listeners: dict[str, dict[str, Any]] = {"plain": {}, **settings.pop("listeners", {})}
        self.run, self.state = directory / "run", directory / "state"
        self.spool = self.run / "spool"
        self.spool.mkdir(parents=True)
        keys = self.state / "keys"
        keys.mkdir(parents=True)
        (self.state / "usage").mkdir()
        key = Ed25519PrivateKey.generate()
        (keys / "snapshot.pub").write_bytes(key.public_key().public_bytes_raw())
        self.publisher = Publisher(self.state / "snapshot", key.private_bytes_raw())
        self.policy = document()
        self._publish_all()
        self.config = directory / "feiyu.yaml"
        self.config.write_text(
            json.dumps(
                {
                    "node": "gw1.zone.example",
                    "state_dir": str(self.state),
                    "run_dir": str(self.run),
                    "workers": 4,
                    "listeners": [
                        {"name": name, "address": f"{GATEWAY}:{3128 + n}", **more}
                        for n, (name, more) in enumerate(self.listeners.items())
                    ],
                    "access": [{"interface": "acc0", "site": "s1", "room": "r1", "prefixes": ["10.0.0.0/24"]}],
                    "timeouts": {"handshake": 2, "dial": 3, "idle": 30, "total": 60, "drain": 3}
                    | settings.pop("timeouts", {}),
                    "limits": {"stranger_refusals_per_second": 100_000} | settings.pop("limits", {}),
                    **settings,
                }
            )
        )
        self.hub = Hub(self.run / "live.sock")
        self.workers: dict[str, Worker] = {}
        self._records: list[dict[str, Any]] = []
        self._read: dict[str, int] = {}  # bytes of each spool file
        self.heard = True  # whether the recorder is there
        self.failed = ""  # what it says is wrong with it
        self.real_recorder: subprocess.Popen[bytes] | None = None
        self._over = threading.Event()
        if recorder:
            self._start_recorder()
        else:
            self._status = open_status(self.spool)
            self._beat = threading.Thread(target=self._beats, daemon=True)
            self._beat.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        for worker in self.workers.values():
            worker.stop()
        if self.real_recorder is not None:
            self.real_recorder.terminate()
            self.real_recorder.wait(PATIENCE)
        else:
            self._over.set()
            self._beat.join()
            os.close(self._status)
        self.hub.close()
        self.publisher.close()
        if kind is None and self.real_recorder is None:
            self.check()

    def worker(self, name: str = "w0.1", descriptors: int = 0) -> Worker:
        """Starts a worker and waits until it serves."""
        worker = Worker(self, name, {key: next(self._ports) for key in self.listeners}, descriptors)
        self.workers[name] = worker
        try:
            self.hub.welcome(name)
        except OSError:
            raise AssertionError(f"{name} does not come up: {worker.said.read_text()}") from None
        return worker

    # ---- policy

    def put(self, **things: Any) -> None:
        """Replaces things of the policy, e.g. grants=grant(…), or removes: grants="id"; tells the workers."""
        changes = []
        for collection, thing in things.items():
            for one in thing if isinstance(thing, list) else [thing]:
                gone = isinstance(one, str)
                name = f"{collection}:{one if gone else one.id}"
                before = self.policy.pop(name, None)
                if not gone:
                    self.policy[name] = one
                changes.append(Changed(collection, name.partition(":")[2], "edit", before, None if gone else one))
        self.hub.revision += 1
        self.publisher.publish(changes, self.hub.revision)
        self.hub.say(kind="revision", revision=self.hub.revision)

    def restore(self) -> None:
        """The policy, the lines and the orders as they were at first."""
        first = document()
        changed: dict[str, list[Any]] = {}
        for name in {*first, *self.policy}:
            collection, _, key = name.partition(":")
            if first.get(name) != self.policy.get(name):
                changed.setdefault(collection, []).append(first.get(name, key))
        if changed:
            self.put(**changed)
        for name in [name for name, state in self.hub.lines.items() if state != "up"]:
            self.hub.say(kind="line", line=name, state="up")
        for kill in self.hub.kills:
            self.hub.say(kind="unkill", id=kill["id"])
        self.hub.kills.clear()

    def _publish_all(self) -> None:
        found: dict[str, list[Any]] = {}
        for name, thing in self.policy.items():
            found.setdefault(name.partition(":")[0], []).append(thing)
        self.publisher.publish_all(Document(**found), 1)

    # ---- records

    def records(self) -> list[dict[str, Any]]:
        """All that stands in the spool, in order of worker and number."""
        for path in self.spool.iterdir():
            if parse_name(path.name):
                at = self._read.get(path.name, 0)
                with path.open("rb") as file:
                    file.seek(at)
                    data = file.read()
                data = data[: data.rfind(b"\n") + 1]
                self._read[path.name] = at + len(data)
                self._records += [json.loads(text) for text in data.splitlines()]
        self._records.sort(key=lambda r: (r["worker"], r["seq"]))
        return self._records

    def of(self, talk: Talk) -> list[dict[str, Any]]:
        """The records of a client's connection."""
        return [r for r in self.records() if r.get("client_port") == talk.port]

    def final(self, talk: Talk, count: int = 1, seconds: float = PATIENCE) -> dict[str, Any]:
        """The last of so many final records of a client's connection, once they are there."""
        finals: list[dict[str, Any]] = []

        def there() -> bool:
            finals[:] = [r for r in self.of(talk) if r["kind"] in FINAL]
            return len(finals) >= count

        until(there, f"{count} final records of the connection from port {talk.port}", seconds)
        assert len(finals) == count, finals
        return finals[-1]

    def check(self) -> None:
        """Numbers without a gap, one final record per flow, and no word of a defect."""
        by_worker: dict[str, list[int]] = {}
        kinds: dict[str, Counter[str]] = {}
        for r in self.records():
            by_worker.setdefault(r["worker"], []).append(r["seq"])
            if r.get("flow"):
                kinds.setdefault(r["flow"], Counter())[r["kind"]] += 1
        for name, numbers in by_worker.items():
            assert numbers == list(range(1, len(numbers) + 1)), f"{name}: gaps in {numbers}"
        killed = {name for name, w in self.workers.items() if w.process.returncode == -signal.SIGKILL}
        owner = {r["flow"]: r["worker"] for r in self.records() if r.get("flow")}
        for flow, found in kinds.items():
            if found["request"]:  # inside an inspected tunnel
                assert found["request"] == found["response"] + found["deny"] == 1, (flow, found)
                continue
            whole = (found["deny"] + found["portal"], found["open"], found["close"])
            assert whole in ((1, 0, 0), (0, 1, 1)) or (owner[flow] in killed and whole == (0, 1, 0)), (flow, found)
        for worker in self.workers.values():
            said = worker.said.read_text()
            assert "internal error" not in said, said
            assert "Traceback" not in said, said

    # ---- the recorder

    def _beats(self) -> None:
        while not self._over.is_set():
            now = time.monotonic()
            write_status(self._status, Status(now, now if self.heard else 0.0, self.failed))
            self._over.wait(0.3)

    def _start_recorder(self) -> None:
        with (self.directory / "recorder.log").open("wb") as log:
            self.real_recorder = subprocess.Popen(
                [sys.executable, "-m", "telemetry.recorder", "--state-dir", str(self.state), "--run-dir", str(self.run),
                 "--node", "gw1.zone.example", "--boot", BOOT],
                cwd=CODE, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip

    # ---- a client's first words

    def connect(self, worker: Worker, authority: str, firm: str = "acme", *, number: int = 0, more: bytes = b"",
                receive_buffer: int = 0) -> Talk:  # fmt: skip
        """Sends a CONNECT; the answer is not read."""
        head = f"CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n"
        head += f"Proxy-Authorization: {authorization(firm, number)}\r\n\r\n"
        return self.ground.dial(worker.port, firm, receive_buffer).say(head.encode() + more)

    def tunnel(self, worker: Worker, authority: str, firm: str = "acme", **more: Any) -> Talk:
        """A CONNECT that is answered with 200."""
        talk = self.connect(worker, authority, firm, **more)
        head = talk.head()
        assert head.startswith("HTTP/1.1 200 "), head + talk.rest().decode("utf-8", "replace")
        return talk


__all__ = ["Node", "Worker", "authorization", "credential", "grant", "line", "replace", "service", "tenant"]

"""A real supervisor over real processes: restart, drain, reload, replacement, its own death."""

import contextlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from ops import privileges
from ops.hub_client import send
from telemetry.evidence.note import COSIGNATURE, VerifierKey

ROOT = Path(__file__).parents[2]
PATIENCE = 15.0  # seconds; only a failing test waits that long


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


@dataclass
class Node:
    """A node of stand-ins in a directory of its own."""

    directory: Path
    port: int
    popen: subprocess.Popen[bytes] | None = None
    wrap: Callable[[list[str]], list[str]] = list

    @property
    def config(self) -> Path:
        return self.directory / "feiyu.yaml"

    def write(self, workers: int = 2, drain: float = 1, extra: str = "") -> None:
        self.config.write_text(
            f"node: gw1\nrun_dir: {self.directory}/run\nstate_dir: {self.directory}/state\nworkers: {workers}\n"
            f'listeners: [{{name: plain, address: "127.0.0.1:{self.port}"}}]\ntimeouts: {{drain: {drain}}}\n{extra}'
        )

    def misbehave(self, **roles: str) -> None:
        (self.directory / "roles").write_text(json.dumps(roles))

    def start(self) -> None:
        environment = os.environ | {"PYTHONPATH": str(ROOT), "STAND_IN_ROLES": str(self.directory / "roles")}
        with (self.directory / "log").open("ab") as log:
            command = [sys.executable, str(Path(__file__).with_name("node_under_test.py")), str(self.config)]
            self.popen = subprocess.Popen(
                self.wrap(command), env=environment, stdout=log, stderr=log, cwd=self.directory
            )

    def up(self, **settings: Any) -> None:
        self.write(**settings)
        self.start()
        self.until(lambda: self.ask("/ready")[0] == 200)

    @property
    def pid(self) -> int:
        assert self.popen
        return self.popen.pid

    def log(self) -> str:
        return (self.directory / "log").read_text()

    def ask(self, path: str = "/live") -> tuple[int, dict[str, Any]]:
        try:
            with socket.socket(socket.AF_UNIX) as sock:
                sock.settimeout(PATIENCE)
                sock.connect(f"{self.directory}/run/supervisor.sock")
                sock.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
                head, _, body = sock.makefile("rb").read().partition(b"\r\n\r\n")
        except OSError:
            return 0, {}
        return int(head.split()[1]), json.loads(body)

    def child(self, name: str) -> dict[str, Any]:
        return next((child for child in self.ask()[1].get("children", ()) if child["name"] == name), {})

    def until(self, holds: Callable[[], Any]) -> None:
        end = time.monotonic() + PATIENCE
        while not holds():
            assert time.monotonic() < end, self.log()
            assert self.popen
            assert self.popen.poll() is None, self.log()
            time.sleep(0.02)

    def settled(self, name: str) -> None:
        self.until(lambda: self.child(name)["state"] == "ready")

    def hangup(self) -> dict[str, Any]:
        before = self.ask()[1]["reload"]["at"]
        os.kill(self.pid, signal.SIGHUP)
        self.until(lambda: self.ask()[1]["reload"]["at"] != before and self.ask()[1]["reload"]["result"] != "running")
        reload: dict[str, Any] = self.ask()[1]["reload"]
        return reload

    def client(self) -> tuple[str, socket.socket]:
        """Connects, and the process that answered; raises what the kernel says."""
        sock = socket.create_connection(("127.0.0.1", self.port), PATIENCE)
        return sock.makefile("r").readline().strip(), sock

    def hub(self, message: dict[str, Any]) -> dict[str, Any]:
        return send(self.directory / "run" / "live.sock", message)

    def pids(self) -> list[int]:
        return [child["pid"] for child in self.ask()[1]["children"] if child["pid"]]


def ended(pids: list[int]) -> bool:
    """Whether all have ended, waiting for it."""
    end = time.monotonic() + PATIENCE
    for pid in pids:
        try:
            watch = os.pidfd_open(pid)
        except ProcessLookupError:
            continue
        try:
            if not select.select([watch], [], [], max(0.0, end - time.monotonic()))[0]:
                return False
        finally:
            os.close(watch)
    return True


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    made = Node(tmp_path, free_port())
    made.misbehave()
    yield made
    if made.popen:
        made.popen.kill()  # children then get their death signal
        made.popen.wait()


def test_what_dies_is_started_again_within_a_second(node: Node) -> None:
    node.up()
    for name in ("w0", "control", "lines", "recorder"):
        pid = node.child(name)["pid"]
        killed = time.monotonic()
        os.kill(pid, signal.SIGKILL)
        while node.child(name)["pid"] in (0, pid):
            assert time.monotonic() - killed < 1, f"{name} was not started again within a second"
            time.sleep(0.01)
        node.settled(name)
        after = node.child(name)
        assert (after["process"], after["restarts"]) == (f"{name}.2", 1)
        assert after["last_exit"] == "ended by signal 9 (Killed)"
    assert "w0.1: started" in node.log()
    assert "w0.1: to stderr\\x1b[31m" in node.log(), "one line per line, without control characters"


def test_clients_of_a_dead_worker_wait_for_its_successor(node: Node) -> None:
    node.up(workers=1)
    first = node.child("w0")["pid"]
    os.kill(first, signal.SIGSTOP)  # so that the client is surely still in the queue when it is killed
    with socket.create_connection(("127.0.0.1", node.port), PATIENCE) as sock:
        os.kill(first, signal.SIGKILL)
        assert sock.makefile("r").readline() == "w0.2\n"


def test_one_that_keeps_dying_is_shown_and_tried_again(node: Node) -> None:
    node.up()
    node.misbehave(lines="crash")
    os.kill(node.child("lines")["pid"], signal.SIGKILL)
    node.until(lambda: node.child("lines")["degraded"])
    assert node.ask("/ready")[0] == 503
    assert node.ask("/live")[0] == 200
    assert "lines.2: about to crash" in node.log()
    assert node.child("lines")["last_exit"] == "ended with 3"
    node.misbehave()
    node.until(lambda: node.child("lines")["state"] == "ready")
    assert "DEGRADED" in node.log()


def test_sigterm_drains_the_workers_then_ends_the_recorder_last(node: Node) -> None:
    node.up(drain=5)
    pids = node.pids()
    name, client = node.client()
    os.kill(node.pid, signal.SIGTERM)
    node.until(lambda: node.child("w0")["state"] == "stopping")
    node.until(lambda: refused(node))
    assert any(name.startswith(child["name"]) for child in node.ask()[1]["children"] if child["pid"])
    assert node.child("recorder")["state"] == "ready", "while a worker drains, the recorder takes its records"
    client.close()
    assert node.popen
    assert node.popen.wait(PATIENCE) == 0
    assert ended(pids)
    order = [
        line.split()[1]
        for line in node.log().splitlines()
        if line.startswith("supervisor: ") and " ended with 0" in line
    ]
    assert order[-1] == "recorder.1"
    assert sorted(order[:2]) == ["w0.1", "w1.1"]
    assert not (node.directory / "run" / "live.sock").exists()


def refused(node: Node) -> bool:
    try:
        socket.create_connection(("127.0.0.1", node.port), PATIENCE).close()
    except ConnectionRefusedError:
        return True
    return False


def test_one_that_ignores_sigterm_is_killed(node: Node) -> None:
    node.misbehave(control="stubborn")
    node.up()
    os.kill(node.pid, signal.SIGTERM)
    assert node.popen
    assert node.popen.wait(PATIENCE) == 0
    assert "is killed: did not end within 2 s of SIGTERM" in node.log()


def test_a_second_sigterm_does_not_wait(node: Node) -> None:
    node.up(workers=1, drain=600)
    _, client = node.client()
    with client:
        os.kill(node.pid, signal.SIGTERM)
        node.until(lambda: node.child("w0")["state"] == "stopping")
        os.kill(node.pid, signal.SIGTERM)
        assert node.popen
        assert node.popen.wait(PATIENCE) == 0
    assert "w0.1" in node.log()
    assert "is killed: hurried" in node.log()


BROKEN = {
    "not YAML": ("node: [", "feiyu.yaml:1: not YAML"),
    "an unknown key": ("{good}workerz: 3\n", "unknown key 'workerz'; expected 'workers', perhaps"),
    "another run_dir": ("{good}", "run_dir cannot change while the node runs"),
    "an address that this host has not": ("{good}", "cannot listen on 192.0.2.1:3128: Cannot assign requested address"),
}


@pytest.mark.parametrize(("text", "why"), BROKEN.values(), ids=BROKEN)
def test_a_bad_reload_changes_nothing_and_says_why(node: Node, text: str, why: str) -> None:
    node.up()
    before = node.pids()
    settings = (node.directory / "run" / "settings.json").read_text()
    text = text.replace("{good}", node.config.read_text())
    if "run_dir" in why:
        text = text.replace("/run\n", "/run2\n")
    if "assign" in why:
        text = text.replace(f"127.0.0.1:{node.port}", "192.0.2.1:3128")
    node.config.write_text(text)
    reload = node.hangup()
    assert reload["result"] == "rejected"
    assert why in reload["detail"]
    assert reload["refused"] == 1
    assert f"supervisor: reload rejected: {reload['detail'].splitlines()[0]}" in node.log()
    assert node.pids() == before
    assert (node.directory / "run" / "settings.json").read_text() == settings
    os.kill(before[0], signal.SIGKILL)  # what restarts now reads what was accepted, not the broken file
    node.until(lambda: node.ask("/ready")[0] == 200)
    assert node.client()[0] in ("w0.1", "w1.1")
    node.write()
    assert node.hangup()["result"] == "ok"


def test_a_reload_begins_and_ends_the_process_that_asks_witnesses(node: Node) -> None:
    node.misbehave(cosigner="deaf")  # it has no business with the hub
    node.up()
    assert node.child("cosigner") == {}
    key = VerifierKey("w1.example", COSIGNATURE, bytes(32))
    node.write(extra=f"evidence: {{witnesses: [{{url: 'http://127.0.0.1:9', key: '{key}'}}]}}\n")
    assert node.hangup()["result"] == "ok"
    node.settled("cosigner")
    node.write()
    assert node.hangup()["result"] == "ok"
    node.until(lambda: node.child("cosigner") == {})


def test_a_reload_replaces_all_workers_without_a_refused_connection(node: Node) -> None:
    node.up()
    stop, answers, failures = threading.Event(), [], []

    def call() -> None:
        while not stop.is_set():
            try:
                name, sock = node.client()
                sock.close()
                answers.append(name)
            except OSError as error:
                failures.append(error)

    caller = threading.Thread(target=call)
    caller.start()
    try:
        old_name, old = node.client()
        assert node.hangup()["result"] == "ok"
        node.until(lambda: {"w0.2", "w1.2"} <= set(answers))
        assert node.hangup()["result"] == "ok"
        node.until(lambda: {"w0.3", "w1.3"} <= set(answers))
        old.sendall(b"still here")
        assert old_name.endswith(".1")
        assert node.child("control")["restarts"] == 0
        assert node.child("control")["process"] == "control.1", "nothing changed for the others"
    finally:
        stop.set()
        caller.join()
    old.close()
    assert failures == []
    assert "" not in answers, "a connection was accepted and dropped"


def test_a_replacement_takes_what_waits_in_its_predecessors_queue(node: Node) -> None:
    node.up()
    old = [node.child(name)["pid"] for name in ("w0", "w1")]
    for pid in old:
        os.kill(pid, signal.SIGSTOP)
    waiting = [socket.create_connection(("127.0.0.1", node.port), PATIENCE) for _ in range(20)]
    assert node.hangup()["result"] == "ok"
    answers = {sock.makefile("r").readline() for sock in waiting}
    assert answers == {"w0.2\n", "w1.2\n"}
    for pid in old:
        os.kill(pid, signal.SIGCONT)
    assert ended(old)
    for sock in waiting:
        sock.close()


def test_fewer_workers_leave_no_queue_behind_and_more_join(node: Node) -> None:
    node.up(workers=3)
    node.write(workers=1)
    assert node.hangup()["result"] == "ok"
    node.until(lambda: [child["name"] for child in node.ask()[1]["children"] if child["role"] == "worker"] == ["w0"])
    for _ in range(30):  # the kernel spreads them over all three sockets
        name, sock = node.client()
        sock.close()
        assert name == "w0.2"
    node.write(workers=2)
    assert node.hangup()["result"] == "ok"
    assert node.child("w1")["state"] == "ready"
    assert node.child("control")["process"] == "control.3"


def test_a_listener_moves(node: Node) -> None:
    node.up()
    old, node.port = node.port, free_port()
    node.write()
    assert node.hangup()["result"] == "ok"
    assert node.client()[0].startswith("w")
    node.port = old
    node.until(lambda: refused(node))


def test_workers_that_do_not_get_ready_are_not_taken(node: Node) -> None:
    node.up()
    node.misbehave(worker="crash")
    reload = node.hangup()
    assert reload["result"] == "failed"
    assert "w0 did not become ready" in reload["detail"]
    assert node.child("w0")["process"] == "w0.1"
    assert node.client()[0] in ("w0.1", "w1.1")


def test_a_worker_that_does_not_acknowledge_is_killed_and_replaced(node: Node) -> None:
    node.up()
    node.misbehave(worker="silent")
    os.kill(node.child("w0")["pid"], signal.SIGKILL)
    node.until(lambda: node.child("w0")["process"] == "w0.2" and node.child("w0")["state"] == "ready")
    node.misbehave()
    answer = node.hub({"kind": "kill", "scope": "all", "id": "k1"})
    assert answer["killed"] == ["w0.2"]
    assert answer["acked"] == ["w1.1"]
    node.until(lambda: node.child("w0")["process"] == "w0.3" and node.child("w0")["state"] == "ready")
    assert "is killed: w0.2 did not acknowledge message" in node.log()


def test_a_stopped_worker_is_killed(node: Node) -> None:
    node.up()
    pid = node.child("w0")["pid"]
    os.kill(pid, signal.SIGSTOP)
    assert node.hub({"kind": "cut", "flow": "F1"})["killed"] == ["w0.1"]
    assert ended([pid])


def test_a_worker_that_leaves_live_control_is_killed(node: Node) -> None:
    node.up()
    node.misbehave(worker="quitter")
    os.kill(node.child("w0")["pid"], signal.SIGKILL)
    node.until(lambda: "it left live control and still ran 1 s later" in node.log())
    node.misbehave()
    node.until(lambda: node.ask("/ready")[0] == 200)


def test_status_by_the_hub_shows_children_and_what_is_in_force(node: Node) -> None:
    node.up(workers=1)
    node.hub({"kind": "kill", "scope": "tenant", "value": "t1", "id": "k1"})
    status = node.hub({"kind": "status"})["status"]
    assert [kill["id"] for kill in status["kills"]] == ["k1"]
    assert [child["name"] for child in status["children"]] == ["recorder", "control", "streams", "lines", "w0"]
    assert status["reload"]["result"] == "none"

    def subscribers() -> list[str]:
        return [peer["name"] for peer in node.hub({"kind": "status"})["status"]["subscribers"]]

    node.until(lambda: subscribers() == ["lines.1", "w0.1"])  # lines is ready before it is there


def test_nobody_outlives_a_killed_supervisor_and_the_kills_stay(node: Node) -> None:
    node.up()
    node.hub({"kind": "kill", "scope": "all", "id": "k1"})
    pids = node.pids()
    assert node.popen
    node.popen.kill()
    node.popen.wait()
    assert ended(pids)
    node.start()
    node.until(lambda: node.ask("/ready")[0] == 200)
    assert [kill["id"] for kill in node.hub({"kind": "status"})["status"]["kills"]] == ["k1"]


def test_a_second_node_on_the_same_directory_does_not_start(node: Node) -> None:
    node.up()
    (node.directory / "run" / "counters").touch()
    command = [sys.executable, "-m", "ops.supervisor", "--config", str(node.config)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=PATIENCE)
    assert done.returncode == 1
    assert "another `feiyu up` runs on this run_dir" in done.stderr
    assert (node.directory / "run" / "counters").exists()
    assert node.ask("/ready")[0] == 200


UNABLE = {
    "a wrong configuration": ("workers: x\n", 2, "feiyu.yaml:1: workers: text ('x') is not a whole number; expected"),
    "an address in use": ("", 1, "Address already in use; another program listens there: `ss -ltnp` shows which"),
    "a directory that cannot be": ("file", 1, "run: File exists; it must be usable by this user"),
}


@pytest.mark.parametrize(("case", "status", "why"), UNABLE.values(), ids=UNABLE)
def test_a_node_that_cannot_start_says_why(node: Node, case: str, status: int, why: str) -> None:
    node.write()
    if case == "file":
        (node.directory / "run").touch()
    elif case:
        node.config.write_text(case)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", node.port))
        taken.listen()
        node.start()
        assert node.popen
        assert node.popen.wait(PATIENCE) == status
    assert why in node.log()


CAPABILITIES = {"worker": 1 << 13, "lines": 1 << 12, "control": 0, "recorder": 0, "streams": 0}


def assert_held(child: dict[str, Any], uid: int, gid: int) -> None:
    status = Path(f"/proc/{child['pid']}/status").read_text()
    for key in ("CapPrm", "CapEff", "CapBnd", "CapAmb", "CapInh"):
        assert f"{key}:\t{CAPABILITIES[child['role']]:016x}\n" in status, (child["name"], key)
    assert f"Uid:\t{uid}\t{uid}\t{uid}\t{uid}\n" in status
    assert f"Gid:\t{gid}\t{gid}\t{gid}\t{gid}\n" in status
    assert "NoNewPrivs:\t1\n" in status
    for entry in Path(f"/proc/{child['pid']}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # closed since
            assert "supervisor.lock" not in os.readlink(entry)


@pytest.mark.root
def test_children_hold_what_they_were_given_and_nothing_else(node: Node) -> None:
    node.up(workers=1)
    for child in node.ask()[1]["children"]:
        assert_held(child, 0, 0)


OPEN_UP = """
mkdir "$1" && mount --bind "$2" "$1" && mount -t tmpfs -o mode=755 none "$2" &&
mkdir "$2/$3" && mount --bind "$1/$3" "$2/$3" && shift 3 && exec "$@"
"""


def reachable(command: list[str], uid: int, aside: Path) -> list[str]:
    """The command, in a mount namespace where the interpreter is not hidden in somebody's home, if it is."""
    closed = privileges.unreachable([Path(sys.executable), ROOT / "ops" / "hub.py"], uid, uid)
    if closed is None:
        return command
    inside = Path(sys.executable).resolve().relative_to(closed).parts[0]
    return ["unshare", "--mount", "sh", "-c", OPEN_UP, "sh", str(aside), str(closed), inside, *command]


@pytest.mark.root
def test_every_process_runs_as_its_own_user_and_reaches_what_it_needs() -> None:
    base = 62000
    with tempfile.TemporaryDirectory(prefix="fyt-") as directory:
        Path(directory).chmod(0o755)  # a parent that other users may pass
        node = Node(
            Path(directory), free_port(), wrap=lambda command: reachable(command, base + 1, Path(directory) / "aside")
        )
        node.misbehave()
        try:
            (node.directory / "state").mkdir()
            (node.directory / "state" / "register.db").touch(0o600)  # made by root's `feiyu init`
            node.up(workers=1, extra=f"users: {{base: {base}}}\n")
            uids = {"lines": base, "worker": base + 1, "control": base + 2, "recorder": base + 3, "streams": base + 6}
            for child in node.ask()[1]["children"]:
                assert_held(child, uids[child["role"]], base + 9)
            assert node.client()[0] == "w0.1"
            assert node.hub({"kind": "kill", "scope": "all", "id": "k"})["acked"] == ["w0.1"]
            owners = {
                path: (node.directory / path).stat().st_uid
                for path in (
                    "run",
                    "run/spool",
                    "state",
                    "state/register.db",
                    "state/log",
                    "state/evidence",
                    "state/live.json",
                )
            }
            control, recorder = base + 2, base + 3
            assert list(owners.values()) == [0, recorder, control, control, recorder, recorder, 0]
            os.kill(node.pid, signal.SIGTERM)
            assert node.popen
            assert node.popen.wait(PATIENCE) == 0
        finally:
            if node.popen:
                node.popen.kill()
                node.popen.wait()


@pytest.mark.root
def test_users_that_could_not_run_the_interpreter_are_told(node: Node) -> None:
    closed = privileges.unreachable([Path(sys.executable)], 62001, 62009)
    if closed is None:
        pytest.skip("this interpreter is open to all")
    node.write(extra="users: {base: 62000}\n")
    node.start()
    assert node.popen
    assert node.popen.wait(PATIENCE) == 1
    assert f"users: uid 62001 could not run {sys.executable}: {closed} is closed to it; install where" in node.log()


def test_the_directories_are_closed_to_others(node: Node) -> None:
    node.up(workers=1)
    modes = {
        path: (node.directory / path).stat().st_mode & 0o7777 for path in ("run", "run/spool", "state", "state/keys")
    }
    assert modes == {"run": 0o1770, "run/spool": 0o3770, "state": 0o750, "state/keys": 0o750}
    assert (node.directory / "run/live.sock").stat().st_mode & 0o7777 == 0o660
    assert (node.directory / "state/live.json").stat().st_mode & 0o7777 == 0o600

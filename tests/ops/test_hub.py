"""The hub over its real socket: who may say what, what reaches whom, what stays over a restart."""

import asyncio
import hashlib
import json
import os
import socket
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import msgspec
import pytest
import pytest_asyncio

from gateway.live import Kill, KillScope, LineState, LiveKind, LiveMessage, ack, hello, parse
from ops import live_state
from ops.hub import Hub, Owner
from ops.hub_client import HubRefusedError, HubUnreachableError, send
from ops.hub_messages import Cut
from ops.live_state import DAMAGED_ID

ALL = frozenset({"worker", "lines", "control", "recorder", "cli"})


@dataclass
class Node:
    """A hub, and what it asked of its owner."""

    run: Path
    roles: dict[int, frozenset[str]] = field(default_factory=lambda: {os.geteuid(): ALL})
    killed: list[tuple[int, str]] = field(default_factory=list)
    lost: list[int] = field(default_factory=list)
    ready: list[int] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)
    hub: Hub | None = None

    def start(self) -> Hub:
        owner = Owner(
            kill=lambda pid, why: self.killed.append((pid, why)),
            lost=self.lost.append,
            ready=self.ready.append,
            status=lambda: {"children": []},
            log=self.lines.append,
        )
        self.hub = Hub(self.run / "live.sock", self.run / "live.json", self.roles, owner)
        self.hub.open(None)
        return self.hub

    async def send(self, message: dict[str, Any], role: str = "cli") -> dict[str, Any]:
        return await asyncio.to_thread(send, self.run / "live.sock", message, 5.0, role)

    async def worker(self, name: str = "w0.1", role: str = "worker") -> "Worker":
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        sock.settimeout(0)
        sock.connect(str(self.run / "live.sock"))
        sock.send(hello(name, role))
        return Worker(sock)


@dataclass
class Worker:
    sock: socket.socket

    async def get(self, acknowledge: bool = True) -> LiveMessage:
        async with asyncio.timeout(10):
            message = parse(await asyncio.get_running_loop().sock_recv(self.sock, 65_536))
        if acknowledge:
            self.sock.send(ack(message.seq))
        return message


@pytest_asyncio.fixture
async def node(tmp_path: Path) -> AsyncIterator[Node]:
    made = Node(tmp_path)
    made.start()
    yield made
    assert made.hub
    made.hub.close()


async def until(holds: Any, seconds: float = 10) -> None:
    async with asyncio.timeout(seconds):
        while not holds():  # noqa: ASYNC110  # what is waited for is another process's or a list
            await asyncio.sleep(0.005)


@pytest.mark.asyncio
async def test_a_kill_reaches_all_workers_is_acknowledged_and_stays(node: Node) -> None:
    first, second = await node.worker("w0.1"), await node.worker("w1.1")
    assert (await first.get()).kind is LiveKind.STATE
    assert (await second.get()).kind is LiveKind.STATE
    sending = asyncio.create_task(node.send({"kind": "kill", "scope": "tenant", "value": "t1", "id": "k1", "until": 0}))
    for worker in (first, second):
        message = await worker.get()
        assert message.kill() == Kill(id="k1", scope=KillScope.TENANT, value="t1")
    answer = await sending
    assert answer["acked"] == ["w0.1", "w1.1"]
    assert answer["killed"] == []
    assert answer["persisted"] is True
    assert live_state.load(node.run / "live.json")[0].kills == {"k1": Kill(id="k1", scope=KillScope.TENANT, value="t1")}


@pytest.mark.asyncio
async def test_after_a_restart_a_worker_is_told_everything_in_force(node: Node) -> None:
    await node.send({"kind": "revision", "revision": 7}, "control")
    await node.send({"kind": "line", "line": "l1", "state": "up", "detail": ""}, "lines")
    await node.send({"kind": "kill", "scope": "line", "value": "l2", "id": "k"})
    assert node.hub
    node.hub.close()
    node.start()
    state = await (await node.worker()).get()
    assert state.revision == 7
    assert state.lines == {"l1": LineState.UP}
    assert state.kills == (Kill(id="k", scope=KillScope.LINE, value="l2"),)
    answer = await node.send({"kind": "unkill", "id": "k"})
    assert answer["done"] > state.seq
    assert live_state.load(node.run / "live.json")[0].kills == {}


@pytest.mark.asyncio
async def test_a_retired_line_is_forgotten_and_workers_are_told_that_it_is_down(node: Node) -> None:
    for line in ("l1", "l2"):
        await node.send({"kind": "line", "line": line, "state": "up", "detail": ""}, "lines")
    worker = await node.worker()
    assert set((await worker.get()).lines) == {"l1", "l2"}
    sending = asyncio.create_task(
        node.send({"kind": "line", "line": "l1", "state": "down", "detail": "retired"}, "lines")
    )
    told = await worker.get()
    assert (told.kind, told.line, told.state) == (LiveKind.LINE, "l1", LineState.DOWN)
    assert (await sending)["persisted"] is True
    assert node.hub
    assert set(node.hub.overview()["lines"]) == {"l2"}
    assert set(live_state.load(node.run / "live.json")[0].lines) == {"l2"}


@pytest.mark.asyncio
async def test_sequence_numbers_rise_by_one_from_the_state_on(node: Node) -> None:
    worker = await node.worker()
    numbers = [(await worker.get()).seq]
    for revision in (1, 2, 2, 3):
        sending = asyncio.create_task(node.send({"kind": "revision", "revision": revision}, "control"))
        numbers.append((await worker.get()).seq)
        assert (await sending)["done"] == numbers[-1]
    assert numbers == list(range(numbers[0], numbers[0] + 5))


@pytest.mark.asyncio
async def test_a_silent_worker_is_killed_and_named_and_the_others_are_acknowledged(node: Node) -> None:
    silent, good = await node.worker("w0.1"), await node.worker("w1.1")
    await silent.get()
    await good.get()
    sending = asyncio.create_task(node.send({"kind": "cut", "flow": "F1"}))
    assert (await good.get()).flow == "F1"
    answer = await sending
    assert answer["acked"] == ["w1.1"]
    assert answer["killed"] == ["w0.1"]
    assert node.killed == [(os.getpid(), f"w0.1 did not acknowledge message {answer['done']} within 1 s")]


@pytest.mark.asyncio
async def test_a_worker_silent_on_its_state_is_killed(node: Node) -> None:
    await (await node.worker()).get(acknowledge=False)
    await until(lambda: node.killed)
    assert node.ready == []


@pytest.mark.asyncio
async def test_a_worker_without_connection_counts_as_silent_until_it_has_ended(node: Node) -> None:
    worker = await node.worker()
    await worker.get()
    await until(lambda: node.ready)
    worker.sock.close()
    await until(lambda: node.lost == [os.getpid()])
    answer = await node.send({"kind": "kill", "scope": "all", "id": "k"})
    assert answer["killed"] == ["w0.1"]
    sending = asyncio.create_task(node.send({"kind": "unkill", "id": "k"}))
    assert node.hub
    await until(lambda: node.hub.overview()["kills"] == [])
    node.hub.process_ended(os.getpid())
    answer = await sending
    assert (answer["killed"], answer["ended"]) == ([], ["w0.1"])


@pytest.mark.asyncio
async def test_a_stray_that_called_itself_a_worker_is_not_waited_for_once_it_left(node: Node) -> None:
    assert node.hub
    node.hub._owner = replace(node.hub._owner, lost=lambda pid: node.lost.append(pid) or False)
    stray = await node.worker("w9.9")
    await stray.get()
    stray.sock.close()
    await until(lambda: node.lost == [os.getpid()])
    answer = await node.send({"kind": "kill", "scope": "all", "id": "k"})
    assert (answer["killed"], answer["ended"]) == ([], [])


@pytest.mark.asyncio
async def test_a_worker_that_does_not_read_is_killed(node: Node) -> None:
    worker = await node.worker()
    await worker.get()
    assert node.hub
    answers = await asyncio.gather(*(node.hub.publish(Cut(flow="F" * 64)) for _ in range(1_000)))
    assert all(answer["killed"] == ["w0.1"] for answer in answers)
    assert any("w0.1 cannot be told" in line for line in node.lines)
    assert node.lost == [os.getpid()]


@pytest.mark.asyncio
async def test_cuts_are_counted(node: Node) -> None:
    worker = await node.worker()
    await worker.get()
    sending = asyncio.create_task(node.send({"kind": "cut", "flow": "F1"}))
    message = await worker.get(acknowledge=False)
    assert message.cause == "cut-by-operator"
    worker.sock.send(ack(message.seq, cut=1))
    assert (await sending)["cut"] == 1


@pytest.mark.asyncio
async def test_lines_are_told_revisions_only_and_are_never_waited_for(node: Node) -> None:
    lines = await node.worker("lines.1", "lines")
    assert (await lines.get()).kind is LiveKind.STATE
    await until(lambda: node.hub and node.hub.overview()["subscribers"][0]["synced"])
    answer = await node.send({"kind": "kill", "scope": "all", "id": "k"})
    assert (answer["acked"], answer["killed"]) == ([], [])
    await node.send({"kind": "revision", "revision": 3}, "control")
    assert (await lines.get()).revision == 3
    assert node.killed == []


@pytest.mark.asyncio
async def test_a_kill_ends_by_its_time(node: Node) -> None:
    worker = await node.worker()
    await worker.get()
    end = int(time.time()) + 2
    sending = asyncio.create_task(node.send({"kind": "kill", "scope": "all", "id": "k", "until": end}))
    assert (await worker.get()).until == end
    await sending
    message = await worker.get()
    assert (message.kind, message.id) == (LiveKind.UNKILL, "k")
    assert time.time() >= end
    assert live_state.load(node.run / "live.json")[0].kills == {}


REFUSED = {
    "a worker publishes nothing": ("worker", {"kind": "unkill", "id": "k"}, "role worker may publish nothing"),
    "lines cannot kill": ("lines", {"kind": "kill", "scope": "all", "id": "k"}, "may publish line, status"),
    "the recorder cannot release": ("recorder", {"kind": "unkill", "id": "k"}, "may publish cut, kill, status"),
    "an operator is not the compiler": ("cli", {"kind": "revision", "revision": 1}, "role cli may publish"),
    "a kind that is none": ("cli", {"kind": "reboot"}, "not 'reboot'"),
    "no kind": ("cli", {"x": 1}, "not None"),
    "a list": ("cli", [1], "not None"),
    "a kill without id": ("cli", {"kind": "kill", "scope": "all"}, "missing required field `id`"),
    "an unknown scope": ("cli", {"kind": "kill", "scope": "world", "id": "k"}, "Invalid enum value 'world'"),
    "all of something": ("cli", {"kind": "kill", "scope": "all", "value": "t", "id": "k"}, "takes no value"),
    "a tenant without a name": ("cli", {"kind": "kill", "scope": "tenant", "id": "k"}, "names one"),
    "a time that is over": ("cli", {"kind": "kill", "scope": "all", "id": "k", "until": 5}, "already over"),
    "an id with a line break": ("cli", {"kind": "kill", "scope": "all", "id": "k\n"}, "matching regex"),
    "releasing what is not there": ("cli", {"kind": "unkill", "id": "no"}, "no kill 'no' is in force"),
    "a line state that is none": ("lines", {"kind": "line", "line": "l", "state": "ok"}, "Invalid enum value"),
    "a negative revision": ("control", {"kind": "revision", "revision": -1}, ">= 0"),
    "the recorder kills for no rule": (
        "recorder", {"kind": "kill", "scope": "tenant", "value": "t", "id": "k"}, "only for a rule",
    ),
    "the recorder cuts for no rule": ("recorder", {"kind": "cut", "flow": "F"}, "only for a rule"),
    "a rule that would stop everything": (
        "recorder", {"kind": "kill", "scope": "all", "id": "k", "rule": "r"},
            "a tenant, a user, a line or a destination",
    ),
    "a throttle by a person": (
        "cli", {"kind": "kill", "scope": "tenant", "value": "t", "id": "k", "rate": 5}, "only a rule throttles",
    ),
    "a throttle of a line": (
        "recorder", {"kind": "kill", "scope": "line", "value": "l", "id": "k", "rule": "r", "rate": 5}, "only a tenant",
    ),
    "a role that is none": ("root", {"kind": "status"}, "may not be 'root'"),
}  # fmt: skip


def test_rules_leave_room_for_people() -> None:
    state = live_state.LiveState()
    for number in range(live_state.MAX_BLOCKS):
        state.engage(Kill(id=f"r-{number}", scope=KillScope.TENANT, value="t", rule="r"), 0.0)
    with pytest.raises(live_state.RefusedError, match="50 blocks by rules"):
        state.engage(Kill(id="r-x", scope=KillScope.TENANT, value="t", rule="r"), 0.0)
    state.engage(Kill(id="r-1", scope=KillScope.TENANT, value="u", rule="r"), 0.0)
    state.engage(Kill(id="k1", scope=KillScope.ALL), 0.0)
    assert state.kills["r-1"].value == "u"


@pytest.mark.asyncio
@pytest.mark.parametrize(("role", "message", "why"), REFUSED.values(), ids=REFUSED)
async def test_refused(node: Node, role: str, message: Any, why: str) -> None:
    before = (node.run / "live.json").read_bytes()
    with pytest.raises(HubRefusedError) as caught:
        await node.send(message, role)
    assert why in str(caught.value)
    assert (node.run / "live.json").read_bytes() == before


GARBAGE = {
    "no JSON": b"\xff\xfe",
    "a packet too long": b'{"kind":"status","x":"' + b"x" * 70_000 + b'"}',
    "an acknowledgement of a publisher": b'{"ack":1}',
    "nesting": b"[" * 60_000,
}


@pytest.mark.asyncio
@pytest.mark.parametrize("packet", GARBAGE.values(), ids=GARBAGE)
async def test_garbage_harms_nobody(node: Node, packet: bytes) -> None:
    worker = await node.worker("cli-1", "cli")
    worker.sock.send(packet)
    async with asyncio.timeout(10):
        assert b"error" in await asyncio.get_running_loop().sock_recv(worker.sock, 65_536)
    assert (await node.send({"kind": "status"}))["status"]["kills"] == []


@pytest.mark.asyncio
async def test_a_stranger_is_turned_away(node: Node) -> None:
    node.roles.clear()
    with pytest.raises(HubUnreachableError, match=r"live\.sock: "):
        await node.send({"kind": "status"})
    assert any(f"turned away process {os.getpid()}" in line for line in node.lines)


@pytest.mark.asyncio
async def test_a_user_may_only_be_its_own_role(node: Node) -> None:
    node.roles[os.geteuid()] = frozenset({"worker"})
    with pytest.raises(HubRefusedError, match="may not be 'control'"):
        await node.send({"kind": "revision", "revision": 9}, "control")


DAMAGE = {
    "cut short": lambda data: data[:-20],
    "empty": lambda _: b"",
    "a kill edited out": lambda data: data.replace(b'"id":"k"', b'"id":"j"'),
    "of another version": lambda _: live_state_of_version(2),
}


def live_state_of_version(version: int) -> bytes:
    raw = json.dumps({"version": version, "seq": 1, "revision": 1, "lines": {}, "kills": []})
    return b'{"state":%s,"sha256":"%s"}' % (raw.encode(), hashlib.sha256(raw.encode()).hexdigest().encode())


@pytest.mark.asyncio
@pytest.mark.parametrize("harm", DAMAGE.values(), ids=DAMAGE)
async def test_a_damaged_state_kills_everything_until_an_operator_clears_it(node: Node, harm: Any) -> None:
    await node.send({"kind": "kill", "scope": "tenant", "value": "t", "id": "k"})
    assert node.hub
    for _ in range(2):  # the second start reads what the first stored
        node.hub.close()
        if not (node.run / "live.json.damaged").exists():
            (node.run / "live.json").write_bytes(harm((node.run / "live.json").read_bytes()))
        node.start()
        state = await (await node.worker()).get()
        assert state.kills == (Kill(id=DAMAGED_ID, scope=KillScope.ALL),)
    assert any("is damaged" in line and "systemctl stop feiyu && rm " in line for line in node.lines)
    assert (node.run / "live.json.damaged").exists()
    node.hub.close()
    node.start()
    await node.send({"kind": "unkill", "id": DAMAGED_ID})
    assert live_state.load(node.run / "live.json") == (live_state.LiveState(seq=node.hub.state.seq), "")


@pytest.mark.asyncio
async def test_a_kill_works_when_the_disk_does_not(node: Node) -> None:
    (node.run / "live.json.new").mkdir()  # cannot be opened for writing, by root neither
    worker = await node.worker()
    await worker.get()
    sending = asyncio.create_task(node.send({"kind": "kill", "scope": "all", "id": "k"}))
    assert (await worker.get()).scope is KillScope.ALL
    answer = await sending
    assert (answer["acked"], answer["persisted"]) == (["w0.1"], False)
    assert any("cannot be written" in line for line in node.lines)
    (node.run / "live.json.new").rmdir()
    assert (await node.send({"kind": "kill", "scope": "tenant", "value": "t", "id": "k2"}))["persisted"] is True


def test_without_a_hub_the_client_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(HubUnreachableError, match=r"live.sock: No such file or directory; is `feiyu up` running\?"):
        send(tmp_path / "live.sock", {"kind": "status"})


def test_the_fullest_state_fits_one_packet() -> None:
    kills = tuple(
        Kill(
            id=f"{n:064}",
            scope=KillScope.DESTINATION,
            value="x" * 253,
            until=1 << 40,
            rule="r" * 64 if n < live_state.MAX_BLOCKS else "",
            rate=100_000 if n < live_state.MAX_BLOCKS else 0,
        )
        for n in range(live_state.MAX_KILLS)
    )
    lines = {f"{n:064}": LineState.DRAINING for n in range(live_state.MAX_LINES)}
    packet = msgspec.json.encode(
        LiveMessage(seq=1 << 50, kind=LiveKind.STATE, revision=1 << 50, lines=lines, kills=kills)
    )
    assert len(packet) <= 65_536

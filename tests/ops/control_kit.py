"""Control's API as it runs in the process, on a real unix socket, with a small hub beside it."""

import asyncio
import contextlib
import json
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web

from ops.acts_log import ActsLog
from ops.api.acts import Acts
from ops.api.app import application
from ops.api.authority import Authority
from ops.api.hub_client import HubClient
from ops.api.notary_client import NotaryClient
from ops.api.policy import Policy
from ops.api.recorder_client import RecorderClient
from ops.ca import CaFiles
from ops.control import listening
from ops.keys import load_keys
from ops.settings import Settings
from telemetry.spool import SpoolWriter
from whitelist.store import NodeRule

NODE = "gw1.zone.example"
FROM, UNTIL = 1_700_000_000, 4_000_000_000
WINDOW = {"valid_from": FROM, "valid_until": UNTIL}
PLACE = {"site": "lingang-a", "room": "r1", "interface": "acc0", "prefix": "10.0.0.0/24"}
ZONE: list[tuple[str, dict[str, Any]]] = [
    ("groups", {"id": "research"}),
    ("categories", {"id": "reference"}),
    (
        "lines",
        {
            "id": "hk1",
            "device": "l1",
            "gateway4": "192.0.2.1",
            "source4": "192.0.2.2",
            "resolvers": ["198.51.100.53"],
        },
    ),
    ("services", {"id": "docs", "name": "Docs", "endpoints": [{"target": "docs.example.com"}]}),
    ("tenants", {"id": "firm-a", "name": "Firm A", "valid_from": FROM, "valid_until": UNTIL, "places": [PLACE]}),
]
GRANT = {"subject": "tenant:firm-a", "object": "service:docs", "lines": ["hk1"], "window": WINDOW}


@dataclass
class TestHub:
    """Answers as the hub does, and keeps what it was told. silent: takes messages and says nothing."""

    path: Path
    told: list[dict[str, Any]] = field(default_factory=list)
    silent: bool = False
    lines: dict[str, str] = field(default_factory=lambda: {"hk1": "up"})
    kills: list[dict[str, Any]] = field(default_factory=list)
    roles: tuple[str, ...] = ("lines", "worker")
    _listening: socket.socket | None = None
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    def open(self) -> None:
        """Listens."""
        self.path.unlink(missing_ok=True)
        self._listening = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_NONBLOCK)
        self._listening.bind(str(self.path))
        self._listening.listen(8)
        self._start(self._accept())

    async def close(self) -> None:
        """Ends all connections."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._listening:
            self._listening.close()
        self.path.unlink(missing_ok=True)

    @property
    def revisions(self) -> list[int]:
        """The revisions announced."""
        return [message["revision"] for message in self.told if message.get("kind") == "revision"]

    def _start(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _accept(self) -> None:
        assert self._listening
        while True:
            connection, _ = await asyncio.get_running_loop().sock_accept(self._listening)
            self._start(self._serve(connection))

    async def _serve(self, connection: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        with connection:
            while packet := await loop.sock_recv(connection, 65_536):
                message = json.loads(packet)
                self.told.append(message)
                if "hello" in message or self.silent:
                    continue
                answer: dict[str, Any] = {"done": len(self.told), "acked": ["w0", "w1"], "killed": []}
                if message["kind"] == "status":
                    subscribers = [{"role": role} for role in self.roles]
                    answer["status"] = {"lines": self.lines, "kills": self.kills, "subscribers": subscribers}
                await loop.sock_sendall(connection, json.dumps(answer).encode())


@dataclass
class Node:
    """A control process's inside, its hub, and a client of its API."""

    state: Path
    run: Path
    authority: Authority
    hub: TestHub
    client: aiohttp.ClientSession
    app: web.Application

    async def call(self, method: str, path: str, body: Any = None, **query: Any) -> tuple[int, Any]:
        """Status and JSON of an answer."""
        async with self.client.request(method, f"http://control{path}", json=body, params=query) as response:
            return response.status, await response.json(content_type=None)

    async def add(self, collection: str, **fields: Any) -> Any:
        """Adds an item; the whole answer."""
        status, answer = await self.call("POST", f"/v1/{collection}", {"reason": "a test", **fields})
        assert status == 201, answer
        return answer

    async def set_up(self) -> None:
        """The small zone."""
        for collection, fields in ZONE:
            await self.add(collection, **fields)


def _file(root: Path) -> Path | str:
    return root / "state" / "register.db"


register_of = _file  # where the register of a test's directory is; replaced where it is a server's


@contextlib.asynccontextmanager
async def running(
    root: Path,
    *,
    hub: bool = True,
    hub_timeout: float = 3.0,
    busy: float | None = None,
    writer: SpoolWriter | None = None,
    node_uids: frozenset[int] = frozenset(),
    own: NodeRule = lambda _line: [],
    settings: Settings | None = None,
    acts_log: bool = False,
    notary: NotaryClient | None = None,
) -> AsyncIterator[Node]:
    """A control over root/state and root/run."""
    state, run = root / "state", root / "run"
    run.mkdir(parents=True, exist_ok=True)
    keys = load_keys(state)
    test_hub = TestHub(run / "live.sock")
    if hub:
        test_hub.open()
    policy = Policy(state / "snapshot", keys.snapshot)
    more = {} if busy is None else {"busy_timeout": busy}
    acts = Acts(writer, ActsLog(state, NODE) if acts_log else None)
    settings = settings or Settings(node=NODE, listeners=(), state_dir=str(state))
    authority = Authority(
        register_of(root),
        policy,
        HubClient(run / "live.sock", timeout=hub_timeout),
        acts,
        own=own,
        notary=notary,
        **more,
    )
    recorder = RecorderClient(run / "recorder.sock")
    app = application(authority, recorder, NODE, keys.pseudonym, node_uids, CaFiles(state / "ca"), settings)
    runner = web.AppRunner(app, shutdown_timeout=1)
    await runner.setup()
    await authority.beat()
    await web.SockSite(runner, listening(run / "control.sock", None)).start()
    connector = aiohttp.UnixConnector(str(run / "control.sock"))
    try:
        async with aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(20)) as client:
            yield Node(state, run, authority, test_hub, client, app)
    finally:
        await runner.cleanup()
        await recorder.close()
        await authority.close()
        await test_hub.close()

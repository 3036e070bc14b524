"""What the test and the measurement of failover share: a whole node with two designated lines to the same services, the
ways a line dies, and a client that asks for tunnels through the proxy."""

import asyncio
import base64
import contextlib
import json
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Self

import msgspec

from gateway.config import Health, Timeouts
from ops.demo import world
from ops.demo.network import FIRMS, LINES, Wire, Zone
from ops.demo.register import ENTRIES, REASON
from ops.demo.stage import PORT, Stage, StageError

HOST = world.SEARCH
PROBES = tuple(f"tcp://{a}:{world.HTTPS}" if "." in a else f"tcp://[{a}]:{world.HTTPS}" for a in world.NAMES[HOST])
# What may be asked, by the lines it may take: EITHER has several, since a worker remembers lines that were silent.
EITHER = tuple(f"{host}:{world.HTTP}" for host in (HOST, world.CODE, world.VIDEO))
ONLY_SG1, BY_WEIGHT = f"{world.MIRROR}:{world.HTTP}", f"{world.PAPERS}:{world.HTTP}"
WEIGHTS = {"hk1": 70, "sg1": 30}
_SPECIAL = tuple(word for prefix in world.PREFIXES for word in ("--special-prefix", prefix))
_NEEDED = ("line add", "tenant add")
_MANY = 1_000  # tunnels under way at once, at most
_LINE_OF = {address: line for line, wire in LINES.items() for address in wire.near.values()}


@contextlib.contextmanager
def node(health: Health, timeouts: Timeouts, prefix: str = "fyf") -> Iterator[Stage]:
    """A zone with a running node: acme may reach EITHER over hk1, then sg1, ONLY_SG1 over sg1, and BY_WEIGHT over both
    in the proportion of WEIGHTS; both lines are probed and up. stage.credentials has acme's "credential:token"."""
    with Stage(prefix, timeouts) as stage:
        stage.write_config(msgspec.structs.replace(stage.settings(), health=health))
        _said(stage, "init")
        stage.start()
        for entry in ENTRIES:
            if " ".join(entry[:2]) in _NEEDED and "birch" not in entry:
                probes = [word for probe in PROBES for word in ("--probe", probe)] if entry[0] == "line" else []
                _said(stage, *entry, *probes, *REASON)
        by_weight = tuple(word for line, share in WEIGHTS.items() for word in ("--line", line, "--weight", str(share)))
        for name, targets, chosen in (
            ("either", EITHER, ("--line", "hk1", "--line", "sg1")),
            ("one", (ONLY_SG1,), ("--line", "sg1")),
            ("weighted", (BY_WEIGHT,), by_weight),
        ):
            endpoints = [word for target in targets for word in ("--endpoint", f"tcp://{target}")]
            _said(stage, "service", "add", name, *endpoints, *_SPECIAL, *REASON)
            granted = ("--id", f"g-{name}", "--tenant", "acme", "--service", name, *chosen, "--for", "1d", *REASON)
            _said(stage, "grant", "add", *granted)
        stage.credentials["acme"] = ":".join(stage.issue("acme"))
        until_lines(stage, hk1="up", sg1="up")
        yield stage


def _said(stage: Stage, *arguments: str) -> None:
    done = stage.feiyu(*arguments)
    if done.returncode:
        raise StageError(f"feiyu {' '.join(arguments)}: exit {done.returncode}: {done.stderr.strip() or done.stdout}")


def until_lines(stage: Stage, seconds: float = 30, **states: str) -> None:
    """Waits until live control says so of these lines. Raises StageError."""

    def there() -> bool:
        found = stage.line_states()
        return all(found.get(line) == state for line, state in states.items())

    stage.wait(there, f"lines are not {states}", seconds)


def recorded(stage: Stage, matches: Callable[[dict[str, Any]], bool], **query: object) -> dict[str, Any]:
    """The newest record that matches, once it is there. Raises StageError."""
    found: list[dict[str, Any]] = []

    def there() -> bool:
        found[:] = [record for record in stage.records(limit=200, **query) if matches(record)]
        return bool(found)

    stage.wait(there, f"no such record of {query}")
    return found[0]


def go_silent(zone: Zone, wire: Wire, what: str = "") -> None:
    """The far end keeps its link and its ARP, and drops whatever comes, or only what nft's words match."""
    _at_far_end(zone, wire, "lost", f"{what} counter drop")


def speak_again(zone: Zone, wire: Wire) -> None:
    """Takes back go_silent()."""
    zone.run(wire.ns, ["nft", "delete", "table", "inet", "lost"])


def count(zone: Zone, wire: Wire, what: str) -> None:
    """Counts from now on what arrives at the far end and matches nft's words, also what is then dropped there."""
    _at_far_end(zone, wire, "seen", f"{what} counter")


def counted(zone: Zone, wire: Wire, table: str = "seen") -> int:
    """Packets since count(); with the table "lost" those dropped since go_silent()."""
    found = json.loads(zone.run(wire.ns, ["nft", "-j", "list", "table", "inet", table]).stdout)["nftables"]
    (rule,) = [thing["rule"] for thing in found if "rule" in thing]
    return int(next(part["counter"]["packets"] for part in rule["expr"] if "counter" in part))


def _at_far_end(zone: Zone, wire: Wire, table: str, rule: str) -> None:
    """One rule on what comes from the gateway, in a table of its own that replaces an earlier one."""
    first = "raw" if table == "lost" else "raw - 1"
    chain = f'chain arriving {{ type filter hook prerouting priority {first};\niifname "gw" {rule}\n}}'
    text = f"table inet {table} {{ }}\ndelete table inet {table}\ntable inet {table} {{ {chain}\n}}\n"
    done = zone.run(wire.ns, ["nft", "-f", "-"], input=text)
    if done.returncode:
        raise StageError(f"nft in {wire.ns}: {done.stderr.strip()}")


@dataclass(frozen=True, slots=True)
class Attempt:
    """One tunnel that was asked for. began, ended: monotonic seconds. line: that carried bytes, "" for none; why: the
    reason of the refusal then, or "cut" where the tunnel ended before it carried anything."""

    began: float
    ended: float
    line: str
    why: str = ""


def _head(identity: str, authority: str) -> bytes:
    authorization = base64.b64encode(identity.encode()).decode()
    return (
        f"CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\nProxy-Authorization: Basic {authorization}\r\n\r\n"
    ).encode()


async def tunnel(identity: str, authority: str) -> Attempt:
    """Asks for a tunnel to one of the services and reads over it from which address it was reached."""
    began = time.monotonic()
    line, why = "", "cut"
    reader, writer = await asyncio.open_connection(FIRMS["acme"].near[4], PORT)
    try:
        writer.write(_head(identity, authority))
        status, _, fields = (await reader.readuntil(b"\r\n\r\n")).decode().partition("\r\n")
        if status.split(" ")[1] != "200":
            why = fields.partition('details="')[2].partition(" ref=")[0] or status
        else:
            host = authority.partition(":")[0]
            writer.write(f"GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
            body = (await reader.read()).partition(b"\r\n\r\n")[2]
            if body:
                line, why = _LINE_OF[json.loads(body)["client"]], ""
    except (OSError, EOFError):
        pass
    finally:
        writer.close()
    return Attempt(began, time.monotonic(), line, why)


class Asker:
    """A firm's program that asks for tunnels all the time, in a thread of its own; a context manager. attempts: those
    that are over, in the order in which they ended; unasked: turns passed over because too many were under way."""

    def __init__(self, stage: Stage, authority: str = EITHER[0], every: float = 0.02) -> None:
        self._authority = authority
        self.attempts: deque[Attempt] = deque()
        self.unasked = 0
        self._zone, self._identity, self._every = stage.zone, stage.credentials["acme"], every
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="asker", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(60)

    def _run(self) -> None:
        with self._zone.inside(FIRMS["acme"].ns):
            asyncio.run(self._ask())

    async def _ask(self) -> None:
        under_way: set[asyncio.Task[None]] = set()
        due = time.monotonic()
        while not self._stop.is_set():
            if len(under_way) < _MANY:
                task = asyncio.create_task(self._one())
                under_way.add(task)
                task.add_done_callback(under_way.discard)
            else:
                self.unasked += 1
            due = max(due + self._every, time.monotonic())
            await asyncio.sleep(due - time.monotonic())
        await asyncio.gather(*under_way)

    async def _one(self) -> None:
        self.attempts.append(await tunnel(self._identity, self._authority))


def asked(stage: Stage, count: int, authority: str = EITHER[0], at_once: int = 8) -> list[Attempt]:
    """So many tunnels, a few at once."""

    async def go() -> list[Attempt]:
        room = asyncio.Semaphore(at_once)

        async def one() -> Attempt:
            async with room:
                return await tunnel(stage.credentials["acme"], authority)

        return await asyncio.gather(*(one() for _ in range(count)))

    with stage.zone.inside(FIRMS["acme"].ns):
        return asyncio.run(go())


def tally(attempts: list[Attempt]) -> Mapping[str, int]:
    """How many tunnels there were by line, or by reason where there was none."""
    found: dict[str, int] = {}
    for attempt in attempts:
        found[attempt.line or attempt.why] = found.get(attempt.line or attempt.why, 0) + 1
    return found


class Held:
    """A tunnel that carries a slow download, so that it lives until somebody ends it. port: the client's, which names
    it in the records."""

    def __init__(self, stage: Stage, authority: str) -> None:
        with stage.zone.inside(FIRMS["acme"].ns):
            self._sock = socket.create_connection((FIRMS["acme"].near[4], PORT), 10)
        self.port = int(self._sock.getsockname()[1])
        self._sock.sendall(_head(stage.credentials["acme"], authority))
        heard = b""
        while b"\r\n\r\n" not in heard:
            heard += self._more()
        assert heard.startswith(b"HTTP/1.1 200 "), heard
        host = authority.partition(":")[0]
        self._sock.sendall(f"GET /download?bytes=1000000&rate=2000 HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
        self._more()

    def _more(self) -> bytes:
        data = self._sock.recv(65_536)
        assert data, "the tunnel ended"
        return data

    def goes_on(self) -> bool:
        """Whether more bytes come, within the socket's patience."""
        self._sock.setblocking(False)
        with contextlib.suppress(BlockingIOError, OSError):
            while self._sock.recv(65_536):
                pass
        self._sock.settimeout(10)
        try:
            return bool(self._sock.recv(65_536))
        except OSError:
            return False

    def ended(self) -> bool:
        """Waits for its end; whether it was reset, which is how a cut looks."""
        try:
            while self._sock.recv(65_536):
                pass
        except ConnectionResetError:
            return True
        except TimeoutError:
            pass
        return False

    def close(self) -> None:
        """Ends it from the client's side."""
        self._sock.close()


def held(stage: Stage, authority: str) -> contextlib.closing[Held]:
    """A tunnel that is held for a while."""
    return contextlib.closing(Held(stage, authority))

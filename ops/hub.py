"""Live control: the one local channel that carries revisions, line states, kills and cuts to the workers.

A Unix SOCK_SEQPACKET socket, one JSON object per packet. A client first says {"hello": role, "name": …}; the kernel
says which user and process it is, and that decides which roles it may take; the role decides what it may publish.
Every message gets a sequence number and goes to the workers first, then to the disk, and is answered when both are
done: {"done": seq, "acked": [names], "killed": [names], "ended": [names], "cut": flows, "persisted": bool}, or
{"error": why}. ended are workers that ended of themselves meanwhile. A worker that does not acknowledge within a
second, or is no longer connected, is killed: it may be carrying what was cut.
"""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from gateway.live import ACK_DEADLINE, MAX_PACKET, Kill, LineState, LiveKind, LiveMessage
from ops import live_state
from ops.hub_messages import (
    PUBLISHES,
    SUBSCRIBES,
    Cut,
    Engage,
    Hello,
    LineReport,
    Published,
    Release,
    Revision,
    Status,
)
from ops.hub_peers import Events, Peer, Peers
from ops.live_state import RefusedError
from telemetry.lines import RETIRED

MAX_OUTSTANDING = 64  # unanswered messages per publisher


@dataclass(eq=False, slots=True)
class _Pending:
    """A message on its way, and the workers that must still acknowledge it."""

    waiting: set[Peer] = field(default_factory=set)
    done: asyncio.Event = field(default_factory=asyncio.Event)
    acked: list[str] = field(default_factory=list)
    ended: list[str] = field(default_factory=list)
    cut: int = 0

    def settle(self, *peers: Peer) -> None:
        self.waiting.difference_update(peers)
        if not self.waiting:
            self.done.set()


@dataclass(slots=True)
class Owner:
    """What the hub asks of the supervisor. kill and lost get the pid of a worker and why; lost says False of a process
    that is none of its workers, which nobody need wait for; ready gets the pid of one that has all state; status adds
    to the answer of a status message; log takes a line."""

    kill: Callable[[int, str], None]
    lost: Callable[[int], bool | None]
    ready: Callable[[int], None]
    status: Callable[[], dict[str, Any]]
    log: Callable[[str], None]


class Hub:
    """The hub. roles: which roles a uid may take; a uid that is not there is turned away."""

    def __init__(self, path: Path, state_path: Path, roles: dict[int, frozenset[str]], owner: Owner) -> None:
        self._state_path, self._owner = state_path, owner
        self.roles = roles
        self.state, problem = live_state.load(state_path)
        if problem:
            owner.log(problem)
        self.persisted = self._store()
        self._peers = Peers(path, Events(roles.__contains__, self._packet, self._gone, owner.log))
        self._lost: dict[int, Peer] = {}  # workers without a connection that may still run
        self._pending: dict[int, _Pending] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._timer: asyncio.TimerHandle | None = None

    def open(self, group: int | None) -> None:
        """Listens, in the running loop. Raises OSError."""
        self._peers.open(group)
        self._arm()

    def close(self) -> None:
        """Stops, leaves the stored state."""
        if self._timer:
            self._timer.cancel()
        self._peers.close()
        for task in self._tasks:
            task.cancel()

    def process_ended(self, pid: int) -> None:
        """The supervisor reaped a worker: nothing is carried there any more."""
        self._lost.pop(pid, None)
        for pending in list(self._pending.values()):
            ended = [peer for peer in pending.waiting if peer.pid == pid]
            pending.ended += [peer.name for peer in ended]
            pending.settle(*ended)

    def overview(self) -> dict[str, Any]:
        """What is in force and who listens, as JSON types."""
        return {
            "seq": self.state.seq,
            "revision": self.state.revision,
            "lines": self.state.lines,
            "kills": [msgspec.to_builtins(kill) for kill in self.state.kills.values()],
            "persisted": self.persisted,
            "subscribers": [
                {"name": peer.name, "role": peer.role, "pid": peer.pid, "synced": peer.synced}
                for peer in sorted(self._peers, key=lambda peer: peer.name)
                if peer.role in SUBSCRIBES
            ],
        }

    async def publish(self, message: Published) -> dict[str, Any]:
        """Applies, sends, stores, waits for the workers; the answer for the publisher. Raises RefusedError."""
        if isinstance(message, Status):
            return {"done": self.state.seq, "status": self.overview() | self._owner.status()}
        out, stateful = self._apply(message)
        pending = self._send(out, [peer for peer in self._peers if out.kind in SUBSCRIBES.get(peer.role, ())])
        if stateful:
            self.persisted = self._store()
            self._arm()
        killed = await self._acknowledged(out.seq, pending)
        answer: dict[str, Any] = {"done": out.seq, "acked": sorted(pending.acked), "killed": killed}
        return answer | {"ended": sorted(pending.ended), "cut": pending.cut, "persisted": self.persisted}

    def _apply(self, message: Published) -> tuple[LiveMessage, bool]:
        state, seq, stateful = self.state, self.state.seq + 1, True
        match message:
            case Revision(revision):
                stateful = revision != state.revision
                state.revision = revision
                out = LiveMessage(seq=seq, kind=LiveKind.REVISION, revision=revision)
            case LineReport(line, LineState.DOWN as line_state, detail) if detail == RETIRED:
                stateful = state.lines.pop(line, None) is not None  # workers are told that it is down all the same
                out = LiveMessage(seq=seq, kind=LiveKind.LINE, line=line, state=line_state, detail=detail)
            case LineReport(line, line_state, detail):
                stateful = state.lines.get(line) != line_state
                state.set_line(line, line_state)
                out = LiveMessage(seq=seq, kind=LiveKind.LINE, line=line, state=line_state, detail=detail)
            case Engage():
                kill = msgspec.convert(message, Kill, from_attributes=True)
                state.engage(kill, time.time())
                out = LiveMessage(seq=seq, kind=LiveKind.KILL, **msgspec.structs.asdict(kill))
            case Release(kill_id):
                state.release(kill_id)
                out = LiveMessage(seq=seq, kind=LiveKind.UNKILL, id=kill_id)
            case Cut(flow, cause, rule):
                stateful = False
                out = LiveMessage(seq=seq, kind=LiveKind.CUT, flow=flow, cause=cause, rule=rule)
            case Status():  # answered before
                raise AssertionError
        state.seq = seq
        return out, stateful

    def _send(self, message: LiveMessage, peers: list[Peer]) -> _Pending:
        packet = msgspec.json.encode(message)
        pending = self._pending[message.seq] = _Pending()
        if message.kind is not LiveKind.STATE:
            pending.waiting.update(self._lost.values())
        for peer in peers:
            if peer.role == "worker":
                pending.waiting.add(peer)
            self._peers.send(peer, packet)
        if not pending.waiting:
            pending.done.set()
        return pending

    async def _acknowledged(self, seq: int, pending: _Pending) -> list[str]:
        """Waits for the workers; kills those that are silent and names them."""
        try:
            async with asyncio.timeout(ACK_DEADLINE):
                await pending.done.wait()
        except TimeoutError:
            for peer in pending.waiting:
                self._owner.kill(peer.pid, f"{peer.name} did not acknowledge message {seq} within {ACK_DEADLINE:g} s")
        finally:
            del self._pending[seq]
        return sorted(peer.name for peer in pending.waiting)

    def _store(self) -> bool:
        try:
            live_state.store(self._state_path, self.state)
        except OSError as error:
            self._owner.log(f"hub: in force, but {self._state_path} cannot be written: {error.strerror}")
            return False
        return True

    def _arm(self) -> None:
        """Wakes up when the next kill is over, and each minute in case the clock was set."""
        if self._timer:
            self._timer.cancel()
            self._timer = None
        if end := self.state.next_end():
            delay = min(max(end - time.time(), 0.0), 60.0)
            self._timer = asyncio.get_running_loop().call_later(delay, self._expire)

    def _expire(self) -> None:
        for kill_id in self.state.expired(time.time()):
            self._owner.log(f"hub: kill {kill_id} is over")
            self._spawn(self._publish_quietly(Release(kill_id)))
        self._arm()

    async def _publish_quietly(self, message: Published) -> None:
        try:
            await self.publish(message)
        except RefusedError as refused:  # somebody was faster
            self._owner.log(f"hub: {refused}")

    def _spawn(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # ---- what peers say

    def _gone(self, peer: Peer) -> None:
        if peer.role == "worker" and not any(other.pid == peer.pid for other in self._peers):
            self._lost[peer.pid] = peer
            if self._owner.lost(peer.pid) is False:
                self.process_ended(peer.pid)

    def _packet(self, peer: Peer, packet: bytes | None) -> None:
        try:
            if packet is None:
                raise RefusedError(f"a packet longer than {MAX_PACKET} bytes")
            if peer.role:
                self._take(peer, msgspec.json.decode(packet))
            else:
                self._hello(peer, msgspec.json.decode(packet, type=Hello))
        except (RefusedError, msgspec.DecodeError, RecursionError) as error:
            self._owner.log(f"hub: {peer.name or peer.pid}: {error}")
            self._answer(peer, {"error": str(error)})
            if not peer.role:  # at once, it would lose the answer with what it sent already
                asyncio.get_running_loop().call_later(1.0, self._peers.drop, peer)

    def _take(self, peer: Peer, body: Any) -> None:
        if isinstance(body, dict) and "ack" in body:
            self._acked(peer, body["ack"], body.get("cut", 0))
            return
        kind = body.get("kind") if isinstance(body, dict) else None
        if kind not in PUBLISHES[peer.role]:
            allowed = ", ".join(sorted(PUBLISHES[peer.role])) or "nothing"
            raise RefusedError(f"role {peer.role} may publish {allowed}, not {kind!r:.40}")
        if peer.outstanding >= MAX_OUTSTANDING:
            raise RefusedError(f"more than {MAX_OUTSTANDING} messages are unanswered")
        message: Published = msgspec.convert(body, type=Published.__value__)
        if peer.role == "recorder" and isinstance(message, Engage | Cut) and not message.rule:
            raise RefusedError("the recorder cuts and blocks only for a rule, and names it")
        peer.outstanding += 1
        self._spawn(self._serve(peer, message))

    async def _serve(self, peer: Peer, message: Published) -> None:
        try:
            answer = await self.publish(message)
        except RefusedError as refused:
            answer = {"error": str(refused)}
        finally:
            peer.outstanding -= 1
        self._answer(peer, answer)

    def _answer(self, peer: Peer, answer: dict[str, Any]) -> None:
        self._peers.send(peer, msgspec.json.encode(answer))

    def _hello(self, peer: Peer, hello: Hello) -> None:
        if hello.hello not in self.roles[peer.uid]:
            raise RefusedError(f"uid {peer.uid} may not be {hello.hello!r:.40}")
        peer.role, peer.name = hello.hello, hello.name
        if peer.role not in SUBSCRIBES:
            return
        self._lost.pop(peer.pid, None)
        self.state.seq += 1
        peer.state_seq = self.state.seq
        kills = tuple(self.state.kills.values())
        message = LiveMessage(
            seq=self.state.seq,
            kind=LiveKind.STATE,
            revision=self.state.revision,
            lines=dict(self.state.lines),
            kills=kills,
        )
        self._spawn(self._sync(message.seq, self._send(message, [peer])))

    async def _sync(self, seq: int, pending: _Pending) -> None:
        await self._acknowledged(seq, pending)

    def _acked(self, peer: Peer, seq: object, cut: object) -> None:
        if (
            peer.role not in SUBSCRIBES
            or not isinstance(seq, int)
            or not isinstance(cut, int)
            or isinstance(cut, bool)
            or cut < 0
        ):
            raise RefusedError("an acknowledgement is a subscriber's, with a sequence number and a count")
        if seq == peer.state_seq and not peer.synced:
            peer.synced = True
            if peer.role == "worker":
                self._owner.ready(peer.pid)
        pending = self._pending.get(seq)
        if pending is None:
            return
        pending.cut += cut
        if peer.name not in pending.acked:
            pending.acked.append(peer.name)
        pending.settle(peer)

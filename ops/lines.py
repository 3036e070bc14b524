"""Entry point of the lines process: gives gateway.line.process the policy's lines, and its findings to hub and spool.

It listens nowhere. When the hub's connection ends it ends too; what it put into the kernel stays.
"""

import asyncio
import os
import signal
import socket
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import msgspec

from gateway.line.model import Access, LineEntry, Management, NodeConfig
from gateway.line.probe import ProbeResult
from gateway.line.process import LinesConfig, run
from gateway.live import MAX_PACKET, ack, hello, parse
from ops.settings import Settings, SettingsError, load_settings, settings_path
from telemetry.fold import LINE_STATES
from telemetry.record import Kind, Record, encode
from telemetry.spool import SpoolFull, SpoolWriter
from whitelist.snapshot import Snapshot

REPEAT = 60.0  # seconds before the same drift is told again


def lines_config(settings: Settings) -> LinesConfig:
    """What the lines process needs of the node's settings."""
    node = NodeConfig(
        access=tuple(Access(interface=access.interface, prefixes=access.prefixes) for access in settings.access),
        listener_ports=tuple(sorted({listener.endpoint[1] for listener in settings.listeners})),
        management=tuple(Management(interface=m.interface, prefixes=m.prefixes) for m in settings.management),
        mark_base=settings.line_base.mark,
        mark_mask=settings.line_base.mark_mask,
        worker_uids=() if settings.users.worker is None else (settings.users.worker,),
    )
    return LinesConfig(node=node, state_dir=str(Path(settings.state_dir) / "lines"), health=settings.health)


class Policy:
    """The lines of the newest policy that can be read."""

    def __init__(self, directory: Path, key: Path) -> None:
        self._directory, self._key = directory, key
        self._snapshot: Snapshot | None = None

    def lines(self) -> Iterable[LineEntry]:
        """Raises what makes the policy unreadable; it is opened anew the next time."""
        snapshot, self._snapshot = self._snapshot, None
        if snapshot is None:
            snapshot = Snapshot.open(self._directory, self._key.read_bytes())
        else:
            snapshot.advance()
        self._snapshot = snapshot
        return snapshot.lines().values()


@dataclass(slots=True)
class Probed:
    """Probes of one line since a moment (monotonic seconds)."""

    since: float
    sent: int = 0
    lost: int = 0
    rtts: list[int] = field(default_factory=list)  # µs

    def take(self, results: list[ProbeResult]) -> None:
        """One round."""
        self.sent += len(results)
        self.lost += sum(not result.ok for result in results)
        self.rtts += [result.rtt_us for result in results if result.ok]

    def values(self) -> dict[str, int]:
        """For the record: the median round trip and the lost part."""
        found = {"loss_permille": self.lost * 1000 // max(1, self.sent)}
        return found | ({"rtt_us": int(median(self.rtts))} if self.rtts else {})


class Reporter:
    """Line states to the hub, one at a time and only the latest of each line; states and drift to the spool."""

    def __init__(self, hub: socket.socket, spool: SpoolWriter, wake: asyncio.Event, stop: asyncio.Event) -> None:
        self._hub, self._spool, self._wake, self._stop = hub, spool, wake, stop
        self._unsaid: dict[str, tuple[str, str]] = {}
        self._waiting = False
        self._drift: dict[str, float] = {}
        self._probed: dict[str, Probed] = {}

    def on_state(self, line: str, state: str, detail: str) -> None:
        """A line's first state, or a new one."""
        print(f"line {line} is {state}: {detail}", flush=True)
        self._unsaid[line] = (state, detail)
        self._say_next()
        self._record(line=line, detail=f"{state}: {detail}", values={"state": LINE_STATES.get(state, 0)})

    def on_round(self, line: str, results: list[ProbeResult]) -> None:
        """What the probes of a line said; told once a minute."""
        probed = self._probed.setdefault(line, Probed(since=time.monotonic()))
        probed.take(results)
        if time.monotonic() - probed.since >= REPEAT:
            del self._probed[line]
            if not self._spool.healthy(time.monotonic()):
                self._record(line=line, detail="probes of the last minute", values=probed.values())

    def on_drift(self, detail: str, *, repaired: bool) -> None:
        """The kernel differed from the plan."""
        now = time.monotonic()
        if now - self._drift.get(detail, -REPEAT) < REPEAT:
            return
        self._drift = {text: told for text, told in self._drift.items() if now - told < REPEAT} | {detail: now}
        print(f"drift, {'repaired' if repaired else 'NOT repaired'}: {detail}", flush=True)
        if not self._spool.healthy(now):
            self._record(detail=f"drift: {detail}", values={"repaired": int(repaired)})

    def on_hub(self) -> None:
        """A message or an answer of the hub."""
        try:
            packet = self._hub.recv(MAX_PACKET * 4)
        except BlockingIOError:
            return
        except OSError:
            packet = b""
        if not packet:
            print("the supervisor is gone: ending, the kernel's rules stay", file=sys.stderr, flush=True)
            self._stop.set()
            return
        body: Any = msgspec.json.decode(packet)
        if "seq" in body:
            self._hub.send(ack(parse(packet).seq))
            self._wake.set()
            return
        if "error" in body:
            print(f"the hub refused a line's state: {body['error']}", file=sys.stderr, flush=True)
        self._waiting = False
        self._say_next()

    def _say_next(self) -> None:
        if self._waiting or not self._unsaid:
            return
        line = next(iter(self._unsaid))
        state, detail = self._unsaid.pop(line)
        self._waiting = True
        self._hub.send(msgspec.json.encode({"kind": "line", "line": line, "state": state, "detail": detail[:500]}))

    def _record(self, *, detail: str, values: dict[str, int], line: str = "") -> None:
        spool = self._spool
        record = Record(
            node=spool.node,
            boot=spool.boot,
            worker=spool.process,
            seq=spool.next_seq(),
            kind=Kind.LINE,
            time=time.time_ns() // 1_000,
            line=line,
            detail=detail[:2_000],
            values=values,
        )
        spool.append(encode(record))
        try:
            spool.flush()
        except SpoolFull as full:  # it stays pending and goes out with the next
            print(f"a record waits: {full}", file=sys.stderr, flush=True)


async def serve(settings: Settings, boot: str, process: str) -> None:
    """Runs until a signal, or until the hub is gone. Raises OSError where hub or spool cannot be reached."""
    run_dir, state = Path(settings.run_dir), Path(settings.state_dir)
    wake, stop = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    spool = SpoolWriter(run_dir / "spool", settings.node, boot, process, settings.limits.spool_bytes)
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as hub:
        hub.connect(str(run_dir / "live.sock"))
        hub.send(hello(process, "lines"))
        os.set_blocking(hub.fileno(), False)
        reporter = Reporter(hub, spool, wake, stop)
        loop.add_reader(hub, reporter.on_hub)
        policy = Policy(state / "snapshot", state / "keys" / "snapshot.pub")
        try:
            await run(
                lines_config(settings),
                policy.lines,
                reporter.on_state,
                reporter.on_drift,
                wake,
                stop,
                reporter.on_round,
            )
        finally:
            loop.remove_reader(hub)
            spool.close()


def main() -> int:
    """Runs the process that the environment describes: FEIYU_CONFIG, FEIYU_BOOT, FEIYU_PROCESS."""
    try:
        settings = load_settings(settings_path())
    except SettingsError as error:
        print(error, file=sys.stderr)
        return 2
    asyncio.run(serve(settings, os.environ["FEIYU_BOOT"], os.environ["FEIYU_PROCESS"]))
    return 0


if __name__ == "__main__":
    sys.exit(main())

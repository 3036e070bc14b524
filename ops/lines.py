"""Entry point of the lines process: gives gateway.line.process the policy's lines, and its findings to hub and spool.

It listens nowhere. When the hub's connection ends it ends too; what it put into the kernel stays.
"""

import asyncio
import os
import signal
import socket
import sys
import time
from collections.abc import Iterable, Mapping
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import msgspec

from gateway.line.model import Access, LineEntry, Management, NodeConfig, Transparent
from gateway.line.process import LinesConfig, run
from gateway.live import MAX_PACKET, LiveKind, ack, hello, parse
from ops.processes import notary_uid
from ops.settings import Settings, SettingsError, load_settings, settings_path
from telemetry.lines import FIGURES, LINE_STATES, REPAIRS
from telemetry.record import Kind, Record, encode
from telemetry.spool import SpoolFull, SpoolWriter
from whitelist.admitted import NAME, Admission
from whitelist.snapshot import Snapshot

REPEAT = 60.0  # seconds before the same drift is told again
WAIT = 3.0  # seconds for the hub's word on how the lines stood; without it they are unknown


def lines_config(settings: Settings) -> LinesConfig:
    """What the lines process needs of the node's settings."""
    node = NodeConfig(
        access=tuple(Access(interface=access.interface, prefixes=access.prefixes) for access in settings.access),
        listener_ports=tuple(sorted({entry.endpoint[1] for entry in settings.listeners if not entry.is_transparent})),
        listener_addresses=tuple(
            sorted(
                address for entry in settings.listeners if not ip_address(address := entry.endpoint[0]).is_unspecified
            )
        ),
        management=tuple(Management(interface=m.interface, prefixes=m.prefixes) for m in settings.management),
        mark_base=settings.line_base.mark,
        mark_mask=settings.line_base.mark_mask,
        transparent=tuple(
            Transparent(interface=entry.interface, address=entry.endpoint[0], port=entry.endpoint[1])
            for entry in settings.listeners
            if entry.is_transparent
        ),
        transparent_mark=settings.line_base.transparent_mark,
        worker_uids=() if settings.users.worker is None else (settings.users.worker,),
    )
    return LinesConfig(
        node=node,
        state_dir=str(Path(settings.state_dir) / "lines"),
        health=settings.health,
        figures=str(Path(settings.run_dir) / "figures"),
    )


class Policy:
    """The lines of the newest policy that can be read."""

    def __init__(self, directory: Path, key: Path, admission: Admission | None = None) -> None:
        self._directory, self._key, self._admission = directory, key, admission
        self._snapshot: Snapshot | None = None

    def lines(self) -> Iterable[LineEntry]:
        """Raises what makes the policy unreadable; it is opened anew the next time."""
        snapshot, self._snapshot = self._snapshot, None
        if snapshot is None:
            snapshot = Snapshot.open(self._directory, self._key.read_bytes(), self._admission)
        else:
            snapshot.advance()
        self._snapshot = snapshot
        return snapshot.lines().values()


class Reporter:
    """Line states to the hub, one at a time and only the latest of each line; states, figures and drift to the spool.
    stood: the states of all lines as the hub had them when this process came."""

    def __init__(self, hub: socket.socket, spool: SpoolWriter, wake: asyncio.Event, stop: asyncio.Event) -> None:
        self._hub, self._spool, self._wake, self._stop = hub, spool, wake, stop
        self._unsaid: dict[str, tuple[str, str]] = {}
        self._waiting = False
        self._drift: dict[str, float] = {}
        self._states: dict[str, int] = {}
        self._figures: dict[str, dict[str, int]] = {}
        self._written: dict[str, dict[str, int]] = {}
        self._repairs: dict[str, int] = {}  # of those seen, how many are in records
        self.stood: asyncio.Future[Mapping[str, str]] = asyncio.get_running_loop().create_future()

    def on_state(self, line: str, state: str, detail: str) -> None:
        """A line's first state, or a new one."""
        print(f"line {line} is {state}: {detail}", flush=True)
        self._unsaid[line] = (state, detail)
        self._say_next()
        self._states[line] = LINE_STATES.get(state, 0)
        self._write_figures(line, f"{state}: {detail}")

    def on_figures(self, line: str, values: dict[str, int]) -> None:
        """The figures of a line, or of the node (""), told when they changed. repairs: since this process began."""
        self._figures[line] = values
        if values != self._written.get(line) and not self._spool.healthy(time.monotonic()):
            self._write_figures(line, FIGURES)

    def on_drift(self, detail: str, *, repaired: bool) -> None:
        """The kernel differed from the plan."""
        now = time.monotonic()
        if now - self._drift.get(detail, -REPEAT) < REPEAT:
            return
        self._drift = {text: told for text, told in self._drift.items() if now - told < REPEAT} | {detail: now}
        print(f"drift, {'repaired' if repaired else 'NOT repaired'}: {detail}", flush=True)
        if not self._spool.healthy(now):
            self._record(detail=f"drift: {detail}", values={"repaired": int(repaired)})

    async def stood_before(self) -> Mapping[str, str]:
        """How the lines stood, or nothing where the hub does not say."""
        try:
            return await asyncio.wait_for(self.stood, WAIT)
        except TimeoutError:
            print("the hub did not say how the lines stood: probed ones wait for their first round", flush=True)
            return {}

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
            message = parse(packet)
            if message.kind is LiveKind.STATE and not self.stood.done():
                self.stood.set_result(message.lines)
            self._hub.send(ack(message.seq))
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

    def _write_figures(self, line: str, detail: str) -> None:
        """One record with all that is known of the line: what is not in it is not known any more."""
        values = self._written[line] = self._figures.get(line, {})
        known = dict(values)
        if REPAIRS in values:
            known[REPAIRS] -= self._repairs.get(line, 0)
            self._repairs[line] = values[REPAIRS]
        if line in self._states:
            known["state"] = self._states[line]
        self._record(line=line, detail=detail, values=known)

    def _record(self, *, detail: str, values: dict[str, int], line: str = "") -> None:
        spool = self._spool
        record = Record(
            node=spool.node,
            boot=spool.boot,
            worker=spool.process,
            seq=spool.next_seq(),
            kind=Kind.HEARTBEAT if detail == FIGURES else Kind.LINE,
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
        admission = Admission(state / "notary" / NAME, notary_uid(settings)) if settings.zone else None
        policy = Policy(state / "snapshot", state / "keys" / "snapshot.pub", admission)
        try:
            await run(
                lines_config(settings),
                policy.lines,
                reporter.on_state,
                reporter.on_drift,
                wake,
                stop,
                on_figures=reporter.on_figures,
                stood=await reporter.stood_before(),
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

"""The `lines` process: puts the lines into the kernel and keeps them there.

    python -m gateway.line.process run|apply|show|teardown    (configuration: JSON file named by FEIYU_LINES_CONFIG)

Needs CAP_NET_ADMIN, listens nowhere. What it put into the kernel stays when it ends.
"""

import asyncio
import os
import signal
import socket
import sys
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import msgspec

from gateway.config import Health
from gateway.figures import PERIOD
from gateway.line import events, nft
from gateway.line.census import Census, OnFigures
from gateway.line.keeper import Keeper, OnDrift, OnState
from gateway.line.killswitch import render
from gateway.line.model import LineEntry, NodeConfig
from gateway.line.plan import plan, sort_out
from gateway.line.probe import ProbeResult
from gateway.line.watch import OnRound, Watch
from whitelist.model import Line

Lines = Callable[[], Iterable[LineEntry]]
_BETWEEN_SWEEPS = 0.1  # seconds at least, so that a storm of notifications costs little
_TABLE_FILE = "killswitch.nft"


@dataclass(frozen=True, kw_only=True)
class LinesConfig:
    """The process's settings. lines: what main() keeps to; state_dir: keeps the table for the next boot; figures: the
    workers' file, empty for none."""

    node: NodeConfig
    lines: tuple[Line, ...] = ()
    state_dir: str = ""
    sweep_seconds: float = 5.0
    health: Health = field(default_factory=Health)
    figures: str = ""
    figures_seconds: float = PERIOD

    @property
    def table_file(self) -> Path | None:
        """Where the nft table stands for feiyu-killswitch.service."""
        return Path(self.state_dir, _TABLE_FILE) if self.state_dir else None


async def run(
    config: LinesConfig,
    lines: Lines,
    on_state: OnState,
    on_drift: OnDrift,
    wake: asyncio.Event,
    stop: asyncio.Event,
    on_round: OnRound = lambda _line, _results: None,
    on_figures: OnFigures = lambda _line, _values: None,
    stood: Mapping[str, str] | None = None,
) -> None:
    """Keeps the kernel to lines() and probes them until stop is set. Set wake when lines() may answer anew (a new
    revision). stood: the last state of each line that an earlier process told. The callbacks run in the event loop. An
    exception of lines() leaves the last plan in force and is reported as drift."""
    loop = asyncio.get_running_loop()
    sockets, deaf = events.open_sockets()
    if deaf:
        on_drift(deaf, repaired=False)

    def answered(line: str, results: list[ProbeResult]) -> None:
        census.on_round(line, results)
        on_round(line, results)

    watch = Watch(config.health, config.node.mark_base, on_state, answered, stood or {})
    census = Census(config.health, Path(config.figures) if config.figures else None, on_figures, watch.heard)
    probing = loop.create_task(watch.run())
    # pyroute2's synchronous calls run an event loop of their own, so they get a thread of their own.
    with ThreadPoolExecutor(1, "lines") as pool:
        keeper = await loop.run_in_executor(
            pool,
            lambda: Keeper(
                config.node,
                lambda *a: _call(loop, watch.told, *a),
                lambda detail, *, repaired: _call(loop, partial(on_drift, detail, repaired=repaired)),
                config.table_file,
            ),
        )

        def ring(sock: socket.socket) -> None:
            events.drain(sock)
            wake.set()

        async def count() -> None:
            await asyncio.sleep(min(1.0, config.figures_seconds))
            while True:
                census.take(*await loop.run_in_executor(pool, _counted, keeper))
                await asyncio.sleep(config.figures_seconds)

        counting = loop.create_task(count())
        for sock in sockets:
            loop.add_reader(sock, ring, sock)
        try:
            while not stop.is_set():
                for task in (probing, counting):
                    if task.done():  # a defect: better a new process than one that sees nothing
                        task.result()
                wake.clear()
                try:
                    wanted = list(lines())
                except Exception as error:  # noqa: BLE001 - whatever is wrong with the policy, the kernel stays as it is
                    on_drift(f"cannot read the lines, the last plan stays: {error}", repaired=False)
                else:
                    watch.want(wanted)
                    census.want(wanted)
                    await loop.run_in_executor(pool, keeper.want, wanted)
                await loop.run_in_executor(pool, keeper.sweep)
                await asyncio.sleep(_BETWEEN_SWEEPS)
                if not await _rung(wake, stop, config.sweep_seconds):
                    await loop.run_in_executor(pool, keeper.solicit)
        finally:
            probing.cancel()
            counting.cancel()
            for sock in sockets:
                loop.remove_reader(sock)
                sock.close()
            await loop.run_in_executor(pool, keeper.close)


def _counted(keeper: Keeper) -> tuple[dict[str, tuple[int, int]], dict[str, int]]:
    """The table's counters and the repairs by line. Where nft fails the counters are unknown; the sweep says why."""
    try:
        return keeper.counters(), dict(keeper.repaired)
    except nft.NftError:
        return {}, dict(keeper.repaired)


def _call(loop: asyncio.AbstractEventLoop, callback: Callable[..., None], *arguments: object) -> None:
    loop.call_soon_threadsafe(callback, *arguments)


async def _rung(wake: asyncio.Event, stop: asyncio.Event, seconds: float) -> bool:
    waiting = [asyncio.ensure_future(wake.wait()), asyncio.ensure_future(stop.wait())]
    done, pending = await asyncio.wait(waiting, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    for task in pending:
        task.cancel()
    return bool(done)


def _say(**fields: object) -> None:
    sys.stdout.write(msgspec.json.encode(fields).decode() + "\n")
    sys.stdout.flush()


def _say_state(line: str, state: str, detail: str) -> None:
    _say(event="state", line=line, state=state, detail=detail)


def _say_drift(detail: str, *, repaired: bool) -> None:
    _say(event="drift", detail=detail, repaired=repaired)


def load_config(path: str) -> LinesConfig:
    """Reads the configuration. Raises OSError, or ValueError with file and reason."""
    try:
        return msgspec.json.decode(Path(path).read_bytes(), type=LinesConfig)
    except msgspec.DecodeError as error:
        raise ValueError(f"{path}: {error}") from error


async def _run_until_signal(config: LinesConfig) -> None:
    wake, stop = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    await run(config, lambda: config.lines, _say_state, _say_drift, wake, stop)


def main(arguments: list[str]) -> int:
    """Exit status: 0 done, 1 a line is not in the kernel, 2 wrong usage or configuration."""
    path = os.environ.get("FEIYU_LINES_CONFIG", "")
    verbs = ("run", "apply", "show", "teardown")
    if len(arguments) != 1 or arguments[0] not in verbs or not path:
        sys.stderr.write(f"FEIYU_LINES_CONFIG=FILE python -m gateway.line.process {'|'.join(verbs)}\n")
        return 2
    try:
        config = load_config(path)
    except (OSError, ValueError) as error:
        sys.stderr.write(f"{error}\n")
        return 2
    verb = arguments[0]
    if verb == "run":
        asyncio.run(_run_until_signal(config))
        return 0
    if verb == "show":
        specs, problems = sort_out(config.lines, config.node)
        sys.stdout.write(plan(specs, config.node).text() + "\n" + render(specs, config.node))
        sys.stderr.write("".join(f"{problem}\n" for problem in problems.values()))
        return int(bool(problems))
    states: dict[str, str] = {}
    keeper = Keeper(config.node, lambda line, state, _: states.update({line: state}), _say_drift, config.table_file)
    if verb == "teardown":
        keeper.teardown()
        return 0
    problems = keeper.want(config.lines)
    keeper.sweep()
    for line, state in states.items():
        _say(event="state", line=line, state=state, detail=problems.get(line, ""))
    return int(bool(problems) or not all(line.id in states for line in keeper.lines()))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

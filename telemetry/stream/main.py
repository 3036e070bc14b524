"""The streams process: one task for each sink, and the event stream for those who watch. It only reads what the
recorder wrote, so whatever becomes of it, or of a sink, costs no flow and no record.

python -m telemetry.stream.main --state-dir DIR --run-dir DIR --node NAME --sinks JSON
"""

import argparse
import asyncio
import logging
import os
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path

import msgspec
import uvloop

from telemetry.stream import state
from telemetry.stream.events_server import SOCKET, EventsServer
from telemetry.stream.history import History
from telemetry.stream.pump import Pump
from telemetry.stream.sink import Sink
from telemetry.stream.spec import Sink as Spec
from telemetry.stream.to_file import FileSink
from telemetry.stream.to_nats import NatsSink
from telemetry.stream.to_syslog import SyslogSink
from telemetry.stream.to_webhook import WebhookSink

DIRECTORY = "streams"  # in state_dir: cursors and dead letters
GRACE = 3.0  # seconds for what is being sent at the end
log = logging.getLogger("feiyu.streams")


def make(spec: Spec, directory: Path) -> Sink:
    """The sink of a specification."""
    match spec.kind:
        case "file":
            return FileSink(spec)
        case "syslog":
            return SyslogSink(spec)
        case "webhook":
            return WebhookSink(spec, directory / f"{spec.name}.dead.jsonl")
        case "nats":
            return NatsSink(spec)
    raise ValueError(f"sink {spec.name}: there is no kind {spec.kind}")


async def serve(state_dir: Path, run_dir: Path, node: str, sinks: list[Spec]) -> None:
    """Until SIGTERM. Raises OSError where the directories cannot be used."""
    directory = state_dir / DIRECTORY
    directory.mkdir(mode=0o750, exist_ok=True)
    history = History(state_dir / "log", run_dir / "spool")
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    server = EventsServer(history)
    await server.start(run_dir / SOCKET)
    pumps = [Pump(spec, make(spec, directory), history, directory, node) for spec in sinks]
    running = [asyncio.create_task(pump.run(stopping)) for pump in pumps]

    def tell() -> None:
        now = state.State(time.time(), [pump.state for pump in pumps], server.watchers, os.getpid())
        with suppress(OSError):
            state.write(run_dir, now)

    while not stopping.is_set():
        tell()
        with suppress(TimeoutError):
            await asyncio.wait_for(stopping.wait(), 1.0)
    await server.stop()
    if running:
        _, late = await asyncio.wait(running, timeout=GRACE)
        for task in late:
            task.cancel()
        await asyncio.gather(*late, return_exceptions=True)
    tell()


def main() -> int:
    """The command line; 0 after SIGTERM, 1 where the directories cannot be used."""
    parser = argparse.ArgumentParser(prog="telemetry.stream", description="passes the records of a node on")
    parser.add_argument("--state-dir", type=Path, required=True)
    parser.add_argument("--run-dir", type=Path, required=True)
    parser.add_argument("--node", required=True)
    parser.add_argument("--sinks", default="[]", help="the streams of the configuration, as JSON; holds no secret")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(name)s: %(message)s")
    sinks = msgspec.json.decode(arguments.sinks, type=list[Spec])
    try:
        uvloop.run(serve(arguments.state_dir, arguments.run_dir, arguments.node, sinks))
    except OSError as error:
        log.critical("cannot run: %s: %s", error.filename, error.strerror)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

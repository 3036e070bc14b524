"""A node's control and recorder as processes of their own, with a hub of the test's, under one configuration."""

import asyncio
import contextlib
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ops.cli.main import run
from telemetry.spool import SpoolWriter
from tests.ops import control_kit
from tests.telemetry import spool_kit

CONFIG = """\
node: gw1.zone.example
state_dir: {0}/state
run_dir: {0}/run
workers: 2
listeners: [{{name: plain, kind: plain, address: "127.0.0.1:3128"}}]
access: [{{interface: acc0, site: lingang-a, room: r1, prefixes: ["10.1.0.0/24"]}}]
"""


@dataclass
class RecordedNode:
    """config: the file; writer: a worker's spool, which the recorder reads; log: of the evidence."""

    config: Path
    node: spool_kit.Node
    writer: SpoolWriter

    @property
    def log(self) -> Path:
        return self.node.state / "evidence" / "flows"

    @property
    def key(self) -> Path:
        return self.node.state / "evidence" / "flows.vkey"

    def published(self) -> int:
        """The size that the checkpoint says."""
        return int((self.log / "checkpoint").read_bytes().split(b"\n")[1])

    def settle(self) -> None:
        """Waits until all that is in the log is under the published checkpoint."""
        spool_kit.until(lambda: self.published() >= len(self.node.lines()), "the checkpoint")


@contextlib.contextmanager
def hub(path: Path) -> Iterator[control_kit.TestHub]:
    """Two workers' acknowledgements, in a thread."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    made = control_kit.TestHub(path)

    async def opened() -> None:
        made.open()

    asyncio.run_coroutine_threadsafe(opened(), loop).result(10)
    try:
        yield made
    finally:
        asyncio.run_coroutine_threadsafe(made.close(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()


@contextlib.contextmanager
def recorded(root: Path) -> Iterator[RecordedNode]:
    """The node, running."""
    node = spool_kit.Node(root)
    path = root / "feiyu.yaml"
    path.write_text(CONFIG.format(root))
    assert run(["init", "--config", str(path)]) == 0
    writer = node.writer()
    environ = {**os.environ, "FEIYU_BOOT": spool_kit.BOOT, "FEIYU_PROCESS": "control.1"}
    with hub(node.run / "live.sock"):
        recorder = node.start()
        control = subprocess.Popen([sys.executable, "-m", "ops.control", "--config", str(path)], env=environ)
        try:
            spool_kit.until((node.run / "control.sock").exists, "control's socket")
            spool_kit.until((node.run / "recorder.sock").exists, "the recorder's socket")
            yield RecordedNode(path, node, writer)
        finally:
            control.kill()
            control.wait(20)
            spool_kit.stop(recorder)
            writer.close()

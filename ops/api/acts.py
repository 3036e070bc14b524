"""What control did, as records of kind action in its own spool: beside the flows they changed, and beyond its own
reach once the recorder has them. The reason is free text and stays in the register's history; the record names the
revision."""

import logging
import os
import time
from pathlib import Path

from ops.acts_log import ActsLog
from ops.settings import Settings
from telemetry.record import Kind, Record, encode
from telemetry.spool import SpoolFull, SpoolWriter
from tenants.change import Applied

_log = logging.getLogger("feiyu.control")


class Acts:
    """Writes the records. Without a writer (a process without a supervisor) they go to the process's log alone. log:
    the acts' own evidence, which follows the register."""

    def __init__(self, writer: SpoolWriter | None, log: ActsLog | None = None) -> None:
        self._writer = writer
        self.log = log

    def applied(self, applied: Applied, actor: str) -> None:
        """A change of the register."""
        first = applied.changed[0]
        more = f" and {len(applied.changed) - 1} more" if len(applied.changed) > 1 else ""
        self.did(f"{first.verb} {first.collection}/{first.id}{more} by {actor}", applied.revision)

    def did(self, what: str, revision: int) -> None:
        """Any act, in machine-made words. Never raises: the act has been done already."""
        _log.info("%s (revision %d)", what, revision)
        writer = self._writer
        if writer is None:
            return
        record = Record(
            node=writer.node,
            boot=writer.boot,
            worker=writer.process,
            seq=writer.next_seq(),
            kind=Kind.ACTION,
            time=time.time_ns() // 1000,
            revision=revision,
            detail=what,
        )
        writer.append(encode(record))
        try:
            writer.flush()
        except SpoolFull as error:  # the line waits in memory for the next one
            _log.error("%s", error)


def spool_of(settings: Settings) -> SpoolWriter | None:
    """The spool of this process as the supervisor named it; None where none did. Raises OSError."""
    boot, process = os.environ.get("FEIYU_BOOT", ""), os.environ.get("FEIYU_PROCESS", "")
    if not boot or not process:
        return None
    return SpoolWriter(Path(settings.run_dir) / "spool", settings.node, boot, process, settings.limits.spool_bytes)

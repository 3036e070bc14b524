"""What control did, as records of kind action in its own spool: beside the flows they changed, and beyond its own
reach once the recorder has them. The reason is free text and stays in the register's history; the record names the
revision."""

import logging
import os
import time
from pathlib import Path

from ops.settings import Settings
from telemetry.record import Kind, Record, encode
from telemetry.spool import SpoolFull, SpoolWriter
from tenants.change import Applied

_log = logging.getLogger("feiyu.control")


class Acts:
    """Writes the records. Without a writer (a process without a supervisor) they go to the process's log alone."""

    def __init__(self, writer: SpoolWriter | None) -> None:
        self._writer = writer

    def applied(self, applied: Applied, actor: str) -> None:
        """A change of the register."""
        first = applied.changed[0]
        more = f" and {len(applied.changed) - 1} more" if len(applied.changed) > 1 else ""
        self.did(f"{first.verb} {first.collection}/{first.id}{more} by {actor}", applied.revision)

    def did(self, what: str, revision: int) -> None:
        """Any act, in machine-made words. Never raises: the act has been done already."""
        _log.info("%s (revision %d)", what, revision)
        self._write(Kind.ACTION, revision, what, None)

    def heartbeat(self, values: dict[str, int], revision: int) -> None:
        """Says that control lives, with its gauges by name, unless nobody takes records. Never raises."""
        if self._writer is None or self._writer.healthy(time.monotonic()):
            return
        self._write(Kind.HEARTBEAT, revision, "", values)

    def _write(self, kind: Kind, revision: int, detail: str, values: dict[str, int] | None) -> None:
        writer = self._writer
        if writer is None:
            return
        record = Record(
            node=writer.node,
            boot=writer.boot,
            worker=writer.process,
            seq=writer.next_seq(),
            kind=kind,
            time=time.time_ns() // 1000,
            revision=revision,
            detail=detail,
            values=values,
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

"""What control did, as records of kind action in its own spool: beside the flows they changed, and beyond its own
reach once the recorder has them. The reason is free text and stays in the register's history; the record names the
revision and, where there are accounts, the digest of its link: so neither can be rewritten without the other showing
it."""

import logging
import os
import time
from pathlib import Path

from ops.api.caller import CALLER
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
        self.did(f"{first.verb} {first.collection}/{first.id}{more} by {actor}{_as(applied)}", applied.revision)

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


def _as(applied: Applied) -> str:
    """Where there are accounts: in which role and from where, and the link that says before, after and why."""
    caller = CALLER.get()
    if not applied.link:
        return ""
    by = f" as {caller.roles[0]}" if caller and caller.roles else ""
    return f"{by}{f' from {caller.where}' if caller else ''}, link {applied.link}"


def spool_of(settings: Settings) -> SpoolWriter | None:
    """The spool of this process as the supervisor named it; None where none did. Raises OSError."""
    boot, process = os.environ.get("FEIYU_BOOT", ""), os.environ.get("FEIYU_PROCESS", "")
    if not boot or not process:
        return None
    return SpoolWriter(Path(settings.run_dir) / "spool", settings.node, boot, process, settings.limits.spool_bytes)

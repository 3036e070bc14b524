"""What control did, as records of kind action in its own spool: beside the flows they changed, and beyond its own
reach once the recorder has them. The reason is free text and stays in the register's history; the record names the
revision."""

import logging
import os
import time
from pathlib import Path

import msgspec

from ops.api.digests import digests
from ops.api.problems import Problem
from ops.settings import Settings
from telemetry.record import Kind, Record, encode
from telemetry.spool import SpoolFull, SpoolWriter
from telemetry.spooldir import MAX_LINE
from tenants.change import Applied

_log = logging.getLogger("feiyu.control")


class Acts:
    """Writes the records. Without a writer (a process without a supervisor) they go to the process's log alone."""

    def __init__(self, writer: SpoolWriter | None) -> None:
        self._writer = writer

    def applied(self, applied: Applied, actor: str) -> None:
        """A change of the register, with the digests of what it made."""
        first = applied.changed[0]
        more = f" and {len(applied.changed) - 1} more" if len(applied.changed) > 1 else ""
        what = f"{first.verb} {first.collection}/{first.id}{more} by {actor}"
        for number, facts in enumerate(digests(applied.changed)):
            self.did(what if not number else f"{what}, continued", applied.revision, facts)

    def record(
        self, kind: Kind, detail: str, facts: dict[str, str], *, ref: str = "", tenant: str = "", count: int = 0
    ) -> Record:
        """Writes a record before what it tells of is done. Raises Problem where it cannot be: then nothing may be done.

        It is in the spool, and so outlives this process, when this returns; on disk within 100 ms."""
        writer = self._writer
        why = writer.healthy(time.monotonic()) if writer else "this control was started without a supervisor"
        if writer is None or why:
            raise Problem(503, "not-recorded", "Not recorded", f"it cannot be recorded: {why}", "see `feiyu status`")
        record = Record(
            node=writer.node,
            boot=writer.boot,
            worker=writer.process,
            seq=writer.next_seq(),
            kind=kind.value,
            time=time.time_ns() // 1000,
            tenant=tenant,
            ref=ref,
            count=count,
            detail=detail,
            facts=facts,
        )
        line = encode(record)
        if len(line) > MAX_LINE:  # the number is spent: something must be written with it
            line = encode(msgspec.structs.replace(record, facts={"error": "too long to be recorded"}))
            writer.append(line)
            raise Problem(422, "too-long", "Too long", "it is too long to be recorded", "say it in fewer words")
        writer.append(line)
        try:
            writer.flush()
        except SpoolFull as error:  # the line goes out first once there is space
            raise Problem(
                503, "not-recorded", "Not recorded", f"it cannot be recorded: {error}", "try again"
            ) from error
        return record

    def did(self, what: str, revision: int, facts: dict[str, str] | None = None) -> None:
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
            facts=facts,
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

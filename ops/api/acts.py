"""What control did, as records of kind action in its own spool: beside the flows they changed, and beyond its own
reach once the recorder has them. The reason is free text and stays in the register's history; the record names the
revision and, where there are accounts, the digest of its link: so neither can be rewritten without the other showing
it."""

import logging
import os
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec

from ops.acts_log import ActsLog
from ops.api.caller import CALLER
from ops.api.digests import digests
from ops.api.problems import Problem
from ops.settings import Settings
from telemetry.record import Kind, Record, encode
from telemetry.spool import SpoolFull, SpoolWriter
from telemetry.spooldir import MAX_LINE
from tenants.change import Applied

_log = logging.getLogger("feiyu.control")


class Acts:
    """Writes the records. Without a writer (a process without a supervisor) they go to the process's log alone. log:
    the acts' own evidence, which follows the register."""

    def __init__(self, writer: SpoolWriter | None, log: ActsLog | None = None) -> None:
        self._writer = writer
        self.log = log

    def applied(self, applied: Applied, actor: str) -> None:
        """A change of the register, with the digests of what it made."""
        first = applied.changed[0]
        more = f" and {len(applied.changed) - 1} more" if len(applied.changed) > 1 else ""
        what = f"{first.verb} {first.collection}/{first.id}{more} by {actor}{_as(applied)}"
        for number, facts in enumerate(digests(applied.changed)):
            self.did(what if not number else f"{what}, continued", applied.revision, facts)

    def record(self, kind: Kind, detail: str, facts: dict[str, str], *, ref: str = "") -> Record:
        """One record of no firm; see records()."""
        return self.records(kind, detail, facts, [("", 0)], ref=ref)[0]

    def records(
        self, kind: Kind, detail: str, facts: dict[str, str], counts: Sequence[tuple[str, int]], *, ref: str = ""
    ) -> list[Record]:
        """Writes records, one for each (tenant, count), before what they tell of is done. Raises Problem where they
        cannot be: then nothing may be done.

        They are in the spool, and so outlive this process, when this returns; on disk within 100 ms."""
        writer = self._writer
        why = writer.healthy(time.monotonic()) if writer else "this control was started without a supervisor"
        if writer is None or why:
            raise Problem(503, "not-recorded", "Not recorded", f"it cannot be recorded: {why}", "see `feiyu status`")
        made = [
            Record(
                node=writer.node,
                boot=writer.boot,
                worker=writer.process,
                seq=0,
                kind=kind.value,
                time=time.time_ns() // 1000,
                tenant=tenant,
                ref=ref,
                count=count,
                detail=detail,
                facts=facts,
            )
            for tenant, count in counts
        ]
        if any(len(encode(record)) > MAX_LINE - 20 for record in made):  # a sequence number is still to come
            raise Problem(422, "too-long", "Too long", "it is too long to be recorded", "say it in fewer words")
        made = [msgspec.structs.replace(record, seq=writer.next_seq()) for record in made]
        for record in made:
            writer.append(encode(record))
        try:
            writer.flush()
        except SpoolFull as error:  # the lines go out first once there is space
            raise Problem(
                503, "not-recorded", "Not recorded", f"it cannot be recorded: {error}", "try again"
            ) from error
        return made

    def did(self, what: str, revision: int, facts: dict[str, str] | None = None) -> None:
        """Any act, in machine-made words. Never raises: the act has been done already."""
        _log.info("%s (revision %d)", what, revision)
        self._write(Kind.ACTION, revision, what, None, facts)

    def heartbeat(self, values: dict[str, int], revision: int) -> None:
        """Says that control lives, with its gauges by name, unless nobody takes records. Never raises."""
        if self._writer is None or self._writer.healthy(time.monotonic()):
            return
        self._write(Kind.HEARTBEAT, revision, "", values)

    def _write(
        self,
        kind: Kind,
        revision: int,
        detail: str,
        values: dict[str, int] | None,
        facts: dict[str, str] | None = None,
    ) -> None:
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
            facts=facts,
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

"""Records the recorder writes itself: what it found, and the end of flows whose process died before writing it.

They have their own chain of sequence numbers, under the worker name "recorder", and go straight into the log.
"""

import msgspec

from telemetry.findings import finding
from telemetry.fold import OWN, OpenFlow, bounded
from telemetry.interception.engine import Hit
from telemetry.record import CloseCause, Kind, Record, encode
from telemetry.spooldir import MAX_LINE


class OwnRecords:
    """Makes them; seq is the last number used. now is Unix µs."""

    def __init__(self, node: str, boot: str, seq: int) -> None:
        self.node, self.boot, self.seq = node, boot, seq

    def action(self, now: int, detail: str, values: dict[str, int]) -> Record:
        """Something that happened to the recorder or that it found."""
        return Record(
            node=self.node,
            boot=self.boot,
            worker=OWN,
            seq=self._next(),
            kind=Kind.ACTION.value,
            time=now,
            detail=detail,
            values={name: count for name, count in values.items() if count} or None,
        )

    def stated(self, now: int, tenant: str, detail: str, values: dict[str, int]) -> Record:
        """A firm's statement (telemetry.statement)."""
        return Record(
            node=self.node,
            boot=self.boot,
            worker=OWN,
            seq=self._next(),
            kind=Kind.STATEMENT.value,
            time=now,
            tenant=tenant,
            detail=detail,
            values=values,
        )

    def closing(self, now: int, flow_id: str, flow: OpenFlow, opened: Record | None) -> Record:
        """The close of a flow whose process died: the open record's fields, the bytes as last reported, and as_of when.

        opened is None when the log no longer holds the open record. duration runs to now, the moment the death was
        noticed.
        """
        if opened is None:
            opened = Record(
                node=self.node,
                boot="",
                worker="",
                seq=0,
                kind="",
                time=now,
                flow=flow_id,
                tenant=flow.tenant,
                line=flow.line,
            )
        boot, _, process = flow.process.partition("-")
        closing = msgspec.structs.replace(
            opened,
            node=self.node,
            boot=self.boot,
            worker=OWN,
            seq=self._next(),
            kind=Kind.CLOSE.value,
            time=now,
            bytes_out=flow.bytes_out,
            bytes_in=flow.bytes_in,
            bytes_as_of=flow.as_of or bounded(opened.time, now),
            duration=bounded(now - opened.time, now),
            cause=CloseCause.WORKER_DIED.value,
            detail=f"{process} of boot {boot} died",
        )
        return _fitting(closing)

    def finding(self, now: int, hit: Hit, acts: bool) -> Record:
        """A rule that holds."""
        return _fitting(finding(hit, now, acts, node=self.node, boot=self.boot, worker=OWN, seq=self._next()))

    def _next(self) -> int:
        self.seq += 1
        return self.seq


def _fitting(record: Record) -> Record:
    """The record, its longest texts shortened where it would not fit an entry of the evidence log: a close says more
    than the open that it is made from."""
    if len(encode(record)) <= MAX_LINE:
        return record
    texts = {name: getattr(record, name) for name in record.__struct_fields__}
    return msgspec.structs.replace(
        record, **{n: v[:200] for n, v in texts.items() if isinstance(v, str) and len(v) > 200}
    )

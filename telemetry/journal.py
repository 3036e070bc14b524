"""The log together with the state folded from it: taking lines in, and finding both again after any end.

Order of things: lines are written to the segment, folded, made durable by commit(); checkpoints follow. See
checkpoint.py for why nothing is lost or doubled.
"""

import os
from dataclasses import dataclass
from pathlib import Path

import msgspec

from telemetry import checkpoint as store
from telemetry import statement
from telemetry.closing import OwnRecords
from telemetry.fold import OWN, OpenFlow, State, process_key
from telemetry.follow import Chunk, Follower, Process
from telemetry.intake import Finding, sift, unreadable
from telemetry.interception.engine import Hit
from telemetry.personal import Sealer
from telemetry.record import Record, decode, encode
from telemetry.segments import Segments, replay, segment_name
from telemetry.watch import Watch


@dataclass(slots=True)
class Recovery:
    """What a start found: records folded again behind the checkpoint, half bytes cut from the log, and in words how the
    last run ended."""

    replayed: int = 0
    cut: int = 0
    words: str = ""


class Journal:
    """The recorder's log and state. All methods raise OSError when the log cannot be written; then nothing may be taken
    any more. now is Unix µs."""

    def __init__(
        self,
        directory: Path,
        node: str,
        boot: str,
        segments: Segments,
        sealer: Sealer | None = None,
        watch: Watch | None = None,
    ) -> None:
        self.sealer = sealer
        self.directory = directory
        self.segments = segments
        loaded, why = store.load(directory)
        self.state: State = loaded.state
        self.watch = watch
        self.forgot = watch.engine.load(loaded.rules) if watch and loaded.rules else ""  # why the rules begin anew
        self.cursors = loaded.cursors
        self._skip: dict[str, int] = {}  # how many records of a process the log has beyond its cursor
        self._upto: dict[str, int] = {}  # or, without cursors, up to which sequence number it has them
        self.recovery = self._recover(loaded, why)
        self.own_key = process_key(boot, OWN)
        self.own = OwnRecords(node, boot, self.state.sequences.get(self.own_key, 0))
        self.dirty = False
        self.fresh: list[bytes] | None = None  # lines since the last commit, while somebody watches

    def take(self, process: Process, chunk: Chunk, now: int) -> None:
        """Copies what was read from a spool."""
        if not chunk.lines:
            self._found(now, [unreadable(chunk.data, process.name, process.boot, "half a line")])
            chunk.file.offset += len(chunk.data)
            return
        key = process.key
        last, skip, upto = self.state.sequences.get(key, 0), self._skip.pop(key, 0), self._upto.pop(key, 0)
        sifted = sift(chunk.data, process.boot, process.name, last, skip, upto)
        if sifted.skip:
            self._skip[key] = sifted.skip
        if upto and not sifted.records:
            self._upto[key] = upto
        # Findings go first: were the end of this write lost, they would be made again rather than missing.
        self._found(now, sifted.findings)
        if sifted.records:
            data, lengths = sifted.data, sifted.lengths
            if self.sealer:
                data, lengths = self.sealer.seal(data, sifted.records, lengths, now)
            self._append(key, data, sifted.records, lengths)
        chunk.file.offset += len(chunk.data)

    def act(self, now: int, detail: str, values: dict[str, int] | None = None) -> None:
        """Writes down something about the recorder itself."""
        self._append_own([self.own.action(now, detail, values or {})])

    def tell(self, now: int, hits: list[Hit], acts: bool) -> None:
        """Writes down what rules found."""
        self._append_own([self.own.finding(now, hit, acts) for hit in hits])

    def close_flows(self, flows: dict[str, OpenFlow], now: int) -> None:
        """Writes the closing records of flows whose process died."""
        self._append_own([self.own.closing(now, id_, flow, self.open_record(flow)) for id_, flow in flows.items()])

    def state_days(self, now: int, most: int) -> bool:
        """Writes the statements of firms whose day is over, at most so many; whether that were all."""
        due = list(statement.due(self.state.accounts, now, most))
        self._append_own([self.own.stated(now, *each) for each in due])
        return len(due) < most

    def open_record(self, flow: OpenFlow) -> Record | None:
        """The open record of a flow, from the log; None when it is not there any more."""
        line = read_line(self.directory, flow)
        try:
            record = decode(line) if line else None
            return self.sealer.open(record) if self.sealer and record else record
        except msgspec.DecodeError:
            return None

    def checkpoint(self, follower: Follower, clean: bool) -> bytes:
        """The state to store, as bytes; only after a commit with nothing taken since."""
        segments = self.segments
        return store.encode(
            store.Checkpoint(
                v=store.VERSION,
                segment=segments.durable[0],
                offset=segments.durable[1],
                records=segments.records,
                cursors=follower.cursors(),
                state=self.state,
                clean=clean,
                host_boot=store.host_boot(),
                rules=self.watch.engine.dump() if self.watch else b"",
            )
        )

    def _found(self, now: int, findings: list[Finding]) -> None:
        self._append_own([self.own.action(now, finding.detail, finding.values) for finding in findings])

    def _append_own(self, records: list[Record]) -> None:
        if records:
            lines = [encode(record) for record in records]
            data, lengths = b"\n".join([*lines, b""]), [len(line) + 1 for line in lines]
            if self.sealer:
                data, lengths = self.sealer.seal(data, records, lengths, records[0].time)
            self._append(self.own_key, data, records, lengths)

    def _append(self, key: str, data: bytes, records: list[Record], lengths: list[int]) -> None:
        segment = self.segments.first
        offset = self.segments.append(data, len(records))
        self.state.take(key, records, lengths, segment, offset)
        if self.watch:
            self.watch.take(records)
        self.dirty = True
        fresh = self.fresh  # the query API sets it meanwhile
        if fresh is not None:
            fresh.append(data)

    def _recover(self, loaded: store.Checkpoint, why: str) -> Recovery:
        found = Recovery()
        segments, tally = self.segments, self.state.tally
        count, now_in, end, bad = loaded.records, loaded.segment, 0, 0
        for segment, offset, data in replay(self.directory, loaded.segment, loaded.offset):
            if segment != now_in:
                count, now_in, end, bad = segment, segment, 0, 0
            at = offset
            for line in data.split(b"\n")[:-1]:
                length = len(line) + 1
                try:
                    record = decode(line)
                except msgspec.DecodeError:
                    bad += 1  # stays in the log only if a good line follows
                else:
                    count += bad + 1
                    tally.unreadable += bad
                    bad = 0
                    end = at + length
                    key = process_key(record.boot, record.worker)
                    self.state.take(key, [record], [length], segment, at)
                    if self.watch:
                        self.watch.replay(record)
                    self._skip[key] = self._skip.get(key, 0) + 1
                    found.replayed += 1
                at += length
        if why:  # no cursors: files may be gone that these records came from, so only sequence numbers can tell
            self._skip, self._upto = {}, dict(self.state.sequences)
        missing = loaded.offset
        whole = segments.size
        if loaded.segment <= segments.first:
            base = loaded.offset if loaded.segment == segments.first else 0
            whole = end if end and now_in == segments.first else base
            missing = whole - segments.size
        found.cut = segments.cut(whole)
        segments.records = max(count, segments.first)
        found.words = _words(loaded, why, found, missing)
        return found


def _words(loaded: store.Checkpoint, why: str, found: Recovery, missing: int) -> str:
    """How the last run ended, as its record says it."""
    if missing > 0:
        return f"started: the log is at least {missing} bytes shorter than it was when last made durable"
    if why and not found.replayed:
        return f"started: {why}"
    if why:
        return f"started: {why}; state folded again from the whole log"
    if loaded.clean and not found.replayed:
        return "started"
    if loaded.host_boot and loaded.host_boot != store.host_boot():
        return "started after an unclean end of the host: what was not yet durable may be missing"
    return "started after an unclean end of the recorder"


def read_line(directory: Path, flow: OpenFlow) -> bytes:
    """The bytes of a flow's open record in the log, without the newline; empty when they are not there."""
    try:
        fd = os.open(directory / segment_name(flow.segment), os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return b""
    try:
        return os.pread(fd, flow.length - 1, flow.offset)
    finally:
        os.close(fd)

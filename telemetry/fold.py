"""What the recorder knows: a fold over the record stream, in plain dicts, so that it can be stored and taken up again.

Pure. Everything served (metrics, open flows) and everything decided (gaps, closing records) comes from here, and
replaying the log from a checkpoint gives the same state again.
"""

from bisect import bisect_left

import msgspec

from telemetry import lines, statement
from telemetry.lines import LineTally
from telemetry.record import CloseCause, Kind, Record

# Seconds; the +Inf bucket is behind the last.
DURATION_BUCKETS = (0.05, 0.25, 1.0, 5.0, 15.0, 60.0, 300.0, 1800.0, 7200.0, 28800.0, 86400.0)
OWN = "recorder"  # the worker name of the recorder's own records
MAX_RULES = 1000  # that are counted apart
MAX_NAMES = 64  # of reasons, gauges: closed sets in practice, bounded all the same

# Numbers in records are bounded before they are added up, and sums stop growing: else one absurd record of a broken
# worker would make a state that cannot be stored, at every start again.
MOST = 1 << 50
_CEILING = 1 << 62

_BUCKETS = [round(bound * 1e6) for bound in DURATION_BUCKETS]  # µs
_CAUSES = frozenset(cause.value for cause in CloseCause)
_REFUSED = CloseCause.REFUSED.value
_OPEN, _PROGRESS, _CLOSE, _DENY = Kind.OPEN.value, Kind.PROGRESS.value, Kind.CLOSE.value, Kind.DENY.value
KINDS = frozenset(kind.value for kind in Kind)  # what belongs into the log


def process_key(boot: str, worker: str) -> str:
    """The chain of sequence numbers that a record belongs to."""
    return f"{boot}-{worker}"


class OpenFlow(msgspec.Struct, array_like=True, gc=False):
    """A flow without a closing record: where its open record stands in the log (segment, offset, length), and its bytes
    so far (as_of in Unix µs)."""

    process: str
    segment: int
    offset: int
    length: int
    tenant: str
    line: str
    bytes_out: int = 0
    bytes_in: int = 0
    as_of: int = 0


class Tally(msgspec.Struct):
    """Counters since the log began. Keys: tenant, line, reason …; bytes are [out, in]; durations one count per
    bucket."""

    opened: int = 0
    closed: dict[str, int] = {}
    refusals: dict[str, int] = {}
    kinds: dict[str, int] = {}
    gaps: int = 0
    missing: int = 0
    unreadable: int = 0
    tenant_flows: dict[str, int] = {}
    tenant_refusals: dict[str, int] = {}
    tenant_bytes: dict[str, list[int]] = {}
    line_bytes: dict[str, list[int]] = {}
    lines: dict[str, LineTally] = {}  # "": of the node
    bytes: list[int] = msgspec.field(default_factory=lambda: [0, 0])
    durations: list[int] = msgspec.field(default_factory=lambda: [0] * (len(DURATION_BUCKETS) + 1))
    duration_sum: int = 0  # µs
    revision: int = 0
    gauges: dict[str, dict[str, int]] = {}  # process key: last heartbeat's values
    rules: dict[str, int] = {}  # hits by the rule's id
    levels: dict[str, int] = {}  # findings by level


class State(msgspec.Struct):
    """The whole state. sequences: last sequence number of each process key that still counts; accounts: by tenant, for
    its next statement."""

    flows: dict[str, OpenFlow] = {}
    sequences: dict[str, int] = {}
    tally: Tally = msgspec.field(default_factory=Tally)
    accounts: dict[str, statement.Account] = {}

    def take(self, key: str, records: list[Record], lengths: list[int], segment: int, offset: int) -> None:
        """Folds consecutive records of one process, written at this place of the log (lengths include the newline)."""
        tally, flows = self.tally, self.flows
        kinds, tenant_flows = tally.kinds, tally.tenant_flows
        revision = 0
        for record, length in zip(records, lengths, strict=True):
            kind = record.kind
            kinds[kind] = kinds.get(kind, 0) + 1
            if kind == _OPEN:
                tenant = record.tenant
                flows[record.flow] = OpenFlow(key, segment, offset, length, tenant, record.line)
                tally.opened += 1
                tenant_flows[tenant] = tenant_flows.get(tenant, 0) + 1
            elif kind == _CLOSE:
                self._close(record)
            elif kind == _PROGRESS:
                flow = flows.get(record.flow)
                if flow is not None:
                    self._count_bytes(flow, record)
                    flow.bytes_out, flow.bytes_in = bounded(record.bytes_out), bounded(record.bytes_in)
                    flow.as_of = bounded(record.bytes_as_of, _CEILING)
            elif kind == _DENY:
                self._refused(record, bounded(record.count) or 1)
            else:
                self._other(key, record)
            revision = record.revision or revision
            offset += length
        if revision:
            tally.revision = bounded(revision)
        if records:
            self.sequences[key] = records[-1].seq
            statement.take(self.accounts, records, OWN)

    def forget(self, key: str) -> None:
        """Drops what only concerns a process that is gone for good."""
        self.sequences.pop(key, None)
        self.tally.gauges.pop(key, None)
        lines.forget(self.tally.lines, key)

    def flows_of(self, key: str) -> dict[str, OpenFlow]:
        """Flows that this process opened and did not close."""
        return {flow_id: flow for flow_id, flow in self.flows.items() if flow.process == key}

    def _close(self, record: Record) -> None:
        tally = self.tally
        cause = record.cause if record.cause in _CAUSES else "other"
        tally.closed[cause] = tally.closed.get(cause, 0) + 1
        flow = self.flows.pop(record.flow, None)
        if flow is not None:
            self._count_bytes(flow, record)
        duration = bounded(record.duration)
        tally.durations[bisect_left(_BUCKETS, duration)] += 1
        tally.duration_sum = bounded(tally.duration_sum + duration, _CEILING)
        if record.reason and cause == _REFUSED:
            self._refused(record, 1)

    def _count_bytes(self, flow: OpenFlow, record: Record) -> None:
        """Counters take the difference to the last record; a count that went back (a reset) counts as nothing."""
        out, into = record.bytes_out, record.bytes_in
        if flow.bytes_out <= out <= MOST and flow.bytes_in <= into <= MOST:
            out -= flow.bytes_out
            into -= flow.bytes_in
        else:
            out = bounded(bounded(out) - flow.bytes_out)
            into = bounded(bounded(into) - flow.bytes_in)
        if not out and not into:
            return
        tally, tenant, line = self.tally, flow.tenant, record.line or flow.line
        of_tenant = tally.tenant_bytes.get(tenant) or tally.tenant_bytes.setdefault(tenant, [0, 0])
        of_line = tally.line_bytes.get(line) or tally.line_bytes.setdefault(line, [0, 0])
        for pair in (tally.bytes, of_tenant, of_line):
            pair[0] += out
            pair[1] += into
            if pair[0] > _CEILING or pair[1] > _CEILING:
                pair[:] = min(_CEILING, pair[0]), min(_CEILING, pair[1])

    def _refused(self, record: Record, count: int) -> None:
        tally = self.tally
        reason = record.reason
        if reason not in tally.refusals and len(tally.refusals) >= MAX_NAMES:
            reason = "other"
        tally.refusals[reason] = min(_CEILING, tally.refusals.get(reason, 0) + count)
        if tenant := record.tenant:
            tally.tenant_refusals[tenant] = min(_CEILING, tally.tenant_refusals.get(tenant, 0) + count)

    def _other(self, key: str, record: Record) -> None:
        values = record.values or {}
        if record.kind == Kind.LINE.value or (record.kind == Kind.HEARTBEAT.value and record.detail == lines.FIGURES):
            lines.take(self.tally.lines, key, record)
        elif record.kind == Kind.HEARTBEAT.value:
            self.tally.gauges[key] = {name[:64]: bounded(value) for name, value in list(values.items())[:MAX_NAMES]}
        elif record.kind == Kind.FINDING.value:
            _count(self.tally.rules, record.rule, MAX_RULES)
            _count(self.tally.levels, record.detail.partition(":")[0], MAX_NAMES)
        elif record.kind == Kind.ACTION.value and record.worker == OWN:
            self.tally.gaps += values.get("gaps", 0)
            self.tally.missing = min(_CEILING, self.tally.missing + bounded(values.get("missing", 0)))
            self.tally.unreadable += values.get("unreadable", 0)


def _count(counts: dict[str, int], name: str, most: int) -> None:
    """One more of a name; those beyond so many names are counted together."""
    if name not in counts and len(counts) >= most:
        name = "other"
    counts[name] = min(_CEILING, counts.get(name, 0) + 1)


def bounded(number: int, most: int = MOST) -> int:
    """A number out of a record, at least 0 and at most `most`."""
    return number if 0 <= number <= most else 0 if number < 0 else most

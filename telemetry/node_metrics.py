"""The metric families of the node itself: its processes and expiries as control last told them (ops/api/facts.py), its
disks, its evidence, its streams. What is not known has no sample."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from telemetry.stream.state import State

CONTROL = "control"
_EXPIRY = "When the next grant, tenant, token or certificate of the node ends that is in force; Unix time."
# family, help, and the value of control's heartbeat
_SINGLE = (
    ("feiyu_register_readable", "Whether control can read the register.", "register_ok"),
    ("feiyu_policy_published", "Whether the published policy is up to date with the register.", "published_ok"),
    ("feiyu_processes_degraded", "Processes that keep dying.", "degraded"),
    ("feiyu_configuration_refused", "Whether the configuration last read again was refused.", "reload_pending"),
)
_BY_ROLE = (
    ("feiyu_processes_ready", "Processes of a role that run and have all they need.", "ready_"),
    ("feiyu_processes_wanted", "Processes of a role that should run.", "wanted_"),
)
_SINKS = (
    ("feiyu_stream_connected", "Whether a sink takes records.", "connected"),
    ("feiyu_stream_lag_records", "Records that a sink has not taken yet.", "lag_records"),
    ("feiyu_stream_lag_seconds", "Age of the oldest record that a sink has not taken yet.", "lag_seconds"),
)
_SINK_TOTALS = (
    ("feiyu_stream_sent_records", "Records that a sink took, doubles included.", "sent"),
    ("feiyu_stream_missed_records", "Records that were no longer in the log when a sink came to them.", "missing"),
    ("feiyu_stream_failures", "Times that a sink's connection or file failed.", "failures"),
    ("feiyu_stream_dead_letters", "Records that a sink refused for good.", "dead_letters"),
)


@dataclass(frozen=True, slots=True)
class Disk:
    """A file system by what Feiyu keeps there (state, run): bytes that the recorder may still write, and in all."""

    name: str
    free: int
    size: int


@dataclass(frozen=True, slots=True)
class Evidence:
    """The evidence log: leaves under a checkpoint, the age in seconds of the oldest record that is not, and whether
    what it holds no longer verifies; minimum: leaves below it were deleted; witnessed: leaves under the newest
    checkpoint that was cosigned, None where no witness is asked."""

    size: int
    lag: float
    damaged: bool
    minimum: int = 0
    witnessed: int | None = None


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a scrape sees beside the fold; None is not known."""

    disks: list[Disk] = field(default_factory=list)
    evidence: Evidence | None = None
    streams: State | None = None


def families(gauges: Mapping[str, Mapping[str, int]], seen: Surroundings) -> Iterator[Metric]:
    """All families. gauges: values of the last heartbeats by process key."""
    told = [dict(values) for key, values in gauges.items() if is_control(key.partition("-")[2])]
    values = told[-1] if told else {}
    yield GaugeMetricFamily("feiyu_control_up", "Whether control writes its heartbeats.", value=int(bool(told)))
    for name, text, key in _SINGLE:
        yield _one(name, text, values.get(key))
    for name, text, prefix in _BY_ROLE:
        yield _labelled(GaugeMetricFamily(name, text, labels=["role"]), values, prefix)
    restarts = "Restarts of a role's processes since the node started."
    yield _labelled(CounterMetricFamily("feiyu_process_restarts", restarts, labels=["role"]), values, "restarts_")
    reloads = CounterMetricFamily("feiyu_reloads", "Configurations read again, by result.", labels=["result"])
    yield _labelled(reloads, {k: v for k, v in values.items() if k != "reload_pending"}, "reload_")
    expiry = GaugeMetricFamily("feiyu_next_expiry_timestamp_seconds", _EXPIRY, labels=["kind"])
    yield _labelled(expiry, values, "next_expiry_")
    yield from _disks(seen.disks)
    yield from _evidence(seen.evidence)
    yield from _streams(seen.streams)


def is_control(process: str) -> bool:
    """Whether a process of this name is control."""
    return process.partition(".")[0] == CONTROL


def _one(name: str, text: str, value: float | None) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, text, value=value) if value is not None else GaugeMetricFamily(name, text)


def _labelled[F: (GaugeMetricFamily, CounterMetricFamily)](family: F, values: Mapping[str, int], prefix: str) -> F:
    for key, value in sorted(values.items()):
        if key.startswith(prefix):
            family.add_metric([key.removeprefix(prefix)], value)
    return family


def _disks(disks: list[Disk]) -> Iterator[Metric]:
    free = GaugeMetricFamily("feiyu_disk_free_bytes", "Bytes that may still be written.", labels=["directory"])
    size = GaugeMetricFamily("feiyu_disk_size_bytes", "Size of the file system.", labels=["directory"])
    for disk in disks:
        free.add_metric([disk.name], disk.free)
        size.add_metric([disk.name], disk.size)
    yield free
    yield size


def _evidence(evidence: Evidence | None) -> Iterator[Metric]:
    yield _one("feiyu_evidence_records", "Records under a published checkpoint.", evidence.size if evidence else None)
    lag = "Age of the oldest record that is not under a published checkpoint."
    yield _one("feiyu_evidence_lag_seconds", lag, evidence.lag if evidence else None)
    damaged = "Whether the evidence log no longer verifies."
    yield _one("feiyu_evidence_damaged", damaged, int(evidence.damaged) if evidence else None)
    deleted = "Entries below it were deleted when they were old enough."
    yield _one("feiyu_evidence_minimum_index", deleted, evidence.minimum if evidence else None)
    witnessed = "Entries under the newest checkpoint that witnesses cosigned; no sample where none is asked."
    yield _one("feiyu_evidence_witnessed_size", witnessed, evidence.witnessed if evidence else None)


def _streams(state: State | None) -> Iterator[Metric]:
    sinks = state.sinks if state else []
    for name, text, field_ in _SINKS:
        gauge = GaugeMetricFamily(name, text, labels=["sink"])
        for sink in sinks:
            gauge.add_metric([sink.name], float(getattr(sink, field_)))
        yield gauge
    for name, text, field_ in _SINK_TOTALS:
        counter = CounterMetricFamily(name, text, labels=["sink"])
        for sink in sinks:
            counter.add_metric([sink.name], float(getattr(sink, field_)))
        yield counter
    yield _one("feiyu_stream_watchers", "Clients of the event stream.", state.watchers if state else None)

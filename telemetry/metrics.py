"""/metrics out of the fold: nothing happens per record, families are made when someone scrapes.

Counters run on over restarts of the recorder, since the fold does. Gauges of a process vanish with it.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import msgspec
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from telemetry import line_metrics, node_metrics
from telemetry.fold import DURATION_BUCKETS, State, Tally
from telemetry.node_metrics import Surroundings
from telemetry.watch import Figures

_GAUGE = re.compile(r"[a-z][a-z0-9_]{0,63}", re.ASCII)
_DIRECTIONS = ("out", "in")
_NOTHING = Surroundings()
_DIRECTION_HELP = "out is client to server, in is server to client."


@dataclass(frozen=True, slots=True)
class View:
    """What a scrape sees: a copy of the tally that the fold does not change any more, and the recorder's own figures.
    lag in seconds."""

    tally: Tally
    flows_open: int
    lag: float
    spool_bytes: int
    failed: bool = False
    rules: Figures | None = None
    around: Surroundings = _NOTHING


def view(
    state: State,
    lag: float,
    spool_bytes: int,
    rules: Figures | None = None,
    around: Surroundings = _NOTHING,
) -> View:
    """Copies what a scrape in another thread iterates over."""
    tally = state.tally
    copies = {name: dict(value) for name in tally.__struct_fields__ if isinstance(value := getattr(tally, name), dict)}
    copied = msgspec.structs.replace(tally, **copies)
    return View(copied, len(state.flows), lag, spool_bytes, rules=rules, around=around)


def render(seen: View) -> bytes:
    """The text exposition format, UTF-8. Takes about 10 µs per series."""
    registry = CollectorRegistry()
    registry.register(_Families(seen))
    return generate_latest(registry)


class _Families(Collector):
    def __init__(self, seen: View) -> None:
        self._seen = seen

    def collect(self) -> Iterable[Metric]:
        yield from _flows(self._seen.tally, self._seen.flows_open)
        yield from _tenants(self._seen.tally)
        yield from _lines(self._seen.tally)
        yield from _node(self._seen)
        yield from _rules(self._seen)
        yield from node_metrics.families(self._seen.tally.gauges, self._seen.around)
        yield from _gauges(self._seen.tally)


def _counter(name: str, text: str, label: str, values: dict[str, int]) -> CounterMetricFamily:
    family = CounterMetricFamily(name, text, labels=[label])
    for key, value in sorted(values.items()):
        family.add_metric([key], value)
    return family


def _by_direction(name: str, text: str, label: str, values: dict[str, list[int]]) -> CounterMetricFamily:
    family = CounterMetricFamily(name, f"{text} {_DIRECTION_HELP}", labels=[label, "direction"])
    for key, pair in sorted(values.items()):
        for direction, value in zip(_DIRECTIONS, pair, strict=True):
            family.add_metric([key, direction], value)
    return family


def _flows(tally: Tally, flows_open: int) -> Iterator[Metric]:
    yield CounterMetricFamily("feiyu_flows_opened", "Flows that were permitted and opened.", value=tally.opened)
    yield _counter("feiyu_flows_closed", "Flows that ended, by cause.", "cause", tally.closed)
    yield _counter("feiyu_refusals", "Refused requests, by reason.", "reason", tally.refusals)
    bytes_ = CounterMetricFamily("feiyu_bytes", f"Bytes relayed. {_DIRECTION_HELP}", labels=["direction"])
    for direction, value in zip(_DIRECTIONS, tally.bytes, strict=True):
        bytes_.add_metric([direction], value)
    yield bytes_
    yield GaugeMetricFamily("feiyu_flows_open", "Flows without a closing record.", value=flows_open)
    total, buckets = 0, []
    for bound, count in zip([*map(str, DURATION_BUCKETS), "+Inf"], tally.durations, strict=True):
        total += count
        buckets.append((bound, float(total)))
    duration = HistogramMetricFamily("feiyu_flow_duration_seconds", "How long closed flows were open.")
    duration.add_metric([], buckets, tally.duration_sum / 1e6)
    yield duration


def _tenants(tally: Tally) -> Iterator[Metric]:
    yield _counter("feiyu_tenant_flows", "Flows opened, by tenant.", "tenant", tally.tenant_flows)
    yield _counter("feiyu_tenant_refusals", "Refused requests, by tenant.", "tenant", tally.tenant_refusals)
    yield _by_direction("feiyu_tenant_bytes", "Bytes relayed, by tenant.", "tenant", tally.tenant_bytes)


def _lines(tally: Tally) -> Iterator[Metric]:
    yield from line_metrics.families(tally.lines)
    gone = {name for name, line in tally.lines.items() if line.retired}
    octets = {name: pair for name, pair in tally.line_bytes.items() if name not in gone}
    yield _by_direction("feiyu_line_bytes", "Bytes relayed, by line.", "line", octets)


def _node(seen: View) -> Iterator[Metric]:
    tally = seen.tally
    yield _counter("feiyu_records", "Records in the log, by kind.", "kind", tally.kinds)
    yield CounterMetricFamily(
        "feiyu_record_gaps", "Gaps in sequences of records; each is in the log.", value=tally.gaps
    )
    yield CounterMetricFamily("feiyu_records_missing", "Records missing in those gaps.", value=tally.missing)
    yield CounterMetricFamily("feiyu_spool_unreadable", "Spool lines that were no record.", value=tally.unreadable)
    yield GaugeMetricFamily(
        "feiyu_recorder_lag_seconds", "Age of the oldest record that may not be durable.", value=seen.lag
    )
    yield GaugeMetricFamily("feiyu_spool_bytes", "Bytes in spool files, taken or not.", value=seen.spool_bytes)
    yield GaugeMetricFamily("feiyu_policy_revision", "Policy revision of the last record.", value=tally.revision)


def _rules(seen: View) -> Iterator[Metric]:
    if seen.rules is None:
        return
    yield _counter("feiyu_rule_hits", "Findings, by the rule's id.", "rule", seen.tally.rules)
    yield _counter("feiyu_findings", "Findings, by level.", "level", seen.tally.levels)
    figures = seen.rules
    yield GaugeMetricFamily("feiyu_rules_loaded", "Detection rules that run.", value=figures.loaded)
    text = "Whether the rules in the files were refused, so that older ones run."
    yield GaugeMetricFamily("feiyu_rules_rejected", text, value=figures.rejected)
    yield GaugeMetricFamily("feiyu_rules_tripped", "Rules set aside by their breaker.", value=figures.tripped)
    yield GaugeMetricFamily("feiyu_rule_groups", "Groups that correlations keep.", value=figures.groups)
    text = "Groups that correlations had to forget for want of room."
    yield CounterMetricFamily("feiyu_rule_groups_forgotten", text, value=figures.forgotten)


def _gauges(tally: Tally) -> Iterator[Metric]:
    families: dict[str, GaugeMetricFamily] = {}
    for process, values in sorted({key.partition("-")[2]: values for key, values in tally.gauges.items()}.items()):
        if node_metrics.is_control(process):
            continue
        for given, value in values.items():
            name = given.removesuffix("_total")
            if not _GAUGE.fullmatch(name):
                continue
            family = families.get(name)
            if family is None:
                text = f"{name.replace('_', ' ').capitalize()}, as the process last reported."
                family = families[name] = GaugeMetricFamily(f"feiyu_worker_{name}", text, labels=["worker"])
            family.add_metric([process], value)
    yield from families.values()

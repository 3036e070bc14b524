"""The metric families of lines. What is not known has no sample."""

from collections.abc import Iterator, Mapping

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from telemetry.lines import REPAIRS, LineTally, in_use

_STATE = "State of a line: 0 down, 1 up, 2 draining, 3 degraded."
_RTT = "Median round trip of the last minute, of probes or (passive) of flows, one to each host."
# family: help, value in the records, how many of its units make one
_GAUGES = {
    "feiyu_line_loss_ratio": ("Lost part of the last minute's probes.", "loss_permille", 1_000),
    "feiyu_line_retransmit_ratio": ("Part of the last minute's segments sent again.", "retransmits_ppm", 1_000_000),
    "feiyu_line_flows": ("Open flows on a line, as the workers count them.", "flows", 1),
    "feiyu_line_contract_remaining_seconds": (
        "Time until the line's contract ends, by whole days.",
        "contract_days",
        1 / 86_400,
    ),
}
_TOTALS = {
    "feiyu_line_drift_repairs": ("Repairs of what the kernel should hold for this line alone.", REPAIRS),
    "feiyu_line_killswitch_dropped_packets": (
        "Packets with the mark of a line that would have left it another way.",
        "dropped",
    ),
    "feiyu_ports_exhausted": ("Connections for which no source port was free, by line.", "exhausted"),
}


def families(lines: Mapping[str, LineTally]) -> Iterator[Metric]:
    """All families, lines in the order of their names."""
    known = in_use(lines)
    state = GaugeMetricFamily("feiyu_line_state", _STATE, labels=["line"])
    rtt = GaugeMetricFamily("feiyu_line_rtt_seconds", _RTT, labels=["line", "method"])
    for name, tally in known:
        if tally.state >= 0:
            state.add_metric([name], tally.state)
        for method, gauge in (("probe", "rtt_us"), ("passive", "passive_rtt_us")):
            if (value := tally.gauges.get(gauge)) is not None:
                rtt.add_metric([name, method], value / 1e6)
    yield state
    yield rtt
    for family, (text, gauge, units) in _GAUGES.items():
        metric = GaugeMetricFamily(family, text, labels=["line"])
        for name, tally in known:
            if (value := tally.gauges.get(gauge)) is not None:
                metric.add_metric([name], value / units)
        yield metric
    for family, (text, total) in _TOTALS.items():
        counter = CounterMetricFamily(family, text, labels=["line"])
        for name, tally in known:
            if (value := tally.totals.get(total)) is not None:
                counter.add_metric([name], value)
        yield counter
    words = "Bytes on a line with all headers, as the kernel counts them, beside feiyu_line_bytes_total."
    wire = CounterMetricFamily("feiyu_line_wire_bytes", words, labels=["line", "direction"])
    for name, tally in known:
        for direction in ("out", "in"):
            if (value := tally.totals.get(f"wire_{direction}")) is not None:
                wire.add_metric([name, direction], value)
    yield wire
    yield from _node(lines)


def _node(lines: Mapping[str, LineTally]) -> Iterator[Metric]:
    repairs = sum(tally.totals.get(REPAIRS, 0) for tally in list(lines.values()))
    yield CounterMetricFamily("feiyu_drift_repairs", "Repairs of all that the kernel should hold.", value=repairs)
    dropped = CounterMetricFamily(
        "feiyu_killswitch_dropped_packets", "Packets that the kill switch dropped, by counter.", labels=["counter"]
    )
    node = lines.get("", LineTally())
    for name, value in sorted(dict(node.totals).items()):
        if name != REPAIRS:
            dropped.add_metric([name], value)
    yield dropped

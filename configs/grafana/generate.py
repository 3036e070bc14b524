"""Writes the dashboards from the tables below: python -m configs.grafana.generate [DIRECTORY].

They are built with Grafana's own types for its version 10.1 (grafana-foundation-sdk, a tool of developers; no node
needs it), which later versions read as well. Names of metrics are checked against a running node by tests/configs.
"""

import sys
from dataclasses import dataclass
from pathlib import Path

from grafana_foundation_sdk.builders import common, dashboard, prometheus, stat, timeseries
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.common import BigValueColorMode, LegendDisplayMode, LegendPlacement, StackingMode
from grafana_foundation_sdk.models.dashboard import (
    DashboardCursorSync,
    DashboardLinkType,
    DataSourceRef,
    Threshold,
    ThresholdsMode,
    VariableRefresh,
)

HERE = Path(__file__).parent / "dashboards"
_SOURCE = DataSourceRef(type_val="prometheus", uid="${datasource}")
_NODE = 'instance=~"$instance"'
_TENANT = 'tenant=~"$tenant"'


@dataclass(frozen=True)
class Shown:
    """One panel: queries as (expression, legend). big: the last value as a number, red from `red` on, or below it where
    low is meant."""

    title: str
    unit: str
    queries: tuple[tuple[str, str], ...]
    big: bool = False
    red: float | None = None
    low: bool = False
    stacked: bool = False
    width: int = 12


def _rate(metric: str, by: str, where: str = _NODE) -> str:
    return f"sum by ({by}) (rate({metric}{{{where}}}[$__rate_interval]))"


def _big(title: str, unit: str, expression: str, red: float | None = None, low: bool = False) -> Shown:
    return Shown(title, unit, ((expression, ""),), big=True, red=red, low=low, width=4)


def _graph(title: str, unit: str, *queries: tuple[str, str], stacked: bool = False) -> Shown:
    return Shown(title, unit, queries, stacked=stacked)


FLEET = (
    _big("Nodes up", "short", 'sum(up{job="feiyu"})', 1, low=True),
    _big("Open flows", "short", f"sum(feiyu_flows_open{{{_NODE}}})"),
    _big("Failed by the gateway, 1 h", "percentunit", f"max(feiyu:failures:ratio_rate1h{{{_NODE}}})", 0.001),
    _big("Lines up", "short", f"count(feiyu_line_state{{{_NODE}}} == 1)", 1, low=True),
    _big("Next expiry", "s", f"min(feiyu_next_expiry_timestamp_seconds{{{_NODE}}}) - time()", 259_200, low=True),
    _big("Alerts firing", "short", 'count(ALERTS{alertstate="firing", class!="watchdog"}) or vector(0)', 1),
    _graph("Flows opened", "ops", (_rate("feiyu_flows_opened_total", "instance"), "{{instance}}")),
    _graph("Refusals by reason", "ops", (_rate("feiyu_refusals_total", "reason"), "{{reason}}"), stacked=True),
    _graph("Bytes", "Bps", (_rate("feiyu_bytes_total", "instance, direction"), "{{instance}} {{direction}}")),
    _graph(
        "Flows that ended, by cause", "ops", (_rate("feiyu_flows_closed_total", "cause"), "{{cause}}"), stacked=True
    ),
    _graph(
        "How long flows were open",
        "s",
        (f"histogram_quantile(0.5, {_rate('feiyu_flow_duration_seconds_bucket', 'le')})", "median"),
        (f"histogram_quantile(0.95, {_rate('feiyu_flow_duration_seconds_bucket', 'le')})", "95 %"),
    ),
    _graph("Recorder's lag", "s", (f"feiyu_recorder_lag_seconds{{{_NODE}}}", "{{instance}}")),
    _graph(
        "Processes that are not ready",
        "short",
        (f"feiyu_processes_wanted{{{_NODE}}} - feiyu_processes_ready{{{_NODE}}}", "{{instance}} {{role}}"),
    ),
    _graph("Restarts", "short", (f"feiyu_process_restarts_total{{{_NODE}}}", "{{instance}} {{role}}")),
    _graph("Connections of workers", "short", (f"feiyu_worker_connections{{{_NODE}}}", "{{instance}} {{worker}}")),
    _graph("Policy revision", "short", (f"feiyu_policy_revision{{{_NODE}}}", "{{instance}}")),
)
TENANT = (
    _graph("Flows opened", "ops", (_rate("feiyu_tenant_flows_total", "tenant", _TENANT), "{{tenant}}")),
    _graph("Refusals", "ops", (_rate("feiyu_tenant_refusals_total", "tenant", _TENANT), "{{tenant}}")),
    _graph(
        "Bytes out (client to server)",
        "Bps",
        (_rate("feiyu_tenant_bytes_total", "tenant", f'{_TENANT}, direction="out"'), "{{tenant}}"),
    ),
    _graph(
        "Bytes in", "Bps", (_rate("feiyu_tenant_bytes_total", "tenant", f'{_TENANT}, direction="in"'), "{{tenant}}")
    ),
    _graph("Ten with the most refusals", "ops", ("topk(10, feiyu:tenant_refusals:rate5m)", "{{tenant}}")),
    _graph(
        "Ten with the most bytes",
        "Bps",
        ("topk(10, sum by (tenant) (feiyu:tenant_bytes:rate5m))", "{{tenant}}"),
    ),
)
_LINE = f'{_NODE}, line=~"$line"'
LINES = (
    _graph("State (0 down, 1 up, 2 draining, 3 degraded)", "short", (f"feiyu_line_state{{{_LINE}}}", "{{line}}")),
    _graph("Round trip", "s", (f"feiyu_line_rtt_seconds{{{_LINE}}}", "{{line}} {{method}}")),
    _graph("Probes lost", "percentunit", (f"feiyu_line_loss_ratio{{{_LINE}}}", "{{line}}")),
    _graph("Segments sent again", "percentunit", (f"feiyu_line_retransmit_ratio{{{_LINE}}}", "{{line}}")),
    _graph("Open flows", "short", (f"feiyu_line_flows{{{_LINE}}}", "{{line}}")),
    _graph("Bytes", "Bps", (_rate("feiyu_line_bytes_total", "line, direction", _LINE), "{{line}} {{direction}}")),
    _graph("Contract ends in", "s", (f"feiyu_line_contract_remaining_seconds{{{_LINE}}}", "{{line}}")),
    _graph("Repairs", "short", (f"feiyu_line_drift_repairs_total{{{_LINE}}}", "{{line}}")),
    _graph(
        "Packets dropped by the kill switch",
        "short",
        (f"feiyu_line_killswitch_dropped_packets_total{{{_LINE}}}", "{{line}}"),
    ),
    _graph("No source port left", "short", (f"feiyu_ports_exhausted_total{{{_LINE}}}", "{{line}}")),
)
DETECTION = (
    _big("Alerts of security", "short", 'count(ALERTS{alertstate="firing", class="security"}) or vector(0)', 1),
    _big(
        "Packets beside the lines, 1 h",
        "short",
        f"sum(increase(feiyu_killswitch_dropped_packets_total{{{_NODE}}}[1h]))",
        1,
    ),
    _big("Repairs of the kernel, 1 h", "short", f"sum(increase(feiyu_drift_repairs_total{{{_NODE}}}[1h]))", 1),
    _big("Gaps in records, 1 h", "short", f"sum(increase(feiyu_record_gaps_total{{{_NODE}}}[1h]))", 1),
    _graph(
        "Strangers",
        "ops",
        (
            _rate(
                "feiyu_refusals_total",
                "reason",
                f'{_NODE}, reason=~"identity-unknown|identity-revoked|source-not-allowed|malformed-request"',
            ),
            "{{reason}}",
        ),
    ),
    _graph(
        "What tunnels may not carry",
        "ops",
        (
            _rate(
                "feiyu_refusals_total",
                "reason",
                f'{_NODE}, reason=~"name-mismatch|address-forbidden|ech-not-allowed|protocol-not-allowed"',
            ),
            "{{reason}}",
        ),
    ),
    _graph(
        "Refusals against the day's mean",
        "ops",
        (f"feiyu:refusals:rate5m{{{_NODE}}}", "{{instance}}"),
        (f"5 * feiyu:refusals:rate1d{{{_NODE}}}", "{{instance}} alert"),
    ),
    _graph("Ten firms with the most refusals", "ops", ("topk(10, feiyu:tenant_refusals:rate5m)", "{{tenant}}")),
    _graph(
        "Kill switch, by counter", "pps", (_rate("feiyu_killswitch_dropped_packets_total", "counter"), "{{counter}}")
    ),
    _graph(
        "Flows that were cut or refused late",
        "ops",
        (_rate("feiyu_flows_closed_total", "cause", f'{_NODE}, cause=~"cut.*|refused|expired"'), "{{cause}}"),
    ),
)
EVIDENCE = (
    _big("Evidence verifies", "short", f"1 - max(feiyu_evidence_damaged{{{_NODE}}})", 1, low=True),
    _big("Records under a checkpoint", "short", f"sum(feiyu_evidence_records{{{_NODE}}})"),
    _big("Oldest without one", "s", f"max(feiyu_evidence_lag_seconds{{{_NODE}}})", 10),
    _big("Records missing", "short", f"sum(feiyu_records_missing_total{{{_NODE}}})", 1),
    _graph(
        "Lag",
        "s",
        (f"feiyu_evidence_lag_seconds{{{_NODE}}}", "evidence {{instance}}"),
        (f"feiyu_recorder_lag_seconds{{{_NODE}}}", "log {{instance}}"),
    ),
    _graph("Records by kind", "ops", (_rate("feiyu_records_total", "kind"), "{{kind}}"), stacked=True),
    _graph("Spool", "bytes", (f"feiyu_spool_bytes{{{_NODE}}}", "{{instance}}")),
    _graph(
        "Disk left",
        "percentunit",
        (f"feiyu_disk_free_bytes{{{_NODE}}} / feiyu_disk_size_bytes{{{_NODE}}}", "{{instance}} {{directory}}"),
    ),
    _graph(
        "Records that sinks have not taken", "short", (f"feiyu_stream_lag_records{{{_NODE}}}", "{{instance}} {{sink}}")
    ),
    _graph("Age of what sinks have not taken", "s", (f"feiyu_stream_lag_seconds{{{_NODE}}}", "{{instance}} {{sink}}")),
    _graph(
        "Sent to sinks", "ops", (_rate("feiyu_stream_sent_records_total", "instance, sink"), "{{instance}} {{sink}}")
    ),
    _graph(
        "Failures, dead letters, lost history",
        "short",
        (f"feiyu_stream_failures_total{{{_NODE}}}", "{{sink}} failures"),
        (f"feiyu_stream_dead_letters_total{{{_NODE}}}", "{{sink}} dead letters"),
        (f"feiyu_stream_missed_records_total{{{_NODE}}}", "{{sink}} lost history"),
    ),
)
# file: title, panels, variables beside the node (name, metric, label)
DASHBOARDS: dict[str, tuple[str, tuple[Shown, ...], tuple[tuple[str, str], ...]]] = {
    "fleet": ("Feiyu · Fleet", FLEET, ()),
    "tenant": ("Feiyu · Tenants", TENANT, (("tenant", "feiyu_tenant_flows_total"),)),
    "lines": ("Feiyu · Lines", LINES, (("line", "feiyu_line_state"),)),
    "detection": ("Feiyu · Detection", DETECTION, ()),
    "evidence": ("Feiyu · Evidence and streams", EVIDENCE, ()),
}


def render(name: str) -> str:
    """The JSON of one dashboard."""
    title, panels, more = DASHBOARDS[name]
    board = (
        dashboard.Dashboard(title)
        .uid(f"feiyu-{name}")
        .tags(["feiyu"])
        .refresh("30s")
        .time("now-6h", "now")
        .timezone("browser")
        .tooltip(DashboardCursorSync.CROSSHAIR)
        .readonly()
        .link(
            dashboard.DashboardLink("Feiyu")
            .type(DashboardLinkType.DASHBOARDS)
            .tags(["feiyu"])
            .as_dropdown(True)
            .keep_time(True)
        )
        .with_variable(dashboard.DatasourceVariable("datasource").label("Prometheus").type("prometheus"))
    )
    for variable, metric in (("instance", "feiyu_flows_open"), *more):
        board.with_variable(
            dashboard.QueryVariable(variable)
            .label(variable)
            .datasource(_SOURCE)
            .query(f"label_values({metric}, {variable})")
            .refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)
            .include_all(True)
            .multi(True)
            .all_value(".*")
        )
    for number, shown in enumerate(panels, 1):
        board.with_panel((_stat(shown) if shown.big else _timeseries(shown)).id(number))
    return JSONEncoder(sort_keys=True, indent=2).encode(board.build()) + "\n"


def _targets(shown: Shown) -> list[prometheus.Dataquery]:
    return [
        prometheus.Dataquery().expr(expression).legend_format(legend or "__auto").ref_id(chr(ord("A") + number)).range()
        for number, (expression, legend) in enumerate(shown.queries)
    ]


def _stat(shown: Shown) -> stat.Panel:
    panel = stat.Panel().title(shown.title).unit(shown.unit).datasource(_SOURCE).span(shown.width).height(4)
    panel.color_mode(BigValueColorMode.BACKGROUND if shown.red is not None else BigValueColorMode.VALUE)
    panel.reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
    steps = [Threshold(value=None, color="green")]
    if shown.red is not None:
        steps = [
            Threshold(None, "red" if shown.low else "green"),
            Threshold(shown.red, "green" if shown.low else "red"),
        ]
    panel.thresholds(dashboard.ThresholdsConfig().mode(ThresholdsMode.ABSOLUTE).steps(steps))
    for target in _targets(shown):
        panel.with_target(target)
    return panel


def _timeseries(shown: Shown) -> timeseries.Panel:
    panel = timeseries.Panel().title(shown.title).unit(shown.unit).datasource(_SOURCE).span(shown.width).height(8)
    legend = common.VizLegendOptions().display_mode(LegendDisplayMode.LIST).placement(LegendPlacement.BOTTOM)
    panel.legend(legend.show_legend(True)).min(0).fill_opacity(10)
    if shown.stacked:
        panel.stacking(common.StackingConfig().mode(StackingMode.NORMAL).group("A"))
    for target in _targets(shown):
        panel.with_target(target)
    return panel


def main(arguments: list[str]) -> int:
    """Writes all of them."""
    directory = Path(arguments[0]) if arguments else HERE
    for name in DASHBOARDS:
        (directory / f"{name}.json").write_text(render(name))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

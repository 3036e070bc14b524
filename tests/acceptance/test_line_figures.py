"""The figures of a line in a whole node: what /metrics and feiyu line say while a flow runs over it."""

import pytest

from ops.demo.world import SEARCH
from tests.acceptance.kit import RESTART, SLOW, Node

pytestmark = pytest.mark.root


def line_figures(node: Node) -> dict[str, object]:
    shown: dict[str, object] = node.stage.ask("line", "show", "hk1")["figures"]
    return shown


def test_a_flow_is_in_the_figures_of_its_line_and_a_drained_line_keeps_it(node: Node) -> None:
    stage, flows = node.stage, 'feiyu_line_flows{line="hk1"}'
    with node.download("acme", f"https://{SEARCH}/{SLOW}") as (curl, _):
        pid = node.kill("lines")  # its successor counts after a second, not after fifteen
        stage.wait(lambda: node.child("lines").get("pid") not in (0, pid, None), "no lines process", RESTART)
        # What the one before told goes with the first word of the new one, so it is asked until it stays.
        stage.wait(lambda: stage.metrics().get(flows, 0) >= 1 and bool(line_figures(node)["flows"]), "no flow", 30)
        metrics = stage.metrics()
        assert metrics['feiyu_line_state{line="hk1"}'] == 1
        assert metrics['feiyu_line_killswitch_dropped_packets_total{line="hk1"}'] == 0
        assert metrics['feiyu_line_drift_repairs_total{line="hk1"}'] == 0
        assert 'feiyu_line_rtt_seconds{line="hk1",method="probe"}' not in metrics, "it has no probes"
        figures = line_figures(node)
        assert (figures["rtt_us"], figures["dropped"], figures["repairs"]) == (None, 0, 0)

        node.feiyu("line", "drain", "hk1")
        try:
            assert stage.is_line("hk1", "draining")
            stage.wait(lambda: line_figures(node)["why"] == "drained by the operator", "it is not said why")
            stage.wait(
                lambda: "draining" in stage.feiyu("line", "list", "--lang", "en").stdout, "draining is not shown"
            )
            assert "hk1: drained by the operator" in stage.feiyu("line", "list", "--lang", "en").stderr
            shown = stage.feiyu("line", "show", "hk1", "--lang", "zh").stdout
            assert "排空中" in shown
            assert "往返时间（探测）" in shown
            assert "未知" in shown
            assert curl.poll() is None
        finally:
            node.feiyu("line", "undrain", "hk1")
        assert stage.is_line("hk1", "up")
        assert curl.poll() is None

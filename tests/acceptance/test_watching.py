"""What watches a whole node: its /metrics has all that rules and dashboards ask for, and its stream has what clients
did."""

import json

import pytest

from configs.grafana.generate import DASHBOARDS
from ops.cli.client import Client
from ops.demo.network import GATEWAY
from ops.settings import load_settings
from tests.acceptance.kit import Node
from tests.configs.kit import rules
from tests.configs.test_grafana import metrics_in, queries

pytestmark = pytest.mark.root


def families(node: Node) -> set[str]:
    """Names of samples that the families of /metrics may have, with or without one at this moment."""
    address = load_settings(node.stage.config).metrics.address
    text = node.stage.zone.run(GATEWAY, ["curl", "-sS", f"http://{address}/metrics"]).stdout
    types = [line.split()[2:] for line in text.splitlines() if line.startswith("# TYPE ")]
    return {name for name, _ in types} | {f"{name}_bucket" for name, kind in types if kind == "histogram"}


def test_every_metric_of_rules_and_dashboards_is_one_of_a_whole_node(node: Node) -> None:
    recorded = {rule["record"] for rule in rules() if "record" in rule}
    asked = set().union(*(metrics_in(rule["expr"]) for rule in rules()))
    asked |= set().union(*(metrics_in(query) for name in DASHBOARDS for query in queries(name)))
    node.stage.wait(lambda: "feiyu_worker_connections" in families(node), "no heartbeat of a worker", 20)
    assert asked - recorded - {"up", "ALERTS"} - families(node) == set()


def test_control_tells_how_the_processes_are_and_what_ends_next(node: Node) -> None:
    stage = node.stage
    stage.wait(lambda: stage.metrics().get("feiyu_control_up") == 1, "no heartbeat of control", 40)

    def told() -> bool:
        found = stage.metrics()
        if 'feiyu_next_expiry_timestamp_seconds{kind="grant"}' not in found:
            return False
        wanted = {name: value for name, value in found.items() if name.startswith("feiyu_processes_wanted")}
        return len(wanted) == 5 and all(found.get(n.replace("wanted", "ready")) == v for n, v in wanted.items())

    stage.wait(told, "not every process of the five roles is ready, or no grant is known", 40)
    found = stage.metrics()
    assert found["feiyu_register_readable"] == 1
    assert found["feiyu_policy_published"] == 1
    assert found["feiyu_configuration_refused"] == 0
    for kind in ("grant", "tenant", "token"):
        assert found[f'feiyu_next_expiry_timestamp_seconds{{kind="{kind}"}}'] > 1_700_000_000
    assert found['feiyu_disk_size_bytes{directory="state"}'] >= found['feiyu_disk_free_bytes{directory="state"}'] > 0
    assert found["feiyu_evidence_damaged"] == 0
    assert found["feiyu_stream_watchers"] == 0


def test_the_stream_has_a_refusal_with_its_reference(node: Node) -> None:
    refused = node.stage.clients["acme"].curl("https://nowhere.example/")
    assert refused.status == 403
    client = Client(str(node.stage.directory / "run" / "control.sock"))
    lines = client.stream("/v1/stream", {"kind": "deny", "host": "nowhere.example"}, last_event="0")
    data = next(line for line in lines if line.startswith("data: {"))
    record = json.loads(data.removeprefix("data: "))
    assert (record["reason"], record["tenant"]) == ("not-whitelisted", "acme")
    assert record["ref"]
    assert node.stage.control("/v1/status")["streams"]["ok"]

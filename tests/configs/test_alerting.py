"""A real Prometheus scrapes a node, a real Alertmanager hears of it; and no inhibition hides an alert of security."""

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.configs.kit import PROMETHEUS, Inbox, alerts, get, post, serving
from tests.telemetry.spool_kit import until
from tests.telemetry.stream.kit import free_port, program, running

SOURCE_HERE = {"instance": "gw1", "role": "worker", "kind": "grant", "line": "hk1", "sink": "soc"}


@pytest.fixture
def inbox() -> Iterator[Inbox]:
    made = Inbox()
    yield made
    made.close()


@contextlib.contextmanager
def alertmanager(root: Path, inbox: Inbox) -> Iterator[int]:
    """With the zone's configuration, whose receivers are this test's and which does not wait for groups."""
    text = (PROMETHEUS / "alertmanager.yml").read_text().replace("127.0.0.1:9095", f"127.0.0.1:{inbox.port}")
    configuration = yaml.safe_load(text)
    assert str(configuration).count(str(inbox.port)) == 3
    for route in (configuration["route"], *configuration["route"]["routes"]):
        route["group_wait"] = "0s"
    file, port = root / "alertmanager.yml", free_port()
    file.write_text(yaml.safe_dump(configuration))
    with running(
        program("prometheus-alertmanager"),
        f"--config.file={file}",
        f"--storage.path={root / 'alertmanager'}",
        f"--web.listen-address=127.0.0.1:{port}",
        "--cluster.listen-address=",
        port=port,
    ):
        yield port


@contextlib.contextmanager
def prometheus(root: Path, node: int, manager: int) -> Iterator[int]:
    """With the zone's configuration and rules, aimed at this node and evaluated every second."""
    configuration = yaml.safe_load((PROMETHEUS / "prometheus.yml").read_text())
    configuration["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    configuration["rule_files"] = [str(PROMETHEUS / "rules" / "*.yml")]
    configuration["scrape_configs"][0]["static_configs"] = [{"targets": [f"127.0.0.1:{node}"]}]
    configuration["alerting"]["alertmanagers"][0]["static_configs"] = [{"targets": [f"127.0.0.1:{manager}"]}]
    file, port = root / "prometheus.yml", free_port()
    file.write_text(yaml.safe_dump(configuration))
    with running(
        program("prometheus"),
        f"--config.file={file}",
        f"--storage.tsdb.path={root / 'tsdb'}",
        f"--web.listen-address=127.0.0.1:{port}",
        "--rules.alert.resend-delay=1s",  # what is told before Alertmanager is found is else told a minute later
        port=port,
    ):
        yield port


def test_prometheus_scrapes_a_node_and_alertmanager_sends_what_it_finds(tmp_path: Path, inbox: Inbox) -> None:
    with (
        serving(tmp_path / "node", reload_pending=1) as (_, node),
        alertmanager(tmp_path, inbox) as manager,
        prometheus(tmp_path, node, manager) as port,
    ):

        def heard(name: str) -> list[tuple[str, dict[str, Any]]]:
            return [
                (path, alert)
                for path, body in list(inbox.heard)
                for alert in body["alerts"]
                if alert["labels"]["alertname"] == name
            ]

        until(lambda: heard("FeiyuReloadRejected"), "the refused configuration at the operators'")
        path, alert = heard("FeiyuReloadRejected")[0]
        assert path == "/operators"
        assert alert["annotations"]["summary"] == f"127.0.0.1:{node} refused its configuration"
        assert alert["annotations"]["next"] == "feiyu check"
        until(lambda: heard("FeiyuWatchdog"), "the watchdog")
        assert heard("FeiyuWatchdog")[0][0] == "/deadman"
        answer = json.loads(get(f"http://127.0.0.1:{port}/api/v1/query?query=feiyu:opened:rate5m"))
        assert answer["status"] == "success"
        targets = json.loads(get(f"http://127.0.0.1:{port}/api/v1/targets"))["data"]["activeTargets"]
        assert [target["health"] for target in targets] == ["up"]
        health = json.loads(get(f"http://127.0.0.1:{port}/api/v1/rules"))["data"]["groups"]
        faults = [rule.get("lastError") for group in health for rule in group["rules"] if rule["health"] == "err"]
        assert faults == []


def test_no_inhibition_hides_an_alert_of_security(tmp_path: Path, inbox: Inbox) -> None:
    with alertmanager(tmp_path, inbox) as port:
        given = [
            {"labels": {"alertname": alert["alert"], **alert["labels"], **SOURCE_HERE}, "annotations": {}}
            for alert in alerts()
        ]
        post(f"http://127.0.0.1:{port}/api/v2/alerts", given)

        def told() -> dict[str, dict[str, Any]] | None:
            found = json.loads(get(f"http://127.0.0.1:{port}/api/v2/alerts"))
            by_name = {alert["labels"]["alertname"]: alert for alert in found}
            settled = len(by_name) == len(given) and by_name["FeiyuLineDown"]["status"]["inhibitedBy"]
            return by_name if settled and all(a["status"]["state"] != "unprocessed" for a in found) else None

        found = until(told, "all alerts")
        hidden = {name for name, alert in found.items() if alert["status"]["inhibitedBy"]}
        security = {alert["alert"] for alert in alerts() if alert["labels"]["class"] == "security"}
        assert security & hidden == set()
        assert {"FeiyuLineDown", "FeiyuProcessMissing", "FeiyuExpiresSoon", "FeiyuStreamBehind"} <= hidden
        assert {"FeiyuRecorderAbsent", "FeiyuExpiresNow", "FeiyuWatchdog"} & hidden == set()
        names = lambda path: {a["labels"]["alertname"] for p, b in list(inbox.heard) if p == path for a in b["alerts"]}  # noqa: E731
        until(lambda: security <= names("/security"), "every alert of security at its receiver")


def test_every_inhibition_names_a_class_that_is_not_security() -> None:
    rules = yaml.safe_load((PROMETHEUS / "alertmanager.yml").read_text())["inhibit_rules"]
    assert rules
    for rule in rules:
        classes = [matcher for matcher in rule["target_matchers"] if matcher.startswith("class=")]
        assert len(classes) == 1
        assert "security" not in classes[0]
        assert "!" not in classes[0]
        assert rule["equal"], "one node's trouble hides nothing of another's"

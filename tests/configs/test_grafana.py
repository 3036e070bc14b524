"""Dashboards: as Grafana's types write them, every query valid PromQL over metrics that a running node has."""

import json
import re
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard

from configs.grafana.generate import DASHBOARDS, render
from tests.configs.kit import CONFIGS, rules, scrape, serving
from tests.telemetry.stream.kit import program

FILES = CONFIGS / "grafana" / "dashboards"
_STRINGS = re.compile(r'"[^"]*"')
_METRIC = re.compile(r"\b(feiyu[a-z0-9_:]*|up|ALERTS)\b")


def board(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((FILES / f"{name}.json").read_text())
    return found


def queries(name: str) -> list[str]:
    return [target["expr"] for panel in board(name)["panels"] for target in panel["targets"]]


def metrics_in(expression: str) -> set[str]:
    return set(_METRIC.findall(_STRINGS.sub('""', expression)))


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """Names of the samples of a running node that have at least one."""
    with serving(tmp_path_factory.mktemp("node")) as (_, port):
        text = scrape(port).decode()
    return {re.split(r"[{ ]", line)[0] for line in text.splitlines() if line and not line.startswith("#")}


@pytest.mark.parametrize("name", DASHBOARDS)
def test_the_file_is_what_the_tables_say(name: str) -> None:
    assert (FILES / f"{name}.json").read_text() == render(name), "run python -m configs.grafana.generate"


def test_there_is_a_file_for_each_and_no_other() -> None:
    assert {path.stem for path in FILES.glob("*")} == set(DASHBOARDS)


def lost(given: Any, read: Any, where: str = "") -> list[str]:
    """What of a document Grafana's types did not know."""
    if isinstance(given, dict):
        missing = [f"{where}/{key}" for key in given if not isinstance(read, dict) or key not in read]
        return missing or [text for key, value in given.items() for text in lost(value, read[key], f"{where}/{key}")]
    if isinstance(given, list):
        return [text for old, new in zip(given, read, strict=True) for text in lost(old, new, where)]
    return [] if given == read else [f"{where}: {given!r} became {read!r}"]


@cache
def _plugins() -> None:
    register_default_plugins()


@pytest.mark.parametrize("name", DASHBOARDS)
def test_grafanas_types_read_all_of_it(name: str) -> None:
    _plugins()
    given = board(name)
    assert lost(given, json.loads(JSONEncoder().encode(Dashboard.from_json(given)))) == []
    wrong = {**given, "panles": []}
    assert lost(wrong, json.loads(JSONEncoder().encode(Dashboard.from_json(wrong)))) == ["/panles"]
    ids = [panel["id"] for panel in given["panels"]]
    assert len(set(ids)) == len(ids)
    assert given["uid"] == f"feiyu-{name}"
    for panel in given["panels"]:
        assert panel["title"]
        assert panel["targets"]
        assert panel["fieldConfig"]["defaults"]["unit"]


@pytest.mark.parametrize("name", DASHBOARDS)
def test_every_metric_of_a_query_is_one_of_a_running_node(name: str, served: set[str]) -> None:
    recorded = {rule["record"] for rule in rules() if "record" in rule}
    for expression in queries(name):
        found = metrics_in(expression)
        assert found, expression
        assert found <= served | recorded | {"up", "ALERTS"}, expression


def test_every_metric_of_a_rule_is_one_of_a_running_node(served: set[str]) -> None:
    recorded = {rule["record"] for rule in rules() if "record" in rule}
    for rule in rules():
        assert metrics_in(rule["expr"]) <= served | recorded | {"up"}, rule["expr"]


@pytest.mark.parametrize("name", DASHBOARDS)
def test_every_query_is_valid(name: str, tmp_path: Path) -> None:
    given = [
        {"record": f"check:{number}:x".replace(":", "_"), "expr": query.replace("$__rate_interval", "5m")}
        for number, query in enumerate(queries(name))
    ]
    file = tmp_path / "queries.yml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "queries", "rules": given}]}))
    done = subprocess.run([program("promtool"), "check", "rules", str(file)], capture_output=True)
    assert done.returncode == 0, done.stderr.decode()


def test_provisioning_leads_to_the_dashboards_and_to_prometheus() -> None:
    provisioning = CONFIGS / "grafana" / "provisioning"
    provider = yaml.safe_load((provisioning / "dashboards" / "feiyu.yaml").read_text())["providers"][0]
    assert provider["options"]["path"] == "/opt/feiyu/grafana/dashboards"
    source = yaml.safe_load((provisioning / "datasources" / "feiyu.yaml").read_text())["datasources"][0]
    assert (source["type"], source["isDefault"]) == ("prometheus", True)
    for name in DASHBOARDS:
        variables = {variable["name"]: variable for variable in board(name)["templating"]["list"]}
        assert variables["datasource"]["query"] == "prometheus"
        used = set(re.findall(r"\$(\w+)", " ".join(queries(name)))) - {"__rate_interval"}
        assert used <= variables.keys()

"""What curl in a firm's namespace gets, what the record of it says, and how it counts in /metrics."""

from dataclasses import dataclass, field
from typing import Any

import pytest

from ops.demo.network import LINES
from ops.demo.world import CODE, INWARD, MIRROR, NAMES, PAPERS, SEARCH, SIX, VIDEO
from tests.acceptance.kit import Node

# ruff: noqa: E501 - one case, one line

pytestmark = pytest.mark.root


@dataclass(frozen=True)
class Case:
    """client and arguments of curl; either the line and family that the service must see, or reason and status."""

    client: str
    arguments: tuple[str, ...]
    line: str = ""
    version: int = 6
    reason: str = ""
    status: int = 200
    record: dict[str, Any] = field(default_factory=dict)


def passes(client: str, url: str, *more: str, line: str = "hk1", version: int = 6, **record: Any) -> Case:
    return Case(client, (*more, url), line, version, record=record)


def refused(client: str, url: str, reason: str, status: int, *more: str, **record: Any) -> Case:
    return Case(client, (*more, url), reason=reason, status=status, record=record)


CASES = {
    "a whitelisted service over TLS": passes(
        "acme", f"https://{SEARCH}/", method="CONNECT", host=SEARCH, port=443, sni=SEARCH, tenant="acme", service="search",
        grant="g-search", interface="acc-a", site="lingang-a", room="r1", client_ip="10.61.1.10", decision="permit",
        address=NAMES[SEARCH][1],
    ),
    "an upload over TLS": passes("acme", f"https://{SEARCH}/up", "--data-binary", "x" * 100_000, tenant="acme"),
    "a service with IPv6 only, from an IPv6 client": passes("acme-6", f"https://{SIX}/", client_ip="fd61:1::10"),
    "a plain request in absolute form": passes(
        "acme", f"http://{SEARCH}/a?secret=1", method="GET", host=SEARCH, port=80, path="/a", status=200, cause="completed"
    ),
    "a plain upload": passes("acme", f"http://{PAPERS}/", "--data-binary", "x" * 100_000, method="POST", status=200),
    "a name below a granted suffix": passes("birch", f"https://{MIRROR}/", line="sg1", version=4, host=MIRROR, service="code"),
    "a name in capitals": passes("acme", f"https://{SEARCH.upper()}/", host=SEARCH),
    "a service nobody offers": refused("acme", f"https://{VIDEO}/", "not-whitelisted", 403, tenant="acme", host=VIDEO),
    "another firm's service": refused("acme", f"https://{CODE}/", "not-whitelisted", 403, tenant="acme", host=CODE),
    "another firm's service, plain": refused("birch", f"http://{SEARCH}/", "not-whitelisted", 403, tenant="birch", host=SEARCH),
    "the service by its bare address": refused("acme", f"https://{NAMES[SEARCH][0]}/", "not-whitelisted", 403, tenant="acme"),
    "a port that is not granted": refused("acme", f"https://{SEARCH}:8443/", "port-not-allowed", 403, port=8443),
    "a tunnel to the port for plain requests": refused("acme", f"http://{SEARCH}/", "protocol-not-allowed", 403, "-p", port=80),
    "a name that leads inside": refused("acme", f"https://{INWARD}/", "address-forbidden", 403, host=INWARD, grant="g-inward"),
    "a granted name that does not exist": refused("birch", f"https://nowhere.{CODE}/", "resolve-failed", 502, tenant="birch"),
    "a granted service that does not answer": refused("acme", f"https://{SIX}:9443/", "dial-failed", 502, grant="g-closed"),
    "no credential": refused("nobody", f"https://{SEARCH}/", "identity-unknown", 407),
    "a wrong token": refused("guesser", f"https://{SEARCH}/", "identity-unknown", 407),
    "a firm's credential at another's place": refused("displaced", f"https://{SEARCH}/", "source-not-allowed", 403, interface="acc-b"),
    "a head that is too large": refused("acme", f"http://{SEARCH}/", "malformed-request", 431, "-H", f"X-Long: {'x' * 20_000}"),
}  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def _closed_service(session_node: Node) -> None:
    session_node.service("closed", f"tls://{SIX}:9443")


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_what_a_firm_meets(node: Node, case: Case) -> None:
    answer = node.stage.clients[case.client].curl(*case.arguments)
    assert answer.status == case.status, answer.heads
    if case.line:
        assert answer.exit == 0, answer.error
        assert answer.json["client"] == LINES[case.line].near[case.version]
        assert not [name for name in answer.json["headers"] if name.startswith("proxy-")]
        if "--data-binary" in case.arguments:
            assert answer.json["received"] == 100_000
        record = node.closed_from(answer.figures["local_port"])
        expected = {"line": case.line, "egress_ip": LINES[case.line].near[case.version]}
    else:
        assert answer.reason == case.reason
        record = node.stage.record(ref=answer.ref)
        expected = {"kind": "deny", "reason": case.reason, "status": case.status, "decision": "deny"}
    expected |= case.record
    assert {key: record.get(key) for key in expected} == expected


def test_metrics_count_what_the_records_say(node: Node) -> None:
    before = node.stage.metrics()
    node.stage.clients["acme"].curl(f"https://{SEARCH}/")
    refusal = node.stage.clients["acme"].curl(f"https://{VIDEO}/")
    node.stage.record(ref=refusal.ref)
    grown = {
        "feiyu_flows_opened_total": 1,
        'feiyu_refusals_total{reason="not-whitelisted"}': 1,
        'feiyu_tenant_flows_total{tenant="acme"}': 1,
        'feiyu_tenant_refusals_total{tenant="acme"}': 1,
        'feiyu_tenant_refusals_total{tenant="birch"}': 0,
    }
    after = node.stage.metrics()
    assert {name: after.get(name, 0) - before.get(name, 0) for name in grown} == grown


def test_no_query_and_no_token_is_in_any_record(node: Node) -> None:
    node.stage.clients["acme"].curl(f"http://{SEARCH}/a?secret=hunter2")
    node.stage.record(path="/a")
    log = b"".join(file.read_bytes() for file in (node.stage.directory / "state" / "log").glob("*.jsonl"))
    token = node.stage.clients["acme"].file.read_text().partition("proxy-user")[2].split(":")[1].split('"')[0]
    assert b"hunter2" not in log
    assert token.encode() not in log
    assert b'"/a"' in log

"""Real clients on the other ways in: curl over SOCKS5, curl with a PROXY header, and HAProxy as the balancer."""

import base64
import contextlib
import csv
import json
import shutil
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from ops.demo.client import ENVIRONMENT, Answer
from ops.demo.network import FIRMS, LINES, end
from ops.demo.world import CODE, INWARD, NAMES, PAPERS, SEARCH, SIX, VIDEO
from tests.acceptance.kit import BALANCED, BALANCER, SOCKS, Node

# ruff: noqa: E501 - one case, one line

pytestmark = pytest.mark.root

NEAR, FAR = FIRMS["acme"].near[4], FIRMS["acme"].far[4]
FRONT = 8128  # HAProxy's ports: version 1, version 2, SOCKS


@dataclass(frozen=True)
class Case:
    """A URL for a client, over SOCKS5; either the line it takes, or curl's words and the reason in the record."""

    client: str
    url: str
    line: str = ""
    version: int = 6
    told: str = ""
    reason: str = ""
    record: dict[str, Any] = field(default_factory=dict)


def passes(client: str, url: str, *, line: str = "hk1", version: int = 6, **record: Any) -> Case:
    return Case(client, url, line, version, record=record)


def refused(client: str, url: str, told: str, reason: str, **record: Any) -> Case:
    return Case(client, url, told=told, reason=reason, record=record)


RULES, LOGIN = "connection not allowed by ruleset", "rejected"
# curl says "Can't complete SOCKS5 connection to HOST. (CODE)", and for a refused login that the server rejected it.
CASES = {
    "a whitelisted service over TLS": passes(
        "acme", f"https://{SEARCH}/", method="CONNECT", host=SEARCH, port=443, sni=SEARCH, tenant="acme", service="search", grant="g-search",
        listener="socks-acme", interface="acc-a", site="lingang-a", room="r1", client_ip="10.61.1.10", decision="permit", status=200,
    ),
    "a service with IPv6 only": passes("acme", f"https://{SIX}/", listener="socks-acme"),
    "another firm's own service": passes("birch", f"https://{CODE}/", line="sg1", version=4, tenant="birch", listener="socks-birch"),
    "a service nobody offers": refused("acme", f"https://{VIDEO}/", "(2)", "not-whitelisted", tenant="acme", host=VIDEO, listener="socks-acme"),
    "another firm's service": refused("acme", f"https://{CODE}/", "(2)", "not-whitelisted", tenant="acme", host=CODE),
    "the service by its bare address": refused("acme", f"https://{NAMES[SEARCH][0]}/", "(2)", "not-whitelisted", host=NAMES[SEARCH][0]),
    "the service by its bare IPv6 address": refused("acme", f"https://[{NAMES[SEARCH][1]}]/", "(2)", "not-whitelisted", host=NAMES[SEARCH][1]),
    "a port that is not granted": refused("acme", f"https://{SEARCH}:8443/", "(2)", "port-not-allowed", port=8443),
    "a plain request through a tunnel": refused("acme", f"http://{PAPERS}/", "(2)", "protocol-not-allowed", port=80),
    "a name that leads inside": refused("acme", f"https://{INWARD}/", "(2)", "address-forbidden", host=INWARD, grant="g-inward"),
    "a granted name that does not exist": refused("birch", f"https://nowhere.{CODE}/", "(4)", "resolve-failed", tenant="birch"),
    "a wrong token": refused("guesser", f"https://{SEARCH}/", LOGIN, "identity-unknown"),
    "no credential": refused("nobody", f"https://{SEARCH}/", "No authentication method was acceptable", "identity-unknown"),
    "a firm's credential at another's place": refused("displaced", f"https://{SEARCH}/", "(2)", "source-not-allowed", interface="acc-b", tenant="acme"),
}  # fmt: skip


def newest_refusal(node: Node, source: str, reason: str, since: int, ways: str) -> dict[str, Any]:
    """As an operator finds it who knows only where the client is: the newest refusal from there. ways: how the listener's
    name begins, since browsers of earlier tests may still be giving up connections to another."""
    found: list[dict[str, Any]] = []

    def there() -> bool:
        query = ("--source", source, "--kind", "deny", "--reason", reason, "--limit", "5")
        newest = [item for item in node.stage.ask("log", "search", *query) if item["time"] > since]
        found[:] = [item for item in newest if item["listener"].startswith(ways)]
        return bool(found)

    node.stage.wait(there, f"no refusal of {source} for {reason} is found")
    assert len(found) == 1
    return found[0]


def last_time(node: Node) -> int:
    return int((node.stage.records(limit=1) or [{"time": 0}])[0]["time"])


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_what_a_firm_meets_over_socks(node: Node, case: Case) -> None:
    client = node.stage.clients[case.client]
    since = last_time(node)
    answer = client.curl("--socks5-hostname", f"{client.wire.near[4]}:{SOCKS}", case.url)
    if case.line:
        assert answer.exit == 0, answer.error
        assert answer.json["client"] == LINES[case.line].near[case.version]
        record = node.closed_from(answer.figures["local_port"])
        expected = {"line": case.line, "egress_ip": LINES[case.line].near[case.version]}
    else:
        assert answer.exit == 97, answer.error  # CURLE_PROXY
        assert case.told in answer.error
        record = newest_refusal(node, client.wire.far[4], case.reason, since, "socks-")
        assert record["ref"] == record["flow"]
        assert f'"{case.reason}"' in json.dumps(node.stage.ask("explain", "--ref", record["ref"]))
        expected = {"kind": "deny", "reason": case.reason, "decision": "deny"}
    expected |= case.record
    assert {key: record.get(key) for key in expected} == expected


def test_socks_over_ipv6(node: Node) -> None:
    client = node.stage.clients["acme-6"]
    answer = client.curl("--socks5-hostname", f"[{client.wire.near[6]}]:{SOCKS}", f"https://{SEARCH}/")
    assert answer.exit == 0, answer.error
    record = node.closed_from(answer.figures["local_port"])
    assert (record["listener"], record["client_ip"]) == ("socks-acme-6", client.wire.far[6])


# ---- behind a balancer


def with_header(node: Node, *more: str) -> Answer:
    """curl that says a PROXY header itself, then a request in absolute-form, from acme's address."""
    asked = ("--proxy", "", "--haproxy-protocol", "--request-target", f"http://{SEARCH}/a", "-H", f"Host: {SEARCH}")
    return node.stage.clients["acme"].curl(*asked, *more, f"http://{NEAR}:{BALANCED}/")


def test_a_header_from_nobody_is_refused(node: Node) -> None:
    answer = with_header(node)
    assert (answer.status, answer.reason) == (403, "source-not-allowed")
    record = node.stage.record(ref=answer.ref)
    assert (record["client_ip"], record["listener"]) == (FAR, "balanced")


@pytest.fixture(scope="module")
def balancer(session_node: Node) -> Iterator[None]:
    """A second address in acme's network, for what stands between."""
    zone, ns = session_node.stage.zone, FIRMS["acme"].ns
    zone.ip(ns, f"addr add {BALANCER}/24 dev gw")
    try:
        yield
    finally:
        zone.ip(ns, f"addr del {BALANCER}/24 dev gw")


@pytest.mark.usefixtures("balancer")
def test_a_header_from_the_balancer_counts_with_its_address(node: Node) -> None:
    answer = with_header(node, "--interface", BALANCER, "-H", f"Proxy-Authorization: {basic(node)}")
    assert answer.status == 200, answer.heads
    record = node.closed_from(answer.figures["local_port"])
    assert (record["client_ip"], record["path"]) == (BALANCER, "/a")
    assert (record["tenant"], record["listener"]) == ("acme", "balanced")


def basic(node: Node) -> str:
    """The Proxy-Authorization value of acme."""
    identity = node.stage.clients["acme"].file.read_text().partition('proxy-user = "')[2].partition('"')[0]
    return "Basic " + base64.b64encode(identity.encode()).decode()


@pytest.fixture(scope="module")
def haproxy(session_node: Node, balancer: None) -> Iterator[None]:
    """HAProxy in acme's network, on the balancer's address, in front of both kinds of listener."""
    program = shutil.which("haproxy")
    if program is None:
        pytest.skip("haproxy is not installed")
    ways = [
        ("one", FRONT, f"{NEAR}:{BALANCED} send-proxy check inter 200ms"),
        ("two", FRONT + 1, f"{NEAR}:{BALANCED} send-proxy-v2 proxy-v2-options crc32c,unique-id check inter 200ms"),
        ("socks", FRONT + 2, f"{NEAR}:{BALANCED + 1} send-proxy-v2 proxy-v2-options crc32c check inter 200ms"),
    ]
    text = f"global\n maxconn 100\n stats socket {session_node.stage.directory}/haproxy.sock\n"
    text += "defaults\n mode tcp\n timeout connect 5s\n timeout client 20s\n timeout server 20s\n"
    for name, port, server in ways:
        text += f"listen {name}\n bind {BALANCER}:{port}\n unique-id-format %[uuid()]\n source {BALANCER}\n server gw {server}\n"
    file = session_node.stage.directory / "haproxy.cfg"
    file.write_text(text)
    said = Path(session_node.stage.directory, "haproxy.log")
    with said.open("wb") as log:
        running = session_node.stage.zone.spawn(
            FIRMS["acme"].ns, [program, "-db", "-f", str(file)], env=ENVIRONMENT, stdout=log, stderr=subprocess.STDOUT
        )
    try:
        session_node.stage.wait(lambda: accepts(session_node), "HAProxy does not accept")
        yield
    finally:
        end(running)


def accepts(node: Node) -> bool:
    """Whether somebody listens there."""
    with node.stage.zone.inside(FIRMS["acme"].ns), contextlib.suppress(ConnectionRefusedError):
        socket.create_connection((BALANCER, FRONT + 2), 2).close()
        return True
    return False


def checks(node: Node) -> dict[str, tuple[str, str]]:
    """HAProxy's word on its servers: state, and how the last check ended."""
    with socket.socket(socket.AF_UNIX) as asking:
        asking.connect(str(node.stage.directory / "haproxy.sock"))
        asking.sendall(b"show stat\n")
        text = b"".join(iter(lambda: asking.recv(65_536), b"")).decode()
    rows = csv.DictReader(text.removeprefix("# ").strip().splitlines())
    return {row["pxname"]: (row["status"], row["check_status"]) for row in rows if row["svname"] == "gw"}


@pytest.mark.usefixtures("haproxy")
@pytest.mark.parametrize("port", [FRONT, FRONT + 1], ids=["version 1", "version 2"])
def test_behind_haproxy_the_client_is_the_client(node: Node, port: int) -> None:
    client = node.stage.clients["acme"]
    answer = client.curl("--interface", FAR, "--proxy", f"http://{BALANCER}:{port}", f"https://{SEARCH}/")
    assert answer.exit == 0, answer.error
    record = node.closed_from(answer.figures["local_port"])
    assert (record["client_ip"], record["tenant"], record["listener"]) == (FAR, "acme", "balanced")
    refusal = client.curl("--interface", FAR, "--proxy", f"http://{BALANCER}:{port}", f"https://{VIDEO}/")
    assert refusal.reason == "not-whitelisted"
    record = node.stage.record(ref=refusal.ref)
    assert (record["client_ip"], record["client_port"]) == (FAR, refusal.figures["local_port"])


@pytest.mark.usefixtures("haproxy")
def test_socks_behind_haproxy(node: Node) -> None:
    client = node.stage.clients["acme"]
    answer = client.curl("--interface", FAR, "--socks5-hostname", f"{BALANCER}:{FRONT + 2}", f"https://{SEARCH}/")
    assert answer.exit == 0, answer.error
    record = node.closed_from(answer.figures["local_port"])
    assert (record["client_ip"], record["listener"]) == (FAR, "socks-balanced")


@pytest.mark.usefixtures("haproxy")
def test_haproxys_health_checks_pass_and_leave_no_record(node: Node) -> None:
    """It has checked since the module began, with UNKNOWN in version 1 and LOCAL in version 2."""
    node.stage.wait(lambda: checks(node) == dict.fromkeys(("one", "two", "socks"), ("UP", "L4OK")), "not all are up")
    assert not node.stage.records(source=BALANCER, kind="deny")

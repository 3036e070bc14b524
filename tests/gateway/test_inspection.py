"""Inspection over real sockets: curl, a worker, an inspector, and services abroad."""

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest
from msgspec.structs import replace

from tests.gateway.inspection_kit import CONSENT, RULES, InspectedNode
from tests.gateway.kit import Ground, until
from tests.gateway.node import Worker, grant, service, tenant
from whitelist.inspection import Inspect, Rule

pytestmark = pytest.mark.root

BOTH = [("--http1.1", "HTTP/1.1"), ("--http2", "HTTP/2")]


@pytest.fixture(scope="module")
def shared(session_ground: Ground, tmp_path_factory: pytest.TempPathFactory) -> Iterator[InspectedNode]:
    with InspectedNode(session_ground, tmp_path_factory.mktemp("inspected")) as found:
        found.worker()
        found.start_inspector()
        yield found


@pytest.fixture
def node(ground: Ground, shared: InspectedNode) -> Iterator[InspectedNode]:
    shared.inspect()
    yield shared
    shared.close_origins()
    ground.tidy()
    shared.restore()
    assert "Error" not in shared.said.read_text(), shared.said.read_text()


@pytest.fixture
def worker(node: InspectedNode) -> Worker:
    return node.workers["w0.1"]


def inner(node: InspectedNode, host: str, kind: str) -> list[dict[str, Any]]:
    """Records of inner requests to a host."""
    return [r for r in node.records() if r.get("host") == host and r["kind"] == kind and r.get("tunnel")]


@pytest.mark.parametrize(("how", "version"), BOTH)
def test_what_a_rule_allows_passes_and_is_kept_without_its_query(
    node: InspectedNode, worker: Worker, how: str, version: str
) -> None:
    site, origin = node.service()
    found = node.curl(worker, f"https://{site.host}/open/a?secret=1", how)
    assert (found.status, found.version) == (200, version), found
    assert json.loads(found.body)["path"] == "/open/a?secret=1"
    assert "feiyu-inspected: g-acme-tls" in found.heads[-1].lower()
    assert "alt-svc" not in found.heads[-1].lower()  # it would lead around the inspection
    assert [asked.path for asked in origin.asked] == ["/open/a?secret=1"]
    request = until(lambda: inner(node, site.host, "request"), "the record of the request")[0]
    answer = until(lambda: inner(node, site.host, "response"), "the record of the answer")[0]
    expected = {"method": "GET", "path": "/open/a", "rule": "read", "decision": "permit", "grant": "g-acme-tls"}
    assert {name: request[name] for name in expected} == expected
    assert (answer["status"], answer["content_type"], answer["cause"]) == (200, "application/json", "completed")
    assert answer["bytes_in"] == len(found.body)
    assert answer["flow"] == request["flow"] != request["tunnel"]
    opened = next(r for r in node.records() if r["kind"] == "open" and r["flow"] == request["tunnel"])
    assert (opened["method"], opened["host"]) == ("CONNECT", site.host)


REFUSED: dict[str, tuple[str, tuple[str, ...], str, int]] = {
    "a path that no rule has": ("/closed", (), "path-not-allowed", 403),
    "a path with one segment too many for the template": ("/repos/a/b/c", (), "path-not-allowed", 403),
    "dot segments": ("/open/../closed", ("--path-as-is",), "path-not-allowed", 403),
    "encoded dot segments": ("/open/%2e%2e/closed", ("--path-as-is",), "path-not-allowed", 403),
    "dot segments with a parameter": ("/open/..;/closed", ("--path-as-is",), "path-not-allowed", 403),
    "an encoded slash": ("/open/..%2fclosed", (), "path-not-allowed", 403),
    "a double encoded slash": ("/open/..%252fclosed", (), "path-not-allowed", 403),
    "a backslash": ("/open/..\\closed", (), "path-not-allowed", 403),
    "two slashes first": ("//open/a", (), "path-not-allowed", 403),
    "a method that no rule has for the path": ("/open/a", ("-X", "DELETE"), "method-not-allowed", 403),
    "a method in lower case": ("/open/a", ("-X", "get"), "method-not-allowed", 403),
    "TRACE": ("/open/a", ("-X", "TRACE"), "method-not-allowed", 403),
    "a field with another method": (
        "/in/a", ("-H", "X-HTTP-Method-Override: DELETE", "--json", "{}"), "method-not-allowed", 403,
    ),
    "a field with another path": ("/open/a", ("-H", "X-Original-URL: /closed"), "path-not-allowed", 403),
    "content of another type": (
        "/in/a", ("-H", "Content-Type: application/zip", "-d", "x"), "content-not-allowed", 403,
    ),
    "content of no type": ("/in/a", ("-H", "Content-Type:", "-d", "x"), "content-not-allowed", 403),
    "an answer of another type": ("/pictures/a?type=text/html", (), "content-not-allowed", 403),
    "an answer that is too large": ("/pictures/a?type=image/png&size=100001", (), "content-not-allowed", 403),
    "gRPC where it is not allowed": (
        "/large/a", ("-H", "Content-Type: application/grpc", "-d", "x"), "protocol-not-allowed", 403,
    ),
    "another host": ("/open/a", ("-H", "Host: other.tls.example"), "name-mismatch", 421),
    "another port": ("/open/a", ("-H", "Host: {host}:444"), "name-mismatch", 421),
}  # fmt: skip


@pytest.mark.parametrize("how", ["--http1.1", "--http2"])
@pytest.mark.parametrize("case", REFUSED)
def test_what_no_rule_allows_is_refused_with_its_reason(
    node: InspectedNode, worker: Worker, case: str, how: str
) -> None:
    path, arguments, reason, status = REFUSED[case]
    site, origin = node.service()
    arguments = tuple(argument.replace("{host}", site.host) for argument in arguments)
    found = node.curl(worker, f"https://{site.host}{path}", how, *arguments)
    assert (found.status, found.reason()) == (status, reason), found
    denied = until(lambda: inner(node, site.host, "deny"), "the record of the refusal")
    assert (len(denied), denied[0]["reason"], denied[0]["status"]) == (1, reason, status)
    assert json.loads(found.body)["instance"].endswith(denied[0]["ref"])
    answered = case.startswith("an answer")
    assert len(origin.asked) == answered


def test_a_refused_request_does_not_end_the_others_of_its_tunnel(node: InspectedNode, worker: Worker) -> None:
    site, origin = node.service()
    urls = [f"https://{site.host}/{path}" for path in ("closed", "open/a", "closed", "open/b")]
    found = node.curl(worker, urls[0], "--http2", *urls[1:])
    assert [head.split(" ")[1] for head in found.heads] == ["200", "403", "200", "403"] or found.exit == 0
    assert sorted(asked.path for asked in origin.asked) == ["/open/a", "/open/b"]
    assert len({r["tunnel"] for r in inner(node, site.host, "deny")}) == 1


@pytest.mark.parametrize("how", ["--http1.1", "--http2"])
@pytest.mark.parametrize(
    ("size", "how_sent", "arrives"),
    [(1_000_000, (), True), (1_000_001, (), False), (3_000_000, ("-H", "Transfer-Encoding: chunked"), False)],
    ids=["as much as allowed", "more, as announced", "more, unannounced"],
)
def test_uploads_are_held_to_their_size(
    node: InspectedNode, worker: Worker, how: str, size: int, how_sent: tuple[str, ...], arrives: bool, tmp_path: Any
) -> None:
    site, origin = node.service()
    body = tmp_path / "body"
    body.write_bytes(b"x" * size)
    sent = ("-X", "POST", "-H", "Content-Type: text/plain", "-H", "Expect:", "--data-binary", f"@{body}")
    if how_sent:
        sent = (*how_sent, "-X", "POST", "-H", "Content-Type: text/plain", "-H", "Expect:", "-T", str(body))
    found = node.curl(worker, f"https://{site.host}/in/a", how, *sent)
    if arrives:
        assert (found.status, json.loads(found.body)["body"]) == (200, size), found
        answer = until(lambda: inner(node, site.host, "response"), "the record")[0]
        assert answer["bytes_out"] == size
    else:
        denied = until(lambda: inner(node, site.host, "deny"), "the record of the refusal")[0]
        assert denied["reason"] == "content-not-allowed"
        assert found.status in (0, 403)  # the connection may end while curl is still sending
        assert not origin.asked


def test_the_bytes_of_a_day_are_those_of_the_grant(node: InspectedNode, worker: Worker) -> None:
    site, _ = node.service()
    rules = (Rule(id="all", paths=("/large/*",)),)
    limited = grant(
        "acme", "tls", id="g-day", inspect=Inspect(rules=rules, roots=node.abroad.pem, download_bytes_per_day=50_000)
    )
    node.put(grants=[limited, "g-acme-tls"])
    first = node.curl(worker, f"https://{site.host}/large/a?size=50000")
    assert (first.status, len(first.body)) == (200, 50_000), first
    second = node.curl(worker, f"https://{site.host}/large/a?size=10")
    assert (second.status, second.reason()) == (429, "quota-exhausted")


CONSENTS: dict[str, tuple[Any, str]] = {
    "none on file": (None, "the firm has not consented to inspection"),
    "one that has ended": (
        replace(CONSENT, until=int(time.time()) - 5),
        "the firm's consent to inspection is not in force",
    ),
    "one that has not begun": (replace(CONSENT, date=1 << 39), "the firm's consent to inspection is not in force"),
}


@pytest.mark.parametrize("case", CONSENTS)
def test_without_a_consent_in_force_nothing_passes(node: InspectedNode, worker: Worker, case: str) -> None:
    consent, detail = CONSENTS[case]
    site, origin = node.service()
    node.put(tenants=[tenant("acme", 1, consent=consent)])
    found = node.curl(worker, f"https://{site.host}/open/a")
    assert found.exit == 56
    assert "403" in found.error
    denied = until(
        lambda: [r for r in node.records() if r.get("host") == site.host and r["kind"] == "deny"], "the record"
    )
    assert (denied[0]["reason"], denied[0]["detail"]) == ("consent-missing", detail)
    assert not origin.connections


def test_a_consent_taken_back_cuts_what_is_under_way(node: InspectedNode, worker: Worker) -> None:
    site, origin = node.service(("http/1.1",))
    talk = node.tunnel(worker, site.authority)
    node.put(tenants=[tenant("acme", 1)])
    assert node.final(talk)["cause"] == "cut-by-policy"
    assert not origin.asked


def test_a_grant_that_begins_to_be_inspected_cuts_what_was_not(node: InspectedNode, worker: Worker) -> None:
    site, _ = node.service()
    node.put(grants=[grant("acme", "tls")])
    talk = node.tunnel(worker, site.authority)
    node.inspect()
    assert node.final(talk)["cause"] == "cut-by-policy"


def test_an_exempt_category_is_never_inspected_and_never_passes_unread(node: InspectedNode, worker: Worker) -> None:
    site, origin = node.service()
    node.put(services=[service("tls", categories=("health",))])
    found = node.curl(worker, f"https://{site.host}/open/a")
    denied = until(
        lambda: [r for r in node.records() if r.get("host") == site.host and r["kind"] == "deny"], "the record"
    )
    assert (found.exit, denied[0]["reason"]) == (56, "inspection-unavailable")
    assert not origin.connections


def test_plain_requests_of_an_inspected_grant_are_refused(node: InspectedNode, worker: Worker) -> None:
    http = grant("acme", "http", inspect=Inspect(rules=RULES))
    node.put(grants=[http])
    found = node.curl(worker, "http://n1.http.example/open/a")
    assert (found.status, found.reason()) == (503, "inspection-unavailable"), found


UPSTREAM: dict[str, dict[str, Any]] = {
    "expired": {"life": 10, "age": 1_000},
    "for another host": {"name": "other.tls.example"},
    "signed by itself": {"own": True},
}


@pytest.mark.parametrize("how", ["--http1.1", "--http2"])
@pytest.mark.parametrize("case", UPSTREAM)
def test_a_service_whose_certificate_does_not_hold_is_refused_with_a_page(
    node: InspectedNode, worker: Worker, case: str, how: str
) -> None:
    site, origin = node.service(**UPSTREAM[case])
    found = node.curl(worker, f"https://{site.host}/open/a", how)
    assert (found.status, found.reason()) == (502, "upstream-tls-failed"), found
    assert not origin.asked
    page = node.curl(worker, f"https://{site.host}/open/a", how, "-H", "Accept: text/html")
    assert page.body.startswith(b"<!doctype html>")
    assert b"upstream-tls-failed" in page.body


def test_a_service_that_speaks_no_tls_is_refused_with_a_page(
    node: InspectedNode, worker: Worker, ground: Ground
) -> None:
    site = ground.site("tls")
    import threading

    def talk() -> None:
        site.accept().say("220 this is mail\r\n")

    thread = threading.Thread(target=talk)
    thread.start()
    found = node.curl(worker, f"https://{site.host}/open/a")
    thread.join()
    assert (found.status, found.reason()) == (502, "upstream-tls-failed"), found


def test_the_grants_roots_alone_are_believed(node: InspectedNode, worker: Worker) -> None:
    site, origin = node.service()
    node.put(grants=[grant("acme", "tls", inspect=Inspect(rules=RULES))])  # the system's roots do not know the service
    found = node.curl(worker, f"https://{site.host}/open/a")
    assert (found.status, found.reason()) == (502, "upstream-tls-failed"), found
    assert not origin.asked


def test_a_client_that_does_not_trust_the_root_fails_by_itself(
    node: InspectedNode, worker: Worker, tmp_path: Any
) -> None:
    site, origin = node.service()
    other = tmp_path / "other.pem"
    other.write_text(node.abroad.pem)  # as a pinned client: it trusts the service's own authority alone
    found = node.curl(worker, f"https://{site.host}/open/a", "--cacert", str(other))
    assert found.exit == 60, found
    assert not origin.asked


def test_an_intermediate_speaks_for_its_hosts_alone(node: InspectedNode, worker: Worker) -> None:
    site, _ = node.service()
    try:
        node.issue("elsewhere.example")
        found = node.curl(worker, f"https://{site.host}/open/a")
        assert found.exit == 56
        denied = [r for r in node.records() if r.get("host") == site.host and r["kind"] == "deny"]
        assert denied[0]["reason"] == "inspection-unavailable"
        assert "does not speak for" in denied[0]["detail"]
    finally:
        node.issue("*.tls.example")


def test_a_tunnel_whose_client_hello_names_another_host_is_refused(node: InspectedNode, worker: Worker) -> None:
    site, origin = node.service()
    found = node.curl(
        worker, "https://other.tls.example/open/a", "--connect-to", f"other.tls.example:443:{site.host}:443"
    )
    assert found.exit == 35
    closed = until(
        lambda: [r for r in node.records() if r.get("host") == site.host and r["kind"] == "close"], "the record"
    )
    assert closed[0]["reason"] == "name-mismatch"
    assert not origin.asked


def test_more_connections_to_the_service_come_from_the_workers_dialler(node: InspectedNode, worker: Worker) -> None:
    site, origin = node.service(("http/1.1",))
    urls = [f"https://{site.host}/open/{n}" for n in range(3)]
    found = node.curl(worker, urls[0], "--http1.1", "-H", "Connection: close", *urls[1:])
    assert [head.split(" ")[1] for head in found.heads[:1]] == ["200"], found
    assert len(origin.asked) == 3


@pytest.mark.parametrize("how", ["--http1.1", "--http2"])
def test_large_bodies_stream_through_both_ways(node: InspectedNode, worker: Worker, how: str, tmp_path: Any) -> None:
    site, origin = node.service()
    found = node.curl(worker, f"https://{site.host}/large/a?size=30000000&chunked=1", how)
    assert (found.status, len(found.body)) == (200, 30_000_000)
    body = tmp_path / "body"
    body.write_bytes(b"y" * 30_000_000)
    sent = node.curl(worker, f"https://{site.host}/large/b", how, "--data-binary", f"@{body}")
    assert json.loads(sent.body)["body"] == 30_000_000
    assert len(origin.asked) == 2


def test_unread_answers_are_kept_by_the_service_not_by_the_inspector(node: InspectedNode, worker: Worker) -> None:
    """A client of HTTP/2 that reads slowly: its inspector keeps no more than a window of it."""
    site, _ = node.service()
    assert node.inspector is not None
    before = rss(node.inspector.pid)
    found = node.curl(worker, f"https://{site.host}/large/a?size=60000000", "--http2", "--limit-rate", "12M")
    assert len(found.body) == 60_000_000
    assert rss(node.inspector.pid) - before < 24_000, "kB"


def rss(pid: int) -> int:
    with open(f"/proc/{pid}/status") as file:
        return next(int(text.split()[1]) for text in file if text.startswith("VmHWM:"))

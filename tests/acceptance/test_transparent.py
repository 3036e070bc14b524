"""Real clients that know of no proxy: curl with whatever address its DNS gave it, and the transparent listeners.

What they meet: the service they named, over their firm's line; a TLS alert, or a page, where it is refused; and nothing
at all behind the gateway but that.
"""

import contextlib
import json
import socket
from dataclasses import dataclass, field
from typing import Any

import pytest

from gateway.handshake.tls_alert import (
    DECODE_ERROR,
    MISSING_EXTENSION,
    UNEXPECTED_MESSAGE,
    UNRECOGNIZED_NAME,
    fatal_alert,
)
from ops.demo.client import Answer
from ops.demo.network import FIRMS, LINES
from ops.demo.world import CODE, INWARD, NAMES, PAPERS, SEARCH, SIX, VIDEO
from tests.acceptance.kit import BALANCED, SOCKS, TRANSPARENT, Node
from tests.acceptance.test_more_ways import last_time, newest_refusal
from tests.gateway.kit import client_hello
from tests.netns.kit import AF

# ruff: noqa: E501 - one case, one line

pytestmark = pytest.mark.root

FAKE = {4: "100.99.88.77", 6: "2001:db8:dead::1"}  # what a client's DNS says; nobody is there
SHUT = {4: "203.0.113.40", 6: "2001:db8:a::40"}  # a service that is on nobody's list
METADATA = "169.254.169.254"


def asks(node: Node, firm: str, url: str, *more: str, address: str = "", version: int = 4) -> Answer:
    """curl without a proxy, to an address of its own finding for the URL's host."""
    scheme, _, rest = url.partition("://")
    host = rest.partition("/")[0].partition(":")[0]
    port = 443 if scheme == "https" else 80
    found = address or FAKE[version]
    to = f"{host}:{port}:[{found}]" if ":" in found else f"{host}:{port}:{found}"
    return node.stage.clients[firm].curl("--noproxy", "*", "--resolve", to, *more, url)


@dataclass(frozen=True)
class Case:
    """A URL that a firm's program opens; either the line that it takes, or the reason and what the program is told."""

    firm: str
    url: str
    line: str = ""
    egress: int = 6
    reason: str = ""
    told: str = ""
    version: int = 4
    address: str = ""
    record: dict[str, Any] = field(default_factory=dict)


def passes(
    firm: str, url: str, *, line: str = "hk1", egress: int = 6, version: int = 4, address: str = "", **record: Any
) -> Case:
    return Case(firm, url, line, egress, version=version, address=address, record=record)


def refused(
    firm: str, url: str, reason: str, told: str = "", *, version: int = 4, address: str = "", **record: Any
) -> Case:
    return Case(firm, url, reason=reason, told=told, version=version, address=address, record=record)


DENIED = "alert access denied"
# alert 112 is "unrecognized name", alert 80 "internal error".
CASES = {
    "a whitelisted service over TLS": passes(
        "acme", f"https://{SEARCH}/", host=SEARCH, port=443, sni=SEARCH, tenant="acme", service="search", grant="g-search", status=200,
        listener="transparent-acme-4", interface="acc-a", site="lingang-a", room="r1", client_ip="10.61.1.10", original_dst=f"{FAKE[4]}:443",
        decision="permit",
    ),
    "the same over IPv6": passes(
        "acme", f"https://{SEARCH}/", version=6, listener="transparent-acme-6", client_ip="fd61:1::10", original_dst=f"[{FAKE[6]}]:443", host=SEARCH,
    ),
    "with the service's real address": passes("acme", f"https://{SEARCH}/", address=NAMES[SEARCH][0], original_dst=f"{NAMES[SEARCH][0]}:443"),
    "with the address of another service": passes("acme", f"https://{SEARCH}/", address=SHUT[4], host=SEARCH, original_dst=f"{SHUT[4]}:443"),
    "a service with IPv6 only, called by IPv4": passes("acme", f"https://{SIX}/", host=SIX),
    "another firm's own service": passes("birch", f"https://{CODE}/", line="sg1", egress=4, tenant="birch", listener="transparent-birch-4", interface="acc-b"),
    "plain HTTP": passes("acme", f"http://{SEARCH}/a?q=1", path="/a", host=SEARCH, port=80, method="GET", original_dst=f"{FAKE[4]}:80", listener="transparent-acme-4"),
    "plain HTTP over IPv6": passes("acme", f"http://{SEARCH}/", version=6, original_dst=f"[{FAKE[6]}]:80", listener="transparent-acme-6"),
    "a service nobody offers": refused("acme", f"https://{VIDEO}/", "not-whitelisted", DENIED, tenant="acme", host=VIDEO, sni=VIDEO, original_dst=f"{FAKE[4]}:443"),
    "a service nobody offers, over IPv6": refused("acme", f"https://{VIDEO}/", "not-whitelisted", DENIED, version=6, original_dst=f"[{FAKE[6]}]:443"),
    "a service nobody offers, at the address of one that is": refused("acme", f"https://{VIDEO}/", "not-whitelisted", DENIED, address=NAMES[SEARCH][0]),
    "another firm's service": refused("acme", f"https://{CODE}/", "not-whitelisted", DENIED, tenant="acme", host=CODE),
    "a service on a port that is not granted": refused("birch", f"http://{CODE}/", "port-not-allowed", tenant="birch", port=80),
    "a service in plain HTTP alone": passes("acme", f"http://{PAPERS}/", host=PAPERS, service="papers"),
    "a name that leads inside": refused("acme", f"https://{INWARD}/", "address-forbidden", DENIED, host=INWARD, grant="g-inward"),
    "a granted name that does not exist": refused("birch", f"https://nowhere.{CODE}/", "resolve-failed", "alert internal error", tenant="birch"),
    "an address for a name": refused("acme", f"https://{SHUT[4]}/", "name-invalid", "alert missing extension", original_dst=f"{FAKE[4]}:443"),
    "a plain request for a service nobody offers": refused("acme", f"http://{VIDEO}/x?secret=1", "not-whitelisted", path="/x", host=VIDEO, original_dst=f"{FAKE[4]}:80"),
    "a plain request for it over IPv6": refused("acme", f"http://{VIDEO}/", "not-whitelisted", version=6, original_dst=f"[{FAKE[6]}]:80"),
    "a plain request for a bare address": refused("acme", f"http://{SHUT[4]}/", "not-whitelisted", host=SHUT[4]),
    "a cloud's metadata": refused("acme", f"http://{METADATA}/latest/meta-data/", "not-whitelisted", address=METADATA, host=METADATA, original_dst=f"{METADATA}:80"),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_what_a_program_meets_that_knows_of_no_proxy(node: Node, case: Case) -> None:
    since = last_time(node)
    answer = asks(node, case.firm, case.url, address=case.address, version=case.version)
    if case.line:
        assert answer.exit == 0, answer.error
        assert answer.json["client"] == LINES[case.line].near[case.egress]
        record = node.closed_from(answer.figures["local_port"], since)
        expected: dict[str, Any] = {"line": case.line, "egress_ip": LINES[case.line].near[case.egress]}
    else:
        record = newest_refusal(node, FIRMS[case.firm].far[case.version], case.reason, since, "transparent-")
        if case.url.startswith("https"):
            assert answer.exit == 35, answer.error  # CURLE_SSL_CONNECT_ERROR
            assert case.told in answer.error
        else:
            assert (answer.status, answer.reason, answer.ref) == (403, case.reason, record["ref"])
        assert f'"{case.reason}"' in json.dumps(node.stage.ask("explain", "--ref", record["ref"]))
        expected = {"kind": "deny", "reason": case.reason, "decision": "deny"}
    expected |= case.record
    assert {key: record.get(key) for key in expected} == expected


# ---- by hand


def call(node: Node, firm: str, port: int, version: int = 4, address: str = "") -> socket.socket:
    """A connection of a firm to somewhere."""
    with node.stage.zone.inside(FIRMS[firm].ns):
        return socket.create_connection((address or FAKE[version], port), 8)


def heard(connection: socket.socket) -> bytes:
    """All until the end."""
    data = b""
    with contextlib.suppress(ConnectionResetError):
        while more := connection.recv(65_536):
            data += more
    return data


def with_name(name: bytes) -> bytes:
    """A hello with any bytes for a server name."""
    stand_in = ("a" * max(1, len(name) - 2) + ".a")[-len(name) :]
    return client_hello(stand_in).replace(stand_in.encode(), name)


def http(*lines: str, start: str = "GET / HTTP/1.1") -> bytes:
    return "\r\n".join([start, *lines, "", ""]).encode()


@dataclass(frozen=True)
class Said:
    """What a client says on a port; then the reason, a word of the detail, and the answer's beginning."""

    port: int
    said: bytes
    reason: str
    detail: str
    answer: bytes
    ends: bool = False
    record: dict[str, Any] = field(default_factory=dict)


BAD, FORBIDDEN = b"HTTP/1.1 400 Malformed request (ref ", b"HTTP/1.1 403 "
HOST = f"Host: {SEARCH}"
SAID = {
    "a hello without a name": Said(443, client_hello(None), "name-invalid", "no server name", fatal_alert(MISSING_EXTENSION), record={"status": 403}),
    "an address for a name": Said(443, with_name(b"203.0.113.10"), "name-invalid", "an address for", fatal_alert(UNRECOGNIZED_NAME), record={"sni": "203.0.113.10"}),
    "the gateway's own address for a name": Said(443, with_name(b"10.61.1.1"), "name-invalid", "an address for", fatal_alert(UNRECOGNIZED_NAME)),
    "a number for a name": Said(443, with_name(b"2130706433"), "name-invalid", "", fatal_alert(UNRECOGNIZED_NAME)),
    "a name of one label": Said(443, client_hello("localhost"), "name-invalid", "", fatal_alert(UNRECOGNIZED_NAME)),
    "a name with a NUL": Said(443, with_name(b"search.exampl\0"), "malformed-request", "not a host name", fatal_alert(DECODE_ERROR)),
    "SSH": Said(443, b"SSH-2.0-OpenSSH_9.2p1\r\n", "protocol-not-allowed", "not a handshake", fatal_alert(UNEXPECTED_MESSAGE)),
    "plain HTTP on the port of TLS": Said(443, http(HOST), "protocol-not-allowed", "not a handshake", fatal_alert(UNEXPECTED_MESSAGE)),
    "a CONNECT on the port of TLS": Said(443, http(HOST, start=f"CONNECT {SEARCH}:443 HTTP/1.1"), "protocol-not-allowed", "", fatal_alert(UNEXPECTED_MESSAGE)),
    "half a hello, and the end": Said(443, client_hello(SEARCH)[:99], "malformed-request", "inside the ClientHello", fatal_alert(DECODE_ERROR), ends=True),
    "half a hello": Said(443, client_hello(SEARCH)[:99], "handshake-timeout", "ClientHello", fatal_alert(DECODE_ERROR), record={"status": 408}),
    "nothing, on the port of TLS": Said(443, b"", "handshake-timeout", "ClientHello", fatal_alert(DECODE_ERROR)),
    "nothing, on the port of HTTP": Said(80, b"", "handshake-timeout", "request head", b"HTTP/1.1 408 "),
    "a hello on the port of HTTP": Said(80, client_hello(SEARCH), "malformed-request", "", BAD),
    "no Host, in HTTP/1.0": Said(80, http(start="GET / HTTP/1.0"), "malformed-request", "no Host field", BAD),
    "no Host, in HTTP/1.1": Said(80, http(), "malformed-request", "no Host field", BAD),
    "an empty Host": Said(80, http("Host:"), "malformed-request", "empty", BAD),
    "two Hosts": Said(80, http(HOST, f"Host: {VIDEO}"), "malformed-request", "more than one Host", BAD),
    "a Host with another port": Said(80, http(HOST + ":8080"), "malformed-request", "another port", BAD),
    "a Host with a path": Said(80, http(HOST + "/x"), "malformed-request", "", BAD),
    "a Host with userinfo": Said(80, http(f"Host: {SEARCH}@{VIDEO}"), "malformed-request", "", BAD),
    "a Host with a comma": Said(80, http(f"Host: {SEARCH},{VIDEO}"), "name-invalid", "", FORBIDDEN),
    "an absolute URI for another host": Said(80, http(HOST, start=f"GET http://{VIDEO}/ HTTP/1.1"), "malformed-request", "another target", BAD),
    "an absolute URI on another port": Said(80, http(HOST, start=f"GET http://{SEARCH}:8080/ HTTP/1.1"), "malformed-request", "another port", BAD),
    "an absolute URI of https": Said(80, http(HOST, start=f"GET https://{SEARCH}/ HTTP/1.1"), "protocol-not-allowed", "", FORBIDDEN),
    "a CONNECT": Said(80, http(HOST + ":443", start=f"CONNECT {SEARCH}:443 HTTP/1.1"), "method-not-allowed", "CONNECT", FORBIDDEN),
    "an asterisk": Said(80, http(HOST, start="GET * HTTP/1.1"), "malformed-request", "asterisk", BAD),
    "the loopback address": Said(80, http("Host: 127.0.0.1"), "not-whitelisted", "", FORBIDDEN),
    "the metrics of the gateway": Said(80, http("Host: 127.0.0.1:9464"), "malformed-request", "another port", BAD),
    "the gateway's own address": Said(80, http("Host: 10.61.1.1"), "not-whitelisted", "", FORBIDDEN, record={"tenant": "acme"}),
    "the other firm's gateway": Said(80, http("Host: [fd61:2::1]"), "not-whitelisted", "", FORBIDDEN, record={"tenant": "acme"}),
    "the loopback address in disguise": Said(80, http("Host: 0x7f000001"), "name-invalid", "", FORBIDDEN),
}  # fmt: skip


@pytest.mark.parametrize("case", SAID.values(), ids=SAID.keys())
@pytest.mark.parametrize("version", [4, 6], ids=["IPv4", "IPv6"])
def test_what_names_no_service_is_refused(node: Node, case: Said, version: int) -> None:
    since = last_time(node)
    with call(node, "acme", case.port, version) as client:
        client.sendall(case.said)
        if case.ends:
            client.shutdown(socket.SHUT_WR)
        answer = heard(client)
    assert answer.startswith(case.answer), answer
    record = newest_refusal(node, FIRMS["acme"].far[version], case.reason, since, "transparent-")
    assert case.detail in record.get("detail", "")
    called = f"{FAKE[4]}:{case.port}" if version == 4 else f"[{FAKE[6]}]:{case.port}"
    expected = {"original_dst": called, "listener": f"transparent-acme-{version}"} | case.record
    assert {key: record.get(key) for key in expected} == expected
    assert case.port == 443 or record["ref"].encode() in answer


def test_a_browser_is_shown_a_page(node: Node) -> None:
    answer = asks(node, "acme", f"http://{VIDEO}/", "-H", "Accept: text/html,*/*")
    assert answer.header("Content-Type") == "text/html; charset=utf-8"
    assert (answer.status, "不在白名单内" in answer.body, answer.ref in answer.body) == (403, True, True)


def test_a_credential_of_another_firm_is_nothing_here(node: Node) -> None:
    """Who asks is the place alone; and the header does not leave."""
    identity = node.stage.clients["birch"].file.read_text().partition('proxy-user = "')[2].partition('"')[0]
    answer = asks(node, "acme", f"http://{SEARCH}/headers", "-H", f"Proxy-Authorization: Basic {identity}")
    assert answer.status == 200
    assert identity not in answer.body
    record = node.closed_from(answer.figures["local_port"])
    assert (record["tenant"], record.get("credential", "")) == ("acme", "")


def test_requests_behind_each_other_are_decided_one_by_one(node: Node) -> None:
    with call(node, "acme", 80) as client:
        client.sendall(http(HOST, start="GET /1 HTTP/1.1") + http(f"Host: {PAPERS}", start="GET /2 HTTP/1.1"))
        client.sendall(http(f"Host: {VIDEO}", start="GET /3 HTTP/1.1"))
        answer, port = heard(client), client.getsockname()[1]
    statuses = [piece.split(b" ", 1)[0] for piece in answer.split(b"HTTP/1.1 ")[1:]]
    assert statuses == [b"200", b"200", b"403"]

    def told() -> list[tuple[str, str, str]]:
        records = [r for r in node.stage.records(limit=40) if r.get("client_port") == port and r["kind"] != "open"]
        return [(r["host"], r.get("path", ""), r["original_dst"]) for r in reversed(records)]

    expected = [(SEARCH, "/1", f"{FAKE[4]}:80"), (PAPERS, "/2", f"{FAKE[4]}:80"), (VIDEO, "/3", f"{FAKE[4]}:80")]
    node.stage.wait(lambda: len(told()) == len(expected), "not all records are there")
    assert told() == expected


def test_a_hello_in_single_bytes_arrives(node: Node) -> None:
    hello = client_hello(SEARCH)
    with call(node, "acme", 443) as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for at in range(len(hello)):
            client.sendall(hello[at : at + 1])
        assert client.recv(3) == b"\x16\x03\x03", "the service's own handshake"
        port = client.getsockname()[1]
    record = node.closed_from(port)
    assert (record["host"], record["sni"], record["original_dst"]) == (SEARCH, SEARCH, f"{FAKE[4]}:443")


# ---- what else there is behind the gateway: nothing


@pytest.mark.parametrize("version", [4, 6], ids=["IPv4", "IPv6"])
def test_quic_is_rejected_at_once(node: Node, version: int) -> None:
    with node.stage.zone.inside(FIRMS["acme"].ns), socket.socket(AF[version], socket.SOCK_DGRAM) as client:
        client.connect((FAKE[version], 443))
        client.settimeout(5)
        client.send(bytes(1200))
        with pytest.raises(ConnectionRefusedError):  # by ICMP; a time-out is another exception
            client.recv(1)


@pytest.mark.parametrize("version", [4, 6], ids=["IPv4", "IPv6"])
@pytest.mark.parametrize("port", [22, 53, 8080, 8443, TRANSPARENT, SOCKS, BALANCED])
def test_no_other_port_of_elsewhere_answers(node: Node, version: int, port: int) -> None:
    with pytest.raises(OSError, match=r"timed out|No route"), node.stage.zone.inside(FIRMS["acme"].ns):
        socket.create_connection((FAKE[version], port), 0.5)


OWN = {
    "the transparent listener itself": (FIRMS["acme"].near, TRANSPARENT, "timed out"),
    "the other firm's transparent listener": (FIRMS["birch"].near, TRANSPARENT, "timed out"),
    "the gateway's own port 443": (FIRMS["acme"].near, 443, "refused"),
    "the gateway's own port 80, where the other firm is": (FIRMS["birch"].near, 80, "refused"),
    "a line's own port 443": (LINES["hk1"].near, 443, "timed out"),
    "a line's own port 80": (LINES["sg1"].near, 80, "timed out"),
}


@pytest.mark.parametrize("version", [4, 6], ids=["IPv4", "IPv6"])
@pytest.mark.parametrize("case", OWN)
def test_the_gateways_own_addresses_are_not_elsewhere(node: Node, case: str, version: int) -> None:
    addresses, port, told = OWN[case]
    since = last_time(node)
    with pytest.raises(OSError, match=told), node.stage.zone.inside(FIRMS["acme"].ns):
        socket.create_connection((addresses[version], port), 0.5)
    assert not [r for r in node.stage.records(limit=5) if r["time"] > since and r.get("original_dst")]

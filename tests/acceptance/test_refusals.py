"""One refusal, asked for by every protocol: what the client is told there, the record's reason and status, and the
reference, by which `feiyu explain` opens it. Where the client's answer has no room for words, the operator finds the
reference by the client's address."""

import base64
import contextlib
import re
import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from gateway.handshake.socks5 import Code
from gateway.handshake.tls_alert import (
    ACCESS_DENIED,
    DECODE_ERROR,
    INTERNAL_ERROR,
    UNEXPECTED_MESSAGE,
    UNRECOGNIZED_NAME,
)
from ops.demo.network import FIRMS
from ops.demo.world import CODE, INWARD, PAPERS, SEARCH, VIDEO
from tests.acceptance.kit import SECURED, SOCKS, Node, ca_files, identity_of
from tests.acceptance.test_transparent import FAKE
from tests.gateway.kit import client_hello
from tests.gateway.test_socks5 import request

# ruff: noqa: E501 - one case, one line

pytestmark = pytest.mark.root

PROXY = 3128
LOGIN_REFUSED = "login refused"
_REF = re.compile(rb"\(ref ([0-9A-Z]{16})\)")


@dataclass(frozen=True)
class Case:
    """What is asked for, and how each protocol tells that it is refused for this reason. http: the status, also inside
    TLS; socks: the reply's code; alert: of a transparent listener. None: it cannot happen there. after: what the client
    says once its tunnel is open, whereupon every protocol tells with this alert."""

    reason: str
    host: str = SEARCH
    port: int = 443
    firm: str = "acme"
    identity: str = ""  # a client of the stage whose credential is shown, "" for the firm's own
    http: int = 403
    socks: Code | str | None = Code.NOT_ALLOWED
    alert: int | None = ACCESS_DENIED
    after: bytes = b""
    cut: bool = False  # the client ends in the middle of what it asks
    stop: bool = False  # or says no more


CASES = {
    "a host on nobody's list": Case("not-whitelisted", VIDEO),
    "another firm's service": Case("not-whitelisted", CODE),
    "a port that is not granted": Case("port-not-allowed", port=8443, alert=None),
    "plain bytes for a service of plain requests": Case("protocol-not-allowed", PAPERS, 80, alert=None),
    "a name that leads inside": Case("address-forbidden", INWARD),
    "a name that is none": Case("name-invalid", "localhost", alert=UNRECOGNIZED_NAME),
    "a granted name that does not exist": Case("resolve-failed", f"nowhere.{CODE}", firm="birch", http=502, socks=Code.HOST_UNREACHABLE, alert=INTERNAL_ERROR),
    "a wrong token": Case("identity-unknown", identity="guesser", http=407, socks=LOGIN_REFUSED, alert=None),
    "a credential at another firm's place": Case("source-not-allowed", firm="birch", identity="acme", alert=None),
    "an end in the middle": Case("malformed-request", http=400, socks=None, alert=DECODE_ERROR, cut=True),
    "silence in the middle": Case("handshake-timeout", http=408, socks=None, alert=DECODE_ERROR, stop=True),
    "another name inside the tunnel": Case("name-mismatch", alert=None, after=client_hello(VIDEO)),
    "no name inside the tunnel": Case("name-mismatch", alert=None, after=client_hello(None)),
    "no TLS inside the tunnel": Case("protocol-not-allowed", alert=UNEXPECTED_MESSAGE, after=b"SSH-2.0-OpenSSH_9.2p1\r\n"),
}  # fmt: skip


def reach(node: Node, case: Case, port: int, address: str = "") -> socket.socket:
    with node.stage.zone.inside(FIRMS[case.firm].ns):
        return socket.create_connection((address or FIRMS[case.firm].near[4], port), 8)


def heard(client: socket.socket) -> bytes:
    """All until the end."""
    data = b""
    with contextlib.suppress(ConnectionResetError):
        while more := client.recv(65_536):
            data += more
    return data


def say(client: socket.socket, said: bytes, case: Case) -> None:
    """What is asked, or half of it."""
    client.sendall(said[: len(said) // 2] if case.cut or case.stop else said)
    if case.cut:
        client.shutdown(socket.SHUT_WR)


def by_connect(node: Node, case: Case, client: socket.socket) -> bytes:
    """Asks with CONNECT; the reference in the answer, b"" behind a 200."""
    who = base64.b64encode(identity_of(node.stage, case.identity or case.firm).encode()).decode()
    asked = f"CONNECT {case.host}:{case.port} HTTP/1.1\r\nHost: {case.host}:{case.port}\r\n"
    say(client, f"{asked}Proxy-Authorization: Basic {who}\r\n\r\n".encode(), case)
    if case.after:
        assert client.recv(65_536).startswith(b"HTTP/1.1 200 ")
        client.sendall(case.after)
        assert heard(client) == bytes((21, 3, 3, 0, 2, 2, UNRECOGNIZED_NAME))
        return b""
    answer = heard(client)
    assert answer.startswith(f"HTTP/1.1 {case.http} ".encode()), answer
    found = _REF.search(answer.split(b"\r\n")[0])
    assert found, answer
    ref = found[1]
    assert f'details="{case.reason} ref='.encode() + ref + b'"' in answer
    assert b"/r/" + ref in answer
    return ref


def http(node: Node, case: Case) -> tuple[int, bytes]:
    with reach(node, case, PROXY) as client:
        return client.getsockname()[1], by_connect(node, case, client)


def tls(node: Node, case: Case) -> tuple[int, bytes]:
    context = ssl.create_default_context(cafile=str(ca_files(node.stage) / "root.crt"))
    with (
        reach(node, case, SECURED) as plain,
        context.wrap_socket(plain, server_hostname=FIRMS[case.firm].near[4]) as client,
    ):
        return client.getsockname()[1], by_connect(node, case, client)


def socks(node: Node, case: Case) -> tuple[int, bytes]:
    name, _, word = identity_of(node.stage, case.identity or case.firm).encode().partition(b":")
    login = b"\x01%c%b%c%b" % (len(name), name, len(word), word)
    with reach(node, case, SOCKS) as client:
        port = client.getsockname()[1]
        client.sendall(b"\x05\x01\x02")
        assert client.recv(2) == b"\x05\x02"
        client.sendall(login)
        if case.socks == LOGIN_REFUSED:
            assert heard(client) == b"\x01\x01"
            return port, b""
        assert client.recv(2) == b"\x01\x00"
        say(client, request(case.host.encode(), case.port), case)
        if case.after:
            assert client.recv(10)[1] == Code.SUCCEEDED
            client.sendall(case.after)
            assert heard(client) == bytes((21, 3, 3, 0, 2, 2, UNRECOGNIZED_NAME))
        else:
            code = Code.FAILED if case.socks is None else case.socks
            assert heard(client) == bytes((5, int(code), 0, 1, 0, 0, 0, 0, 0, 0))
    return port, b""


def transparent(node: Node, case: Case) -> tuple[int, bytes]:
    with reach(node, case, 443, FAKE[4]) as client:
        say(client, case.after or client_hello(case.host), case)
        assert heard(client) == bytes((21, 3, 3, 0, 2, 2, case.alert or 0))
        return client.getsockname()[1], b""


WAYS: dict[str, tuple[str, Callable[[Node, Case], tuple[int, bytes]]]] = {
    "HTTP": ("acc", http), "TLS": ("tls", tls), "SOCKS5": ("socks", socks), "no proxy": ("transparent", transparent),
}  # fmt: skip


def happens(way: str, case: Case) -> bool:
    """Whether it can; an end inside TLS (without close_notify, which ssl's sockets cannot make by halves) has tests of
    its own."""
    return case.alert is not None if way == "no proxy" else not (way == "TLS" and case.cut)


PAIRS = [(way, name) for way in WAYS for name, case in CASES.items() if happens(way, case)]


@pytest.mark.parametrize(("way", "name"), PAIRS)
def test_a_refusal_has_one_reference_everywhere(node: Node, way: str, name: str) -> None:
    (listener, ask), case = WAYS[way], CASES[name]
    port, told = ask(node, case)
    found: list[dict[str, Any]] = []

    def recorded() -> bool:
        query = ("--source", FIRMS[case.firm].far[4], "--reason", case.reason, "--limit", "20")
        records = node.stage.ask("log", "search", *query)
        found[:] = [r for r in records if r.get("client_port") == port and r["kind"] != "finding"]
        return bool(found)

    node.stage.wait(recorded, f"no refusal for {case.reason} of port {port} is found by its source")
    assert len(found) == 1
    record = found[0]
    assert record["listener"].startswith(listener), record
    assert record["ref"] == record["flow"]
    assert told in (b"", record["ref"].encode())
    opened_first = bool(case.after) and way != "no proxy"
    assert record["kind"] == ("close" if opened_first else "deny")
    if way == "no proxy":
        assert record["original_dst"] == f"{FAKE[4]}:443"
    elif not opened_first:
        assert record["status"] == case.http
    explained = node.stage.ask("explain", "--ref", record["ref"])
    assert explained["ref"] == record["ref"]
    assert explained["record"]["reason"] == case.reason

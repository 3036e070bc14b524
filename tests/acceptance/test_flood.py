"""A whole node under a flood on all of its ways in at once: honest programs are served while it stands."""

import contextlib
import socket

import pytest

from ops.demo.network import FIRMS
from ops.demo.world import SEARCH
from tests.acceptance.kit import SECURED, SOCKS, Node
from tests.acceptance.test_transparent import FAKE
from tests.gateway.kit import client_hello

pytestmark = pytest.mark.root

PER_SOURCE = 256  # handshakes in progress on each worker, as configured by default
NEAR, FAR = FIRMS["acme"].near[4], FIRMS["acme"].far[4]
ABANDONED = {
    "plain": ((NEAR, 3128), b"CONNECT search.example:443 HT"),
    "tls": ((NEAR, SECURED), client_hello(SEARCH)[:100]),
    "socks": ((NEAR, SOCKS), b"\x05\x01"),
    "transparent to 443": ((FAKE[4], 443), client_hello(SEARCH)[:100]),
    "transparent to 80": ((FAKE[4], 80), b"GET / HTTP/1.1\r\nHost: sea"),
}


def flood(node: Node, count: int) -> list[socket.socket]:
    """So many connections on each way in, of one source."""
    opened = []
    with node.stage.zone.inside(FIRMS["acme"].ns):
        for _ in range(count):
            for to, said in ABANDONED.values():
                sock = socket.create_connection(to, 8)
                sock.setblocking(False)
                with contextlib.suppress(OSError):
                    sock.send(said)
                opened.append(sock)
    return opened


def stands(sock: socket.socket) -> bool:
    try:
        sock.recv(1, socket.MSG_PEEK)
    except BlockingIOError:
        return True
    except OSError:
        pass
    return False


def test_programs_are_served_while_a_flood_of_their_own_source_stands(node: Node) -> None:
    acme = node.stage.clients["acme"]
    proxied = ((), ("--socks5-hostname", f"{NEAR}:{SOCKS}"), ("--noproxy", "*", "--resolve", f"{SEARCH}:443:{FAKE[4]}"))
    held = flood(node, 2 * PER_SOURCE)
    try:
        for way in proxied:
            fresh = flood(node, 60)  # none of them is at its time yet when the program is through
            held += fresh
            answer = acme.curl(*way, f"https://{SEARCH}/")
            assert answer.exit == 0, (way, answer.error)
            assert sum(map(stands, fresh)) > 100
        gone = [sock for sock in held if not stands(sock)]
        assert gone, "what was too much has left"
    finally:
        for sock in held:
            sock.close()
    found = node.stage.ask("log", "search", "--source", FAR, "--reason", "rate-limited", "--limit", "200")
    assert found
    assert {r["listener"] for r in found if r.get("listener")} <= {
        "acc-a-4",
        "tls-acme",
        "socks-acme",
        "transparent-acme-4",
    }

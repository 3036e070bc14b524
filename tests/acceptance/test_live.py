"""Changes while connections run."""

import base64
import time
from typing import Any

import pytest

from ops.demo.network import LINES
from ops.demo.world import PAPERS, SEARCH, VIDEO
from tests.acceptance.kit import SLOW, Node, identity_of

pytestmark = pytest.mark.root


def test_a_revoked_grant_cuts_its_download(node: Node) -> None:
    with node.download("acme", f"https://{PAPERS}/{SLOW}") as (curl, flow):
        done = node.feiyu("grant", "revoke", "g-papers")
        told = time.time()
        assert curl.wait(5) != 0
        assert "enforced in 2 workers" in done
    closes = node.closing(flow)
    assert [close["cause"] for close in closes] == ["cut-by-policy"]
    assert closes[0]["time"] / 1e6 <= told + 1.0
    assert closes[0]["bytes_in"] > 0
    after = node.stage.clients["acme"].curl(f"https://{PAPERS}/")
    assert (after.status, after.reason) == (403, "not-whitelisted")
    node.feiyu(
        *(
            "grant",
            "add",
            "--id",
            "g-papers-2",
            "--tenant",
            "acme",
            "--service",
            "papers",
            "--line",
            "hk1",
            "--for",
            "1d",
        )
    )
    assert node.stage.clients["acme"].curl(f"https://{PAPERS}/").status == 200


def test_only_the_flows_of_the_suspended_tenant_are_cut(node: Node) -> None:
    with (
        node.download("acme", f"https://{SEARCH}/{SLOW}") as (acme, flow),
        node.download("birch", f"https://code.example/{SLOW}") as (birch, other),
    ):
        node.feiyu("tenant", "suspend", "acme")
        try:
            assert acme.wait(5) != 0
            refused = node.stage.clients["acme"].curl(f"https://{SEARCH}/")
            assert (refused.status, refused.reason) == (403, "tenant-suspended")
            assert birch.poll() is None
            assert node.closes(other) == []
        finally:
            node.feiyu("tenant", "resume", "acme")
    assert [close["cause"] for close in node.closing(flow)] == ["cut-by-policy"]
    assert node.stage.clients["acme"].curl(f"https://{SEARCH}/").status == 200


def test_a_tunnel_ends_at_the_second_its_credential_expires(node: Node) -> None:
    identifier, token = node.stage.issue("acme", "--for", "4s")
    ends = next(
        c["valid_until"]
        for c in node.stage.control("/v1/credentials", {"limit": 1000})["items"]
        if c["id"] == identifier
    )
    node.stage.client("fleeting", "acme", f"{identifier}:{token}")
    with node.download("fleeting", f"https://{SEARCH}/{SLOW}") as (curl, flow):
        assert curl.wait(10) != 0
    (close,) = node.closing(flow)
    assert close["cause"] == "expired"
    assert ends <= close["time"] / 1e6 <= ends + 1.0
    after = node.stage.clients["fleeting"].curl(f"https://{SEARCH}/")
    assert (after.status, after.reason) == (407, "identity-revoked")


def test_an_operator_cuts_one_flow(node: Node) -> None:
    with node.download("acme", f"https://{SEARCH}/{SLOW}") as (curl, flow):
        node.feiyu("flow", "cut", flow)
        assert curl.wait(5) != 0
    assert [close["cause"] for close in node.closing(flow)] == ["cut-by-operator"]


def test_the_second_line_takes_over_and_only_where_it_is_designated(node: Node) -> None:
    stage = node.stage
    with node.download("acme", f"https://{SEARCH}/{SLOW}") as (_, flow):
        stage.zone.cut(LINES["hk1"])
        try:
            assert stage.is_line("hk1", "down")
            assert [close["cause"] for close in node.closing(flow)] == ["line-down"]
            assert stage.clients["acme"].curl(f"https://{SEARCH}/").json["client"] in LINES["sg1"].near.values()
            dead = stage.clients["acme"].curl(f"https://{PAPERS}/")
            assert (dead.status, dead.reason) == (503, "line-unavailable")
        finally:
            stage.zone.mend(LINES["hk1"])
    assert stage.is_line("hk1", "up")
    assert stage.clients["acme"].curl(f"https://{PAPERS}/").json["client"] in LINES["hk1"].near.values()


def test_another_name_in_the_hello_is_answered_with_alert_112(node: Node) -> None:
    stage, started = node.stage, time.time() * 1e6
    identity = base64.b64encode(identity_of(stage, "acme").encode())
    head = b"CONNECT %b:443 HTTP/1.1\r\nHost: %b:443\r\nProxy-Authorization: Basic %b\r\n\r\n" % (
        SEARCH.encode(), SEARCH.encode(), identity,
    )  # fmt: skip
    heard = node.talk("acme", head, hello(VIDEO))
    answer, _, rest = heard.partition(b"\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert rest[:1] == b"\x15", "a TLS alert record"
    assert rest[5:7] == b"\x02\x70", "fatal, unrecognized_name (112)"
    found: list[dict[str, Any]] = []

    def there() -> bool:
        found[:] = [r for r in stage.records(reason="name-mismatch", kind="close") if r["time"] >= started]
        return bool(found)

    stage.wait(there, "no record of the other name")
    record = found[0]
    assert (record["host"], record["sni"], record["cause"]) == (SEARCH, VIDEO, "refused")


def hello(name: str) -> bytes:
    """A ClientHello as OpenSSL writes it."""
    import ssl

    context = ssl.create_default_context()
    out = ssl.MemoryBIO()
    with pytest.raises(ssl.SSLWantReadError):
        context.wrap_bio(ssl.MemoryBIO(), out, server_hostname=name).do_handshake()
    return out.read()

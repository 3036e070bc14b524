"""What a line's ledger entry may say, and the sentence for each thing it may not."""

from typing import Any

import msgspec
import pytest

from tests.whitelist.policies import grant, tenant
from whitelist.model import Attachment, CustomerFile, Line, LineShare, Srv6, Vxlan
from whitelist.validate import validate_grant, validate_line, validate_tenant

LINE = Line(id="hk1", device="wan1", gateway4="192.0.2.1", source4="192.0.2.2", resolvers=("198.51.100.53",))
DIGEST = "a" * 64
CREDIT_CODE = "91350100M000100Y43"
VXLAN = Vxlan(vni=7, underlay="eth9", local="192.0.2.9", peer="192.0.2.10", gateway="192.0.2.10")
SRV6 = Srv6(segments=("2001:db8:f::1",), gateway="fe80::1", local="2001:db8::9")
SHAPED = {"rate_up": 20_000, "rate_down": 40_000}


def line(**fields: Any) -> Any:
    return msgspec.structs.replace(LINE, **fields)


def share(**fields: Any) -> LineShare:
    return LineShare(**({"tenant": "acme", "number": 1} | fields))


GOOD = {
    "a whole customer file": {"customer": CustomerFile(name="Acme", credit_code=CREDIT_CODE, headcount=40)},
    "attachments": {"attachments": (Attachment(kind="agreement", sha256=DIGEST, name="a.pdf"),)},
    "resolvers over TLS": {"resolvers": ("tls://192.0.2.53#dns.example", "tls://[2001:db8::53]#dns.example")},
    "probes": {"probes": ("tcp://192.0.2.9:443", "http://192.0.2.9/up", "http://[2001:db8::9]:8080/")},
    "a VXLAN segment": {"encapsulation": VXLAN},
    "a segment list": {"encapsulation": SRV6},
    "shares that fill the line": {
        **SHAPED,
        "shares": (share(up=5_000), share(tenant="birch", number=250, up=15_000, up_ceiling=20_000)),
    },
}


@pytest.mark.parametrize("sentence", GOOD)
def test_nothing_is_wrong_with(sentence: str) -> None:
    assert validate_line(line(**GOOD[sentence])) == []


WRONG: dict[str, tuple[dict[str, Any], str, str]] = {
    "a credit code with a wrong check character": (
        {"customer": CustomerFile(credit_code="91350100M000100Y44")}, "customer.credit_code", "check character",
    ),
    "a headcount below nothing": ({"customer": CustomerFile(headcount=-1)}, "customer.headcount", "needs 0"),
    "a customer of two lines": ({"customer": CustomerFile(name="a\nb")}, "customer.name", "one line"),
    "half a digest": ({"attachments": (Attachment(kind="agreement", sha256="ab"),)}, "attachments[0].sha256", "64"),
    "an attachment of no kind": ({"attachments": (Attachment(kind="", sha256=DIGEST),)}, "attachments[0].kind", "word"),
    "more bandwidth than there is": ({"bandwidth": 1 << 40}, "bandwidth", "kbit/s"),
    "a rate below nothing": ({"rate_up": -1}, "rate_up", "kbit/s"),
    "TLS without a name": ({"resolvers": ("tls://192.0.2.53",)}, "resolvers[0]", "#NAME"),
    "TLS to a name in capitals": ({"resolvers": ("tls://192.0.2.53#DNS.example",)}, "resolvers[0]", "canonical"),
    "TLS to no address": ({"resolvers": ("tls://dns.example#dns.example",)}, "resolvers[0]", "no IP address"),
    "a resolver in disguise": ({"resolvers": ("192.0.2.053",)}, "resolvers[0]", "no IP address"),
    "a probe by name": ({"probes": ("tcp://dns.example:443",)}, "probes[0]", "no IP address"),
    "a probe without a port": ({"probes": ("tcp://192.0.2.9",)}, "probes[0]", "tcp://ADDRESS:PORT"),
    "a probe of port 0": ({"probes": ("tcp://192.0.2.9:0",)}, "probes[0]", "tcp://ADDRESS:PORT"),
    "a probe with a user": ({"probes": ("http://u@192.0.2.9/",)}, "probes[0]", "http://ADDRESS"),
    "a probe with a query": ({"probes": ("http://192.0.2.9/?a",)}, "probes[0]", "http://ADDRESS"),
    "a probe over TLS": ({"probes": ("https://192.0.2.9/",)}, "probes[0]", "http://ADDRESS"),
    "a VXLAN network of 25 bits": (
        {"encapsulation": msgspec.structs.replace(VXLAN, vni=1 << 24)}, "encapsulation.vni", "16777215",
    ),
    "a VXLAN peer that is we": (
        {"encapsulation": msgspec.structs.replace(VXLAN, peer="192.0.2.9")}, "encapsulation.peer", "local address",
    ),
    "a VXLAN of two families": (
        {"encapsulation": msgspec.structs.replace(VXLAN, local="2001:db8::9")}, "encapsulation.peer", "one family",
    ),
    "a VXLAN over itself": (
        {"encapsulation": msgspec.structs.replace(VXLAN, underlay=LINE.device)}, "encapsulation.underlay", "own",
    ),
    "a VXLAN over no device's name": (
        {"encapsulation": msgspec.structs.replace(VXLAN, underlay="a b")}, "encapsulation.underlay", "device",
    ),
    "a VXLAN next hop that is we": (
        {"encapsulation": msgspec.structs.replace(VXLAN, gateway="192.0.2.9")}, "encapsulation.gateway", "next hop",
    ),
    "a gateway that is we": ({"gateway4": LINE.source4}, "source4", "our own address"),
    "a ceiling beyond the line": (
        {**SHAPED, "shares": (share(up_ceiling=20_001),)}, "shares[0].up_ceiling", "20000",
    ),
    "no segments": ({"encapsulation": msgspec.structs.replace(SRV6, segments=())}, "encapsulation.segments", "empty"),
    "an IPv4 segment": (
        {"encapsulation": msgspec.structs.replace(SRV6, segments=("192.0.2.1",))},
        "encapsulation.segments[0]", "IPv6",
    ),
    "a share of nobody": ({"shares": (share(tenant=""),)}, "shares[0].tenant", "id"),
    "two shares of a tenant": ({"shares": (share(), share(number=2))}, "shares[1].tenant", "once"),
    "two shares with one number": ({"shares": (share(), share(tenant="birch"))}, "shares[1].number", "once"),
    "a share beyond the class's byte": ({"shares": (share(number=251),)}, "shares[0].number", "250"),
    "a source of a family that the line lacks": (
        {"shares": (share(source6="2001:db8::7"),)}, "shares[0].source6", "no IPv6",
    ),
    "the gateway's address for a tenant": (
        {"shares": (share(source4=LINE.gateway4),)}, "shares[0].source4", "gateway",
    ),
    "a rate on a line that is not shaped": ({"shares": (share(up=10),)}, "shares[0].up", "rate_up first"),
    "a ceiling below the guarantee": (
        {**SHAPED, "shares": (share(down=10, down_ceiling=9),)}, "shares[0].down_ceiling", "below",
    ),
    "guarantees beyond the line": (
        {**SHAPED, "shares": (share(up=15_000), share(tenant="birch", number=2, up=5_001))}, "shares", "more than",
    ),
}  # fmt: skip


@pytest.mark.parametrize("sentence", WRONG)
def test_wrong_is(sentence: str) -> None:
    fields, name, words = WRONG[sentence]
    found = validate_line(line(**fields))
    assert [field for field, _ in found] == [name]
    assert words in found[0][1]


@pytest.mark.parametrize("weights", [(1,), (0, 1), (1, 1001), (1, 2, 3)])
def test_weights_are_one_for_each_line(weights: tuple[int, ...]) -> None:
    found = validate_grant(msgspec.structs.replace(grant(lines=("a", "b")), line_weights=weights))
    assert [field for field, _ in found] == ["line_weights"]


@pytest.mark.parametrize("field", ["tunnels_per_second", "bytes_per_day", "bytes_per_month"])
@pytest.mark.parametrize("value", [-1, 1 << 53])
def test_a_limit_of_a_tenant_is_a_plain_count(field: str, value: int) -> None:
    assert [name for name, _ in validate_tenant(tenant(**{field: value}))] == [field]

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
    "a VXLAN peer on the same link": {"encapsulation": msgspec.structs.replace(VXLAN, gateway="")},
    "a VXLAN over IPv6 with a link-local next hop": {
        "encapsulation": msgspec.structs.replace(VXLAN, local="2001:db8::9", peer="2001:db8:1::9", gateway="fe80::1")
    },
    "a segment list": {"encapsulation": SRV6},
    "a segment list of both families without inner next hops": {
        "encapsulation": SRV6, "gateway4": "", "source6": "2001:db8:9::2",
    },
    "eight segments of the block of segment identifiers": {
        "encapsulation": msgspec.structs.replace(SRV6, segments=tuple(f"5f00::{n}" for n in range(1, 9)), mtu=1400)
    },
    "shares that fill the line": {
        **SHAPED,
        "shares": (share(up=5_000), share(tenant="birch", number=250, up=15_000, up_ceiling=20_000)),
    },
}  # fmt: skip


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
    "a resolver in capitals": ({"resolvers": ("2001:DB8::53",)}, "resolvers[0]", "write 2001:db8::53"),
    "a resolver with a zone": ({"resolvers": ("2001:db8::53%l1",)}, "resolvers[0]", "write 2001:db8::53"),
    "a resolver of the other family in disguise": (
        {"resolvers": ("::ffff:192.0.2.53",)}, "resolvers[0]", "give 192.0.2.53",
    ),
    "TLS to an address in capitals": (
        {"resolvers": ("tls://[2001:DB8::53]#dns.example",)}, "resolvers[0]", "write tls://[2001:db8::53]#dns.example",
    ),
    "TLS to an address without its brackets": (
        {"resolvers": ("tls://2001:db8::53#dns.example",)}, "resolvers[0]", "write tls://[2001:db8::53]#dns.example",
    ),
    "TLS to IPv4 in disguise": (
        {"resolvers": ("tls://[::ffff:192.0.2.53]#dns.example",)}, "resolvers[0]", "give 192.0.2.53",
    ),
    "TLS to an address in zeros": (
        {"resolvers": ("tls://[2001:db8:0:0::53]#Dns.example",)}, "resolvers[0]", "write tls://[2001:db8::53]#dns.exa",
    ),
    "a probe in capitals": ({"probes": ("tcp://[2001:DB8::1]:80",)}, "probes[0]", "write tcp://[2001:db8::1]:80"),
    "a probe with its scheme in capitals": ({"probes": ("TCP://192.0.2.9:80",)}, "probes[0]", "write tcp://192.0.2.9"),
    "a probe of an address in zeros": (
        {"probes": ("http://[2001:db8:0::1]/up",)}, "probes[0]", "write http://[2001:db8::1]/up",
    ),
    "a probe of a port in zeros": ({"probes": ("tcp://192.0.2.9:080",)}, "probes[0]", "write tcp://192.0.2.9:80"),
    "a probe of a port that is left out": ({"probes": ("http://192.0.2.9:/",)}, "probes[0]", "write http://192.0.2.9/"),
    "a probe with a zone": ({"probes": ("tcp://[fe80::1%25l1]:80",)}, "probes[0]", "write tcp://[fe80::1]:80"),
    "a probe of IPv4 in disguise": ({"probes": ("tcp://[::ffff:192.0.2.9]:80",)}, "probes[0]", "give 192.0.2.9"),
    "a probe by name": ({"probes": ("tcp://dns.example:443",)}, "probes[0]", "no IP address"),
    "a probe without a port": ({"probes": ("tcp://192.0.2.9",)}, "probes[0]", "tcp://ADDRESS:PORT"),
    "a probe of port 0": ({"probes": ("tcp://192.0.2.9:0",)}, "probes[0]", "tcp://ADDRESS:PORT"),
    "a probe with a user": ({"probes": ("http://u@192.0.2.9/",)}, "probes[0]", "http://ADDRESS"),
    "a probe with a query": ({"probes": ("http://192.0.2.9/?a",)}, "probes[0]", "http://ADDRESS"),
    "a probe over TLS": ({"probes": ("https://192.0.2.9/",)}, "probes[0]", "http://ADDRESS"),
    "a gateway that is we": ({"gateway4": LINE.source4}, "source4", "our own address"),
    "a ceiling beyond the line": (
        {**SHAPED, "shares": (share(up_ceiling=20_001),)}, "shares[0].up_ceiling", "20000",
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


NO_MACHINE: dict[str, tuple[int, str, str]] = {  # family, address, words
    "a group": (4, "224.0.0.9", "unicast"),
    "everybody": (4, "255.255.255.255", "unicast"),
    "a reserved address": (4, "240.0.0.1", "unicast"),
    "no address yet": (4, "0.0.0.0", "unicast"),
    "this network": (4, "0.0.0.9", "unicast"),
    "the loopback": (4, "127.0.0.9", "unicast"),
    "a link-local IPv4 address": (4, "169.254.7.7", "routed address"),
    "an IPv6 group": (6, "ff02::1", "unicast"),
    "no IPv6 address yet": (6, "::", "unicast"),
    "the IPv6 loopback": (6, "::1", "unicast"),
    "IPv4 in IPv6's form": (6, "::ffff:192.0.2.7", "IPv4 in IPv6's form"),
}
BOTH = {"gateway6": "2001:db8::1", "source6": "2001:db8::2"}


@pytest.mark.parametrize("where", ["gateway", "source", "shares[0].source", "resolvers[0]", "tls", "probes[0]"])
@pytest.mark.parametrize("sentence", NO_MACHINE)
def test_nowhere_on_a_line_stands(sentence: str, where: str) -> None:
    family, address, words = NO_MACHINE[sentence]
    host = f"[{address}]" if family == 6 else address
    fields: dict[str, Any] = {
        "gateway": {f"gateway{family}": address},
        "source": {f"source{family}": address},
        "shares[0].source": {"shares": (share(**{f"source{family}": address}),)},
        "resolvers[0]": {"resolvers": (address,)},
        "tls": {"resolvers": (f"tls://{host}#dns.example",)},
        "probes[0]": {"probes": (f"tcp://{host}:443",)},
    }[where]
    name = {"tls": "resolvers[0]"}.get(where, f"{where}{family}" if where.endswith(("gateway", "source")) else where)
    found = validate_line(line(**(BOTH | fields)))
    assert [(field, words in message) for field, message in found] == [(name, True)], found


def test_only_an_ipv6_next_hop_may_be_link_local() -> None:
    assert validate_line(line(**(BOTH | {"gateway6": "fe80::1"}))) == []
    refused = [("source6", {"source6": "fe80::2"}), ("resolvers[0]", {"resolvers": ("fe80::53",)}),
               ("probes[0]", {"probes": ("tcp://[fe80::9]:1",)})]  # fmt: skip
    for name, fields in refused:
        found = validate_line(line(**(BOTH | fields)))
        assert [(field, "link-local" in message) for field, message in found] == [(name, True)]


WRONG_OUTER: dict[str, tuple[Vxlan | Srv6, dict[str, Any], str, str]] = {
    "a VXLAN network of 25 bits": (VXLAN, {"vni": 1 << 24}, "vni", "16777215"),
    "VXLAN network 0": (VXLAN, {"vni": 0}, "vni", "1 to"),
    "a VXLAN port of 17 bits": (VXLAN, {"port": 1 << 16}, "port", "65535"),
    "a VXLAN peer that is we": (VXLAN, {"peer": "192.0.2.9"}, "peer", "local address"),
    "a VXLAN of two families": (VXLAN, {"local": "2001:db8::9"}, "peer", "one family"),
    "a VXLAN next hop of the other family": (VXLAN, {"gateway": "fe80::1"}, "peer", "one family"),
    "a VXLAN over itself": (VXLAN, {"underlay": LINE.device}, "underlay", "own"),
    "a VXLAN over no device's name": (VXLAN, {"underlay": "a b"}, "underlay", "spaces"),
    "a VXLAN next hop that is we": (VXLAN, {"gateway": "192.0.2.9"}, "gateway", "next hop"),
    "a VXLAN from the inner source": (VXLAN, {"local": LINE.source4}, "local", "within the line"),
    "a VXLAN from nowhere": (VXLAN, {"local": ""}, "local", "no IP address"),
    "a VXLAN from every address": (VXLAN, {"local": "0.0.0.0"}, "local", "unicast"),
    "a VXLAN to a group": (VXLAN, {"peer": "239.1.1.1"}, "peer", "unicast"),
    "a VXLAN to everybody": (VXLAN, {"peer": "255.255.255.255"}, "peer", "unicast"),
    "a VXLAN to the loopback": (VXLAN, {"peer": "127.0.0.2"}, "peer", "unicast"),
    "a VXLAN to the link": (VXLAN, {"peer": "169.254.1.1"}, "peer", "routed address"),
    "a VXLAN by a link-local IPv4 next hop": (VXLAN, {"gateway": "169.254.1.1"}, "gateway", "routed address"),
    "a VXLAN by a group": (VXLAN, {"gateway": "224.0.0.1"}, "gateway", "unicast"),
    "a VXLAN to IPv4 in disguise": (VXLAN, {"peer": "::ffff:192.0.2.10"}, "peer", "give 192.0.2.10"),
    "an inner packet smaller than IPv6 needs": (VXLAN, {"mtu": 1279}, "mtu", "1280"),
    "no segments": (SRV6, {"segments": ()}, "segments", "empty"),
    "nine segments": (SRV6, {"segments": tuple(f"2001:db8:f::{n}" for n in range(1, 10))}, "segments", "more than 8"),
    "an IPv4 segment": (SRV6, {"segments": ("192.0.2.1",)}, "segments[0]", "IPv6"),
    "a link-local segment": (SRV6, {"segments": ("2001:db8:f::1", "fe80::1")}, "segments[1]", "routed address"),
    "a group as segment": (SRV6, {"segments": ("ff02::1",)}, "segments[0]", "unicast"),
    "the loopback as segment": (SRV6, {"segments": ("::1",)}, "segments[0]", "unicast"),
    "a segment that is we": (SRV6, {"segments": ("2001:db8::9",)}, "segments[0]", "local address"),
    "segments from the link": (SRV6, {"local": "fe80::9"}, "local", "routed address"),
    "segments by no next hop": (SRV6, {"gateway": ""}, "gateway", "no IPv6 address"),
    "segments by us": (SRV6, {"gateway": "2001:db8::9"}, "gateway", "next hop"),
    "segments in packets of 17 bits": (SRV6, {"mtu": 1 << 16}, "mtu", "65535"),
}  # fmt: skip


@pytest.mark.parametrize("sentence", WRONG_OUTER)
def test_wrong_around_a_line_is(sentence: str) -> None:
    right, fields, name, words = WRONG_OUTER[sentence]
    found = validate_line(line(encapsulation=msgspec.structs.replace(right, **fields)))
    assert [(field, words in message) for field, message in found] == [(f"encapsulation.{name}", True)]


def test_only_a_segment_list_needs_no_inner_next_hop() -> None:
    assert [field for field, _ in validate_line(line(encapsulation=VXLAN, gateway4=""))] == ["gateway4"]
    assert [field for field, _ in validate_line(line(encapsulation=SRV6, source4=""))] == ["source4", "source4"]


DEVICES: dict[str, tuple[str, str]] = {
    "nothing": ("", "1 to 15 ASCII"),
    "sixteen characters": ("a" * 16, "1 to 15 ASCII"),
    "letters beyond ASCII": ("线路", "1 to 15 ASCII"),
    "a quote, which would end the name in the table": ('l1"', "quotes"),
    "an apostrophe": ("l'1", "quotes"),
    "a backslash": ("l\\1", "quotes"),
    "an asterisk, which would mean all that begin so": ("iplc*", "asterisks"),
    "a blank": ("l 1", "spaces"),
    "a slash": ("l/1", "slashes"),
    "a colon": ("l1:0", "colons"),
    "the directory itself": ("..", "1 to 15 ASCII"),
    "the loopback": ("lo", "loopback"),
}


@pytest.mark.parametrize("sentence", DEVICES)
def test_no_device_is_named(sentence: str) -> None:
    name, words = DEVICES[sentence]
    assert [(field, words in message) for field, message in validate_line(line(device=name))] == [("device", True)]


@pytest.mark.parametrize("weights", [(1,), (0, 1), (1, 1001), (1, 2, 3)])
def test_weights_are_one_for_each_line(weights: tuple[int, ...]) -> None:
    found = validate_grant(msgspec.structs.replace(grant(lines=("a", "b")), line_weights=weights))
    assert [field for field, _ in found] == ["line_weights"]


@pytest.mark.parametrize("field", ["tunnels_per_second", "bytes_per_day", "bytes_per_month"])
@pytest.mark.parametrize("value", [-1, 1 << 53])
def test_a_limit_of_a_tenant_is_a_plain_count(field: str, value: int) -> None:
    assert [name for name, _ in validate_tenant(tenant(**{field: value}))] == [field]

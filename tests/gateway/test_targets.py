"""One target from the decision to the record, however it is spelled; literals that a grant covers are classified."""

from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.gateway.kit import Ground
from tests.gateway.node import Node, service
from whitelist.model import Endpoint, Protocol
from whitelist.target import TargetError, parse_authority

pytestmark = pytest.mark.root

# Literals that a careless grant covers, each with the kind that the classifier gives it.
COVERING = ("0.0.0.0/1", "128.0.0.0/1", "::/1", "8000::/1")
LITERALS = {
    "127.0.0.1": "own-address", "127.0.0.9": "loopback", "0.0.0.0": "unspecified",
    "10.0.0.1": "own-address", "10.1.2.3": "private",
    "100.64.0.1": "shared", "100.100.100.200": "metadata", "169.254.169.254": "metadata",
    "168.63.129.16": "metadata", "192.0.0.1": "service-continuity", "198.18.0.1": "benchmarking",
    "198.51.100.2": "own-address", "224.0.0.1": "multicast", "240.0.0.1": "reserved", "255.255.255.255": "broadcast",
    "[::]": "unspecified", "[::1]": "own-address", "[::ffff:127.0.0.9]": "ipv4-mapped→loopback",
    "[::ffff:203.0.113.1]": "ipv4-mapped→documentation", "[::ffff:0:7f00:9]": "ipv4-translated→loopback",
    "[::7f00:9]": "ipv4-compatible→loopback", "[64:ff9b::7f00:9]": "nat64→loopback",
    "[64:ff9b:1::a00:1]": "nat64-local", "[64:ff9b::a00:1]": "own-address",
    "[2002:7f00:9::]": "6to4→loopback", "[2001:0:7f00:9::]": "teredo→loopback", "[fec0::1]": "site-local",
    "[fe80::1]": "link-local", "[ff02::1]": "multicast", "[fd00:ec2::254]": "metadata", "[fd00::1]": "unique-local",
    "[2001:db8:1::2]": "own-address",
}  # fmt: skip


def test_a_literal_that_a_grant_covers_is_classified_all_the_same(own: Node, ground: Ground) -> None:
    ways = tuple(Endpoint(target=prefix, ports=(7000,), protocol=Protocol.TCP) for prefix in COVERING)
    own.put(services=service("literal", endpoints=ways, special_prefixes=()))
    asked = len(ground.names.asked)
    talks = {literal: own.connect(own.workers["w0.1"], f"{literal}:7000") for literal in LITERALS}
    for literal, talk in talks.items():
        assert talk.head().startswith("HTTP/1.1 403 "), literal
        record = own.final(talk)
        assert (record["kind"], record["reason"]) == ("deny", "address-forbidden"), literal
        assert record["detail"] == f"{literal.strip('[]')} ({LITERALS[literal]})"
        assert not record.get("egress_port"), "nothing was dialled"
    assert {question.host for question in ground.names.asked[asked:]}.isdisjoint(LITERALS)


_ODD = st.sampled_from(
    ["", "", "", ".", "..", "%00", "\0", " ", "@203.0.113.1", "/", "\\", "#", "?", "\u00ad", "\u3002", "\u200b", ",b"]
)
_CASES = st.sampled_from([str, str.upper, str.title, str.swapcase])
_WIDE = str.maketrans("0123456789.", "０１２３４５６７８９。")
_ADDRESSES: list[Callable[[list[int]], str]] = [
    lambda o: ".".join(map(str, o)),
    lambda o: f"{o[0]}.{o[1]}.{o[2] << 8 | o[3]}",
    lambda o: str(int.from_bytes(bytes(o))),
    lambda o: hex(int.from_bytes(bytes(o))),
    lambda o: ".".join(f"0{part:o}" for part in o),
    lambda o: ".".join(f"{part:03d}" for part in o),
    lambda o: ".".join(map(hex, o)),
    lambda o: ".".join(map(str, o)).translate(_WIDE),
    lambda o: ".".join(map(str, o)) + ".",
    lambda o: f"[::ffff:{'.'.join(map(str, o))}]",
    lambda o: f"[::ffff:{bytes(o).hex()[:4]}:{bytes(o).hex()[4:]}]",
    lambda o: f"[64:ff9b::{bytes(o).hex()[:4]}:{bytes(o).hex()[4:]}]",
    lambda o: ".".join(f"%{ord(c):02x}" for c in "".join(map(str, o))),
    lambda o: f"[{'.'.join(map(str, o))}]",
]


def test_what_was_decided_is_what_was_dialled_and_recorded(own: Node, ground: Ground) -> None:
    """Every spelling of a target either names the one service in its one form, or nothing is asked and dialled."""
    own.put(services=service("tcp", endpoints=(own.policy["services:tcp"].endpoints[0], Endpoint(
        target="xn--bcher-kva.tcp.example", ports=(7000,), protocol=Protocol.TCP))))  # fmt: skip
    worker = own.workers["w0.1"]
    site, other = ground.site("tcp"), ground.site("tcp")
    ground.names.know("xn--bcher-kva.tcp.example", other.address)
    octets = list(map(int, site.address.split(".")))
    places = {site.host: site, "xn--bcher-kva.tcp.example": other, site.address: site}
    spellings = (
        st.builds(lambda case, odd: case(site.host) + odd, _CASES, _ODD)
        | st.builds(lambda at, odd: site.host[:at] + odd + site.host[at:], st.integers(0, len(site.host)), _ODD)
        | st.builds(lambda case, odd: case("bücher.tcp.example") + odd, _CASES, _ODD)
        | st.sampled_from([made(octets) for made in _ADDRESSES])
        | st.sampled_from(
            [
                "bu\u0308cher.tcp.example",
                "xn--bcher-kva.TCP.example",
                "ｂücher.tcp.example",
                "XN--BCHER-KVA.tcp.example",
            ]
        )
    )
    seen = {"open": 0, "refused": 0}

    @settings(max_examples=120, deadline=None, suppress_health_check=list(HealthCheck), database=None)
    @example(site.host)
    @example("BÜCHER.tcp.example.")
    @example(site.address)
    @given(spellings)
    def one(spelling: str) -> None:
        before = {question.host for question in ground.names.asked}
        raw = f"{spelling}:7000"
        talk = own.connect(worker, raw)
        answer = talk.head()
        asked = {question.host for question in ground.names.asked} - before  # a name of before may be asked for late
        try:
            target = parse_authority(raw.encode())
        except TargetError:
            target = None
        if answer.startswith("HTTP/1.1 200 "):
            assert target is not None
            there = places[target.host].accept()
            dialled = there.sock.getsockname()[0]
            talk.close()
            there.close()
            record = own.final(talk)
            assert (record["host"], record["port"], record["address"]) == (target.host, 7000, dialled)
            assert asked <= {target.host}
            assert record["service"] == ("literal" if target.is_ip else "tcp")
            seen["open"] += 1
        else:
            record = own.final(talk)
            assert record["kind"] == "deny"
            assert not record.get("address")
            assert record.get("host", "") == ("" if target is None else target.host)
            if target is None:
                assert record["reason"] in ("name-invalid", "malformed-request")
                assert not asked
            elif record["reason"] == "not-whitelisted":
                assert not asked
            else:  # another name under the wildcard
                assert record["reason"] == "resolve-failed"
                assert asked <= {target.host}
                assert target.host not in places
            seen["refused"] += 1

    one()
    assert site.quiet()
    assert other.quiet()
    assert seen["open"] > 20, seen
    assert seen["refused"] > 20, seen

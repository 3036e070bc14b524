"""The plan and the table as text, and which lines are left out of them."""

import subprocess
from pathlib import Path

import pytest
from msgspec.structs import replace

from gateway.line.killswitch import render
from gateway.line.model import LineError, NodeConfig, handle_of
from gateway.line.plan import plan, sort_out
from gateway.line.spec import spec_of
from tests.gateway.line.kit import NODE, TAKING, line
from whitelist.model import Line, LineShare, Srv6, Vxlan

GOLDEN = Path(__file__).parent / "golden"
SHARES = (
    LineShare(tenant="acme", number=1, source4="198.51.100.6"),
    LineShare(tenant="birch", number=2, source4="198.51.100.5", source6="2001:db8:1::5"),
    LineShare(tenant="cedar", number=3),
)
VXLAN = Vxlan(vni=7, underlay="eth9", local="192.0.2.9", peer="192.0.2.10", gateway="192.0.2.11")
SRV6 = Srv6(segments=("2001:db8:f::1", "2001:db8:f::2"), gateway="fe80::1", local="2001:db8:e::9")
NO_HOPS = {"gateway4": "", "gateway6": ""}
SETS: dict[str, tuple[list[Line], NodeConfig]] = {
    "no_lines": ([], NodeConfig()),
    "one_line": ([line(1)], NodeConfig()),
    "two_lines": ([line(2), line(255, gateway6="", source6="")], NODE),
    "tenants_sources": ([line(1, shares=SHARES)], NODE),
    "vxlan": ([line(1, encapsulation=VXLAN)], NodeConfig()),
    "srv6": ([line(1, encapsulation=SRV6)], NodeConfig()),  # its gateways are not used
    "transparent": ([line(1)], TAKING),
    "other_mark": ([line(1)], NodeConfig(mark_base=0x10000000, mark_mask=0xFFFFFF00)),
}


@pytest.mark.parametrize("name", SETS)
def test_the_plan_is(name: str) -> None:
    lines, node = SETS[name]
    specs, problems = sort_out(lines, node)
    assert not problems
    assert plan(specs, node).text() == (GOLDEN / f"{name}.plan.txt").read_text()


@pytest.mark.parametrize("name", SETS)
def test_the_table_is(name: str) -> None:
    lines, node = SETS[name]
    assert render(sort_out(lines, node)[0], node) == (GOLDEN / f"{name}.nft").read_text()


@pytest.mark.root
@pytest.mark.parametrize("name", SETS)
def test_nft_takes_the_table(name: str) -> None:
    text = (GOLDEN / f"{name}.nft").read_text()
    done = subprocess.run(["nft", "--check", "-f", "-"], input=text, capture_output=True, text=True, timeout=10)
    assert done.stderr == ""


def test_two_lines_that_claim_one_source_for_a_tenant_are_both_left_out() -> None:
    specs, problems = sort_out([line(1, shares=SHARES), line(2, shares=SHARES[:1])], NODE)
    assert not specs
    assert "source 198.51.100.6 is also that of" in problems["line-1"]


def test_counts_are_carried_over_without_changing_the_digest() -> None:
    specs = [spec_of(line(1))]
    plain, counted = render(specs, NODE), render(specs, NODE, {"line_1": (7, 900), "gone": (1, 1)})
    assert "counter line_1 { packets 7 bytes 900 }" in counted
    assert "gone" not in counted
    assert [x for x in plain.splitlines() if "comment" in x] == [x for x in counted.splitlines() if "comment" in x]


def test_every_line_ends_in_a_block_behind_its_ways() -> None:
    wanted = plan(sort_out([line(1), line(2)], NODE)[0], NODE)
    for version in (4, 6):
        rules = [rule for rule in wanted.rules if rule.version == version]
        leading = max(rule.priority for rule in rules if rule.table)
        assert leading < min(rule.priority for rule in rules if not rule.table)
        for rule in rules:
            if rule.table:
                last = max(r.metric for r in wanted.routes if (r.version, r.table) == (version, rule.table))
                assert [
                    r.device
                    for r in wanted.routes
                    if r.metric == last and r.table == rule.table and r.version == version
                ] == [""]


LEFT_OUT: dict[str, tuple[list[Line], dict[str, str]]] = {
    "no index": ([line(1, index=0)], {"line-1": "index 0; give 1 to 255"}),
    "index too large": ([line(1, index=256)], {"line-1": "index 256; give 1 to 255"}),
    "no device": ([line(1, device="")], {"line-1": "device name ''; give 1 to 15 ASCII characters"}),
    "device name too long": ([line(1, device="a" * 16)], {"line-1": "give 1 to 15 ASCII characters"}),
    "device name with a quote": ([line(1, device='a"accept')], {"line-1": "leave out spaces, quotes"}),
    "device name with a star": ([line(1, device="iplc*")], {"line-1": "leave out spaces, quotes"}),
    "device name outside ASCII": ([line(1, device="线路")], {"line-1": "give 1 to 15 ASCII characters"}),
    "gateway is no address": ([line(1, gateway4="198.51.1.1/30")], {"line-1": "gateway '198.51.1.1/30' is not"}),
    "gateway of the other family": ([line(1, gateway4="2001:db8::1")], {"line-1": "gateway '2001:db8::1' is not IPv4"}),
    "gateway with a zone": ([line(1, gateway6="fe80::1%iplc1")], {"line-1": "address without zone"}),
    "source without gateway": ([line(1, gateway6="")], {"line-1": "IPv6 has only one of gateway and source"}),
    "gateway without source": ([line(1, source4="")], {"line-1": "IPv4 has only one of gateway and source"}),
    "gateway is the source": ([line(1, gateway4="198.51.1.2")], {"line-1": "gateway and source are both 198.51.1.2"}),
    "neither family": (
        [line(1, gateway4="", source4="", gateway6="", source6="")],
        {"line-1": "has neither IPv4 nor IPv6"},
    ),
    "resolver is no address": ([line(1, resolvers=("dns.example",))], {"line-1": "resolver 'dns.example' is not"}),
    "device of clients": ([line(1, device="acc0")], {"line-1": "acc0 is a device of access; give the line its own"}),
    "device of management": ([line(1, device="mgmt0")], {"line-1": "mgmt0 is a device of management"}),
    "loopback": ([line(1, device="lo")], {"line-1": "lo is a device of loopback"}),
    "a source among clients": ([line(1, source4="10.2.0.7")], {"line-1": "10.2.0.7 is within 10.2.0.0/24, which"}),
    "a firm's source among clients": (
        [line(1, shares=(LineShare(tenant="acme", number=1, source6="fd00:1::7"),))],
        {"line-1": "fd00:1::7 is within fd00:1::/64, which is a prefix of access device acc0"},
    ),
    "a source among administrators": (
        [line(1, source6="fd00:8::7")],
        {"line-1": "a prefix of management device mgmt0: answers there would leave by the line; give the line an add"},
    ),
    "a listener's address": ([line(1, source4="10.9.0.1")], {"line-1": "10.9.0.1 is the address of a listener"}),
    "a listener's address in another spelling": (
        [line(1, source6="FD00:9:0::1")], {"line-1": "fd00:9::1 is the address of a listener"},
    ),
    "an outer source among administrators": (
        [line(1, encapsulation=replace(VXLAN, local="192.168.8.7"))], {"line-1": "192.168.8.7 is within"},
    ),
    "a source of no machine": ([line(1, source4="0.0.0.0")], {"line-1": "source 0.0.0.0 is no address of one machine"}),
    "a link-local source": ([line(1, source6="fe80::2")], {"line-1": "source fe80::2 is link-local"}),
    "a gateway of many": ([line(1, gateway6="ff02::1")], {"line-1": "gateway ff02::1 is no address of one machine"}),
    "a peer of many": (
        [line(1, encapsulation=replace(VXLAN, peer="239.1.1.1"))], {"line-1": "VXLAN's peer 239.1.1.1 is no address"},
    ),
    "two with one device": (
        [line(1), line(2, device="iplc1")],
        {"line-1": "device iplc1 is also that of line-2", "line-2": "device iplc1 is also that of line-1"},
    ),
    "two with one index": (
        [line(1), line(2, index=1)],
        {"line-1": "index 1 is also that of line-2", "line-2": "index 1 is also that of line-1"},
    ),
    "two with one source in two spellings": (
        [line(1), line(2, source6="2001:DB8:1:0::2")],
        {"line-1": "source 2001:db8:1::2 is also that", "line-2": "source 2001:db8:1::2 is also that"},
    ),
    "a VXLAN over a line's device": (
        [line(1, encapsulation=replace(VXLAN, underlay="iplc9"))],
        {"line-1": "iplc9, which is itself a line's device; give them a device of their own"},
    ),
    "a VXLAN over the clients' device": (
        [line(1, encapsulation=replace(VXLAN, underlay="acc0"))],
        {"line-1": "acc0 is a device of access; give the line its own"},
    ),
    "two of one VXLAN network": (
        [line(1, encapsulation=VXLAN), line(2, encapsulation=replace(VXLAN, peer="192.0.2.12"))],
        {"line-1": "VXLAN 7 is also that of line-2", "line-2": "VXLAN 7 is also that of line-1"},
    ),
    "two VXLAN networks to one peer": (
        [line(1, encapsulation=VXLAN), line(2, encapsulation=replace(VXLAN, vni=8))],
        {"line-1": "way from 192.0.2.9 to 192.0.2.10 is also", "line-2": "way from 192.0.2.9 to 192.0.2.10 is also"},
    ),
    "a VXLAN from the line's own source": (
        [line(1, encapsulation=replace(VXLAN, local="198.51.1.2"))],
        {"line-1": "outer source 198.51.1.2 is a source of line line-1; give the tunnel an address of its own"},
    ),
    "a VXLAN of two families": (
        [line(1, encapsulation=replace(VXLAN, peer="2001:db8::7"))],
        {"line-1": "VXLAN's peer '2001:db8::7' is not IPv4"},
    ),
    "two segment lists with two outer sources": (
        [
            line(1, encapsulation=SRV6, **NO_HOPS),
            line(2, encapsulation=replace(SRV6, local="2001:db8:e::8"), **NO_HOPS),
        ],
        {"line-1": "give all of them one address of the node", "line-2": "SRv6 lines have the outer sources"},
    ),
    "a segment list without segments": (
        [line(1, encapsulation=replace(SRV6, segments=()), **NO_HOPS)],
        {"line-1": "its segment list is empty"},
    ),
}  # fmt: skip


@pytest.mark.parametrize("sentence", LEFT_OUT)
def test_a_line_is_left_out_and_the_others_stay_with(sentence: str) -> None:
    lines, expected = LEFT_OUT[sentence]
    specs, problems = sort_out([*lines, line(9)], NODE)
    assert [spec.id for spec in specs] == ["line-9"]
    assert problems.keys() == expected.keys()
    for name, words in expected.items():
        assert words in problems[name]


def test_a_retired_line_is_neither_wanted_nor_wrong() -> None:
    assert sort_out([line(1, retired=True, device="")], NODE) == ([], {})


def test_the_handle_is_what_the_kernel_gives_back() -> None:
    handle = handle_of(line(7, source6="2001:DB8::7"))
    assert (handle.mark, handle.device_sockopt, handle.source6) == (0x46000700, b"iplc7\0", "2001:db8::7")
    assert handle.resolvers == ((4, "203.0.113.53", ""),)


def test_an_error_names_line_fact_and_remedy() -> None:
    with pytest.raises(LineError) as caught:
        handle_of(line(1, index=0))
    assert str(caught.value) == "line line-1: index 0; give 1 to 255"

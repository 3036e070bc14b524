"""Steps from what is to what should be, and the state of a line."""

import dataclasses

import pytest

from gateway.line.health import line_state
from gateway.line.plan import Plan, plan
from gateway.line.reconcile import Actual, Link, diff
from gateway.line.routing import Route, Rule
from gateway.line.spec import LineSpec, spec_of
from gateway.line.steps import (
    Action,
    AddAddress,
    AddDevice,
    AddRoute,
    AddRule,
    DeleteAddress,
    DeleteDevice,
    DeleteRoute,
    DeleteRule,
    LoadTable,
    SetMtu,
    SetSysctl,
    SetTunnelSource,
    SetUp,
)
from tests.gateway.line.kit import NODE, line
from whitelist.model import LineShare, Srv6, Vxlan

SPEC = spec_of(line(1))
WANTED: Plan = plan([SPEC], NODE)
WHOLE = Actual(
    rules=WANTED.rules,
    routes=WANTED.routes,
    links={"iplc1": Link(3, up=True, carrier=True)},
    addresses={"iplc1": frozenset({"198.51.1.2", "2001:db8:1::2"})},
    sysctls=dict(WANTED.sysctls),
    table="as loaded",
)
MARK_RULE = Rule(4, 4610, 0x46000100, 0xFFFFFF00, table=4601)
BLOCK = Rule(4, 4680, 0x46000000, 0xFFFF0000)
GATEWAY = Route(4, 4601, 10, "iplc1", "198.51.1.1")
FOREIGN = Rule(4, 4610, extra="FRA_IIFNAME lo")
STRAY = Route(6, 4601, 5, extra="type 1")

STEPS: dict[str, tuple[Actual, list[Action]]] = {
    "nothing differs": (WHOLE, []),
    "the table is gone": (dataclasses.replace(WHOLE, table=""), [LoadTable("missing")]),
    "the table was edited": (dataclasses.replace(WHOLE, table="other"), [LoadTable("edited")]),
    "a rule is gone": (dataclasses.replace(WHOLE, rules=WANTED.rules - {MARK_RULE}), [AddRule(MARK_RULE)]),
    "a foreign rule is there": (dataclasses.replace(WHOLE, rules=WANTED.rules | {FOREIGN}), [DeleteRule(FOREIGN)]),
    "a route is gone": (dataclasses.replace(WHOLE, routes=WANTED.routes - {GATEWAY}), [AddRoute(GATEWAY)]),
    "a stray route is there": (dataclasses.replace(WHOLE, routes=WANTED.routes | {STRAY}), [DeleteRoute(STRAY)]),
    "a sysctl differs": (
        dataclasses.replace(WHOLE, sysctls={**WANTED.sysctls, "net/ipv4/ip_forward": "1"}),
        [SetSysctl("net/ipv4/ip_forward", "0", "1")],
    ),
    "a sysctl of a device that is not there": (
        dataclasses.replace(WHOLE, sysctls={**WANTED.sysctls, "net/ipv4/conf/iplc1/rp_filter": None}),
        [],
    ),
    "a device without the line's source is not the line": (
        dataclasses.replace(WHOLE, routes=WANTED.routes - {GATEWAY}, addresses={"iplc1": frozenset({"2001:db8:1::2"})}),
        [],
    ),
    "a device that is down has no route": (
        dataclasses.replace(
            WHOLE,
            routes=frozenset(route for route in WANTED.routes if not route.device),
            links={"iplc1": Link(3, up=False, carrier=False)},
        ),
        [],
    ),
}


@pytest.mark.parametrize("sentence", STEPS)
def test_the_steps_when(sentence: str) -> None:
    actual, steps = STEPS[sentence]
    assert diff(WANTED, "as loaded", actual) == steps


def test_what_blocks_comes_before_what_leads() -> None:
    nothing = dataclasses.replace(
        WHOLE, rules=frozenset({FOREIGN}), routes=frozenset(), sysctls={"net/ipv4/ip_forward": "1"}, table=""
    )
    steps = diff(WANTED, None, nothing)

    def rank(step: Action) -> int:
        match step:
            case LoadTable():
                return 0
            case SetSysctl():
                return 1
            case AddRule(rule):
                return 6 if rule.table else 2
            case AddRoute(route):
                return 5 if route.device else 3
            case _:
                return 4

    assert [rank(step) for step in steps] == sorted(rank(step) for step in steps)
    assert {rank(step) for step in steps} == {0, 1, 2, 3, 4, 5, 6}


STATES: dict[str, tuple[Actual, tuple[str, str]]] = {
    "all is well": (WHOLE, ("up", "")),
    "no device": (dataclasses.replace(WHOLE, links={}), ("down", "device iplc1 does not exist")),
    "device down": (
        dataclasses.replace(WHOLE, links={"iplc1": Link(3, up=False, carrier=False)}),
        ("down", "device iplc1 is down"),
    ),
    "no carrier": (
        dataclasses.replace(WHOLE, links={"iplc1": Link(3, up=True, carrier=False)}),
        ("down", "device iplc1 has no carrier"),
    ),
    "one source is missing": (
        dataclasses.replace(WHOLE, addresses={"iplc1": frozenset({"198.51.1.2"})}),
        ("up", "source 2001:db8:1::2 is not on iplc1"),
    ),
    "its source is on another device": (
        dataclasses.replace(WHOLE, addresses={"acc0": frozenset({"198.51.1.2", "2001:db8:1::2"})}),
        ("down", "source 198.51.1.2 is not on iplc1, source 2001:db8:1::2 is not on iplc1"),
    ),
    "both gateways are silent": (
        dataclasses.replace(
            WHOLE, neighbours={("iplc1", "198.51.1.1"): "failed", ("iplc1", "2001:db8:1::1"): "failed"}
        ),
        ("down", "gateway 198.51.1.1 does not answer, gateway 2001:db8:1::1 does not answer"),
    ),
    "a gateway of that address is silent elsewhere": (
        dataclasses.replace(WHOLE, neighbours={("iplc2", "198.51.1.1"): "failed"}),
        ("up", ""),
    ),
    "one route is missing": (
        dataclasses.replace(WHOLE, routes=WANTED.routes - {GATEWAY}),
        ("up", "no route to 198.51.1.1"),
    ),
}


@pytest.mark.parametrize("sentence", STATES)
def test_the_line_when(sentence: str) -> None:
    actual, expected = STATES[sentence]
    assert line_state(SPEC, actual) == expected


def test_a_line_is_up_and_names_the_source_of_a_tenant_that_is_not_on_its_device() -> None:
    shares = (LineShare(tenant="acme", number=1, source4="198.51.1.6", source6="2001:db8:1::2"),)
    there = dataclasses.replace(WHOLE, addresses={"iplc1": frozenset({"198.51.1.2", "198.51.1.6", "2001:db8:1::2"})})
    spec = spec_of(line(1, shares=shares))
    assert line_state(spec, WHOLE) == ("up", "a tenant's source 198.51.1.6 is not on iplc1")
    assert line_state(spec, there) == ("up", "")


VXLAN = Vxlan(vni=7, underlay="eth9", local="192.0.2.9", peer="192.0.2.10", mtu=1400)
OVER = spec_of(line(1, encapsulation=VXLAN))
TUNNEL: Plan = plan([OVER], NODE)
(DEVICE,) = TUNNEL.devices
MADE = Link(5, up=True, carrier=True, vxlan=DEVICE.shape, alias=DEVICE.alias, mtu=1400)
UNDER = Link(4, up=True, carrier=True)
ADDRESSES = {"eth9": frozenset({"192.0.2.9"}), "iplc1": frozenset(DEVICE.addresses)}
TUNNELLED = Actual(
    rules=TUNNEL.rules,
    routes=TUNNEL.routes,
    links={"eth9": UNDER, "iplc1": MADE},
    addresses=ADDRESSES,
    sysctls=dict(TUNNEL.sysctls),
    table="as loaded",
)
LEADING = frozenset(route for route in TUNNEL.routes if route.device == "iplc1")


def links(**changed: Link | None) -> Actual:
    """The tunnel with other devices, and the routes that the kernel then has not."""
    found = {name: link for name, link in ({"eth9": UNDER, "iplc1": MADE} | changed).items() if link is not None}
    return dataclasses.replace(TUNNELLED, links=found, routes=TUNNEL.routes - LEADING)


DEVICES: dict[str, tuple[Actual, list[Action]]] = {
    "nothing differs": (TUNNELLED, []),
    "the device is not there": (links(iplc1=None), [AddDevice(DEVICE)]),
    "neither it nor the one under it is there": (
        dataclasses.replace(
            links(iplc1=None, eth9=None), routes=frozenset(route for route in TUNNEL.routes if not route.device)
        ),
        [],
    ),
    "it leads to another peer": (
        links(iplc1=dataclasses.replace(MADE, vxlan=("eth9", 7, "192.0.2.9", "192.0.2.66", 4789, DEVICE.mac))),
        [DeleteDevice("iplc1")],
    ),
    "its packets are too large": (
        dataclasses.replace(TUNNELLED, links={"eth9": UNDER, "iplc1": dataclasses.replace(MADE, mtu=1450)}),
        [SetMtu("iplc1", 1400)],
    ),
    "more is asked for than the one under it leaves": (
        dataclasses.replace(TUNNELLED, links={"eth9": dataclasses.replace(UNDER, mtu=1420), "iplc1": MADE}),
        [SetMtu("iplc1", 1370)],
    ),
    "an address of another is on it": (
        dataclasses.replace(TUNNELLED, addresses=ADDRESSES | {"iplc1": ADDRESSES["iplc1"] | {"224.0.0.5", "fe80::5"}}),
        [DeleteAddress("iplc1", "224.0.0.5")],
    ),
    "somebody else made it": (links(iplc1=dataclasses.replace(MADE, alias="")), []),
    "a card has its name": (links(iplc1=Link(5, up=True, carrier=True)), []),
    "it is down": (links(iplc1=dataclasses.replace(MADE, up=False)), [SetUp("iplc1")]),
    "a source is not on it": (
        dataclasses.replace(TUNNELLED, addresses=ADDRESSES | {"iplc1": frozenset({"198.51.1.2"})}),
        [AddAddress("iplc1", "2001:db8:1::2")],
    ),
    "one of a line that was retired is left": (
        dataclasses.replace(
            TUNNELLED, links=TUNNELLED.links | {"old": dataclasses.replace(MADE, alias="feiyu line old")}
        ),
        [DeleteDevice("old")],
    ),
    "the route under it is gone": (
        dataclasses.replace(TUNNELLED, routes=TUNNEL.routes - {Route(4, 4901, 10, "eth9", "192.0.2.10")}),
        [AddRoute(Route(4, 4901, 10, "eth9", "192.0.2.10"))],
    ),
}


@pytest.mark.parametrize("sentence", DEVICES)
def test_the_steps_of_a_tunnel_when(sentence: str) -> None:
    actual, steps = DEVICES[sentence]
    assert diff(TUNNEL, "as loaded", actual) == steps


SRV6 = Srv6(segments=("2001:db8:f::1", "2001:db8:f::2"), gateway="fe80::1", local="2001:db8:e::9", mtu=1400)
LISTED = spec_of(line(1, encapsulation=SRV6))
SEGMENTS: Plan = plan([LISTED], NODE)
WRAPPED = dataclasses.replace(
    WHOLE,
    rules=SEGMENTS.rules,
    routes=SEGMENTS.routes,
    sysctls=dict(SEGMENTS.sysctls),
    addresses=WHOLE.addresses | {"lo": frozenset({"2001:db8:e::9"})},
    tunnel_source="2001:db8:e::9",
)


def test_what_wraps_comes_after_the_way_to_the_first_segment_and_goes_before_it() -> None:
    kept = frozenset(route for route in SEGMENTS.routes if not route.device)
    added = [step.route for step in diff(SEGMENTS, "as loaded", dataclasses.replace(WRAPPED, routes=kept))
             if isinstance(step, AddRoute) and step.route.version == 6]  # fmt: skip
    assert [bool(route.segments) for route in added] == [False, True]
    emptied = dataclasses.replace(SEGMENTS, routes=kept)
    gone = [step.route for step in diff(emptied, "as loaded", WRAPPED) if isinstance(step, DeleteRoute)]
    assert [bool(route.segments) for route in gone] == [True, True, False]


def test_another_source_address_of_the_node_is_put_right() -> None:
    steps = diff(SEGMENTS, "as loaded", dataclasses.replace(WRAPPED, tunnel_source="2001:db8::bad"))
    assert steps == [SetTunnelSource("2001:db8:e::9", "2001:db8::bad")]


TUNNEL_STATES: dict[str, tuple[LineSpec, Actual, tuple[str, str]]] = {
    "all is well in VXLAN": (OVER, TUNNELLED, ("up", "")),
    "the wire under it has no carrier": (
        OVER, links(eth9=Link(4, up=True, carrier=False)), ("down", "device eth9 has no carrier"),
    ),
    "the device is somebody else's": (
        OVER, links(iplc1=Link(5, up=True, carrier=True)),
        ("down", "device iplc1 is not the one that the gateway makes for the line; remove or rename it"),
    ),
    "its outer source is missing": (
        OVER, dataclasses.replace(TUNNELLED, addresses=ADDRESSES | {"eth9": frozenset()}),
        ("down", "outer source 192.0.2.9 is not on eth9"),
    ),
    "the next hop under it is silent": (
        OVER, dataclasses.replace(TUNNELLED, neighbours={("eth9", "192.0.2.10"): "failed"}),
        ("down", "gateway 192.0.2.10 does not answer"),
    ),
    "all is well with segments": (LISTED, WRAPPED, ("up", "")),
    "packets would not be wrapped": (
        LISTED, dataclasses.replace(WRAPPED, routes=frozenset(r for r in SEGMENTS.routes if not r.segments)),
        ("down", "no IPv4 route into the segment list, no IPv6 route into the segment list"),
    ),
    "the node's own source address is another": (
        LISTED, dataclasses.replace(WRAPPED, tunnel_source=""),
        ("down", "the node's SRv6 source address is not 2001:db8:e::9"),
    ),
    "the first segment has no way": (
        LISTED, dataclasses.replace(WRAPPED, routes=frozenset(r for r in SEGMENTS.routes if not r.gateway)),
        ("down", "no ip -6 route table 4601: 2001:db8:f::1 via fe80::1 dev iplc1 onlink metric 5"),
    ),
}  # fmt: skip


@pytest.mark.parametrize("sentence", TUNNEL_STATES)
def test_the_line_in_a_tunnel_when(sentence: str) -> None:
    spec, actual, expected = TUNNEL_STATES[sentence]
    assert line_state(spec, actual) == expected

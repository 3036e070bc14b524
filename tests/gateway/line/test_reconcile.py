"""Steps from what is to what should be, and the state of a line."""

import dataclasses

import pytest

from gateway.line.health import line_state
from gateway.line.plan import Plan, plan
from gateway.line.reconcile import (
    Action,
    Actual,
    AddRoute,
    AddRule,
    DeleteRoute,
    DeleteRule,
    Link,
    LoadTable,
    SetSysctl,
    diff,
)
from gateway.line.routing import Route, Rule
from gateway.line.spec import spec_of
from tests.gateway.line.kit import NODE, line

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

"""Which line a repair counts for: each kind of step of a plan with two lines."""

import pytest

from gateway.line.attribution import line_of, line_on
from gateway.line.plan import Rule, plan
from gateway.line.spec import LineSpec, Way
from gateway.line.steps import Action, AddRoute, AddRule, DeleteRoute, DeleteRule, LoadTable, SetSysctl
from tests.gateway.line.kit import NODE

ONE = LineSpec("hk1", 1, 0x46000100, 4601, "iplc1", (Way(4, "198.51.100.1", "198.51.100.2", ("198.51.100.7",)),))
TWO = LineSpec("sg1", 2, 0x46000200, 4602, "iplc2", (Way(4, "198.51.101.1", "198.51.101.2"),))
PLAN = plan((ONE, TWO), NODE)
ROUTE = next(route for route in sorted(PLAN.routes) if route.table == 4602)
STEPS: dict[str, tuple[Action, str]] = {
    "a route of its table": (AddRoute(ROUTE), "sg1"),
    "a foreign route in its table": (DeleteRoute(ROUTE), "sg1"),
    "the rule of its mark": (AddRule(Rule(4, 4610, 0x46000100, 0xFFFFFF00, table=4601)), "hk1"),
    "the rule of a tenant's source on it": (AddRule(Rule(4, 4690, source="198.51.100.7")), "hk1"),
    "the rule behind all marks is the node's": (AddRule(Rule(4, 4680, 0x46000000, 0xFFFF0000)), ""),
    "a foreign rule is the node's": (DeleteRule(Rule(6, 4600, extra="to 2001:db8::/32")), ""),
    "the nft table is the node's": (LoadTable("missing"), ""),
    "a switch of its device": (SetSysctl("net/ipv4/conf/iplc2/rp_filter", "1", "0"), "sg1"),
    "a switch of an access device": (SetSysctl("net/ipv4/conf/acc0/rp_filter", "1", "0"), ""),
    "a switch of the node": (SetSysctl("net/ipv4/ip_forward", "0", "1"), ""),
}


@pytest.mark.parametrize("sentence", STEPS)
def test_a_repair_of(sentence: str) -> None:
    step, line = STEPS[sentence]
    assert line_of(step, PLAN) == line


def test_traffic_classes_are_of_the_line_on_their_device() -> None:
    assert (line_on("iplc1", PLAN), line_on("acc0", PLAN)) == ("hk1", "")

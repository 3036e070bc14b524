"""Which flows a kill covers."""

import pytest

from gateway.kills import Kills
from gateway.live import Kill, KillScope
from whitelist.reason import Reason

FLOW = ("acme", "mail", "hk1", "api.mail.example", 1000.0, "203.0.113.9")
V6 = ("acme", "mail", "hk1", "2001:db8::1", 1000.0, "2001:db8::1")

CASES: dict[str, tuple[KillScope, str, int, tuple[str, str, str, str, float, str], bool]] = {
    "all": (KillScope.ALL, "", 0, FLOW, True),
    "all, and a value that means nothing": (KillScope.ALL, "x", 0, FLOW, True),
    "the firm": (KillScope.TENANT, "acme", 0, FLOW, True),
    "another firm": (KillScope.TENANT, "acm", 0, FLOW, False),
    "a firm without a name": (KillScope.TENANT, "", 0, ("", *FLOW[1:]), False),
    "the service": (KillScope.SERVICE, "mail", 0, FLOW, True),
    "another service": (KillScope.SERVICE, "mai", 0, FLOW, False),
    "the line": (KillScope.LINE, "hk1", 0, FLOW, True),
    "a line, and a flow that has none yet": (KillScope.LINE, "hk1", 0, ("acme", "mail", "", *FLOW[3:]), False),
    "the name": (KillScope.DESTINATION, "api.mail.example", 0, FLOW, True),
    "the name in capitals with a dot": (KillScope.DESTINATION, "API.Mail.Example.", 0, FLOW, True),
    "a name above it": (KillScope.DESTINATION, "mail.example", 0, FLOW, True),
    "a wildcard above it": (KillScope.DESTINATION, "*.mail.example", 0, FLOW, True),
    "a name that only ends alike": (KillScope.DESTINATION, "il.example", 0, FLOW, False),
    "a name below it": (KillScope.DESTINATION, "x.api.mail.example", 0, FLOW, False),
    "no destination": (KillScope.DESTINATION, "", 0, ("acme", "mail", "hk1", "", 1000.0, ""), False),
    "the address it was dialled at": (KillScope.DESTINATION, "203.0.113.9", 0, FLOW, True),
    "another address": (KillScope.DESTINATION, "203.0.113.90", 0, FLOW, False),
    "an IPv6 address in another spelling": (KillScope.DESTINATION, "[2001:DB8:0::1]", 0, V6, True),
    "a second before its end": (KillScope.ALL, "", 1001, FLOW, True),
    "its end": (KillScope.ALL, "", 1000, FLOW, False),
}


@pytest.mark.parametrize("case", CASES)
def test_a_kill_of(case: str) -> None:
    scope, value, until, flow, covered = CASES[case]
    kills = Kills()
    kills.engage(Kill(id="k1", scope=scope, value=value, until=until))
    assert kills.hit(*flow) == ("k1" if covered else "")


def test_a_kill_that_is_over_or_of_another_does_not_hide_one_in_force() -> None:
    kills = Kills()
    kills.replace(
        (
            Kill(id="over", scope=KillScope.ALL, until=1),
            Kill(id="other", scope=KillScope.TENANT, value="birch"),
            Kill(id="mine", scope=KillScope.DESTINATION, value="Mail.Example"),
        )
    )
    assert kills.hit(*FLOW) == "mine"
    kills.release("mine")
    kills.release("never heard of")
    assert kills.hit(*FLOW) == ""
    assert kills
    kills.replace(())
    assert not kills


def test_the_same_id_again_replaces_what_it_said() -> None:
    kills = Kills()
    kills.engage(Kill(id="k1", scope=KillScope.ALL))
    kills.engage(Kill(id="k1", scope=KillScope.TENANT, value="birch"))
    assert kills.hit(*FLOW) == ""


@pytest.mark.parametrize(
    ("value", "user", "covered"),
    [("acme/u-1", "u-1", True), ("acme/u-1", "u-2", False), ("birch/u-1", "u-1", False), ("acme/", "", False)],
)
def test_a_kill_of_a_user_is_of_one_firms_user(value: str, user: str, covered: bool) -> None:
    kills = Kills()
    kills.engage(Kill(id="k1", scope=KillScope.USER, value=value))
    assert kills.hit(*FLOW, user) == ("k1" if covered else "")


def test_who_asked_for_a_kill_decides_what_is_said() -> None:
    kills = Kills()
    kills.engage(Kill(id="k1", scope=KillScope.ALL))
    kills.engage(Kill(id="k2", scope=KillScope.ALL, rule="rule-7"))
    assert kills.refusal("k1") == (Reason.KILL_SWITCH, "k1")
    assert kills.refusal("k2") == (Reason.REGULATOR_RULE, "rule-7")
    assert kills.refusal("gone") == (Reason.KILL_SWITCH, "gone")


def test_a_throttle_refuses_nothing_by_itself_and_the_slowest_counts() -> None:
    kills = Kills()
    for number, (tenant, rate, until) in enumerate([("acme", 5, 0), ("acme", 3, 0), ("acme", 1, 900), ("birch", 1, 0)]):
        kills.engage(
            Kill(id=f"k{number}", scope=KillScope.TENANT, value=tenant, until=until, rule=f"r{number}", rate=rate)
        )
    assert kills.hit(*FLOW) == ""
    assert kills.rate("acme", 1000.0) == (3, "r1")
    assert kills.rate("cedar", 1000.0) == (0, "")

"""Beside a permit: what would refuse it at this moment. And what a firm has used of its quotas."""

import time
from pathlib import Path
from typing import Any

import msgspec
import pytest

from gateway.live import Kill, KillScope, LineState
from gateway.usage import Usage, Used
from ops.api.present import hindrance
from ops.settings import Listener, Settings
from tenants.model import Tenant
from tests.ops.control_kit import GRANT, running
from whitelist.decide import Permit
from whitelist.model import Line, LineShare, Protocol
from whitelist.reason import Reason
from whitelist.target import Target

NOW = 1_800_000_000
UP, DOWN = LineState.UP, LineState.DOWN
HK1 = Line(id="hk1", index=1, device="l1", gateway4="192.0.2.1", source4="192.0.2.2")
SG1 = msgspec.structs.replace(HK1, id="sg1", index=2, device="l2", source4="192.0.2.3")
FIRM = Tenant(id="acme", name="Acme", valid_from=0, valid_until=NOW * 2, bytes_per_day=100)
SPENT, LEFT = Used(100, NOW + 60, 100, NOW + 90), Used(99, NOW + 60, 99, NOW + 90)
ALL, OF_SG1 = Kill(id="k1", scope=KillScope.ALL), Kill(id="k2", scope=KillScope.LINE, value="sg1")
OWN = frozenset({"10.9.9.9"})
ITS_OWN = LineShare(tenant="acme", number=1, source4="192.0.2.9")
SHARED = msgspec.structs.replace(HK1, shares=(ITS_OWN,))
DOCS = Target("docs.example.com", 443, is_ip=False)
CASES: dict[str, tuple[dict[str, Any], tuple[Reason, str] | None]] = {
    "all is well": ({}, None),
    "one of two lines is down": ({"states": {"hk1": DOWN, "sg1": UP}}, None),
    "a degraded line is a line": ({"states": {"hk1": LineState.DEGRADED}}, None),
    "both lines are down": (
        {"states": {"hk1": DOWN, "sg1": DOWN}}, (Reason.LINE_UNAVAILABLE, "hk1: down, sg1: down"),
    ),
    "lines that were never reported": (
        {"states": {}}, (Reason.LINE_UNAVAILABLE, "hk1: not reported up, sg1: not reported up"),
    ),
    "where nobody knows the states nothing is said of them": ({"states": None}, None),
    "but drained lines and contracts are known without them": (
        {"states": None, "lines": (msgspec.structs.replace(HK1, drained=True),
                                   msgspec.structs.replace(SG1, valid_until=NOW))},
        (Reason.LINE_UNAVAILABLE, "hk1: drained, sg1: contract not in force"),
    ),
    "retired lines": (
        {"lines": (msgspec.structs.replace(HK1, retired=True),)},
        (Reason.LINE_UNAVAILABLE, "hk1: unknown, sg1: unknown"),
    ),
    "a kill of everything": ({"kills": (ALL,)}, (Reason.KILL_SWITCH, "kill k1")),
    "a kill of one line leaves the other": ({"kills": (OF_SG1,)}, None),
    "one line is down and the other killed": (
        {"kills": (OF_SG1,), "states": {"hk1": DOWN, "sg1": UP}}, (Reason.KILL_SWITCH, "kill k2"),
    ),
    "a kill that is over": ({"kills": (msgspec.structs.replace(ALL, until=NOW),)}, None),
    "an address of a private network": (
        {"target": Target("10.0.0.5", 443, is_ip=True)}, (Reason.ADDRESS_FORBIDDEN, "10.0.0.5 (private)"),
    ),
    "one that the service names a special prefix for": (
        {"target": Target("10.0.0.5", 443, is_ip=True), "special": ("10.0.0.0/8",)}, None,
    ),
    "an address of the machine itself, whatever the service names": (
        {"target": Target("10.9.9.9", 443, is_ip=True), "special": ("10.0.0.0/8",)},
        (Reason.ADDRESS_FORBIDDEN, "10.9.9.9 (own-address)"),
    ),
    "an IPv4 address in the form of another": (
        {"target": Target("64:ff9b::a00:5", 443, is_ip=True)},
        (Reason.ADDRESS_FORBIDDEN, "64:ff9b::a00:5 (nat64→private)"),
    ),
    "an address of the internet": ({"target": Target("8.8.8.8", 443, is_ip=True)}, None),
    "a line that is down comes before the address": (
        {"target": Target("10.0.0.5", 443, is_ip=True), "states": {"hk1": DOWN, "sg1": DOWN}},
        (Reason.LINE_UNAVAILABLE, "hk1: down, sg1: down"),
    ),
    "a kill of the address": (
        {"target": Target("8.8.8.8", 443, is_ip=True),
         "kills": (Kill(id="k3", scope=KillScope.DESTINATION, value="8.8.8.8"),)},
        (Reason.KILL_SWITCH, "kill k3"),
    ),
    "its own source on one of two lines is not here": ({"lines": (SHARED, SG1)}, None),
    "its own source on the only line that is up is not here": (
        {"lines": (SHARED, SG1), "states": {"hk1": UP, "sg1": DOWN}},
        (Reason.LINE_UNAVAILABLE, "sg1: down, hk1: the tenant's own source on it is not on this machine"),
    ),
    "its own source on the only line that is up is here": (
        {"lines": (SHARED, SG1), "states": {"hk1": UP, "sg1": DOWN}, "own": OWN | {"192.0.2.9"}}, None,
    ),
    "a used-up quota": ({"used": SPENT}, (Reason.QUOTA_EXHAUSTED, "used up: 100 bytes of the day")),
    "a byte is left": ({"used": LEFT}, None),
}  # fmt: skip


@pytest.mark.parametrize("sentence", CASES)
def test_a_permit_is_refused_now_when(sentence: str) -> None:
    given, wanted = CASES[sentence]
    whole = {
        "lines": (HK1, SG1),
        "states": {"hk1": UP, "sg1": UP},
        "kills": (),
        "used": None,
        "target": DOCS,
        "own": OWN,
    }
    whole |= given
    permit = Permit(
        tenant="acme", grant="g-1", service="docs", endpoint="docs.example.com", protocol=Protocol.TLS,
        lines=("hk1", "sg1"), not_after=NOW * 2, revision=1, max_tunnels=0, slot=1,
        special_prefixes=whole.pop("special", ()),
    )  # fmt: skip
    found = hindrance(permit, FIRM, mark_base=0x46000000, wall=NOW, **whole)
    assert (found and (found[0], found[1].partition(";")[0])) == wanted


@pytest.mark.asyncio
async def test_explain_and_usage_say_it(tmp_path: Path) -> None:
    settings = Settings(
        node="gw1", state_dir=str(tmp_path / "state"), listeners=(Listener(name="p", address="[::]:1"),)
    )
    asked = {"tenant": "firm-a", "target": "docs.example.com"}
    async with running(tmp_path, settings=settings) as node:
        await node.set_up()
        await node.add("grants", **GRANT)
        _, answer = await node.call("GET", "/v1/explain", **asked)
        assert answer["verdict"]["decision"] == "permit"
        assert "but_now" not in answer
        assert [words["en"].partition(":")[0] for words in answer["not_known"]] == ["where docs.example.com leads"]
        node.hub.kills.append({"id": "k1", "scope": "tenant", "value": "firm-a", "until": 0})
        _, answer = await node.call("GET", "/v1/explain", **asked)
        assert (answer["but_now"]["reason"], answer["but_now"]["detail"]) == ("kill-switch", "kill k1")
        assert "访问已被紧急切断" in answer["but_now"]["text"]["zh"]
        node.hub.kills.clear()
        node.hub.lines["hk1"] = "down"
        _, answer = await node.call("GET", "/v1/explain", **asked)
        assert (answer["verdict"]["decision"], answer["but_now"]["reason"]) == ("permit", "line-unavailable")
        assert "hk1: down" in answer["but_now"]["text"]["en"]
        assert "专线均不可用" in answer["but_now"]["text"]["zh"]
        _, answer = await node.call("GET", "/v1/explain", **asked, at=str(NOW))
        assert "but_now" not in answer, "of another moment nobody knows"
        assert "not_known" not in answer
        node.hub.lines["hk1"] = "up"
        await node.call("PATCH", "/v1/tenants/firm-a", {"bytes_per_month": 1_000, "reason": "plan S"})
        (tmp_path / "state" / "usage").mkdir()
        counters = Usage(tmp_path / "state" / "usage" / "bytes", 2)
        counters.add(1, "firm-a", 1_000, time.time())
        counters.close()
        _, answer = await node.call("GET", "/v1/explain", **asked)
        assert answer["but_now"]["reason"] == "quota-exhausted"
        inward = {"id": "inward", "name": "I", "endpoints": [{"target": "10.0.0.0/24"}]}
        await node.add("services", **inward)
        await node.add("grants", **GRANT | {"object": "service:inward"})
        await node.call("PATCH", "/v1/tenants/firm-a", {"bytes_per_month": 0, "reason": "plan L"})
        _, answer = await node.call("GET", "/v1/explain", **asked | {"target": "10.0.0.5"})
        assert (answer["verdict"]["decision"], answer["but_now"]["reason"]) == ("permit", "address-forbidden")
        assert answer["but_now"]["detail"] == "10.0.0.5 (private)"
        assert "not_known" not in answer
        status, used = await node.call("GET", "/v1/tenants/firm-a/usage")
        assert (status, used["day"], used["month"]) == (200, 1_000, 1_000)
        assert used["month_end"] >= used["day_end"] > time.time()
        assert (await node.call("GET", "/v1/tenants/nobody/usage"))[0] == 404


@pytest.mark.asyncio
async def test_what_is_not_known_is_said_where_the_supervisor_does_not_answer(tmp_path: Path) -> None:
    settings = Settings(
        node="gw1", state_dir=str(tmp_path / "state"), listeners=(Listener(name="p", address="[::]:1"),)
    )
    async with running(tmp_path, settings=settings) as node:
        await node.set_up()
        await node.add("grants", **GRANT)
        node.hub.roles = ("worker",)
        _, answer = await node.call("GET", "/v1/explain", tenant="firm-a", target="docs.example.com")
        assert "the lines process is not there" in answer["not_known"][0]["en"]
        await node.hub.close()
        done = await node.call("PATCH", "/v1/tenants/firm-a", {"bytes_per_day": 1_000, "reason": "plan S"})
        assert done[0] == 200, done
        (tmp_path / "state" / "usage" / "bytes").mkdir(parents=True)  # not to be read as a file
        _, answer = await node.call("GET", "/v1/explain", tenant="firm-a", target="docs.example.com")
        assert answer["verdict"]["decision"] == "permit"
        said = [words["en"].partition(":")[0] for words in answer["not_known"]]
        assert said == [
            "whether its lines are up, and no kill is in force",
            "what is used of its quota",
            "where docs.example.com leads",
        ]
        assert all(words["zh"] for words in answer["not_known"])

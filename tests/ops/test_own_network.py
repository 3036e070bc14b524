"""A line that would take what clients and administrators are reached by: refused by the API, told by `feiyu check`."""

from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest

from ops import own_network
from ops.doctor.lines import contradictions
from ops.settings import parse_settings
from tests.ops.control_kit import running
from whitelist.model import Line, LineShare, Srv6, Vxlan

SETTINGS = parse_settings(
    """
node: gw1.zone.example
listeners: [{name: plain, address: "10.9.0.1:3128"}, {name: six, address: "[2001:db8:a::1]:3128"},
            {name: any, address: "0.0.0.0:3129"}]
access: [{interface: acc0, site: s, room: r, prefixes: ["10.0.0.0/24"]}]
management: [{interface: mgmt0, prefixes: ["192.168.7.0/24", "0.0.0.0/0"]}]
""",
    "feiyu.yaml",
)
VXLAN = Vxlan(vni=7, underlay="u1", local="198.51.100.2", peer="198.51.100.9")
LINE = Line(id="hk1", index=1, device="l1", gateway4="192.0.2.1", source4="192.0.2.2")
WRONG: dict[str, tuple[dict[str, Any], str, str]] = {
    "a source among clients": ({"source4": "10.0.0.7"}, "source4", "access device acc0"),
    "a firm's source among clients": (
        {"shares": (LineShare(tenant="acme", number=1, source4="10.0.0.7"),)}, "shares[0].source4", "device acc0",
    ),
    "a source among administrators": ({"source4": "192.168.7.9"}, "source4", "management device mgmt0"),
    "a listener's address": ({"source4": "10.9.0.1"}, "source4", "address of listener plain"),
    "a listener's IPv6 address": (
        {"gateway6": "fe80::1", "source6": "2001:db8:a::1"}, "source6", "address of listener six",
    ),
    "an outer source among administrators": (
        {"encapsulation": msgspec.structs.replace(VXLAN, local="192.168.7.9")}, "encapsulation.local", "management",
    ),
    "a segment list from a listener's address": (
        {"encapsulation": Srv6(segments=("5f00::1",), gateway="fe80::1", local="2001:db8:a::1")},
        "encapsulation.local", "listener six",
    ),
    "the access device": ({"device": "acc0"}, "device", "a device of access"),
    "a management device as underlay": (
        {"encapsulation": msgspec.structs.replace(VXLAN, underlay="mgmt0")}, "encapsulation.underlay", "of management",
    ),
}  # fmt: skip


def test_a_line_beside_the_node_s_own_network_is_right() -> None:
    assert own_network.faults(LINE, SETTINGS) == []
    assert own_network.faults(msgspec.structs.replace(LINE, encapsulation=VXLAN), SETTINGS) == []


@pytest.mark.parametrize("sentence", WRONG)
def test_a_line_may_not_have(sentence: str) -> None:
    fields, field, words = WRONG[sentence]
    line = msgspec.structs.replace(LINE, **fields)
    assert [(name, words in said) for name, said in own_network.faults(line, SETTINGS)] == [(field, True)]
    told = [one for one in contradictions([msgspec.to_builtins(line)], SETTINGS) if field in one.seen]
    assert [(one.level.value, words in one.seen, "feiyu line edit hk1" in one.remedy) for one in told] == [
        ("fail", True, True)
    ]


@pytest.mark.asyncio
async def test_the_api_refuses_it_and_leaves_what_stood_alone(tmp_path: Path) -> None:
    body = {"id": "hk1", "device": "l1", "gateway4": "192.0.2.1", "source4": "10.0.0.7", "reason": "new"}
    async with running(tmp_path) as node:  # a node whose access prefixes were others
        await node.add("lines", **body)
    async with running(tmp_path, own=partial(own_network.faults, settings=SETTINGS)) as node:
        status, answer = await node.call("PATCH", "/v1/lines/hk1", {"carrier": "A", "reason": "a name is no claim"})
        assert status == 200, answer
        many = {"collection": "lines", "verb": "add", "id": "hk2", "fields": body | {"id": "hk2", "device": "l2"}}
        del many["fields"]["reason"]
        for method, path, wish in (
            ("PATCH", "/v1/lines/hk1", {"source4": "10.0.0.8", "reason": "x"}),
            ("POST", "/v1/lines", body | {"id": "hk2", "device": "l2", "source4": "10.0.0.9"}),
            ("POST", "/v1/changes", {"changes": [many | {"fields": many["fields"] | {"source4": "10.0.0.9"}}],
                                     "reason": "x"}),
        ):  # fmt: skip
            status, answer = await node.call(method, path, wish)
            assert status == 422
            assert "access device acc0" in answer["errors"][0]["message"]
        status, answer = await node.call("POST", "/v1/lines/hk1/retire", {"reason": "the contract ended"})
        assert status == 200, answer

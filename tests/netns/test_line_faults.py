"""What the kernel refuses of one line is that line's fault alone: the others are set up, repaired, and carry data."""

import contextlib
from collections.abc import Callable
from dataclasses import dataclass

import pytest
from msgspec.structs import replace

from gateway.line import dial
from gateway.line.keeper import Keeper
from gateway.line.model import handle_of
from tests.netns.bench import line_of, node_of
from tests.netns.kit import ABROAD, AF, PORT, Zone
from tests.netns.tunnels import srv6_line, vxlan_line
from whitelist.model import Line

pytestmark = pytest.mark.root


@dataclass(frozen=True)
class Fault:
    """line: what cannot be, as line-1; why: words of its state; before: commands that make it so."""

    line: Callable[[Zone], Line]
    why: str
    before: tuple[str, ...] = ()


def _own_next_hop(zone: Zone) -> Line:
    """The kernel takes no address of the node itself for a next hop."""
    own = zone.wires["iplc1"].near
    line = line_of(zone, 1, "iplc1")
    zone.gateway.ip(["addr add 198.51.100.3/29 dev iplc1", "addr add 2001:db8:1::3/64 dev iplc1 nodad"])
    return replace(line, source4="198.51.100.3", source6="2001:db8:1::3", gateway4=own[4], gateway6=own[6])


def _small(zone: Zone) -> Line:
    """A device of fewer bytes than IPv6 needs, under a line that is IPv6 alone."""
    return replace(vxlan_line(zone, 4), gateway4="", source4="")


FAULTS = {
    "its network number is taken in the kernel": Fault(
        lambda zone: vxlan_line(zone, 4),
        "cannot make ip link vx1",
        ("ip link add taken type vxlan id 4711 remote 198.51.100.1 local 198.51.100.2 dev iplc1 dstport 4789",),
    ),
    "its device has the name of another": Fault(
        lambda zone: vxlan_line(zone, 4),
        "device vx1 is not the one that the gateway makes",
        ("ip link add vx1 type veth peer name vy1",),
    ),
    "its tunnel is too small for its family": Fault(
        _small, "cannot add address fd00:200::2 to vx1", ("ip link set iplc1 mtu 1300",)
    ),
    "its next hop is the node itself": Fault(_own_next_hop, "cannot add ip"),
    "its segments' outer source is nowhere": Fault(
        srv6_line, "outer source 2001:db8:e::9 is not on", ("ip addr del 2001:db8:e::9/128 dev lo",)
    ),
    "its source is the clients'": Fault(
        lambda zone: replace(line_of(zone, 1, "iplc1"), source4="10.0.0.3"), "10.0.0.3 is within 10.0.0.0/29"
    ),
    "its source is no address of one machine": Fault(
        lambda zone: replace(line_of(zone, 1, "iplc1"), source4="224.0.0.9"), "source 224.0.0.9 is no address of one"
    ),
    "its entry contradicts itself": Fault(
        lambda zone: replace(line_of(zone, 1, "iplc1"), gateway6=""), "has only one of gateway and source"
    ),
}


@pytest.mark.parametrize("sentence", FAULTS)
def test_the_other_line_is_set_up_and_repaired_when(zone: Zone, sentence: str) -> None:
    fault = FAULTS[sentence]
    wrong, right = fault.line(zone), line_of(zone, 2, "iplc2")
    zone.run(*fault.before)
    states: dict[str, tuple[str, str]] = {}
    told: list[str] = []
    with zone.gateway.inside():
        keeper = Keeper(
            node_of(zone),
            lambda line, *state: states.update({line: state}),
            lambda detail, *, repaired: None if repaired else told.append(detail),
        )
        keeper.want([wrong, right])
        for removal in (
            (),
            ("ip rule del pref 4610 table 4602", "ip -6 route flush table 4602"),
            ("nft delete table inet feiyu",),
        ):
            zone.run(*removal)
            keeper.sweep()
            assert states["line-2"] == ("up", "")
            for version in AF:
                with contextlib.closing(dial.open_socket(version, handle_of(right))) as sock:
                    sock.settimeout(3)
                    sock.connect((ABROAD[version], PORT))
        assert keeper.repaired["line-2"] == 3
        assert keeper.repaired["line-1"] == 0
        state, why = states["line-1"]
        assert (state, fault.why in why) == ("down", True), why
        assert len(told) == len(set(told)) <= 2  # once, not with each sweep
        keeper.close()

"""A zone with two lines in force, and the ways to take a layer away."""

import contextlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from gateway.line.keeper import Keeper
from gateway.line.model import Access, LineHandle, NodeConfig
from tests.netns.kit import ABROAD, Zone
from whitelist.model import Line

FLUSH_RULES = [
    "ip rule flush",
    "ip rule add pref 32766 lookup main",
    "ip -6 rule flush",
    "ip -6 rule add pref 32766 lookup main",
]
FLUSH_ROUTES = ["ip route flush table 4601", "ip -6 route flush table 4601"]
NO_TABLE = ["nft delete table inet feiyu"]


@dataclass
class Bench:
    """one, two: handles of line-1 on iplc1 and line-2 on iplc2; the keeper acts only when told to sweep."""

    zone: Zone
    keeper: Keeper
    one: LineHandle
    two: LineHandle

    def run(self, *commands: str) -> None:
        """Runs commands in the gateway's namespace."""
        self.zone.run(*commands)


def line_of(zone: Zone, index: int, device: str) -> Line:
    """The line on this wire."""
    wire = zone.wires[device]
    hops = {"gateway4": wire.far[4], "gateway6": wire.far[6], "source4": wire.near[4], "source6": wire.near[6]}
    return Line(id=f"line-{index}", index=index, device=device, resolvers=tuple(ABROAD.values()), **hops)


def node_of(zone: Zone, **more: Any) -> NodeConfig:
    """acc0 with a listener on 3128; more: other fields."""
    prefixes = (f"{zone.wires['acc0'].near[4]}/29", f"{zone.wires['acc0'].near[6]}/64")
    return NodeConfig(access=(Access(interface="acc0", prefixes=prefixes),), listener_ports=(3128,), **more)


@contextlib.contextmanager
def configured(node: NodeConfig, lines: Iterable[Line]) -> Iterator[Keeper]:
    """The lines put into the kernel of the namespace the thread is in, all up."""
    states: dict[str, str] = {}
    keeper = Keeper(node, lambda line, state, _: states.update({line: state}), lambda *_, **__: None)
    try:
        keeper.want(lines)
        keeper.sweep()
        assert set(states.values()) == {"up"}
        yield keeper
    finally:
        keeper.close()

"""A zone with two lines in force, and the ways to take a layer away."""

from dataclasses import dataclass

from gateway.line.keeper import Keeper
from gateway.line.model import LineHandle
from tests.netns.kit import Zone

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

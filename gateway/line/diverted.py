"""Where the kernel would send a line's packets while a rule of somebody else comes before ours: it is asked, for such a
rule may have nothing to do with lines (a VPN's), or take everything.

Asked as a worker's socket would be routed: mark, device and source; for somewhere abroad, and for what the foreign rule
speaks of. Every packet that the rule diverts the nft table drops, so a line of which nothing is left is down.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

from pyroute2 import NetlinkError

from gateway.line.messages import AF
from gateway.line.routing import Diverted, Foreign
from gateway.line.spec import LineSpec

ABROAD = {4: "203.0.113.1", 6: "2001:db8:ffff:ffff::1"}  # for documentation (RFC 5737, RFC 3849); nothing is sent
_LOOKUP_TABLE = 0x1000  # RTM_F_LOOKUP_TABLE: answer with the table that was found


class Routing(Protocol):
    """What is used of pyroute2's IPRoute."""

    def route(self, command: str, **words: Any) -> Any:
        """Asks the kernel."""


def read(
    kernel: Routing, lines: Iterable[LineSpec], foreign: Sequence[Foreign], indexes: Mapping[str, int]
) -> dict[tuple[int, int], Diverted]:
    """By the line's table and family. indexes: of devices by name. Asks nothing while there is no foreign rule."""
    found: dict[tuple[int, int], Diverted] = {}
    for version in {rule.version for rule in foreign}:
        own = [rule for rule in foreign if rule.version == version]
        for line in lines:
            for way in (way for way in line.ways if way.version == version and line.device in indexes):
                index = indexes[line.device]

                by = "; ".join(rule.words for rule in own[:3])
                asked = [("", ABROAD[version], way.source)]
                asked += [(f"source {source}", ABROAD[version], source) for source in way.others]
                asked += [(rule.to, rule.target, way.source) for rule in own if rule.target]
                lost = [
                    part
                    for part, target, source in asked
                    if _table(kernel, target, source, line.mark, index) != line.table
                ]
                if lost:
                    found[line.table, version] = Diverted(by, () if "" in lost else tuple(dict.fromkeys(lost)))
    return found


def _table(kernel: Routing, target: str, source: str, mark: int, index: int) -> int:
    """The table that decides; 0 where the packet is refused."""
    version = 6 if ":" in target else 4
    words = {"family": AF[version], "dst": target, "src": source, "mark": mark, "oif": index}
    if version == 4:  # IPv6 tells the table always, and takes no such flag
        words["flags"] = _LOOKUP_TABLE
    try:
        answers = list(kernel.route("get", **words))
    except NetlinkError:
        return 0
    return int(answers[0].get_attr("RTA_TABLE") or 0) if answers else 0

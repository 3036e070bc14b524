"""A line as the kernel must know it: complete, checked, canonical. Pure."""

from dataclasses import dataclass

from gateway.line.model import MARK_BASE, TABLE_BASE, LineEntry, LineError, canonical, handle_of


@dataclass(frozen=True, slots=True)
class Way:
    """One family on a line: next hop and source address, canonical. version: 4 or 6."""

    version: int
    gateway: str
    source: str


@dataclass(frozen=True, slots=True)
class LineSpec:
    """What the kernel must know of a line; ways: one per family that it carries."""

    id: str
    index: int
    mark: int
    table: int
    device: str
    ways: tuple[Way, ...]


def table_of(index: int) -> int:
    """The number of the line's routing table."""
    return TABLE_BASE + index


def spec_of(entry: LineEntry, base: int = MARK_BASE) -> LineSpec:
    """The kernel's side of one entry. Raises LineError when it is not whole or contradicts itself."""
    handle = handle_of(entry, base)
    ways = []
    for version, gateway, source in ((4, entry.gateway4, handle.source4), (6, entry.gateway6, handle.source6)):
        hop = canonical(entry, gateway, version, "gateway")
        if bool(hop) != bool(source):
            raise LineError(entry.id, f"IPv{version} has only one of gateway and source", "give both, or neither")
        if hop and hop == source:
            raise LineError(entry.id, f"gateway and source are both {hop}", "give the far end's address as gateway")
        if hop:
            ways.append(Way(version, hop, source))
    if not ways:
        raise LineError(entry.id, "has neither IPv4 nor IPv6", "give gateway and source of at least one family")
    return LineSpec(entry.id, entry.index, handle.mark, table_of(entry.index), entry.device, tuple(ways))

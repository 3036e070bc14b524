"""A line as the kernel must know it: complete, checked, canonical. Pure."""

from dataclasses import dataclass

from gateway.line.model import MARK_BASE, TABLE_BASE, LineEntry, LineError, canonical, handle_of


@dataclass(frozen=True, slots=True)
class Way:
    """One family on a line: next hop and source address, canonical. version: 4 or 6. others: sources of single tenants;
    what the kernel does for the line's source it does for each of them."""

    version: int
    gateway: str
    source: str
    others: tuple[str, ...] = ()

    @property
    def sources(self) -> tuple[str, ...]:
        """All source addresses, the line's own first."""
        return (self.source, *self.others)


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
    if entry.encapsulation is not None:  # as a plain device it would leave in the clear
        raise LineError(entry.id, "its encapsulation is not supported by this release", "use a device of its own")
    ways = []
    for version, gateway, source in ((4, entry.gateway4, handle.source4), (6, entry.gateway6, handle.source6)):
        hop = canonical(entry, gateway, version, "gateway")
        if bool(hop) != bool(source):
            raise LineError(entry.id, f"IPv{version} has only one of gateway and source", "give both, or neither")
        if hop and hop == source:
            raise LineError(entry.id, f"gateway and source are both {hop}", "give the far end's address as gateway")
        if hop:
            own = {e.source4 if version == 4 else e.source6 for e in handle.tenants.values()} - {"", source}
            if hop in own:
                raise LineError(entry.id, f"{hop} is gateway and a tenant's source", "give the tenant another address")
            ways.append(Way(version, hop, source, tuple(sorted(own))))
    if not ways:
        raise LineError(entry.id, "has neither IPv4 nor IPv6", "give gateway and source of at least one family")
    return LineSpec(entry.id, entry.index, handle.mark, table_of(entry.index), entry.device, tuple(ways))

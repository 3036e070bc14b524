"""A line as the kernel must know it: complete, checked, canonical. Pure."""

from dataclasses import dataclass

from gateway.line.model import (
    MARK_BASE,
    TABLE_BASE,
    UNDERLAY_BASE,
    LineEntry,
    LineError,
    canonical,
    handle_of,
)
from whitelist.device import device_fault
from whitelist.model import Srv6, Vxlan


@dataclass(frozen=True, slots=True)
class Way:
    """One family on a line: next hop and source address, canonical. version: 4 or 6. others: sources of single tenants;
    what the kernel does for the line's source it does for each of them. gateway is empty on a line of segments."""

    version: int
    gateway: str
    source: str
    others: tuple[str, ...] = ()

    @property
    def sources(self) -> tuple[str, ...]:
        """All source addresses, the line's own first."""
        return (self.source, *self.others)


@dataclass(frozen=True, slots=True)
class Underlay:
    """The outer side of a VXLAN line (RFC 7348): packets go from local to peer by next hop gateway on device. version:
    of the outer family; table: its own, since the outer packets must not follow the line's; mtu: of the inner packets,
    0 for what the device under it leaves."""

    vni: int
    device: str
    version: int
    local: str
    peer: str
    gateway: str
    port: int
    table: int
    mtu: int = 0


@dataclass(frozen=True, slots=True)
class Segments:
    """The outer side of an SRv6 line (RFC 8754): segments, first one first, reached by next hop gateway; local: the
    outer source address. All IPv6. mtu: of the inner packets, 0 for what the device leaves."""

    segments: tuple[str, ...]
    gateway: str
    local: str
    mtu: int = 0


@dataclass(frozen=True, slots=True)
class LineSpec:
    """What the kernel must know of a line; ways: one per family that it carries."""

    id: str
    index: int
    mark: int
    table: int
    device: str
    ways: tuple[Way, ...]
    tunnel: Underlay | Segments | None = None

    @property
    def devices(self) -> tuple[str, ...]:
        """The devices that its packets leave by: its own, and the one under it."""
        return (self.device, self.tunnel.device) if isinstance(self.tunnel, Underlay) else (self.device,)

    @property
    def tables(self) -> tuple[int, ...]:
        """Its routing tables."""
        return (self.table, self.tunnel.table) if isinstance(self.tunnel, Underlay) else (self.table,)

    @property
    def addresses(self) -> tuple[str, ...]:
        """All addresses that nothing but this line's packets may carry, the outer one too."""
        outer = (self.tunnel.local,) if self.tunnel is not None else ()
        return (*(source for way in self.ways for source in way.sources), *outer)


def table_of(index: int) -> int:
    """The number of the line's routing table."""
    return TABLE_BASE + index


def spec_of(entry: LineEntry, base: int = MARK_BASE) -> LineSpec:
    """The kernel's side of one entry. Raises LineError when it is not whole or contradicts itself."""
    handle = handle_of(entry, base)
    is_segments = isinstance(entry.encapsulation, Srv6)
    ways = []
    for version, gateway, source in ((4, entry.gateway4, handle.source4), (6, entry.gateway6, handle.source6)):
        hop = canonical(entry, "" if is_segments else gateway, version, "gateway", hop=True)  # segments lead, no hop
        if bool(hop) != bool(source) and not is_segments:
            raise LineError(entry.id, f"IPv{version} has only one of gateway and source", "give both, or neither")
        if hop and hop == source:
            raise LineError(entry.id, f"gateway and source are both {hop}", "give the far end's address as gateway")
        if source:
            own = {e.source4 if version == 4 else e.source6 for e in handle.tenants.values()} - {"", source}
            if hop in own:
                raise LineError(entry.id, f"{hop} is gateway and a tenant's source", "give the tenant another address")
            ways.append(Way(version, hop, source, tuple(sorted(own))))
    if not ways:
        raise LineError(entry.id, "has neither IPv4 nor IPv6", "give gateway and source of at least one family")
    tunnel = _tunnel(entry)
    return LineSpec(entry.id, entry.index, handle.mark, table_of(entry.index), entry.device, tuple(ways), tunnel)


def _tunnel(entry: LineEntry) -> Underlay | Segments | None:
    match entry.encapsulation:
        case Vxlan() as vxlan:
            return _underlay(entry, vxlan)
        case Srv6() as srv6:
            segments = tuple(canonical(entry, text, 6, "segment") for text in srv6.segments)
            if not segments or not all(segments):
                raise LineError(entry.id, "its segment list is empty", "name the segments, the first one first")
            gateway = canonical(entry, srv6.gateway, 6, "segment list's gateway", hop=True)
            local = canonical(entry, srv6.local, 6, "segment list's local address")
            if not gateway or not local:
                raise LineError(entry.id, "its segment list lacks gateway or local address", "give both")
            return Segments(segments, gateway, local, srv6.mtu)
        case _:
            return None


def _underlay(entry: LineEntry, vxlan: Vxlan) -> Underlay:
    version = 6 if ":" in vxlan.local else 4
    local = canonical(entry, vxlan.local, version, "VXLAN's local address")
    peer = canonical(entry, vxlan.peer, version, "VXLAN's peer")
    gateway = canonical(entry, vxlan.gateway, version, "VXLAN's gateway", hop=True) or peer  # on-link
    if not (local and peer) or local in (peer, gateway):
        raise LineError(entry.id, "its VXLAN needs two ends and a next hop", "give local and peer, none twice")
    if fault := device_fault(vxlan.underlay):
        raise LineError(entry.id, f"VXLAN's device {vxlan.underlay!r}", fault)
    if not 0 < vxlan.vni < 1 << 24 or not 0 < vxlan.port < 1 << 16:
        raise LineError(entry.id, f"VXLAN {vxlan.vni} port {vxlan.port}", "give 1 to 16777215 and 1 to 65535")
    table = UNDERLAY_BASE + entry.index
    return Underlay(vxlan.vni, vxlan.underlay, version, local, peer, gateway, vxlan.port, table, vxlan.mtu)

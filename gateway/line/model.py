"""A line as the data path and the kernel plan see it: its number, mark, table, device, gateways and sources."""

import ipaddress
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import NamedTuple, Protocol

from whitelist.device import device_fault
from whitelist.line_rules import machine_fault
from whitelist.model import LineShare, Srv6, Vxlan
from whitelist.name import TargetError, canonical_name

MARK_BASE = 0x46000000
MARK_MASK = 0xFFFFFF00
INDEX_BITS = 0x0000FF00  # where a mark carries the line's index
TABLE_BASE = 4600
UNDERLAY_BASE = 4900  # tables of the outer packets of VXLAN lines
TRANSPARENT_TABLE = 5200  # leads what transparent listeners take to this host itself
TRANSPARENT_MARK = 0x47000000
PRIORITY_FIRST = 4600
PRIORITY_LAST = 4699
MAX_INDEX = 255


class LineError(Exception):
    """A line cannot carry this socket, or its description is wrong. what: the fact; remedy: what to do about it."""

    def __init__(self, line: str, what: str, remedy: str = "", errno: int = 0) -> None:
        super().__init__(f"line {line}: {what}" + (f"; {remedy}" if remedy else ""))
        self.line = line
        self.what = what
        self.remedy = remedy
        self.errno = errno


class LineEntry(Protocol):
    """What is read of a line's entry in the snapshot (whitelist.model.Line has these fields)."""

    @property
    def id(self) -> str:
        """Its id in the register."""

    @property
    def index(self) -> int:
        """Its number, 1 to 255."""

    @property
    def device(self) -> str:
        """The network device."""

    @property
    def gateway4(self) -> str:
        """IPv4 next hop, or empty."""

    @property
    def gateway6(self) -> str:
        """IPv6 next hop, or empty."""

    @property
    def source4(self) -> str:
        """The line's own IPv4 address, or empty."""

    @property
    def source6(self) -> str:
        """The line's own IPv6 address, or empty."""

    @property
    def resolvers(self) -> tuple[str, ...]:
        """Its resolvers: ADDRESS, or tls://ADDRESS#NAME."""

    @property
    def encapsulation(self) -> Vxlan | Srv6 | None:
        """How its packets are wrapped, or None for a plain device."""

    @property
    def probes(self) -> tuple[str, ...]:
        """What is asked over it, to see that it carries: tcp:// or http:// targets."""

    @property
    def rate_up(self) -> int:
        """kbit/s towards abroad that it is shaped to, 0 for not at all."""

    @property
    def rate_down(self) -> int:
        """kbit/s from abroad."""

    @property
    def shares(self) -> tuple[LineShare, ...]:
        """What single tenants have of it."""


@dataclass(frozen=True, slots=True)
class Egress:
    """How one tenant leaves by a line: its source addresses, and the priority that puts its packets into its traffic
    class (0: none, the line is not shaped)."""

    source4: str
    source6: str
    priority: int


class LineResolver(NamedTuple):
    """A resolver of a line. family: 4 or 6; address: canonical; tls_name: the name its certificate must be for, asked
    over TLS only (RFC 7858, RFC 8310 strict), or empty for UDP and TCP in clear."""

    family: int
    address: str
    tls_name: str = ""


@dataclass(frozen=True, slots=True)
class LineHandle:
    """What a worker needs to put a socket on a line: made once per revision, used for every dial.

    device_sockopt is the device name with its closing NUL, as the kernel gives it back. An empty source means that the
    line does not carry that family. common: how a tenant without a share of its own leaves; tenants: how those that
    have one do.
    """

    id: str
    index: int
    mark: int
    device: str
    device_sockopt: bytes
    source4: str
    source6: str
    resolvers: tuple[LineResolver, ...]
    common: Egress
    tenants: Mapping[str, Egress]

    def egress(self, tenant: str) -> Egress:
        """How this tenant leaves by the line."""
        return self.tenants.get(tenant, self.common)


QDISC = 0x4600  # major number of our HTB qdiscs, on lines' and access devices alike
REST = 0xFF  # minor of a line's class for tenants without a share of their own (under the line's index)


def class_of(index: int, number: int = REST) -> int:
    """The traffic class of a tenant's share on a line, as SO_PRIORITY and as HTB's classid (tc-htb(8)): the same number
    on the line's device (uploads) and on the access devices (downloads). number: 1…250, REST for all others."""
    return QDISC << 16 | index << 8 | number


def mark_of(index: int, base: int = MARK_BASE) -> int:
    """The firewall mark of the line with this index (1…255)."""
    return base | (index << 8)


def is_lines(mark: int, base: int, mask: int) -> bool:
    """Whether a mark is no mark at all, or under the mask could be that of a line, whatever its index."""
    return not 0 < mark <= 0xFFFFFFFF or mark & mask & ~INDEX_BITS == base


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """A device towards clients and the prefixes they have there."""

    interface: str
    prefixes: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ControlTraffic:
    """Connections of the node's own programs: by numeric uid, device and destination prefix."""

    uid: int
    interface: str
    destination: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Management:
    """A device and the prefixes behind it that any program of the node may reach (ssh, time, package mirror)."""

    interface: str
    prefixes: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Transparent:
    """A transparent listener: the access device whose connections to elsewhere it takes, and where it listens."""

    interface: str
    address: str
    port: int


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeConfig:
    """What the node adds to its lines; what neither lists cannot leave the node. worker_uids:
    users that may only answer clients and use lines, whatever else is listed; root cannot be one. listener_addresses:
    those that are listened on one by one. transparent: at most
    one for each access device and family; transparent_mark: what their packets carry on their way to them, no line's.
    Raises ValueError for what could not stand in the table."""

    access: tuple[Access, ...] = ()
    listener_ports: tuple[int, ...] = ()
    listener_addresses: tuple[str, ...] = ()
    control_traffic: tuple[ControlTraffic, ...] = ()
    management: tuple[Management, ...] = ()
    worker_uids: tuple[int, ...] = ()
    mark_base: int = MARK_BASE
    mark_mask: int = MARK_MASK
    transparent: tuple[Transparent, ...] = ()
    transparent_mark: int = TRANSPARENT_MARK

    def __post_init__(self) -> None:
        listed = [(entry.interface, entry.prefixes) for entry in self.access]
        listed += [(entry.interface, entry.prefixes) for entry in self.management]
        listed += [(entry.interface, (entry.destination,)) for entry in self.control_traffic]
        for interface, prefixes in listed:
            if fault := device_fault(interface):
                raise ValueError(f"interface {interface!r}: {fault}")
            for prefix in prefixes:
                ipaddress.ip_network(prefix, strict=False)
        if not all(0 < port < 65536 for port in self.listener_ports):
            raise ValueError(f"listener_ports: {self.listener_ports}; give 1 to 65535")
        if 0 in self.worker_uids:
            raise ValueError("worker_uids: root; give the workers a user of their own")
        if self.mark_mask & INDEX_BITS != INDEX_BITS or self.mark_base & (INDEX_BITS | ~self.mark_mask):
            raise ValueError(f"mark {self.mark_base:#x} under mask {self.mark_mask:#x} has no room for the index")
        self._check_transparent()

    def _check_transparent(self) -> None:
        devices = {entry.interface for entry in self.access}
        taken: set[tuple[str, int]] = set()
        for entry in self.transparent:
            address = ipaddress.ip_address(entry.address)
            if entry.interface not in devices or address.is_unspecified or not 0 < entry.port < 65536:
                raise ValueError(f"transparent: {entry}; give an access interface, an address and a port")
            if (entry.interface, address.version) in taken:
                raise ValueError(f"transparent: two for {entry.interface} in IPv{address.version}; give one")
            taken.add((entry.interface, address.version))
        if self.transparent and is_lines(self.transparent_mark, self.mark_base, self.mark_mask):
            raise ValueError(f"transparent_mark {self.transparent_mark:#x} is none, or a line's; give another")

    @property
    def alike(self) -> frozenset[str]:
        """The access devices behind which an IPv4 prefix overlaps with one behind another: by its source alone nobody
        can tell by which of them a packet must have come."""
        found: set[str] = set()
        for one, other in combinations(self.access, 2):
            if one.interface != other.interface and overlapping(one.prefixes, other.prefixes, 4):
                found |= {one.interface, other.interface}
        return frozenset(found)

    @property
    def range_mask(self) -> int:
        """The mask under which every mark of ours, whatever its index, equals mark_base."""
        return self.mark_mask & ~INDEX_BITS


def overlapping(one: Iterable[str], other: Iterable[str], version: int) -> bool:
    """Whether two lists of prefixes have an address of this family in common."""
    ways = [
        [net for text in prefixes if (net := ipaddress.ip_network(text, strict=False)).version == version]
        for prefixes in (one, other)
    ]
    return any(mine.overlaps(theirs) for mine in ways[0] for theirs in ways[1])


def canonical(entry: LineEntry, text: str, version: int, what: str, *, hop: bool = False) -> str:
    """The address of one machine in an entry, in its one spelling; empty stays empty. hop: a next hop, which may be
    link-local in IPv6. Raises LineError naming what it is."""
    if not text:
        return ""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        raise LineError(entry.id, f"{what} {text!r} is not an address", f"give an IPv{version} address") from None
    if address.version != version or getattr(address, "scope_id", None):
        raise LineError(entry.id, f"{what} {text!r} is not IPv{version}", f"give an IPv{version} address without zone")
    if fault := machine_fault(str(address), version, hop=hop):
        seen, _, remedy = fault.partition("; ")
        raise LineError(entry.id, f"{what} {text} {seen}", remedy)
    return str(address)


def _resolver(entry: LineEntry, text: str) -> LineResolver:
    """ADDRESS, tls://ADDRESS#NAME or tls://[ADDRESS]#NAME. Raises LineError."""
    where, name = text, ""
    if text.startswith("tls://"):
        where, _, name = text.removeprefix("tls://").partition("#")
        if where.startswith("[") and where.endswith("]") and ":" in where:
            where = where[1:-1]
        try:
            name = canonical_name(name)
        except TargetError as error:
            raise LineError(entry.id, f"resolver {text!r} has no name", "give tls://ADDRESS#NAME") from error
    try:
        address = ipaddress.ip_address(where)
    except ValueError:
        raise LineError(entry.id, f"resolver {text!r} is not an address", "give an IP address") from None
    if getattr(address, "scope_id", None):
        raise LineError(entry.id, f"resolver {text!r} has a zone", "give an address without zone")
    return LineResolver(address.version, str(address), name)


def handle_of(entry: LineEntry, base: int = MARK_BASE) -> LineHandle:
    """The handle of one entry. Raises LineError for an entry no socket can be put on."""
    if not 1 <= entry.index <= MAX_INDEX:
        raise LineError(entry.id, f"index {entry.index}", f"give 1 to {MAX_INDEX}")
    if fault := device_fault(entry.device):
        raise LineError(entry.id, f"device name {entry.device!r}", fault)
    source4, source6 = canonical(entry, entry.source4, 4, "source"), canonical(entry, entry.source6, 6, "source")
    shaped = bool(entry.rate_up or entry.rate_down)
    tenants = {
        share.tenant: Egress(
            canonical(entry, share.source4, 4, f"source of {share.tenant}") or source4,
            canonical(entry, share.source6, 6, f"source of {share.tenant}") or source6,
            class_of(entry.index, share.number) if shaped else 0,
        )
        for share in entry.shares
    }
    return LineHandle(
        id=entry.id,
        index=entry.index,
        mark=mark_of(entry.index, base),
        device=entry.device,
        device_sockopt=entry.device.encode("ascii") + b"\0",
        source4=source4,
        source6=source6,
        resolvers=tuple(_resolver(entry, text) for text in entry.resolvers),
        common=Egress(source4, source6, class_of(entry.index) if shaped else 0),
        tenants=tenants,
    )

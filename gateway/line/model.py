"""A line as the data path and the kernel plan see it: its number, mark, table, device, gateways and sources."""

import ipaddress
from dataclasses import dataclass
from typing import Protocol

MARK_BASE = 0x46000000
MARK_MASK = 0xFFFFFF00
MARK_RANGE_MASK = 0xFFFF0000  # every mark of ours, whatever its index: base plus 8 bits of index
TABLE_BASE = 4600
PRIORITY_FIRST = 4600
PRIORITY_LAST = 4699
MAX_INDEX = 255
DEVICE_BYTES = 15  # IFNAMSIZ less the closing NUL


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
    def id(self) -> str: ...
    @property
    def index(self) -> int: ...
    @property
    def device(self) -> str: ...
    @property
    def gateway4(self) -> str: ...
    @property
    def gateway6(self) -> str: ...
    @property
    def source4(self) -> str: ...
    @property
    def source6(self) -> str: ...
    @property
    def resolvers(self) -> tuple[str, ...]: ...


@dataclass(frozen=True, slots=True)
class LineHandle:
    """What a worker needs to put a socket on a line: made once per revision, used for every dial.

    device_sockopt is the device name with its closing NUL, as the kernel gives it back. An empty source means that the
    line does not carry that family. resolvers: (4 or 6, canonical address).
    """

    id: str
    index: int
    mark: int
    device: str
    device_sockopt: bytes
    source4: str
    source6: str
    resolvers: tuple[tuple[int, str], ...]


def mark_of(index: int, base: int = MARK_BASE) -> int:
    """The firewall mark of the line with this index (1…255)."""
    return base | (index << 8)


def table_of(index: int) -> int:
    """The number of the line's routing table."""
    return TABLE_BASE + index


def _check_device(entry: LineEntry) -> None:
    device = entry.device
    if not 0 < len(device) <= DEVICE_BYTES or not device.isascii() or device in (".", ".."):
        raise LineError(entry.id, f"device name {device!r}", "give 1 to 15 ASCII characters")
    if any(c <= " " or c in "/:\"'\\*\x7f" for c in device):
        raise LineError(entry.id, f"device name {device!r}", "leave out spaces, quotes, slashes, colons and asterisks")


def _address(entry: LineEntry, text: str, version: int, what: str) -> str:
    if not text:
        return ""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        raise LineError(entry.id, f"{what} {text!r} is not an address", f"give an IPv{version} address") from None
    if address.version != version or getattr(address, "scope_id", None):
        raise LineError(entry.id, f"{what} {text!r} is not IPv{version}", f"give an IPv{version} address without zone")
    return str(address)


def handle_of(entry: LineEntry, base: int = MARK_BASE) -> LineHandle:
    """The handle of one entry. Raises LineError for an entry no socket can be put on."""
    if not 1 <= entry.index <= MAX_INDEX:
        raise LineError(entry.id, f"index {entry.index}", f"give 1 to {MAX_INDEX}")
    _check_device(entry)
    resolvers = []
    for text in entry.resolvers:
        try:
            address = ipaddress.ip_address(text)
        except ValueError:
            raise LineError(entry.id, f"resolver {text!r} is not an address", "give an IP address") from None
        resolvers.append((address.version, str(address)))
    return LineHandle(
        id=entry.id,
        index=entry.index,
        mark=mark_of(entry.index, base),
        device=entry.device,
        device_sockopt=entry.device.encode("ascii") + b"\0",
        source4=_address(entry, entry.source4, 4, "source"),
        source6=_address(entry, entry.source6, 6, "source"),
        resolvers=tuple(resolvers),
    )

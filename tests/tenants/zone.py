"""A small zone to put into a register, and changes in one line each."""

from ipaddress import IPv4Address
from typing import Any
from zlib import crc32

from tenants.change import Change

NOW = 1_800_000_000
WINDOW = {"valid_from": NOW, "valid_until": NOW + 86_400}
PLACE = {"site": "lingang-a", "room": "r1", "interface": "acc0", "prefix": "10.0.0.0/24"}


def change(collection: str, verb: str, item: str = "", /, **fields: Any) -> Change:
    """A change in one line."""
    return Change(collection=collection, verb=verb, id=item, fields=fields)


def tenant(item: str, /, **fields: Any) -> Change:
    """A tenant to add."""
    whole = {"name": item.upper(), "valid_from": NOW, "valid_until": NOW + 86_400, **fields}
    return change("tenants", "add", item, **whole)


def grant(item: str = "", /, **fields: Any) -> Change:
    """A grant to add, of service docs to firm-a over hk1."""
    whole = {"subject": "tenant:firm-a", "object": "service:docs", "lines": ["hk1"], "window": WINDOW, **fields}
    return change("grants", "add", item, **whole)


def line(item: str, device: str, /, **fields: Any) -> Change:
    """A line to add."""
    own = str(IPv4Address((10 << 24) + (crc32(item.encode()) & 0xFFFFFF)))  # no two lines leave from one address
    whole = {"gateway4": "192.0.2.1", "source4": own, "resolvers": ["198.51.100.53"], **fields}
    return change("lines", "add", item, device=device, **whole)


def service(item: str, host: str, /, **fields: Any) -> Change:
    """A service to add."""
    whole = {"name": item.upper(), "endpoints": [{"target": host}], **fields}
    return change("services", "add", item, **whole)


ZONE = [
    change("groups", "add", "research"),
    change("categories", "add", "reference"),
    line("hk1", "l1"),
    service("docs", "docs.example.com", categories=["reference"]),
    tenant("firm-a", places=[PLACE], groups=["research"]),
]

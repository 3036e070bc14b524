"""Small policies, published for real, and questions to them."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tenants.change import Changed
from tenants.model import Credential, Place, Side, Tenant
from whitelist.decide import Access, Denial, Permit, decide
from whitelist.document import Document
from whitelist.model import DataGrade, Deny, Endpoint, Grant, GrantState, Line, Protocol, Service, Window
from whitelist.publisher import Publisher
from whitelist.snapshot import Snapshot
from whitelist.target import parse_host

KEY = bytes(range(32))
PUBLIC = Ed25519PrivateKey.from_private_bytes(KEY).public_key().public_bytes_raw()
NOW = 1_800_000_000  # Friday, 15 January 2027, 08:00:00 UTC, 16:00 in the zone
DAY = 86_400
WINDOW = Window(valid_from=NOW - DAY, valid_until=NOW + 30 * DAY)
PLACE = Place(site="lingang-a", room="r1", interface="acc0", prefix="10.0.0.0/24")
LINES = (
    Line(id="hk1", device="l1", index=1),
    Line(id="sg1", device="l2", index=2),
    Line(id="home", device="l3", index=3, side=Side.DOMESTIC),
)


def tenant(name: str = "firm-a", **fields: Any) -> Tenant:
    """A firm in force, at PLACE."""
    whole = {"name": name, "valid_from": NOW - DAY, "valid_until": NOW + 60 * DAY, "places": (PLACE,), "slot": 7}
    return Tenant(id=name, **{**whole, **fields})


def endpoint(target: str, *ports: int, protocol: Protocol = Protocol.TLS) -> Endpoint:
    """A way to a service, port 443 unless told."""
    return Endpoint(target=target, ports=ports or (443,), protocol=protocol)


def service(name: str, *endpoints: Endpoint | str, **fields: Any) -> Service:
    """A service; a text is an endpoint for port 443."""
    ways = tuple(endpoint(way) if isinstance(way, str) else way for way in endpoints)
    return Service(id=name, name=name, endpoints=ways, **fields)


def grant(name: str = "g-1", subject: str = "tenant:firm-a", thing: str = "service:docs", **fields: Any) -> Grant:
    """A grant in force over hk1."""
    return Grant(id=name, subject=subject, object=thing, **{"lines": ("hk1",), "window": WINDOW, **fields})


def policy(*items: Any) -> Document:
    """A document of these items, with LINES unless it names lines."""
    of = {
        kind: [item for item in items if isinstance(item, kind)]
        for kind in (Tenant, Credential, Service, Grant, Deny, Line)
    }
    return Document(
        tenants=of[Tenant],
        credentials=of[Credential],
        services=of[Service],
        grants=of[Grant],
        denies=of[Deny],
        lines=of[Line] or LINES,
    )


@contextmanager
def published(directory: Path, *items: Any) -> Iterator[Snapshot]:
    """The snapshot that a worker would open."""
    with Publisher(directory, KEY) as publisher:
        publisher.publish_all(policy(*items), 1)
    snapshot = Snapshot.open(directory, PUBLIC)
    try:
        yield snapshot
    finally:
        snapshot.close()


def ask(
    snapshot: Snapshot,
    host: str = "docs.example.com",
    port: int = 443,
    *,
    name: str = "firm-a",
    source: str = "10.0.0.9",
    interface: str | None = "acc0",
    access: Access = Access.TUNNEL,
    now: int = NOW,
) -> Permit | Denial:
    """The verdict."""
    entry = snapshot.tenant(name)
    assert entry is not None
    return decide(snapshot, entry, source, interface, parse_host(host, port), access, now)


def short(verdict: Permit | Denial) -> str:
    """A verdict in a word: the grant that permits, or the reason."""
    return verdict.grant if isinstance(verdict, Permit) else str(verdict.reason)


def edited(before: Any, **fields: Any) -> Changed:
    """A change of an item."""
    return Changed(
        type(before).__name__.lower() + "s", before.id, "edit", before, msgspec.structs.replace(before, **fields)
    )


def added(item: Any) -> Changed:
    """A new item."""
    return Changed(type(item).__name__.lower() + "s", item.id, "add", None, item)


def removed(item: Any) -> Changed:
    """An item that is gone."""
    return Changed(type(item).__name__.lower() + "s", item.id, "remove", item, None)


__all__ = [
    "DAY",
    "KEY",
    "LINES",
    "NOW",
    "PLACE",
    "PUBLIC",
    "WINDOW",
    "DataGrade",
    "GrantState",
    "added",
    "ask",
    "edited",
    "endpoint",
    "grant",
    "policy",
    "published",
    "removed",
    "service",
    "short",
    "tenant",
]

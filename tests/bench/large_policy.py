"""A large policy, always the same: firms with a hundred grants each of 2,000 services; more by group and category."""

import random
from collections.abc import Callable, Iterator
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tenants.model import Place, Tenant
from whitelist.decide import Access
from whitelist.document import Document
from whitelist.model import Endpoint, Grant, Line, Protocol, Service, Window

KEY = bytes(range(32))
PUBLIC = Ed25519PrivateKey.from_private_bytes(KEY).public_key().public_bytes_raw()
NOW = 1_800_000_000
UNTIL = NOW + 86_400 * 365
SERVICES, GROUPS, CATEGORIES, PER_TENANT = 2_000, 50, 40, 100
SHARED = 200  # grants by group or category, beside each tenant's own


def tenants_of(grants: int) -> int:
    """How many tenants hold so many grants."""
    return max(10, grants // PER_TENANT)


def tenant(n: int) -> Tenant:
    """Every tenant sits in a prefix of its own; half are in a group."""
    place = Place(site="a", room=f"r{n % 40}", interface="acc0", prefix=f"10.{n >> 8 & 255}.{n & 255}.0/24")
    groups = (f"group-{n % GROUPS}",) if n % 2 else ()
    return Tenant(
        id=f"firm-{n}", name=f"Firm {n}", valid_from=0, valid_until=UNTIL, places=(place,), groups=groups, slot=n
    )


def service(n: int) -> Service:
    """Every service has an exact host and a wildcard, one in ten a prefix too; a quarter are in a category."""
    endpoints = [
        Endpoint(target=f"api.service-{n}.example.com"),
        Endpoint(target=f"*.cdn.service-{n}.example.com", ports=(443, 8443)),
    ]
    if n % 10 == 0:
        prefix = f"198.{18 + (n >> 8)}.{n & 255}.0/28"
        endpoints.append(Endpoint(target=prefix, protocol=Protocol.TCP, ports=(22,)))
    categories = (f"category-{n % CATEGORIES}",) if n % 4 == 0 else ()
    return Service(id=f"service-{n}", name=f"Service {n}", endpoints=tuple(endpoints), categories=categories)


def service_of(n: int, grants: int) -> int:
    """The service of the n-th grant: a tenant's are spread over the catalogue."""
    holder, place = n % tenants_of(grants), n // tenants_of(grants)
    return (holder * 7 + place * 19) % SERVICES


def grant(n: int, grants: int, until: int = UNTIL) -> Grant:
    """The n-th grant. One in ten has office hours (all day), all have two lines."""
    window = Window(
        valid_from=0,
        valid_until=until,
        weekdays=(0, 1, 2, 3, 4, 5, 6),
        start_minute=0 if n % 10 else 1,
        utc_offset_minutes=0,
    )
    return Grant(
        id=f"g-{n:010}",
        subject=f"tenant:firm-{n % tenants_of(grants)}",
        object=f"service:service-{service_of(n, grants)}",
        lines=("hk1", "sg1"),
        window=window,
    )


def shared(n: int) -> Grant:
    """A grant to a group of a category, or of a service."""
    thing = f"category:category-{n % CATEGORIES}" if n % 2 else f"service:service-{n * 3 % SERVICES}"
    window = Window(valid_from=0, valid_until=UNTIL)
    return Grant(id=f"g-s{n}", subject=f"group:group-{n % GROUPS}", object=thing, lines=("hk1",), window=window)


def document(grants: int, timed: Callable[[Iterator[Any]], Iterator[Any]]) -> Document:
    """The whole policy, made while it is read."""
    return Document(
        tenants=timed(map(tenant, range(tenants_of(grants)))),
        services=timed(map(service, range(SERVICES))),
        lines=[Line(id=name, device=name, index=n + 1) for n, name in enumerate(("hk1", "sg1"))],
        grants=timed(_grants(grants)),
    )


def _grants(grants: int) -> Iterator[Grant]:
    yield from map(shared, range(SHARED))
    for n in range(grants):
        yield grant(n, grants)


def asked(chance: random.Random, grants: int) -> tuple[str, str, str, Access]:
    """A request: tenant, source address, host, access."""
    kind = chance.randrange(10)
    n = chance.randrange(grants)
    holder = n % tenants_of(grants)
    wanted = service_of(n, grants) if kind < 8 else chance.randrange(SERVICES)
    if kind == 9:
        host = f"www.unknown-{chance.randrange(10_000)}.example.org"
    else:
        host = f"api.service-{wanted}.example.com" if n % 3 else f"e{n % 50}.cdn.service-{wanted}.example.com"
    return f"firm-{holder}", f"10.{holder >> 8 & 255}.{holder & 255}.{1 + n % 200}", host, Access.TUNNEL

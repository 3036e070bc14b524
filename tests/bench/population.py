"""Who is in the register of a benchmark: tenants, each with a credential and an address; services, grants, a line."""

import base64
import hashlib
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv4Network

from tenants.credential import crockford
from tenants.model import Credential, Place, Tenant
from tests.bench.zone import (
    ACCESS_DEVICE,
    LINE_DEVICE,
    LINE_FAR,
    LINE_NEAR,
    NAME,
    ORIGIN,
    PORT,
    RESOLVER,
    SOURCES,
)
from whitelist.model import Endpoint, Grant, Line, Service, Window

SITE, ROOM = "lingang-a", "r1"
BEGIN, END = 1_700_000_000, 4_000_000_000  # Unix seconds
SERVICES = 1_000  # services.0 is the target's
MAX_TUNNELS = 20_000  # of one tenant
LINE = Line(
    id="line-1", index=1, device=LINE_DEVICE, gateway4=LINE_FAR, source4=LINE_NEAR, resolvers=(RESOLVER,)
)  # fmt: skip
_FIRST = int(IPv4Network(SOURCES).network_address) + 1


def source(number: int) -> str:
    """The address a tenant's clients come from."""
    return str(IPv4Address(_FIRST + number))


def _made(number: int) -> str:
    """The part of an id that the register would make up."""
    return crockford((number << 14).to_bytes(8), 10)


def _id(number: int) -> str:
    return f"c-{_made(number)}"


def _token(number: int) -> str:
    digest = hashlib.sha256(b"bench %d" % number).digest()
    return base64.urlsafe_b64encode(digest).decode().rstrip("=")


def header(number: int) -> str:
    """The header by which a tenant's user is known."""
    pair = f"{_id(number)}:{_token(number)}".encode()
    return f"Proxy-Authorization: Basic {base64.b64encode(pair).decode()}"


def clients(count: int) -> str:
    """The load generator's file: one line for each tenant."""
    return "".join(f"{source(number)} {header(number)}\n" for number in range(count))


def tenant(number: int) -> Tenant:
    """One tenant; its slot is its number."""
    place = Place(site=SITE, room=ROOM, interface=ACCESS_DEVICE, prefix=f"{source(number)}/32")
    return Tenant(
        id=f"t{number}", name=f"Firm {number}", valid_from=BEGIN, valid_until=END, places=(place,), slot=number,
        max_tunnels=MAX_TUNNELS,
    )  # fmt: skip


def credential(number: int) -> Credential:
    """The one credential of a tenant."""
    digest = hashlib.sha256(_token(number).encode()).hexdigest()
    return Credential(id=_id(number), tenant=f"t{number}", user=f"u-{number}", token_sha256=digest, valid_until=END)


def service(number: int) -> Service:
    """One service; the first is the load's target, on a documentation prefix that it names."""
    name = NAME if number == 0 else f"s{number}.services.example"
    special = (f"{ORIGIN}/32",) if number == 0 else ()
    endpoint = Endpoint(target=name, ports=(PORT,))
    return Service(id=f"s{number}", name=name, endpoints=(endpoint,), special_prefixes=special)


def grants(tenants: int, each: int) -> Iterator[Grant]:
    """each grants for every tenant: of the target's service, then of others, spread over all."""
    window = Window(valid_from=BEGIN, valid_until=END)
    for number in range(tenants):
        for nth in range(each):
            thing = 0 if nth == 0 else 1 + (number * 7 + nth) % (SERVICES - 1)
            yield Grant(
                id=grant_id(number, nth), subject=f"tenant:t{number}", object=f"service:s{thing}", lines=(LINE.id,),
                window=window,
            )  # fmt: skip


def grant_id(number: int, nth: int = 0) -> str:
    """The id of a tenant's n-th grant; the first is of the target's service."""
    return f"g-{_made(number << 12 | nth)}"

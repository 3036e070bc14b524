"""What a firm holds, read from the register: its grants with the services behind them, and the lines they are over."""

from dataclasses import dataclass

import msgspec

from tenants import queries
from tenants.model import Tenant
from tenants.register import Register
from whitelist.model import Grant, GrantState, Line, Service

_grant = msgspec.json.Decoder(Grant).decode
_service = msgspec.json.Decoder(Service).decode


@dataclass(frozen=True, slots=True)
class Held:
    """One grant and the services it is for: one, or those of its category, without the retired."""

    grant: Grant
    services: tuple[Service, ...]


@dataclass(frozen=True, slots=True)
class Holdings:
    """A firm with all its grants that were not revoked (those that ended or are suspended are there), and its lines in
    the order in which its grants first name them."""

    tenant: Tenant
    held: tuple[Held, ...]
    lines: tuple[Line, ...]
    revision: int


def holdings(register: Register, tenant: str) -> Holdings:
    """Raises UnknownItem for a tenant that is not there, RegisterUnavailable."""
    firm, revision = register.get("tenants", tenant)
    with register.store.transaction(write=False) as connection:
        grants = [_grant(document) for document in queries.grants_to(connection, tenant, firm.groups)]
        grants = [grant for grant in grants if grant.state is not GrantState.REVOKED]
        objects = [grant.object.partition(":") for grant in grants]
        names = {name for kind, _, name in objects if kind == "service"}
        categories = {name for kind, _, name in objects if kind == "category"}
        services = [_service(document) for document in queries.services_of(connection, names, categories)]
    live = [service for service in services if not service.retired]
    held = tuple(Held(grant, tuple(s for s in live if _is_for(grant, s))) for grant in grants)
    order = dict.fromkeys(line for grant in grants for line in grant.lines)
    lines = tuple(register.get("lines", line)[0] for line in order)
    return Holdings(firm, held, lines, revision)


def _is_for(grant: Grant, service: Service) -> bool:
    kind, _, name = grant.object.partition(":")
    return name == service.id if kind == "service" else name in service.categories

"""What explains a verdict, read from the register."""

from ipaddress import ip_address, ip_network

import msgspec

from tenants import queries
from tenants.model import Tenant
from tenants.register import Register
from whitelist.model import Grant, Service


def candidates(register: Register, tenant: str, host: str, *, is_ip: bool) -> tuple[Tenant, list[Service], list[Grant]]:
    """What explains a verdict: the tenant, the services with an endpoint for the host (whatever the port), and the
    grants of those services to the tenant, straight or by group and category, whatever their state. Raises UnknownItem.
    """
    subject = register.get("tenants", tenant)[0]
    labels = host.split(".")
    targets = None if is_ip else [host, *("*." + ".".join(labels[n:]) for n in range(1, len(labels)))]
    with register.store.transaction(write=False) as connection:
        found = queries.endpoints_at(connection, targets)
        names = sorted({name for name, target in found if not is_ip or ip_address(host) in ip_network(target)})
        documents = queries.grants_between(connection, tenant, subject.groups, names)
    services = [register.get("services", name)[0] for name in names]
    return subject, services, list(map(msgspec.json.Decoder(Grant).decode, documents))

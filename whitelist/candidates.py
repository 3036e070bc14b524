"""What explains a verdict, read from the register."""

from ipaddress import ip_address, ip_network

import msgspec
from sqlalchemy import or_, select

from tenants import schema
from tenants.draft import Draft
from tenants.model import Tenant
from tenants.register import Register
from whitelist.model import Grant, Service


def candidates(register: Register, tenant: str, host: str, *, is_ip: bool) -> tuple[Tenant, list[Service], list[Grant]]:
    """What explains a verdict: the tenant, the services with an endpoint for the host (whatever the port), and the
    grants of those services to the tenant, straight or by group and category, whatever their state. Raises UnknownItem.
    """
    subject = register.get("tenants", tenant)[0]
    endpoints, members, grants = schema.endpoints.c, schema.service_categories.c, schema.grants.c
    if is_ip:
        named = endpoints.target.contains("/")
    else:
        labels = host.split(".")
        suffixes = ["*." + ".".join(labels[n:]) for n in range(1, len(labels))]
        named = endpoints.target.in_([host, *suffixes])
    with register.store.transaction(write=False) as connection:
        rows = connection.execute(select(endpoints.service, endpoints.target).where(named)).all()
        names = sorted({name for name, target in rows if not is_ip or ip_address(host) in ip_network(target)})
        by_category = select(members.category).where(members.service.in_(names))
        to_subject = or_(grants.tenant == tenant, grants.group_id.in_(subject.groups))
        found = select(schema.grants.c.document).where(
            to_subject, or_(grants.service.in_(names), grants.category.in_(by_category))
        )
        draft = Draft(connection, register.kinds)
        services = [draft.find("services", name) for name in names]
        decode = msgspec.json.Decoder(Grant).decode
        return subject, services, [decode(row) for row in connection.execute(found.order_by(grants.id)).scalars()]

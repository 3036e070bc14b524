"""Look-ups by key columns: who uses what. All SQL beyond reading and writing items stands here."""

from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import Connection, Table, func, or_, select

from tenants import schema


def overlapping_place(connection: Connection, place: dict[str, Any]) -> tuple[str, str] | None:
    """Another tenant's (id, prefix) that overlaps a row of places, or None. What stands is disjoint, so only the
    nearest range that begins before this one's end can overlap it."""
    columns = schema.places.c
    nearest = connection.execute(
        select(columns.tenant, columns.prefix, columns.last)
        .where(
            columns.interface == place["interface"],
            columns.family == place["family"],
            columns.first <= place["last"],
            columns.tenant != place["tenant"],
        )
        .order_by(columns.first.desc())
        .limit(1)
    ).first()
    return (nearest.tenant, nearest.prefix) if nearest is not None and nearest.last >= place["first"] else None


def line_with_device(connection: Connection, device: str, other_than: str) -> str | None:
    """The line in use that has a device."""
    columns = schema.lines.c
    found = select(columns.id).where(columns.device == device, columns.retired == 0, columns.id != other_than)
    return connection.execute(found).scalar()


def line_numbers(connection: Connection) -> set[int]:
    """Numbers of the lines in use."""
    columns = schema.lines.c
    return set(connection.execute(select(columns.number).where(columns.retired == 0)).scalars())


def lines_in_use(connection: Connection, other_than: str) -> list[str]:
    """Documents of the lines in use but this one, by id."""
    columns = schema.lines.c
    found = select(columns.document).where(columns.retired == 0, columns.id != other_than).order_by(columns.id)
    return list(connection.execute(found).scalars())


def other_accounts(connection: Connection, other_than: str) -> list[str]:
    """Documents of all accounts but this one."""
    columns = schema.accounts.c
    return list(connection.execute(select(columns.document).where(columns.id != other_than)).scalars())


def grants_naming(connection: Connection, column: str, item: str, states: Sequence[str] = ()) -> list[str]:
    """Ids of grants whose column ("tenant", "group_id", "service", "category") is the item, in these states or any."""
    columns = schema.grants.c
    found = select(columns.id).where(columns[column] == item).order_by(columns.id)
    return list(connection.execute(found.where(columns.state.in_(states)) if states else found).scalars())


def live_grants(connection: Connection, states: Sequence[str], column: str, items: Sequence[str]) -> Iterable[str]:
    """Documents of the grants in these states whose column ("tenant", "group_id") is one of the items, by id."""
    columns = schema.grants.c
    found = select(columns.document).where(columns.state.in_(states), columns[column].in_(items)).order_by(columns.id)
    return connection.execute(found).scalars()


def documents(connection: Connection, table: Table, ids: Sequence[str] | None = None) -> Iterable[tuple[str, str]]:
    """(id, document) of these items, or of all, by id."""
    found = select(table.c.id, table.c.document).order_by(table.c.id)
    found = found if ids is None else found.where(table.c.id.in_(ids))
    return ((row.id, row.document) for row in connection.execute(found))


def revision_at(connection: Connection, moment: int) -> int:
    """The revision in force at a Unix second; 0: before the first. Where the clock was put back, the later revision
    counts, for that was the one in force at the end of that second."""
    columns = schema.revisions.c
    return connection.execute(select(func.max(columns.revision)).where(columns.time <= moment)).scalar() or 0


def touched_after(connection: Connection, revision: int, collections: Sequence[str]) -> Iterable[Any]:
    """For each item of the collections changed after a revision: (collection, item, the document before the first of
    those changes), in the order of those changes."""
    columns = schema.changes.c
    first = (
        select(func.min(columns.number))
        .where(columns.revision > revision, columns.collection.in_(collections))
        .group_by(columns.collection, columns.item)
    )
    found = select(columns.collection, columns.item, columns.before).where(columns.number.in_(first))
    return connection.execute(found.order_by(columns.number)).all()


def grants_over(connection: Connection, line: str, states: Sequence[str]) -> list[str]:
    """Ids of the grants over a line, in these states."""
    grants, uses = schema.grants.c, schema.grant_lines.c
    found = select(grants.id).join(schema.grant_lines, uses.grant_id == grants.id)
    return list(
        connection.execute(found.where(uses.line == line, grants.state.in_(states)).order_by(grants.id)).scalars()
    )


def tenants_in(connection: Connection, group: str) -> list[str]:
    """Members of a group."""
    columns = schema.tenant_groups.c
    return list(connection.execute(select(columns.tenant).where(columns.group_id == group)).scalars())


def services_in(connection: Connection, category: str) -> list[str]:
    """Members of a category."""
    columns = schema.service_categories.c
    return list(connection.execute(select(columns.service).where(columns.category == category)).scalars())


def endpoints_at(connection: Connection, targets: Sequence[str] | None) -> list[tuple[str, str]]:
    """(service, target) of the endpoints with one of these targets; None: of all that are prefixes."""
    columns = schema.endpoints.c
    wanted = columns.target.contains("/") if targets is None else columns.target.in_(targets)
    return [
        (row.service, row.target) for row in connection.execute(select(columns.service, columns.target).where(wanted))
    ]


def grants_to(connection: Connection, tenant: str, groups: Iterable[str]) -> list[str]:
    """Documents of all grants to a tenant, straight or by these groups, by id."""
    grants = schema.grants.c
    found = select(grants.document).where(or_(grants.tenant == tenant, grants.group_id.in_(list(groups))))
    return list(connection.execute(found.order_by(grants.id)).scalars())


def services_of(connection: Connection, names: Iterable[str], categories: Iterable[str]) -> list[str]:
    """Documents of the services with these ids or in these categories, by id."""
    services, members = schema.services.c, schema.service_categories.c
    within = select(members.service).where(members.category.in_(list(categories)))
    found = select(services.document).where(or_(services.id.in_(list(names)), services.id.in_(within)))
    return list(connection.execute(found.order_by(services.id)).scalars())


def grants_between(connection: Connection, tenant: str, groups: Iterable[str], services: Sequence[str]) -> list[str]:
    """Documents of the grants to a tenant, straight or by these groups, of services or their categories, by id."""
    grants, members = schema.grants.c, schema.service_categories.c
    by_category = select(members.category).where(members.service.in_(services))
    found = select(grants.document).where(
        or_(grants.tenant == tenant, grants.group_id.in_(list(groups))),
        or_(grants.service.in_(services), grants.category.in_(by_category)),
    )
    return list(connection.execute(found.order_by(grants.id)).scalars())

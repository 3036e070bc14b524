"""What changed items mean for those who ask: who gains what, who loses what. Pure.

An item is read for its direction: what it adds to anybody's reach, what it takes away. A change can do both."""

from collections.abc import Iterable

import msgspec

from tenants.change import Changed
from tenants.model import Tenant, TenantState
from whitelist.model import Deny, Grant, GrantState, Service

_TERMS = ("no_sni", "ip_sni", "ech", "application", "data_grade", "purpose", "line_weights", "destination_country")
_IN_FORCE = (TenantState.ACTIVE, TenantState.RENEWAL_DUE)


class Effect(msgspec.Struct, frozen=True, kw_only=True):
    """way: "gains", "loses" or "changes"; who: "tenant:ID", "group:ID" or "all"; what: "service:ID", "category:ID", a
    target or a field; how: from → to, or ""."""

    way: str
    who: str
    what: str
    how: str = ""
    item: str = ""


def effects(changes: Iterable[Changed]) -> list[Effect]:
    """The effects of all changes, losses first: they hurt at once."""
    found = [effect for change in changes for effect in _of(change)]
    return sorted(found, key=lambda effect: ("loses", "changes", "gains").index(effect.way))


def _of(change: Changed) -> Iterable[Effect]:
    match change.after if change.after is not None else change.before:
        case Grant():
            return _grant(change.before, change.after)
        case Service():
            return _service(change.before, change.after)
        case Deny(id=name):
            return _deny(name, change.before, change.after)
        case Tenant():
            return _tenant(change.before, change.after)
        case _:
            return ()


def _grant(before: Grant | None, after: Grant | None) -> Iterable[Effect]:
    one = before is not None and before.state is GrantState.EFFECTIVE
    other = after is not None and after.state is GrantState.EFFECTIVE
    grant = after or before
    assert grant is not None
    if one is not other:
        yield Effect(way="gains" if other else "loses", who=grant.subject, what=grant.object, item=grant.id)
        return
    if not one or before is None or after is None:
        return
    old, new = before.window, after.window
    if new.valid_until != old.valid_until or new.valid_from != old.valid_from:
        longer = new.valid_until > old.valid_until or new.valid_from < old.valid_from
        shorter = new.valid_until < old.valid_until or new.valid_from > old.valid_from
        how = f"{old.valid_from}…{old.valid_until} → {new.valid_from}…{new.valid_until}"
        for way, holds in (("gains", longer), ("loses", shorter)):
            if holds:
                yield Effect(way=way, who=grant.subject, what=grant.object, how=how, item=grant.id)
    hours = [(w.weekdays, w.start_minute, w.end_minute, w.utc_offset_minutes) for w in (old, new)]
    if hours[0] != hours[1]:
        yield Effect(way="changes", who=grant.subject, what="hours", how=f"{hours[0]} → {hours[1]}", item=grant.id)
    if before.lines != after.lines:
        how = f"{', '.join(before.lines)} → {', '.join(after.lines)}"
        yield Effect(way="changes", who=grant.subject, what="lines", how=how, item=grant.id)
    if before.inspect != after.inspect:
        how = " → ".join("not" if one.inspect is None else f"{len(one.inspect.rules)} rules" for one in (before, after))
        yield Effect(way="changes", who=grant.subject, what="inspection", how=how, item=grant.id)
    for name in _TERMS:
        if getattr(before, name) != getattr(after, name):
            how = f"{getattr(before, name)} → {getattr(after, name)}"
            yield Effect(way="changes", who=grant.subject, what=name, how=how, item=grant.id)


def _service(before: Service | None, after: Service | None) -> Iterable[Effect]:
    service = after or before
    assert service is not None
    who = f"service:{service.id}"
    for get in (_ways, _categories):
        one, other = get(before), get(after)
        for way, names in (("loses", one - other), ("gains", other - one)):
            for name in sorted(names):
                yield Effect(way=way, who=who, what=name, item=service.id)


def _ways(service: Service | None) -> set[str]:
    if service is None or service.retired:
        return set()
    return {f"{way.protocol}://{way.target}:{port}" for way in service.endpoints for port in way.ports}


def _categories(service: Service | None) -> set[str]:
    return set() if service is None or service.retired else {f"category:{name}" for name in service.categories}


def _deny(name: str, before: Deny | None, after: Deny | None) -> Iterable[Effect]:
    one, other = (None if deny is None else (deny.target, deny.ports) for deny in (before, after))
    if one == other:
        return
    for way, what in (("gains", one), ("loses", other)):
        if what is not None:
            ports = ":" + ",".join(map(str, what[1])) if what[1] else ""
            yield Effect(way=way, who="all", what=f"{what[0]}{ports}", item=name)


def _tenant(before: Tenant | None, after: Tenant | None) -> Iterable[Effect]:
    tenant = after or before
    assert tenant is not None
    who = f"tenant:{tenant.id}"
    for get in (_groups, _places):
        one, other = get(before), get(after)
        for way, names in (("loses", one - other), ("gains", other - one)):
            for name in sorted(names):
                yield Effect(way=way, who=who, what=name, item=tenant.id)
    if before is None or after is None:
        return
    for name in ("valid_from", "valid_until", "max_tunnels", "tunnels_per_second", "bytes_per_day", "bytes_per_month"):
        if getattr(before, name) != getattr(after, name):
            how = f"{getattr(before, name)} → {getattr(after, name)}"
            yield Effect(way="changes", who=who, what=name, how=how, item=tenant.id)


def _groups(tenant: Tenant | None) -> set[str]:
    return set() if tenant is None else {f"group:{name}" for name in tenant.groups}


def _places(tenant: Tenant | None) -> set[str]:
    if tenant is None or tenant.state not in _IN_FORCE:
        return set()
    return {f"{place.prefix} on {place.interface}" for place in tenant.places}

"""The whitelist's collections in the register: services, groups, categories, grants, lines and denies, and how they
hang together with each other and with tenants."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from tenants import queries, schema
from tenants.kinds import (
    CONFIRM,
    Action,
    Child,
    Errors,
    Kind,
    Reader,
    account_kind,
    credential_kind,
    moves,
    once,
    tenant_kind,
    words,
)
from tenants.model import GONE, Side
from tenants.register import Register
from tenants.store import BUSY_TIMEOUT, Database, Store
from whitelist import line_claims, narrowing, validate
from whitelist.inspection import EXEMPT
from whitelist.model import Category, Deny, Grant, GrantState, Group, Line, Protocol, Service
from whitelist.tls_terms import TERMS, USUAL

type NodeRule = Callable[[Line], Errors]
_decode_line = msgspec.json.Decoder(Line).decode
_LIVE = (GrantState.EFFECTIVE, GrantState.SUSPENDED)  # a suspended grant comes back with all it refers to


def open_register(
    where: Path | str, *, create: bool, busy_timeout: float = BUSY_TIMEOUT, own: NodeRule = lambda _line: []
) -> Register:
    """The register at this path, or (postgresql://…) on this server, migrated to this release's schema. own: what a
    line may not take of the node itself. Raises tenants.migrate.RegisterUnavailable."""
    store = database(where, busy_timeout)
    store.open(create=create)
    return Register(store, KINDS | {"lines": replace(_LINES, check=partial(_check_line, own))})


def database(where: Path | str, busy_timeout: float = BUSY_TIMEOUT) -> Database:
    """The database at this path or address; not opened yet."""
    if isinstance(where, str) and where.startswith("postgresql:"):
        from tenants.postgres import PostgresStore  # with its driver, for those who have a server

        return PostgresStore(where, busy_timeout=busy_timeout)
    return Store(Path(where), busy_timeout=busy_timeout)


def _subject(grant: Grant) -> tuple[str, str]:
    kind, _, item = grant.subject.partition(":")
    return kind, item


def _object(grant: Grant) -> tuple[str, str]:
    kind, _, item = grant.object.partition(":")
    return kind, item


def _grant_keys(grant: Grant) -> dict[str, Any]:
    of, to = dict([_subject(grant)]), dict([_object(grant)])
    return {
        "state": grant.state,
        "tenant": of.get("tenant"),
        "group_id": of.get("group"),
        "service": to.get("service"),
        "category": to.get("category"),
    }


def _check_grant(reader: Reader, before: Grant | None, after: Grant) -> Errors:
    """All it names exists and can be granted; what has ended may name what has ended since."""
    if before is not None and after.state not in _LIVE:
        return []
    kind, item = _subject(after)
    subject = reader.find(f"{kind}s", item)
    errors = []
    if subject is None:
        errors.append(("subject", f"there is no {kind} {item}"))
    elif kind == "tenant" and subject.state in GONE:
        errors.append(("subject", f"tenant {item} is {subject.state}"))
    kind, item = _object(after)
    thing = reader.find("services" if kind == "service" else "categories", item)
    if thing is None:
        errors.append(("object", f"there is no {kind} {item}"))
    elif kind == "service" and thing.retired:
        errors.append(("object", f"service {item} is retired"))
    elif before is None and kind == "service" and all(way.protocol is not Protocol.TLS for way in thing.endpoints):
        errors += [
            (term, f"is about TLS, and service {item} has no tls endpoint; leave it out")
            for term in TERMS
            if getattr(after, term) != getattr(USUAL, term)
        ]
    if after.inspect is not None and before is None and thing is not None:
        categories = thing.categories if kind == "service" else (item,)
        if exempt := [category for category in categories if category in EXEMPT]:
            errors.append(("inspect", f"category {exempt[0]} is never inspected; grant {item} without it, or not"))
    for n, name in enumerate(after.lines):
        line = reader.find("lines", name)
        if line is None:
            errors.append((f"lines[{n}]", f"there is no line {name}"))
        elif line.retired:
            errors.append((f"lines[{n}]", f"line {name} is retired"))
        elif line.side != Side.ABROAD:
            errors.append((f"lines[{n}]", f"line {name} leads to side {line.side}; only abroad can be granted"))
    return errors


def _check_line(own: NodeRule, reader: Reader, before: Line | None, after: Line) -> Errors:
    """No other line in use has its device, VXLAN segment or a source of it, nor has the node itself; its tenants exist;
    a line that grants use stays abroad."""
    errors: Errors = []
    reader.flush()
    other = queries.line_with_device(reader.connection, after.device, after.id)
    if other is not None and not after.retired:
        errors.append(("device", f"line {other} has device {after.device}; a line needs one of its own"))
    errors += [
        (f"shares[{n}].tenant", f"there is no tenant {share.tenant}")
        for n, share in enumerate(after.shares)
        if reader.find("tenants", share.tenant) is None
    ]
    if not after.retired:
        others = [_decode_line(document) for document in queries.lines_in_use(reader.connection, after.id)]
        errors += line_claims.segment_faults(after, others)
        if before is None or line_claims.placement(after) != line_claims.placement(before):
            errors += line_claims.claim_faults(after, others) + own(after)
    if before is not None and after.side != before.side and (users := _grants_of_line(reader, after)):
        errors.append(("side", f"used by {', '.join(users[:10])}"))
    if after.index > MAX_LINES:
        errors.append(
            ("id", f"{MAX_LINES} lines are in use, which is all that marks and tables have room for; retire one")
        )
    return errors


def _number(reader: Reader) -> int:
    """A line's number: one that was never given, as long as there is one, so that what the kernel still counts under it
    is of no other line; then the lowest one that no line in use has; MAX_LINES + 1 where there is none."""
    number = reader.next_number(schema.lines, "number")
    if number > MAX_LINES:
        reader.flush()
        used = queries.line_numbers(reader.connection)
        number = next((free for free in range(1, MAX_LINES + 1) if free not in used), MAX_LINES + 1)
    return number


def _check_service(reader: Reader, _before: Service | None, after: Service) -> Errors:
    return [
        (f"categories[{n}]", f"there is no category {category}")
        for n, category in enumerate(after.categories)
        if reader.find("categories", category) is None
    ]


def _grants_of_service(reader: Reader, service: Service) -> list[str]:
    return _named("grant", queries.grants_naming(reader.connection, "service", service.id, _LIVE))


def _grants_of_line(reader: Reader, line: Line) -> list[str]:
    return _named("grant", queries.grants_over(reader.connection, line.id, _LIVE))


def _users_of_group(reader: Reader, group: str) -> list[str]:
    """Its members, and every grant that ever named it: they are history."""
    tenants, grants = queries.tenants_in(reader.connection, group), queries.grants_naming
    return _named("tenant", tenants) + _named("grant", grants(reader.connection, "group_id", group))


def _users_of_category(reader: Reader, category: str) -> list[str]:
    services, grants = queries.services_in(reader.connection, category), queries.grants_naming
    return _named("service", services) + _named("grant", grants(reader.connection, "category", category))


def _named(noun: str, names: list[str]) -> list[str]:
    return [f"{noun} {name}" for name in names]


def _endpoint_rows(service: Service) -> list[dict[str, Any]]:
    return [
        {"service": service.id, "position": n, "target": endpoint.target, "protocol": endpoint.protocol}
        for n, endpoint in enumerate(service.endpoints)
    ]


MAX_LINES = 255
_PROVENANCE = frozenset({"provenance"})

_SERVICES = Kind(
    collection="services",
    noun="service",
    struct=Service,
    table=schema.services,
    keys=lambda service: {"retired": int(service.retired)},
    words=lambda service: words(service.id, service.name, service.name_zh, *(e.target for e in service.endpoints)),
    validate=validate.validate_service,
    check=_check_service,
    children=(
        Child(schema.endpoints, "service", _endpoint_rows),
        Child(
            schema.service_categories,
            "service",
            lambda service: [{"service": service.id, "category": c} for c in dict.fromkeys(service.categories)],
        ),
    ),
    given=_PROVENANCE | {"retired"},
    actions={"retire": once("retired", lambda _now: True, _grants_of_service), "confirm": CONFIRM},
    narrows=narrowing.service_narrows,
)

_GRANTS = Kind(
    collection="grants",
    noun="grant",
    struct=Grant,
    table=schema.grants,
    keys=_grant_keys,
    words=lambda grant: words(grant.id, grant.subject, grant.object, *grant.lines, grant.purpose),
    validate=validate.validate_grant,
    check=_check_grant,
    children=(
        Child(
            schema.grant_lines,
            "grant_id",
            lambda grant: [{"grant_id": grant.id, "position": n, "line": name} for n, name in enumerate(grant.lines)],
        ),
    ),
    given=_PROVENANCE | {"state"},
    fixed=frozenset({"subject", "object"}),
    actions={
        "revoke": moves("state", dict.fromkeys(_LIVE, GrantState.REVOKED)),
        "suspend": moves("state", {GrantState.EFFECTIVE: GrantState.SUSPENDED}),
        "resume": moves("state", {GrantState.SUSPENDED: GrantState.EFFECTIVE}),
        "confirm": CONFIRM,
    },
    id_prefix="g-",
    narrows=narrowing.grant_narrows,
)

_LINES = Kind(
    collection="lines",
    noun="line",
    struct=Line,
    table=schema.lines,
    keys=lambda line: {"number": line.index, "device": line.device, "retired": int(line.retired)},
    words=lambda line: words(line.id, line.name, line.carrier, line.circuit, line.device),
    validate=validate.validate_line,
    check=partial(_check_line, lambda _line: []),
    given=_PROVENANCE | {"index", "drained", "retired"},
    assign=lambda reader, _line: {"index": _number(reader)},
    actions={
        "drain": once("drained", lambda _now: True),
        "undrain": Action(
            lambda _line, _now: {"drained": False}, lambda line: "" if line.drained else "it is not drained"
        ),
        "retire": once("retired", lambda _now: True, _grants_of_line),
        "confirm": CONFIRM,
    },
    narrows=narrowing.line_narrows,
)

_DENIES = Kind(
    collection="denies",
    noun="deny",
    struct=Deny,
    table=schema.denies,
    keys=lambda deny: {"target": deny.target},
    words=lambda deny: words(deny.id, deny.target, deny.note),
    validate=validate.validate_deny,
    given=_PROVENANCE,
    users=lambda _reader, _item: [],
    actions={"confirm": CONFIRM},
    id_prefix="d-",
    narrows=narrowing.deny_narrows,
)

_GROUPS = Kind(
    collection="groups",
    noun="group",
    struct=Group,
    table=schema.groups,
    keys=lambda _group: {},
    words=lambda group: words(group.id, group.name),
    validate=validate.validate_group,
    given=_PROVENANCE,
    users=_users_of_group,
    narrows=narrowing.name_narrows,
)

_CATEGORIES = Kind(
    collection="categories",
    noun="category",
    struct=Category,
    table=schema.categories,
    keys=lambda _category: {},
    words=lambda category: words(category.id, category.name),
    validate=validate.validate_category,
    given=_PROVENANCE,
    users=_users_of_category,
    narrows=narrowing.name_narrows,
)

# Those referred to before those who refer.
KINDS: dict[str, Kind] = {
    kind.collection: kind
    for kind in (
        _GROUPS,
        _CATEGORIES,
        replace(tenant_kind(validate.validate_tenant), narrows=narrowing.tenant_narrows),
        credential_kind(validate.validate_credential),
        _SERVICES,
        _LINES,
        _GRANTS,
        _DENIES,
        account_kind(),
    )
}

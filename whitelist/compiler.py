"""From the register's items to the rows of the compiled policy.

`rows` alone says what an item compiles to. A full compilation gathers the rows of all items; a change takes away the
rows of the item as it was and adds those of the item as it is. So both come to the same bytes.
"""

from collections.abc import Callable, Iterable, Iterator
from ipaddress import ip_network
from itertools import batched, chain, groupby, repeat
from pathlib import Path
from typing import Any

import lmdb
from msgspec import Raw

from tenants.change import Changed
from tenants.model import GONE, Credential, Place, Side, Tenant
from whitelist.casbin_model import closure
from whitelist.catalogue import place_key, prefix_key
from whitelist.document import Document
from whitelist.entries import (
    CORE,
    EFFECTIVE,
    EXPIRED,
    GENERAL,
    IMPORTANT,
    SUSPENDED,
    CredentialEntry,
    DenyEntry,
    EndpointEntry,
    Entry,
    GrantEntry,
    LineEntry,
    PlaceEntry,
    ResidentEntry,
    Schedule,
    TenantEntry,
    decode_grants,
    decode_residents,
    decode_rows,
    encode,
)
from whitelist.model import DataGrade, Deny, Grant, GrantState, Line, Service, Window
from whitelist.signed import Touched
from whitelist.tls_terms import TERMS, USUAL, TlsTerms

LISTS = b"hw46gp"  # first letters of the keys with a list of rows

_STATES = {GrantState.EFFECTIVE: EFFECTIVE, GrantState.SUSPENDED: SUSPENDED, GrantState.EXPIRED: EXPIRED}
_GRADES = {DataGrade.GENERAL: GENERAL, DataGrade.IMPORTANT: IMPORTANT, DataGrade.CORE: CORE}
_LATEST = 1 << 48  # Unix seconds
_CHUNK = 100_000  # rows held in memory at a time
ALL_DAYS = 0b111_1111

Row = tuple[bytes, Entry]
_DECODE: dict[bytes, Callable[[bytes], list[Any]]] = {b"g": decode_grants, b"p": decode_residents}


def rows(item: Any) -> list[Row]:
    """The rows of one item of the register, each with its key. Items the data path need not know have none: groups and
    categories are names on others, retired services have no way to them, revoked grants give nothing, invites enrol."""
    match item:
        case Grant() if item.state in _STATES:
            return [_grant(item)]
        case Tenant():
            places = () if item.state in GONE else item.places
            return [_tenant(item), *map(_residence, places, repeat(item.id))]
        case Credential() if not item.invite:
            entry = CredentialEntry(
                item.id, item.tenant, item.user, bytes.fromhex(item.token_sha256), item.valid_until, item.revoked,
                bytes.fromhex(item.certificate_sha256),
            )  # fmt: skip
            return [(b"c" + item.id.encode(), entry)]
        case Service() if not item.retired:
            return _service(item)
        case Line():
            return [
                (b"l" + item.id.encode(), LineEntry(*(getattr(item, name) for name in LineEntry.__struct_fields__)))
            ]
        case Deny():
            return [(target_key(item.target), DenyEntry(item.id, item.target, item.ports))]
        case _:
            return []


def owner(entry: Entry) -> tuple[type, str]:
    """The item that a row of a list comes from."""
    return type(entry), entry.service if isinstance(entry, EndpointEntry) else entry.id


def order(entry: Entry) -> tuple[bytes, ...]:
    """Where a row stands in its list: denies first, then services by id; the grant that ends last first."""
    match entry:
        case GrantEntry():
            return (b"%016x" % (_LATEST - entry.valid_until), entry.id.encode())
        case ResidentEntry():
            return (entry.id.encode(),)
        case EndpointEntry():
            return (b"e", entry.service.encode())
        case DenyEntry():
            return (b"d", entry.id.encode())
        case _:
            return ()


def compiled(document: Document, scratch: Path) -> Iterator[tuple[bytes, bytes]]:
    """All keys and values of the policy, in order of keys. scratch: a file to sort in, used where the document is
    large, so that memory stays bounded. Raises OSError, lmdb.Error."""
    collections: Iterable[Iterable[Any]] = (
        document.tenants, document.credentials, document.services, document.lines, document.denies, document.grants
    )  # fmt: skip
    sorts = batched(_sortable(chain.from_iterable(collections)), _CHUNK)
    first = sorted(next(sorts, ()))
    second = next(sorts, None)
    if second is None:
        yield from _joined(first)
        return
    scratch.unlink(missing_ok=True)
    try:
        with lmdb.open(str(scratch), subdir=False, lock=False, map_size=1 << 38, sync=False, mode=0o600) as env:
            for chunk in chain((first, second), sorts):
                with env.begin(write=True) as txn, txn.cursor() as cursor:
                    cursor.putmulti(sorted(chunk))
            del first, second
            with env.begin() as txn, txn.cursor() as cursor:
                yield from _joined(cursor)
    finally:
        scratch.unlink(missing_ok=True)


def target_key(target: str) -> bytes:
    """The key of the rows about a target as it is written in endpoints and denies."""
    if "/" in target:
        network = ip_network(target)
        return prefix_key(network.version, int(network.network_address), network.prefixlen)
    return b"w" + target[2:].encode() if target.startswith("*.") else b"h" + target.encode()


def changed(get: Callable[[bytes], bytes | None], changes: Iterable[Changed]) -> dict[bytes, bytes | None]:
    """The keys whose values change with these items, with their values after (None: gone). get reads those before."""
    lists: dict[bytes, list[Entry]] = {}
    values: dict[bytes, bytes | None] = {}

    def rows_at(key: bytes) -> list[Entry]:
        if key not in lists:
            value = get(key)
            lists[key] = [] if value is None else _DECODE.get(key[:1], decode_rows)(value)
        return lists[key]

    for change in changes:
        for key, entry in rows(change.before):
            if key[:1] in LISTS:
                gone = owner(entry)
                lists[key] = [row for row in rows_at(key) if owner(row) != gone]
            else:
                values[key] = None
        for key, entry in rows(change.after):
            if key[:1] in LISTS:
                rows_at(key).append(entry)
            else:
                values[key] = encode(entry)
    for key, entries in lists.items():
        values[key] = encode(sorted(entries, key=order)) if entries else None
    return {key: value for key, value in values.items() if value != get(key)}


def touched(changes: Iterable[Changed]) -> Touched:
    """Whose flows may be decided otherwise after these changes."""
    result = Touched()
    for change in changes:
        if rows(change.before) == rows(change.after):
            continue
        match change.after if change.before is None else change.before:
            case Tenant(id=name):
                result.tenants.add(name)
            case Credential(id=name, tenant=tenant):
                result.credentials.add(name)
                result.tenants.add(tenant)
            case Grant(subject=subject):
                kind, _, name = subject.partition(":")
                (result.tenants if kind == "tenant" else result.groups).add(name)
            case Service(id=name):
                result.services.add(name)
            case Deny(id=name):
                result.denies.add(name)
            case Line(id=name):
                result.lines.add(name)
    result.everything = bool(result.groups or result.services or result.denies or result.lines)
    return result


def _sortable(items: Iterable[Any]) -> Iterator[tuple[bytes, bytes]]:
    """Each row as something that sorts by key, then by its place in the list: (key, NUL, order; length of key, row)."""
    for item in items:
        for n, (key, entry) in enumerate(rows(item)):
            yield b"\0".join((key, *order(entry), b"%04d" % n)), bytes((len(key),)) + encode(entry)


def _joined(sortables: Iterable[tuple[bytes, bytes]]) -> Iterator[tuple[bytes, bytes]]:
    """Keys and values from rows in order."""
    for key, group in groupby(sortables, key=_key_of):
        values = [value[1:] for _, value in group]
        yield key, encode([Raw(value) for value in values]) if key[:1] in LISTS else values[-1]


def _key_of(sortable: tuple[bytes, bytes]) -> bytes:
    return sortable[0][: sortable[1][0]]


def _grant(grant: Grant) -> Row:
    window = grant.window
    terms = TlsTerms(*(getattr(grant, name) for name in TERMS))
    entry = GrantEntry(
        grant.id,
        grant.lines,
        window.valid_from,
        window.valid_until,
        _STATES[grant.state],
        _GRADES[grant.data_grade],
        _schedule(window),
        grant.line_weights,
        None if terms == USUAL else terms,
        grant.inspect,
    )
    return b"g%b|%b" % (grant.subject.encode(), grant.object.encode()), entry


def _schedule(window: Window) -> Schedule | None:
    days = sum(1 << day for day in set(window.weekdays)) or ALL_DAYS
    if days == ALL_DAYS and window.start_minute == 0 and window.end_minute == 1440:
        return None
    return Schedule(days, window.start_minute, window.end_minute, window.utc_offset_minutes)


def _tenant(tenant: Tenant) -> Row:
    held = closure(f"tenant:{tenant.id}", [f"group:{group}" for group in tenant.groups])
    entry = TenantEntry(
        tenant.id,
        tenant.state,
        tenant.valid_from,
        tenant.valid_until,
        tuple(map(_place, tenant.places)),
        tuple(name.encode() + b"|" for name in held),
        tenant.slot,
        tenant.max_tunnels,
        tenant.tunnels_per_second,
        tenant.bytes_per_day,
        tenant.bytes_per_month,
        *((tenant.consent.date, tenant.consent.until) if tenant.consent else (0, 0)),
    )
    return b"t" + tenant.id.encode(), entry


def _place(place: Place) -> PlaceEntry:
    network = ip_network(place.prefix)
    ends = (network.network_address.packed, network.broadcast_address.packed)
    return PlaceEntry(place.interface, *ends, place.side is Side.OFFSHORE)


def _residence(place: Place, tenant: str) -> Row:
    network = ip_network(place.prefix)
    key = place_key(place.interface, network.version, int(network.network_address), network.prefixlen)
    return key, ResidentEntry(tenant)


def _service(service: Service) -> list[Row]:
    held = closure(f"service:{service.id}", [f"category:{category}" for category in service.categories])
    objects = tuple(name.encode() for name in held)
    return [
        (
            target_key(endpoint.target),
            EndpointEntry(
                service.id,
                endpoint.target,
                endpoint.ports,
                EndpointEntry.PROTOCOLS.index(endpoint.protocol),
                objects,
                service.special_prefixes,
            ),
        )
        for endpoint in service.endpoints
    ]

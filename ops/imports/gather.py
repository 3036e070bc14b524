"""From good rows to one proposal: services with their endpoints, one grant each; what is there twice is told. Pure.

A service is granted whole, so rows with different terms never share one: nobody may get more than a row asks for.
"""

import hashlib
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Any

from ops.imports.cells import normal
from ops.imports.model import Fields, Imported, Kind, Report, Unreadable, Usual, Wanted
from whitelist.validate import MAX_ENDPOINTS, endpoint_faults

_Endpoint = tuple[str, str, int]


def gather(found: Iterable[Wanted | Report], usual: Usual, existing: Mapping[str, Fields] | None = None) -> Imported:
    """The import. existing: the register's services by id, in the API's form; None where they are not known."""
    result = Imported()
    known = _Known(existing or {})
    first: dict[tuple[Any, ...], Wanted] = {}
    sets: dict[tuple[str, Any], list[Wanted]] = defaultdict(list)
    seen_rows: set[tuple[str, int]] = set()
    for one in found:
        if isinstance(one, Report):
            result.reports.append(one)
            if one.kind is Kind.BAD:
                seen_rows.add((one.sheet, one.row))
            continue
        seen_rows.add((one.sheet, one.row))
        if fault := _fault(one, existing):
            result.reports.append(fault)
            continue
        key = (one.endpoints, one.service if not one.endpoints else "", one.terms)
        earlier = first.setdefault(key, one)
        if earlier is not one:
            said = f"says the same as row {earlier.row}" + (
                f" of {earlier.sheet}" if earlier.sheet != one.sheet else ""
            )
            result.reports.append(Report(Kind.DUPLICATE, one.sheet, one.row, "", said, "it is taken once"))
            result.good += 1
            continue
        result.good += 1
        sets[one.service or one.name or one.endpoints[0][1], one.terms].append(one)
    result.rows = len(seen_rows)
    result.reports += _overlaps(first.values(), known)
    taken = set(existing or {})
    for (name, terms), rows in sets.items():
        _one_service(result, known, taken, name, terms, rows, usual)
    result.reports.sort(key=lambda report: (report.sheet, report.row))
    return result


def _fault(one: Wanted, existing: Mapping[str, Fields] | None) -> Report | None:
    """What the register would refuse of a row."""
    for protocol, target, port in one.endpoints:
        for _, message in endpoint_faults(target, (port,), protocol):
            said, _, remedy = message.partition("; ")
            return Report(Kind.BAD, one.sheet, one.row, "host", f"{target} {said}", remedy)
    if not one.endpoints and existing is not None:
        service = existing.get(one.service)
        if service is None:
            remedy = "correct it, or fill in the host"
            return Report(Kind.BAD, one.sheet, one.row, "service", f"there is no service {one.service}", remedy)
        if service.get("retired"):
            return Report(
                Kind.BAD, one.sheet, one.row, "service", f"service {one.service} is retired", "name another one"
            )
    return None


class _Known:
    """The register's services by their endpoints."""

    def __init__(self, existing: Mapping[str, Fields]) -> None:
        self.services = {name: _ways(s) for name, s in existing.items() if not s.get("retired")}
        self.by_way: dict[_Endpoint, str] = {}
        self.whole: dict[frozenset[_Endpoint], str] = {}
        for name, ways in self.services.items():
            self.whole.setdefault(ways, name)
            for way in ways:
                self.by_way.setdefault(way, name)


def _ways(service: Fields) -> frozenset[_Endpoint]:
    return frozenset(
        (str(way.get("protocol", "tls")), str(way["target"]), int(port))
        for way in service["endpoints"]
        for port in way.get("ports", (443,))
    )


def _overlaps(rows: Iterable[Wanted], known: _Known) -> Iterator[Report]:
    """Rows that another row's wildcard or prefix covers already, and hosts that a service of the register has."""
    rows = list(rows)
    wide: dict[tuple[str, str, int], Wanted] = {}
    for row in rows:
        for way in row.endpoints:
            if way[1].startswith("*.") or "/" in way[1]:
                wide.setdefault(way, row)
    prefixes = [
        (protocol, _network(target), port, row) for (protocol, target, port), row in wide.items() if "/" in target
    ]
    for row in rows:
        for protocol, target, port in row.endpoints:
            by = _covering(target, protocol, port, wide, prefixes, row)
            if by is not None:
                said = f"{target}:{port} is covered by row {by.row} already"
                yield Report(
                    Kind.OVERLAP, row.sheet, row.row, "host", said, "both are kept; remove one if that was not meant"
                )
            name = known.by_way.get((protocol, target, port))
            if name is not None and name != row.service:
                said = f"{target}:{port} is an endpoint of service {name} already"
                yield Report(
                    Kind.OVERLAP, row.sheet, row.row, "host", said, f"name the service {name} instead of the host"
                )


def _network(target: str) -> IPv4Network | IPv6Network:
    return ip_network(target)


def _covering(
    target: str,
    protocol: str,
    port: int,
    wide: Mapping[_Endpoint, Wanted],
    prefixes: list[tuple[str, IPv4Network | IPv6Network, int, Wanted]],
    own: Wanted,
) -> Wanted | None:
    if "/" in target:
        network = _network(target)
        for other, covering, at, row in prefixes:
            alike = row is not own and (other, at) == (protocol, port) and covering.version == network.version
            if alike and covering != network and network.subnet_of(covering):  # type: ignore[arg-type]  # of one version
                return row
        return None
    name = target.removeprefix("*.")
    labels = name.split(".")
    for n in range(0 if target.startswith("*.") else 1, len(labels)):
        suffix = "*." + ".".join(labels[n:])
        found = wide.get((protocol, suffix, port)) if suffix != target else None
        if found is not None and found is not own:
            return found
    return None


def _one_service(
    result: Imported, known: _Known, taken: set[str], name: str, terms: Any, rows: list[Wanted], usual: Usual
) -> None:
    """The service of these rows, unless the register has it, and its grant."""
    ways = dict.fromkeys(way for row in rows for way in row.endpoints)
    if not ways:
        service = rows[0].service
    elif (same := known.whole.get(frozenset(ways))) is not None:
        service = same
    else:
        if len(ways) > MAX_ENDPOINTS:
            for row in rows:
                said = f"service {name} has {len(ways)} endpoints; at most {MAX_ENDPOINTS} are allowed"
                result.reports.append(Report(Kind.BAD, row.sheet, row.row, "", said, "divide it by another name"))
            result.good -= len(rows)
            return
        service = _identifier(name, ways, taken)
        taken.add(service)
        shown = next((row.name for row in rows if row.name), "") or name
        fields: Fields = {"id": service, "name": shown, "endpoints": _endpoints(ways)}
        result.services.append(fields)
    fields = {field: _plain(value) for field, value in terms}
    result.grants.append({"subject": f"tenant:{usual.tenant}", "object": f"service:{service}", **fields})


def _plain(value: Any) -> Any:
    """Fields out of hashable pairs."""
    if isinstance(value, tuple) and value and isinstance(value[0], tuple):
        return {name: _plain(inner) for name, inner in value}
    return list(value) if isinstance(value, tuple) else value


def _endpoints(ways: Iterable[_Endpoint]) -> list[Fields]:
    ports: dict[tuple[str, str], list[int]] = defaultdict(list)
    for protocol, target, port in ways:
        ports[protocol, target].append(port)
    return [{"target": target, "ports": found, "protocol": protocol} for (protocol, target), found in ports.items()]


def _identifier(name: str, ways: Mapping[_Endpoint, None], taken: set[str]) -> str:
    """An id from the name, or the first host where that has no letters of ids; with a digest where it is taken."""
    first = next(iter(ways))[1].replace("*.", "any-")
    base = next((slug for slug in (_slug(name.replace("*.", "any-")), _slug(first)) if slug), "service")
    if base not in taken:
        return base
    for turn in range(1, 1 << 30):
        mark = hashlib.sha256(repr((sorted(ways), turn)).encode()).hexdigest()[:6]
        made = f"{base[:56]}-{mark}"
        if made not in taken:
            return made
    raise Unreadable("no id is left", "divide the file")


def _slug(text: str) -> str:
    plain = normal(text).casefold()
    letters = re.sub(r"[^a-z0-9]+", "-", plain).strip("-")
    # A name mostly of other letters ("新闻 2") would be told by its digits alone.
    return letters[:63].rstrip("-") if len(letters) >= 2 and (plain.isascii() or len(letters) > len(plain) // 2) else ""

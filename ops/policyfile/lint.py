"""What can be found wrong with policy files without asking anybody, and what looks like a mistake."""

from collections import defaultdict
from collections.abc import Iterator
from ipaddress import ip_network

from ops.policyfile.found import Finding
from ops.policyfile.read import Files, Where
from ops.yamlnode import line_of
from whitelist.offline import faults
from whitelist.store import KINDS


def lint(files: Files, now: int) -> list[Finding]:
    """Errors, then warnings, each with its file and line. now: Unix seconds, for what has ended."""
    errors = [files.places[f.collection][f.index].finding(f.name, f.message) for f in faults(files.proposal, KINDS)]
    if files.proposal.scope.zone:
        errors += _dangling(files)
    warnings = [
        *_double_grants(files),
        *_double_endpoints(files),
        *_denied(files),
        *_ended(files, now),
        *_untested(files),
    ]
    return sorted(errors) + sorted(set(warnings))


def _warning(where: Where, wrong: str, remedy: str) -> Finding:
    return Finding(where.file, line_of(where.node), wrong, remedy, warning=True)


def _dangling(files: Files) -> Iterator[Finding]:
    """A file that is complete about the zone names nothing that it does not have; lines stand in the register alone."""
    proposal = files.proposal
    known = {
        f"{kind}:{entry['id']}"
        for kind, entries in (
            ("tenant", proposal.tenants), ("group", proposal.groups), ("service", proposal.services),
            ("category", proposal.categories),
        )
        for entry in entries
    }  # fmt: skip
    for entry, where in zip(proposal.grants, files.places["grants"], strict=True):
        for name in ("subject", "object"):
            if entry[name] not in known and not entry[name].startswith(("tenant:", "group:")):
                yield where.finding(
                    name, f"names {entry[name]}, which the files do not have; add it, or correct the name"
                )


def _double_grants(files: Files) -> Iterator[Finding]:
    """Two grants of the same thing to the same firm, at the same time."""
    seen: dict[tuple[str, str], list[tuple[int, int, Where]]] = defaultdict(list)
    for entry, where in zip(files.proposal.grants, files.places["grants"], strict=True):
        window = entry["window"]
        if "weekdays" in window or "start_minute" in window:
            continue  # divided by hours on purpose
        start, end = window.get("valid_from", 0), window.get("valid_until", 0)
        key = (entry["subject"], entry["object"])
        for begun, over, first in seen[key]:
            if start < over and begun < end:
                what = f"{key[0]} has {key[1]} already by the grant in {first.file}:{line_of(first.node)}"
                yield _warning(where, what, "remove one, or let the second begin when the first ends")
                break
        seen[key].append((start, end, where))


def _double_endpoints(files: Files) -> Iterator[Finding]:
    """An endpoint that two services have: which of them a flow is for is then a matter of ids."""
    seen: dict[tuple[str, str, int], tuple[str, Where]] = {}
    for entry, where in zip(files.proposal.services, files.places["services"], strict=True):
        for way in entry["endpoints"]:
            for port in way["ports"]:
                key = (way["protocol"], way["target"], port)
                other, first = seen.setdefault(key, (entry["id"], where))
                if other != entry["id"]:
                    place = f"{first.file}:{line_of(first.node)}"
                    what = f"service {entry['id']} and service {other} ({place}) share {way['target']}:{port}"
                    yield _warning(where, what, "keep it in one of them, and grant that one")


def _denied(files: Files) -> Iterator[Finding]:
    """A service that a global deny in the same files closes."""
    for deny in files.proposal.denies:
        if deny.get("ports"):
            continue
        for entry, where in zip(files.proposal.services, files.places["services"], strict=True):
            closed = [way["target"] for way in entry["endpoints"] if _covers(deny["target"], way["target"])]
            if closed:
                what = f"{closed[0]} of service {entry['id']} is under the global deny of {deny['target']}"
                yield _warning(where, what, "deny beats allow: remove one of the two")


def _covers(deny: str, target: str) -> bool:
    if "/" in deny and "/" in target:
        one, other = ip_network(deny), ip_network(target)
        return one.version == other.version and other.subnet_of(one)  # type: ignore[arg-type]  # of one version
    if deny.startswith("*."):
        return target.endswith(deny[1:])
    return deny == target


def _ended(files: Files, now: int) -> Iterator[Finding]:
    for entry, where in zip(files.proposal.grants, files.places["grants"], strict=True):
        if entry["window"].get("valid_until", 0) <= now:
            yield where.finding("until", "has passed; give a later end, or remove the grant", warning=True)


def _untested(files: Files) -> Iterator[Finding]:
    if not files.proposal.tests and (files.proposal.grants or files.proposal.services):
        where = next(iter(files.places["grants"] + files.places["services"]))
        yield Finding(where.file, 1, "there are no tests", "add tests: what must pass, and what must not", warning=True)
    seen: dict[str, Where] = {}
    for test, where in zip(files.proposal.tests, files.places["tests"], strict=True):
        first = seen.setdefault(test.name, where)
        if first is not where:
            yield _warning(where, f"another test is named “{test.name}”", "name each by what it shows")

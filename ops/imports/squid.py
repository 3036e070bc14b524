"""Squid's rules as wishes: hosts of dstdomain and dst lists that an http_access rule allows.

Squid takes the first rule that fits; a whitelist has no order. So what is denied before it is allowed is told, and a
rule that hangs on anything but destinations and ports is left out, never read as more than it says.
"""

import shlex
from collections.abc import Iterator
from dataclasses import dataclass, field

from ops.imports import cells
from ops.imports.model import Kind, Report, Usual, Wanted

_TARGETS = ("dstdomain", "dst")
_IGNORED = {"safe_ports", "ssl_ports", "connect", "all", "localhost", "manager", "localnet", "to_localhost"}
MAX_LINES = 200_000


@dataclass(slots=True)
class _Acl:
    kind: str
    line: int
    values: list[tuple[int, str]] = field(default_factory=list)  # (line, value)


def read(name: str, text: str, usual: Usual) -> Iterator[Wanted | Report]:
    """The rules of a squid.conf, or of an included list of ACLs; remarks for all that is not carried over."""
    acls: dict[str, _Acl] = {}
    rules: list[tuple[int, str, list[str]]] = []
    for number, words in _lines(text):
        if not words:
            yield Report(Kind.BAD, name, number, "", "quotes are not closed", "close them")
        elif words[0] == "acl":
            yield from _acl(name, number, words, acls)
        elif words[0] == "http_access" and len(words) >= 2:
            rules.append((number, words[1], words[2:]))
    if not rules and acls:  # a file of lists alone
        said = "there is no http_access rule; all lists of destinations are taken as allowed"
        yield Report(Kind.NOTE, name, 1, "", said, "remove those that are not")
        rules = [(acl.line, "allow", [list_]) for list_, acl in acls.items() if acl.kind in _TARGETS]
    for number, action, names in rules:
        yield from _rule(name, number, action, names, acls, usual)


def _lines(text: str) -> Iterator[tuple[int, list[str]]]:
    joined, start = "", 0
    for number, line in enumerate(text.splitlines()[:MAX_LINES], 1):
        start = start or number
        joined += line
        if joined.endswith("\\"):
            joined = joined[:-1] + " "
            continue
        try:
            words = shlex.split(joined, comments=True)
        except ValueError:
            words = []
            yield start, words
        if words:
            yield start, words
        joined, start = "", 0


def _acl(name: str, number: int, words: list[str], acls: dict[str, _Acl]) -> Iterator[Report]:
    if len(words) < 3:
        yield Report(Kind.BAD, name, number, "acl", "an acl needs a name and a type", "complete it")
        return
    acl = acls.setdefault(words[1].lower(), _Acl(words[2], number))
    if acl.kind != words[2]:
        said = f"acl {words[1]} is of type {acl.kind} since line {acl.line}"
        yield Report(Kind.BAD, name, number, "acl", said, "give it a name of its own")
        return
    for value in words[3:]:
        if value.startswith("-"):
            continue  # -i, -n and such: options of the comparison
        if value.startswith(("/", "./")) and acl.kind == "dstdomain":
            said = f"the list stands in another file, {value}"
            yield Report(Kind.BAD, name, number, words[1], said, "put its lines here, or import that file as CSV")
        else:
            acl.values.append((number, value))


def _rule(
    name: str, number: int, action: str, names: list[str], acls: dict[str, _Acl], usual: Usual
) -> Iterator[Wanted | Report]:
    targets = [one for one in names if acls.get(one.lower(), _Acl("", 0)).kind in _TARGETS]
    if action == "deny":
        if targets:
            said = f"denies {', '.join(targets)}, which a whitelist does by not granting it"
            yield Report(Kind.NOTE, name, number, "http_access", said, "look whether a later rule allows part of it")
        return
    said_so = [one for one in names if one.lstrip("!").lower() not in _IGNORED and one not in targets]
    negated = [one for one in said_so if one.startswith("!")]
    unknown = [one for one in said_so if acls.get(one.lstrip("!").lower(), _Acl("", 0)).kind != "port"]
    if unknown or negated:
        kinds = []
        for one in unknown or negated:
            acl = acls.get(one.lstrip("!").lower())
            kinds.append(one if acl is None else f"{one} ({acl.kind})")
        yield Report(
            Kind.BAD, name, number, "http_access", f"hangs on {', '.join(kinds)}", "write it as grants of its own"
        )
        return
    if not targets:
        if names and not all(one.lower() in _IGNORED for one in names):
            yield Report(
                Kind.BAD,
                name,
                number,
                "http_access",
                "names no destinations",
                "a grant is for a service: name its hosts",
            )
        elif any(one.lower() in ("all", "localnet") for one in names):
            yield Report(Kind.BAD, name, number, "http_access", "allows everything", "nothing can: name the hosts")
        return
    if len(targets) > 1:
        yield Report(
            Kind.BAD, name, number, "http_access", "asks for a host in two lists at once", "make one list of both"
        )
        return
    ports, faults = _ports(names, acls)
    yield from (Report(Kind.BAD, name, number, "port", fault, "name the ports one by one") for fault in faults)
    if not faults:
        yield from _hosts(name, targets[0], acls[targets[0].lower()], ports, usual)


def _ports(names: list[str], acls: dict[str, _Acl]) -> tuple[tuple[int, ...], list[str]]:
    found: list[int] = []
    faults = []
    for one in names:
        acl = acls.get(one.lower())
        if acl is None or acl.kind != "port" or one.lower() in _IGNORED:
            continue
        for _, value in acl.values:
            try:
                found += cells.ports(value)
            except ValueError as error:
                faults.append(str(error))
    return tuple(dict.fromkeys(found)), faults


def _hosts(name: str, list_: str, acl: _Acl, ports: tuple[int, ...], usual: Usual) -> Iterator[Wanted | Report]:
    if not usual.lines or not usual.valid_until:
        yield Report(
            Kind.BAD, name, acl.line, "", "Squid's rules know neither lines nor terms", "give --line and --until"
        )
        return
    terms = (("lines", usual.lines), ("window", (("valid_from", usual.valid_from), ("valid_until", usual.valid_until))))
    for number, raw in acl.values:
        try:
            target, _, port, _ = cells.host(cells.normal(raw.lower()))
        except ValueError as error:
            said, _, remedy = str(error).partition("; ")
            yield Report(Kind.BAD, name, number, list_, f"{raw[:80]} {said}", remedy)
            continue
        chosen = (port,) if port else ports or (443,)
        # A leading dot is the name itself and all below it (squid.conf, acl dstdomain).
        both = [target, target.removeprefix("*.")] if raw.startswith(".") else [target]
        ways = tuple(("http" if p == 80 else "tls", t, p) for t in both for p in chosen)
        yield Wanted(name, number, ways, "", list_, terms)

"""Smokescreen's YAML ACL (version v1) as wishes: the domains that each of its services may reach."""

from collections.abc import Iterator

import yaml

from ops.imports import cells
from ops.imports.model import Kind, Report, Unreadable, Usual, Wanted
from ops.yamlnode import ProblemsError, compose, kind_of, line_of, refuse_tricks

_LISTS = ("allowed_domains", "allowed_domains_mitm")
_DEEPEST = 10
_LOADER = yaml.SafeLoader
MAX_BYTES = 8 << 20


def read(name: str, text: str, usual: Usual) -> Iterator[Wanted | Report]:
    """Every service's domains; remarks for what is not carried over. Raises Unreadable."""
    try:
        if len(text) <= MAX_BYTES:
            refuse_tricks(text, _DEEPEST, _LOADER)
        root = compose(text, most=MAX_BYTES, what="an ACL of at most 8 MiB", keys="a mapping with version and services")
    except ProblemsError as error:
        found = error.found[0]
        raise Unreadable(f"line {found.line}: {found.wrong}", f"expected {found.expected}") from None
    sections = dict(_pairs(root))
    if not isinstance(sections.get("services"), yaml.SequenceNode):
        raise Unreadable(
            "is no ACL of Smokescreen: there is no list of services", "name the file with version and services"
        )
    for service in sections["services"].value:
        yield from _service(name, service, usual, "")
    if "default" in sections:
        yield from _service(name, sections["default"], usual, "default")
    for key, remedy in (
        ("global_deny_list", "a global deny is the zone's: feiyu deny add"),
        ("global_allow_list", "grant it to a group of firms"),
    ):
        if key in sections and getattr(sections[key], "value", None):
            yield Report(Kind.NOTE, name, line_of(sections[key]), key, "holds for everybody, not for one firm", remedy)


def _pairs(node: yaml.Node) -> Iterator[tuple[str, yaml.Node]]:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if isinstance(key, yaml.ScalarNode):
                yield key.value, value


def _service(name: str, node: yaml.Node, usual: Usual, called: str) -> Iterator[Wanted | Report]:
    fields = dict(_pairs(node))
    line = line_of(node)
    if not fields:
        yield Report(
            Kind.BAD, name, line, "services", f"{kind_of(node)} is no service", "give it a name and allowed_domains"
        )
        return
    title = getattr(fields.get("name"), "value", "") or called
    title = title if isinstance(title, str) else called
    action = getattr(fields.get("action"), "value", "enforce")
    if action == "open":
        yield Report(
            Kind.BAD,
            name,
            line,
            "action",
            f"{title or 'a service'} may reach everything",
            "nothing can: name its domains",
        )
        return
    if action == "report":
        said = f"{title or 'a service'} is only watched there; what it reached beside its domains is not known"
        yield Report(Kind.NOTE, name, line, "action", said, "its domains are taken")
    for key in _LISTS:
        listed = fields.get(key)
        if listed is None:
            continue
        if not isinstance(listed, yaml.SequenceNode):
            yield Report(Kind.BAD, name, line_of(listed), key, f"{kind_of(listed)} is not a list", "make it one")
            continue
        for child in listed.value:
            yield _domain(name, child, key, title[:200], usual)


def _domain(name: str, node: yaml.Node, key: str, title: str, usual: Usual) -> Wanted | Report:
    line = line_of(node)
    if not isinstance(node, yaml.ScalarNode):
        return Report(Kind.BAD, name, line, key, f"{kind_of(node)} is no domain", "write the name alone")
    if not usual.lines or not usual.valid_until:
        return Report(Kind.BAD, name, line, key, "Smokescreen knows neither lines nor terms", "give --line and --until")
    try:
        target, _, port, _ = cells.host(cells.normal(node.value.lower()))
    except ValueError as error:
        said, _, remedy = str(error).partition("; ")
        return Report(Kind.BAD, name, line, key, f"{node.value[:80]} {said}", remedy)
    terms = (("lines", usual.lines), ("window", (("valid_from", usual.valid_from), ("valid_until", usual.valid_until))))
    return Wanted(name, line, (("tls", target, port or 443),), "", cells.normal(title), terms)

"""From policy files to one proposal: all their entries together, each remembered with its file and line."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from ops.policyfile import schema
from ops.policyfile.files import MAX_FILE, paths_of, text_of
from ops.policyfile.found import FilesError, Finding, located
from ops.yamlnode import Check, Problem, ProblemsError, compose, kind_of, line_of, mapping, refuse_tricks, text, wrong
from whitelist.proposal import COLLECTIONS, Proposal, Scope, Test

_DEEPEST = 8  # levels of lists and mappings; entries need five
_HEAD = "feiyu: policy/1"
_INDEX = re.compile(r"\[([0-9]+)\]")
_WRITTEN = {  # fields of the API, as files write them
    "subject": ("tenant", "group"), "object": ("service", "category"), "valid_from": ("from",),
    "valid_until": ("until",), "start_minute": ("hours",), "end_minute": ("hours",),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Where:
    """Where an entry stands."""

    file: str
    node: yaml.Node

    def finding(self, name: str, message: str, *, warning: bool = False) -> Finding:
        """A fault of one field, in the line where that is written (else that of the entry)."""
        node, shown = self.node, name
        for part in name.replace("window.", "").replace("[", ".[").split("."):
            below = _below(node, part)
            if below is None:
                break
            node = below
        what, _, remedy = message.partition("; ")
        return Finding(self.file, line_of(node), f"{shown} {what}".strip(), remedy, warning)


@dataclass(frozen=True, slots=True)
class Files:
    """What was read: the proposal, and where each of its entries stands (by collection, in the same order)."""

    proposal: Proposal
    places: dict[str, list[Where]] = field(default_factory=dict)


def _below(node: yaml.Node, part: str) -> yaml.Node | None:
    if isinstance(node, yaml.MappingNode):
        names = (part, *_WRITTEN.get(part, ()))
        return next((value for key, value in node.value if key.value in names), None)
    index = _INDEX.fullmatch(part)
    if isinstance(node, yaml.SequenceNode) and index and int(index[1]) < len(node.value):
        return node.value[int(index[1])]  # type: ignore[no-any-return]  # yaml's nodes are untyped
    return None


def read_files(given: Sequence[Path], overrides: dict[str, Any] | None = None) -> Files:
    """All the files as one proposal; overrides stand before what the files have as defaults. Raises FilesError with
    everything that is wrong."""
    return read_texts([(str(path), text_of(path)) for path in paths_of(given)], overrides)


def read_texts(texts: Iterable[tuple[str, str]], overrides: dict[str, Any] | None = None) -> Files:
    """The same of (name, text)."""
    wrong_: list[Finding] = []
    entries: dict[str, list[dict[str, Any]]] = {name: [] for name in COLLECTIONS}
    places: dict[str, list[Where]] = {name: [] for name in (*COLLECTIONS, "tests")}
    tests: list[Test] = []
    zone = False
    tenants: list[str] = []
    for name, content in texts:
        try:
            root = root_of(content)
            read = _File(name, overrides or {}).read(root)
        except ProblemsError as problems:
            wrong_ += located(name, problems)
            continue
        for collection, found in read.entries.items():
            entries[collection] += [value for value, _ in found]
            places[collection] += [where for _, where in found]
        tests += [test for test, _ in read.tests]
        places["tests"] += [where for _, where in read.tests]
        zone = zone or read.scope.zone
        tenants += read.scope.tenants
    wrong_ += twice(entries, places)
    if wrong_:
        raise FilesError(wrong_)
    scope = Scope(zone=zone, tenants=tuple(dict.fromkeys(tenants)))
    whole = {name: tuple(found) for name, found in entries.items()}
    return Files(Proposal(scope=scope, tests=tuple(tests), **whole), places)


def twice(entries: dict[str, list[dict[str, Any]]], places: dict[str, list[Where]]) -> list[Finding]:
    """Entries whose id stands already elsewhere, in the same file or another."""
    found = []
    for collection, items in entries.items():
        first: dict[str, Where] = {}
        for item, where in zip(items, places[collection], strict=True):
            key = item.get("id", "")
            if key and key in first:
                at = first[key]
                what = f"{collection[:-1]} {key} stands already in {at.file}:{line_of(at.node)}"
                found.append(Finding(where.file, line_of(where.node), what, "remove one of the two"))
            first.setdefault(key, where)
    return found


def root_of(content: str) -> yaml.Node:
    """The document's root. Raises ProblemsError for what is no YAML, too large, or not written out."""
    loader = yaml.CSafeLoader if yaml.__with_libyaml__ else yaml.SafeLoader
    if len(content) <= MAX_FILE:
        refuse_tricks(content, _DEEPEST, loader)
    return compose(
        content,
        most=MAX_FILE,
        what="policy files of at most 8 MiB: divide it, for example by tenant",
        levels="entries as feiyu policy export writes them",
        keys=f"a mapping that begins with “{_HEAD}”",
        loader=loader,
    )


class _Read:
    def __init__(self) -> None:
        self.entries: dict[str, list[tuple[dict[str, Any], Where]]] = {}
        self.tests: list[tuple[Test, Where]] = []
        self.scope = Scope()


class _File:
    """One file, section by section; every problem is kept until the end."""

    def __init__(self, name: str, overrides: dict[str, Any]) -> None:
        self._name = name
        self._overrides = overrides
        self._defaults: dict[str, Any] = {}

    def read(self, root: yaml.Node) -> _Read:
        """The file's entries. Raises ProblemsError."""
        result = _Read()
        head = text(_HEAD, lambda value: value == schema.FORMAT)
        checks: dict[str, Check[Any]] = {
            "feiyu": head,
            "name": schema.words,
            "version": schema.words,
            "scope": schema.scope,
            "defaults": schema.DEFAULTS,
            "tests": lambda node: result.tests.extend(self._each(node, self._test)),
        }
        for collection in COLLECTIONS:
            checks[collection] = self._section(collection, result)
        if isinstance(root, yaml.MappingNode):  # defaults hold wherever in the file they stand
            self._read_defaults(root)
        scope = mapping(checks, ["feiyu"])(root).get("scope", {})
        assert isinstance(scope, dict)
        result.scope = Scope(zone=scope.get("zone", False), tenants=tuple(scope.get("tenants", ())))
        return result

    def _read_defaults(self, root: yaml.MappingNode) -> None:
        for key, value in root.value:
            if isinstance(key, yaml.ScalarNode) and key.value == "defaults":
                try:
                    self._defaults = schema.DEFAULTS(value)
                except ProblemsError:
                    self._defaults = {}  # told where the section itself is read
        self._defaults |= self._overrides

    def _section(self, collection: str, result: _Read) -> Check[None]:
        def check(node: yaml.Node) -> None:
            read = self._grant if collection == "grants" else schema.ENTRIES[collection]
            result.entries[collection] = self._each(node, read)

        return check

    def _grant(self, node: yaml.Node) -> dict[str, Any]:
        return schema.grant(node, self._defaults)

    def _test(self, node: yaml.Node) -> Test:
        fields = schema.TEST(node)
        denied = fields["verdict"] == "deny"
        if denied and "reason" not in fields:
            raise wrong(node, "reason is missing: which denial is expected", "a line “reason: not-whitelisted”")
        if not denied and "reason" in fields:
            raise wrong(node, "a permit has no reason", "verdict: deny, or no reason")
        return Test(**fields, where=f"{self._name}:{line_of(node)}")  # type: ignore[arg-type]  # checked one by one

    def _each[T](self, node: yaml.Node, check: Check[T]) -> list[tuple[T, Where]]:
        """Like yamlnode.listing, with each entry's place."""
        if isinstance(node, yaml.ScalarNode) and node.tag.endswith(":null"):
            return []
        if not isinstance(node, yaml.SequenceNode):
            raise wrong(node, f"{kind_of(node)} is not a list", "a list of entries, each beginning with “- ”")
        found: list[Problem] = []
        values: list[tuple[T, Where]] = []
        for child in node.value:
            try:
                values.append((check(child), Where(self._name, child)))
            except ProblemsError as problems:
                found += problems.found
        if found:
            raise ProblemsError(*found)
        return values

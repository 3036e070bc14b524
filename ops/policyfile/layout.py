"""feiyu policy fmt: a file in its one layout, with its comments. What it means is compared before and after."""

import re
from dataclasses import dataclass, field

import msgspec
import yaml

from ops.policyfile import schema
from ops.policyfile.found import FilesError, Finding
from ops.policyfile.read import Files, Where, read_texts, root_of
from ops.policyfile.write import entry_line, flow, moment, test_line
from ops.yamlnode import line_of
from whitelist.proposal import COLLECTIONS

_SECTIONS = ("feiyu", "name", "version", "scope", "defaults", *COLLECTIONS, "tests")
_HASH = re.compile(r"(?:^|(?<=[ \t]))#", re.MULTILINE)


@dataclass(slots=True)
class _Unit:
    """A part of the file that is written as one: lines first … last (from 1), its new text, and its comments."""

    first: int
    last: int
    text: str
    above: list[str] = field(default_factory=list)
    beside: str = ""

    def lines(self, indent: str) -> list[str]:
        rows = self.text.split("\n")
        if self.beside and len(rows) > 1:
            self.above.append(self.beside)
        elif self.beside:
            rows[0] += f"  {self.beside}"
        return [*(indent + comment for comment in self.above), *rows]


def formatted(name: str, content: str) -> str:
    """The text in its layout. Raises FilesError for a file that cannot be read."""
    files = read_texts([(name, content)])
    root = root_of(content)
    assert isinstance(root, yaml.MappingNode)
    units, lists = _units(files, root)
    tail = _place_comments(content, [*units.values(), *(unit for found in lists.values() for unit in found)])
    parts: list[str] = []
    for section in _SECTIONS:
        if section not in units or (section in lists and not lists[section] and not units[section].above):
            continue
        if section in lists and parts:
            parts.append("")
        parts += units[section].lines("")
        for unit in lists.get(section, []):
            parts += unit.lines("  ")
    result = "\n".join([*parts, *tail]) + "\n"
    if _meaning(read_texts([(name, result)])) != _meaning(files) or len(_comments(result)) != len(_comments(content)):
        raise FilesError(
            [Finding(name, 1, "cannot be laid out without changing it", "report this file; it was not touched")]
        )
    return result


def _units(files: Files, root: yaml.MappingNode) -> tuple[dict[str, _Unit], dict[str, list[_Unit]]]:
    """The sections' heads, and the entries below them."""
    defaults: dict[str, object] = {}
    heads: dict[str, _Unit] = {}
    for key, value in root.value:
        section = key.value
        if section == "defaults":
            defaults = {k: _default(k, v) for k, v in schema.DEFAULTS(value).items()}
            text = f"defaults: {flow(defaults)}"
        elif section == "scope":
            scope = schema.scope(value)
            text = f"scope: {'zone' if scope.get('zone') else flow(scope)}"
        elif section in ("feiyu", "name", "version"):
            text = f"{section}: {value.value if section == 'feiyu' else flow(value.value)}"
        else:
            text = f"{section}:"
        last = line_of(key) if text.endswith(":") else _end(value)
        heads[section] = _Unit(line_of(key), last, text)
    lists = {
        collection: [
            _unit(where, entry_line(collection, entry, defaults))
            for entry, where in zip(getattr(files.proposal, collection), files.places[collection], strict=True)
        ]
        for collection in COLLECTIONS
        if collection in heads
    }
    if "tests" in heads:
        pairs = zip(files.proposal.tests, files.places["tests"], strict=True)
        lists["tests"] = [_unit(where, test_line(test)) for test, where in pairs]
    return heads, lists


def _default(name: str, value: object) -> object:
    return moment(value, end=name == "until") if name in ("from", "until") and isinstance(value, int) else value


def _unit(where: Where, text: str) -> _Unit:
    return _Unit(line_of(where.node), _end(where.node), text)


def _end(node: yaml.Node) -> int:
    """The node's last line; the end mark of a block stands where the next thing begins."""
    if not isinstance(node, yaml.CollectionNode) or node.flow_style or not node.value:
        return int(node.end_mark.line) + 1
    last = node.value[-1]
    return _end(last[1] if isinstance(last, tuple) else last)


def _comments(content: str) -> list[tuple[int, bool, str]]:
    """(line, whether it stands alone on it, text) of each comment."""
    scalars = [
        (token.start_mark.index, token.end_mark.index)
        for token in yaml.scan(content, Loader=yaml.SafeLoader)
        if isinstance(token, yaml.ScalarToken)
    ]
    found = []
    at = over = 0
    for match in _HASH.finditer(content):
        start = match.start()
        while at < len(scalars) and scalars[at][1] <= start:
            at += 1
        if start < over or (at < len(scalars) and scalars[at][0] <= start):
            continue  # inside a comment, or a text
        over = content.find("\n", start)
        over = len(content) if over < 0 else over
        alone = not content[content.rfind("\n", 0, start) + 1 : start].strip()
        found.append((content.count("\n", 0, start) + 1, alone, content[start:over].rstrip()))
    return found


def _place_comments(content: str, units: list[_Unit]) -> list[str]:
    """Gives each comment to the part that it stands in, beside or above; those behind everything are returned."""
    units = sorted(units, key=lambda unit: (unit.last, unit.first))
    tail = []
    for line, alone, text in _comments(content):
        unit = next((unit for unit in units if unit.last >= line), None)
        if unit is None:
            tail.append(text)
        elif not alone and unit.last == line and not unit.beside:
            unit.beside = text
        else:
            unit.above.append(text)
    return tail


def _meaning(files: Files) -> object:
    tests = tuple(msgspec.structs.replace(test, where="") for test in files.proposal.tests)
    return msgspec.structs.replace(files.proposal, tests=tests)

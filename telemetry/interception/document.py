"""Files of rules as YAML documents whose keys know their lines, bounded in size, depth and repetition."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from telemetry.interception.networks import FILE
from telemetry.interception.problem import Problem

MAX_BYTES = 1 << 20
MAX_NODES = 100_000  # with aliases written out, so that a few of them cannot stand for millions
MAX_FILES = 20_000


@dataclass(slots=True)
class Document:
    """One document of a file. lines: of each key by its path, list items by their number."""

    file: str
    line: int
    body: dict[str, Any]
    lines: dict[tuple[str, ...], int] = field(default_factory=dict)

    def line_of(self, *path: str) -> int:
        """The line of a key, or of the nearest thing around it."""
        while path:
            if line := self.lines.get(path):
                return line
            path = path[:-1]
        return self.line

    @property
    def title(self) -> str:
        """For messages."""
        return str(self.body.get("title", ""))


class _Refused(Exception):  # noqa: N818 - of this module only
    def __init__(self, line: int, what: str) -> None:
        super().__init__(what)
        self.line, self.what = line, what


def files_below(path: Path) -> list[Path]:
    """The files that a path names: itself, or all *.yml and *.yaml and networks.csv below, in order. Raises OSError."""
    if not path.is_dir():
        return [path]
    found = [f for f in path.rglob("*") if (f.suffix in (".yml", ".yaml") or f.name == FILE) and f.is_file()]
    if len(found) > MAX_FILES:
        raise OSError(f"{path}: more than {MAX_FILES} rule files")
    return sorted(found)


def read(path: Path) -> tuple[list[Document], list[Problem]]:
    """The documents of one file, or why there are none. Raises OSError."""
    name = str(path)
    with path.open("rb") as file:
        data = file.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        return [], [Problem(name, 1, "", "the file is larger than 1 MiB", "split it into several files")]
    try:
        return parse(data.decode("utf-8"), name), []
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        return [], [Problem(name, line, "", "the file is not UTF-8", "save it as UTF-8")]
    except _Refused as refused:
        return [], [Problem(name, refused.line, "", refused.what, "correct the YAML")]


def parse(text: str, name: str) -> list[Document]:
    """The documents of a text."""
    try:
        roots = [node for node in yaml.compose_all(text, Loader=yaml.CSafeLoader) if node is not None]
        return [_document(root, name) for root in roots if root.tag != "tag:yaml.org,2002:null"]
    except RecursionError:
        raise _Refused(1, "the file is nested too deeply") from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise _Refused(mark.line + 1 if mark else 1, f"not YAML: {error.problem or error.context}") from None
    except yaml.YAMLError as error:
        raise _Refused(1, f"not YAML: {str(error).splitlines()[0]}") from None


def _document(root: yaml.Node, name: str) -> Document:
    line = root.start_mark.line + 1
    if not isinstance(root, yaml.MappingNode):
        raise _Refused(line, "a document is a mapping (title:, logsource:, detection: …)")
    lines: dict[tuple[str, ...], int] = {}
    _walk(root, (), lines, [0])
    loader = yaml.CSafeLoader("")
    try:
        body = loader.construct_document(root)
    except ValueError as error:  # a date that is none
        raise _Refused(line, f"not YAML: {error}") from None
    finally:
        loader.dispose()
    return Document(name, line, body, lines)


def _walk(node: yaml.Node, path: tuple[str, ...], lines: dict[tuple[str, ...], int], count: list[int]) -> None:
    """Notes the lines of all keys; the same key twice would hide one of them."""
    count[0] += 1
    line = node.start_mark.line + 1
    if count[0] > MAX_NODES:
        raise _Refused(line, f"the document has more than {MAX_NODES} nodes, aliases counted as often as they are used")
    lines.setdefault(path, line)
    if isinstance(node, yaml.SequenceNode):
        for number, item in enumerate(node.value):
            _walk(item, (*path, str(number)), lines, count)
    if isinstance(node, yaml.MappingNode):
        seen = set()
        for key, value in node.value:
            at = key.start_mark.line + 1
            if not isinstance(key, yaml.ScalarNode):
                raise _Refused(at, "a key that is no text")
            if key.value in seen:
                raise _Refused(at, f"the key {key.value!r:.80} stands there twice")
            seen.add(key.value)
            lines.setdefault((*path, key.value), at)
            _walk(value, (*path, key.value), lines, count)

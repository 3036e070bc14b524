"""Reading YAML so that every problem has its line: small checks over PyYAML's nodes, all problems collected at once."""

import difflib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import msgspec
import yaml

MAX_BYTES = 1 << 20

type Check[T] = Callable[[yaml.Node], T]


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong: line from 1, what is wrong, what was expected."""

    line: int
    wrong: str
    expected: str


class ProblemsError(Exception):
    """All that is wrong below one node."""

    def __init__(self, *found: Problem) -> None:
        super().__init__(*found)
        self.found = list(found)


def line_of(node: yaml.Node) -> int:
    """The node's line, from 1."""
    return int(node.start_mark.line) + 1


def wrong(node: yaml.Node, what: str, expected: str) -> ProblemsError:
    """The exception for one problem at this node."""
    return ProblemsError(Problem(line_of(node), what, expected))


def compose(
    text: str,
    *,
    most: int = MAX_BYTES,
    what: str = "a node configuration",
    levels: str = "at most three levels",
    keys: str = "a mapping with node, listeners, …",
    loader: type[yaml.SafeLoader] | type[yaml.CSafeLoader] = yaml.SafeLoader,
) -> yaml.Node:
    """The document's root node. Raises ProblemsError for no YAML, too much, too deep, none, or several documents.
    most: bytes; the rest are words for its messages."""
    if len(text.encode("utf-8", "replace")) > most:
        raise ProblemsError(Problem(1, f"the file is larger than {most >> 20} MiB", what))
    try:
        root = yaml.compose(text, Loader=loader)
    except RecursionError:
        raise ProblemsError(Problem(1, "the file is nested too deeply", levels)) from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else 1
        raise ProblemsError(Problem(line, f"not YAML: {error.problem or error.context}", "valid YAML")) from None
    except yaml.YAMLError as error:
        raise ProblemsError(Problem(1, f"not YAML: {str(error).splitlines()[0]}", "valid YAML in UTF-8")) from None
    if root is None:
        raise ProblemsError(Problem(1, "the file is empty", keys))
    return root


def refuse_tricks(text: str, deepest: int, loader: type[yaml.SafeLoader] | type[yaml.CSafeLoader]) -> None:
    """Raises ProblemsError where a part of the document stands for another (&anchor, *alias, <<): what is reviewed must
    stand where it is meant, and aliases of aliases are how a small file becomes a huge one; and where it is nested
    deeper than that many levels, which libyaml's composer answers by overrunning the stack. Events are not nested, so
    this is safe with any text; what is no YAML at all is left to compose()."""
    depth = 0
    try:
        for event in yaml.parse(text, Loader=loader):
            if isinstance(event, yaml.CollectionStartEvent):
                depth += 1
                if depth > deepest:
                    raise ProblemsError(
                        Problem(_line(event), "the file is nested too deeply", f"at most {deepest} levels")
                    )
            elif isinstance(event, yaml.CollectionEndEvent):
                depth -= 1
            elif isinstance(event, yaml.AliasEvent):
                raise ProblemsError(
                    Problem(_line(event), f"*{event.anchor} is a YAML alias", "the text itself, written out")
                )
    except yaml.YAMLError:
        return


def _line(event: yaml.Event) -> int:
    return event.start_mark.line + 1 if event.start_mark else 1


def kind_of(node: yaml.Node) -> str:
    """What a node is, in words for a message."""
    if isinstance(node, yaml.MappingNode):
        return "a mapping"
    if isinstance(node, yaml.SequenceNode):
        return "a list"
    names = {"int": "a number", "float": "a number", "bool": "a yes/no value", "null": "nothing", "timestamp": "a date"}
    name = names.get(node.tag.rpartition(":")[2], "text")
    return name if name == "nothing" else f"{name} ({_short(node.value)})"


def _short(text: str) -> str:
    return repr(text if len(text) <= 60 else text[:57] + "…")


def text(expected: str, test: Callable[[str], bool] = bool) -> Check[str]:
    """A string that passes the test."""

    def check(node: yaml.Node) -> str:
        if not isinstance(node, yaml.ScalarNode) or not node.tag.endswith(":str"):
            raise wrong(node, f"{kind_of(node)} is not text", expected)
        value: str = node.value
        if not test(value):
            raise wrong(node, f"{_short(value)} is not valid here", expected)
        return value

    return check


def parsed[T](expected: str, parse: Callable[[str], T]) -> Check[T]:
    """A string that parse turns into a value; its ValueError's words are the problem."""

    def check(node: yaml.Node) -> T:
        value = text(expected, lambda _: True)(node)
        try:
            return parse(value)
        except ValueError as error:
            raise wrong(node, f"{_short(value)}: {error}", expected) from None

    return check


def number(low: float, high: float, unit: str = "") -> Check[float]:
    """A whole or decimal number within [low, high]."""
    expected = f"a number from {low:.12g} to {high:.12g}{' ' + unit if unit else ''}"

    def check(node: yaml.Node) -> float:
        value = _numeric(node, ("int", "float"), expected)
        if not low <= value <= high:
            raise wrong(node, f"{node.value} is out of range", expected)
        return value

    return check


def integer(low: int, high: int, unit: str = "") -> Check[int]:
    """A whole number within [low, high]; hexadecimal is read too."""
    expected = f"a whole number from {low} to {high}{' ' + unit if unit else ''}"

    def check(node: yaml.Node) -> int:
        value = _numeric(node, ("int",), expected)
        if not low <= value <= high:
            raise wrong(node, f"{node.value} is out of range", expected)
        return int(value)

    return check


def _numeric(node: yaml.Node, tags: tuple[str, ...], expected: str) -> float:
    tag = node.tag.rpartition(":")[2] if isinstance(node, yaml.ScalarNode) else ""
    # base 60 and octal of YAML 1.1 surprise: 1:30 would be 90, 010 would be 8
    plain = ":" not in node.value and node.value.lstrip("+-")[:2] not in _OCTAL
    if tag not in tags:
        raise wrong(node, f"{kind_of(node)} is not a {'whole ' if tags == ('int',) else ''}number", expected)
    if not plain:
        raise wrong(node, f"{node.value!r} reads as base 60 or 8 in YAML", expected)
    try:
        value = yaml.SafeLoader("").construct_object(node)
    except ValueError as error:
        raise wrong(node, f"{node.value!r}: {error}", expected) from None
    return float(value) if tag == "float" else int(value)


_OCTAL = tuple(f"0{digit}" for digit in "01234567")


def listing[T](item: Check[T], what: str, *, unique: tuple[str, ...] = (), least: int = 0) -> Check[tuple[T, ...]]:
    """A list of items; no two may be equal in one of the attributes named in unique ("" is the item itself)."""

    def check(node: yaml.Node) -> tuple[T, ...]:
        if not isinstance(node, yaml.SequenceNode):
            raise wrong(node, f"{kind_of(node)} is not a list", f"a list of {what}")
        found: list[Problem] = []
        values: list[T] = []
        seen: dict[tuple[str, object], int] = {}
        for child in node.value:
            try:
                value = item(child)
            except ProblemsError as problems:
                found += problems.found
                continue
            values.append(value)
            for name in unique:
                key = getattr(value, name) if name else value
                if (name, key) in seen:
                    first = seen[name, key]
                    said = f"{name} {_short(str(key))}".strip()
                    found.append(Problem(line_of(child), f"{said} stands already in line {first}", "each one once"))
                seen.setdefault((name, key), line_of(child))
        if not found and len(node.value) < least:
            found.append(Problem(line_of(node), "the list is empty", f"at least {least} of {what}"))
        if found:
            raise ProblemsError(*found)
        return tuple(values)

    return check


def section[T: msgspec.Struct](cls: type[T], checks: Mapping[str, Check[object]]) -> Check[T]:
    """A mapping that becomes a struct; a key is required where the struct's field has no default."""
    required = [field.name for field in msgspec.structs.fields(cls) if field.required]
    check = mapping(checks, required)
    return lambda node: cls(**check(node))


def mapping(checks: Mapping[str, Check[object]], required: Sequence[str] = ()) -> Check[dict[str, object]]:
    """A mapping with these keys, each at most once; those required must be there."""

    def check(node: yaml.Node) -> dict[str, object]:
        if not isinstance(node, yaml.MappingNode):
            raise wrong(node, f"{kind_of(node)} is not a mapping", f"a mapping with {', '.join(required or checks)}")
        found: list[Problem] = []
        values: dict[str, object] = {}
        lines: dict[str, int] = {}
        for key_node, value_node in node.value:
            key = key_node.value if isinstance(key_node, yaml.ScalarNode) else kind_of(key_node)
            if key in lines:
                found.append(
                    Problem(line_of(key_node), f"{_short(key)} stands already in line {lines[key]}", "each key once")
                )
                continue
            lines[key] = line_of(key_node)
            if key not in checks:
                found.append(Problem(line_of(key_node), f"unknown key {_short(key)}", _hint(key, list(checks))))
                continue
            try:
                values[key] = checks[key](value_node)
            except ProblemsError as problems:
                found += [Problem(p.line, f"{key}: {p.wrong}", p.expected) for p in problems.found]
        found += [
            Problem(line_of(node), f"{name} is missing", f"a line “{name}: …”")
            for name in required
            if name not in lines
        ]
        if found:
            raise ProblemsError(*found)
        return values

    return check


def _hint(key: str, known: list[str]) -> str:
    close = difflib.get_close_matches(key, known, n=1)
    return f"{close[0]!r}, perhaps" if close else f"one of {', '.join(sorted(known))}"

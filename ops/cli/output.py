"""Data to stdout, in one of four forms. Nothing that came from elsewhere reaches a terminal unescaped."""

import csv
import io
import json
import os
import re
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TextIO

import yaml
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ops.cli.words import in_english, t

FORMATS = ("table", "json", "yaml", "csv")
Item = Mapping[str, Any]
GAP = 2
NARROWEST = 8

# C0, DEL, C1 drive terminals; bidirectional and invisible format characters make text look like other text; lone
# surrogates and line separators cannot be printed safely.
_UNSAFE = re.compile(
    "[\x00-\x1f\x7f-\x9f\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ud800-\udfff\U000e0000-\U000e007f]"
)
_STYLES = {
    "ACTIVE": "green", "EFFECTIVE": "green", "up": "green", "ok": "green", "permit": "green",
    "SUSPENDED": "yellow", "draining": "yellow", "warn": "yellow", "RENEWAL_DUE": "yellow", "drained": "yellow",
    "degraded": "yellow",
    "EXPIRED": "red", "REVOKED": "red", "down": "red", "fail": "red", "deny": "red", "retired": "dim", "revoked": "red",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Column:
    """A heading and how an item's cell is made; `wide` columns are cut short first when the terminal is narrow."""

    title: str
    cell: Callable[[Item], object]
    wide: bool = False
    right: bool = False


def field(title: str, key: str, *, wide: bool = False, right: bool = False) -> Column:
    """A column that shows one field as it is."""
    return Column(title, lambda item: item.get(key, ""), wide, right)


def escape(text: str) -> str:
    """The text with everything that could steer a terminal or mislead a reader written as \\x.. or \\u...."""

    def written(found: re.Match[str]) -> str:
        code = ord(found[0])
        return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"

    return _UNSAFE.sub(written, text)


def plain(value: object) -> str:
    """One value as a cell shows it."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return t("yes") if value else t("no")
    if isinstance(value, list | tuple | set | frozenset):
        return ", ".join(plain(part) for part in value)
    if isinstance(value, Mapping):
        return ", ".join(f"{plain(k)}={plain(v)}" for k, v in value.items())
    return escape(str(value))


def console(stream: TextIO, *, color: bool = True) -> Console:
    """A rich console: as wide as the terminal, or unlimited where the output is a pipe and COLUMNS is not set."""
    terminal = stream.isatty()
    width = None if terminal or os.environ.get("COLUMNS", "").isdigit() else 10_000
    no_color = not color or bool(os.environ.get("NO_COLOR")) or not terminal
    return Console(
        file=stream, width=width, no_color=no_color, highlight=False, markup=False, emoji=False, soft_wrap=False,
        color_system="auto" if not no_color else None, legacy_windows=False,
    )  # fmt: skip


def as_json(value: object, indent: int | None = 2) -> str:
    """JSON in UTF-8; characters unsafe on a terminal stay \\u escapes, so the value is the same."""
    text = json.dumps(value, ensure_ascii=False, indent=indent)
    return re.sub(_UNSAFE.pattern.replace("\x00-\x1f", ""), lambda m: json.dumps(m[0])[1:-1], text)


def as_yaml(value: object) -> str:
    """Block-style YAML; all non-ASCII is escaped if any character of it is unsafe on a terminal."""
    text: str = yaml.safe_dump(value, allow_unicode=True, sort_keys=False, width=10_000)
    if _UNSAFE.search(text.replace("\n", "")):
        text = yaml.safe_dump(value, allow_unicode=False, sort_keys=False, width=10_000)
    return text.rstrip("\n")


def as_csv(columns: Sequence[Column], items: Iterable[Item]) -> str:
    """A header line and one line for each item; lists inside a cell are divided by ", "."""
    target = io.StringIO()
    writer = csv.writer(target, lineterminator="\n")
    writer.writerow([column.title.lower().replace(" ", "_") for column in columns])
    with in_english():  # what a program reads does not depend on the reader's language
        writer.writerows([[plain(column.cell(item)) for column in columns] for item in items])
    return target.getvalue().rstrip("\n")


def styled(text: str) -> Text:
    """A cell's text, coloured if it is a word for a state."""
    styles = {**_STYLES, **{t(word): style for word, style in _STYLES.items()}}
    return Text(text, style=styles.get(text, ""))


def table(columns: Sequence[Column], items: Sequence[Item], width: int) -> Table:
    """Columns without rules between them, in the manner of kubectl, each item on one line of at most `width` cells."""
    result = Table(box=None, pad_edge=False, padding=(0, GAP, 0, 0), header_style="bold", show_edge=False)
    cells = [[plain(column.cell(item)) for column in columns] for item in items]
    for column, size in zip(columns, _fit(columns, cells, width), strict=True):
        justify: Literal["left", "right"] = "right" if column.right else "left"
        result.add_column(t(column.title), justify=justify, width=size, no_wrap=True, overflow="ellipsis")
    for row in cells:
        result.add_row(*[styled(cell) for cell in row])
    return result


def _fit(columns: Sequence[Column], cells: Sequence[Sequence[str]], width: int) -> list[int]:
    """The width of each column: what it needs, and where that is too much in all, wide columns give way first."""
    sizes = [
        max([cell_len(t(column.title)), *(cell_len(row[position]) for row in cells)])
        for position, column in enumerate(columns)
    ]
    wide = [position for position, column in enumerate(columns) if column.wide]
    for yielding in (wide, range(len(columns))):
        while sum(sizes) + GAP * (len(sizes) - 1) > width:
            widest = max(yielding, key=lambda position: sizes[position], default=0)
            if sizes[widest] <= NARROWEST:
                break
            sizes[widest] -= 1
    return sizes


def details(rows: Sequence[tuple[str, object]]) -> Table:
    """Names and values below each other; empty values are left out, lists take a line for each part."""
    result = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_header=False)
    result.add_column(style="bold", no_wrap=True)
    result.add_column(overflow="fold")
    for title, value in rows:
        if value in ("", None, (), []):
            continue
        parts = [plain(part) for part in value] if isinstance(value, list | tuple) else [plain(value)]
        for position, part in enumerate(parts):
            result.add_row(t(title) if position == 0 else "", styled(part))
    return result


def write(text: str, stream: TextIO | None = None) -> None:
    """Prints one text; what the terminal's encoding cannot carry becomes escapes."""
    out = stream or sys.stdout
    encoding = getattr(out, "encoding", None) or "utf-8"
    print(text.encode(encoding, "backslashreplace").decode(encoding), file=out)


def escape_lines(text: str) -> str:
    """The text escaped, its own line ends kept."""
    return "\n".join(escape(line) for line in text.split("\n"))


def print_table(columns: Sequence[Column], items: Sequence[Item]) -> None:
    """A table to stdout."""
    out = console(sys.stdout)
    _print(out, table(columns, items, out.width))


def print_details(rows: Sequence[tuple[str, object]]) -> None:
    """Names and values to stdout."""
    _print(console(sys.stdout), details(rows))


def _print(out: Console, shown: Table) -> None:
    """Without the blanks with which rich fills up its last column."""
    with out.capture() as captured:
        out.print(shown)
    lines = captured.get().split("\n")
    write("\n".join(line.rstrip() for line in lines).rstrip("\n"))


def print_text(*parts: Text | str) -> None:
    """One line to stdout, folded at the terminal's width."""
    line = Text(" ").join(part if isinstance(part, Text) else Text(escape(part)) for part in parts)
    console(sys.stdout).print(line)


def labelled(label: str, text: str, style: str) -> Text:
    """ "label: text" for a message; the text's own line ends are kept."""
    return Text.assemble((f"{escape(label)}: ", style), escape_lines(text))


def flush() -> None:
    """Gives what was written to the reader of a stream at once."""
    sys.stdout.flush()


def print_findings(items: Sequence[Item]) -> None:
    """One line for each thing that was looked at, and below a problem what to do about it."""
    grid = Table(box=None, pad_edge=False, padding=(0, GAP, 0, 0), show_header=False)
    grid.add_column(no_wrap=True)
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    for item in items:
        grid.add_row(styled(plain(item["level"])), Text(plain(item["name"])), Text(plain(item["seen"])))
        if item["remedy"] and item["level"] != "ok":
            grid.add_row("", "", Text("→ " + plain(item["remedy"]), style="bold"))
    _print(console(sys.stdout), grid)

"""A table's rows, one by one: its headings in Chinese or English, then each row as wishes or with what is wrong."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ops.imports import cells
from ops.imports.model import Fields, Kind, Report, Unreadable, Usual, Wanted

HEADINGS: dict[str, tuple[str, str, str]] = {  # field: heading zh, en, and what else is understood, divided by |
    "service": ("服务编号", "service", "服务|service id|服务代码"),
    "name": ("服务名称", "name", "名称|service name|应用|应用名称|系统|系统名称|application"),
    "host": (
        "域名", "host", "主机|主机名|网址|地址|网站|目标|目标地址|访问地址|ip地址|url|domain|fqdn|hostname|target|ip",
    ),
    "ports": ("端口", "ports", "port|端口号|目的端口"),
    "protocol": ("协议", "protocol", "scheme"),
    "purpose": ("用途", "purpose", "使用用途|访问用途|purpose of use"),
    "data_grade": ("数据级别", "data grade", "数据分级|级别|grade|data class|数据类别"),
    "lines": ("专线", "lines", "线路|line|国际专线"),
    "from": ("生效日期", "from", "起始日期|开始日期|start|valid from|start date"),
    "until": ("到期日期", "until", "截止日期|有效期|有效期至|结束日期|end|expiry|valid until|expires|end date"),
    "weekdays": ("星期", "weekdays", "days|工作日"),
    "hours": ("时段", "hours", "时间段|使用时段|time"),
    "country": ("目的国家", "country", "国家|国家地区|destination country|目的地国家"),
    "note": ("备注", "note", "说明|remarks|remark|notes|comment|序号|no|编号"),
}  # fmt: skip
_KNOWN = {
    re.sub(r"[\s_\-()/*.:]+", "", word): field
    for field, (zh, en, more) in HEADINGS.items()
    for word in (zh, en, *more.split("|"))
}
_READERS: dict[str, Callable[[str], Any]] = {
    "service": cells.identifier, "ports": cells.ports, "protocol": cells.protocol, "purpose": cells.purpose,
    "data_grade": cells.grade, "lines": cells.lines, "from": lambda text: cells.date(text, end=False),
    "until": lambda text: cells.date(text, end=True), "weekdays": cells.weekdays, "hours": cells.hours,
    "country": cells.country, "host": lambda text: [cells.host(part) for part in cells.parts(text)],
}  # fmt: skip
_HEAD_ROWS = 20  # a heading is looked for so far down


@dataclass(frozen=True, slots=True)
class Row:
    """A row as the file has it. fault: why it cannot be read, if it cannot."""

    sheet: str
    number: int
    cells: tuple[str, ...]
    fault: str = ""


def letter(index: int) -> str:
    """A column's letter: 0 is A."""
    name = ""
    index += 1
    while index:
        index, left = divmod(index - 1, 26)
        name = chr(65 + left) + name
    return name


def wanted(rows: Iterable[Row], usual: Usual) -> Iterator[Wanted | Report]:
    """Good rows and remarks, in order. Raises Unreadable for a table without headings."""
    sheet, columns, looked, found_any = "", None, 0, False
    for row in rows:
        if row.sheet != sheet:
            sheet, columns, looked = row.sheet, None, 0
        if row.fault:
            yield Report(Kind.BAD, row.sheet, row.number, "", row.fault, "correct the row, and import it again")
            continue
        if not any(cell.strip() for cell in row.cells):
            continue
        if columns is None:
            looked += 1
            columns = _columns(row)
            if columns is None and looked == _HEAD_ROWS:
                columns = {}
                yield Report(
                    Kind.NOTE, sheet, row.number, "", "the sheet has no column for hosts or services", "it is left out"
                )
            elif columns:
                found_any = True
                yield from _unknown_headings(row, columns)
            continue
        if columns:
            yield from _row(row, columns, usual)
    if not found_any:
        raise Unreadable(
            "there is no row of headings with a column for hosts or services",
            "name the columns as in feiyu policy import --template",
        )


def _columns(row: Row) -> dict[str, int] | None:
    """The fields by their columns, where the row is one of headings."""
    found: dict[str, int] = {}
    for index, cell in enumerate(row.cells):
        for word in map(_plain, (cell, *re.split(r"[/|\n(（]", cell), *cell.split())):
            if word in _KNOWN:
                found.setdefault(_KNOWN[word], index)
                break
    return found if {"host", "service"} & found.keys() else None


def _plain(cell: str) -> str:
    return re.sub(r"[\s_\-()/*.:]+", "", cells.normal(cell).casefold())


def _unknown_headings(row: Row, columns: Mapping[str, int]) -> Iterator[Report]:
    for index, cell in enumerate(row.cells):
        if cell.strip() and index not in columns.values():
            yield Report(
                Kind.NOTE,
                row.sheet,
                row.number,
                f"{letter(index)} {cells.normal(cell)[:40]}",
                "the column is not understood",
                "it is left out",
            )


def _row(row: Row, columns: Mapping[str, int], usual: Usual) -> Iterator[Wanted | Report]:
    """One row: everything that is wrong with it, or what it wants."""
    reports: list[Report] = []
    values: Fields = {}

    def say(kind: Kind, field: str, said: str, remedy: str = "") -> None:
        if kind is Kind.BAD and any(r.kind is Kind.BAD and r.column.endswith(f" {field}") for r in reports):
            return  # what is wrong with the field was told
        column = f"{letter(columns[field])} {field}" if field in columns else field
        reports.append(Report(kind, row.sheet, row.number, column, said, remedy))

    for field, index in columns.items():
        raw = row.cells[index] if index < len(row.cells) else ""
        if len(raw) > cells.MAX_CELL:
            say(Kind.BAD, field, f"has {len(raw)} characters", f"at most {cells.MAX_CELL} can be meant")
            continue
        text = cells.normal(raw)
        if not text or field == "note":
            continue
        if text != raw.strip():
            say(Kind.CHANGED, field, f"{raw.strip()[:80]!r} was read as {text[:80]!r}")
        try:
            values[field] = _READERS.get(field, str)(text)
            if values[field] in ([], ()):
                raise ValueError("names nothing; fill it in, or leave it empty")
        except ValueError as error:
            values.pop(field, None)
            said, _, remedy = str(error).partition("; ")
            say(Kind.BAD, field, said, remedy)
    for target, _, _, left in values.get("host", ()):
        if left:
            say(Kind.CHANGED, "host", f"{left[:80]!r} behind {target} was left out", "a grant over TLS is for the host")
    terms = _terms(values, usual, say)
    endpoints = _endpoints(values, say)
    yield from reports
    if not any(report.kind is Kind.BAD for report in reports):
        name = values.get("name", "")[:200]
        yield Wanted(row.sheet, row.number, endpoints, values.get("service", ""), name, terms)


def _terms(values: Fields, usual: Usual, say: Callable[..., None]) -> tuple[tuple[str, Any], ...]:
    """The grant's fields."""
    lines = values.get("lines", usual.lines)
    start, end = values.get("from", usual.valid_from), values.get("until", usual.valid_until)
    if not lines:
        say(Kind.BAD, "lines", "no line is named", "fill it in, or give --line")
    if not end:
        say(Kind.BAD, "until", "no end is named", "fill it in, or give --until")
    elif end <= start:
        say(Kind.BAD, "until", "ends before it begins", "the end must come after the beginning")
    window: list[tuple[str, Any]] = [("valid_from", start), ("valid_until", end)]
    if "weekdays" in values:
        window.append(("weekdays", values["weekdays"]))
    if "hours" in values:
        window += [("start_minute", values["hours"][0]), ("end_minute", values["hours"][1])]
    more = (("purpose", "purpose"), ("data_grade", "data_grade"), ("destination_country", "country"))
    found = [(api, values[field]) for api, field in more if field in values]
    return (("lines", lines), ("window", tuple(window)), *found)


def _endpoints(values: Fields, say: Callable[..., None]) -> tuple[tuple[str, str, int], ...]:
    """Ways to the service; none where an existing service is meant."""
    if "host" not in values:
        if "service" not in values:
            say(Kind.BAD, "host", "neither a host nor a service is named", "fill in one of them")
        return ()
    found: list[tuple[str, str, int]] = []
    for target, scheme, port, _ in values["host"]:
        spoken = values.get("protocol") or scheme or ("http" if values.get("ports") == (80,) else "tls")
        if scheme and values.get("protocol") not in (None, scheme):
            say(
                Kind.BAD,
                "protocol",
                f"is {values['protocol']}, but {target} is given as {scheme}",
                "make both the same",
            )
        chosen = (port,) if port else values.get("ports") or ((cells.PORTS[spoken],) if spoken in cells.PORTS else ())
        if not chosen:
            say(Kind.BAD, "ports", f"is empty, and {spoken} has no usual port", "fill it in")
        found += [(spoken, target, number) for number in chosen]
    return tuple(dict.fromkeys(found))

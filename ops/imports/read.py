"""Any file that can be imported, by what it is: a table, Squid's rules, Smokescreen's ACL."""

import re
from collections.abc import Callable, Iterator, Mapping
from itertools import chain
from pathlib import Path

from ops.imports import smokescreen, squid, tables
from ops.imports.gather import gather
from ops.imports.model import Fields, Imported, Report, Unreadable, Usual, Wanted
from ops.imports.rows import HEADINGS, wanted

FORMATS = ("xlsx", "csv", "squid", "smokescreen")
_SUFFIXES = {
    ".xlsx": "xlsx",
    ".xlsm": "xlsx",
    ".csv": "csv",
    ".tsv": "csv",
    ".yaml": "smokescreen",
    ".yml": "smokescreen",
}
_SQUID = re.compile(r"^\s*(?:acl|http_access)\s", re.MULTILINE)


def read(
    path: Path,
    usual: Usual,
    *,
    kind: str = "",
    existing: Mapping[str, Fields] | None = None,
    progress: Callable[[int, int], None] = lambda _done, _of: None,
) -> Imported:
    """The file as one proposal, and what there is to say of its rows. kind: one of FORMATS, "" to find out. Raises
    Unreadable where nothing can be read."""
    return gather(_found(path, usual, kind or _kind(path), progress), usual, existing)


def _found(path: Path, usual: Usual, kind: str, progress: tables.Progress) -> Iterator[Wanted | Report]:
    match kind:
        case "xlsx":
            return wanted(tables.xlsx(path, progress), usual)
        case "csv":
            return wanted(tables.comma_separated(path, progress), usual)
        case "squid":
            return squid.read(path.name, tables.decoded(tables.read_bytes(path)), usual)
        case _:
            return smokescreen.read(path.name, tables.decoded(tables.read_bytes(path)), usual)


def _kind(path: Path) -> str:
    found = _SUFFIXES.get(path.suffix.lower())
    if found:
        return found
    if path.suffix.lower() == ".xls":
        raise Unreadable("is a workbook of before 2007", "save it as .xlsx")
    data = tables.read_bytes(path)
    if data.startswith(b"PK\x03\x04"):
        return "xlsx"
    return "squid" if _SQUID.search(tables.decoded(data)) else "csv"


def template() -> list[list[str]]:
    """Headings and an example, row by row."""
    heads = [f"{zh} {en}" for zh, en, _ in HEADINGS.values()]
    example = {
        "service": "", "name": "arXiv 论文库", "host": "arxiv.org, *.arxiv.org", "ports": "443", "protocol": "https",
        "purpose": "内部办公自用", "data_grade": "一般", "lines": "hk1", "from": "2026-12-01", "until": "2027-11-30",
        "weekdays": "周一至周五", "hours": "08:00-20:00", "country": "US", "note": "示例，请删除 example, delete me",
    }  # fmt: skip
    return [heads, [example[field] for field in HEADINGS]]


def template_csv() -> bytes:
    """The template as CSV; with a byte order mark, without which Excel reads another encoding."""
    lines = ("\r\n".join(",".join(_quoted(cell) for cell in row) for row in template()),)
    return "".join(chain(("\ufeff",), lines, ("\r\n",))).encode()


def _quoted(cell: str) -> str:
    return f'"{cell}"' if "," in cell else cell


def template_xlsx(path: Path) -> None:
    """The template as a workbook. Raises OSError."""
    from openpyxl import Workbook

    book = Workbook()
    sheet = book.active
    assert sheet is not None
    sheet.title = "白名单 whitelist"
    for row in template():
        sheet.append(row)
    for column in "ABCDEFGHIJKLMN":
        sheet.column_dimensions[column].width = 18
    sheet.freeze_panes = "A2"
    book.save(path)

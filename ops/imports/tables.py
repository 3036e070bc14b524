"""Spreadsheets as rows of text: xlsx and CSV, within bounds, whatever encoding or office made them."""

import csv
import zipfile
from collections.abc import Callable, Iterator
from datetime import date, datetime
from pathlib import Path
from typing import Any

from ops.imports.model import Unreadable
from ops.imports.rows import Row

MAX_BYTES = 64 << 20  # of the file
MAX_UNPACKED = 512 << 20  # of all that is packed into an xlsx; zipfile reads no more of a part than its header says
MAX_PARTS = 2000
MAX_ROWS, MAX_COLUMNS = 200_000, 200
Progress = Callable[[int, int], None]  # rows or bytes so far, of how many (0: not known)


def xlsx(path: Path, progress: Progress) -> Iterator[Row]:
    """All sheets' rows. Raises Unreadable."""
    from openpyxl import load_workbook  # takes half a second to load, for those who import

    _bounded(path)
    try:
        book = load_workbook(path, read_only=True, data_only=True, keep_links=False)
    except Exception as error:
        # openpyxl answers damaged files with whatever its parts raise
        raise Unreadable(f"is no workbook that can be read ({error})", "save it anew as .xlsx, or as CSV") from error
    try:
        count = 0
        for sheet in book.worksheets:
            total = min(sheet.max_row or 0, MAX_ROWS)
            for number, cells in enumerate(_rows(sheet), 1):
                count += 1
                if count > MAX_ROWS:
                    raise Unreadable(f"has more than {MAX_ROWS} rows", "divide it")
                yield Row(sheet.title, number, tuple(map(_text, cells[:MAX_COLUMNS])))
                if count % 500 == 0:
                    progress(number, total)
    finally:
        book.close()


def _rows(sheet: Any) -> Iterator[tuple[Any, ...]]:
    try:
        yield from sheet.iter_rows(values_only=True)
    except Unreadable:
        raise
    except Exception as error:
        raise Unreadable(f"sheet {sheet.title} is damaged ({error})", "save it anew as .xlsx, or as CSV") from error


def _bounded(path: Path) -> None:
    """Raises Unreadable for what is no zip, or unpacks to more than a spreadsheet can be."""
    try:
        with zipfile.ZipFile(path) as archive:
            parts = archive.infolist()
            size = sum(part.file_size for part in parts)
    except (OSError, zipfile.BadZipFile, ValueError, NotImplementedError) as error:
        raise Unreadable(f"is no .xlsx ({error})", "save it as .xlsx, or as CSV; .xls is not read") from error
    if len(parts) > MAX_PARTS or size > MAX_UNPACKED:
        said = f"unpacks to {size >> 20} MiB in {len(parts)} parts, which no list of services does"
        raise Unreadable(said, "save the sheet alone, as CSV")


def _text(value: Any) -> str:
    """A cell as it is read on the screen."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value)
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if isinstance(value, datetime):
        return value.strftime("%Y-%m-%d") if value.time().isoformat() == "00:00:00" else value.isoformat(" ")
    return value.isoformat() if isinstance(value, date) else str(value)


def comma_separated(path: Path, progress: Progress) -> Iterator[Row]:
    """The rows of a CSV file; divided by commas, semicolons or tabs. Raises Unreadable."""
    data = read_bytes(path)
    text = decoded(data)
    lines = text.splitlines(keepends=True)
    head = next((line for line in lines if line.strip()), "")
    delimiter = max(",;\t", key=head.count)
    reader = csv.reader(lines, delimiter=delimiter)
    csv.field_size_limit(1 << 20)
    while True:
        number = reader.line_num + 1
        if number > MAX_ROWS:
            raise Unreadable(f"has more than {MAX_ROWS} rows", "divide it")
        try:
            cells = next(reader, None)
        except csv.Error as error:
            yield Row(path.name, number, (), f"is no CSV: {error}")
            continue
        if cells is None:
            return
        yield Row(path.name, number, tuple(cells[:MAX_COLUMNS]))
        if number % 500 < 1:
            progress(number, len(lines))


def read_bytes(path: Path) -> bytes:
    """The file. Raises Unreadable."""
    try:
        if path.stat().st_size > MAX_BYTES:
            raise Unreadable(f"is larger than {MAX_BYTES >> 20} MiB", "divide it")
        return path.read_bytes()
    except OSError as error:
        raise Unreadable(f"cannot be read: {error.strerror}", "correct the name") from error


def decoded(data: bytes) -> str:
    """The text: by its byte order mark, else as UTF-8, else as GB18030 (which GBK and GB2312 are part of)."""
    for mark, encoding in ((b"\xef\xbb\xbf", "utf-8-sig"), (b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16")):
        if data.startswith(mark):
            return data.decode(encoding, "replace")
    for encoding in ("utf-8", "gb18030"):
        try:
            return data.decode(encoding)
        except UnicodeDecodeError:
            continue
    raise Unreadable("is neither UTF-8 nor GB18030", "save it as UTF-8")

"""What an import makes: entries of a policy, and what there is to say of each row."""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

Fields = dict[str, Any]


class Kind(StrEnum):
    """What is said of a row. Only `bad` rows are left out."""

    BAD = "bad"
    CHANGED = "changed"  # read otherwise than it was written: full-width characters, invisible ones, paths
    DUPLICATE = "duplicate"
    OVERLAP = "overlap"
    NOTE = "note"


@dataclass(frozen=True, slots=True)
class Report:
    """One remark: where (sheet or file, row from 1, column as "C host"), what, and what to do."""

    kind: Kind
    sheet: str
    row: int
    column: str
    said: str
    remedy: str = ""

    def __str__(self) -> str:
        """SHEET row 7, column C host: what; what to do."""
        where = f"{self.sheet} row {self.row}" + (f", column {self.column}" if self.column else "")
        return f"{where}: {self.said}" + (f"; {self.remedy}" if self.remedy else "")


@dataclass(frozen=True, slots=True)
class Usual:
    """What rows leave out: whose they are, and their lines and term (Unix seconds)."""

    tenant: str
    lines: tuple[str, ...]
    valid_from: int
    valid_until: int  # 0: every row must say it


@dataclass(frozen=True, slots=True)
class Wanted:
    """A good row: ways to a service under certain terms. service: the name in the row, or ""."""

    sheet: str
    row: int
    endpoints: tuple[tuple[str, str, int], ...]  # (protocol, target, port)
    service: str
    name: str
    terms: tuple[tuple[str, Any], ...]  # fields of the grant, hashable; window among them


@dataclass(slots=True)
class Imported:
    """All of a file. rows: how many were read."""

    services: list[Fields] = field(default_factory=list)
    grants: list[Fields] = field(default_factory=list)
    reports: list[Report] = field(default_factory=list)
    rows: int = 0
    good: int = 0


class Unreadable(Exception):  # noqa: N818 - named for what happened
    """A file nothing of which can be read: why, and what to do."""

    def __init__(self, said: str, remedy: str) -> None:
        super().__init__(f"{said}; {remedy}")
        self.said, self.remedy = said, remedy

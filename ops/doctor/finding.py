"""What a check found."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum


class Level(StrEnum):
    """ok; warn: works, but not as it should; fail: does not work; skip: could not be looked at from here."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"
    SKIP = "skip"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at: its name, how it is, what was seen, and what to do unless it is ok."""

    name: str
    level: Level
    seen: str = ""
    remedy: str = ""


def ok(name: str, seen: str = "") -> Finding:
    """All is well."""
    return Finding(name, Level.OK, seen)


def warn(name: str, seen: str, remedy: str) -> Finding:
    """It works, but not as it should."""
    return Finding(name, Level.WARN, seen, remedy)


def fail(name: str, seen: str, remedy: str) -> Finding:
    """It does not work."""
    return Finding(name, Level.FAIL, seen, remedy)


def skip(name: str, seen: str, remedy: str = "") -> Finding:
    """It could not be looked at."""
    return Finding(name, Level.SKIP, seen, remedy)


def failed(findings: Iterable[Finding]) -> bool:
    """Whether anything does not work."""
    return any(finding.level is Level.FAIL for finding in findings)

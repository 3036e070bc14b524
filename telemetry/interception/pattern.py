"""Texts and patterns of rules: what they match, and how that is asked. Patterns are RE2, linear in the text."""

from collections.abc import Callable
from typing import Protocol

import re2
from sigma.types import SigmaCasedString, SigmaString, SpecialChars

from telemetry.interception.condition import Match


class LeafError(Exception):
    """A value that does not fit its field: what, and what to do."""

    def __init__(self, what: str, remedy: str) -> None:
        super().__init__(what)
        self.what, self.remedy = what, remedy


class Pattern(Protocol):
    """What is used of a compiled RE2 pattern."""

    def search(self, text: str | bytes) -> object:
        """The first match, or None."""


def compile_pattern(pattern: str) -> Pattern:
    """RE2, quiet. Raises LeafError for what it refuses: lookaround, back references, and what would grow too large."""
    options = re2.Options()
    options.log_errors = False
    try:
        compiled: Pattern = re2.compile(pattern, options)
    except re2.error as error:
        why = error.args[0].decode("utf-8", "replace") if isinstance(error.args[0], bytes) else error.args[0]
        raise LeafError(
            f"the pattern {pattern!r:.120} cannot be used: {why}",
            "write it in RE2 syntax, which has no lookaround and no back references, or as several values",
        ) from None
    return compiled


def test_of(match: Match, text: str) -> Callable[[str], bool]:
    """The question whether a text matches."""
    match match:
        case Match.EQUALS:
            return text.__eq__
        case Match.STARTS:
            return lambda value: value.startswith(text)
        case Match.ENDS:
            return lambda value: value.endswith(text)
        case Match.CONTAINS:
            return lambda value: text in value
        case _:
            search = compile_pattern(text).search
            return lambda value: search(value) is not None


def shape_of(value: SigmaString, anywhere: bool = False) -> tuple[Match, str]:
    """How a string with wildcards matches, and its literal or pattern. anywhere: as a keyword does."""
    parts = list(value.s)
    cased = isinstance(value, SigmaCasedString)
    literals = [part if cased else part.lower() for part in parts if isinstance(part, str)]
    many = [part is SpecialChars.WILDCARD_MULTI for part in parts]
    if len(literals) == 1 and len(literals) + sum(many) == len(parts):
        text, at = literals[0], many.index(False)
        before, behind = anywhere or at > 0, anywhere or at < len(parts) - 1
        shapes = {(0, 0): Match.EQUALS, (0, 1): Match.STARTS, (1, 0): Match.ENDS, (1, 1): Match.CONTAINS}
        return shapes[before, behind], text
    if not literals and not parts:
        return Match.CONTAINS if anywhere else Match.EQUALS, ""
    if not literals and all(many):
        return Match.CONTAINS, ""
    pattern = "".join(
        re2.escape(part if cased else part.lower())
        if isinstance(part, str)
        else ".*"
        if part is SpecialChars.WILDCARD_MULTI
        else "."
        for part in parts
    )
    return Match.PATTERN, f"(?s){pattern}" if anywhere else rf"(?s)\A{pattern}\z"

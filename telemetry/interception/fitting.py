"""What is known of a field's values before any record is seen, so that lint can say where a rule never fires."""

from collections.abc import Callable

from sigma.types import SigmaString

from telemetry.interception.condition import Match
from telemetry.interception.fields import Field, Place
from telemetry.interception.pattern import test_of

_HOST_CHARACTERS = frozenset("abcdefghijklmnopqrstuvwxyz0123456789.-_:[]")


def fits_text(field: Field, value: SigmaString, match: Match, text: str) -> Callable[[Place], bool]:
    """What is known beforehand of a field's values at each place."""
    literals = "".join(part for part in value.s if isinstance(part, str)).lower()
    test, possible = test_of(match, text.lower()), fits_literals(field, literals)

    def fits(place: Place) -> bool:
        if not possible(place):
            return False
        if field.name == "method":
            return (
                test("connect") if place is Place.TUNNEL else not (match is Match.EQUALS and text.lower() == "connect")
            )
        if field.name == "uri" and place is not Place.TUNNEL:
            return match is not Match.EQUALS or "/" in literals
        if field.name == "user_agent" and place is Place.TUNNEL:
            return bool(literals) or match is not Match.EQUALS
        if field.name == "scheme":
            return test("http" if place is Place.HTTP else "https")
        return True

    return fits


def fits_literals(field: Field, literals: str) -> Callable[[Place], bool]:
    """Whether a value of the field can have these characters."""
    never = any(character in field.never for character in literals)
    authority = field.name != "uri" or _HOST_CHARACTERS.issuperset(literals)
    return lambda place: not never and (authority or place is not Place.TUNNEL)


def mandatory(pattern: str) -> str:
    """Literal characters without which a pattern cannot match: those outside of groups, classes and alternatives that
    no quantifier makes optional. Some may be overlooked."""
    found, depth, at = "", 0, 0
    while at < len(pattern):
        character, literal = pattern[at], ""
        if character == "\\":
            at += 1
            escaped = pattern[at : at + 1]
            if escaped in "QExp0123456789":  # quotations, classes and codes of several characters
                return ""
            literal = "" if escaped.isalnum() else escaped
        elif character == "[":
            end = pattern.find("]", at + 2 + (pattern[at + 1 : at + 2] == "^"))
            if end < 0 or "\\" in pattern[at:end] or "[:" in pattern[at:end]:
                return ""
            at = end
        elif character in "()":
            depth += 1 if character == "(" else -1
        elif character == "|" and not depth:
            return ""
        elif character not in ".*+?{}^$|":
            literal = character
        elif character == "{":
            at = max(at, pattern.find("}", at))
        at += 1
        if literal and not depth and pattern[at : at + 1] not in ("?", "*", "{"):
            found += literal
    return found

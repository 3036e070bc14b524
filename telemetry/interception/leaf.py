"""One value of a detection, as Sigma means it, to one comparison with a field of the record.

Texts are compared without regard to case unless `cased`; patterns (wildcards and `re`) are RE2, so that none takes more
than linear time. An absent field fulfils `null` and `exists: false` and nothing else.
"""

import operator
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Any

from sigma.types import (
    CompareOperators,
    SigmaBool,
    SigmaCasedString,
    SigmaCIDRExpression,
    SigmaCompareExpression,
    SigmaExists,
    SigmaFieldReference,
    SigmaNull,
    SigmaNumber,
    SigmaRegularExpression,
    SigmaString,
    SigmaTimestampPart,
    SigmaType,
    TimestampPart,
)

from telemetry.interception.condition import Atom, Leaf, Match, Predicate
from telemetry.interception.fields import FIELDS, Field, Type, Value
from telemetry.interception.fitting import fits_literals, fits_text, mandatory
from telemetry.interception.pattern import LeafError, compile_pattern, shape_of, test_of
from telemetry.record import Record

ZONE = timezone(timedelta(hours=8))  # parts of a time are those of the zone's clocks
# Where keywords are looked for: whatever text a record has of the client, the service and the verdict.
KEYWORD_FIELDS = ("host", "path", "user_agent", "sni", "alpn", "ja4", "method", "tenant", "user", "service", "grant",
    "address", "client_ip", "reason", "cause", "rule", "detail")  # fmt: skip
_COMPARE: dict[CompareOperators, Callable[[Any, Any], bool]] = {
    CompareOperators.LT: operator.lt,
    CompareOperators.LTE: operator.le,
    CompareOperators.GT: operator.gt,
    CompareOperators.GTE: operator.ge,
    CompareOperators.NEQ: operator.ne,
}
_RISING = (CompareOperators.GT, CompareOperators.GTE)
_PARTS: dict[TimestampPart, Callable[[datetime], int]] = {
    TimestampPart.MINUTE: lambda t: t.minute,
    TimestampPart.HOUR: lambda t: t.hour,
    TimestampPart.DAY: lambda t: t.day,
    TimestampPart.WEEK: lambda t: t.isocalendar().week,
    TimestampPart.MONTH: lambda t: t.month,
    TimestampPart.YEAR: lambda t: t.year,
}
_NOTHING = (None, "", ())


def leaf_of(name: str, field: Field | None, value: SigmaType, other: Callable[[str], Field | None]) -> Leaf:
    """The comparison of a field, as the rule named it, with a value. field: None for one that is never recorded, and
    then name is not "". other: finds the field that `fieldref` names. Raises LeafError."""
    if name == "":
        return _keyword(value)
    if field is None:
        absent = isinstance(value, SigmaNull) or (isinstance(value, SigmaExists) and not value)
        return Leaf(name, None, lambda _: absent, (name, repr(value)), of_absent=absent)
    if isinstance(value, SigmaFieldReference):
        return _reference(name, field, value, other(value.field))
    make = next((make for kind, make in _MAKERS if isinstance(value, kind)), None)
    if make is not None:
        return make(name, field, value)
    raise LeafError(f"a value of type {type(value).__name__} cannot be compared", "write it in another way")


def _truth(name: str, field: Field, value: SigmaBool) -> Leaf:
    wanted, get = bool(value), field.get
    if field.type is not Type.TRUTH:
        return _text(name, field, SigmaString(str(wanted)))
    return Leaf(name, field, lambda r: get(r) is wanted, (field.name, str(wanted)))


def _existence(name: str, field: Field, value: SigmaExists | SigmaNull) -> Leaf:
    get = field.get
    if isinstance(value, SigmaExists) and value:
        return Leaf(name, field, lambda r: get(r) not in _NOTHING, (field.name, "exists"))
    return Leaf(name, field, lambda r: get(r) in _NOTHING, (field.name, "null"), of_absent=True)


def texts(value: Value) -> tuple[str, ...]:
    """A field's value or values as texts."""
    if isinstance(value, str):
        return (value,)
    if isinstance(value, tuple):
        return value
    if value is None:
        return ()
    return (
        str(value).lower() if isinstance(value, bool) else f"{value:g}" if isinstance(value, float) else str(value),
    )


def _on_texts(field: Field, test: Callable[[str], bool], cased: bool) -> Predicate:
    get, blank = field.get, field.blank

    def holds(record: Record) -> bool:
        value = get(record)
        if type(value) is str:
            return (value != "" or blank) and test(value if cased else value.lower())
        return any(test(text if cased else text.lower()) for text in texts(value))

    return holds


def _text(name: str, field: Field, value: SigmaString) -> Leaf:
    cased = isinstance(value, SigmaCasedString)
    match, text = shape_of(value)
    if field.type is Type.NUMBER and match is Match.EQUALS and not text.replace(".", "").lstrip("-").isdigit():
        raise LeafError(f"{name} is a number, and {text!r:.60} is none", "write a number, or use another field")
    atom = Atom(field, match, text, cased) if field.type is not Type.TRUTH and (text or match is Match.EQUALS) else None
    return Leaf(
        name,
        field,
        _on_texts(field, test_of(match, text), cased),
        (field.name, match, text, str(cased)),
        atom,
        fits=fits_text(field, value, match, text),
    )


def _number(name: str, field: Field, value: SigmaNumber) -> Leaf:
    number, get = value.number, field.get
    text = texts(number)[0]
    if field.type is Type.NUMBER:
        atom = Atom(field, Match.EQUALS, text)
        return Leaf(name, field, lambda r: get(r) == number, (field.name, Match.EQUALS, text, "False"), atom)
    return _text(name, field, SigmaString(text))


def _regex(name: str, field: Field, value: SigmaRegularExpression) -> Leaf:
    flags = "".join(sorted(flag.name[0].lower() for flag in value.flags)).replace("d", "s")
    pattern = f"(?{flags})" * bool(flags) + str(value.regexp)
    search = compile_pattern(pattern).search
    holds = _on_texts(field, lambda text: search(text) is not None, cased=True)
    atom = Atom(field, Match.PATTERN, pattern, cased=True) if field.type is not Type.TRUTH else None
    literals = mandatory(pattern).lower()
    return Leaf(name, field, holds, (field.name, "re", pattern), atom, fits=fits_literals(field, literals))


@lru_cache(maxsize=65_536)
def _address(text: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(text)
    except ValueError:
        return None


def _network(name: str, field: Field, value: SigmaCIDRExpression) -> Leaf:
    if field.type not in (Type.ADDRESS, Type.TEXT):
        raise LeafError(f"{name} is no address, so cidr cannot be asked of it", "use a field of addresses, as src_ip")
    network, get = value.network, field.get

    def holds(record: Record) -> bool:
        address = _address(text) if isinstance(text := get(record), str) else None
        return address is not None and address in network

    return Leaf(name, field, holds, (field.name, "cidr", str(network)))


def _compare(name: str, field: Field, value: SigmaCompareExpression) -> Leaf:
    how = value.op.name.lower()
    if field.type is not Type.NUMBER:
        raise LeafError(f"{name} is {field.type}, and {how} needs a number", "use a field of numbers, as cs-bytes")
    number, get, compare = value.number.number, field.get, _COMPARE[value.op]

    def holds(record: Record) -> bool:
        found = get(record)
        return found is not None and compare(found, number)

    return Leaf(name, field, holds, (field.name, how, str(number)), rises=value.op in _RISING)


def _time(name: str, field: Field, value: SigmaTimestampPart) -> Leaf:
    if field.name != "time":
        raise LeafError(f"{name} is no time", "use the field time")
    part, number = _PARTS[value.timestamp_part], value.number

    def holds(record: Record) -> bool:
        try:
            moment = datetime.fromtimestamp(record.time / 1e6, UTC).astimezone(ZONE)
        except (ValueError, OverflowError, OSError):
            return False
        return part(moment) == number

    return Leaf(name, field, holds, (field.name, value.timestamp_part.name, str(number)))


def _reference(name: str, field: Field, value: SigmaFieldReference, other: Field | None) -> Leaf:
    if other is None:
        return Leaf(name, None, lambda _: False, (field.name, "fieldref", value.field))
    get, theirs = field.get, other.get
    match (value.starts_with, value.ends_with):
        case (True, True):
            test: Callable[[str, str], bool] = operator.contains
        case (True, False):
            test = str.startswith
        case (False, True):
            test = str.endswith
        case _:
            test = operator.eq

    def holds(record: Record) -> bool:
        others = texts(theirs(record))
        return any(test(mine.lower(), their.lower()) for mine in texts(get(record)) for their in others)

    return Leaf(name, field, holds, (field.name, "fieldref", other.name, test.__name__), also=other)


def _all_text(record: Record) -> str:
    return "\n".join([text for get in _KEYWORD_GETTERS for text in texts(get(record)) if text])


_KEYWORD_GETTERS = tuple(FIELDS[name].get for name in KEYWORD_FIELDS)
_KEYWORDS = Field("keywords", _all_text)


def _keyword(value: SigmaType) -> Leaf:
    if isinstance(value, SigmaRegularExpression):
        leaf = _regex("keywords", _KEYWORDS, value)
    elif isinstance(value, SigmaNumber | SigmaString):
        text = value if isinstance(value, SigmaString) else SigmaString(texts(value.number)[0])
        cased = isinstance(text, SigmaCasedString)
        match, literal = shape_of(text, anywhere=True)
        holds = _on_texts(_KEYWORDS, test_of(match, literal), cased)
        atom = Atom(_KEYWORDS, match, literal, cased) if literal else None
        leaf = Leaf("", _KEYWORDS, holds, ("", match, literal, str(cased)), atom)
    else:
        raise LeafError("a keyword is a text, a number or a pattern", "name a field before this value")
    return Leaf("", leaf.field, leaf.holds, leaf.says, leaf.atom)


# The first that fits: subclasses stand before what they are made from.
_MAKERS: tuple[tuple[type[SigmaType], Callable[[str, Field, Any], Leaf]], ...] = (
    (SigmaString, _text),
    (SigmaTimestampPart, _time),
    (SigmaNumber, _number),
    (SigmaRegularExpression, _regex),
    (SigmaCIDRExpression, _network),
    (SigmaCompareExpression, _compare),
    (SigmaNull, _existence),
    (SigmaExists, _existence),
    (SigmaBool, _truth),
)

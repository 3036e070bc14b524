"""Rates and amounts as people write them: 10mbit, 1.5gbit, 500MB, 2TB. Pure."""

import re
from decimal import Decimal

from ops.cli.times import ArgumentError

_RATE = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,6})?)(k|m|g)bit(?:/s)?", re.ASCII | re.IGNORECASE)
_KBIT = {"k": 1, "m": 1_000, "g": 1_000_000}
_SIZE = re.compile(r"([0-9]{1,15}(?:\.[0-9]{1,6})?)(k|m|g|t|)b?", re.ASCII | re.IGNORECASE)
_BYTES = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12}


def parse_rate(text: str) -> int:
    """kbit/s of "10mbit". Raises ArgumentError."""
    match = _RATE.fullmatch(text.strip())
    if not match:
        raise ArgumentError("{text!r} is not a rate; expected 500kbit, 10mbit or 1gbit", text=text)
    if (rate := _whole(match[1], _KBIT[match[2].lower()])) is None:
        raise ArgumentError("{text!r} is not a whole number of kbit/s", text=text)
    return rate


def parse_span(text: str) -> tuple[int, int]:
    """Guarantee and ceiling in kbit/s of "10mbit..20mbit"; one rate alone is a guarantee without a ceiling (0).
    Raises ArgumentError."""
    low, dots, high = text.partition("..")
    return parse_rate(low), parse_rate(high) if dots else 0


def parse_size(text: str) -> int:
    """Bytes of "10GB" (powers of ten). Raises ArgumentError."""
    match = _SIZE.fullmatch(text.strip())
    if not match:
        raise ArgumentError("{text!r} is not an amount of bytes; expected 500MB, 10GB or 2TB", text=text)
    if (size := _whole(match[1], _BYTES[match[2].lower()])) is None:
        raise ArgumentError("{text!r} is not a whole number of bytes", text=text)
    return size


def _whole(number: str, unit: int) -> int | None:
    """Never rounded: 0.5kbit must not become 0, which means no limit at all."""
    amount = Decimal(number) * unit
    return int(amount) if amount == int(amount) else None


def format_rate(kbit: int) -> str:
    """10mbit; nothing for 0."""
    for unit, size in (("g", 1_000_000), ("m", 1_000)):
        if kbit and kbit % size == 0:
            return f"{kbit // size}{unit}bit"
    return f"{kbit}kbit" if kbit else ""


def format_span(low: int, high: int) -> str:
    """10mbit..20mbit; nothing for neither."""
    return f"{format_rate(low) or '0kbit'}..{format_rate(high)}" if high else format_rate(low)


def format_size(octets: int) -> str:
    """10GB; nothing for 0."""
    for unit, size in (("TB", 10**12), ("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if octets and octets % size == 0:
            return f"{octets // size}{unit}"
    return f"{octets}B" if octets else ""

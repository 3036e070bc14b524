"""IP addresses as text and as integers, one canonical spelling each.

The standard library's ipaddress costs 3 to 7 µs per address and prints IPv4-mapped addresses differently from one
Python version to the next; this sits on the path of every connection and decides what "canonical" means.
"""

import re

_OCTETS = {str(octet): octet for octet in range(256)}
_HEX32 = re.compile(r"[0-9a-fA-F]{32}").fullmatch
_ZERO_RUNS = tuple(":0" * groups for groups in range(8, 1, -1))


def parse_v4(text: str) -> int | None:
    """The value of a dotted quad of decimal octets without leading zeros (RFC 6943 3.1.1, "strict"); else None."""
    try:
        a, b, c, d = text.split(".")
        return _OCTETS[a] << 24 | _OCTETS[b] << 16 | _OCTETS[c] << 8 | _OCTETS[d]
    except (ValueError, KeyError):
        return None


def parse_v6(text: str) -> int | None:
    """The value of any RFC 4291 2.2 spelling without zone and brackets; else None."""
    if "." in text:
        head, _, quad = text.rpartition(":")
        low = parse_v4(quad)
        if low is None:
            return None
        text = f"{head}:{low >> 16:x}:{low & 0xFFFF:x}"
    left, gap, right = text.partition("::")
    groups = left.split(":") if left else []
    if gap:
        tail = right.split(":") if right else []
        missing = 8 - len(groups) - len(tail)
        if missing < 1:
            return None
        groups += ["0"] * missing + tail
    # Eight non-empty groups whose padded digits make 32 are eight groups of one to four digits.
    if len(groups) != 8 or "" in groups:
        return None
    digits = "".join([group.zfill(4) for group in groups])
    return int(digits, 16) if _HEX32(digits) else None


def format_v4(value: int) -> str:
    """Dotted quad of a 32-bit value."""
    return f"{value >> 24}.{value >> 16 & 255}.{value >> 8 & 255}.{value & 255}"


def format_v6(value: int) -> str:
    """The one spelling of a 128-bit value (RFC 5952 4 and, for IPv4-mapped addresses only, 5)."""
    if value >> 32 == 0xFFFF:
        return "::ffff:" + format_v4(value & 0xFFFFFFFF)
    text = ":" + value.to_bytes(16).hex(":", 2)
    text = text.replace(":0", ":").replace(":0", ":").replace(":0", ":")  # 4.1: four digits lose up to three zeros
    for run in _ZERO_RUNS:  # 4.2: the first of the longest runs of two groups or more
        if run in text:
            left, _, right = text.partition(run)
            return f"{left[1:]}::{right[1:]}"
    return text[1:]

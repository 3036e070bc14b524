"""Host names in their one canonical form: lower-case A-labels, no trailing dot (RFC 1123 2.1, RFC 5890, UTS 46)."""

import re
import unicodedata
from functools import lru_cache

import idna

from whitelist.reason import Reason

# Possessive, so linear in the input. A label of letters, digits and inner hyphens; "--" in third place is a matter of
# IDNA only behind "xn" (r3---sn-x.example is an ordinary name).
LABEL = r"[a-z0-9]++(?:-++[a-z0-9]++)*+"
_LDH_NAME = re.compile(rf"{LABEL}(?:\.{LABEL})*+").fullmatch
# WHATWG URL, "ends in a number": resolvers read such a name as an IPv4 address (127.1, 0x7f000001, 2130706433).
_NUMBER = re.compile(r"(?:[0-9]+|0x[0-9a-f]*)").fullmatch
MAX_NAME, MAX_LABEL = 253, 63  # RFC 1035 2.3.4, without the root's octet


class TargetError(Exception):
    """A target that cannot be read in exactly one way: a closed-set reason, and a detail without client bytes."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


def canonical_name(text: str, *, single_label: bool = False) -> str:
    """The canonical form of a host name; TargetError(name-invalid) for everything that is not one, addresses included.

    Non-ASCII names go through UTS 46 (non-transitional, STD3) and must survive it but for case and composition:
    characters that vanish or turn into others (soft hyphens, full-width letters, ideographic dots) have two readings.
    single_label allows names without a dot.
    """
    name = text.removesuffix(".")
    name = name.lower() if name.isascii() else _to_ascii(name)
    if not _LDH_NAME(name):
        raise _invalid("not letters, digits and inner hyphens between single dots")
    labels = name.split(".")
    if len(name) > MAX_NAME or len(max(labels, key=len)) > MAX_LABEL:
        raise _invalid("name longer than 253 or label longer than 63 bytes")
    if _NUMBER(labels[-1]):
        raise _invalid("ends in a number: an address not in its canonical spelling")
    for label in labels:
        if label.startswith("xn--") and _check_a_label(label).isdecimal() and label is labels[-1]:
            raise _invalid("ends in a number in another script's digits")
    if len(labels) == 1 and not single_label:
        raise _invalid("a single label")
    return name


def _to_ascii(name: str) -> str:
    if len(name) > MAX_NAME:  # an A-label is longer than its U-label
        raise _invalid("name longer than 253 bytes")
    if "\u1e9e" in name:  # "ss" until UTS 46 of Unicode 15.1, one letter since: readers differ
        raise _invalid("a capital sharp s")
    try:
        mapped = idna.uts46_remap(name, std3_rules=True)
        if mapped != unicodedata.normalize("NFC", name.lower()):
            raise _invalid("characters that IDNA maps to others or to nothing")
        labels = mapped.split(".")
        # U+212A KELVIN SIGN is a capital k to Unicode: a label of such letters would be another's ASCII label.
        pairs = zip(name.split("."), labels, strict=True)
        if any(now.isascii() and not was.isascii() for was, now in pairs):
            raise _invalid("ASCII letters in disguise")
        return ".".join(label if label.isascii() else idna.alabel(label).decode() for label in labels)
    except (idna.IDNAError, UnicodeError, ValueError) as error:
        raise _invalid("not a valid internationalized name") from error


@lru_cache(maxsize=1024)
def _check_a_label(label: str) -> str:
    """Its U-label, which encodes to it again (RFC 5890 2.3.2.1). What IDNA 2008 permits there, UTS 46 maps to itself.
    Cached: 40 µs for a label that is asked for again and again."""
    try:
        letters = idna.ulabel(label)
        if idna.alabel(letters).decode() == label:
            return letters
    except (idna.IDNAError, UnicodeError, ValueError) as error:
        raise _invalid("xn-- label that is no A-label") from error
    raise _invalid("xn-- label that does not round-trip")


def _invalid(detail: str) -> TargetError:
    return TargetError(Reason.NAME_INVALID, detail)

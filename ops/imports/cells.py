"""Cells as people fill them in, read one by one: Chinese and English, full-width and half-width. Pure.

Each reader raises ValueError saying what is wrong and what is expected.
"""

import re
import unicodedata
from datetime import datetime, timedelta, timezone
from ipaddress import ip_address, ip_network

from ops.cli.times import ZONE_OFFSET_MINUTES, parse_hours, parse_weekdays
from whitelist.model import DataGrade
from whitelist.name import canonical_name
from whitelist.target import TargetError

MAX_CELL = 2000  # characters
# What NFKC leaves alone and nobody sees, or sees as something else.
_INVISIBLE = re.compile("[\u00ad\u180e\u200b-\u200f\u202a-\u202e\u2060-\u2064\ufeff]")
_DIVIDERS = re.compile(r"[,;、，；\s]+")
_DATE = re.compile(
    r"(\d{4})\s*[-/.年]\s*(\d{1,2})\s*[-/.月]\s*(\d{1,2})\s*日?(?:[ T]00:00(?::00)?)?|(\d{4})(\d{2})(\d{2})"
)
_URL = re.compile(r"([a-zA-Z][a-zA-Z0-9+.-]*)://([^/?#]*)([/?#].*)?", re.DOTALL)
_SCHEMES = {
    "https": "tls",
    "tls": "tls",
    "ssl": "tls",
    "wss": "tls",
    "http": "http",
    "ws": "http",
    "tcp": "tcp",
    "ssh": "tcp",
    "sftp": "tcp",
}
PORTS = {"tls": 443, "http": 80}
_GRADES = {
    "一般": DataGrade.GENERAL, "一般数据": DataGrade.GENERAL, "general": DataGrade.GENERAL, "重要": DataGrade.IMPORTANT,
    "重要数据": DataGrade.IMPORTANT, "important": DataGrade.IMPORTANT, "核心": DataGrade.CORE,
    "核心数据": DataGrade.CORE, "core": DataGrade.CORE,
}  # fmt: skip
_PURPOSES = {"内部办公自用": "internal_office", "内部办公": "internal_office", "两头在外": "offshore_roundtrip"}
_DAYS = {"一": 0, "二": 1, "三": 2, "四": 3, "五": 4, "六": 5, "日": 6, "天": 6}
_ZH_DAYS = re.compile(r"(?:周|星期|礼拜)?([一二三四五六日天])(?:[至到-](?:周|星期|礼拜)?([一二三四五六日天]))?")


def normal(text: str) -> str:
    """The cell without full-width forms, invisible characters and blanks around it."""
    return _INVISIBLE.sub("", unicodedata.normalize("NFKC", text)).replace("。", ".").strip()


def host(text: str) -> tuple[str, str, int, str]:
    """(target, protocol or "", port or 0, what was left out) of a host, *.host, prefix, host:port or URL."""
    protocol, port, left = "", 0, ""
    url = _URL.fullmatch(text)
    if url:
        scheme, text, rest = url[1].lower(), url[2], url[3] or ""
        if scheme not in _SCHEMES:
            raise ValueError(f"{scheme}:// cannot be let through; expected https://, http:// or a host")
        if "@" in text:
            raise ValueError(
                "a user name or password stands in the address; write the host alone, and change that password"
            )
        protocol = _SCHEMES[scheme]
        port = {"wss": 443, "ws": 80, "https": 443, "http": 80}.get(scheme, 0)
        left = rest if rest not in ("/", "") else ""
    elif "/" in text and not _is_prefix(text):
        text, _, rest = text.partition("/")
        left = f"/{rest}" if rest else ""
    if text.startswith("."):
        text = f"*{text}"
    if text.startswith("[") and "]" in text:
        text, _, after = text[1:].partition("]")
        port = _port(after.removeprefix(":")) if after else port
    elif text.count(":") == 1:
        text, _, after = text.partition(":")
        port = _port(after)
    return _target(text), protocol, port, left


def _is_prefix(text: str) -> bool:
    try:
        ip_network(text, strict=False)
    except ValueError:
        return False
    return True


def _target(text: str) -> str:
    if _is_prefix(text):
        network = ip_network(text, strict=False)
        if str(network.network_address) != text.partition("/")[0].lower() and "/" in text:
            raise ValueError(f"has bits set behind the prefix; expected {network}")
        return str(network)
    name = text.removeprefix("*.")
    try:
        ip_address(name)
    except ValueError:
        pass
    else:
        raise ValueError("a wildcard is for names; expected *.example.com or a prefix")
    try:
        return text.removesuffix(name) + canonical_name(name, single_label=name != text)
    except TargetError as error:
        raise ValueError(
            f"is no host name ({error.detail}); expected api.example.com, *.example.com or 203.0.113.0/28"
        ) from None


def _port(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,5}", text) or not 0 < int(text) < 65536:
        raise ValueError(f"{text!r} is no port; expected a number from 1 to 65535")
    return int(text)


def ports(text: str) -> tuple[int, ...]:
    """Ports divided by anything that divides; 8000-8003 is a range of at most 64."""
    found: list[int] = []
    for part in parts(text):
        first, dash, last = part.partition("-")
        start = _port(first.removesuffix(".0"))
        end = _port(last) if dash else start
        if not start <= end < start + 64:
            raise ValueError(f"{part!r} is no range of at most 64 ports; name those that are meant")
        found += range(start, end + 1)
    return tuple(dict.fromkeys(found))


def parts(text: str) -> list[str]:
    """The parts of a list."""
    return [part for part in _DIVIDERS.split(text) if part]


def protocol(text: str) -> str:
    """tls, http or tcp."""
    found = _SCHEMES.get(text.lower().removesuffix("://"))
    if found is None:
        raise ValueError(f"{text!r} is no protocol; expected https (tls), http or tcp")
    return found


def date(text: str, *, end: bool) -> int:
    """The first second of a day in zone time, or with end the first after it."""
    found = _DATE.fullmatch(text)
    try:
        year, month, day = (int(part) for part in (found.groups() if found else ()) if part)
        moment = datetime(year, month, day, tzinfo=timezone(timedelta(minutes=ZONE_OFFSET_MINUTES)))
        if not 1971 <= year <= 2200:
            raise ValueError
        return int((moment + timedelta(days=1 if end else 0)).timestamp())
    except (ValueError, OverflowError):
        raise ValueError(f"{text!r} is no date; expected 2027-11-23 or 2027年11月23日") from None


def grade(text: str) -> str:
    """A data grade that may be asked for."""
    found = _GRADES.get(text.lower())
    if found is None:
        raise ValueError(f"{text!r} is no data grade; expected general (一般) or important (重要)")
    if found is DataGrade.CORE:
        raise ValueError("core data (核心) never leaves; leave the row out")
    return str(found)


def purpose(text: str) -> str:
    """A purpose of use."""
    found = _PURPOSES.get(text, text)
    if len(found) > 200 or not found.isprintable():
        raise ValueError("needs one line of at most 200 characters")
    return found


def country(text: str) -> str:
    """Two capital letters."""
    if not re.fullmatch(r"[A-Za-z]{2}", text):
        raise ValueError(f"{text!r} is no country code; expected two letters (ISO 3166-1), such as SG")
    return text.upper()


def weekdays(text: str) -> tuple[int, ...]:
    """mon-fri, 周一至周五, 工作日."""
    if text in ("工作日", "workdays"):
        return tuple(range(5))
    days: set[int] = set()
    for part in parts(text):
        found = _ZH_DAYS.fullmatch(part)
        if found is None:
            days.update(parse_weekdays(part))
            continue
        start = _DAYS[found[1]]
        span = (_DAYS[found[2]] - start) % 7 if found[2] else 0
        days.update((start + step) % 7 for step in range(span + 1))
    return tuple(sorted(days))


def hours(text: str) -> tuple[int, int]:
    """08:00-20:00."""
    return parse_hours(re.sub(r"\s*[-~—–至到]\s*", "-", text))


def identifier(text: str) -> str:
    """An id of the register."""
    if not re.fullmatch(r"[a-z0-9][a-z0-9-]{0,62}", text):
        raise ValueError(f"{text!r} is no id; expected 1 to 63 of a-z, 0-9 and -")
    return text


def lines(text: str) -> tuple[str, ...]:
    """Ids of lines, in order of preference."""
    return tuple(dict.fromkeys(identifier(part) for part in parts(text.lower())))

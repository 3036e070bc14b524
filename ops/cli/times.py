"""From the moments and spans people type to Unix seconds and minutes, and back for display. Pure."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone

ZONE_OFFSET_MINUTES = 480  # zone time, UTC+8, where nothing else is written
WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_DURATION = re.compile(r"(?:[0-9]+(?:mo|[smhdwy]))+\Z")
_DURATION_PART = re.compile(r"([0-9]+)(mo|[smhdwy])")


class ArgumentError(ValueError):
    """A value that cannot be understood; the text says what is wrong and what is expected. It is kept as a template and
    its values, so that it can be said in another language."""

    def __init__(self, template: str, **values: object) -> None:
        super().__init__(template.format(**values))
        self.template = template
        self.values = values


@dataclass(frozen=True, slots=True)
class Duration:
    """A length of time; months are kept apart because they have no fixed length."""

    months: int
    seconds: int

    def shift(self, now: int, sign: int = 1) -> int:
        """The moment this long after (sign 1) or before (sign -1) `now`, in Unix seconds. The 31st becomes the last
        day of a shorter month, so that twelve months are always a year."""
        zone = timezone(timedelta(minutes=ZONE_OFFSET_MINUTES))
        moment = datetime.fromtimestamp(now, zone)
        month = moment.month - 1 + sign * self.months
        year, month = moment.year + month // 12, month % 12 + 1
        try:
            moved = moment.replace(year=year, month=month, day=min(moment.day, _days_in(year, month)))
            return int(moved.timestamp()) + sign * self.seconds
        except (ValueError, OverflowError):
            raise ArgumentError("the duration leads out of the calendar") from None


def _days_in(year: int, month: int) -> int:
    if not 1 <= year < 9999:
        raise ValueError(year)
    following = datetime(year + month // 12, month % 12 + 1, 1, tzinfo=UTC)
    return (following - timedelta(days=1)).day


def parse_duration(text: str) -> Duration:
    """Reads "90d", "12mo", "1h30m"; units s, m, h, d, w, mo, y."""
    if len(text) > 40 or not _DURATION.match(text):
        raise ArgumentError("{text!r} is not a duration; expected for example 90d, 12mo, 1y, 8h or 1h30m", text=text)
    months = seconds = 0
    for number, unit in _DURATION_PART.findall(text):
        if unit in ("mo", "y"):
            months += int(number) * (12 if unit == "y" else 1)
        else:
            seconds += int(number) * _UNITS[unit]
    if months == seconds == 0:
        raise ArgumentError("{text!r} is no time at all; expected a duration longer than zero", text=text)
    if months > 1200 or seconds > 100 * 366 * 86400:
        raise ArgumentError("{text!r} is longer than a hundred years", text=text)
    return Duration(months, seconds)


def parse_when(text: str, now: int, *, past: bool = False, end_of_day: bool = False) -> int:
    """A moment in Unix seconds: "now", "@1795449600", a date, a date with time (zone time unless it names an offset),
    or a duration counted from `now`, into the past for `past`. A bare date is its first second, or with `end_of_day`
    the first second after it, so that "--until 2027-11-23" includes the 23rd."""
    text = text.strip()
    if text == "now":
        return now
    if re.fullmatch(r"@[0-9]{1,11}", text):
        return int(text[1:])
    if _DURATION.match(text):
        return parse_duration(text).shift(now, -1 if past else 1)
    zone = timezone(timedelta(minutes=ZONE_OFFSET_MINUTES))
    try:
        if re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", text):
            day = datetime.fromisoformat(text).replace(tzinfo=zone)
            return int((day + timedelta(days=1) if end_of_day else day).timestamp())
        if re.match(r"[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]", text):
            moment = datetime.fromisoformat(text)
            return int((moment if moment.tzinfo else moment.replace(tzinfo=zone)).timestamp())
    except (ValueError, OverflowError):
        pass
    raise ArgumentError(
        "{text!r} is not a moment; expected 2027-11-23, 2027-11-23T18:00, a duration like 12mo, or now", text=text
    )


def format_moment(seconds: int) -> str:
    """Zone time to the minute, "2027-11-23 18:00"; the empty string for 0."""
    if not seconds:
        return ""
    zone = timezone(timedelta(minutes=ZONE_OFFSET_MINUTES))
    return (datetime.fromtimestamp(seconds, UTC).astimezone(zone)).strftime("%Y-%m-%d %H:%M")


def format_end(seconds: int) -> str:
    """The end of a validity. An end at midnight is shown as 24:00 of the last day, as it was typed."""
    if not seconds:
        return ""
    text = format_moment(seconds)
    return f"{format_moment(seconds - 1)[:10]} 24:00" if text.endswith(" 00:00") else text


def parse_weekdays(text: str) -> list[int]:
    """ "mon-fri", "mon,wed", "sat-sun": sorted numbers, 0 is Monday. A range may run over the end of the week."""
    days: set[int] = set()
    for part in text.lower().split(","):
        first, dash, last = part.strip().partition("-")
        if first not in WEEKDAYS or (dash and last not in WEEKDAYS):
            raise ArgumentError(
                "{part!r} is not a weekday; expected mon, tue, wed, thu, fri, sat, sun or a range like mon-fri",
                part=part,
            )
        start = WEEKDAYS.index(first)
        span = (WEEKDAYS.index(last) - start) % 7 if dash else 0
        days.update((start + step) % 7 for step in range(span + 1))
    return sorted(days)


def parse_hours(text: str) -> tuple[int, int]:
    """ "08:00-20:00": minutes of the day, the end not included; "24:00" ends the day."""
    found = re.fullmatch(r"([01]?[0-9]|2[0-3]):([0-5][0-9])-(?:(24):(00)|([01]?[0-9]|2[0-3]):([0-5][0-9]))", text)
    if not found:
        raise ArgumentError("{text!r} is not a span of hours; expected for example 08:00-20:00", text=text)
    start = int(found[1]) * 60 + int(found[2])
    end = int(found[3] or found[5]) * 60 + int(found[4] or found[6])
    if end <= start:
        raise ArgumentError(
            "{text!r} ends before it starts; hours over midnight are two grants, up to 24:00 and from 00:00", text=text
        )
    return start, end

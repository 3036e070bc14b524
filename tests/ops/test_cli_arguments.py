"""What people type becomes what the register stores, or a sentence that says what was expected."""

import pytest

from ops.cli import arguments, times
from ops.cli.times import ArgumentError

NOW = 1_795_449_600  # 2026-11-24 00:00 in the zone
DAY = 86_400


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("90d", NOW + 90 * DAY, id="days are days"),
        pytest.param("12mo", 1_826_985_600, id="twelve months are the same day next year"),
        pytest.param("1y", 1_826_985_600, id="a year is twelve months"),
        pytest.param("1h30m", NOW + 5400, id="units add up"),
        pytest.param("now", NOW, id="now is now"),
        pytest.param("@5", 5, id="Unix seconds behind an at sign"),
        pytest.param("2027-11-23", 1_826_899_200, id="a date is its first second in the zone"),
        pytest.param("2027-11-23T18:00", 1_826_964_000, id="a time without offset is zone time"),
        pytest.param("2027-11-23 18:00", 1_826_964_000, id="a blank stands for the T"),
        pytest.param("2027-11-23T10:00Z", 1_826_964_000, id="an offset is taken as written"),
    ],
)
def test_moments(text: str, expected: int) -> None:
    assert times.parse_when(text, NOW) == expected


def test_the_end_date_is_included_and_shown_as_it_was_typed() -> None:
    end = times.parse_when("2027-11-23", NOW, end_of_day=True)
    assert end == 1_826_899_200 + DAY
    assert times.format_end(end) == "2027-11-23 24:00"


def test_the_past_is_counted_back() -> None:
    assert times.parse_when("1h", NOW, past=True) == NOW - 3600
    assert times.parse_when("12mo", NOW, past=True) == 1_763_913_600


def test_a_month_after_the_31st_is_the_last_day_of_the_next() -> None:
    january_31 = times.parse_when("2027-01-31", NOW)
    assert times.format_moment(times.parse_duration("1mo").shift(january_31)) == "2027-02-28 00:00"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        pytest.param("90", "not a moment", id="a number has no unit"),
        pytest.param("0d", "no time at all", id="nothing is no duration"),
        pytest.param("９0d", "not a moment", id="digits of other scripts are not digits"),
        pytest.param("2027-02-30", "not a moment", id="there is no 30 February"),
        pytest.param("tomorrow", "not a moment", id="words are not guessed"),
        pytest.param("9999y", "longer than a hundred years", id="no end is too far to be meant"),
        pytest.param("1" * 39 + "d", "longer than a hundred years", id="a huge number is not computed with"),
        pytest.param("", "not a moment", id="nothing"),
        pytest.param("2027-11-23T18:00\x1b[2J", r"\x1b", id="control characters are shown escaped"),
    ],
)
def test_moments_that_are_none(text: str, why: str) -> None:
    with pytest.raises(ArgumentError) as raised:
        times.parse_when(text, NOW)
    assert why in str(raised.value)


@pytest.mark.parametrize(
    ("text", "target", "ports", "protocol"),
    [
        pytest.param("tls://api.example.com:443", "api.example.com", [443], "tls", id="host and port"),
        pytest.param("tls://api.example.com", "api.example.com", [443], "tls", id="tls means 443"),
        pytest.param("http://example.com", "example.com", [80], "http", id="http means 80"),
        pytest.param("tls://*.example.com:443,8443", "*.example.com", [443, 8443], "tls", id="suffix, two ports"),
        pytest.param("tcp://203.0.113.0/28:22", "203.0.113.0/28", [22], "tcp", id="IPv4 prefix"),
        pytest.param("tcp://[2001:db8::/32]:22", "2001:db8::/32", [22], "tcp", id="IPv6 prefix in brackets"),
        pytest.param("tls://[203.0.113.0/28]:443", "203.0.113.0/28", [443], "tls", id="IPv4 prefix in brackets"),
        pytest.param("tls://203.0.113.7", "203.0.113.7/32", [443], "tls", id="an address is a prefix of itself"),
    ],
)
def test_endpoints(text: str, target: str, ports: list[int], protocol: str) -> None:
    assert arguments.parse_endpoint(text) == {"target": target, "ports": ports, "protocol": protocol}


@pytest.mark.parametrize(
    ("text", "why"),
    [
        pytest.param("github.com", "as in tls://github.com", id="no scheme: the likely one is named"),
        pytest.param("https://github.com/", "as in tls://github.com", id="https is tls"),
        pytest.param("tcp://db.example.com", "tcp://db.example.com:22", id="tcp has no usual port"),
        pytest.param("tls://2001:db8::1:443", "in brackets", id="IPv6 without brackets"),
        pytest.param("tls://host/path", "has no path", id="a path"),
        pytest.param("tls://user@host", "names no host", id="a user"),
        pytest.param("tls://", "names no host", id="no host"),
        pytest.param("tls://host:0", "not a port", id="port zero"),
        pytest.param("tls://host:65536", "not a port", id="port too large"),
        pytest.param("tls://host:٤٤٣", "not a port", id="digits of other scripts"),
        pytest.param("tls://a*b.example", "names no host", id="a star inside"),
        pytest.param("tcp://203.0.113.9/28:22", "203.0.113.0/28", id="bits behind the prefix: both meanings named"),
    ],
)
def test_endpoints_that_are_none(text: str, why: str) -> None:
    with pytest.raises(ArgumentError) as raised:
        arguments.parse_endpoint(text)
    assert why in str(raised.value)


def test_places() -> None:
    place = {"site": "a", "room": "r1", "interface": "acc0", "prefix": "10.1.0.0/24", "side": "offshore"}
    assert arguments.parse_place("a/r1/acc0/10.1.0.0/24") == place
    assert arguments.parse_place("a/r1/acc0/10.1.0.0/24,side=domestic") == {**place, "side": "domestic"}
    assert arguments.parse_place("a/r1/acc0/fd00:1::/64")["prefix"] == "fd00:1::/64"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        pytest.param("a/r1/10.1.0.0/24", "not an IP prefix", id="the interface is missing"),
        pytest.param("a/r1", "SITE/ROOM/INTERFACE/PREFIX", id="too short"),
        pytest.param("a//acc0/10.1.0.0/24", "SITE/ROOM/INTERFACE/PREFIX", id="an empty part"),
        pytest.param("a/r1/acc0/10.1.0.5/24", "10.1.0.5 (one address)", id="host bits"),
        pytest.param("a/r1/acc0/10.1.0.0/24,side=moon", "side=offshore", id="an unknown side"),
    ],
)
def test_places_that_are_none(text: str, why: str) -> None:
    with pytest.raises(ArgumentError) as raised:
        arguments.parse_place(text)
    assert why in str(raised.value)


@pytest.mark.parametrize(
    ("text", "days"),
    [
        pytest.param("mon-fri", [0, 1, 2, 3, 4], id="a range"),
        pytest.param("sat-mon", [0, 5, 6], id="a range over the end of the week"),
        pytest.param("Wed,mon", [0, 2], id="a list, any case"),
        pytest.param("sun", [6], id="one day"),
    ],
)
def test_weekdays(text: str, days: list[int]) -> None:
    assert times.parse_weekdays(text) == days


@pytest.mark.parametrize(
    ("text", "span"),
    [
        pytest.param("08:00-20:00", (480, 1200), id="hours"),
        pytest.param("0:00-24:00", (0, 1440), id="the whole day"),
    ],
)
def test_hours(text: str, span: tuple[int, int]) -> None:
    assert times.parse_hours(text) == span


@pytest.mark.parametrize(
    ("text", "why"),
    [
        pytest.param("20:00-08:00", "two grants", id="over midnight"),
        pytest.param("08:00-08:00", "ends before it starts", id="no time"),
        pytest.param("08:00-24:30", "not a span", id="later than midnight"),
        pytest.param("8-20", "not a span", id="no minutes"),
    ],
)
def test_hours_that_are_none(text: str, why: str) -> None:
    with pytest.raises(ArgumentError) as raised:
        times.parse_hours(text)
    assert why in str(raised.value)


def test_weekdays_that_are_none() -> None:
    with pytest.raises(ArgumentError, match="range like mon-fri"):
        times.parse_weekdays("mon-funday")

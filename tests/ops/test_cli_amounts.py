"""Rates and amounts as people write them."""

import pytest

from ops.cli.amounts import format_rate, format_size, format_span, parse_rate, parse_size, parse_span
from ops.cli.times import ArgumentError


@pytest.mark.parametrize(
    ("text", "kbit"), [("500kbit", 500), ("10mbit", 10_000), ("1.5Gbit/s", 1_500_000), (" 2Mbit ", 2_000)]
)
def test_a_rate_is(text: str, kbit: int) -> None:
    assert parse_rate(text) == kbit


@pytest.mark.parametrize(
    "text", ["", "10", "10MB", "-1mbit", "1e3mbit", "１0mbit", "10 mbit extra", "9999999999mbit", "..5mbit", "0.5kbit"]
)
def test_no_rate_is(text: str) -> None:
    with pytest.raises(ArgumentError):
        parse_rate(text)


def test_one_rate_is_a_guarantee_and_two_are_guarantee_and_ceiling() -> None:
    assert parse_span("10mbit") == (10_000, 0)
    assert parse_span("10mbit..20mbit") == (10_000, 20_000)


AMOUNTS = [("1000", 1000), ("500MB", 500 * 10**6), ("10g", 10**10), ("2TB", 2 * 10**12)]


@pytest.mark.parametrize(("text", "octets"), AMOUNTS)
def test_an_amount_is(text: str, octets: int) -> None:
    assert parse_size(text) == octets


@pytest.mark.parametrize("text", ["", "GB", "-1GB", "1GiB", "1 2", "0.4"])
def test_no_amount_is(text: str) -> None:
    with pytest.raises(ArgumentError):
        parse_size(text)


def test_what_is_shown_reads_back() -> None:
    assert [parse_rate(format_rate(kbit)) for kbit in (1, 1500, 2_000, 3_000_000)] == [1, 1500, 2_000, 3_000_000]
    assert [parse_size(format_size(size)) for size in (1, 1500, 2 * 10**9)] == [1, 1500, 2 * 10**9]
    assert format_rate(0) == format_size(0) == format_span(0, 0) == ""
    assert format_span(0, 5_000) == "0kbit..5mbit"

"""Refusals of strangers: what is written, what is counted, and that nothing is lost or unbounded."""

import math

import pytest

from telemetry.strangers import OTHERS, Counted, Suppressor, source_prefix


def test_the_first_few_of_a_second_are_written_and_the_rest_become_one_count() -> None:
    suppressor = Suppressor(3)
    assert [suppressor.admit("192.0.2.1", "identity-unknown", 5.1) for _ in range(7)] == [True] * 3 + [False] * 4
    assert suppressor.flush(5.9) == []
    assert suppressor.flush(6.2) == [Counted("192.0.2.1", "identity-unknown", 4)]
    assert suppressor.flush(7.5) == []


def test_source_and_reason_are_counted_apart_and_a_new_second_begins_anew() -> None:
    suppressor = Suppressor(1)
    assert suppressor.admit("192.0.2.1", "identity-unknown", 1.0)
    assert suppressor.admit("192.0.2.2", "identity-unknown", 1.0)
    assert suppressor.admit("192.0.2.1", "malformed-request", 1.0)
    assert not suppressor.admit("192.0.2.1", "identity-unknown", 1.5)
    assert suppressor.admit("192.0.2.1", "identity-unknown", 2.0)


def test_many_sources_write_no_more_than_the_total_and_every_refusal_is_counted() -> None:
    suppressor = Suppressor(10, total=50, max_sources=20)
    written = sum(suppressor.admit(f"10.0.{i // 256}.{i % 256}", "identity-unknown", 1.0) for i in range(5000))
    counted = suppressor.flush(math.inf)
    assert written == 50
    assert written + sum(entry.count for entry in counted) == 5000
    assert len(counted) <= 21
    assert [entry.source for entry in counted].count(OTHERS) == 1


def test_memory_stays_bounded_by_max_sources() -> None:
    suppressor = Suppressor(1, total=10**9, max_sources=8)
    for i in range(1000):
        suppressor.admit(f"10.0.{i // 256}.{i % 256}", "identity-unknown", 1.0)
        suppressor.admit(f"10.0.{i // 256}.{i % 256}", "identity-unknown", 1.0)
    assert len(suppressor._seen) <= 8
    assert len(suppressor._counted) <= 9


PREFIXES = [
    ("192.0.2.1", "192.0.2.1"),
    ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
    ("2001:db8:1:2::9", "2001:db8:1:2::/64"),
    ("::ffff:192.0.2.1", "192.0.2.1"),
    ("not:an:address", "not:an:address"),
]


@pytest.mark.parametrize(("source", "prefix"), PREFIXES)
def test_one_host_cannot_look_like_many(source: str, prefix: str) -> None:
    assert source_prefix(source) == prefix

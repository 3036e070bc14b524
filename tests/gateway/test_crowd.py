"""Who leaves when there are too many handshakes."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.crowd import chosen, network

# Sources in the order in which they came, how many shall leave, and the places of those that do.
CASES = {
    "of one source the oldest": ("aaaa", 2, [0, 1]),
    "of sources alike the oldest": ("abcd", 2, [0, 1]),
    "of one that has many, and not of those before it": ("bcaaaa", 2, [2, 3]),
    "down to a level that is the same for all": ("aaaaaabbbbc", 5, [0, 1, 2, 3, 6]),
    "nobody of those who have one, while others have two": ("cdaabb", 2, [2, 4]),
    "everybody, if so many are wanted": ("abca", 9, [0, 1, 2, 3]),
    "nobody where nobody is": ("", 3, []),
}


@pytest.mark.parametrize("name", CASES)
def test_it_is(name: str) -> None:
    came, count, expected = CASES[name]
    assert chosen([(source, at) for at, source in enumerate(came)], count) == expected


# The same with sources that have a tunnel (capitals), of whose handshakes the last two are spared.
KNOWN = {
    "nobody who is known while there are others": ("Aaaaa", 4, [1, 2, 3, 4]),
    "of one that is known all but the last few": ("AAAAa", 3, [0, 1, 4]),
    "one that is known where nobody else is left": ("AAab", 4, [2, 3, 0, 1]),
}


@pytest.mark.parametrize("name", KNOWN)
def test_with_those_who_have_a_tunnel_it_is(name: str) -> None:
    came, count, expected = KNOWN[name]
    assert chosen([(source, at) for at, source in enumerate(came)], count, {"A"}, 2) == expected


@given(st.lists(st.integers(0, 6), max_size=60), st.integers(0, 70))
def test_so_many_leave_and_sources_that_are_cut_keep_about_as_much_as_any_other(came: list[int], count: int) -> None:
    waiting = [(source, (at, source)) for at, source in enumerate(came)]
    gone = chosen(waiting, count)
    assert len(gone) == min(count, len(came))
    before = Counter(came)
    after = before - Counter(source for _, source in gone)
    for source in {source for _, source in gone}:
        assert after[source] + len(before) > max(after.values(), default=0)  # nearly: one more or less for each
    for source in before:  # of each source the oldest
        ages = [at for at, of in gone if of == source]
        assert ages == [at for of, (at, _) in waiting if of == source][: len(ages)]


ONE = {
    "an address": ("10.0.0.1", "10.0.0.2", False),
    "the same address": ("10.0.0.1", "10.0.0.1", True),
    "two addresses of one IPv6 network": ("2001:db8::1", "2001:db8::ffff:1:2:3", True),
    "two IPv6 networks": ("2001:db8::1", "2001:db8:0:1::1", False),
}


@pytest.mark.parametrize("name", ONE)
def test_what_counts_as_one_source(name: str) -> None:
    one, other, same = ONE[name]
    assert (network(one) == network(other)) is same

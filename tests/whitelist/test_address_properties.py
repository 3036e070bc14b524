"""The classifier beside a naive reading of the registries: prefixes scanned one by one, embedded forms cut out of the
text. The two share neither tables nor code."""

import socket
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from hypothesis import given, settings
from hypothesis import strategies as st

from whitelist.address import AddressForbidden, check, classify
from whitelist.ip_text import format_v6, parse_v4, parse_v6

Address = IPv4Address | IPv6Address


def _networks(prefixes: str) -> list[IPv4Network | IPv6Network]:
    return [ip_network(prefix) for prefix in prefixes.split()]


NEVER = _networks("""0.0.0.0/8 127.0.0.0/8 169.254.0.0/16 224.0.0.0/4 255.255.255.255/32 168.63.129.16/32
    100.100.100.200/32 192.0.0.192/32 ::/96 ::ffff:0:0/96 64:ff9b:1::/48 fe80::/10 ff00::/8 fd00:ec2::/32
    fd20:ce::254/128""")
HELD_BACK = _networks("""10.0.0.0/8 100.64.0.0/10 172.16.0.0/12 192.0.0.0/24 192.0.2.0/24 192.88.99.0/24 192.168.0.0/16
    198.18.0.0/15 198.51.100.0/24 203.0.113.0/24 240.0.0.0/4
    ::/3 4000::/2 8000::/1 2001::/23 2001:db8::/32 2002::/16 3fff::/20""")
REACHABLE_INSIDE = _networks("""192.0.0.9/32 192.0.0.10/32 2001:1::1/128 2001:1::2/128 2001:1::3/128 2001:3::/32
    2001:4:112::/48 2001:20::/28 2001:30::/28""")


def _in_any(address: Address, networks: list[IPv4Network | IPv6Network]) -> bool:
    return any(address in network for network in networks)


def _hidden(address: Address) -> list[IPv4Address]:
    """Embedded IPv4 addresses, cut out of the 32 hexadecimal digits."""
    if address.version == 4:
        return []
    digits = address.packed.hex()
    tail = IPv4Address(bytes.fromhex(digits[24:]))
    found = []
    if digits[:24] in {"00000000000000000000ffff", "0000000000000000ffff0000", "0064ff9b0000000000000000"}:
        found.append(tail)
    if digits[:24] == "0" * 24 and int(address) > 1:
        found.append(tail)
    if digits.startswith("2002"):
        found.append(IPv4Address(bytes.fromhex(digits[4:12])))
    if digits.startswith("20010000"):
        found.append(IPv4Address(bytes.fromhex(digits[8:16])))
        found.append(IPv4Address(bytes(255 - octet for octet in bytes.fromhex(digits[24:]))))
    if digits[16:24] in {"00005efe", "01005efe", "02005efe", "03005efe"}:
        found.append(tail)
    return found


def _naively_allowed(address: Address, special: list[str]) -> bool:
    def passes(one: Address) -> bool:
        if _in_any(one, NEVER):
            return False
        return (
            not _in_any(one, HELD_BACK) or _in_any(one, REACHABLE_INSIDE) or _in_any(one, _networks(" ".join(special)))
        )

    return all(passes(one) for one in [address, *_hidden(address)])


def _allowed(address: Address, special: list[str]) -> bool:
    try:
        check(address, special)
    except AddressForbidden:
        return False
    return True


EDGES = NEVER + HELD_BACK + REACHABLE_INSIDE
V4 = st.ip_addresses(v=4) | st.sampled_from(
    [
        IPv4Address(int(edge) + step)
        for n in EDGES
        if n.version == 4
        for edge in (n[0], n[-1])
        for step in (-1, 0, 1)
        if 0 <= int(edge) + step < 2**32
    ]
)
V6_EDGES = st.sampled_from(
    [
        IPv6Address(int(edge) + step)
        for n in EDGES
        if n.version == 6
        for edge in (n[0], n[-1])
        for step in (-1, 0, 1)
        if 0 <= int(edge) + step < 2**128
    ]
)
HIGH, LOW = st.integers(0, 2**64 - 1), st.integers(0, 2**16 - 1)
EMBEDDING = st.one_of(
    st.builds(
        lambda v, p: IPv6Address((p << 32) + int(v)), V4, st.sampled_from([0, 0xFFFF, 0xFFFF0000, 0x64FF9B << 64])
    ),
    st.builds(lambda v, h: IPv6Address((0x2002 << 112) + (int(v) << 80) + h), V4, HIGH),
    st.builds(
        lambda s, c, f: IPv6Address((0x20010000 << 96) + (int(s) << 64) + (f << 32) + (int(c) ^ 0xFFFFFFFF)),
        V4,
        V4,
        LOW,
    ),
    st.builds(
        lambda v, h, ug: IPv6Address((h >> 3 | 1 << 61) << 64 | ug << 56 | 0x5EFE << 32 | int(v)),
        V4,
        HIGH,
        st.integers(0, 3),
    ),
    st.builds(lambda h, low: IPv6Address((0x64FF9B0001 << 80) + (h << 16) + low), HIGH, LOW),
)
GLOBAL = st.builds(lambda h, low: IPv6Address((h >> 3 | 1 << 61) << 64 | low), HIGH, HIGH)
ADDRESSES = V4 | st.ip_addresses(v=6) | V6_EDGES | EMBEDDING | GLOBAL
SPECIAL = st.lists(
    st.sampled_from(["0.0.0.0/0", "::/0", "10.0.0.0/8", "192.0.0.0/24", "2002::/16", "64:ff9b::/96", "2001::/23"]),
    max_size=3,
)


@settings(max_examples=1000)
@given(ADDRESSES, SPECIAL)
def test_classifier_agrees_with_the_naive_reading(address: Address, special: list[str]) -> None:
    assert classify(address).allowed == _naively_allowed(address, [])
    assert _allowed(address, special) == _naively_allowed(address, special)


@given(EMBEDDING, SPECIAL)
def test_address_that_hides_loopback_or_metadata_is_never_reachable(address: Address, special: list[str]) -> None:
    if any(inner.is_loopback or inner.is_link_local for inner in _hidden(address)):
        assert not _allowed(address, special)


@given(ADDRESSES, st.booleans())
def test_text_and_object_are_read_alike(address: Address, exploded: bool) -> None:
    text = address.exploded if exploded else address.compressed
    assert classify(text) == classify(address)
    assert ip_address(classify(text).address) == address


@given(ADDRESSES)
def test_own_address_is_never_reachable(address: Address) -> None:
    try:
        check(address, ("0.0.0.0/0", "::/0"), (str(address),))
    except AddressForbidden:
        return
    raise AssertionError("an own address was let through")


@given(
    st.text("0123456789abcdefABCDEF:.", max_size=45)
    | st.ip_addresses(v=6).map(lambda a: a.exploded[:-1] + "g")
    | st.text(max_size=10)
)
def test_text_is_an_address_to_us_just_when_it_is_to_the_c_library(text: str) -> None:
    for family, parse in ((socket.AF_INET, parse_v4), (socket.AF_INET6, parse_v6)):
        try:
            packed = socket.inet_pton(family, text)
        except (OSError, UnicodeError, ValueError):
            assert parse(text) is None
        else:
            assert parse(text) == int.from_bytes(packed)


@given(
    st.lists(st.sampled_from([0, 0, 0, 1, 0x10, 0xABC, 0xFFFF]), min_size=8, max_size=8)
    | st.lists(st.integers(0, 65535), min_size=8, max_size=8)
)
def test_ipv6_is_printed_as_rfc_5952_says(groups: list[int]) -> None:
    value = int.from_bytes(b"".join(group.to_bytes(2) for group in groups))
    printed = format_v6(value)
    assert parse_v6(printed) == value
    if any(groups[:5]):  # else an embedded quad may be printed, which libraries do differently
        assert printed == socket.inet_ntop(socket.AF_INET6, value.to_bytes(16))

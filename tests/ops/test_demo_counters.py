"""What the demo's counters take for the kernel's own words on a link, and what for a stray packet."""

import struct
from ipaddress import IPv6Address

import pytest

from ops.demo.counters import Count, classify

LINK, ABROAD, NEAR = "2001:db8:1::/64", "2001:db8:abcd::10", "2001:db8:1::1"
ALERT = bytes([58, 0, 5, 2, 0, 0, 1, 0])  # hop-by-hop with a router alert (RFC 2711)
LINK_ADDRESS, NONCE, UNKNOWN = b"\x01\x01" + bytes(6), b"\x0e\x01" + bytes(6), b"\xfd\x01SECRET"


def packet(target: str, hops: int, header: int, body: bytes) -> bytes:
    """An IPv6 packet."""
    ends = IPv6Address("2001:db8:1::2").packed + IPv6Address(target).packed
    return struct.pack("!IHBB", 6 << 28, len(body), header, hops) + ends + body


def solicitation(target: str, options: bytes = LINK_ADDRESS, hops: int = 255) -> bytes:
    """RFC 4861 4.3."""
    return packet(target, hops, 58, struct.pack("!BBHI", 135, 0, 0, 0) + IPv6Address(NEAR).packed + options)


def report(target: str, hops: int = 1) -> bytes:
    """RFC 3810 5.2."""
    return packet(target, hops, 0, ALERT + struct.pack("!BBHHH", 143, 0, 0, 0, 0))


CASES = [
    ("a question to the solicited-node group", solicitation("ff02::1:ff00:1"), "ND"),
    ("a question before the address is used, with a nonce", solicitation("ff02::1:ff00:1", NONCE), "ND"),
    ("a question to the neighbour itself", solicitation(NEAR), "ND"),
    ("a question to a link-local address, no options", solicitation("fe80::1", b""), "ND"),
    ("a question to an address that is on no link", solicitation(ABROAD), "IPv6 ICMPv6"),
    ("a question with a payload", solicitation(NEAR, b"SECRET-EXFIL-PAYLOAD" * 20), "IPv6 ICMPv6"),
    ("a question with an option that the kernel does not send", solicitation(NEAR, UNKNOWN), "IPv6 ICMPv6"),
    ("a question with half an option", solicitation(NEAR, LINK_ADDRESS[:5]), "IPv6 ICMPv6"),
    ("a question that may be forwarded", solicitation(NEAR, hops=64), "IPv6 ICMPv6"),
    ("a report to the group of all routers that listen", report("ff02::16"), "MLD"),
    ("a report to one machine", report(NEAR), "IPv6 ICMPv6"),
    ("a report that may be forwarded", report("ff02::16", 64), "IPv6 ICMPv6"),
]


@pytest.mark.parametrize(("frame", "kind"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_on_a_wire_it_counts(frame: bytes, kind: str) -> None:
    assert classify(0x86DD, frame, LINK) == kind
    count = Count()
    count.kinds[kind] += 1
    assert (count.kernel, count.stray) == ((1, 0) if kind in ("ND", "MLD") else (0, 1))


def test_a_frame_that_was_cut_short_is_a_stray_one() -> None:
    assert classify(0x86DD, solicitation(NEAR)[:66], LINK) == "IPv6 ICMPv6"

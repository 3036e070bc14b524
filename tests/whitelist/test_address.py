"""The address classifier: every form an address can hide in, and what no special prefix opens."""

import copy
import pickle
from ipaddress import ip_address, ip_network

import pytest

from whitelist.address import AddressForbidden, CheckedAddress, check, classify
from whitelist.reason import Reason
from whitelist.special_purpose import IPV4, IPV6, Block, block_of

FORBIDDEN = {
    "loopback": ("127.0.0.1", "loopback"),
    "the last of loopback": ("127.255.255.255", "loopback"),
    "unspecified": ("0.0.0.0", "unspecified"),
    "this network": ("0.1.2.3", "this-network"),
    "private 10/8": ("10.0.0.1", "private"),
    "private 172.16/12 at its end": ("172.31.255.255", "private"),
    "private 192.168/16": ("192.168.1.1", "private"),
    "carrier-grade NAT": ("100.64.0.1", "shared"),
    "carrier-grade NAT at its end": ("100.127.255.255", "shared"),
    "link-local": ("169.254.1.1", "link-local"),
    "cloud metadata": ("169.254.169.254", "metadata"),
    "Azure's wire server in global space": ("168.63.129.16", "metadata"),
    "Alibaba's metadata": ("100.100.100.200", "metadata"),
    "Oracle's old metadata": ("192.0.0.192", "metadata"),
    "protocol assignments": ("192.0.0.1", "service-continuity"),
    "the rest of 192.0.0/24": ("192.0.0.11", "protocol-assignments"),
    "the dummy address": ("192.0.0.8", "dummy"),
    "NAT64 discovery": ("192.0.0.171", "nat64-discovery"),
    "TEST-NET-1": ("192.0.2.1", "documentation"),
    "TEST-NET-2": ("198.51.100.1", "documentation"),
    "TEST-NET-3": ("203.0.113.1", "documentation"),
    "the deprecated 6to4 relay": ("192.88.99.1", "6to4-relay"),
    "benchmarking": ("198.18.0.1", "benchmarking"),
    "benchmarking at its end": ("198.19.255.255", "benchmarking"),
    "multicast": ("224.0.0.1", "multicast"),
    "multicast at its end": ("239.255.255.255", "multicast"),
    "class E": ("240.0.0.1", "reserved"),
    "broadcast": ("255.255.255.255", "broadcast"),
    "IPv6 unspecified": ("::", "unspecified"),
    "IPv6 loopback": ("::1", "loopback"),
    "mapped loopback": ("::ffff:127.0.0.1", "ipv4-mapped→loopback"),
    "mapped private in hexadecimal": ("::ffff:a00:1", "ipv4-mapped→private"),
    "a mapped public address": ("::ffff:93.184.215.14", "ipv4-mapped"),
    "translated loopback": ("::ffff:0:127.0.0.1", "ipv4-translated→loopback"),
    "a translated public address": ("::ffff:0:93.184.215.14", "ipv4-translated"),
    "compatible loopback": ("::7f00:1", "ipv4-compatible→loopback"),
    "compatible with nothing in front": ("::2", "ipv4-compatible→this-network"),
    "a compatible public address": ("::5db8:d70e", "ipv4-compatible"),
    "NAT64 loopback": ("64:ff9b::7f00:1", "nat64→loopback"),
    "NAT64 metadata": ("64:ff9b::a9fe:a9fe", "nat64→metadata"),
    "a NAT64 public address": ("64:ff9b::5db8:d70e", "nat64"),
    "local NAT64 private": ("64:ff9b:1::a00:1", "nat64-local"),
    "local NAT64 in the /48 layout": ("64:ff9b:1:a00:0:100::", "nat64-local"),
    "local NAT64 in the /56 layout": ("64:ff9b:1:7f:0:1::", "nat64-local"),
    "between the two NAT64 prefixes": ("64:ff9b:0:1::1", "unallocated"),
    "6to4 loopback": ("2002:7f00:1::", "6to4→loopback"),
    "6to4 private": ("2002:c0a8:101::1", "6to4→private"),
    "a 6to4 public address": ("2002:5db8:d70e::1", "6to4"),
    "a Teredo client inside": ("2001:0:5db8:d70e:0:0:f5ff:fffe", "teredo→private"),
    "a Teredo server on loopback": ("2001:0:7f00:1:0:0:a247:28f1", "teredo→loopback"),
    "a public Teredo address": ("2001:0:5db8:d70e:0:0:a247:28f1", "teredo"),
    "ISATAP loopback": ("2606:2800:220:1:0:5efe:7f00:1", "isatap→loopback"),
    "ISATAP private with the u bit": ("2606:2800:220:1:200:5efe:a00:1", "isatap→private"),
    "ISATAP private with the g bit": ("2606:2800:220:1:100:5efe:a00:1", "isatap→private"),
    "ISATAP on link-local": ("fe80::5efe:5db8:d70e", "link-local"),
    "link-local IPv6": ("fe80::1", "link-local"),
    "link-local with a zone": ("fe80::1%eth0", "not-an-address"),
    "a public address with a zone": ("2606:2800:220:1::1%1", "not-an-address"),
    "site-local": ("fec0::1", "site-local"),
    "unique local": ("fd00:1::1", "unique-local"),
    "the other half of unique local": ("fc00::1", "unique-local"),
    "AWS metadata over IPv6": ("fd00:ec2::254", "metadata"),
    "Google's metadata over IPv6": ("fd20:ce::254", "metadata"),
    "IPv6 multicast": ("ff02::1", "multicast"),
    "IPv6 multicast of global scope": ("ff0e::1", "multicast"),
    "IPv6 documentation": ("2001:db8::1", "documentation"),
    "the newer IPv6 documentation": ("3fff::1", "documentation"),
    "discard-only": ("100::1", "discard-only"),
    "the dummy prefix": ("100:0:0:1::1", "dummy"),
    "IPv6 benchmarking": ("2001:2::1", "benchmarking"),
    "ORCHID": ("2001:10::1", "orchid"),
    "IPv6 protocol assignments": ("2001:1ff::1", "protocol-assignments"),
    "segment identifiers": ("5f00::1", "srv6-sid"),
    "below global unicast": ("1fff:ffff::1", "unallocated"),
    "above global unicast": ("4000::1", "unallocated"),
    "the OSI prefix": ("200::1", "unallocated"),
    "a short address": ("127.1", "not-an-address"),
    "a decimal address": ("2130706433", "not-an-address"),
    "a hexadecimal address": ("0x7f000001", "not-an-address"),
    "an octal address": ("0177.0.0.1", "not-an-address"),
    "a leading zero": ("93.184.215.014", "not-an-address"),
    "full-width digits": ("９3.184.215.14", "not-an-address"),
    "a space": ("93.184.215.14 ", "not-an-address"),
    "a name": ("example.com", "not-an-address"),
    "brackets": ("[2606:2800:220:1::1]", "not-an-address"),
    "a prefix": ("93.184.215.14/32", "not-an-address"),
    "nothing": ("", "not-an-address"),
    "a sign in a group": ("2606:+1::1", "not-an-address"),
    "an underscore in a group": ("2606:1_1::1", "not-an-address"),
    "a group of five digits against one missing": ("12606:2800:220:1:1:1:1", "not-an-address"),
    "a group of five digits against one of three": ("12345:220:1:1:1:1:1:1", "not-an-address"),
    "a gap that stands for nothing": ("1:2:3:4::5:6:7:8", "not-an-address"),
    "a gap at the end that stands for nothing": ("1:2:3:4:5:6:7:8::", "not-an-address"),
    "two gaps": ("2606::1::1", "not-an-address"),
    "a quad in the middle": ("2606:1.2.3.4::1", "not-an-address"),
    "a quad and nothing": (":1.2.3.4", "not-an-address"),
    "one colon": (":", "not-an-address"),
    "three colons": (":::", "not-an-address"),
    "a colon at the end": ("1:2:3:4:5:6:7:", "not-an-address"),
    "a colon at the start": (":2:3:4:5:6:7:8", "not-an-address"),
}


@pytest.mark.parametrize(("address", "kind"), FORBIDDEN.values(), ids=FORBIDDEN)
def test_address_is_forbidden(address: str, kind: str) -> None:
    verdict = classify(address)
    assert (verdict.allowed, verdict.kind) == (False, kind)
    with pytest.raises(AddressForbidden) as caught:
        check(address)
    assert (caught.value.reason, caught.value.kind) == (Reason.ADDRESS_FORBIDDEN, kind)


ALLOWED = {
    "an ordinary IPv4 address": ("93.184.215.14", "global"),
    "just below private 10/8": ("9.255.255.255", "global"),
    "just above private 10/8": ("11.0.0.0", "global"),
    "just below carrier-grade NAT": ("100.63.255.255", "global"),
    "just above carrier-grade NAT": ("100.128.0.0", "global"),
    "just above private 172.16/12": ("172.32.0.0", "global"),
    "just above loopback": ("128.0.0.0", "global"),
    "just below multicast": ("223.255.255.255", "global"),
    "a neighbour of Azure's wire server": ("168.63.129.17", "global"),
    "port control anycast, globally reachable": ("192.0.0.9", "pcp-anycast"),
    "relay anycast, globally reachable": ("192.0.0.10", "turn-anycast"),
    "AS112": ("192.175.48.1", "as112"),
    "an ordinary IPv6 address": ("2606:2800:220:1:248:1893:25c8:1946", "global"),
    "the first of global unicast": ("2000::", "global"),
    "the last of global unicast": ("3fff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "global"),
    "just above the protocol assignments": ("2001:200::1", "global"),
    "port control anycast over IPv6": ("2001:1::1", "pcp-anycast"),
    "service registration anycast": ("2001:1::3", "srp-anycast"),
    "AS112 over IPv6": ("2620:4f:8000::1", "as112"),
    "ISATAP of a public address": ("2606:2800:220:1:0:5efe:5db8:d70e", "global"),
    "nearly ISATAP": ("2606:2800:220:1:0:5eff:7f00:1", "global"),
}


@pytest.mark.parametrize(("address", "kind"), ALLOWED.values(), ids=ALLOWED)
def test_address_is_an_ordinary_destination(address: str, kind: str) -> None:
    assert classify(address) == (True, kind, address)
    assert classify(ip_address(address)) == (True, kind, address)
    checked = check(address)
    assert (checked.text, checked.family) == (address, 6 if ":" in address else 4)


def test_address_objects_with_a_zone_are_forbidden() -> None:
    assert classify(ip_address("2606:2800:220:1::1%eth0")).kind == "not-an-address"


def test_other_spellings_of_ipv6_are_made_canonical() -> None:
    assert check("2606:2800:0220:0001:0:0:0:ABCD").text == "2606:2800:220:1::abcd"
    assert classify("::FFFF:7F00:1").address == "::ffff:127.0.0.1"


OPENED = {
    "documentation where a service names it": ("203.0.113.7", ("203.0.113.0/24",)),
    "IPv6 documentation": ("2001:db8::7", ("2001:db8::/32",)),
    "private space": ("10.1.2.3", ("10.1.0.0/16",)),
    "one host": ("10.1.2.3", ("10.1.2.3",)),
    "the second of several prefixes": ("10.1.2.3", ("2001:db8::/32", "10.1.0.0/16")),
    "unique local": ("fd00:1::1", ("fd00:1::/64",)),
    "NAT64 of a public address": ("64:ff9b::5db8:d70e", ("64:ff9b::/96",)),
    "NAT64 of a private address when both are named": ("64:ff9b::a00:1", ("64:ff9b::/96", "10.0.0.0/8")),
    "6to4 of a public address": ("2002:5db8:d70e::1", ("2002::/16",)),
    "ISATAP of a private address that is named": ("2606:2800:220:1:0:5efe:a00:1", ("10.0.0.0/8",)),
    "class E": ("240.0.0.1", ("240.0.0.0/4",)),
}


@pytest.mark.parametrize(("address", "special"), OPENED.values(), ids=OPENED)
def test_special_prefix_opens(address: str, special: tuple[str, ...]) -> None:
    assert check(address, special).text == address
    with pytest.raises(AddressForbidden):
        check(address)


EVERYTHING = ("0.0.0.0/0", "::/0")
NEVER_OPENED = {
    "loopback": ("127.0.0.1", EVERYTHING, "loopback"),
    "unspecified": ("0.0.0.0", EVERYTHING, "unspecified"),
    "this network": ("0.0.0.1", EVERYTHING, "this-network"),
    "link-local": ("169.254.0.1", EVERYTHING, "link-local"),
    "metadata": ("169.254.169.254", EVERYTHING, "metadata"),
    "Azure's metadata": ("168.63.129.16", EVERYTHING, "metadata"),
    "Alibaba's metadata": ("100.100.100.200", ("100.64.0.0/10",), "metadata"),
    "multicast": ("224.0.0.1", EVERYTHING, "multicast"),
    "broadcast": ("255.255.255.255", EVERYTHING, "broadcast"),
    "IPv6 loopback": ("::1", EVERYTHING, "loopback"),
    "IPv6 unspecified": ("::", EVERYTHING, "unspecified"),
    "IPv6 link-local": ("fe80::1", EVERYTHING, "link-local"),
    "IPv6 metadata": ("fd00:ec2::254", ("fd00::/8",), "metadata"),
    "Google's IPv6 metadata": ("fd20:ce::254", ("fd20::/16",), "metadata"),
    "Oracle's old metadata": ("192.0.0.192", ("192.0.0.0/24",), "metadata"),
    "IPv6 multicast": ("ff02::1", EVERYTHING, "multicast"),
    "a mapped address": ("::ffff:93.184.215.14", EVERYTHING, "ipv4-mapped"),
    "a mapped private address": ("::ffff:10.0.0.1", EVERYTHING, "ipv4-mapped"),
    "a compatible address": ("::5db8:d70e", EVERYTHING, "ipv4-compatible"),
    "local NAT64": ("64:ff9b:1::5db8:d70e", EVERYTHING, "nat64-local"),
    "NAT64 of loopback": ("64:ff9b::7f00:1", EVERYTHING, "nat64→loopback"),
    "6to4 of metadata": ("2002:a9fe:a9fe::1", EVERYTHING, "6to4→metadata"),
    "ISATAP of loopback": ("2606:2800:220:1:0:5efe:7f00:1", EVERYTHING, "isatap→loopback"),
    "NAT64 of a private address when only NAT64 is named": ("64:ff9b::a00:1", ("64:ff9b::/96",), "nat64→private"),
    "NAT64 of a private address when only the private is": ("64:ff9b::a00:1", ("10.0.0.0/8",), "nat64"),
    "documentation beside the named prefix": ("198.51.100.1", ("203.0.113.0/24",), "documentation"),
    "an IPv4 prefix for an IPv6 address": ("2001:db8::1", ("0.0.0.0/0",), "documentation"),
}


@pytest.mark.parametrize(("address", "special", "kind"), NEVER_OPENED.values(), ids=NEVER_OPENED)
def test_special_prefix_does_not_open(address: str, special: tuple[str, ...], kind: str) -> None:
    with pytest.raises(AddressForbidden) as caught:
        check(address, special)
    assert caught.value.kind == kind


OWN = {
    "an own address in global space": ("93.184.215.14", ("93.184.215.14",)),
    "an own address under a special prefix": ("10.0.0.1", ("10.0.0.1",)),
    "an own IPv6 address in another spelling": ("2606:2800:220:1::1", ("2606:2800:220:1:0:0:0:1",)),
    "an own address behind NAT64": ("64:ff9b::a00:1", ("10.0.0.1",)),
    "an own public address behind ISATAP": ("2606:2800:220:1:0:5efe:5db8:d70e", ("93.184.215.14",)),
    "an own address behind 6to4": ("2002:5db8:d70e::1", ("93.184.215.14",)),
}


@pytest.mark.parametrize(("address", "own"), OWN.values(), ids=OWN)
def test_own_address_is_forbidden_whatever_covers_it(address: str, own: tuple[str, ...]) -> None:
    assert check(address, EVERYTHING).text == address
    with pytest.raises(AddressForbidden) as caught:
        check(address, EVERYTHING, own)
    assert caught.value.kind == "own-address"


UNREADABLE = {
    "a special prefix with host bits": ("10.0.0.1", ("10.0.0.1/8",), ()),
    "a special prefix that is a word": ("10.0.0.1", ("10.0.0.0/8", "office"), ()),
    "an own address that is a prefix": ("93.184.215.14", (), ("10.0.0.1/24",)),
    "one text instead of several": ("10.0.0.1", "10.0.0.0/8", ()),
}


@pytest.mark.parametrize(("address", "special", "own"), UNREADABLE.values(), ids=UNREADABLE)
def test_unreadable_prefix_opens_nothing(address: str, special: tuple[str, ...], own: tuple[str, ...]) -> None:
    with pytest.raises(AddressForbidden, match="unreadable prefix"):
        check(address, special, own)


def test_prefixes_and_own_addresses_may_come_in_any_collection() -> None:
    assert check("10.0.0.2", ["10.0.0.0/8"], {"10.0.0.1"}).text == "10.0.0.2"


def test_only_check_makes_a_checked_address() -> None:
    with pytest.raises(TypeError, match="only"):
        CheckedAddress("127.0.0.1", 4)
    with pytest.raises(TypeError, match="only"):
        CheckedAddress()


def test_checked_address_cannot_be_changed_or_copied() -> None:
    checked = check("93.184.215.14")
    with pytest.raises(AttributeError):
        checked.text = "127.0.0.1"
    with pytest.raises(AttributeError):
        del checked.text
    for duplicate in (copy.copy, copy.deepcopy, pickle.dumps):
        with pytest.raises(TypeError, match="check the address again"):
            duplicate(checked)
    assert checked == check("93.184.215.14") != check("93.184.215.15")


@pytest.mark.parametrize("block", IPV4 + IPV6, ids=lambda block: block.prefix)
def test_registry_entry_answers_at_its_edges_unless_a_narrower_one_does(block: Block) -> None:
    network = ip_network(block.prefix)  # raises where host bits are set
    for edge in (network[0], network[-1]):
        owner = block_of(network.version, int(edge))
        assert owner is block or ip_network(owner.prefix).prefixlen > network.prefixlen
        assert edge in ip_network(owner.prefix)
    assert block.source, "every entry says who says so"

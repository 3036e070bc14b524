"""What may be named as the target of feiyu doctor egress."""

import pytest

from gateway.line.model import Access, Management, NodeConfig
from ops.doctor.aim import AimError, Named, aim_of, look_up, named, parse

NODE = NodeConfig(
    access=(Access(interface="acc0", prefixes=("10.0.0.0/24", "2001:db8:a::/64")),),
    management=(Management(interface="mgmt0", prefixes=("192.0.2.0/24",)),),
)

GOOD = {
    "a name": ("Example.COM", ("example.com", 443)),
    "a name and a port": ("example.com:8443", ("example.com", 8443)),
    "an address": ("203.0.113.9", ("203.0.113.9", 443)),
    "an address and a port": ("203.0.113.9:22", ("203.0.113.9", 22)),
    "an IPv6 address": ("2001:db8::9", ("2001:db8::9", 443)),
    "an IPv6 address in brackets": ("[2001:db8::9]", ("2001:db8::9", 443)),
    "an IPv6 address and a port": ("[2001:db8::9]:22", ("2001:db8::9", 22)),
}


@pytest.mark.parametrize("sentence", GOOD)
def test_a_target_is(sentence: str) -> None:
    text, wanted = GOOD[sentence]
    assert parse(text) == wanted


WRONG = {
    "nothing before the port": (":443", "is no target"),
    "nothing after the colon": ("example.com:", "no right port"),
    "port 0": ("example.com:0", "no right port"),
    "a port of 17 bits": ("example.com:65536", "no right port"),
    "a port in letters": ("example.com:https", "no right port"),
    "a port in other digits": ("example.com:４４３", "no right port"),
    "half a bracket": ("[2001:db8::9", "is no target"),
    "words behind the bracket": ("[2001:db8::9]x", "is no target"),
    "IPv4 in brackets": ("[192.0.2.1]", "is no target"),
    "a path": ("example.com/x", "is no target"),
    "a machine of the clients'": ("10.0.0.9", "10.0.0.0/24, which the node may reach"),
    "an IPv6 machine of the clients'": ("2001:db8:a::9", "2001:db8:a::/64, which the node may reach"),
    "a machine of the management's": ("192.0.2.9:22", "192.0.2.0/24, which the node may reach"),
    "the loopback": ("127.0.0.1", "no address of one machine"),
    "the loopback by name": ("localhost", "is no"),
    "a group": ("239.1.1.1", "no address of one machine"),
    "everybody": ("255.255.255.255", "no address of one machine"),
    "no address": ("::", "no address of one machine"),
    "IPv4 in disguise": ("::ffff:203.0.113.9", "IPv4 in IPv6's form"),
    "a line's gateway": ("198.51.100.1:443", "the gateway of a line"),
    "a neighbour": ("169.254.1.1", "is link-local"),
}


@pytest.mark.parametrize("sentence", WRONG)
def test_no_target_is(sentence: str) -> None:
    text, words = WRONG[sentence]
    with pytest.raises(AimError, match=words) as refused:
        named(text, NODE, ("198.51.100.1",))
    assert refused.value.remedy


def test_a_target_has_the_families_that_it_has() -> None:
    assert named("203.0.113.9:22", NODE) == Named({4: "203.0.113.9"}, 22)


def test_a_name_that_is_not_answered_in_time_is_told_with_the_way_round() -> None:
    with pytest.raises(AimError, match="cannot be resolved here") as refused:
        look_up("no-such-host.invalid", patience=0.0)
    assert "ADDRESS" in refused.value.remedy


def test_attempts_are_told_apart_by_address_and_port_or_by_where_they_come_from() -> None:
    one, two = aim_of(4, 1, None), aim_of(4, 2, None)
    assert (one.address, one.port) != (two.address, two.port)
    given = Named({4: "203.0.113.9"}, 443)
    assert [(a.address, a.port, a.named) for a in (aim_of(4, 1, given), aim_of(4, 2, given))] == [
        ("203.0.113.9", 443, True)
    ] * 2
    assert aim_of(4, 1, given).own != aim_of(4, 2, given).own

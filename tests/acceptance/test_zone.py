"""The zone itself: what the counter tells apart, and that nothing is left of it."""

import os
import subprocess
from pathlib import Path

import pytest

from ops.demo.counters import CounterError, WireCounter, classify
from ops.demo.network import DEFAULT, FIRMS, GATEWAY, NETNS, NetworkError, Zone, sweep
from ops.demo.world import ALL_ADDRESSES, NAMES, SEARCH

V6 = bytes([0x60, 0, 0, 0, 0, 32])
TO_GROUP = bytes(16) + b"\xff\x02" + bytes(14)  # source and destination
SOLICITATION = b"\x87" + bytes(23) + b"\x01\x01" + bytes(6)


@pytest.mark.parametrize(
    ("ethertype", "packet", "kind"),
    [
        pytest.param(0x0806, bytes(28), "ARP", id="an address is asked for"),
        pytest.param(0x0800, bytes(9) + b"\x06" + bytes(10), "IPv4 TCP", id="tcp"),
        pytest.param(0x0800, bytes(9) + b"\x01" + bytes(10), "IPv4 ICMP", id="ping"),
        pytest.param(0x86DD, V6 + b"\x11\x40" + bytes(40), "IPv6 UDP", id="udp over IPv6"),
        pytest.param(0x86DD, V6 + b"\x3a\xff" + TO_GROUP + SOLICITATION, "ND", id="neighbour solicitation"),
        pytest.param(0x86DD, V6 + b"\x3a\x40" + TO_GROUP + SOLICITATION, "IPv6 ICMPv6", id="a forged one from afar"),
        pytest.param(0x86DD, V6 + b"\x3a\x40" + bytes(32) + b"\x80", "IPv6 ICMPv6", id="ping over IPv6"),
        pytest.param(0x86DD, V6 + b"\x00\x01" + TO_GROUP + b"\x3a" + bytes(7) + b"\x8f", "MLD", id="MLDv2 report"),
        pytest.param(
            0x86DD, V6 + b"\x00\x01" + bytes(32) + b"\x06" + bytes(7) + b"\x8f", "IPv6 6", id="tcp behind options"
        ),
        pytest.param(0x0800, b"", "ethertype 0x0800", id="cut short"),
    ],
)
def test_kinds_of_packets(ethertype: int, packet: bytes, kind: str) -> None:
    assert classify(ethertype, packet).replace("IPv6 TCP", "IPv6 6") == kind


@pytest.mark.root
def test_the_counter_sees_each_family_and_says_when_it_is_blind() -> None:
    with Zone(ALL_ADDRESSES, "fytz") as zone, WireCounter(zone, DEFAULT) as counter:
        counter.reset()
        for address in NAMES[SEARCH]:
            ping = zone.run(
                GATEWAY,
                ["curl", "-s", "-m", "1", f"telnet://[{address}]:9" if ":" in address else f"telnet://{address}:9"],
            )
            assert ping.returncode == 7, "abroad is reached, and refuses: nothing listens there"
        count = counter.read()
        assert count.kinds["IPv4 TCP"] == count.kinds["IPv6 TCP"] == 1
        assert count.stray == 2
        zone.run(FIRMS["acme"].ns, ["curl", "-s", "-m", "0.3", f"http://{NAMES[SEARCH][0]}/"])
        assert counter.read().stray == 2, "the gateway forwards nothing by itself"
        zone.ip(DEFAULT.ns, "link set gw down")
        with pytest.raises((CounterError, OSError)):
            counter.read(0.5)


@pytest.mark.root
def test_nothing_is_left_of_a_zone_that_could_not_be_built() -> None:
    with pytest.raises(NetworkError, match="ip in abroad"), Zone(["203.0.113.300"], "fytz"):
        pass
    assert not list(NETNS.glob(f"fytz-{os.getpid()}-*"))


@pytest.mark.root
def test_the_sweep_takes_only_what_the_dead_left() -> None:
    ended = subprocess.Popen(["true"])
    ended.wait()
    dead, alive = f"fysweep-{ended.pid}-gw", f"fysweep-{os.getpid()}-gw"
    try:
        for name in (dead, alive):
            subprocess.run(["ip", "netns", "add", name], check=True)
        assert sweep("fysweep") == [dead]
        assert Path(NETNS, alive).exists()
        assert not Path(NETNS, dead).exists()
    finally:
        for name in (dead, alive):
            subprocess.run(["ip", "netns", "del", name], capture_output=True)

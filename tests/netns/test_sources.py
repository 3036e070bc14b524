"""A tenant's own egress address on a line: held by every layer, as the line's own address is."""

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from gateway.line import dial
from gateway.line.model import handle_of
from tests.netns.bench import FLUSH_ROUTES, FLUSH_RULES, NO_TABLE, Bench, configured, line_of, node_of
from tests.netns.kit import ABROAD, AF, PORT, Zone
from tests.netns.test_dial import checked, permit
from tests.netns.traffic import Traffic
from whitelist.model import LineShare

pytestmark = pytest.mark.root
OWN = {4: "198.51.100.4", 6: "2001:db8:1::4"}
SHARES = (LineShare(tenant="t", number=1, source4=OWN[4], source6=OWN[6]),)
LAYERS = {
    "nothing": [],
    "nft table": NO_TABLE,
    "all rules": FLUSH_RULES,
    "all routes": FLUSH_ROUTES,
    "rules and routes": FLUSH_RULES + FLUSH_ROUTES,
    "the address itself": ["ip addr del 198.51.100.4/29 dev iplc1", "ip -6 addr del 2001:db8:1::4/64 dev iplc1"],
}


@pytest.fixture
def shared(zone: Zone) -> Iterator[Bench]:
    """line-1 with an address of its own for tenant t."""
    zone.gateway.ip([f"addr add {OWN[4]}/29 dev iplc1", f"addr add {OWN[6]}/64 dev iplc1 nodad"])
    lines = [replace(line_of(zone, 1, "iplc1"), shares=SHARES), line_of(zone, 2, "iplc2")]
    with zone.gateway.inside(), configured(node_of(zone), lines) as keeper:
        Path("/proc/sys/net/ipv4/tcp_syn_retries").write_text("1")
        yield Bench(zone, keeper, handle_of(lines[0]), handle_of(lines[1]))


@pytest.mark.parametrize("version", [4, 6], ids=["IPv4", "IPv6"])
def test_the_service_sees_the_tenant_s_address(shared: Bench, version: int) -> None:
    sock = socket.socket(fileno=dial.connect(permit("line-1"), checked(version), PORT, shared.one).detach())
    with sock:
        sock.settimeout(3)
        sock.connect((ABROAD[version], PORT))
        assert sock.getsockname()[0] == OWN[version]


@pytest.mark.parametrize("removed", LAYERS)
def test_no_packet_with_the_tenant_s_address_leaves_elsewhere_without(shared: Bench, removed: str) -> None:
    def plain(version: int, *, datagram: bool) -> socket.SocketType:
        """Bound to the address alone: neither marked nor on the device."""
        sock = socket.socket(AF[version], socket.SOCK_DGRAM if datagram else socket.SOCK_STREAM)
        sock.setblocking(False)
        sock.bind((OWN[version], 0))
        return sock

    for device in ("wan0", "iplc2"):
        shared.zone.count(device)
    with Traffic(shared.zone, plain) as traffic:
        traffic.wait(3)
        shared.run(*LAYERS[removed])
        traffic.wait(8)
    assert [shared.zone.count(device).leaked for device in ("wan0", "iplc2")] == [0, 0]


def test_with_all_layers_off_the_counters_see_the_address(shared: Bench) -> None:
    shared.run(*NO_TABLE, *FLUSH_RULES, *FLUSH_ROUTES)
    shared.zone.count("wan0")
    for version in (4, 6):
        with socket.socket(AF[version], socket.SOCK_DGRAM) as sock:
            sock.bind((OWN[version], 0))
            sock.sendto(b"x", (ABROAD[version], 53))
    assert shared.zone.count("wan0").leaked == 2

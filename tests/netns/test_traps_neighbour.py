"""Known traps that come from a wire's far end: proxy ARP, router advertisements, redirects, scans, spoofed sources.

Each is first seen to work where nothing holds it, and then tried with all layers on and with each of those that hold it
taken away.
"""

import contextlib
import socket
import struct
import subprocess
from collections.abc import Iterator

import msgspec
import pytest

from gateway.line import dial, nft
from gateway.line.model import handle_of
from tests.netns.bench import FLUSH_RULES, NO_TABLE, Bench, configured, line_of, node_of
from tests.netns.kit import ABROAD, AF, PORT, Zone
from tests.netns.packets import SYN
from tests.netns.traffic import partial
from tests.netns.trap_kit import ALL_OFF, LAYERS, LOOSE, UNLIMITED, counted, icmp, send, tcp, udp, watch

pytestmark = pytest.mark.root
FAMILIES = pytest.mark.parametrize("version", [4, 6], ids=["IPv4", "IPv6"])
ROUTER = "fe80::1"  # the far end as a router on the link
OTHERS = {4: "198.51.100.3", 6: "fe80::3"}  # a second router on the line's link
EVERY = ("wan0", "iplc1", "iplc2")
BEYOND = "203.0.113.99"  # abroad, and nobody there


def sent(bench: Bench, version: int, target: str, **parts: object) -> None:
    """A datagram of a socket that has only these parts; whether the kernel takes it or not."""
    with contextlib.closing(partial(**parts)(version, datagram=True)) as sock, contextlib.suppress(OSError):  # type: ignore[arg-type]
        sock.sendto(b"x", (target, 53))


def says_for_all(bench: Bench, device: str) -> None:
    """The far end answers ARP for every address that is not on this wire."""
    with bench.zone.wires[device].ns.inside():
        run = [
            "sysctl",
            "-qw",
            "net.ipv4.conf.far.proxy_arp=1",
            "net.ipv4.conf.far.forwarding=1",
            "net.ipv4.neigh.far.proxy_delay=0",
        ]
        subprocess.run(run, check=True, timeout=10)
    there = ["link add other type veth peer name beyond", "link set other up", "link set beyond up"]
    bench.zone.wires[device].ns.ip([*there, f"route add {BEYOND} dev other"])


@pytest.mark.parametrize("device", ["wan0", "iplc1"])
def test_a_neighbour_that_answers_arp_for_everything_gets_no_packet(bench: Bench, device: str) -> None:
    """For a device-bound IPv4 socket without a route the kernel takes every destination for on-link."""
    watch(bench)
    bench.run(*ALL_OFF)
    if device == "wan0":
        bench.run("ip route del default")
    says_for_all(bench, device)
    counted(bench, device)
    for _ in range(2):
        sent(bench, 4, BEYOND, mark=bench.one.mark, device=device, source=bench.one)
        assert counted(bench, device)[device], "ARP, then the packet itself"
    known = subprocess.run(["ip", "neigh", "show", BEYOND], capture_output=True, text=True, timeout=10).stdout
    assert bench.zone.wires[device].mac(1) in known, "the neighbour said it is there"
    for removal in ([], *(r for name, r in LAYERS.items() if name != "nft table")):
        bench.keeper.sweep()
        bench.run(*removal)
        counted(bench, *EVERY)
        sent(bench, 4, BEYOND, mark=bench.one.mark, device=device, source=bench.one)
        seen = counted(bench, "wan0", "iplc2")
        assert seen == {"wan0": 0, "iplc2": 0}, removal
        if device == "iplc1" and removal in (FLUSH_RULES, LAYERS["routes"]):
            assert counted(bench, "iplc1") == {"iplc1": 0}, "no packet on-link on the line either"


def advertised(bench: Bench, device: str) -> None:
    """A router advertisement of high preference from the far end (RFC 4861 4.2, RFC 4191 2.2)."""
    body = struct.pack("!BBHBBHII", 134, 0, 0, 64, 0x08, 1800, 0, 0)
    send(bench.zone.wires[device], icmp(ROUTER, "ff02::1", body, 255), to="33:33:00:00:00:01")


def learnt(device: str) -> bool:
    """Whether the gateway has a default route by this router."""
    command = ["ip", "-6", "route", "show", "default"]
    shown = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout
    return any(f"via {ROUTER} dev {device}" in line for line in shown.splitlines())


def test_a_router_on_the_line_is_believed_by_nobody_while_sysctl_or_table_holds(bench: Bench) -> None:
    eager = ["sysctl -qw net.ipv6.conf.iplc1.accept_ra=2"]
    for removal, believed in ((eager, False), (NO_TABLE, False), ([*eager, *NO_TABLE], True)):
        bench.keeper.sweep()
        bench.run(*removal)
        advertised(bench, "iplc1")
        counted(bench, *EVERY)  # what was sent before is dealt with
        assert learnt("iplc1") == believed, removal


def test_a_default_route_that_is_advertised_on_the_default_wire_carries_nothing(bench: Bench) -> None:
    watch(bench)
    wire = bench.zone.wires["wan0"]
    bench.run("ip -6 route del default", "sysctl -qw net.ipv6.conf.wan0.accept_ra=2")
    bench.run(f"ip -6 neigh replace {ROUTER} lladdr {wire.mac(1)} dev wan0 nud permanent", *ALL_OFF)
    advertised(bench, "wan0")
    counted(bench, *EVERY)
    assert learnt("wan0")
    sent(bench, 6, ABROAD[6], mark=bench.one.mark)
    assert counted(bench, "wan0") == {"wan0": 1}, "the control: it leaves by the router"
    for removal in ([], *LAYERS.values()):
        bench.keeper.sweep()
        bench.run(*removal)
        counted(bench, *EVERY)
        sent(bench, 6, ABROAD[6], mark=bench.one.mark)
        sent(bench, 6, ABROAD[6], mark=bench.one.mark, source=bench.one)
        assert counted(bench, "wan0", "iplc2") == {"wan0": 0, "iplc2": 0}, removal


@FAMILIES
def test_a_default_route_set_by_hand_before_all_others_carries_nothing(bench: Bench, version: int) -> None:
    watch(bench)
    gateway = bench.zone.wires["wan0"].far[version]
    bench.run(f"ip -{version} route add default via {gateway} dev wan0 metric 1", *ALL_OFF)
    sent(bench, version, ABROAD[version], mark=bench.one.mark)
    assert counted(bench, "wan0") == {"wan0": 1}, "the control"
    for removal in ([], *LAYERS.values()):
        bench.keeper.sweep()
        bench.run(*removal)
        counted(bench, *EVERY)
        for source in (None, bench.one):
            sent(bench, version, ABROAD[version], mark=bench.one.mark, source=source)
        assert counted(bench, "wan0", "iplc2") == {"wan0": 0, "iplc2": 0}, removal


@pytest.fixture
def linked() -> Iterator[Bench]:
    """Line 1's IPv6 next hop is the far end's link-local address: only such a one may send redirects (RFC 4861 8.1)."""
    with Zone() as zone, zone.gateway.inside():
        wire = zone.wires["iplc1"]
        wire.ns.ip([f"addr add {ROUTER}/64 dev far nodad"])
        zone.run(f"ip -6 neigh replace {ROUTER} lladdr {wire.mac(1)} dev iplc1 nud permanent")
        lines = [
            msgspec.structs.replace(line_of(zone, 1, "iplc1"), gateway6=ROUTER),
            line_of(zone, 2, "iplc2"),
        ]
        with configured(node_of(zone), lines) as keeper:
            yield Bench(zone, keeper, handle_of(lines[0]), handle_of(lines[1]))


REDIRECTS = {
    4: "sysctl -qw " + " ".join(
        f"net.ipv4.conf.{device}.accept_redirects=1" for device in ("all", "iplc1")
    ),
    6: "sysctl -qw net.ipv6.conf.all.accept_redirects=1 net.ipv6.conf.iplc1.accept_redirects=1",
}  # fmt: skip


def redirected(bench: Bench, version: int) -> str:
    """A redirect of the live flow's destination to another router on the line's link; the way the kernel then takes."""
    wire = bench.zone.wires["iplc1"]
    with contextlib.closing(dial.open_socket(version, bench.one, datagram=True)) as sock, contextlib.suppress(OSError):
        sock.connect((ABROAD[version], 53))
        sock.send(b"x")
        port = sock.getsockname()[1]
        about = udp(wire.near[version], ABROAD[version], (port, 53))
        bench.run(f"ip neigh replace {OTHERS[version]} lladdr {wire.mac(1)} dev iplc1 nud permanent")  # else not taken
        if version == 4:
            body = struct.pack("!BBH4s", 5, 1, 0, socket.inet_aton(OTHERS[4])) + about  # RFC 792
            send(wire, icmp(wire.far[4], wire.near[4], body))
        else:
            target, of = (socket.inet_pton(socket.AF_INET6, a) for a in (OTHERS[6], ABROAD[6]))
            body = struct.pack("!BBHI", 137, 0, 0, 0) + target + of  # RFC 4861 4.5
            send(wire, icmp(ROUTER, wire.near[6], body, 255))
        counted(bench, *EVERY)
    mark = ["mark", f"{bench.one.mark:#x}"]
    command = ["ip", f"-{version}", "route", "get", ABROAD[version], "from", wire.near[version], "oif", "iplc1", *mark]
    return subprocess.run(command, capture_output=True, text=True, timeout=10).stdout


@FAMILIES
def test_a_redirect_from_the_lines_neighbour_changes_nothing_while_sysctl_or_table_holds(
    linked: Bench, version: int
) -> None:
    for removal, believed in (([], False), ([REDIRECTS[version]], False), (NO_TABLE, False),
                              ([REDIRECTS[version], *NO_TABLE], True)):  # fmt: skip
        linked.keeper.sweep()
        linked.run(*removal)
        shown = redirected(linked, version)
        assert (OTHERS[version] in shown) == believed, (removal, shown)
    linked.keeper.sweep()
    counted(linked, *EVERY)
    sent(linked, version, ABROAD[version], mark=linked.one.mark, device="iplc1", source=linked.one)
    assert counted(linked, *EVERY) == dict.fromkeys(EVERY, 0), "the table knows the next hop"


@FAMILIES
def test_a_scan_of_every_port_of_the_lines_address_gets_no_answer(bench: Bench, version: int) -> None:
    watch(bench)
    bench.run(UNLIMITED)
    wire = bench.zone.wires["iplc1"]
    there = (ABROAD[version], wire.near[version])
    with socket.create_server(("", 0) if version == 4 else ("::", 0), family=AF[version]) as server:
        opened = server.getsockname()[1]
        ports = [opened, *range(1, 65536, 16)]
        counted(bench, *EVERY)
        send(wire, *[make for port in ports for make in (tcp(*there, (PORT, port), SYN), udp(*there, (53, port)))])
        assert counted(bench, *EVERY) == dict.fromkeys(EVERY, 0)
        assert nft.read_counters()["line_input"][0] == 2 * len(ports)
        bench.run(*NO_TABLE)
        counted(bench, *EVERY)
        some = ports[:20]
        send(wire, *[make for port in some for make in (tcp(*there, (PORT + 1, port), SYN), udp(*there, (54, port)))])
        assert counted(bench, *EVERY) == {"wan0": 0, "iplc2": 0, "iplc1": 40}, "the control: each port answers"


def test_by_reverse_path_alone_no_line_is_spoken_to_over_another_wire(bench: Bench) -> None:
    """IPv4 only: Linux has no such filter for IPv6, where the table's input chain does it."""
    watch(bench)
    bench.run(UNLIMITED, *NO_TABLE)
    own = bench.zone.wires["iplc1"].near[4]

    def answers(device: str) -> int:
        counted(bench, *EVERY)
        send(bench.zone.wires[device], udp(ABROAD[4], own, (53, 4000)))
        return sum(counted(bench, *EVERY).values())

    assert answers("iplc2") == 0
    bench.run("sysctl -qw net.ipv4.conf.all.rp_filter=2")
    assert answers("iplc2") > 0, "the control: of all's and the device's the greater counts"
    bench.keeper.sweep()
    bench.run(*NO_TABLE)
    assert answers("iplc2") == 0
    bench.run(LOOSE)
    assert answers("iplc2") > 0, "the control"

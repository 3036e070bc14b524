"""What the kill switch must not stop: clients, neighbours, path MTU, and the node's own listed traffic."""

import contextlib
import os
import socket
import struct
import subprocess
import time
from ipaddress import ip_address

import pytest

from gateway.line import dial, nft
from gateway.line.keeper import Keeper
from gateway.line.model import ControlTraffic, LineError, Management, handle_of
from tests.netns.bench import Bench, configured, line_of, node_of
from tests.netns.kit import ABROAD, AF, PORT, Zone

pytestmark = pytest.mark.root
FAMILIES = pytest.mark.parametrize("version", [4, 6], ids=["IPv4", "IPv6"])
NOBODY = 65534


@FAMILIES
def test_a_client_is_answered_by_the_listener(bench: Bench, version: int) -> None:
    wire = bench.zone.wires["acc0"]
    with socket.create_server((wire.near[version], 3128), family=AF[version]) as server:
        with wire.ns.inside():
            client = socket.create_connection((wire.near[version], 3128), timeout=3)
        server.settimeout(3)
        accepted, _ = server.accept()
        accepted.sendall(b"407")
        assert client.recv(3) == b"407"
        accepted.close()
        client.close()


@FAMILIES
def test_a_client_is_answered_on_other_ports_too_when_it_began(bench: Bench, version: int) -> None:
    wire = bench.zone.wires["acc0"]
    with socket.create_server((wire.near[version], 22), family=AF[version]), wire.ns.inside():
        socket.create_connection((wire.near[version], 22), timeout=3).close()


@FAMILIES
def test_the_gateway_itself_begins_nothing_towards_clients(bench: Bench, version: int) -> None:
    bench.zone.count("acc0")
    with socket.socket(AF[version], socket.SOCK_DGRAM) as sock, contextlib.suppress(PermissionError):
        sock.sendto(b"x", (bench.zone.wires["acc0"].far[version], 9))
    assert bench.zone.count("acc0").leaked == 0
    assert nft.read_counters()["dropped"][0] == 1


@FAMILIES
def test_the_line_works_when_its_neighbour_must_first_be_found(bench: Bench, version: int) -> None:
    bench.run("ip neigh flush dev iplc1 nud permanent", "ip -6 neigh flush dev iplc1 nud permanent")
    sock = dial.open_socket(version, bench.one)
    sock.settimeout(3)
    sock.connect((ABROAD[version], PORT))
    sock.close()


@pytest.mark.parametrize("device", ["acc0", "iplc1", "wan0"])
def test_the_kernel_itself_asks_and_answers_neighbours_and_tells_its_groups(bench: Bench, device: str) -> None:
    wire = bench.zone.wires[device]
    bench.run(f"ip -6 neigh flush dev {device} nud permanent")
    with wire.ns.inside():
        subprocess.run(["ip", "-6", "neigh", "flush", "dev", "far", "nud", "permanent"], check=True, timeout=10)
    bench.zone.count(device)
    bench.run(f"ip -6 neigh replace {wire.far[6]} dev {device} nud none use")
    assert _neighbour(device, wire.far[6]) == wire.mac(1), "it asks, and hears the answer"
    assert bench.zone.count(device).kernel, "the question went out"
    with wire.ns.inside():
        subprocess.run(["ip", "-6", "neigh", "replace", wire.near[6], "dev", "far", "nud", "none", "use"], timeout=10)
        assert _neighbour("far", wire.near[6]) == wire.mac(0), "it answers"
    bench.zone.count(device)
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sock:
        group = socket.inet_pton(socket.AF_INET6, "ff02::1234") + struct.pack("@I", socket.if_nametoindex(device))
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, group)
        told = (time.sleep(0.02) or bench.zone.count(device).kernel for _ in range(300))  # it waits up to a second
        assert any(told), "MLD"


def _neighbour(device: str, address: str) -> str:
    """Its link address, as soon as it is known."""
    for _ in range(200):
        command = ["ip", "-6", "neigh", "show", address, "dev", device]
        words = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout.split()
        if "lladdr" in words:
            return words[words.index("lladdr") + 1]
        time.sleep(0.02)
    return ""


@FAMILIES
def test_a_smaller_path_mtu_is_learnt_over_the_line(bench: Bench, version: int) -> None:
    sock = dial.open_socket(version, bench.one, datagram=True)
    option = (socket.IPPROTO_IP, 10) if version == 4 else (socket.IPPROTO_IPV6, 23)  # IP(V6)_MTU_DISCOVER
    sock.setsockopt(*option, 2)  # do, as TCP does
    sock.connect((ABROAD[version], 53))
    sock.send(b"x")
    source, port = sock.getsockname()[:2]
    wire = bench.zone.wires["iplc1"]
    udp = struct.pack("!HHHH", port, 53, 9, 0) + b"x"
    own, far = (socket.inet_pton(AF[version], a) for a in (source, ABROAD[version]))
    if version == 4:
        inner = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 29, 1, 0x4000, 64, 17, 0, own, far) + udp
        body = struct.pack("!BBHHH", 3, 4, 0, 0, 1400) + inner  # RFC 1191 4
        words = struct.unpack(f"!{len(body) // 2}H", body[: len(body) // 2 * 2])
        total = sum(words) + (body[-1] << 8 if len(body) % 2 else 0)
        total = (total & 0xFFFF) + (total >> 16)
        total = (total & 0xFFFF) + (total >> 16)
        body = body[:2] + struct.pack("!H", ~total & 0xFFFF) + body[4:]
    else:
        inner = struct.pack("!IHBB16s16s", 6 << 28, 9, 17, 64, own, far) + udp
        body = struct.pack("!BBHI", 2, 0, 0, 1400) + inner  # RFC 4443 3.2; the kernel fills in the checksum
    protocol = socket.IPPROTO_ICMP if version == 4 else socket.IPPROTO_ICMPV6
    with wire.ns.inside(), socket.socket(AF[version], socket.SOCK_RAW, protocol) as raw:
        raw.sendto(body, (source, 0))
    mtu = (socket.IPPROTO_IP, 14) if version == 4 else (socket.IPPROTO_IPV6, 24)  # IP(V6)_MTU
    sock.settimeout(3)
    with contextlib.suppress(OSError):
        sock.recv(1)  # the error wakes it
    assert sock.getsockopt(*mtu) == 1400
    sock.close()


def sent_by(uid: int, address: str) -> None:
    """A child with that uid sends one datagram."""
    pid = os.fork()
    if not pid:
        try:
            os.setuid(uid)
            with socket.socket(AF[ip_address(address).version], socket.SOCK_DGRAM) as sock:
                sock.sendto(b"x", (address, 53))
        finally:
            os._exit(0)
    os.waitpid(pid, 0)


@FAMILIES
def test_control_traffic_leaves_by_uid_device_and_destination_only(zone: Zone, version: int) -> None:
    prefix = f"{ABROAD[version]}/{32 if version == 4 else 128}"
    node = node_of(zone, control_traffic=(ControlTraffic(uid=NOBODY, interface="wan0", destination=prefix),))
    with zone.gateway.inside(), configured(node, [line_of(zone, 1, "iplc1")]):
        zone.count("wan0")
        sent_by(NOBODY, ABROAD[version])
        assert zone.count("wan0").leaked == 1
        sent_by(NOBODY - 1, ABROAD[version])
        assert zone.count("wan0").leaked == 0
        zone.run(f"ip -{version} route replace default via {zone.wires['acc0'].far[version]}")
        sent_by(NOBODY, ABROAD[version])
        assert zone.count("acc0").leaked == 0


@FAMILIES
def test_management_prefixes_are_open_to_every_program_but_not_to_workers(zone: Zone, version: int) -> None:
    management = (Management(interface="wan0", prefixes=(zone.wires["wan0"].far[version],)),)
    node = node_of(zone, management=management, worker_uids=(NOBODY,))
    with zone.gateway.inside(), configured(node, [line_of(zone, 1, "iplc1")]):
        zone.count("wan0")
        sent_by(NOBODY, zone.wires["wan0"].far[version])
        assert zone.count("wan0").leaked == 0
        for mark, count in ((0, 1), (0x46000100, 0), (0x46009900, 0)):
            with socket.socket(AF[version], socket.SOCK_DGRAM) as sock, contextlib.suppress(OSError):
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, mark)
                sock.sendto(b"x", (zone.wires["wan0"].far[version], 123))
            assert zone.count("wan0").leaked == count, hex(mark)


def test_a_line_left_out_of_the_plan_carries_nothing(bench: Bench) -> None:
    keeper: Keeper = bench.keeper
    keeper.want([line_of(bench.zone, 1, "iplc1")])
    keeper.sweep()
    for version in (4, 6):
        with contextlib.suppress(OSError, LineError):
            sock = dial.open_socket(version, handle_of(line_of(bench.zone, 2, "iplc2")), datagram=True)
            sock.connect_ex((ABROAD[version], 53))
            sock.send(b"x")
    assert bench.zone.count("iplc2").leaked == 0

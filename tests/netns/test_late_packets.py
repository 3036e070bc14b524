"""What no socket of the gateway sends: resets, forwarded packets, answers to scans."""

import contextlib
import os
import signal
import socket

import pytest

from gateway.line import dial, nft
from tests.netns.bench import FLUSH_ROUTES, FLUSH_RULES, NO_TABLE, Bench
from tests.netns.kit import ABROAD, AF, PORT
from tests.netns.packets import ACK, SYN, send_segment

pytestmark = pytest.mark.root
FORWARDING = "sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1"
LOOSE = "sysctl -qw net.ipv4.conf.iplc1.rp_filter=0 net.ipv4.conf.wan0.rp_filter=0 net.ipv4.conf.acc0.rp_filter=0"
FAMILIES = pytest.mark.parametrize("version", [4, 6], ids=["IPv4", "IPv6"])


def worker(bench: Bench) -> tuple[int, dict[int, tuple[str, int]]]:
    """A process with one connection per family on line 1; its pid and its ends of the connections."""
    ours, theirs = socket.socketpair()
    pid = os.fork()
    if not pid:
        try:
            with bench.zone.gateway.inside():
                held = []
                for version in (4, 6):
                    sock = dial.open_socket(version, bench.one)
                    sock.settimeout(3)
                    sock.connect((ABROAD[version], PORT))
                    sock.send(b"request of a tenant")
                    held.append(sock)
                theirs.send(b" ".join(f"{s.getsockname()[0]},{s.getsockname()[1]}".encode() for s in held))
                signal.pause()
        finally:
            os._exit(1)
    ours.settimeout(5)
    names = [name.split(",") for name in ours.recv(200).decode().split()]
    ours.close()
    theirs.close()
    return pid, {version: (host, int(port)) for version, (host, port) in zip((4, 6), names, strict=True)}


def kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)


REMOVALS = pytest.mark.parametrize(
    "removed",
    [[], NO_TABLE, FLUSH_RULES, FLUSH_ROUTES],
    ids=["without nothing", "without the nft table", "without rules", "without routes"],
)


@REMOVALS
def test_a_killed_worker_and_packets_that_come_late_leave_nothing_elsewhere(bench: Bench, removed: list[str]) -> None:
    pid, ends = worker(bench)
    bench.run(*removed)
    kill(pid)
    for version, end in ends.items():
        for _ in range(3):
            send_segment(bench.zone.wires["iplc1"], (ABROAD[version], PORT), end, ACK)
            send_segment(bench.zone.wires["iplc1"], (ABROAD[version], 9), end, ACK)
    assert bench.zone.count("wan0").leaked == 0
    assert bench.zone.count("iplc2").leaked == 0


@FAMILIES
def test_a_reset_without_socket_leaves_by_the_default_wire_when_all_layers_are_off(bench: Bench, version: int) -> None:
    bench.run(*NO_TABLE, *FLUSH_RULES, *FLUSH_ROUTES, LOOSE)
    wire = bench.zone.wires["iplc1"]
    bench.zone.count("wan0")
    for _ in range(3):
        send_segment(wire, (ABROAD[version], 9), (wire.near[version], 4711), ACK)
    assert bench.zone.count("wan0").leaked == 3


@FAMILIES
def test_a_reset_without_socket_stays_on_its_line_by_the_source_rule_alone(bench: Bench, version: int) -> None:
    bench.run(*NO_TABLE)
    wire = bench.zone.wires["iplc1"]
    bench.zone.count("iplc1")
    for _ in range(3):
        send_segment(wire, (ABROAD[version], 9), (wire.near[version], 4711), ACK)
    assert bench.zone.count("iplc1").leaked == 3
    assert bench.zone.count("wan0").leaked == 0


@FAMILIES
def test_a_scan_of_the_lines_address_gets_no_answer(bench: Bench, version: int) -> None:
    wire = bench.zone.wires["iplc1"]
    with socket.create_server(("", 0) if version == 4 else ("::", 0), family=AF[version]) as server:
        port = server.getsockname()[1]
        bench.zone.count("iplc1")
        for flags in (SYN, ACK, SYN | ACK):
            send_segment(wire, (ABROAD[version], 4000), (wire.near[version], port), flags)
        assert bench.zone.count("iplc1").leaked == 0
        assert nft.read_counters()["line_input"][0] == 3
        bench.run(*NO_TABLE)  # the control: without the table the open port answers
        send_segment(wire, (ABROAD[version], 4001), (wire.near[version], port), SYN)
        assert bench.zone.count("iplc1").leaked == 1


@FAMILIES
def test_a_lines_address_is_not_spoken_to_over_another_wire(bench: Bench, version: int) -> None:
    bench.run(LOOSE)
    line, wire = bench.zone.wires["iplc1"], bench.zone.wires["wan0"]
    with socket.create_server(("", 0) if version == 4 else ("::", 0), family=AF[version]) as server:
        send_segment(wire, (ABROAD[version], 4000), (line.near[version], server.getsockname()[1]), SYN)
        for device in ("wan0", "iplc1", "iplc2"):
            assert bench.zone.count(device).leaked == 0, device
    assert nft.read_counters()["line_input"][0] == 1


def client_sends(bench: Bench, version: int) -> None:
    with bench.zone.wires["acc0"].ns.inside(), socket.socket(AF[version], socket.SOCK_DGRAM) as sock:
        for _ in range(3):
            with contextlib.suppress(OSError):
                sock.sendto(b"past the gateway", (ABROAD[version], 53))


@FAMILIES
def test_forwarded_packets_leave_by_the_default_wire_when_the_table_is_off(bench: Bench, version: int) -> None:
    bench.run(*NO_TABLE, FORWARDING, LOOSE)
    bench.zone.count("wan0")
    client_sends(bench, version)
    assert bench.zone.count("wan0").leaked == 3


@FAMILIES
def test_the_table_drops_forwarded_packets_though_forwarding_is_on(bench: Bench, version: int) -> None:
    bench.run(FORWARDING, LOOSE)
    client_sends(bench, version)
    assert bench.zone.count("wan0").leaked == 0
    assert nft.read_counters()["forwarded"][0] == 3


@FAMILIES
def test_without_the_table_nothing_is_forwarded_while_the_sysctls_hold(bench: Bench, version: int) -> None:
    bench.run(*NO_TABLE)
    client_sends(bench, version)
    assert bench.zone.count("wan0").leaked == 0


def test_the_next_hop_match_is_what_stops_a_device_bound_socket_without_routes(bench: Bench) -> None:
    bench.run(*FLUSH_RULES)
    sock = dial.open_socket(4, bench.one, datagram=True)
    with contextlib.suppress(PermissionError):
        sock.connect_ex((ABROAD[4], 53))
        sock.send(b"on-link, says the kernel")
    sock.close()
    assert bench.zone.count("iplc1").leaked == 0
    assert nft.read_counters()["line_1_dropped"][0] == 1

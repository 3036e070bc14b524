"""What clients send to elsewhere ends at the transparent listener, and never on a wire: layer by layer.

Each case has connections through the listener, takes layers away under them, lets the client go on and try anew, and
counts what came out on the default wire and on both lines. The same addresses abroad answer behind all three. One case
has all layers off and must see the packets, or the counters prove nothing.
"""

import contextlib
import errno
import os
import signal
import socket
import struct
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

from gateway.line import nft
from gateway.line.keeper import Keeper
from gateway.line.model import TRANSPARENT_MARK, Transparent, handle_of
from ops.listeners import listen
from ops.settings import Listener
from tests.netns.bench import FLUSH_RULES, NO_TABLE, Bench, configured, line_of, node_of
from tests.netns.kit import ABROAD, AF, Zone
from tests.netns.packets import ACK, RST, SYN, send_frame
from tests.netns.test_late_packets import FORWARDING, LOOSE
from whitelist.model import Line

pytestmark = pytest.mark.root
WIRES = ("wan0", "iplc1", "iplc2")
TAKING = 3130
FAMILIES = pytest.mark.parametrize("version", [4, 6], ids=["IPv4", "IPv6"])

RULE = [f"ip -{v} rule del pref 4601" for v in (4, 6)]
PROHIBIT = [f"ip -{v} rule del pref 4680 fwmark {TRANSPARENT_MARK:#x}/0xffffffff" for v in (4, 6)]
ROUTE = [f"ip -{v} route flush table 5200" for v in (4, 6)]
CHAIN = ["nft flush chain inet feiyu transparent"]
OPEN_FORWARD = ["nft flush chain inet feiyu forward", "nft chain inet feiyu forward {policy\taccept;}"]
MARKS = ["sysctl -qw net.ipv4.fwmark_reflect=1 net.ipv6.fwmark_reflect=1 net.ipv4.tcp_fwmark_accept=1"]


@dataclass
class Taking(Bench):
    """A bench with transparent listeners of both families, as the supervisor opens them."""

    listening: dict[int, socket.socket] = field(default_factory=dict)

    def call(self, version: int, port: int = 443, address: str = "") -> socket.socket:
        """A client's connection, under way."""
        with self.zone.wires["acc0"].ns.inside():
            client = socket.socket(AF[version])
        client.settimeout(3)
        client.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            client.connect((address or ABROAD[version], port))
        return client

    def accept(self, version: int) -> socket.socket:
        """The next connection at the listener."""
        listening = self.listening[version]
        listening.settimeout(5)
        found, _ = listening.accept()
        found.settimeout(5)
        return found

    def pair(self, version: int, port: int = 443) -> tuple[socket.socket, socket.socket]:
        """Both ends of a connection that the client believes to have with abroad."""
        client = self.call(version, port)
        ours = self.accept(version)
        assert ours.getpeername()[:2] == client.getsockname()[:2]
        return client, ours

    def leaked(self) -> dict[str, int]:
        """What came out since the last time, by wire."""
        return {device: self.zone.count(device).leaked for device in WIRES}


def taking_node(zone: Zone) -> list[Transparent]:
    near = zone.wires["acc0"].near
    return [Transparent(interface="acc0", address=near[v], port=TAKING) for v in (4, 6)]


@contextlib.contextmanager
def opened(zone: Zone) -> Iterator[dict[int, socket.socket]]:
    with contextlib.ExitStack() as stack, zone.gateway.inside():
        found = {}
        for version, address in zone.wires["acc0"].near.items():
            where = f"{address}:{TAKING}" if version == 4 else f"[{address}]:{TAKING}"
            spec = Listener(name="t", kind="transparent", address=where, interface="acc0", demands=("prefix",))
            found[version] = stack.enter_context(listen(spec))
        yield found


@pytest.fixture
def taking(zone: Zone) -> Iterator[Taking]:
    lines = [line_of(zone, 1, "iplc1"), line_of(zone, 2, "iplc2")]
    node = node_of(zone, transparent=tuple(taking_node(zone)))
    with zone.gateway.inside(), configured(node, lines) as keeper, opened(zone) as listening:
        bench = Taking(zone, keeper, handle_of(lines[0]), handle_of(lines[1]), listening)
        bench.leaked()
        yield bench


def everything(bench: Taking) -> list[socket.socket]:
    """A client tries all it has."""
    tried = []
    for version in (4, 6):
        tried += [bench.call(version, port) for port in (443, 80, 22, 8443)]
        with bench.zone.wires["acc0"].ns.inside():
            for port in (443, 53):
                sock = socket.socket(AF[version], socket.SOCK_DGRAM)
                tried.append(sock)
                sock.sendto(b"past the gateway", (ABROAD[version], port))
            kind = socket.IPPROTO_ICMP if version == 4 else socket.IPPROTO_ICMPV6
            with socket.socket(AF[version], socket.SOCK_RAW, kind) as raw:
                echo = b"\x08\0\xf7\xff\0\0\0\0" if version == 4 else b"\x80\0\0\0\0\0\0\0"
                raw.sendto(echo, (ABROAD[version], 0))
    return tried


REMOVED = {
    "nothing": [],
    "the nft table": NO_TABLE,
    "the chain that takes": CHAIN,
    "the rule that leads inwards": RULE,
    "the route that leads inwards": ROUTE,
    "the prohibit behind": PROHIBIT,
    "the rule and the prohibit": [*RULE, *PROHIBIT],
    "all rules": FLUSH_RULES,
    "all rules and the route": [*FLUSH_RULES, *ROUTE],
    "the nft table and all rules": [*NO_TABLE, *FLUSH_RULES],
    "the nft table, all rules and the route": [*NO_TABLE, *FLUSH_RULES, *ROUTE],
    "forwarding off": [FORWARDING],
    "forwarding off, and the chain that takes": [FORWARDING, *CHAIN],
    "forwarding off, and the rule that leads inwards": [FORWARDING, *RULE],
    "forwarding off, and all rules": [FORWARDING, *FLUSH_RULES],
    "forwarding off, the forward chain, and the rule that leads inwards": [FORWARDING, *OPEN_FORWARD, *RULE],
    "forwarding off, the forward chain, and the route that leads inwards": [FORWARDING, *OPEN_FORWARD, *ROUTE],
    "marks kept off answers": MARKS,
    "marks kept off answers, and the nft table": [*MARKS, *NO_TABLE],
    "marks kept off answers, the nft table and the rule that leads inwards": [*MARKS, *NO_TABLE, *RULE],
    "the clients' addresses": ["ip addr flush dev acc0"],
    "the clients' addresses, and the nft table": ["ip addr flush dev acc0", *NO_TABLE],
}


@pytest.mark.parametrize("removed", REMOVED.values(), ids=REMOVED)
@pytest.mark.parametrize("listens", [True, False], ids=["", "and no listener"])
def test_nothing_of_a_clients_comes_out_without(taking: Taking, removed: list[str], listens: bool) -> None:
    live = [taking.pair(version, port) for version in (4, 6) for port in (443, 80)]
    for client, ours in live:
        client.send(b"before")
        assert ours.recv(9) == b"before"
    taking.run(*removed)
    if not listens:
        for listening in taking.listening.values():
            listening.close()
    tried = everything(taking)
    for client, ours in live:
        for end in (client, ours):
            with contextlib.suppress(OSError):
                end.send(b"after")
    assert taking.leaked() == dict.fromkeys(WIRES, 0)
    for client, ours in live:
        ours.close()
        client.close()
    assert taking.leaked() == dict.fromkeys(WIRES, 0)
    for sock in tried:
        sock.close()


def test_the_counters_see_a_clients_packets_when_all_layers_are_off(taking: Taking) -> None:
    taking.run(*NO_TABLE, *FLUSH_RULES, *ROUTE, FORWARDING, LOOSE)
    for sock in everything(taking):
        sock.close()
    leaked = taking.leaked()
    assert leaked.pop("wan0") >= 14, "four SYNs, two datagrams, an echo, by family"
    assert not any(leaked.values())


@FAMILIES
@pytest.mark.parametrize("port", [443, 80])
def test_the_connection_has_the_name_of_what_the_client_called(taking: Taking, version: int, port: int) -> None:
    client, ours = taking.pair(version, port)
    assert ours.getsockname()[:2] == (ABROAD[version], port)
    assert ours.getsockopt(socket.SOL_SOCKET, socket.SO_MARK) == 0
    ours.send(b"hello from abroad")
    client.settimeout(3)
    assert client.recv(99) == b"hello from abroad"
    client.close()
    assert ours.recv(1) == b""
    ours.close()


def test_a_flood_of_half_open_connections_is_not_tracked(taking: Taking) -> None:
    client = taking.zone.wires["acc0"].far
    for port in range(20_000, 20_200):
        send_frame(taking.zone.wires["acc0"], (client[4], port), (ABROAD[4], 443), SYN)
    with taking.zone.gateway.inside(), open("/proc/sys/net/netfilter/nf_conntrack_count") as count:
        assert int(count.read()) < 20


@FAMILIES
def test_connections_are_taken_though_the_kernel_answers_with_cookies(taking: Taking, version: int) -> None:
    """As it does in a flood of SYNs: it then knows nothing of a connection before its last handshake packet."""
    taking.run("sysctl -qw net.ipv4.tcp_syncookies=2")
    client, ours = taking.pair(version)
    assert ours.getsockname()[:2] == (ABROAD[version], 443)
    ours.send(b"answer")
    client.settimeout(3)
    assert client.recv(9) == b"answer"
    assert taking.leaked() == dict.fromkeys(WIRES, 0)
    ours.close()
    client.close()


def sent(taking: Taking, version: int) -> bytes:
    """The IP packet with the data that the gateway last sent to the client, as it stood on the wire."""
    tap = taking.zone.wires["acc0"].tap
    assert tap is not None
    found = b""
    with contextlib.suppress(BlockingIOError):
        while frame := tap.recv(4096):
            if frame[12:14] == (b"\x08\0" if version == 4 else b"\x86\xdd") and frame.endswith(b"answer"):
                found = frame[14:]
    return found


@FAMILIES
def test_the_clients_network_may_say_that_answers_are_too_large(taking: Taking, version: int) -> None:
    client, ours = taking.pair(version)
    ours.send(b"answer")
    client.settimeout(3)
    assert client.recv(9) == b"answer"
    packet, at = sent(taking, version), 20 if version == 4 else 40
    sequence = struct.unpack_from("!I", packet, at + 4)[0] + len(b"answer")
    quoted = packet[: at + 4] + struct.pack("!I", sequence) + packet[at + 8 : at + 20]
    kind, option = ((3, 4), socket.IPPROTO_ICMP) if version == 4 else ((2, 0), socket.IPPROTO_ICMPV6)
    message = struct.pack("!BBHHH" if version == 4 else "!BBHI", *kind, 0, *((0, 1300) if version == 4 else (1300,)))
    if version == 4:
        total = sum(struct.unpack(f"!{len(message + quoted) // 2}H", message + quoted))
        total = (total & 0xFFFF) + (total >> 16)
        message = message[:2] + struct.pack("!H", ~(total + (total >> 16)) & 0xFFFF) + message[4:]
    with taking.zone.wires["acc0"].ns.inside(), socket.socket(AF[version], socket.SOCK_RAW, option) as raw:
        raw.sendto(message + quoted, (ABROAD[version], 0))
    level, name = (socket.IPPROTO_IP, 14) if version == 4 else (socket.IPPROTO_IPV6, 24)  # IP_MTU, IPV6_MTU
    assert ours.getsockopt(level, name) == 1300
    assert taking.leaked() == dict.fromkeys(WIRES, 0)
    ours.close()
    client.close()


# ---- who may not


SPOOFED = {
    "of another network": {4: "10.9.9.9", 6: "2001:db8:99::9"},
    "of a service abroad": {4: "203.0.113.77", 6: "2001:db8:abcd::77"},
    "of the gateway on a line": {4: "198.51.100.2", 6: "2001:db8:1::2"},
    "of a line's gateway": {4: "198.51.100.1", 6: "2001:db8:1::1"},
    "of the default wire": {4: "192.0.2.1", 6: "2001:db8:3::1"},
    "of loopback": {4: "127.0.0.1", 6: "::1"},
    "of nobody": {4: "0.0.0.0", 6: "::"},
}


@pytest.mark.parametrize("removed", [[], NO_TABLE, [LOOSE]], ids=["", "without the nft table", "without rp_filter"])
def test_no_source_is_answered_that_is_not_of_the_prefixes_behind_the_device(
    taking: Taking, removed: list[str]
) -> None:
    taking.run(*removed)
    wire = taking.zone.wires["acc0"]
    for source, addresses in SPOOFED.items():
        for version, address in addresses.items():
            taking.zone.count("acc0")
            for flags in (SYN, ACK, RST):
                for port in (443, 80):
                    send_frame(wire, (address, 4711), (ABROAD[version], port), flags)
            assert taking.zone.count("acc0").leaked == 0, source
            assert taking.leaked() == dict.fromkeys(WIRES, 0), source
            taking.listening[version].setblocking(False)
            with pytest.raises(BlockingIOError):
                taking.listening[version].accept()


@FAMILIES
def test_the_control_of_spoofed_sources(taking: Taking, version: int) -> None:
    """A frame by hand with the client's own address is answered, SYN by SYN-ACK."""
    wire = taking.zone.wires["acc0"]
    taking.zone.count("acc0")
    send_frame(wire, (wire.far[version], 4711), (ABROAD[version], 443), SYN)
    assert taking.zone.count("acc0").leaked >= 1


INSIDE = {
    "loopback": {4: "127.0.0.1", 6: "::1"},
    "the gateway here": {4: "10.0.0.2", 6: "2001:db8:0::2"},
    "the gateway on a line": {4: "198.51.100.2", 6: "2001:db8:1::2"},
    "the gateway on the default wire": {4: "192.0.2.2", 6: "2001:db8:3::2"},
    "all hosts": {4: "224.0.0.1", 6: "ff02::1"},
    "everybody": {4: "255.255.255.255", 6: "ff02::2"},
}


@FAMILIES
@pytest.mark.parametrize("place", INSIDE)
def test_the_listener_does_not_take_what_is_for(taking: Taking, place: str, version: int) -> None:
    """The gateway's own addresses, and those of more than one: they are left to whoever has them."""
    wire, address = taking.zone.wires["acc0"], INSIDE[place][version]
    for port in (443, 80, TAKING, 9464):
        send_frame(wire, (wire.far[version], 4711), (address, port), SYN)
    taking.listening[version].setblocking(False)
    with pytest.raises(BlockingIOError):
        taking.listening[version].accept()
    assert taking.leaked() == dict.fromkeys(WIRES, 0)
    with taking.zone.gateway.inside():
        shown = subprocess.run(["ss", "-Htan"], capture_output=True, text=True, timeout=10, check=True).stdout
    assert ":4711" not in shown, "not even half open"


# ---- the mark


BOUND = ("", "iplc1", "wan0", "acc0", "lo")
# IPv4 takes everything for on-link where a socket is bound to a device and no rule leads on: it asks for neighbours
# there, whatever the mark, and only the table is in the way of that.
MARKED = {"": [], "without the nft table": NO_TABLE}


@FAMILIES
@pytest.mark.parametrize("removed", MARKED.values(), ids=MARKED)
def test_the_mark_leads_no_socket_of_the_gateway_anywhere(taking: Taking, version: int, removed: list[str]) -> None:
    """Neither out nor, by the way inwards, to a listener of the gateway: that is for what comes in by the device."""
    taking.run(*removed)
    with (
        taking.zone.gateway.inside(),
        socket.create_server(("" if version == 4 else "::", 443), family=AF[version]) as own,
    ):
        for device in BOUND if version == 6 or not removed else BOUND[:1]:
            for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
                with socket.socket(AF[version], kind) as sock:
                    sock.setblocking(False)
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, TRANSPARENT_MARK)
                    if device:
                        sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, device.encode())
                    refused = sock.connect_ex((ABROAD[version], 443))
                    assert refused == errno.EACCES or (version == 4 and device)
                    if kind == socket.SOCK_DGRAM:
                        with contextlib.suppress(OSError):
                            sock.send(b"to a line, or to the gateway itself")
        own.setblocking(False)
        with pytest.raises(BlockingIOError):
            own.accept()
    assert taking.leaked() == dict.fromkeys(WIRES, 0)


# ---- what the dead leave


def holder(taking: Taking) -> tuple[int, list[socket.socket]]:
    """A process that accepted connections of both families and has not read what they say; and the clients."""
    told, tell = socket.socketpair()
    pid = os.fork()
    if not pid:
        try:
            held = [taking.accept(version) for version in (4, 6)]
            tell.send(b"%d" % len(held))
            signal.pause()
        finally:
            os._exit(1)
    clients = []
    for version in (4, 6):
        client = taking.call(version)
        client.setblocking(True)
        client.settimeout(5)
        clients.append(client)
    told.settimeout(5)
    assert told.recv(9) == b"2"
    for client in clients:
        client.send(b"what nobody reads")
    told.close()
    tell.close()
    return pid, clients


DEATHS = {"": [], "without the nft table": NO_TABLE, "without rules": FLUSH_RULES, "without the route": ROUTE}


@pytest.mark.parametrize("removed", DEATHS.values(), ids=DEATHS)
@pytest.mark.parametrize("listens", [True, False], ids=["the others live", "all are dead"])
def test_after_kill_nine_late_packets_go_nowhere(taking: Taking, removed: list[str], listens: bool) -> None:
    pid, clients = holder(taking)
    taking.run(*removed)
    if not listens:
        for listening in taking.listening.values():
            listening.close()
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    wire = taking.zone.wires["acc0"]
    for version, client in zip((4, 6), clients, strict=True):
        port = client.getsockname()[1]
        for flags in (ACK, SYN, RST):
            send_frame(wire, (wire.far[version], port), (ABROAD[version], 443), flags)
            send_frame(wire, (wire.far[version], port + 1), (ABROAD[version], 80), flags)
        with contextlib.suppress(OSError):
            client.send(b"late")
        client.close()
    assert taking.leaked() == dict.fromkeys(WIRES, 0)


# ---- kept


EDITS = {
    "the rule is gone": RULE,
    "the route is gone": ROUTE,
    "the prohibit is gone": PROHIBIT,
    "the rule is for whatever comes": [*RULE[:1], "ip rule add pref 4601 fwmark 0x47000000 lookup 5200"],
    "the route leads out": ["ip route replace default via 192.0.2.1 dev wan0 table 5200 metric 5"],
    "a second route leads out": ["ip -6 route add default via 2001:db8:3::1 dev wan0 table 5200 metric 9"],
    "the chain is flushed": CHAIN,
    "the mark is asked for in the reverse path": ["sysctl -qw net.ipv4.conf.acc0.src_valid_mark=1"],
    "marks get onto answers": MARKS,
}


def shown(zone: Zone) -> list[str]:
    """Everything that is ours in the kernel, as text."""
    found = []
    with zone.gateway.inside():
        for command in ("rule", "-6 rule", "route show table 5200", "-6 route show table 5200"):
            done = subprocess.run(["ip", *command.split()], capture_output=True, text=True, timeout=10, check=False)
            found += sorted(done.stdout.splitlines())
        return [*found, nft.read_table()]


def test_every_edit_is_repaired(taking: Taking) -> None:
    taking.run("ip rule del pref 32767")
    before = shown(taking.zone)
    for edit, commands in EDITS.items():
        taking.run(*commands)
        assert taking.keeper.sweep(), edit
        assert shown(taking.zone) == before, edit
        assert not taking.keeper.sweep(), edit
        for version in (4, 6):
            for end in taking.pair(version):
                end.close()


def test_a_device_that_comes_back_is_taken_from_again(taking: Taking) -> None:
    taking.run("ip link del acc0")
    taking.keeper.sweep()
    assert not taking.keeper.sweep(), "the rules wait for their device"
    for listening in taking.listening.values():
        listening.close()
    taking.zone.plug("acc0")
    taking.keeper.sweep()
    with opened(taking.zone) as taking.listening:
        for version in (4, 6):
            for end in taking.pair(version):
                end.close()


def test_without_transparent_listeners_nothing_of_it_stays(taking: Taking) -> None:
    lines: list[Line] = [line_of(taking.zone, 1, "iplc1"), line_of(taking.zone, 2, "iplc2")]
    taking.keeper.close()
    states: dict[str, str] = {}
    later = Keeper(node_of(taking.zone), lambda line, state, _: states.update({line: state}), lambda *_, **__: None)
    later.want(lines)
    later.sweep()
    text = "\n".join(shown(taking.zone))
    assert "5200" not in text
    assert f"{TRANSPARENT_MARK:#x}" not in text
    assert not later.sweep()
    later.close()

"""Two firms behind two access devices have the same addresses, the gateway's there too: each is met by its own
listener, plain and transparent, and answered on its own wire alone."""

import contextlib
import socket
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

from gateway.line.model import Access, NodeConfig, Transparent
from gateway.line.plan import plan
from ops.listeners import listen
from ops.settings import Listener
from tests.netns.bench import configured, line_of
from tests.netns.kit import ABROAD, AF, Namespace, Wire, Zone
from tests.netns.packets import SYN, send_frame

pytestmark = pytest.mark.root
FIRMS = ("acc0", "acc1")
PLAIN, TAKING, SOURCE = 3128, 3130, 40_000
FAMILIES = pytest.mark.parametrize("version", [4, 6], ids=["IPv4", "IPv6"])
WAYS = pytest.mark.parametrize("way", ["plain", "transparent"])


@dataclass
class Places:
    """The zone with a second access wire that is like the first. listening: by device, way and family."""

    zone: Zone
    listening: dict[tuple[str, str, int], socket.socket] = field(default_factory=dict)

    def called(self, way: str, version: int) -> tuple[str, int]:
        """Where a program calls: the gateway, or a service abroad."""
        return (self.zone.wires["acc0"].near[version], PLAIN) if way == "plain" else (ABROAD[version], 443)

    def call(self, firm: str, way: str, version: int) -> socket.socket:
        """A connection of a firm's program, from the port that the other firm's has too."""
        wire = self.zone.wires[firm]
        with wire.ns.inside():
            client = socket.socket(AF[version])
        client.settimeout(3)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        client.bind((wire.far[version], SOURCE))
        client.connect(self.called(way, version))
        return client

    def accept(self, firm: str, way: str, version: int) -> socket.socket:
        """The next connection at a firm's own listener."""
        listening = self.listening[firm, way, version]
        listening.settimeout(3)
        found, _ = listening.accept()
        found.settimeout(3)
        return found


@pytest.fixture
def places(zone: Zone) -> Iterator[Places]:
    first = zone.wires["acc0"]
    zone.wires["acc1"] = Wire("acc1", 9, Namespace(), first.near, first.far)
    zone.plug("acc1")
    prefixes = (f"{first.near[4]}/29", f"{first.near[6]}/64")
    taking = [Transparent(interface=firm, address=first.near[v], port=TAKING) for firm in FIRMS for v in (4, 6)]
    node = NodeConfig(
        access=tuple(Access(interface=firm, prefixes=prefixes) for firm in FIRMS),
        listener_ports=(PLAIN,), transparent=tuple(taking),
    )  # fmt: skip
    found = Places(zone)
    lines = [line_of(zone, 1, "iplc1"), line_of(zone, 2, "iplc2")]
    with zone.gateway.inside(), configured(node, lines), contextlib.ExitStack() as stack:
        for entry in taking:
            version = 6 if ":" in entry.address else 4
            host = f"[{entry.address}]" if version == 6 else entry.address
            for way, port, demands in (("plain", PLAIN, ("token", "prefix")), ("transparent", TAKING, ("prefix",))):
                spec = Listener(
                    name=f"{way}-{entry.interface}-{version}", kind=way, address=f"{host}:{port}",
                    interface=entry.interface, demands=demands,
                )  # fmt: skip
                found.listening[entry.interface, way, version] = stack.enter_context(listen(spec))
        yield found


@FAMILIES
@WAYS
def test_each_is_met_by_its_own_listener_and_answered_on_its_own_wire(places: Places, way: str, version: int) -> None:
    clients = {firm: places.call(firm, way, version) for firm in FIRMS}
    ours = {firm: places.accept(firm, way, version) for firm in FIRMS}
    for firm, end in ours.items():
        assert end.getpeername()[:2] == clients[firm].getsockname()[:2]
        assert end.getsockname()[:2] == clients[firm].getpeername()[:2]
        end.send(f"for {firm}".encode())
    for firm, client in clients.items():
        assert client.recv(99).decode() == f"for {firm}"
        client.send(f"from {firm}".encode())
        assert ours[firm].recv(99).decode() == f"from {firm}"
    for end in (*clients.values(), *ours.values()):
        end.close()
    assert not any(places.zone.count(device).leaked for device in ("wan0", "iplc1", "iplc2"))


@FAMILIES
@WAYS
def test_what_one_of_them_sends_never_comes_out_at_the_other(places: Places, way: str, version: int) -> None:
    """Also when it ends in whatever way: what the kernel says of a connection goes where that came from."""
    places.zone.count("acc1")
    client = places.call("acc0", way, version)
    ours = places.accept("acc0", way, version)
    ours.send(b"data")
    assert client.recv(9) == b"data"
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    client.close()
    ours.close()
    assert places.zone.count("acc1").leaked == 0


STRANGERS = {4: "10.9.9.9", 6: "2001:db8:99::9"}


@FAMILIES
@WAYS
@pytest.mark.parametrize("firm", FIRMS)
def test_no_other_source_is_answered_behind_them(places: Places, firm: str, way: str, version: int) -> None:
    """As the strict filter of sources does where prefixes are different."""
    wire = places.zone.wires[firm]
    for source, answers in ((wire.far[version], True), (STRANGERS[version], False)):
        places.zone.count(firm)
        send_frame(wire, (source, 4711), places.called(way, version), SYN)
        assert bool(places.zone.count(firm).leaked) is answers, source
    assert not any(places.zone.count(device).leaked for device in ("wan0", "iplc1", "iplc2"))


def test_devices_with_prefixes_of_their_own_keep_the_strict_filter() -> None:
    places = [Access(interface=f"acc{n}", prefixes=(f"10.0.{n // 2}.0/24",)) for n in range(4)]
    places.append(Access(interface="acc4", prefixes=("10.9.0.0/24", "fd00::/64")))
    places.append(Access(interface="acc5", prefixes=("10.8.0.0/24", "fd00::/64")))
    wanted = plan([], NodeConfig(access=tuple(places))).sysctls
    assert [wanted[f"net/ipv4/conf/acc{n}/rp_filter"] for n in range(6)] == ["2", "2", "2", "2", "1", "1"]

"""Fair shares from end to end: firms that take all they get, through tunnels of a real worker, over one line that the
kernel shapes. What each gets is counted where it arrives, and compared with what the others get in the same run."""

import contextlib
import re
import selectors
import socket
import subprocess
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from gateway.line.model import REST, Access, NodeConfig, class_of
from gateway.line.shaper import Shaper
from tenants.model import Place
from tests.gateway.kit import SOURCES, Ground, Talk
from tests.gateway.node import Node, authorization, credential, grant, line, replace, tenant
from whitelist.model import LineShare

pytestmark = pytest.mark.root
RATE = 40_000  # kbit/s, each way
WARM, MEASURED = 3_000_000, 7_500_000  # bytes
STREAMS = 3  # tunnels of each firm
DEVICES = {"up": "iplc1", "down": "acc0"}
_LARGEST = 1 << 17
_CLASS = re.compile(r"^class htb (\w+):(\w+) .*\n Sent (\d+) bytes", re.MULTILINE)


@dataclass
class Scene:
    """A node with one worker and three firms on one access device: acme, birch and cedar."""

    ground: Ground
    node: Node

    def tunnel(self, firm: str) -> tuple[Talk, Talk]:
        """A tunnel through the worker: the client's end and the service's."""
        site = self.ground.site("tcp")
        talk = self.node.tunnel(self.node.workers["w0.1"], site.authority, firm)
        return talk, site.accept()

    @contextlib.contextmanager
    def shared(self, *shares: LineShare) -> Iterator[None]:
        """The policy and the kernel with a line of RATE that is shared so, as the lines process puts it there."""
        shaped = line("hk1", rate_up=RATE, rate_down=RATE, shares=shares)
        self.node.put(lines=shaped)
        config = NodeConfig(access=(Access(interface="acc0", prefixes=("10.0.0.0/24",)),), listener_ports=(3128,))
        with self.ground.gateway.inside():
            shaper = Shaper(config, lambda detail, *, repaired: pytest.fail(f"{detail} ({repaired})"))
        try:
            shaper.want([shaped])
            shaper.sweep()
            yield
            self.ground.tidy()
            shaper.want([])
            shaper.sweep()
        finally:
            shaper.close()

    def sent(self, device: str) -> dict[int, int]:
        """Bytes that the kernel sent on a device, by traffic class."""
        with self.ground.gateway.inside():
            said = subprocess.run(
                ["tc", "-s", "class", "show", "dev", device], capture_output=True, text=True, check=True, timeout=10
            ).stdout
        return {int(major, 16) << 16 | int(minor, 16): int(sent) for major, minor, sent in _CLASS.findall(said)}


@pytest.fixture(scope="module")
def module_scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    with Ground() as ground, Node(ground, tmp_path_factory.mktemp("node")) as node:
        place = Place(site="s1", room="r1", interface="acc0", prefix="10.0.0.32/28")
        node.put(
            tenants=replace(tenant("birch", 3), id="cedar", name="cedar", places=(place,)),
            credentials=credential("cedar"),
            grants=[grant("cedar", "tcp"), grant("cedar", "http")],
        )
        SOURCES["cedar"] = SOURCES["stray"]
        node.worker()
        yield Scene(ground, node)
        del SOURCES["cedar"]
        ground.tidy_talks()


@pytest.fixture
def scene(module_scene: Scene) -> Iterator[Scene]:
    yield module_scene
    module_scene.ground.tidy()


def share(firm: str, number: int, rate: int, ceiling: int = 0) -> LineShare:
    """The same in both directions; kbit/s."""
    return LineShare(tenant=firm, number=number, up=rate, up_ceiling=ceiling, down=rate, down_ceiling=ceiling)


def greed(scene: Scene, direction: str, firms: tuple[str, ...]) -> Counter[str]:
    """Bytes that arrived by firm while all of them sent, or were sent, as much as they would take."""
    total: Counter[str] = Counter()
    before: Counter[str] | None = None
    with selectors.DefaultSelector() as selector:
        for firm in [firm for firm in firms for _ in range(STREAMS)]:
            client, there = (end.sock for end in scene.tunnel(firm))
            sender, receiver = (client, there) if direction == "up" else (there, client)
            sender.setblocking(False)
            receiver.setblocking(False)
            selector.register(sender, selectors.EVENT_WRITE, "")
            selector.register(receiver, selectors.EVENT_READ, firm)
        while before is None or total.total() - before.total() < MEASURED:
            ready = selector.select(10)
            assert ready, f"nothing moves any more: {total}"
            for key, _ in ready:
                assert isinstance(key.fileobj, socket.socket)
                if key.data:
                    data = key.fileobj.recv(_LARGEST)
                    assert data, f"a tunnel of {key.data} ended"
                    total[key.data] += len(data)
                else:
                    key.fileobj.send(bytes(_LARGEST))
            if before is None and total.total() >= WARM:
                before = total.copy()
    return total - before


SHARES = {
    "two guarantees are kept in proportion": (
        (share("acme", 1, 10_000), share("birch", 2, 30_000)), {"acme": 0.25, "birch": 0.75},
    ),
    "a third without a share gets neither's": (
        (share("acme", 1, 10_000), share("birch", 2, 30_000)), {"acme": 0.25, "birch": 0.75, "cedar": 0.0},
    ),
    "a ceiling holds and the others get what is left": (
        (share("acme", 1, 10_000, 10_000), share("birch", 2, 10_000)), {"acme": 0.25, "birch": 0.75},
    ),
}  # fmt: skip


@pytest.mark.parametrize("direction", DEVICES)
@pytest.mark.parametrize("case", SHARES)
def test_greedy_firms(scene: Scene, case: str, direction: str) -> None:
    shares, parts = SHARES[case]
    with scene.shared(*shares):
        got = greed(scene, direction, tuple(parts))
        by_class = scene.sent(DEVICES[direction])
    pair = got["acme"] + got["birch"]
    for firm in ("acme", "birch"):
        assert got[firm] / pair == pytest.approx(parts[firm], rel=0.1), got
    numbers = {"acme": 1, "birch": 2, "cedar": REST}
    for firm in parts:
        assert got[firm] > 0, f"{firm} is starved: {got}"
        assert by_class[class_of(1, numbers[firm])] > got[firm], f"{firm} is not in its class: {by_class}"
    assert got["cedar"] < 0.02 * pair, got


def test_plain_exchanges_are_in_their_firms_class_in_both_directions(scene: Scene) -> None:
    size = 200_000
    numbers = {"acme": 1, "cedar": REST}
    with scene.shared(share("acme", 1, 10_000)):
        for firm in numbers:
            site = scene.ground.site("http")
            talk = scene.ground.dial(scene.node.workers["w0.1"].port, firm)
            talk.say(f"POST http://{site.host}/ HTTP/1.1\r\nHost: {site.host}\r\nContent-Length: {size}\r\n")
            talk.say(f"Proxy-Authorization: {authorization(firm)}\r\n\r\n").say(bytes(size))
            there = site.accept()
            there.head()
            there.exactly(size)
            there.say(f"HTTP/1.1 200 OK\r\nContent-Length: {size}\r\n\r\n").say(bytes(size))
            assert talk.head().startswith("HTTP/1.1 200 ")
            talk.exactly(size)
        for device in DEVICES.values():
            by_class = scene.sent(device)
            for firm, number in numbers.items():
                assert size < by_class[class_of(1, number)] < 2 * size, (device, firm, by_class)

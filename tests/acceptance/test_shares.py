"""Shares of a line, from the operator's command to the kernel's classes, with the bytes of a running node in them."""

import re
from collections.abc import Iterator

import pytest

from gateway.line.model import REST, class_of
from ops.demo.network import FIRMS, GATEWAY, LINES
from ops.demo.world import SEARCH
from tests.acceptance.kit import Node

pytestmark = pytest.mark.root
SIZE = 1_000_000
LINE = LINES["hk1"]
_CLASS = re.compile(r"^class htb (\w+):(\w+) .* rate (\w+) ceil (\w+) .*\n Sent (\d+) bytes", re.MULTILINE)


@pytest.fixture
def shared(node: Node) -> Iterator[Node]:
    """hk1 shaped, with a share of acme's."""
    node.feiyu("line", "edit", "hk1", "--rate-up", "40mbit", "--rate-down", "60mbit")
    node.feiyu("line", "share", "hk1", "acme", "--up", "10mbit..30mbit", "--down", "20mbit")
    yield node
    node.feiyu("line", "unshare", "hk1", "acme")
    node.feiyu("line", "edit", "hk1", "--clear", "rate-up", "--clear", "rate-down")


def classes(node: Node, device: str) -> dict[int, tuple[str, str, int]]:
    """Rate, ceiling and bytes sent of the traffic classes of a device."""
    said = node.stage.zone.run(GATEWAY, ["tc", "-s", "class", "show", "dev", device]).stdout
    return {
        int(major, 16) << 16 | int(minor, 16): (rate, ceiling, int(sent))
        for major, minor, rate, ceiling, sent in _CLASS.findall(said)
    }


def test_a_share_that_an_operator_gives_holds_the_firms_bytes_in_both_directions(shared: Node) -> None:
    stage, access = shared.stage, FIRMS["acme"].device
    entry = next(item for item in stage.control("/v1/lines")["items"] if item["id"] == "hk1")
    mine, rest = class_of(entry["index"], entry["shares"][0]["number"]), class_of(entry["index"], REST)
    rates = {LINE.device: ("10Mbit", "30Mbit"), access: ("20Mbit", "60Mbit")}
    for device, expected in rates.items():
        stage.wait(lambda d=device: mine in classes(shared, d), f"no class on {device}")  # type: ignore[misc]
        assert classes(shared, device)[mine][:2] == expected
    upload = stage.directory / "upload"
    upload.write_bytes(bytes(SIZE))
    for url, more in ((f"https://{SEARCH}/", ()), (f"http://{SEARCH}/", ("-H", "Expect:"))):
        before = {device: classes(shared, device)[mine][2] for device in rates}
        sent = stage.clients["acme"].curl(url, "--data-binary", f"@{upload}", *more)
        got = stage.clients["acme"].curl(f"{url}download?bytes={SIZE}", "-o", "/dev/null")
        assert (sent.status, got.exit) == (200, 0), (sent, got)
        for device in rates:
            moved = classes(shared, device)[mine][2] - before[device]
            assert SIZE <= moved < 2 * SIZE, f"{url} on {device}: {moved} bytes in acme's class"
    assert all(classes(shared, device)[rest][2] < SIZE for device in rates), "nothing of it went beside"

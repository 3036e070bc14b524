"""What rules block, as control's API tells it and lifts it."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from telemetry.record import decode
from tests.ops.control_kit import Node, running
from tests.telemetry import spool_kit

BLOCK = {"id": "r-1", "scope": "tenant", "value": "acme", "until": 1_900_000_000, "rule": "rule-7"}
KILL = {"id": "k-1", "scope": "all"}


@pytest.fixture
async def node(tmp_path: Path) -> AsyncIterator[Node]:
    (tmp_path / "run" / "spool").mkdir(parents=True)
    writer = spool_kit.Node(tmp_path).writer("control.1")
    async with running(tmp_path, writer=writer) as found:
        found.hub.kills = [KILL, BLOCK]
        yield found


async def test_blocks_are_those_kills_that_a_rule_asked_for(node: Node) -> None:
    assert await node.call("GET", "/v1/blocks") == (200, {"items": [BLOCK]})


async def test_lifting_a_block_is_told_to_the_workers_and_recorded(node: Node) -> None:
    status, answer = await node.call("POST", "/v1/blocks/r-1/lift", {"reason": "false alarm"})
    assert (status, answer["item"], answer["enforced"]["acked"]) == (200, BLOCK, ["w0", "w1"])
    assert node.hub.told[-1] == {"kind": "unkill", "id": "r-1"}
    lines = [line for file in (node.run / "spool").glob("*control*") for line in file.read_bytes().splitlines()]
    said = [decode(line).detail for line in lines if line.startswith(b"{")]
    assert any(detail.startswith("lift block r-1 of tenant acme by rule rule-7 by ") for detail in said)


@pytest.mark.parametrize(
    ("block", "body", "status"),
    [
        pytest.param("r-1", {}, 422, id="no reason"),
        pytest.param("r-1", {"reason": "x", "force": True}, 422, id="another field"),
        pytest.param("r-2", {"reason": "x"}, 404, id="no such block"),
        pytest.param("k-1", {"reason": "x"}, 404, id="a kill switch, which is none of a rule's"),
    ],
)
async def test_what_cannot_be_lifted_lifts_nothing(node: Node, block: str, body: Any, status: int) -> None:
    assert (await node.call("POST", f"/v1/blocks/{block}/lift", body))[0] == status
    assert all(message.get("kind") != "unkill" for message in node.hub.told)


async def test_without_a_hub_nothing_is_known(node: Node) -> None:
    await node.hub.close()
    assert (await node.call("GET", "/v1/blocks"))[0] == 503

"""Inspection over real sockets: curl, a worker, an inspector, and services abroad."""

from collections.abc import Iterator

import pytest

from tests.gateway.inspection_kit import InspectedNode
from tests.gateway.kit import Ground
from tests.gateway.node import Worker

pytestmark = pytest.mark.root


@pytest.fixture(scope="module")
def shared(session_ground: Ground, tmp_path_factory: pytest.TempPathFactory) -> Iterator[InspectedNode]:
    with InspectedNode(session_ground, tmp_path_factory.mktemp("inspected")) as found:
        found.worker()
        found.start_inspector()
        yield found


@pytest.fixture
def node(ground: Ground, shared: InspectedNode) -> Iterator[InspectedNode]:
    shared.inspect()
    yield shared
    ground.tidy()
    shared.restore()


@pytest.fixture
def worker(node: InspectedNode) -> Worker:
    return node.workers["w0.1"]


@pytest.mark.parametrize(("how", "version"), [("--http1.1", "HTTP/1.1"), ("--http2", "HTTP/2")])
def test_what_a_rule_allows_passes(node: InspectedNode, worker: Worker, how: str, version: str) -> None:
    site, origin = node.service()
    found = node.curl(worker, f"https://{site.host}/open/a?secret=1", how)
    assert (found.status, found.version) == (200, version), (found, node.said.read_text(), worker.said.read_text())
    assert b'"path": "/open/a?secret=1"' in found.body
    assert [asked.path for asked in origin.asked] == ["/open/a?secret=1"]

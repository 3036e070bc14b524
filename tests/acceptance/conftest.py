"""One node for the whole session: it takes seconds to build. Every test ends with a silent default wire."""

import os
from collections.abc import Iterator

import pytest

from tests.acceptance.kit import Node, running_node


@pytest.fixture(scope="session")
def session_node() -> Iterator[Node]:
    if os.geteuid() != 0:
        pytest.skip("needs root: network namespaces")
    with running_node() as node:
        yield node


@pytest.fixture
def node(session_node: Node) -> Iterator[Node]:
    """The node, ready; afterwards nothing may have strayed to the default wire."""
    session_node.stage.wait(session_node.stage.is_ready, "the node is not ready", 20)
    yield session_node
    assert session_node.counter.read().stray == 0, f"on the default wire: {session_node.counter.read()}"

"""One node for the whole session: it takes seconds to build. Every test ends with a silent default wire."""

import os
import subprocess
from collections.abc import Iterator

import pytest

from ops import processes
from ops.demo.client import ENVIRONMENT
from ops.demo.network import ABROAD, end
from ops.demo.world import MIRROR
from tests.acceptance import goods
from tests.acceptance.kit import Node, running_node
from tests.acceptance.shop import PLAIN, TLS


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


@pytest.fixture(scope="session")
def shop(session_node: Node) -> Iterator[None]:
    """The shop abroad for package tools, granted to acme as g-shop over hk1."""
    stage = session_node.stage
    directory = stage.directory / "shop"
    goods.make(directory, ENVIRONMENT | {"HOME": str(stage.directory)})
    argv = processes.module("tests.acceptance.shop", str(stage.directory / "server.pem"), str(directory))
    running = stage.zone.spawn(ABROAD, argv, env=stage.environment(), stdout=subprocess.PIPE)
    try:
        assert running.stdout and running.stdout.readline() == b"ready\n", "the shop abroad did not start"
        session_node.service("shop", f"tls://{MIRROR}:{TLS}", f"http://{MIRROR}:{PLAIN}")
        yield
    finally:
        end(running)

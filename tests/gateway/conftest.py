"""One ground and one node for all tests of the data path; both are left as they were found."""

import os
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.gateway.kit import SOURCES, Ground
from tests.gateway.node import Node, Worker


@pytest.fixture(scope="session")
def session_ground() -> Iterator[Ground]:
    if os.geteuid() != 0:
        pytest.skip("needs root: network namespaces")
    with Ground() as found:
        yield found


@pytest.fixture
def ground(session_ground: Ground) -> Iterator[Ground]:
    """The namespaces; what a test leaves open is closed after it."""
    yield session_ground
    session_ground.tidy()


@pytest.fixture(scope="session")
def session_node(session_ground: Ground, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    with Node(session_ground, tmp_path_factory.mktemp("node")) as found:
        found.worker()
        yield found


@pytest.fixture
def node(ground: Ground, session_node: Node) -> Node:
    """The node that most tests share."""
    return session_node


@pytest.fixture
def worker(node: Node) -> Worker:
    """Its first worker."""
    return node.workers["w0.1"]


@pytest.fixture(scope="session")
def session_own(session_ground: Ground, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    with Node(session_ground, tmp_path_factory.mktemp("node")) as found:
        found.worker()
        yield found


@pytest.fixture
def own(ground: Ground, session_own: Node) -> Iterator[Node]:
    """A node whose policy, lines and orders a test may change; they are put back after it."""
    yield session_own
    ground.tidy()
    session_own.restore()


@pytest.fixture(scope="session")
def session_hasty(session_ground: Ground, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    times = {"idle": 1, "total": 2, "handshake": 1, "dial": 1}
    with Node(session_ground, tmp_path_factory.mktemp("node"), timeouts=times) as found:
        found.worker()
        yield found


@pytest.fixture
def hasty(ground: Ground, session_hasty: Node) -> Node:
    """A node with one worker and short times: idle 1 s, in all 2 s, handshake and dial 1 s."""
    return session_hasty


@pytest.fixture(scope="session")
def session_ways(session_ground: Ground, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    balancer = [f"{SOURCES['stray']}/32"]
    listeners = {
        "socks": {"kind": "socks5"},
        "open": {"demands": ["prefix"]},
        "open-socks": {"kind": "socks5", "demands": ["prefix"]},
        "balanced-open": {"demands": ["prefix"], "proxy_protocol": balancer},
        "balanced": {"proxy_protocol": balancer},
        "balanced-socks": {"kind": "socks5", "proxy_protocol": balancer},
    }
    with Node(session_ground, tmp_path_factory.mktemp("node"), listeners=listeners, timeouts={"handshake": 1}) as found:
        found.worker()
        yield found


@pytest.fixture
def ways(ground: Ground, session_ways: Node) -> Node:
    """A node with one worker and further ways in: socks; open and open-socks, which demand the prefix alone; and behind
    the balancer ("stray") balanced, balanced-socks and balanced-open. A handshake may take 1 s."""
    return session_ways


@pytest.fixture
def another(ground: Ground, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Node]]:
    """Makes nodes of a test's own, with settings of its own."""
    made: list[Node] = []

    def make(**settings: Any) -> Node:
        node = Node(ground, tmp_path_factory.mktemp("node"), **settings)
        made.append(node)
        return node

    yield make
    for node in made:
        node.__exit__(None, None, None)

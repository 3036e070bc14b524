"""Each test gets a zone of its own; it ends with the test."""

from collections.abc import Iterator

import pytest

from gateway.line.model import handle_of
from tests.netns.bench import Bench, configured, line_of, node_of
from tests.netns.kit import Zone


@pytest.fixture
def zone() -> Iterator[Zone]:
    with Zone() as zone:
        yield zone


@pytest.fixture
def bench(zone: Zone) -> Iterator[Bench]:
    lines = [line_of(zone, 1, "iplc1"), line_of(zone, 2, "iplc2")]
    with zone.gateway.inside(), configured(node_of(zone), lines) as keeper:
        yield Bench(zone, keeper, handle_of(lines[0]), handle_of(lines[1]))

"""What is told of a line that left the policy while no lines process was there to say so."""

import pytest

from gateway.config import Health
from gateway.line.model import MARK_BASE
from gateway.line.watch import Watch
from tests.gateway.line.kit import line
from whitelist.model import Line

STOOD = {"line-1": "up", "line-2": "down"}
LEFT: dict[str, tuple[list[Line], list[tuple[str, str, str]]]] = {
    "both are there": ([line(1), line(2)], []),
    "one is retired": ([line(1, retired=True), line(2)], [("line-1", "down", "retired")]),
    "one is in the policy no more": ([line(1)], [("line-2", "down", "retired")]),
    "one that was retired never stood": ([line(1), line(2), line(3, retired=True)], []),
}


@pytest.mark.parametrize("sentence", LEFT)
async def test_lines_that_stood_and_are_gone_are_told_as_retired_once_when(sentence: str) -> None:
    entries, expected = LEFT[sentence]
    told: list[tuple[str, str, str]] = []
    watch = Watch(Health(), MARK_BASE, lambda *state: told.append(state), lambda *_: None, STOOD)
    watch.want(entries)
    watch.want(entries)
    assert told == expected


async def test_a_line_that_goes_on_is_told_as_the_kernel_has_it() -> None:
    told: list[tuple[str, str, str]] = []
    watch = Watch(Health(), MARK_BASE, lambda *state: told.append(state), lambda *_: None, STOOD)
    watch.want([line(1, probes=("tcp://203.0.113.1:443",))])
    watch.told("line-1", "up", "")
    assert told == [("line-2", "down", "retired"), ("line-1", "up", "")]

"""The walk over all connections, turn by turn of a real reactor."""

import time
from types import SimpleNamespace

import pytest

from gateway.look import Look
from gateway.reactor import Reactor
from gateway.slices import SLICE, walk


class Connection:
    """Takes a whole slice when it is visited."""

    def __init__(self, name: str, visited: list[str]) -> None:
        self.name, self.visited = name, visited

    def visit(self) -> None:
        self.visited.append(self.name)
        time.sleep(SLICE)


def context(*names: str) -> tuple[SimpleNamespace, list[str]]:
    visited: list[str] = []
    live = {fd: Connection(name, visited) for fd, name in enumerate(names)}
    return SimpleNamespace(live=live, reactor=Reactor(), report=pytest.fail), visited


def test_a_slow_walk_leaves_each_turn_to_others_and_says_when_it_is_over() -> None:
    ctx, visited = context("a", "b", "c")
    walk(ctx, Connection.visit, lambda: visited.append("after"))  # type: ignore[arg-type]
    assert visited == ["a"]
    for _ in range(4):
        ctx.reactor.again(lambda: visited.append("other"))
        ctx.reactor.turn(0.0)
    assert visited == ["a", "b", "other", "c", "other", "other", "after", "other"]


def test_a_quick_walk_takes_one_turn() -> None:
    ctx, visited = context("a", "b", "c")
    walk(ctx, lambda live: visited.append(live.name), lambda: visited.append("after"))  # type: ignore[arg-type,attr-defined]
    assert visited == ["a", "b", "c"]
    ctx.reactor.turn(0.0)
    assert visited == ["a", "b", "c", "after"]


def test_a_look_does_not_begin_while_the_one_before_is_under_way(monkeypatch: pytest.MonkeyPatch) -> None:
    ctx, visited = context("a", "b", "c")
    look = Look(ctx, SimpleNamespace())  # type: ignore[arg-type]
    monkeypatch.setattr(look, "_visit", Connection.visit)
    while len(visited) < 6:
        look.begin()
        ctx.reactor.turn(0.0)
    assert visited == ["a", "b", "c", "a", "b", "c"]

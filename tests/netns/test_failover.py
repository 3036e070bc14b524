"""Failover on a whole node: over which line new tunnels go when one dies and when it comes back, what becomes of those
that are open, and that none of it strays."""

import time
from collections.abc import Callable, Iterator

import pytest

from gateway.config import Health, Timeouts
from ops.demo.counters import WireCounter
from ops.demo.network import DEFAULT, LINES
from ops.demo.stage import Stage
from tests.netns import failover_kit as kit
from tests.netns.failover_kit import BY_WEIGHT, EITHER, ONLY_SG1, WEIGHTS, Asker, asked, held, tally, until_lines

pytestmark = pytest.mark.root
HK1, SG1 = LINES["hk1"], LINES["sg1"]
HOLD_DOWN = 2.2  # seconds; in less than two, a second death would count as the same incident
# Each death is followed by the same hold-down.
HEALTH = Health(
    interval=0.3, timeout=0.2, failures=3, successes=2, flaps=1, hold_down=HOLD_DOWN, hold_down_max=HOLD_DOWN
)
OF_HK1 = {"kind": "line", "line": "hk1"}
SYNS = "tcp dport 80 tcp flags syn"  # of tenants
PROBES = "tcp dport 443 tcp flags syn"
Act = Callable[[Stage], None]
DEATHS: dict[str, tuple[str, Act, Act]] = {
    "its link": (EITHER[0], lambda stage: stage.zone.cut(HK1), lambda stage: stage.zone.mend(HK1)),
    "what lies behind it": (
        EITHER[1],
        lambda stage: kit.go_silent(stage.zone, HK1),
        lambda stage: kit.speak_again(stage.zone, HK1),
    ),
}


@pytest.fixture(scope="module")
def module_node() -> Iterator[tuple[Stage, WireCounter]]:
    with kit.node(HEALTH, Timeouts(drain=2)) as stage, WireCounter(stage.zone, DEFAULT) as counter:
        yield stage, counter


@pytest.fixture
def stage(module_node: tuple[Stage, WireCounter]) -> Iterator[Stage]:
    """The node with both lines up, before and after; nothing may stray to the default wire."""
    stage, counter = module_node
    until_lines(stage, hk1="up", sg1="up")
    counter.reset()
    yield stage
    assert counter.read().stray == 0, f"on the default wire: {counter.read()}"


@pytest.mark.parametrize("death", DEATHS)
def test_new_tunnels_go_over_the_next_line_and_open_ones_end_only_on_the_dead_one_after_the_death_of(
    death: str, stage: Stage
) -> None:
    authority, kill, mend = DEATHS[death]
    assert tally(asked(stage, 20, authority)) == {"hk1": 20}
    with held(stage, authority) as on_hk1, held(stage, ONLY_SG1) as on_sg1:
        with Asker(stage, authority) as asker:
            kill(stage)
            try:
                until_lines(stage, hk1="down")
                for wire in (HK1, SG1):
                    kit.count(stage.zone, wire, SYNS)
                assert tally(asked(stage, 40, authority)) == {"sg1": 40}
                assert tally(asked(stage, 20, BY_WEIGHT)) == {"sg1": 20}, "weights divide among those that are up"
                assert kit.counted(stage.zone, HK1) == 0
                assert kit.counted(stage.zone, SG1) >= 60
            finally:
                mend(stage)
        assert on_hk1.ended()
        assert on_sg1.goes_on()
    assert set(tally(list(asker.attempts))) <= {"hk1", "sg1", "cut"}, "what waited was not refused"
    closed = kit.recorded(stage, lambda r: r["client_port"] == on_hk1.port, kind="close")
    assert (closed["line"], closed["cause"]) == ("hk1", "line-down")


def test_with_both_lines_dead_it_is_said_of_each_why_it_was_not_taken(stage: Stage) -> None:
    try:
        for wire in (HK1, SG1):
            stage.zone.cut(wire)
        until_lines(stage, hk1="down", sg1="down")
        assert tally(asked(stage, 5)) == {"line-unavailable": 5}
    finally:
        for wire in (HK1, SG1):
            stage.zone.mend(wire)
    refused = stage.record(kind="deny", host=kit.HOST)
    assert (refused["status"], refused["reason"]) == (503, "line-unavailable")
    assert refused["detail"] == "hk1: down, sg1: down"
    assert "address" not in refused, "nothing was dialled"


def test_when_the_first_line_is_back_new_tunnels_take_it_again_after_its_hold_down(stage: Stage) -> None:
    began = time.time()
    stage.zone.cut(HK1)
    until_lines(stage, hk1="down")
    with Asker(stage) as asker:
        stage.zone.mend(HK1)
        until_lines(stage, hk1="up")
    assert tally(asked(stage, 20)) == {"hk1": 20}
    down, up = (
        kit.recorded(stage, lambda r, s=state: r["time"] / 1e6 > began and r["detail"].startswith(s), **OF_HK1)["time"]
        for state in ("down", "up")
    )
    assert (up - down) / 1e6 > HOLD_DOWN - 0.5, "the link was back at once"
    order = [attempt.line for attempt in sorted(asker.attempts, key=lambda attempt: attempt.began)]
    assert order[0] == "sg1"
    assert set(order) <= {"sg1", "hk1"}


def test_a_lost_probe_cuts_nothing_and_moves_nothing(stage: Stage) -> None:
    with held(stage, EITHER[0]) as on_hk1:
        # A SYN has 60 bytes, over IPv6 80: of a round and of the one before or after it.
        kit.go_silent(stage.zone, HK1, f"{PROBES} quota until 230 bytes")
        kit.count(stage.zone, HK1, PROBES)
        try:
            stage.wait(lambda: kit.counted(stage.zone, HK1) >= 10, "no probes are sent")
            assert kit.counted(stage.zone, HK1, "lost") == 3
            # Had the line been down for a moment, it would be held down now.
            assert tally(asked(stage, 20)) == {"hk1": 20}
            assert on_hk1.goes_on()
        finally:
            kit.speak_again(stage.zone, HK1)


def test_weights_divide_new_tunnels(stage: Stage) -> None:
    found = tally(asked(stage, 300, BY_WEIGHT))
    assert set(found) == set(WEIGHTS)
    assert abs(found["hk1"] - 300 * WEIGHTS["hk1"] / 100) < 48, "six standard deviations"

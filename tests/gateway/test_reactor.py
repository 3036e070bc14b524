"""The event loop: edges, timers, the order within a turn, closing, and defects that stay where they are."""

import os
import socket
import time
from collections.abc import Callable
from functools import partial

import pytest

from gateway.reactor import BOTH_EDGE, IN, READ_EDGE, Reactor


@pytest.fixture
def reactor() -> Reactor:
    return Reactor()


def pair() -> tuple[socket.socket, socket.socket]:
    ends = socket.socketpair()
    for end in ends:
        end.setblocking(False)
    return ends


def tcp() -> tuple[socket.socket, socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        near = socket.create_connection(listener.getsockname())
        far, _ = listener.accept()
    near.setblocking(False)
    far.settimeout(5)
    return near, far


def test_within_a_turn_records_come_before_answers_and_closes_come_last(reactor: Reactor) -> None:
    order: list[str] = []
    near, far = pair()
    fd = near.detach()

    def on_event(mask: int) -> None:
        order.append("event")
        reactor.at_turn_end(lambda: order.append("answer"))
        reactor.close(fd)
        os.fstat(fd)  # its number is still taken

    reactor.before_flush = lambda: order.append("records")
    reactor.watch(fd, READ_EDGE, on_event)
    reactor.later(0.0, lambda: order.append("timer"))
    far.send(b"x")
    reactor.turn(1.0)
    assert order == ["event", "timer", "records", "answer", "records"]
    with pytest.raises(OSError, match="Bad file"):
        os.fstat(fd)
    far.close()


def test_what_waits_for_records_may_wait_again_in_the_same_turn(reactor: Reactor) -> None:
    order: list[str] = []
    reactor.before_flush = lambda: order.append("records")
    reactor.at_turn_end(lambda: reactor.at_turn_end(lambda: order.append("second")))
    reactor.turn(0.0)
    assert order == ["records", "records", "second", "records"]


def test_an_event_of_a_connection_closed_earlier_in_the_turn_goes_to_nobody(reactor: Reactor) -> None:
    ends = [pair() for _ in range(2)]
    heard: list[int] = []

    def on_event(own: int, other: int) -> Callable[[int], None]:
        def handler(mask: int) -> None:
            heard.append(own)
            reactor.close(other)

        return handler

    fds = [near.detach() for near, _ in ends]
    reactor.watch(fds[0], READ_EDGE, on_event(*fds))
    reactor.watch(fds[1], READ_EDGE, on_event(*reversed(fds)))
    for _, far in ends:
        far.send(b"x")
    reactor.turn(1.0)
    assert len(heard) == 1
    for _, far in ends:
        far.close()
    os.close(heard[0])


def test_an_edge_comes_once_and_again_callbacks_come_in_the_next_turn(reactor: Reactor) -> None:
    near, far = pair()
    heard: list[str] = []
    reactor.watch(near.fileno(), READ_EDGE, lambda mask: heard.append("edge"))
    far.send(b"x")
    reactor.turn(0.0)
    reactor.turn(0.0)
    assert heard == ["edge"]
    reactor.again(lambda: reactor.again(lambda: heard.append("again")))
    for _ in range(2):
        reactor.turn(5.0)  # it does not wait
    assert heard == ["edge", "again"]
    reactor.change(near.fileno(), BOTH_EDGE)
    reactor.turn(1.0)
    assert heard == ["edge", "again", "edge"], "a change tells of what is there"
    reactor.forget(near.fileno())
    reactor.forget(near.fileno())
    far.send(b"x")
    reactor.turn(0.0)
    assert len(heard) == 3
    near.close()
    far.close()


def test_timers_come_in_order_and_not_too_early(reactor: Reactor) -> None:
    came: list[tuple[str, float]] = []
    started = time.monotonic()
    for name, seconds in (("b", 0.05), ("c", 0.1), ("a", 0.0)):
        reactor.later(seconds, lambda n=name: came.append((n, time.monotonic() - started)))  # type: ignore[misc]
    while len(came) < 3:
        reactor.turn(1.0)
    assert [name for name, _ in came] == ["a", "b", "c"]
    assert came[1][1] >= 0.049
    assert came[2][1] >= 0.099
    assert came[2][1] < 1.0


class Flow:
    """Something whose methods have a defect."""

    def __init__(self, *, worse: bool = False) -> None:
        self.worse = worse
        self.told: list[str] = []

    def on_event(self, mask: int) -> None:
        raise RuntimeError("on_event")

    def resume(self) -> None:
        raise RuntimeError("resume")

    def crashed(self, error: Exception) -> None:
        self.told.append(str(error))
        if self.worse:
            raise ValueError("while crashing")


@pytest.mark.parametrize("way", ["event", "timer", "again", "turn end"])
@pytest.mark.parametrize("worse", [False, True])
def test_a_defect_is_its_owners_and_the_others_go_on(way: str, worse: bool, reactor: Reactor) -> None:
    flow, told, others = Flow(worse=worse), list[str](), list[str]()
    near, far = pair()
    reactor.on_error = lambda error: told.append(str(error))
    ways: dict[str, Callable[[], None]] = {
        "event": lambda: reactor.watch(near.fileno(), IN, flow.on_event),
        "timer": lambda: reactor.later(0.0, flow.resume),
        "again": lambda: reactor.again(flow.resume),
        "turn end": lambda: reactor.at_turn_end(flow.resume),
    }
    ways[way]()
    reactor.at_turn_end(lambda: others.append("answer"))
    reactor.later(0.0, lambda: others.append("timer"))
    far.send(b"x")
    reactor.turn(0.0)
    assert len(flow.told) == 1
    assert told == (["while crashing"] if worse else [])
    assert sorted(others) == ["answer", "timer"]
    near.close()
    far.close()


def test_a_guarded_callback_of_nobody_is_reported(reactor: Reactor) -> None:
    told: list[str] = []
    reactor.on_error = lambda error: told.append(str(error))
    flow = Flow()
    reactor.guard(flow.resume)
    reactor.guard(partial(flow.resume), flow)
    reactor.guard(partial(flow.resume))
    assert (flow.told, told) == (["resume", "resume"], ["resume"])


def test_close_is_orderly_and_abort_is_a_reset(reactor: Reactor) -> None:
    for way, ends in (("close", b""), ("abort", None)):
        near, far = tcp()
        fd = near.detach()
        reactor.watch(fd, READ_EDGE, lambda mask: None)
        os.write(fd, b"last")
        getattr(reactor, way)(fd)
        reactor.turn(0.0)
        assert far.recv(100) == b"last"
        if ends is None:
            with pytest.raises(ConnectionResetError):
                far.recv(100)
        else:
            assert far.recv(100) == ends
        far.close()


def test_aborting_what_is_no_connection_closes_it(reactor: Reactor) -> None:
    reader, writer = os.pipe()
    reactor.abort(reader)
    reactor.turn(0.0)
    with pytest.raises(OSError, match="Bad file"):
        os.fstat(reader)
    os.close(writer)

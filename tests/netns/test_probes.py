"""Probes over real lines: what answers, what does not, and what a line is that has carrier and carries nothing."""

import asyncio
import threading
from collections.abc import Callable

import pytest
from msgspec.structs import replace

from gateway.config import Health
from gateway.line.probe import ask_all, parse, probe_line
from gateway.line.process import LinesConfig, run
from tests.netns.bench import Bench, line_of, node_of
from tests.netns.kit import ABROAD, PORT, Zone

pytestmark = pytest.mark.root
RULES = Health(interval=0.05, timeout=0.04, failures=3, successes=2)
BOTH = (f"tcp://{ABROAD[4]}:{PORT}", f"tcp://[{ABROAD[6]}]:{PORT}")


def test_what_answers_is_told_with_its_round_trip_and_nothing_else_leaves(bench: Bench) -> None:
    for device in ("wan0", "iplc2"):
        bench.zone.count(device)
    results = probe_line(replace(line_of(bench.zone, 1, "iplc1"), probes=BOTH))
    assert [result.ok for result in results] == [True, True]
    assert all(result.rtt_us > 0 for result in results)
    assert bench.zone.count("wan0").leaked == bench.zone.count("iplc2").leaked == 0


@pytest.mark.parametrize(
    ("target", "why"),
    [
        (f"tcp://{ABROAD[4]}:9", "Connection refused"),
        (f"http://{ABROAD[4]}:{PORT}/", "no answer in"),
        ("tcp://198.51.100.99:443", ""),
    ],
)
def test_what_does_not_answer_says_why(bench: Bench, target: str, why: str) -> None:
    (result,) = probe_line(replace(line_of(bench.zone, 1, "iplc1"), probes=(target,)), timeout=0.3)
    assert not result.ok
    assert why in result.why


@pytest.mark.parametrize(
    ("answer", "ok", "why"),
    [
        (b"HTTP/1.1 204 No Content\r\n\r\n", True, ""),
        (b"HTTP/1.1 404 Not Found\r\n\r\n", True, ""),
        (b"HTTP/1.1 503 Busy\r\n\r\n", False, "status 503"),
        (b"SSH-2.0-x\r\n", False, "no HTTP answer"),
        (b"", False, "no HTTP answer"),
    ],
)
def test_an_http_probe_reads_the_status(bench: Bench, answer: bytes, ok: bool, why: str) -> None:
    server = bench.zone.wires["iplc1"].servers[0]  # TCP on PORT, IPv4
    asked: list[bytes] = []

    def serve() -> None:
        server.settimeout(5)
        peer, _ = server.accept()
        with peer:
            asked.append(peer.recv(4096))
            peer.sendall(answer)

    thread = threading.Thread(target=serve)
    thread.start()
    (result,) = probe_line(replace(line_of(bench.zone, 1, "iplc1"), probes=(f"http://{ABROAD[4]}:{PORT}/up",)))
    thread.join(5)
    assert asked[0].startswith(b"GET /up HTTP/1.1\r\nHost: 203.0.113.10\r\n")
    assert (result.ok, result.why) == (ok, why)


@pytest.mark.parametrize("text", ["ftp://192.0.2.1:21", "tcp://192.0.2.1", "tcp://dns.example:443"])
def test_what_is_no_target_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        parse(text)


def watched(
    zone: Zone, until: Callable[[list[tuple[str, str]]], bool], act: Callable[[str, int], None]
) -> list[tuple[str, str]]:
    """States of the line as the lines process tells them. act gets each state, and each round as ("round", number)."""
    line = replace(line_of(zone, 1, "iplc1"), probes=BOTH)
    states: list[tuple[str, str]] = []
    rounds = 0

    async def go() -> None:
        nonlocal rounds
        stop = asyncio.Event()

        def on_state(_: str, state: str, why: str) -> None:
            states.append((state, why))
            act(state, rounds)
            if until(states):
                stop.set()

        def on_round(*_: object) -> None:
            nonlocal rounds
            rounds += 1
            act("round", rounds)

        config = LinesConfig(node=node_of(zone), health=RULES)
        async with asyncio.timeout(20):
            await run(config, lambda: [line], on_state, lambda *_, **__: None, asyncio.Event(), stop, on_round)

    with zone.gateway.inside():
        asyncio.run(go())
    return states


@pytest.mark.parametrize(
    ("sentence", "term"),
    [
        ("ended", {"valid_from": 1, "valid_until": 2}),
        ("has not begun", {"valid_from": 1 << 39}),
    ],
)
def test_nothing_is_sent_over_a_line_whose_contract(zone: Zone, sentence: str, term: dict[str, int]) -> None:
    """Of two lines alike but for the contract only the other one is probed."""
    lines = [
        replace(line_of(zone, 1, "iplc1"), probes=BOTH, **term),
        replace(line_of(zone, 2, "iplc2"), probes=BOTH),
    ]
    probed: list[str] = []

    async def go() -> None:
        stop = asyncio.Event()

        def on_round(line: str, _: object) -> None:
            probed.append(line)
            if len(probed) >= 5:
                stop.set()

        config = LinesConfig(node=node_of(zone), health=RULES)
        async with asyncio.timeout(20):
            ignored = lambda *_, **__: None  # noqa: E731
            await run(config, lambda: lines, ignored, ignored, asyncio.Event(), stop, on_round)

    with zone.gateway.inside():
        zone.count("iplc1")
        asyncio.run(go())
    assert len(probed) >= 5
    assert set(probed) == {"line-2"}, sentence
    assert zone.count("iplc1").leaked == 0


def test_a_line_with_carrier_that_carries_nothing_is_down_after_three_rounds_and_up_after_two(zone: Zone) -> None:
    """Its gateway answers for its own address, and passes nothing on."""
    far = zone.wires["iplc1"].ns
    rounds: list[int] = []

    def act(what: str, number: int) -> None:
        if what == "round" and number == 2:
            far.ip([f"addr del {address} dev lo" for address in ABROAD.values()])
        elif what == "down" and number:
            rounds.append(number)
            far.ip([f"addr add {address} dev lo" for address in ABROAD.values()])
        elif what == "up" and rounds:
            rounds.append(number)

    def over(states: list[tuple[str, str]]) -> bool:
        return len(rounds) >= 2

    states = [state for state in watched(zone, over, act) if "not yet" not in state[1]]
    assert [state for state, _ in states] == ["up", "down", "up"]
    assert "no probe is answered" in states[1][1]
    assert (rounds[0], rounds[1]) == (5, 7)


async def test_a_round_over_a_line_without_its_device_says_so(bench: Bench) -> None:
    bench.run("ip link del iplc1")
    results = await ask_all(bench.one, BOTH, 0.3)
    assert all("bind to device" in result.why for result in results)

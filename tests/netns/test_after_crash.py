"""A whole node, every process of it killed at once with kill -9 while clients send: the default wire stays silent."""

import contextlib
import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.config import Timeouts
from gateway.line.model import TRANSPARENT_MARK
from ops.demo.counters import WireCounter
from ops.demo.network import DEFAULT, FIRMS, GATEWAY, LINES, end
from ops.demo.register import fill
from ops.demo.stage import PORT, Stage
from ops.demo.world import NAMES, SEARCH
from tests.acceptance.kit import ca_files, initialise, with_more_ways
from tests.netns.kit import AF

pytestmark = pytest.mark.root
SLOW = f"https://{SEARCH}/download?bytes=1000000000&rate=1000000"
ABROAD = {4: NAMES[SEARCH][0], 6: NAMES[SEARCH][1]}
TABLE_GONE = ["nft", "delete", "table", "inet", "feiyu"]


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    with Stage("fyk", Timeouts(handshake=3, dial=3, drain=4)) as stage:
        initialise(stage)
        stage.write_config(with_more_ways(stage.settings(), ca_files(stage)))
        stage.start()
        fill(stage, lambda _command, _said: None)
        for line in LINES:
            assert stage.is_line(line, "up"), stage.last_words()
        yield stage


def killed(stage: Stage) -> list[int]:
    """Kills the supervisor and all its children; none of them sees another's end and does something about it."""
    facts = stage.liveness()
    pids = [int(facts["pid"]), *(int(child["pid"]) for child in facts["children"])]
    assert len(pids) >= 6, "supervisor, control, lines, recorder and two workers"
    for number in (signal.SIGSTOP, signal.SIGKILL):
        for pid in pids:
            os.kill(pid, number)
    assert stage.node is not None
    node, stage.node = stage.node, None
    end(node)
    stage.wait(lambda: not any(Path("/proc", str(pid)).exists() for pid in pids), "a process is left")
    return pids


def knocks(stage: Stage) -> int:
    """How many clients' connections are taken; each sends some bytes, if it is."""
    taken = 0
    for wire in FIRMS.values():
        for version in (4, 6):
            with (
                stage.zone.inside(wire.ns),
                contextlib.suppress(OSError),
                socket.create_connection((wire.near[version], PORT), 1) as client,
            ):
                client.sendall(b"CONNECT search.example:443 HTTP/1.1\r\n\r\n")
                taken += 1
            for port in (443, 80):  # by the transparent listener
                with (
                    stage.zone.inside(wire.ns),
                    contextlib.suppress(OSError),
                    socket.create_connection((ABROAD[version], port), 1) as client,
                ):
                    client.sendall(b"GET / HTTP/1.1\r\n\r\n")
                    taken += 1
            for port in (53, 443):
                with stage.zone.inside(wire.ns), socket.socket(AF[version], socket.SOCK_DGRAM) as sock:
                    sock.sendto(b"past the gateway", (ABROAD[version], port))
    return taken


def strays(stage: Stage, mark: int = 0, source: str = "") -> None:
    """What some program of the gateway sends without a line."""
    for version in (4, 6):
        with stage.zone.inside(GATEWAY), socket.socket(AF[version], socket.SOCK_DGRAM) as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, mark)
            if source:
                sock.bind((LINES[source].near[version], 0))
            with contextlib.suppress(OSError):
                sock.sendto(b"x", (ABROAD[version], 53))


def test_after_a_crash_of_every_process_the_default_wire_stays_silent(stage: Stage) -> None:
    with WireCounter(stage.zone, DEFAULT) as counter:
        counter.reset()
        direct = ("--noproxy", "*", "--resolve", f"{SEARCH}:443:{ABROAD[4]}")  # by the transparent listener
        downloads = [stage.clients["acme"].start(SLOW, *more) for more in ((), (), direct, direct)]
        try:
            stage.wait(lambda: len(stage.open_flows()) == len(downloads), "the downloads do not run")
            assert knocks(stage) == 12, "the clients are served"
            killed(stage)
            # Abroad goes on sending into flows without a socket; the kernel answers each with a reset.
            assert [download.wait(10) != 0 for download in downloads] == [True] * len(downloads)
        finally:
            for download in downloads:
                end(download)
        assert knocks(stage) == 0
        for mark in (0, 0x46000100, 0x46009900, TRANSPARENT_MARK):
            for source in ("", *LINES):
                strays(stage, mark, source)
        assert counter.read().stray == 0, f"{counter.read()}"


def test_what_the_crash_left_is_rules_and_routes_as_much_as_the_table(stage: Stage) -> None:
    with WireCounter(stage.zone, DEFAULT) as counter:
        counter.reset()
        assert stage.zone.run(GATEWAY, TABLE_GONE).returncode == 0
        for source in ("", *LINES):
            strays(stage, 0x46000100, source)
        for source in LINES:
            strays(stage, 0, source)
        strays(stage, TRANSPARENT_MARK)
        assert knocks(stage) == 0
        assert counter.read().stray == 0, f"{counter.read()}"
        strays(stage)
        assert counter.read().stray == 2, "the control: with no layer left it is seen, by both families"


def test_the_next_start_puts_everything_back(stage: Stage) -> None:
    with WireCounter(stage.zone, DEFAULT) as counter:
        stage.start()
        for line in LINES:
            assert stage.is_line(line, "up"), stage.last_words()
        counter.reset()
        assert stage.clients["acme"].curl(f"https://{SEARCH}/").status == 200
        strays(stage)
        assert counter.read().stray == 0, f"{counter.read()}"
    assert stage.zone.run(GATEWAY, ["nft", "list", "table", "inet", "feiyu"]).returncode == 0

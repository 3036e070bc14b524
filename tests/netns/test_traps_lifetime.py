"""Known traps over the life of a socket or a process: begun before a layer came or went, or its capability lost."""

import contextlib
import os
import socket

import pytest

from gateway.line import dial
from gateway.line.keeper import Keeper
from gateway.line.model import LineError
from ops.privileges import CAP_NET_ADMIN, CAP_NET_RAW, Privileges, apply
from tests.netns.bench import FLUSH_ROUTES, FLUSH_RULES, NO_TABLE, Bench, line_of, node_of
from tests.netns.child import in_a_child
from tests.netns.kit import ABROAD, AF, PORT
from tests.netns.trap_kit import ALL_OFF, counted, watch

pytestmark = pytest.mark.root
FAMILIES = pytest.mark.parametrize("version", [4, 6], ids=["IPv4", "IPv6"])
EVERY = ("wan0", "iplc1", "iplc2")
SILENT = {"wan0": 0, "iplc2": 0}
NOBODY = 65534


def live(bench: Bench, version: int) -> socket.SocketType:
    """An established connection on line 1."""
    sock = dial.open_socket(version, bench.one)
    sock.settimeout(3)
    sock.connect((ABROAD[version], PORT))
    sock.settimeout(0)
    return sock


@FAMILIES
def test_a_stray_connection_from_before_the_table_is_silent_as_soon_as_it_is_loaded(bench: Bench, version: int) -> None:
    watch(bench)
    bench.run(*ALL_OFF)
    with socket.create_connection((ABROAD[version], PORT), timeout=3) as stray:
        stray.settimeout(0)
        counted(bench, *EVERY)
        stray.send(b"seen")
        assert counted(bench, "wan0")["wan0"], "the control"
        bench.keeper.sweep()
        counted(bench, *EVERY)
        for _ in range(3):
            with contextlib.suppress(OSError):
                stray.send(b"not seen, though its connection is known")
        assert counted(bench, *EVERY) == dict.fromkeys(EVERY, 0)
        stray.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, bytes([1, 0, 0, 0, 0, 0, 0, 0]))
    assert counted(bench, *EVERY) == dict.fromkeys(EVERY, 0), "its reset neither"


@FAMILIES
def test_a_connection_on_its_line_lives_through_a_reload_of_the_table(bench: Bench, version: int) -> None:
    watch(bench)
    with contextlib.closing(live(bench, version)) as sock:
        bench.keeper.want([line_of(bench.zone, 1, "iplc1")])  # another table: line 2 is gone
        assert bench.keeper.sweep()
        counted(bench, *EVERY)
        sock.send(b"goes on")
        assert counted(bench, *EVERY) == SILENT | {"iplc1": 1}
        bench.run("nft flush ruleset")
        bench.keeper.sweep()
        sock.send(b"still")
        assert counted(bench, *EVERY)["iplc1"] == 1


@FAMILIES
@pytest.mark.parametrize("removal", [[], NO_TABLE, FLUSH_RULES, FLUSH_ROUTES],
                         ids=["nothing", "the table", "rules", "routes"])  # fmt: skip
def test_a_socket_used_again_after_its_device_was_renamed_leaves_nowhere_else_without(
    bench: Bench, version: int, removal: list[str]
) -> None:
    """The device stays bound by its number, whatever it is called; the default wire takes its name."""
    watch(bench)
    question = dial.open_socket(version, bench.one, datagram=True)
    question.connect((ABROAD[version], 53))
    stream = live(bench, version)
    counted(bench, *EVERY)
    question.send(b"seen")
    assert counted(bench, *EVERY) == SILENT | {"iplc1": 1}, "the control"
    bench.run("ip link set iplc1 name away", "ip link set wan0 name iplc1", *removal)
    for sock in (question, stream):
        with contextlib.suppress(OSError):
            sock.send(b"x")
        with contextlib.suppress(OSError):
            sock.connect((ABROAD[version], 53))
        with contextlib.suppress(OSError):
            sock.send(b"x")
        sock.close()
    if removal != NO_TABLE:  # a new one is bound to whatever has the name: one layer is gone with that already
        with contextlib.suppress(OSError, LineError):
            new = dial.open_socket(version, bench.one, datagram=True)
            with contextlib.closing(new):
                new.connect((ABROAD[version], 53))
                new.send(b"x")
    bench.run("ip link set iplc1 name wan0", "ip link set away name iplc1")  # as the counters know them
    assert counted(bench, "wan0", "iplc2") == SILENT


def become(*capabilities: int) -> None:
    """Another user with only these capabilities."""
    apply(Privileges(uid=NOBODY, gid=NOBODY, capabilities=frozenset(capabilities)), os.getppid())


def test_a_worker_that_loses_its_capability_opens_nothing_more_and_its_live_flows_stay(bench: Bench) -> None:
    watch(bench)

    def work() -> str:
        become(CAP_NET_RAW)
        flows = [live(bench, version) for version in (4, 6)]
        become()
        said = []
        for version, flow in zip((4, 6), flows, strict=True):
            flow.send(b"goes on")
            with pytest.raises(LineError) as caught:
                dial.open_socket(version, bench.one)
            said.append(caught.value.what)
            with contextlib.suppress(OSError), socket.socket(AF[version], socket.SOCK_DGRAM) as plain:
                plain.sendto(b"x", (ABROAD[version], 53))
        return ", ".join(said)

    assert in_a_child(work) == "set mark: Operation not permitted, set mark: Operation not permitted"
    assert counted(bench, "wan0", "iplc2") == SILENT
    assert counted(bench, "iplc1")["iplc1"], "the flows were there"


def test_a_keeper_that_loses_its_capability_says_so_and_the_lines_are_down(bench: Bench) -> None:
    watch(bench)

    def work() -> str:
        heard: list[str] = []
        become(CAP_NET_ADMIN)
        keeper = Keeper(
            node_of(bench.zone),
            lambda line, state, why: heard.append(f"{line} {state}: {why}"),
            lambda detail, *, repaired: heard.append(f"drift {detail} {repaired}"),
        )
        keeper.want([line_of(bench.zone, 1, "iplc1"), line_of(bench.zone, 2, "iplc2")])
        keeper.sweep()
        become()
        keeper.sweep()
        return "\0".join(heard)

    heard = in_a_child(work).split("\0")
    assert heard[:2] == ["line-1 up: ", "line-2 up: "]
    assert [line.split(":")[0] for line in heard[2:]] == ["line-1 down", "line-2 down"]
    assert all("it needs CAP_NET_ADMIN" in line for line in heard[2:])
    for version in (4, 6):
        with contextlib.suppress(OSError), socket.socket(AF[version], socket.SOCK_DGRAM) as plain:
            plain.sendto(b"x", (ABROAD[version], 53))
    assert counted(bench, *EVERY) == dict.fromkeys(EVERY, 0), "what it had put into the kernel holds"

"""The streams process beside a real recorder: kills of either, and the event stream that goes on where a client was."""

import contextlib
import http.client
import json
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from telemetry.segments import list_segments, segment_name
from telemetry.stream import state
from telemetry.stream.spec import Sink
from tests.telemetry.spool_kit import BOOT, NODE, Node, put, stop, until


class Streams:
    """The process over a node's directories."""

    def __init__(self, node: Node, *sinks: Sink) -> None:
        self.node = node
        arguments = ("--state-dir", str(node.state), "--run-dir", str(node.run), "--node", NODE)
        self.argv = [sys.executable, "-m", "telemetry.stream.main", *arguments]
        self.argv += ["--sinks", msgspec.json.encode(sinks).decode()]
        self.start()

    def start(self) -> None:
        (self.node.run / "streams.sock").unlink(missing_ok=True)
        self.process = subprocess.Popen(self.argv, stderr=subprocess.PIPE)
        until(self._answers, "the streams process")

    def _answers(self) -> bool:
        assert self.process.poll() is None, self.process.communicate()[1]
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as probe:
            probe.connect(str(self.node.run / "streams.sock"))
            return True
        return False

    def events(self, query: str = "", last: str = "") -> "Events":
        return Events(self.node.run / "streams.sock", query, last)


class Events:
    """A client of the event stream: what it heard, in a thread of its own."""

    def __init__(self, path: Path, query: str, last: str) -> None:
        self.connection = http.client.HTTPConnection("streams", timeout=20)
        self.connection.sock = socket.socket(socket.AF_UNIX)
        self.connection.sock.connect(str(path))
        self.connection.request("GET", f"/stream{query}", headers={"Last-Event-ID": last} if last else {})
        self.response = self.connection.getresponse()
        self.heard: list[tuple[str, str, dict[str, Any]]] = []  # event, id, data
        self.last, self.comments = last, 0
        self.thread = threading.Thread(target=self._listen, daemon=True)
        if self.response.status == 200:
            until(lambda: self.response.readline() == b"retry: 1000\n", "the beginning")
            self.thread.start()

    def _listen(self) -> None:
        kind = "message"
        with contextlib.suppress(OSError, ValueError, AttributeError, http.client.HTTPException):
            while line := self.response.readline():
                name, _, value = line.decode().rstrip("\n").partition(":")
                if name == "id":
                    self.last = value.strip()
                elif name == "event":
                    kind = value.strip()
                elif name == "data":
                    self.heard.append((kind, self.last, json.loads(value)))
                    kind = "message"
                elif line == b":\n":
                    self.comments += 1

    def flows(self) -> list[str]:
        return [data["flow"] for kind, _, data in self.heard if kind == "message" and data.get("flow")]

    def close(self) -> None:
        if self.connection.sock:
            self.connection.sock.shutdown(socket.SHUT_RDWR)
        self.thread.join(5)
        self.connection.close()


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    return Node(tmp_path)


def test_kills_of_the_recorder_and_of_the_streams_lose_nothing(node: Node, tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    recorder = node.start(segment_bytes=20_000)
    until(node.status, "the recorder")
    streams = Streams(node, Sink(name="archive", kind="file", to=str(out), begin="oldest"))
    writer = node.writer("w0.1")
    written: list[bytes] = []
    try:
        for round_ in range(6):
            written += [put(writer, "open", flow=f"F{round_}-{number}", tenant="acme") for number in range(300)]
            writer.flush()
            time.sleep(0.15 * (round_ % 3))
            if round_ % 2:
                stop(streams.process, signal.SIGKILL)
                streams.start()
            else:
                stop(recorder, signal.SIGKILL)
                recorder = node.start(segment_bytes=20_000)
        until(lambda: len(node.lines()) >= len(written), "all in the log")
        until(lambda: out.exists() and set(written) <= set(out.read_bytes().splitlines()), "all in the file")
    finally:
        stop(streams.process)
        stop(recorder)
        writer.close()
    counts = Counter(line for line in out.read_bytes().splitlines() if b'"worker":"w0.1"' in line)
    assert set(counts) == set(written)
    order = [line for line in dict.fromkeys(out.read_bytes().splitlines()) if b'"worker":"w0.1"' in line]
    assert order == written


def test_a_streams_process_that_hangs_costs_the_recorder_nothing(node: Node, tmp_path: Path) -> None:
    recorder = node.start()
    until(node.status, "the recorder")
    streams = Streams(node, Sink(name="archive", kind="file", to=str(tmp_path / "out"), begin="oldest"))
    writer = node.writer("w0.1")
    try:
        streams.process.send_signal(signal.SIGSTOP)
        for number in range(2_000):
            put(writer, "open", flow=f"F{number}", tenant="acme")
        writer.flush()
        until(lambda: len(node.records("w0.1")) == 2_000, "all in the log")
        wrote = time.monotonic()
        until(lambda: (node.status() or Any).durable > wrote, "the recorder says that it is up to date")
        assert writer.healthy(time.monotonic()) == "", "workers may open flows"
        assert node.ask("/metrics")[0] == 200
        streams.process.send_signal(signal.SIGCONT)
        out = tmp_path / "out"
        until(lambda: out.exists() and out.read_bytes().count(b'"kind":"open"') == 2_000, "all in the file")
    finally:
        streams.process.send_signal(signal.SIGCONT)
        stop(streams.process)
        stop(recorder)
        writer.close()


@pytest.fixture
def streams(node: Node) -> Iterator[Streams]:
    recorder = node.start(segment_bytes=20_000)
    until(node.status, "the recorder")
    made = Streams(node)
    try:
        yield made
    finally:
        stop(made.process)
        stop(recorder)


def test_a_client_goes_on_behind_the_last_event_it_saw(node: Node, streams: Streams) -> None:
    writer = node.writer("w0.1")
    first = streams.events()
    for number in range(200):
        put(writer, "open", flow=f"A{number}")
    writer.flush()
    until(lambda: len(first.flows()) == 200, "all, as they come")
    first.close()
    for number in range(150):
        put(writer, "open", flow=f"B{number}")
    writer.flush()
    until(lambda: len(list(node.records("w0.1"))) == 350, "in the log")
    second = streams.events(last=first.last)
    until(lambda: len(second.flows()) == 150, "what was missed")
    assert second.flows() == [f"B{number}" for number in range(150)]
    ids = [int(id_) for _, id_, _ in first.heard + second.heard]
    assert ids == sorted(set(ids)), "ids only grow, over both connections"
    stop(streams.process, signal.SIGKILL)
    streams.start()
    put(writer, "open", flow="C")
    writer.flush()
    third = streams.events(last=second.last)
    until(lambda: third.flows() == ["C"], "and over a restart of the process")
    writer.close()


def test_history_that_is_gone_is_an_explicit_gap(node: Node, streams: Streams) -> None:
    writer = node.writer("w0.1")
    for number in range(900):
        put(writer, "open", flow=f"A{number}")
        if number % 100 == 99:
            writer.flush()
            until(lambda: len(node.records("w0.1")) == number + 1, "in the log")  # noqa: B023
    segments = list_segments(node.log)
    assert len(segments) > 3
    until(lambda: (node.status() or Any).records >= 900, "the recorder says so")
    for segment in segments[:-1]:
        (node.log / segment_name(segment)).unlink()
    client = streams.events(last="4")
    put(writer, "open", flow="LAST")
    writer.flush()
    until(lambda: "LAST" in client.flows(), "the stream goes on")
    kind, _, told = client.heard[0]
    assert (kind, told) == ("gap", {"missing": segments[-1] - 5, "shrunk": 0, "next": segments[-1]})
    assert int(client.heard[1][1]) == segments[-1]
    future = streams.events(last=str(1 << 40))
    until(lambda: future.heard, "a client of another log is told")
    assert future.heard[0][0] == "gap"
    assert future.heard[0][2]["shrunk"] > 0
    writer.close()


FILTERS = {
    "?tenant=acme": ["F0"],
    "?kind=deny": ["F2"],
    "?host=*.example": ["F1"],
    "?kind=finding": ["F3"],
    "?reason=not-whitelisted": ["F2"],
    "": ["F0", "F1", "F2", "F3"],
}


def test_filters_choose_and_what_they_leave_out_still_moves_the_last_id(node: Node, streams: Streams) -> None:
    clients = {query: streams.events(query) for query in FILTERS}
    none = streams.events("?tenant=nobody")
    ocsf = streams.events("?kind=deny&format=ocsf")
    writer = node.writer("w0.1")
    put(writer, "open", flow="F0", tenant="acme")
    put(writer, "open", flow="F1", host="a.example")
    put(writer, "deny", flow="F2", reason="not-whitelisted", client_ip="10.0.0.1")
    put(writer, "action", flow="F3", rule="feiyu-beacon")
    writer.flush()
    for query, wanted in FILTERS.items():
        until(lambda: len(clients[query].flows()) >= len(wanted), query)  # noqa: B023
        assert clients[query].flows() == wanted
    until(lambda: ocsf.heard, "OCSF")
    assert ocsf.heard[0][2]["class_uid"] == 4001
    until(lambda: none.last, "an id although nothing was for this client")
    assert none.heard == []
    writer.close()


@pytest.mark.parametrize(
    ("query", "last"),
    [("?format=xml", ""), ("?kind=nothing", ""), ("", "-1"), ("", "x"), ("", "9" * 30), ("?since=soon", "")],
)
def test_what_is_not_understood_is_refused(streams: Streams, query: str, last: str) -> None:
    assert streams.events(query, last).response.status == 400


def test_the_state_says_how_far_each_sink_is(node: Node, tmp_path: Path) -> None:
    recorder = node.start()
    until(node.status, "the recorder")
    good = Sink(name="good", kind="file", to=str(tmp_path / "good"), begin="oldest")
    bad = Sink(name="bad", kind="file", to=str(tmp_path / "none" / "bad"), begin="oldest")
    streams = Streams(node, good, bad)
    try:

        def told() -> dict[str, Any] | None:
            found = state.read(node.run)
            sinks = {sink.name: sink for sink in found.sinks} if found else {}
            done = sinks and sinks["good"].sent and sinks["bad"].fault and sinks["bad"].lag_records
            return sinks if done and sinks["bad"].lag_seconds else None

        found = until(told, "both sinks")
        assert (found["good"].lag_records, found["good"].fault) == (0, "")
        assert "No such file" in found["bad"].fault
        assert state.read(node.run, now=time.time() + 60) is None, "an old word is none"
    finally:
        stop(streams.process)
        stop(recorder)
    assert BOOT

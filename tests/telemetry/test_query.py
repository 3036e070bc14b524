"""The recorder's answers, asked over its real socket."""

import json
import socket
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from telemetry.record import decode
from telemetry.spool import SpoolWriter
from tests.telemetry.spool_kit import Node, put, stop, until


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    node = Node(tmp_path)
    recorder = node.start()
    try:
        until(lambda: (node.run / "recorder.sock").exists() and node.status(), "the recorder answers")
        yield node
    finally:
        assert stop(recorder) == 0


@pytest.fixture
def writer(node: Node) -> Iterator[SpoolWriter]:
    writer = node.writer()
    yield writer
    writer.close()


def taken(node: Node, writer: SpoolWriter) -> None:
    """Writes what is pending and waits until it can be found."""
    writer.flush()
    until(lambda: len(node.ask("/records?limit=10000")[2].splitlines()) == len(node.lines()) > writer._seq, "durable")


def test_open_flows_have_their_bytes_so_far_and_closed_ones_are_gone(node: Node, writer: SpoolWriter) -> None:
    put(writer, "open", flow="A", tenant="acme", host="api.example.com", line="l1")
    put(writer, "open", flow="B", tenant="globex", host="cdn.example.com", line="l2")
    put(writer, "open", flow="C", tenant="acme", host="api.example.com", line="l1")
    put(writer, "progress", flow="A", bytes_out=11, bytes_in=22, bytes_as_of=33)
    put(writer, "close", flow="C", cause="idle")
    taken(node, writer)
    status, headers, body = node.ask("/flows")
    assert (status, headers["Content-Type"]) == (200, "application/x-ndjson")
    flows = {record.flow: record for record in map(decode, body.splitlines())}
    assert set(flows) == {"A", "B"}
    assert (flows["A"].bytes_out, flows["A"].bytes_in, flows["A"].bytes_as_of) == (11, 22, 33)
    assert flows["A"].host == "api.example.com"
    assert [decode(text).flow for text in node.ask("/flows?tenant=globex")[2].splitlines()] == ["B"]
    assert [decode(text).flow for text in node.ask("/flows?flow=A")[2].splitlines()] == ["A"]
    assert len(node.ask("/flows?limit=1")[2].splitlines()) == 1


def test_records_come_newest_first_byte_for_byte_and_in_pages(node: Node, writer: SpoolWriter) -> None:
    wanted = [put(writer, "deny", flow=f"F{i}", ref=f"F{i}", tenant="acme", reason="not-whitelisted") for i in range(9)]
    taken(node, writer)
    assert node.ask("/records?ref=F4")[2] == wanted[4] + b"\n"
    _, headers, body = node.ask("/records?tenant=acme&limit=5")
    assert body.splitlines() == wanted[:3:-1]
    _, headers, body = node.ask(f"/records?tenant=acme&limit=5&before={headers['Feiyu-Next']}")
    assert body.splitlines() == wanted[3::-1]
    assert "Feiyu-Next" not in headers


@pytest.mark.parametrize(
    "path", ["/records?since=x", "/records?limit=0x1", "/records?before=1", "/flows?limit=99999999"]
)
def test_bad_questions_are_answered_with_what_is_wrong(node: Node, path: str) -> None:
    status, _, body = node.ask(path)
    assert status == 400
    assert b"expected a number" in body


def test_the_tail_streams_what_becomes_durable_and_filters(node: Node, writer: SpoolWriter) -> None:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(10)
        connection.connect(str(node.run / "recorder.sock"))
        connection.sendall(b"GET /tail?tenant=acme HTTP/1.1\r\nHost: recorder\r\n\r\n")
        seen = b""
        while b": from here on\n\n" not in seen:
            seen += connection.recv(65536)
        assert b"text/event-stream" in seen
        first = put(writer, "open", flow="A\n\ndata: x", tenant="acme")
        put(writer, "open", flow="B", tenant="globex")
        last = put(writer, "open", flow="C", tenant="acme")
        writer.flush()
        while b'"flow":"C"' not in seen:
            seen += connection.recv(65536)
    data = [text.removeprefix(b"data: ") for text in seen.split(b"\n") if text.startswith(b"data: ")]
    assert data == [first, last]
    ids = [int(text.removeprefix(b"id: ")) for text in seen.split(b"\n") if text.startswith(b"id: ")]
    assert [node.lines()[index] for index in ids] == data, "the id is the record's index in the log"


def test_metrics_and_health(node: Node, writer: SpoolWriter) -> None:
    put(writer, "open", flow="A", tenant="acme")
    taken(node, writer)
    status, headers, body = node.ask("/metrics")
    assert status == 200
    assert headers["Content-Type"].startswith("text/plain; version=0.0.4")
    assert b"\nfeiyu_flows_opened_total 1.0\n" in body
    status, _, body = node.ask("/health")
    health = json.loads(body)
    assert (status, health["status"], health["flows_open"], health["gaps"]) == (200, "ok", 1, 0)
    assert health["lag_seconds"] < 5


def test_only_owner_and_group_may_ask(node: Node) -> None:
    assert stat.S_IMODE((node.run / "recorder.sock").stat().st_mode) == 0o660

"""Who is dead and who only went on to the next file."""

import os
from pathlib import Path

import pytest

from telemetry.fold import process_key
from telemetry.follow import Follower
from tests.telemetry.spool_kit import BOOT, Node, put


@pytest.fixture
def node(tmp_path: Path) -> Node:
    return Node(tmp_path)


def test_a_writer_that_rotates_between_listing_and_look_is_alive(node: Node) -> None:
    writer = node.writer(rotate_bytes=4096)
    put(writer, "open", detail="x" * 3000)
    writer.flush()
    follower = Follower(node.spool, {})
    follower.scan()
    process = follower.processes[process_key(BOOT, "w0.1")]
    assert not follower.dead(process)
    put(writer, "open", detail="x" * 3000)
    writer.flush()
    assert len(list(node.spool.glob("*.jsonl"))) == 2
    assert len(process.files) == 1, "the follower has not seen the new file"
    assert not follower.dead(process)
    os.close(writer._fd)
    assert follower.dead(process)


def test_a_file_is_not_visible_before_it_is_locked(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[list[str]] = []
    real = os.rename

    def rename(source: str, target: str) -> None:
        follower = Follower(node.spool, {})
        follower.scan()
        seen.append(list(follower.processes))
        real(source, target)

    monkeypatch.setattr(os, "rename", rename)
    node.writer()
    assert seen == [[]]
    follower = Follower(node.spool, {})
    follower.scan()
    assert not follower.dead(follower.processes[process_key(BOOT, "w0.1")])


def test_taking_goes_on_where_the_cursor_says(node: Node) -> None:
    writer = node.writer(rotate_bytes=4096)
    wanted = b""
    for _ in range(9):
        wanted += put(writer, "open", detail="x" * 1500) + b"\n"
        writer.flush()
    taken, cursors = b"", {}
    for _ in range(50):
        follower = Follower(node.spool, cursors)
        follower.scan()
        for chunk in follower.chunks(follower.processes[process_key(BOOT, "w0.1")], 1):
            first = chunk.data.index(b"\n") + 1
            taken += chunk.data[:first]
            chunk.file.offset += first
        cursors = follower.cursors()
        follower.close()
    assert taken == wanted

"""Records in a file: whole lines whatever happens, gaps said, each sink with its own cursor."""

import json
import os
import resource
from pathlib import Path

import pytest

from telemetry.record import encode
from telemetry.segments import list_segments, segment_name
from telemetry.stream import cursor, pump
from telemetry.stream.spec import Sink
from telemetry.stream.to_file import FileSink
from tests.telemetry.stream.kit import Log, until
from tests.telemetry.stream.records import EVERY


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pump, "FIRST", 0.05)
    monkeypatch.setattr(pump, "POLL", 0.02)


def spec_of(path: Path, **fields: object) -> Sink:
    return Sink(**{"name": "archive", "kind": "file", "to": str(path), "begin": "oldest"} | fields)  # type: ignore[arg-type]


def lines(path: Path) -> list[bytes]:
    data = path.read_bytes() if path.exists() else b""
    assert data == b"" or data.endswith(b"\n")
    return data.splitlines()


async def test_the_file_holds_the_stored_bytes_and_a_moved_one_is_begun_anew(tmp_path: Path) -> None:
    log, out = Log(tmp_path), tmp_path / "out.jsonl"
    spec = spec_of(out)
    async with log.pumping(spec, FileSink(spec)):
        first = log.flows(700)
        await until(lambda: len(lines(out)) == 700, "all")
        out.rename(tmp_path / "out.jsonl.1")
        second = log.flows(5)
        await until(lambda: len(lines(out)) == 5, "the new file")
    assert lines(tmp_path / "out.jsonl.1") == first
    assert lines(out) == second
    assert out.stat().st_mode & 0o777 == 0o640


async def test_a_restart_goes_on_where_the_last_ended_and_mends_half_a_line(tmp_path: Path) -> None:
    log, out = Log(tmp_path), tmp_path / "out.jsonl"
    spec = spec_of(out)
    written = log.flows(50)
    async with log.pumping(spec, FileSink(spec)):
        await until(lambda: len(lines(out)) == 50, "all")
    with out.open("ab") as file:
        file.write(b'{"v":1,"half')
    written += log.flows(50)
    async with log.pumping(spec, FileSink(spec)) as running_pump:
        await until(lambda: out.read_bytes().count(b"\n") == 100, "the rest")
        await until(lambda: running_pump.state.sent == 100, "counters go on")
    assert lines(out) == written


async def test_a_full_disk_holds_the_sink_and_leaves_no_half_line(tmp_path: Path) -> None:
    log, out = Log(tmp_path), tmp_path / "out.jsonl"
    spec = spec_of(out)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    written = log.flows(2_000)
    async with log.pumping(spec, FileSink(spec)) as running_pump:
        resource.setrlimit(resource.RLIMIT_FSIZE, (150_000, before[1]))
        try:
            await until(lambda: running_pump.state.fault, "the fault")
            assert "too large" in running_pump.state.fault
            assert running_pump.state.lag_records > 0
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
        await until(lambda: len(lines(out)) >= 2_000, "all, once there is room")
    assert set(lines(out)) == set(written)


async def test_a_new_sink_begins_now_and_an_old_one_never_passes_over_anything(tmp_path: Path) -> None:
    log, early, late = Log(tmp_path), tmp_path / "early", tmp_path / "late"
    first = log.flows(100)
    old, new = spec_of(early, name="early"), spec_of(late, name="late", begin="now")
    async with log.pumping(old, FileSink(old)), log.pumping(new, FileSink(new)) as newer:
        await until(lambda: len(lines(early)) == 100 and newer.state.connected, "the old one, and a start of the new")
        second = log.flows(10)
        await until(lambda: len(lines(late)) == 10 and len(lines(early)) == 110, "both")
    assert lines(late) == second
    assert lines(early) == first + second


async def test_only_the_wanted_kinds_are_sent(tmp_path: Path) -> None:
    log, out = Log(tmp_path), tmp_path / "out"
    log.append(*(encode(given) for given in EVERY.values()))
    spec = spec_of(out, kinds=("deny", "finding"), format="ecs")
    async with log.pumping(spec, FileSink(spec)) as running_pump:
        await until(lambda: running_pump.state.lag_records == 0 and lines(out), "all")
    actions = {json.loads(text)["event"]["action"] for text in lines(out)}
    assert actions == {"deny", "action"}
    assert len(lines(out)) == sum(g.kind == "deny" or bool(g.rule) for g in EVERY.values())


async def test_history_that_is_gone_is_said_in_the_stream_and_counted(tmp_path: Path) -> None:
    log, out = Log(tmp_path), tmp_path / "out"
    spec = spec_of(out)
    log.flows(50)
    async with log.pumping(spec, FileSink(spec)):
        await until(lambda: len(lines(out)) == 50, "all")
    log.flows(1_000)
    segments = list_segments(log.directory)
    for segment in segments[:-1]:
        (log.directory / segment_name(segment)).unlink()
    async with log.pumping(spec, FileSink(spec)) as running_pump:
        await until(lambda: running_pump.state.lag_records == 0 and len(lines(out)) > 51, "the rest")
        assert running_pump.state.missing == segments[-1] - 50
    told = json.loads(lines(out)[50])
    assert (told["kind"], told["values"]["missing"], told["values"]["next"]) == ("gap", segments[-1] - 50, segments[-1])
    assert len(lines(out)) == 51 + 1_050 - segments[-1]


async def test_a_cursor_that_cannot_be_read_begins_as_a_new_sink_and_odd_lines_are_passed_over(tmp_path: Path) -> None:
    log, out = Log(tmp_path), tmp_path / "out"
    written = log.flows(3)
    log.append(b"no record", b"{}")
    written += log.flows(3)
    spec = spec_of(out)
    cursor.path_of(log.cursors, "archive").write_bytes(b"{half")
    async with log.pumping(spec, FileSink(spec)):
        await until(lambda: len(lines(out)) == 6, "all")
    assert lines(out) == written


async def test_a_link_in_place_of_the_file_is_not_followed(tmp_path: Path) -> None:
    log, out = Log(tmp_path), tmp_path / "out"
    log.flows(1)
    os.symlink(tmp_path / "victim", out)
    spec = spec_of(out)
    async with log.pumping(spec, FileSink(spec)) as running_pump:
        await until(lambda: running_pump.state.fault, "refused")
    assert not (tmp_path / "victim").exists()

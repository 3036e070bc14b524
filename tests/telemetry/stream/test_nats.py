"""NATS JetStream, by a real server: each record once in the stream, also over kills of the server and
what it forgot."""

import json
import shutil
import signal
import ssl
from collections import Counter
from pathlib import Path
from typing import Any

import nats
import pytest

from telemetry.record import encode
from telemetry.stream import pump
from telemetry.stream.spec import Sink
from telemetry.stream.to_nats import NatsSink
from tests.telemetry.stream.kit import Log, certificates, free_port, program, running, until
from tests.telemetry.stream.records import EVERY


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pump, "FIRST", 0.05)
    monkeypatch.setattr(pump, "LONGEST", 0.5)
    monkeypatch.setattr(pump, "POLL", 0.02)


@pytest.fixture
def port() -> int:
    program("nats-server")
    return free_port()


def server(port: int, store: Path, *more: str) -> Any:
    argv = ("-js", "-sd", str(store), "-a", "127.0.0.1", "-p", str(port), *more)
    return running(program("nats-server"), *argv, port=port)


def spec_of(port: int, **fields: str) -> Sink:
    fields.setdefault("to", f"nats://127.0.0.1:{port}")
    return Sink(name="bus", kind="nats", begin="oldest", **fields)


async def stored(port: int, **options: Any) -> list[tuple[str, str, dict[str, Any]]]:
    """Subject, Nats-Msg-Id and body of everything in the stream."""
    scheme = "tls" if options else "nats"
    connection = await nats.connect(f"{scheme}://127.0.0.1:{port}", **options)
    try:
        stream = connection.jetstream()
        last = (await stream.stream_info("FEIYU")).state.last_seq
        messages = [await stream.get_msg("FEIYU", seq=number) for number in range(1, last + 1)]
        return [(m.subject, (m.headers or {})["Nats-Msg-Id"], json.loads(m.data or b"")) for m in messages]
    finally:
        await connection.close()


async def test_every_record_stands_in_the_stream_under_its_kind_and_id(tmp_path: Path, port: int) -> None:
    log = Log(tmp_path)
    log.append(*(encode(given) for given in EVERY.values()))
    spec = spec_of(port)
    with server(port, tmp_path / "js"):
        async with log.pumping(spec, NatsSink(spec)) as running_pump:
            await until(lambda: running_pump.state.sent == len(EVERY) - 1, "all")
        found = await stored(port)
    wanted = [given for given in EVERY.values() if given.kind != "heartbeat"]
    assert [body for _, _, body in found] == [json.loads(encode(given)) for given in wanted]
    assert {subject for subject, _, _ in found} >= {"feiyu.records.open", "feiyu.records.deny", "feiyu.records.finding"}
    assert len({id_ for _, id_, _ in found}) == len(wanted)


async def test_a_server_killed_again_and_again_has_each_record_once(tmp_path: Path, port: int) -> None:
    log = Log(tmp_path)
    spec = spec_of(port)
    async with log.pumping(spec, NatsSink(spec)) as running_pump:
        state = running_pump.state
        for _ in range(3):
            with server(port, tmp_path / "js") as process:
                sent = state.sent
                log.flows(1_500)
                await until(lambda: state.sent >= sent + 500, "some of this round")  # noqa: B023
                process.send_signal(signal.SIGKILL)
                await until(lambda: not state.connected, "the break is noticed")
        with server(port, tmp_path / "js"):
            await until(lambda: state.connected and state.lag_records == 0, "everything")
            found = Counter(body["flow"] for _, _, body in await stored(port))
    assert set(found) == {f"F{number}" for number in range(1, 4_501)}
    assert set(found.values()) == {1}, "what came twice was told by its id"


async def test_what_the_server_acknowledged_and_then_lost_is_sent_again(tmp_path: Path, port: int) -> None:
    log = Log(tmp_path)
    spec = spec_of(port)
    store = tmp_path / "js"
    async with log.pumping(spec, NatsSink(spec)) as running_pump:
        state = running_pump.state
        with server(port, store):
            log.flows(300)
            await until(lambda: state.lag_records == 0 and state.sent == 300, "all acknowledged")
        shutil.rmtree(store)  # its host lost power before the server's fsync
        with server(port, store):
            await until(lambda: state.connected and state.sent >= 600, "all again")
            assert len(await stored(port)) == 300


async def test_after_a_restart_of_the_process_the_last_minutes_come_again_and_are_told_by_their_id(
    tmp_path: Path, port: int
) -> None:
    log = Log(tmp_path)
    spec = spec_of(port)
    with server(port, tmp_path / "js"):
        async with log.pumping(spec, NatsSink(spec)) as first:
            log.flows(100)
            await until(lambda: first.state.sent == 100, "all")
        sink = NatsSink(spec)
        async with log.pumping(spec, sink) as second:
            await until(lambda: sink.figures()["doubles"] == 100, "all again")
            assert second.state.sent == 200
        assert len(await stored(port)) == 100


async def test_over_tls_and_never_where_the_stream_is_full(tmp_path: Path, port: int) -> None:
    pki = certificates(tmp_path / "pki")
    log = Log(tmp_path)
    log.flows(40)
    spec = spec_of(port, to=f"tls://127.0.0.1:{port}", ca=str(pki.trusted), format="ocsf")
    tls = ("--tls", "--tlscert", str(pki.certificate), "--tlskey", str(pki.key))
    context = ssl.create_default_context(cafile=str(pki.trusted))
    with server(port, tmp_path / "js", *tls):
        connection = await nats.connect(f"tls://127.0.0.1:{port}", tls=context)
        stream = connection.jetstream()
        made = {"name": "FEIYU", "subjects": ["feiyu.records.>"], "duplicate_window": 600}
        await stream.add_stream(**made, max_msgs=10, discard="new")
        async with log.pumping(spec, NatsSink(spec)) as running_pump:
            state = running_pump.state
            await until(lambda: "maximum messages exceeded" in state.fault, "the stream says that it is full")
            await until(lambda: state.lag_records == 40, "all of it waits")
            await stream.update_stream(**made, max_msgs=1000, discard="new")
            await until(lambda: state.lag_records == 0 and state.connected, "all, once there is room")
        await connection.close()
        found = await stored(port, tls=context)
    assert [body["class_uid"] for _, _, body in found] == [4001] * 40

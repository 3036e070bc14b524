"""What the command says of flows and records: asked of a real control, answered by a real recorder."""

import asyncio
import contextlib
import json
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from ops.cli.main import run
from telemetry.search import MAX_LIMIT
from telemetry.spool import SpoolWriter
from telemetry.stream.spec import Sink
from tests.ops import control_kit
from tests.telemetry import spool_kit

CONFIG = """\
node: gw1.zone.example
state_dir: {0}/state
run_dir: {0}/run
workers: 2
listeners: [{{name: plain, kind: plain, address: "127.0.0.1:3128"}}]
"""
REF, FLOW, OLD = "7F3K9Q2M4XW5T0AB", "0A1B2C3D4E5F6G7H", "0000000000000FLD"
WHO: dict[str, Any] = {
    "tenant": "acme",
    "interface": "acc0",
    "client_ip": "10.1.0.9",
    "host": "docs.example.com",
    "port": 443,
    "method": "CONNECT",
}
Output = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[control_kit.TestHub]:
    """Two workers' acknowledgements, in a thread."""
    directory = tmp_path_factory.mktemp("node")
    (directory / "run").mkdir()
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, daemon=True).start()
    made = control_kit.TestHub(directory / "run" / "live.sock")

    async def opened() -> None:
        made.open()

    asyncio.run_coroutine_threadsafe(opened(), loop).result(10)
    yield made
    asyncio.run_coroutine_threadsafe(made.close(), loop).result(10)
    loop.call_soon_threadsafe(loop.stop)


@pytest.fixture(scope="module")
def spool(hub: control_kit.TestHub) -> Iterator[SpoolWriter]:
    """A living worker's spool, read by a recorder: one open flow, one that is over, one refusal."""
    node = spool_kit.Node(hub.path.parent.parent)
    writer = node.writer()
    now = int(time.time() * 1e6)
    spool_kit.put(writer, "open", flow=FLOW, time=now - 95_000_000, line="hk1", decision="permit", **WHO)
    spool_kit.put(writer, "open", flow=OLD, time=now - 7200_000_000, line="hk1", decision="permit", **WHO)
    ended = {"cause": "client-closed", "bytes_out": 1_500, "bytes_in": 1_000_000}
    spool_kit.put(writer, "close", flow=OLD, time=now - 7100_000_000, line="hk1", **ended, **WHO)
    refusal = {"reason": "not-whitelisted", "decision": "deny", "status": 403, "revision": 1}
    spool_kit.put(writer, "deny", flow=REF, ref=REF, time=now, **refusal, **WHO)
    writer.flush()
    process = node.start()
    try:
        spool_kit.until(lambda: (node.run / "recorder.sock").exists() and len(node.lines()) >= 4, "the records")
        yield writer
    finally:
        spool_kit.stop(process)


@pytest.fixture(scope="module")
def config(hub: control_kit.TestHub, spool: SpoolWriter) -> Iterator[Path]:
    """The configuration of a node with control, hub and recorder."""
    directory = hub.path.parent.parent
    path = directory / "feiyu.yaml"
    path.write_text(CONFIG.format(directory))
    assert run(["init", "--config", str(path)]) == 0
    process = subprocess.Popen([sys.executable, "-m", "ops.control", "--config", str(path)])
    try:
        spool_kit.until((directory / "run" / "control.sock").exists, "control's socket")
        yield path
    finally:
        process.kill()  # an orderly end would wait for the relay of the tail
        process.wait(20)


def said(capsys: Output, config: Path, *arguments: str, code: int = 0) -> str:
    """stdout of a call that must end with this exit status."""
    capsys.readouterr()
    status = run([*arguments, "--config", str(config), "--no-input", "--lang", "en"])
    out, err = capsys.readouterr()
    assert status == code, (arguments, out, err)
    return out


def test_a_change_says_where_it_is_in_force_and_how_fast(config: Path, capsys: Output) -> None:
    told = said(capsys, config, "group", "add", "traders", "--reason", "new")
    pattern = r"group traders added · revision \d+ · enforced in 2 workers in \d+ ms · marked bootstrap\n"
    assert re.fullmatch(pattern, told)


def test_open_flows_are_listed_and_shown(config: Path, capsys: Output) -> None:
    header, row = said(capsys, config, "flow", "list").splitlines()
    assert header.split() == ["FLOW", "TENANT", "TARGET", "LINE", "AGE", "OUT", "IN"]
    assert row.split()[:4] == [FLOW, "acme", "docs.example.com:443", "hk1"]
    assert re.fullmatch(r"1m\d\ds", row.split()[4])
    assert said(capsys, config, "flow", "list", "--tenant", "other") == ""
    assert json.loads(said(capsys, config, "flow", "show", FLOW, "-o", "json"))["host"] == "docs.example.com"
    assert "10.1.0.9" in said(capsys, config, "flow", "show", FLOW)
    said(capsys, config, "flow", "show", "0000000000000000", code=1)


def test_a_cut_reaches_the_workers(config: Path, hub: control_kit.TestHub, capsys: Output) -> None:
    assert f"flow {FLOW} cut · " in said(capsys, config, "flow", "cut", FLOW, "--reason", "incident 12")
    assert {"kind": "cut", "flow": FLOW, "cause": "cut-by-operator"} in hub.told
    said(capsys, config, "flow", "cut", OLD, "--reason", "incident 12", code=1)


@pytest.mark.parametrize(
    ("query", "flows"),
    [
        pytest.param([], [REF, OLD, OLD, FLOW], id="everything, the newest first as they were written"),
        pytest.param(["--kind", "deny"], [REF], id="by kind"),
        pytest.param(["--reason", "not-whitelisted"], [REF], id="by reason"),
        pytest.param(["--reason", "port-not-allowed"], [], id="by a reason that there is not"),
        pytest.param(["--ref", REF], [REF], id="by reference"),
        pytest.param(["--flow", FLOW], [FLOW], id="by flow"),
        pytest.param(["--tenant", "acme", "--since", "1h"], [REF, FLOW], id="by tenant, within the hour"),
        pytest.param(["--tenant", "other"], [], id="by another tenant"),
        pytest.param(["--host", "*.example.com", "--limit", "1"], [REF], id="by suffix, one only"),
    ],
)
def test_search(config: Path, capsys: Output, query: list[str], flows: list[str]) -> None:
    found = json.loads(said(capsys, config, "log", "search", *query, "-o", "json"))
    assert [record["flow"] for record in found if record["kind"] in ("open", "close", "deny")] == flows


def test_a_search_as_a_table(config: Path, capsys: Output) -> None:
    row = said(capsys, config, "log", "search", "--ref", REF).splitlines()[1]
    for part in ("deny", "acme", "docs.example.com:443", "not-whitelisted", REF):
        assert part in row


def test_explain_of_a_reference_says_then_and_now(config: Path, capsys: Output) -> None:
    base = ("--name", "Acme", "--place", "s1/r1/acc0/10.1.0.0/24", "--from", "2020-01-01", "--for", "1y")
    said(capsys, config, "tenant", "add", "acme", *base, "--reason", "new")
    shown = said(capsys, config, "explain", "--ref", REF, code=1)
    assert shown.startswith("deny not-whitelisted ")
    for part in (REF, "acme → docs.example.com:443 (CONNECT) from 10.1.0.9", "Today's policy", "To change"):
        assert part in shown
    said(capsys, config, "explain", "--ref", "0000000000000", code=1)


def test_tail_shows_records_as_they_come_one_for_each_line(config: Path, spool: SpoolWriter) -> None:
    code = "import sys; from ops.cli.main import main; main(sys.argv[1:])"
    command = [sys.executable, "-c", code, "log", "tail", "--kind", "deny", "-o", "json", "--config", str(config)]
    follower = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    seen: list[str] = []
    assert follower.stdout
    reader = threading.Thread(target=lambda: seen.extend(iter(follower.stdout.readline, "")), daemon=True)  # type: ignore[union-attr]  # just asserted
    reader.start()

    def write_until_seen() -> bool:
        spool_kit.put(spool, "deny", flow=REF, ref=REF, time=1, reason="name-invalid", **WHO)
        spool_kit.put(spool, "heartbeat")
        spool.flush()
        time.sleep(0.05)
        return bool(seen)

    spool_kit.until(write_until_seen, "a record at the follower")
    follower.send_signal(signal.SIGINT)
    assert follower.wait(20) == 130
    reader.join(20)
    records = [json.loads(text) for text in seen]
    assert {(record["kind"], record["reason"]) for record in records} == {("deny", "name-invalid")}
    assert follower.stderr
    assert "Traceback" not in follower.stderr.read()


@contextlib.contextmanager
def streaming(config: Path) -> Iterator[None]:
    """A streams process with one sink, which cannot be written."""
    root = config.parent
    (root / "run" / "streams.sock").unlink(missing_ok=True)
    sink = Sink(name="archive", kind="file", to=str(root / "none" / "out"), begin="oldest")
    argv = [sys.executable, "-m", "telemetry.stream.main", "--state-dir", str(root / "state"), "--node", "gw1"]
    argv += ["--run-dir", str(root / "run"), "--sinks", msgspec.json.encode([sink]).decode()]
    process = subprocess.Popen(argv)
    try:
        spool_kit.until((root / "run" / "streams.sock").exists, "the streams process")
        yield
    finally:
        spool_kit.stop(process, signal.SIGKILL)


def test_tail_goes_on_where_it_was_once_the_streams_process_is_back(config: Path, spool: SpoolWriter) -> None:
    code = "import sys; from ops.cli.main import main; main(sys.argv[1:])"
    command = [sys.executable, "-c", code, "log", "tail", "--kind", "portal", "-o", "json", "--config", str(config)]
    seen: list[int] = []
    with contextlib.ExitStack() as last:
        with streaming(config):
            follower = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
            last.callback(follower.kill)
            out = follower.stdout
            assert out
            reader = threading.Thread(
                target=lambda: seen.extend(json.loads(text)["status"] for text in iter(out.readline, "")), daemon=True
            )
            reader.start()
            sent = 0

            def write_until_seen() -> bool:
                nonlocal sent
                sent += 1
                spool_kit.put(spool, "portal", status=sent)
                spool.flush()
                time.sleep(0.05)
                return bool(seen)

            spool_kit.until(write_until_seen, "a record at the follower")
        for number in range(sent + 1, sent + 6):  # while there is no streams process
            spool_kit.put(spool, "portal", status=number)
        spool.flush()
        with streaming(config):
            spool_kit.until(lambda: seen[-1] == sent + 5, "what came meanwhile")
            assert seen == list(range(seen[0], sent + 6)), "none is missing, none came twice"
            follower.send_signal(signal.SIGINT)
            assert follower.wait(20) == 130
            reader.join(20)


def test_status_shows_each_sinks_lag_and_why(config: Path, capsys: Output, spool: SpoolWriter) -> None:
    with streaming(config):

        def told() -> str:
            text = said(capsys, config, "status")
            return text if re.search(r"archive \(file\) [1-9]\d* records behind", text) else ""

        shown = spool_kit.until(told, "the sink's lag")
    assert "No such file or directory" in shown


def test_a_search_takes_as_many_as_its_help_says(config: Path, capsys: Output) -> None:
    assert f"1<=x<={MAX_LIMIT}" in said(capsys, config, "log", "search", "--help").replace("\n", "")
    said(capsys, config, "log", "search", "--limit", str(MAX_LIMIT))
    said(capsys, config, "log", "search", "--limit", str(MAX_LIMIT + 1), code=2)


def test_doctor_finds_control_and_recorder_well(config: Path, capsys: Output) -> None:
    found = {entry["name"]: entry for entry in json.loads(said(capsys, config, "doctor", "-o", "json", code=1))}
    for name in ("hub", "control", "recorder", "spool"):
        assert found[name]["level"] == "ok", found[name]
    assert "line hk1" not in found, "the hub still knows a line that the register has no more"
    assert found["workers"]["level"] == "fail"  # nobody but the hub's double is there

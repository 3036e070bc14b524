"""Metrics of the node itself: from control's heartbeat, the disks, the evidence and the streams."""

from pathlib import Path

from telemetry.fold import State
from telemetry.metrics import render, view
from telemetry.node_metrics import Disk, Evidence, Surroundings
from telemetry.record import Record
from telemetry.stream import state as streams
from telemetry.stream.pump import SinkState
from tests.telemetry.spool_kit import BOOT, NODE, Node, put, stop, until
from tests.telemetry.test_metrics import samples

VALUES = {
    "next_expiry_grant": 1_800_000_000,
    "next_expiry_certificate": 1_700_000_000,
    "restarts_worker": 3,
    "ready_worker": 1,
    "wanted_worker": 2,
    "degraded": 1,
    "reload_accepted": 4,
    "reload_refused": 2,
    "reload_pending": 1,
    "register_ok": 1,
    "published_ok": 0,
}


def folded() -> State:
    state = State()
    beat = Record(node=NODE, boot=BOOT, worker="control.1", seq=1, kind="heartbeat", time=5, values=VALUES)
    state.take(f"{BOOT}-control.1", [beat], [1], 0, 0)
    return state


def test_what_control_told_stands_under_names_of_its_own() -> None:
    got = samples(render(view(folded(), 0, 0)).decode())
    assert got["feiyu_control_up"][()] == 1
    assert got["feiyu_next_expiry_timestamp_seconds"] == {("grant",): 1_800_000_000, ("certificate",): 1_700_000_000}
    assert got["feiyu_process_restarts_total"] == {("worker",): 3}
    assert (got["feiyu_processes_ready"]["worker",], got["feiyu_processes_wanted"]["worker",]) == (1, 2)
    assert got["feiyu_reloads_total"] == {("accepted",): 4, ("refused",): 2}
    assert (got["feiyu_configuration_refused"][()], got["feiyu_policy_published"][()]) == (1, 0)
    assert not [name for name in got if name.startswith("feiyu_worker_")], "control is no worker"


def test_without_control_nothing_of_it_is_known() -> None:
    state = folded()
    state.forget(f"{BOOT}-control.1")
    got = samples(render(view(state, 0, 0)).decode())
    assert got["feiyu_control_up"][()] == 0
    assert {"feiyu_register_readable", "feiyu_processes_ready", "feiyu_evidence_records"} & got.keys() == set()


def test_disks_evidence_and_sinks_are_shown() -> None:
    sink = SinkState("soc", "syslog", "x:1", False, 7, 2.5, 100, 3, 4, 5, "away")
    around = Surroundings([Disk("state", 10, 100)], Evidence(9, 0.5, True), streams.State(1.0, [sink], 2))
    got = samples(render(view(State(), 0, 0, around=around)).decode())
    assert (got["feiyu_disk_free_bytes"]["state",], got["feiyu_disk_size_bytes"]["state",]) == (10, 100)
    assert (got["feiyu_evidence_records"][()], got["feiyu_evidence_damaged"][()]) == (9, 1)
    assert got["feiyu_stream_lag_records"]["soc",] == 7
    assert got["feiyu_stream_lag_seconds"]["soc",] == 2.5
    assert got["feiyu_stream_connected"]["soc",] == 0
    counters = ("sent_records", "missed_records", "failures", "dead_letters")
    assert [got[f"feiyu_stream_{name}_total"]["soc",] for name in counters] == [100, 3, 4, 5]
    assert got["feiyu_stream_watchers"][()] == 2


def test_a_running_recorder_shows_its_disks_and_evidence(tmp_path: Path) -> None:
    node = Node(tmp_path)
    writer = node.writer("control.1")
    put(writer, "heartbeat", values=VALUES)
    writer.flush()
    recorder = node.start()
    try:
        until(lambda: (node.run / "recorder.sock").exists() and node.records("control.1"), "the record")

        def told() -> dict[str, dict[tuple[str, ...], float]] | None:
            got = samples(node.ask("/metrics")[2].decode())
            return got if got["feiyu_control_up"][()] and got["feiyu_evidence_records"][()] else None

        got = until(told, "the heartbeat, and evidence of it")
        assert 0 < got["feiyu_disk_free_bytes"]["state",] <= got["feiyu_disk_size_bytes"]["state",]
        assert got["feiyu_evidence_damaged"][()] == 0
        assert got["feiyu_evidence_lag_seconds"][()] >= 0
    finally:
        stop(recorder)
        writer.close()

"""What feiyu doctor says of sinks: behind, broken, unknown, or that nobody speaks."""

import time
from pathlib import Path

import pytest

from ops.doctor.running import streams_state
from telemetry.stream import state
from telemetry.stream.pump import SinkState
from telemetry.stream.spec import Sink

SINK = Sink(name="soc", kind="syslog", to="siem:6514")
CASES = {
    "a sink that keeps up": ([SinkState("soc", "syslog", "x", True, 3)], "ok", "3 records behind"),
    "a slow sink": ([SinkState("soc", "syslog", "x", True, 9, 61.0)], "warn", "61 s behind"),
    "a broken sink": ([SinkState("soc", "syslog", "x", False, 9, 1.0, fault="refused")], "fail", "refused"),
    "a sink that the process was not told of": ([], "warn", "the process does not know it"),
}


@pytest.mark.parametrize("sentence", CASES)
def test_each_sink_has_a_finding(sentence: str, tmp_path: Path) -> None:
    sinks, level, seen = CASES[sentence]
    state.write(tmp_path, state.State(time.time(), sinks))
    findings = list(streams_state(tmp_path, (SINK,)))
    assert [(found.level, found.seen) for found in findings] == [(level, seen)]


@pytest.mark.parametrize("age", [None, 60.0])
def test_a_process_that_says_nothing_is_a_failure(age: float | None, tmp_path: Path) -> None:
    if age:
        state.write(tmp_path, state.State(time.time() - age, []))
    assert [found.level for found in streams_state(tmp_path, ())] == ["fail"]

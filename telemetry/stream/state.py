"""What the streams process tells others of itself: run_dir/streams.json, replaced every second.

The recorder's /metrics and control's status read it; so neither waits for the process or its sinks.
"""

import os
import time
from pathlib import Path

import msgspec

from telemetry.stream.pump import SinkState

FILE = "streams.json"
STALE = 10.0  # seconds after which nobody writes it any more


class State(msgspec.Struct):
    """at: Unix seconds when it was written; watchers: clients of the event stream."""

    at: float
    sinks: list[SinkState] = []
    watchers: int = 0
    pid: int = 0


_decoder = msgspec.json.Decoder(State)


def write(run_dir: Path, state: State) -> None:
    """Replaces the file; it need not survive the host. Raises OSError."""
    fresh = run_dir / f".{FILE}.new"
    fd = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o640)
    with os.fdopen(fd, "wb") as file:
        file.write(msgspec.json.encode(state))
    fresh.rename(run_dir / FILE)


def read(run_dir: Path, now: float | None = None) -> State | None:
    """What it said last; None when it says nothing (any more)."""
    try:
        state = _decoder.decode((run_dir / FILE).read_bytes())
    except (OSError, msgspec.DecodeError):
        return None
    return state if (time.time() if now is None else now) - state.at <= STALE else None

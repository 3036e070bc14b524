"""How far each sink is: one small file per sink, replaced whole. Losing one means sending again, never leaving out."""

from pathlib import Path

import msgspec

from telemetry.stream.history import Place
from telemetry.whole import write_whole


class Cursor(msgspec.Struct, frozen=True):
    """place: everything before it was taken for good; then the counters since the sink was first configured."""

    place: Place
    sent: int = 0
    missing: int = 0
    failures: int = 0
    dead_letters: int = 0
    v: int = 1


_decoder = msgspec.json.Decoder(Cursor)


def path_of(directory: Path, sink: str) -> Path:
    """The file of a sink with this name."""
    return directory / f"{sink}.cursor"


def load(path: Path) -> Cursor | None:
    """The stored cursor; None where there is none that can be read. Raises OSError for anything but no file."""
    try:
        return _decoder.decode(path.read_bytes())
    except (FileNotFoundError, msgspec.DecodeError):
        return None


def store(path: Path, cursor: Cursor) -> None:
    """Makes it durable. Raises OSError."""
    write_whole(path, msgspec.json.encode(cursor) + b"\n", 0o640)

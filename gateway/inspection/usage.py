"""Bytes of inspected requests per grant and day, kept over restarts. All tunnels of a grant are in one process, so
nobody else counts them."""

import contextlib
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from telemetry.whole import write_whole
from whitelist.inspection import Inspect

ZONE = 8 * 3_600  # the zone's day is that of UTC+8
DAY = 86_400


class Used(msgspec.Struct):
    """Of one day: its number since 1970 in the zone's time, bytes sent and received."""

    day: int = 0
    sent: int = 0
    received: int = 0


class Usage:
    """path: where it is kept between restarts; written at most once in a while, by save()."""

    def __init__(self, path: Path | None, clock: Callable[[], float] = time.time) -> None:
        self._path = path
        self._clock = clock
        self._used: dict[str, Used] = {}
        self._changed = False
        if path is not None:
            with contextlib.suppress(OSError, msgspec.DecodeError):
                self._used = msgspec.json.decode(path.read_bytes(), type=dict[str, Used])

    def _of(self, grant: str) -> Used:
        today = int(self._clock() + ZONE) // DAY
        used = self._used.get(grant)
        if used is None or used.day != today:
            used = self._used[grant] = Used(today)
        return used

    def add(self, grant: str, sent: int, received: int) -> None:
        """Bytes of bodies that moved."""
        if sent or received:
            used = self._of(grant)
            used.sent += sent
            used.received += received
            self._changed = True

    def spent(self, grant: str, inspect: Inspect, sent: int = 0, received: int = 0) -> str:
        """What of the day's bytes is used up, with those of a request under way, or ""."""
        up, down = inspect.upload_bytes_per_day, inspect.download_bytes_per_day
        if not (up or down):
            return ""
        used = self._of(grant)
        if up and used.sent + sent >= up + (sent > 0):
            return f"used up: {up} bytes a day to the service"
        if down and used.received + received >= down + (received > 0):
            return f"used up: {down} bytes a day from the service"
        return ""

    def save(self) -> None:
        """Writes what has changed. Raises OSError."""
        if self._changed and self._path is not None:
            today = int(self._clock() + ZONE) // DAY
            kept = {grant: used for grant, used in self._used.items() if used.day == today}
            write_whole(self._path, msgspec.json.encode(kept), 0o600)
            self._changed = False

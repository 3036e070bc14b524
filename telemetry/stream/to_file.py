"""Records into a file, one line each, on disk before the next batch. The file may be moved away at any time
(logrotate): the next batch makes a new one."""

import asyncio
import os
from collections.abc import Sequence

from telemetry.stream.event import Event
from telemetry.stream.spec import Sink as Spec

_BACK = 1 << 17  # bytes looked through for the end of the last whole line; a line is shorter


class FileSink:
    """The file is this sink's alone: half a line that a kill left at its end is cut off."""

    settle = 0.0
    batch = 1_000

    def __init__(self, spec: Spec) -> None:
        self._path, self._format = spec.to, spec.format

    async def open(self) -> None:
        """Mends the end of the file."""
        await asyncio.to_thread(self._append, b"")

    async def send(self, events: Sequence[Event]) -> None:
        """Appends and waits for the disk."""
        data = b"".join(event.body(self._format) + b"\n" for event in events)
        await asyncio.to_thread(self._append, data)

    async def close(self) -> None:
        """Nothing stays open."""

    def figures(self) -> dict[str, int]:
        """None."""
        return {}

    def _append(self, data: bytes) -> None:
        fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC, 0o640)
        try:
            size = os.fstat(fd).st_size
            if size and os.pread(fd, 1, size - 1) != b"\n":
                start = max(0, size - _BACK)
                size = start + os.pread(fd, _BACK, start).rfind(b"\n") + 1
                os.ftruncate(fd, size)
            try:
                view = memoryview(data)
                while view:
                    view = view[os.write(fd, view) :]
                os.fdatasync(fd)
            except OSError:
                os.ftruncate(fd, size)  # a full disk: all of the batch comes again
                raise
        finally:
            os.close(fd)

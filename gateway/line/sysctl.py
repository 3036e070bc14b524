"""Kernel settings below /proc/sys, of the network namespace of the calling thread."""

from collections.abc import Iterable
from pathlib import Path

ROOT = Path("/proc/sys")


def read(paths: Iterable[str]) -> dict[str, str | None]:
    """The value of each path, None where it does not exist (no such device, or a kernel without that family)."""
    found: dict[str, str | None] = {}
    for path in paths:
        try:
            found[path] = (ROOT / path).read_text().strip()
        except OSError:
            found[path] = None
    return found


def write(path: str, value: str) -> None:
    """Sets one value. Raises OSError (PermissionError, read-only /proc/sys, device gone meanwhile)."""
    (ROOT / path).write_text(value)

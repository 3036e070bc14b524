"""What becomes of a file of usage that was cut short or made longer: nobody knows what was in it.

A damaged file is not taken for one of firms that used nothing. Its whole columns count on, and a note beside it
(bytes.damaged) says that they may not be all: until the day or month of the note is over, or somebody who has looked
takes it away, a firm with a quota of that day or month is refused (default is deny). Firms without a quota go on.
"""

import contextlib
import datetime
import os
import time
from pathlib import Path

NOTE = ".damaged"


def note_of(path: Path) -> Path:
    """Where the note on this file stands."""
    return path.with_name(path.name + NOTE)


def prepare(path: Path, head: int, column_bytes: int, columns: int) -> None:
    """Makes the file where there is none, whole at once, and puts one that is of no right length in order, with a note.
    head: bytes before the columns. Raises OSError."""
    if not path.exists():
        made = path.with_name(f"{path.name}.{os.getpid()}")
        fd = os.open(made, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o660)
        try:
            os.ftruncate(fd, head + columns * column_bytes)  # sparse
            with contextlib.suppress(FileExistsError):  # another worker was quicker
                os.link(made, path)
        finally:
            os.close(fd)
            made.unlink()
        return
    size = path.stat().st_size
    count, rest = divmod(size - head, column_bytes)
    if count >= 1 and not rest:
        return
    when = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    text = f"{when}: {path} had {size} bytes, which is no whole number of columns: what was used may be more\n"
    note_of(path).write_text(text)  # before the file looks whole
    whole = head + max(count + bool(rest), columns) * column_bytes
    os.truncate(path, whole)  # longer only: a column that was cut keeps what is left of it


def noted(path: Path) -> float:
    """When damage was noted (Unix seconds), 0 for no note, or now where it cannot be told."""
    try:
        return note_of(path).stat().st_mtime
    except FileNotFoundError:
        return 0.0
    except OSError:
        return time.time()

"""Ctrl-C and SIGTERM between steps, never inside one: a program that was just started must be known before we leave."""

import contextlib
import signal
from collections.abc import Iterator

_NUMBERS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_depth = 0
_pending = False


def install() -> None:
    """The signals raise KeyboardInterrupt, at the end of a whole() that they come in."""
    for number in _NUMBERS:
        signal.signal(number, _came)


def ignore() -> None:
    """Nothing may stop the cleaning up."""
    for number in _NUMBERS:
        signal.signal(number, signal.SIG_IGN)


@contextlib.contextmanager
def whole() -> Iterator[None]:
    """What is done in here is done to its end, unless a signal comes twice. For the main thread."""
    global _depth, _pending
    _depth += 1
    try:
        yield
    finally:
        _depth -= 1
        if _pending and not _depth:
            _pending = False
            raise KeyboardInterrupt


def _came(*_: object) -> None:
    global _pending
    if _depth and not _pending:
        _pending = True
        return
    raise KeyboardInterrupt

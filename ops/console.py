"""The supervisor's own output: whole lines to stderr that can never block it, and systemd's notifications."""

import contextlib
import os
import select
import socket

_CONTROL = {number: f"\\x{number:02x}" for number in (*range(32), 127, *range(128, 160)) if number != 9}
_MAX = 4_096  # bytes that write(2) to a pipe takes whole (PIPE_BUF)


class Console:
    """One line per call. A reader that does not read loses lines (they are counted): waiting for it would stop
    restarts, and children that log would stop with us."""

    def __init__(self, descriptor: int = 2) -> None:
        self._descriptor = descriptor
        self._poll = select.poll()
        self._poll.register(descriptor, select.POLLOUT)
        self._lost = 0

    def line(self, name: str, text: str) -> None:
        """Writes "name: text" without control characters."""
        lost = f"[{self._lost} lines lost] " if self._lost else ""
        data = f"{name}: {lost}{text.translate(_CONTROL)}".encode("utf-8", "replace")[: _MAX - 1] + b"\n"
        try:
            writable = self._poll.poll(0)
            if not writable or not writable[0][1] & select.POLLOUT:
                raise BlockingIOError
            os.write(self._descriptor, data)
            self._lost = 0
        except OSError:
            self._lost += 1


def notify(state: str) -> None:
    """Tells systemd, when it started us (sd_notify(3)); else nothing."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if address[:1] not in ("/", "@"):
        return
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as sock:
        sock.sendto(state.encode(), address.replace("@", "\0", 1) if address[0] == "@" else address)

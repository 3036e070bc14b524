"""A bounded pool of kernel pipes for splice(2)."""

import fcntl
import os

PIPE_BYTES = 256 * 1024
Pipe = tuple[int, int]


class PipePool:
    """Lends pipes, at most `limit` at a time; the kernel gives an unprivileged user 16,384 pipe pages in all
    (fs.pipe-user-pages-soft) and beyond that two-page pipes, so the pool is the bound that keeps them large."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._idle: list[Pipe] = []
        self.lent = 0

    def take(self) -> Pipe | None:
        """A pipe, or None when the pool is used up or the process is out of descriptors: copy through user space
        then."""
        if self._idle:
            self.lent += 1
            return self._idle.pop()
        if self.lent >= self.limit:
            return None
        try:
            pipe = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError:
            return None
        try:
            fcntl.fcntl(pipe[1], fcntl.F_SETPIPE_SZ, PIPE_BYTES)
        except OSError:
            pass  # over the user's soft limit: the default size still works
        self.lent += 1
        return pipe

    def give(self, pipe: Pipe, empty: bool) -> None:
        """Takes a pipe back; one that still holds a tenant's bytes is closed, never lent again."""
        self.lent -= 1
        if empty and len(self._idle) < 32:
            self._idle.append(pipe)
        else:
            os.close(pipe[0])
            os.close(pipe[1])

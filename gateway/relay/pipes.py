"""A bounded pool of kernel pipes for splice(2)."""

import fcntl
import os

LARGE, USUAL = 1 << 20, 256 * 1024  # bytes of a pipe: large ones cost a tenth less CPU per GB
MAX_LARGE = 8
PAGE = 4096
Pipe = tuple[int, int]


class PipePool:
    """Lends pipes as long as they fit into so many pages. The kernel gives an unprivileged user 16,384 pipe pages in
    all (fs.pipe-user-pages-soft) and beyond that two-page pipes, so the pool is the bound that keeps them large. The
    first few are larger than the others, as far as a quarter of the pages reaches."""

    def __init__(self, pages: int) -> None:
        self._large = min(MAX_LARGE, pages // 4 * PAGE // LARGE)
        self.limit = self._large + max(4, (pages * PAGE - self._large * LARGE) // USUAL)
        self._idle: list[Pipe] = []
        self._made_large: set[Pipe] = set()
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
            if len(self._made_large) < self._large:
                fcntl.fcntl(pipe[1], fcntl.F_SETPIPE_SZ, LARGE)
                self._made_large.add(pipe)
            else:
                fcntl.fcntl(pipe[1], fcntl.F_SETPIPE_SZ, USUAL)
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
            self._made_large.discard(pipe)
            os.close(pipe[0])
            os.close(pipe[1])

"""The worker's event loop: edge-triggered epoll over bare descriptors, one timer heap, hooks at the end of a turn.

asyncio is not used here: registering a descriptor once and never again, dispatching through one dict and closing at the
end of the turn cost a third of the user time that a uvloop reader per direction does (`make bench`).
"""

import heapq
import os
import select
import socket
import struct
import time
from collections.abc import Callable
from itertools import count

IN = select.EPOLLIN
OUT = select.EPOLLOUT
RDHUP = select.EPOLLRDHUP
HUP = select.EPOLLHUP
ERR = select.EPOLLERR
ET = select.EPOLLET
READ_EDGE = IN | RDHUP | ET
BOTH_EDGE = IN | OUT | RDHUP | ET
_NO_LINGER = struct.pack("ii", 1, 0)

Handler = Callable[[int], None]
Callback = Callable[[], None]


class Reactor:
    """now: monotonic seconds, wall: Unix seconds; both read once per turn.

    A descriptor given to close() is closed at the end of the turn, so that its number cannot be given to a new socket
    while events of the old one are still waiting in the same batch.
    """

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._handlers: dict[int, Handler] = {}
        self._closing: list[int] = []
        self._timers: list[tuple[float, int, Callback]] = []
        self._ticket = count()
        self._ready: list[Callback] = []
        self._turn_end: list[Callback] = []
        self._running = False
        self.before_flush: Callback | None = None
        self.on_error: Callable[[Exception], None] | None = None
        self.now = time.monotonic()
        self.wall = time.time()
        self.turns = 0

    def watch(self, fd: int, events: int, handler: Handler) -> None:
        """Registers fd once; handler gets the event mask."""
        self._handlers[fd] = handler
        self._epoll.register(fd, events)

    def change(self, fd: int, events: int) -> None:
        """Changes what fd is watched for."""
        self._epoll.modify(fd, events)

    def handle(self, fd: int, handler: Handler) -> None:
        """Gives an already watched fd another handler (no system call)."""
        self._handlers[fd] = handler

    def forget(self, fd: int) -> None:
        """Stops watching fd without closing it."""
        if self._handlers.pop(fd, None) is not None:
            self._epoll.unregister(fd)

    def close(self, fd: int) -> None:
        """Stops handling fd now and closes it at the end of the turn (which also takes it out of epoll)."""
        self._handlers.pop(fd, None)
        self._closing.append(fd)

    def abort(self, fd: int) -> None:
        """Like close(), for a connection's socket, with a reset to the peer: nothing that waits is still sent, and what
        was cut off does not look whole."""
        self.close(fd)
        sock = None
        try:
            sock = socket.SocketType(socket.AF_INET, socket.SOCK_STREAM, 0, fd)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
        except OSError:
            pass
        finally:
            if sock is not None:
                sock.detach()

    def later(self, seconds: float, callback: Callback) -> None:
        """Calls back once, no earlier than in so many seconds; for the few things that need a timer of their own."""
        heapq.heappush(self._timers, (self.now + seconds, next(self._ticket), callback))

    def again(self, callback: Callback) -> None:
        """Calls back in the next turn: work that stopped for fairness, since an edge does not come twice."""
        self._ready.append(callback)

    def at_turn_end(self, callback: Callback) -> None:
        """Calls back after this turn's records are in the spool."""
        self._turn_end.append(callback)

    def stop(self) -> None:
        """Ends run() after this turn."""
        self._running = False

    def run(self) -> None:
        """Turns until stop()."""
        self._running = True
        while self._running:
            self.turn()

    def turn(self, max_wait: float = 1.0) -> None:
        """One turn: wait, dispatch, timers, records to the spool, what waited for them, closes."""
        timers = self._timers
        if self._ready:
            wait = 0.0
        elif timers:
            wait = min(max_wait, max(0.0, timers[0][0] - time.monotonic()))
        else:
            wait = max_wait
        events = self._epoll.poll(wait, 512)
        now = self.now = time.monotonic()
        self.wall = time.time()
        self.turns += 1
        handlers = self._handlers
        if self._ready:
            ready, self._ready = self._ready, []
            for callback in ready:
                self.guard(callback)
        for fd, mask in events:
            handler = handlers.get(fd)
            if handler is not None:
                try:
                    handler(mask)
                except Exception as error:  # noqa: BLE001 - one flow's defect must not end the others
                    self._failed(getattr(handler, "__self__", None), error)
        while timers and timers[0][0] <= now:
            self.guard(heapq.heappop(timers)[2])
        self.finish_turn()

    def finish_turn(self) -> None:
        """Records first, then the answers that had to wait for them, then the closes."""
        flush = self.before_flush
        while True:
            if flush is not None:
                flush()
            if not self._turn_end:
                break
            waiting, self._turn_end = self._turn_end, []
            for callback in waiting:
                self.guard(callback)
        if self._closing:
            closing, self._closing = self._closing, []
            for fd in closing:
                os.close(fd)

    def guard(self, callback: Callback, owner: object = None) -> None:
        """Calls back; a defect is the owner's (that of the method, where none is named), never the caller's."""
        try:
            callback()
        except Exception as error:  # noqa: BLE001 - one flow's defect must not end the others
            self._failed(owner or getattr(callback, "__self__", None), error)

    def _failed(self, owner: object, error: Exception) -> None:
        """Hands a defect to the object whose method raised it (its crashed()), else to on_error."""
        crashed = getattr(owner, "crashed", None)
        if crashed is not None:
            try:
                crashed(error)
                return
            except Exception as another:  # noqa: BLE001 - a defect on top of a defect
                error = another
        if self.on_error is not None:
            self.on_error(error)
        else:
            raise error

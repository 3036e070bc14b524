"""An inspector process: python -m gateway.inspection.process. It listens on a socket in run_dir for workers, holds no
capability, and where the system allows has no network at all. A worker's connection is one tunnel.

It looks after itself: where its loop does not turn for HANG seconds the kernel ends it (setitimer(2)), whatever it
hangs in, and the supervisor starts another. What it may take of memory is limited.
"""

import argparse
import asyncio
import logging
import os
import resource
import signal
import socket
import struct
import sys
from pathlib import Path
from typing import Any

import msgspec
import uvloop

from gateway.inspection import wire
from gateway.inspection.case import Case
from gateway.inspection.handler import DialError, Handler, frozen_options
from gateway.inspection.layers import TellHook
from gateway.inspection.trust import Trust, TrustError
from gateway.inspection.usage import Usage
from gateway.inspection.wire import Begin, Bye, Dial, Dialled, Done, Failed, Go, Ready, Sorry, Start, Stop
from gateway.say import say
from whitelist.reason import Reason

HANG = 10.0  # seconds without a turn of the loop until the process is ended
BEAT = 2.0
SAVE = 5.0


class Inspector:
    """One process."""

    def __init__(
        self, listener: socket.socket, trust: Trust, usage: Usage, max_tunnels: int, uids: frozenset[int]
    ) -> None:
        self.listener, self.trust, self.usage = listener, trust, usage
        self.max_tunnels = max_tunnels
        self.uids = uids
        self.options = frozen_options()
        self.tunnels: set[TunnelSide] = set()
        self.told: dict[tuple[str, str], float] = {}
        self.stopping = asyncio.Event()

    async def run(self) -> None:
        """Serves until SIGTERM."""
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(_quiet)
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.stopping.set)
        loop.add_reader(self.listener.fileno(), self._accept)
        beat = asyncio.create_task(self._beat())
        await self.stopping.wait()
        loop.remove_reader(self.listener.fileno())
        self.listener.close()
        beat.cancel()
        for tunnel in list(self.tunnels):
            tunnel.close()
        self._save()

    async def _beat(self) -> None:
        turns = 0
        while True:
            signal.setitimer(signal.ITIMER_REAL, HANG)
            await asyncio.sleep(BEAT)
            turns += 1
            if turns % max(1, int(SAVE / BEAT)) == 0:
                self._save()

    def _save(self) -> None:
        try:
            self.usage.save()
        except OSError as error:
            say(f"bytes of the day cannot be kept: {error.strerror}")

    def _accept(self) -> None:
        try:
            sock, _ = self.listener.accept()
        except OSError:
            return
        _, uid, _ = struct.unpack("3i", sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
        if uid not in self.uids:
            sock.close()
            return
        sock.setblocking(False)
        self.tunnels.add(TunnelSide(self, sock))


class TunnelSide:
    """The inspector's end of a worker's channel."""

    def __init__(self, inspector: Inspector, sock: socket.socket) -> None:
        self.inspector, self.sock = inspector, sock
        self.loop = asyncio.get_running_loop()
        self.handler: Handler | None = None
        self.task: asyncio.Task[None] | None = None
        self.asked: dict[int, tuple[TellHook, asyncio.Future[None]]] = {}
        self.dials: dict[int, asyncio.Future[socket.socket]] = {}
        self.number = 0
        self.closed = False
        self.loop.add_reader(sock.fileno(), self._on_packet)

    def say(self, message: wire.FromInspector) -> None:
        """Says something; a worker that takes no more is lost, as it is where it has gone."""
        if not self.closed:
            try:
                wire.send(self.sock, message)
            except OSError:
                self.close()

    def _on_packet(self) -> None:
        try:
            data, descriptors = wire.receive(self.sock, 2)
            message = wire.read_from_worker(data) if data else None
        except BlockingIOError:
            return
        except (OSError, msgspec.DecodeError):
            self.close()
            return
        socks = [socket.socket(fileno=descriptor) for descriptor in descriptors]
        match message:
            case None:
                self.close()
            case Begin():
                self._begin(message)
            case Start() if len(socks) == 2 and self.handler is not None and self.task is None:
                for sock in socks:
                    sock.setblocking(False)
                self.task = self.loop.create_task(self._run(self.handler, *socks))
                socks = []
            case Dialled() if len(socks) == 1 and (future := self.dials.pop(message.number, None)):
                socks[0].setblocking(False)
                if not future.done():
                    future.set_result(socks.pop())
            case Failed() if future := self.dials.pop(message.number, None):
                if not future.done():
                    future.set_exception(DialError((Reason(message.reason), message.detail)))
            case Go() | Stop() if message.number in self.asked:
                hook, told = self.asked.pop(message.number)
                hook.may, hook.ref = isinstance(message, Go), message.ref
                if not told.done():
                    told.set_result(None)
            case _:
                pass
        for sock in socks:
            sock.close()

    def _begin(self, begin: Begin) -> None:
        inspector = self.inspector
        if len(inspector.tunnels) > inspector.max_tunnels:
            self.say(Sorry("the inspectors have no room for another tunnel"))
            self.close()
            return
        case = Case(begin, inspector.usage, inspector.told, self._done)
        try:
            self.handler = Handler(case, inspector.trust, inspector.options, self._tell, self._dial)
        except TrustError as error:
            self.say(Sorry(str(error)))
            self.close()
            return
        self.say(Ready())

    async def _run(self, handler: Handler, client: socket.socket, line: socket.socket) -> None:
        try:
            await handler.run(client, line)
            self.say(Bye())
        finally:
            self.close()

    def _done(self, done: Done) -> None:
        self.say(done)

    async def _tell(self, hook: TellHook) -> None:
        told: asyncio.Future[None] = self.loop.create_future()
        self.asked[hook.ask.number] = (hook, told)
        self.say(hook.ask)
        await told

    async def _dial(self) -> socket.socket:
        self.number += 1
        future = self.dials[self.number] = self.loop.create_future()
        self.say(Dial(self.number))
        sock: socket.socket = await future
        return sock

    def close(self) -> None:
        """The tunnel is over."""
        if self.closed:
            return
        self.closed = True
        self.loop.remove_reader(self.sock.fileno())
        self.sock.close()
        self.inspector.tunnels.discard(self)
        for _, told in self.asked.values():
            told.cancel()
        for dial in self.dials.values():
            dial.cancel()
        if self.task is not None and self.task is not asyncio.current_task():
            self.task.cancel()


def _quiet(_loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """asyncio's own words may quote a payload."""
    error = context.get("exception")
    if error is not None and not isinstance(error, asyncio.CancelledError | ConnectionError | BrokenPipeError):
        frames = []
        trace = error.__traceback__
        while trace is not None:
            frames.append(f"{trace.tb_frame.f_code.co_filename.rpartition('/')[2]}:{trace.tb_lineno}")
            trace = trace.tb_next
        say(f"internal error: {type(error).__name__} at {' < '.join(reversed(frames[-4:]))}")


def _hook(kind: type[BaseException], error: BaseException, _trace: Any) -> None:
    say(f"the inspector ends: {kind.__name__}" + (f": {error.strerror}" if isinstance(error, OSError) else ""))


def limited(memory: int) -> None:
    """Bounds what this process may take: anonymous memory in bytes; processor time only after everybody else."""
    resource.setrlimit(resource.RLIMIT_DATA, (memory, memory))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.nice(5)


def main() -> int:
    """Runs until SIGTERM; 1 where its socket cannot be had."""
    parser = argparse.ArgumentParser(prog="gateway.inspection.process")
    parser.add_argument("--socket", required=True, type=Path)
    parser.add_argument("--authorities", required=True, type=Path)
    parser.add_argument("--usage", type=Path)
    parser.add_argument("--worker-uid", type=int, default=os.geteuid())
    parser.add_argument("--max-tunnels", type=int, default=512)
    parser.add_argument("--memory", type=int, default=1 << 30)
    given = parser.parse_args()
    sys.excepthook = _hook
    logging.disable(logging.CRITICAL)
    given.socket.unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
        listener.bind(str(given.socket))
        given.socket.chmod(0o660)
        listener.listen(256)
        listener.setblocking(False)
        limited(given.memory)
        uids = frozenset((given.worker_uid, os.geteuid()))

        async def serve() -> None:
            await Inspector(listener, Trust(given.authorities), Usage(given.usage), given.max_tunnels, uids).run()

        uvloop.run(serve())
    return 0


if __name__ == "__main__":
    sys.exit(main())

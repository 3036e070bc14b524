"""A tiny worker in place of the real one: hello to the hub, acknowledges, answers each TCP client with its process name.

Run by the supervisor like a worker (FEIYU_PROCESS, FEIYU_LISTEN_FDS, FEIYU_CONFIG). SIGTERM: stops accepting, leaves the
hub, ends. STAND_IN names a way to misbehave: silent (no acknowledgements once synced), deaf (no hello), crash (ends at
once), stubborn (ignores SIGTERM).
"""

import json
import os
import select
import signal
import socket
import sys
from pathlib import Path

from gateway.live import ack, hello, parse

NAME = os.environ["FEIYU_PROCESS"]
MODE = os.environ.get("STAND_IN", "")


def listeners() -> list[socket.socket]:
    table = json.loads(os.environ.get("FEIYU_LISTEN_FDS", "{}"))
    return [socket.socket(fileno=fd) for fds in table.values() for fd in fds]


def main() -> int:
    if MODE == "crash":
        print("about to crash", flush=True)
        return 3
    stopping, wake = socket.socketpair()
    wake.setblocking(False)
    signal.set_wakeup_fd(wake.fileno())
    signal.signal(signal.SIGTERM, signal.SIG_IGN if MODE == "stubborn" else lambda *_: None)
    print("started", flush=True)
    print("to stderr\x1b[31m", file=sys.stderr, flush=True)
    hub = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    settings = json.loads(Path(os.environ["FEIYU_CONFIG"]).read_text())
    hub.connect(f"{settings['run_dir']}/live.sock")
    if MODE != "deaf":
        hub.send(hello(NAME, os.environ.get("STAND_IN_ROLE", "worker")))
    accepting: list[socket.socket] = []
    seen = 0
    while True:
        ready, _, _ = select.select([stopping, hub, *accepting], [], [])
        if stopping in ready or (hub in ready and not serve_hub(hub, seen)):
            return 0
        if hub in ready:
            seen += 1
            accepting = accepting or listeners()
        for listening in accepting:
            if listening in ready:
                answer(listening)


def serve_hub(hub: socket.socket, seen: int) -> bool:
    packet = hub.recv(65_536)
    if packet and not (MODE == "silent" and seen):
        hub.send(ack(parse(packet).seq))
    return bool(packet)


def answer(listening: socket.socket) -> None:
    try:
        client, _ = listening.accept()
    except BlockingIOError:  # the other generation was faster
        return
    with client:
        client.sendall(NAME.encode())


if __name__ == "__main__":
    sys.exit(main())

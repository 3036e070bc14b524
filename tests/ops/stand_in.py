"""A tiny process in place of a real one: hello to the hub, acknowledges, answers each TCP client with its process name.

Run by the supervisor like a worker (FEIYU_PROCESS, FEIYU_LISTEN_FDS, FEIYU_CONFIG). SIGTERM: stops accepting, waits
until its clients have left, ends. Ways to misbehave: silent (no acknowledgement once synced), deaf (no hello), crash
(ends at once), stubborn (ignores SIGTERM), quitter (leaves the hub and stays).
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
ROLE = os.environ["STAND_IN_ROLE"]
MODE = json.loads(Path(os.environ["STAND_IN_ROLES"]).read_text()).get(ROLE, "")


def listeners() -> list[socket.socket]:
    table = json.loads(os.environ.get("FEIYU_LISTEN_FDS", "{}"))
    return [socket.socket(fileno=fd) for fds in table.values() for fd in fds]


def main() -> int:
    if MODE == "crash":
        print("about to crash", flush=True)
        return 3
    stopping, wake = socket.socketpair()
    os.set_blocking(wake.fileno(), False)
    signal.set_wakeup_fd(wake.fileno())
    signal.signal(signal.SIGTERM, signal.SIG_IGN if MODE == "stubborn" else lambda *_: None)
    print("started", flush=True)
    print("to stderr\x1b[31m", file=sys.stderr, flush=True)
    if ROLE == "streams":  # it has nothing to do with the hub
        stopping.recv(64)
        return 0
    hub = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    settings = json.loads(Path(os.environ["FEIYU_CONFIG"]).read_text())
    hub.connect(f"{settings['run_dir']}/live.sock")
    if MODE != "deaf":
        hub.send(hello(NAME, ROLE))
    return serve(hub, stopping)


def serve(hub: socket.socket, stopping: socket.socket) -> int:
    accepting: list[socket.socket] = listeners()
    clients: list[socket.socket] = []
    seen, draining = 0, False
    while not (draining and not clients):
        ready, _, _ = select.select([stopping, hub, *accepting, *clients], [], [])
        if stopping in ready:
            stopping.recv(64)
            for listening in accepting:
                listening.close()
            accepting, draining = [], True
            continue
        if hub in ready and not obey(hub, seen):
            return 0
        seen += hub in ready
        if MODE == "quitter" and seen:
            hub.close()
            signal.pause()
        for sock in ready:
            if sock in accepting:
                welcome(sock, clients)
            elif sock in clients and not sock.recv(64):
                clients.remove(sock)
                sock.close()
    return 0


def obey(hub: socket.socket, seen: int) -> bool:
    packet = hub.recv(65_536)
    if packet and not (MODE == "silent" and seen):
        hub.send(ack(parse(packet).seq))
    return bool(packet)


def welcome(listening: socket.socket, clients: list[socket.socket]) -> None:
    try:
        client, _ = listening.accept()
    except BlockingIOError:  # the other generation was faster
        return
    client.sendall(NAME.encode() + b"\n")
    clients.append(client)


if __name__ == "__main__":
    sys.exit(main())

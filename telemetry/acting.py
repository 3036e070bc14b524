"""Orders of rules to live control, one after the other in a thread of their own: the recorder's turns wait for nobody.

An order is tried until the hub has answered or its time is over; what came of it waits to be written down.
"""

import json
import logging
import os
import socket
import threading
import time
from collections import deque
from pathlib import Path
from typing import Any

from telemetry.findings import Order

MAX_WAITING = 1000
_TRIES, _PAUSE, _TIMEOUT = 60, 0.5, 2.5  # a hub that restarts is back within seconds; it answers within one
_PACKET = 1 << 18
log = logging.getLogger("feiyu.recorder")


class Actor:
    """The thread. path: live control's socket. outcomes: words and whether it was done, the oldest first."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._waiting: deque[Order] = deque()
        self._wake = threading.Event()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="acting", daemon=True)
        self.outcomes: deque[tuple[str, bool]] = deque()
        self._sock: socket.socket | None = None

    def start(self) -> None:
        """Begins."""
        self._thread.start()

    def put(self, order: Order) -> None:
        """Takes an order. One too many is dropped, and that is an outcome."""
        if len(self._waiting) >= MAX_WAITING:
            self.outcomes.append((f"not done, {MAX_WAITING} orders wait already: {order.words}", False))
            return
        self._waiting.append(order)
        self._wake.set()

    def stop(self) -> None:
        """Ends after the order under way; those that still wait are outcomes too."""
        self._stopping = True
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join(_TIMEOUT)
        while self._waiting:
            self.outcomes.append((f"not done, the recorder ends: {self._waiting.popleft().words}", False))

    def _run(self) -> None:
        while not self._stopping:
            self._wake.wait()
            self._wake.clear()
            while self._waiting and not self._stopping:
                self.outcomes.append(self._done(self._waiting.popleft()))

    def _done(self, order: Order) -> tuple[str, bool]:
        why = ""
        for _ in range(_TRIES):
            if 0 < order.message.get("until", 0) <= time.time():
                return f"not done, its time is over: {order.words}", False
            try:
                return _said(order, self._send(order.message))
            except (OSError, ValueError) as error:
                why = str(error)
                self._leave()
            if self._stopping:
                break
            time.sleep(_PAUSE)
        log.error("live control was not reached: %s (%s)", order.words, why)
        return f"not done, live control was not reached: {order.words}", False

    def _send(self, message: dict[str, Any]) -> dict[str, Any]:
        sock = self._sock
        if sock is None:
            sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            self._sock = sock
            sock.settimeout(_TIMEOUT)
            sock.connect(str(self._path))
            sock.send(json.dumps({"hello": "recorder", "name": f"recorder-{os.getpid()}"}).encode())
        sock.send(json.dumps(message).encode())
        packet = sock.recv(_PACKET)
        if not packet:
            raise ConnectionError("live control closed the connection")
        answer: dict[str, Any] = json.loads(packet)
        return answer

    def _leave(self) -> None:
        if self._sock is not None:
            self._sock.close()
            self._sock = None


def _said(order: Order, answer: dict[str, Any]) -> tuple[str, bool]:
    if "error" in answer:
        return f"refused by live control ({str(answer['error'])[:200]}): {order.words}", False
    lost = f"; killed for silence: {', '.join(answer['killed'])}" if answer.get("killed") else ""
    return f"{order.words}: in force in {len(answer.get('acked', []))} workers{lost}", True

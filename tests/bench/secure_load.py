"""Loads a CONNECT proxy that is reached over mutual TLS: python -m tests.bench.secure_load MODE PROXY PORT HOST PORT …

MODE full: open a tunnel with a full handshake, ask 512 bytes, close; again. resumed: the same, each handshake after a
process's first taking up the session of the one before. down, up: keep the tunnels, move 64 MiB a turn. idle: each
process opens so many tunnels as --hold says and keeps them. Prints one line
of figures as the C load generator (tunnels.c) does. So many processes, each one tunnel at a time, on the caller's core.
"""

import argparse
import json
import os
import socket
import ssl
import struct
import sys
import time
from pathlib import Path
from typing import Any

SMALL, BULK = 512, 64 << 20
BLOCK = 256 * 1024


class Client:
    """One process's."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.context = ssl.create_default_context(cafile=options.ca)
        self.context.load_cert_chain(options.certificate)
        self.first = options.hello.read_bytes()
        self.connect = (
            f"CONNECT {options.host}:{options.target} HTTP/1.1\r\nHost: {options.host}:{options.target}\r\n\r\n"
        )
        self.session: ssl.SSLSession | None = None
        self.block = bytearray(BLOCK)
        self.full = 0

    def open(self) -> ssl.SSLSocket:
        """A tunnel."""
        plain = socket.create_connection((self.options.proxy, self.options.port), 10, (self.options.source, 0))
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        session = self.session if self.options.mode == "resumed" else None
        tls = self.context.wrap_socket(plain, server_hostname=self.options.proxy, session=session)
        self.full += not tls.session_reused
        tls.sendall(self.connect.encode())
        head = b""
        while b"\r\n\r\n" not in head:
            data = tls.recv(4096)
            if not data:
                raise OSError(f"ended in the head: {head!r}")
            head += data
        if b" 200" not in head.split(b"\r\n", 1)[0]:
            raise OSError(f"refused: {head!r}")
        return tls

    def ask(self, tls: ssl.SSLSocket, octets: int, first: bytes) -> None:
        """Octets back, or there and one back."""
        up = self.options.mode == "up"
        tls.sendall(first + b"CMD1" + (b"U" if up else b"R") + b"\0\0\0" + struct.pack("=Q", octets))
        left = octets
        while up and left:
            left -= tls.send(memoryview(self.block)[: min(left, BLOCK)])
        left = 1 if up else octets
        while left:
            count = tls.recv_into(self.block, min(left, BLOCK))
            if not count:
                raise OSError("ended in the body")
            left -= count

    def run(self, until: float) -> dict[str, Any]:
        """Turns until then."""
        done = failed = moved = 0
        took: list[float] = []
        bulk = self.options.mode in ("up", "down")
        held = []
        while self.options.mode == "idle" and len(held) < self.options.hold:
            held.append(self.open())
            held[-1].sendall(self.first)
        if held:
            time.sleep(max(0.0, until - time.monotonic()))
            done = len(held)
        tls: ssl.SSLSocket | None = None
        while time.monotonic() < until:
            start = time.monotonic()
            try:
                first = b"" if tls else self.first
                tls = tls or self.open()
                self.ask(tls, BULK if bulk else SMALL, first)
                self.session = tls.session
                if not bulk:
                    tls.close()
                    tls = None
            except OSError as error:
                failed += 1
                if failed == 1:
                    print(error, file=sys.stderr)
                tls = None
                time.sleep(0.01)
                continue
            took.append(time.monotonic() - start)
            done += 1
            moved += BULK if bulk else SMALL
        return {"done": done, "failed": failed, "moved": moved, "took": took, "full": self.full}


def main() -> int:
    """Exit status 0."""
    parser = argparse.ArgumentParser()
    for name in ("mode", "proxy", "port", "host", "target"):
        parser.add_argument(name)
    for name in ("--certificate", "--ca", "--source"):
        parser.add_argument(name, required=True)
    parser.add_argument("--hello", type=Path, required=True)
    parser.add_argument("-c", dest="processes", type=int, default=8)
    parser.add_argument("-s", dest="seconds", type=float, default=4)
    parser.add_argument("--hold", type=int, default=125)
    options = parser.parse_args()
    start = time.monotonic()
    until = start + options.seconds
    readers = []
    for _ in range(options.processes):
        reader, writer = os.pipe()
        if os.fork() == 0:
            os.close(reader)
            found = Client(options).run(until)
            with os.fdopen(writer, "w") as out:
                json.dump(found, out)
            os._exit(0)
        os.close(writer)
        readers.append(reader)
    total: dict[str, Any] = {"done": 0, "failed": 0, "moved": 0, "took": [], "full": 0}
    for reader in readers:
        with os.fdopen(reader) as lines:
            for key, value in json.load(lines).items():
                total[key] += value
    passed = time.monotonic() - start
    took = sorted(total["took"]) or [0.0]
    print(
        f"{options.mode} secs={passed:.3f} done={total['done']} failed={total['failed']} full={total['full']} "
        f"MB_s={total['moved'] / 1e6 / passed:.3f} p50_us={took[len(took) // 2] * 1e6:.0f} "
        f"p99_us={took[len(took) * 99 // 100] * 1e6:.0f}"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())

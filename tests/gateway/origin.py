"""A service abroad over TLS: HTTP/1.1, HTTP/2 and WebSocket, that says what it was asked, and keeps it for the test."""

import base64
import contextlib
import hashlib
import json
import socket
import ssl
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import h2.config
import h2.connection
import h2.events

BLOCK = b"0123456789abcdef" * 1024


@dataclass
class Asked:
    """One request as it arrived. body: its bytes in all."""

    method: str
    path: str
    fields: dict[str, str]
    body: int = 0
    version: str = "1.1"


@dataclass
class Origin:
    """Serves a listening socket with a certificate until closed. asked: what arrived, in order of its end."""

    listener: socket.socket
    certificate: Path
    protocols: tuple[str, ...] = ("h2", "http/1.1")
    asked: list[Asked] = field(default_factory=list)
    connections: int = 0

    def __post_init__(self) -> None:
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(self.certificate)
        self.context.set_alpn_protocols(list(self.protocols))
        self._held: list[socket.socket] = []
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            # A thread that waits for ever would keep the listener's address taken when others have closed it.
            self.listener.settimeout(0.3)
            while True:
                try:
                    sock, _ = self.listener.accept()
                except TimeoutError:
                    continue
                sock.settimeout(None)
                self._held.append(sock)
                threading.Thread(target=self._talk, args=(sock,), daemon=True).start()

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        for sock in self._held:
            with contextlib.suppress(OSError):
                sock.close()

    def _talk(self, sock: socket.socket) -> None:
        self.connections += 1
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with contextlib.suppress(OSError, ValueError), self.context.wrap_socket(sock, server_side=True) as tls:
            if tls.selected_alpn_protocol() == "h2":
                self._http2(tls)
            else:
                self._http1(tls)

    def _http1(self, tls: ssl.SSLSocket) -> None:
        file = tls.makefile("rb")
        while line := file.readline().decode("latin-1").rstrip("\r\n"):
            method, path, _ = line.split(" ")
            fields = {}
            while text := file.readline().decode("latin-1").rstrip("\r\n"):
                name, _, value = text.partition(":")
                fields[name.lower()] = value.strip()
            if fields.get("upgrade", "").lower() == "websocket":
                self.asked.append(Asked(method, path, fields))
                self._websocket(tls, file, fields)
                return
            asked = Asked(method, path, fields, sum(map(len, _body(file, fields))))
            self.asked.append(asked)
            status, kind, pieces, size = answer(asked)
            framing = f"Content-Length: {size}" if size >= 0 else "Transfer-Encoding: chunked"
            extra = 'Alt-Svc: h3=":443"\r\n'
            tls.sendall(f"HTTP/1.1 {status} Fine\r\nContent-Type: {kind}\r\n{extra}{framing}\r\n\r\n".encode())
            if method != "HEAD":
                for piece in pieces:
                    tls.sendall(piece if size >= 0 else b"%x\r\n%b\r\n" % (len(piece), piece))
                if size < 0:
                    tls.sendall(b"0\r\n\r\n")

    def _websocket(self, tls: ssl.SSLSocket, file: Any, fields: dict[str, str]) -> None:
        key = fields["sec-websocket-key"].encode() + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
        accept = base64.b64encode(hashlib.sha1(key).digest()).decode()
        if fields.get("x-wrong"):
            accept = "wrong"
        tls.sendall(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: " + accept.encode() + b"\r\n\r\n"
        )
        while data := file.read1(65_536):  # frames go back as they come: the test looks only at bytes
            tls.sendall(data)

    def _http2(self, tls: ssl.SSLSocket) -> None:
        conn = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False, header_encoding="utf-8"))
        conn.initiate_connection()
        conn.increment_flow_control_window(1 << 24)
        tls.sendall(conn.data_to_send())
        under_way: dict[int, Asked] = {}
        sending: dict[int, Iterator[bytes]] = {}
        rest: dict[int, bytes] = {}
        trailers: dict[int, bool] = {}
        while data := tls.recv(65_536):
            for event in conn.receive_data(data):
                match event:
                    case h2.events.RequestReceived():
                        found = dict(event.headers)
                        under_way[event.stream_id] = Asked(
                            found[":method"], found[":path"], {k: v for k, v in found.items() if k[0] != ":"}, 0, "2"
                        )
                    case h2.events.DataReceived():
                        under_way[event.stream_id].body += len(event.data)
                        conn.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                    case h2.events.StreamEnded():
                        asked = under_way.pop(event.stream_id)
                        self.asked.append(asked)
                        status, kind, pieces, size = answer(asked)
                        trailers[event.stream_id] = kind.startswith("application/grpc")
                        head = [(":status", str(status)), ("content-type", kind), ("alt-svc", 'h3=":443"')]
                        if size >= 0:
                            head.append(("content-length", str(size)))
                        conn.send_headers(event.stream_id, head)
                        sending[event.stream_id] = iter(()) if asked.method == "HEAD" else pieces
                    case h2.events.StreamReset():
                        sending.pop(event.stream_id, None)
            for stream in list(sending):
                self._send_some(conn, tls, stream, sending, rest, trailers=trailers[stream])
            tls.sendall(conn.data_to_send())

    @staticmethod
    def _send_some(
        conn: h2.connection.H2Connection, tls: ssl.SSLSocket, stream: int, sending: dict[int, Iterator[bytes]],
        rest: dict[int, bytes], *, trailers: bool,
    ) -> None:  # fmt: skip
        while True:
            piece = rest.pop(stream, b"") or next(sending[stream], b"")
            if not piece:
                if trailers:
                    conn.send_headers(stream, [("grpc-status", "0")], end_stream=True)
                else:
                    conn.end_stream(stream)
                del sending[stream]
                return
            room = min(conn.local_flow_control_window(stream), conn.max_outbound_frame_size)
            if room <= 0:
                rest[stream] = piece
                return
            conn.send_data(stream, piece[:room])
            rest[stream] = piece[room:]
            if not rest[stream]:
                del rest[stream]
            tls.sendall(conn.data_to_send())


def _body(file: Any, fields: dict[str, str]) -> Iterator[bytes]:
    if fields.get("transfer-encoding"):
        while size := int(file.readline().split(b";")[0], 16):
            yield file.read(size)
            file.readline()
        file.readline()
    else:
        left = int(fields.get("content-length", 0))
        while left and (data := file.read(min(left, 1 << 16))):
            left -= len(data)
            yield data


def answer(asked: Asked) -> tuple[int, str, Iterator[bytes], int]:
    """Status, content type, pieces of the body, and its size (-1: chunked)."""
    url = urlsplit(asked.path)
    query = {name: values[0] for name, values in parse_qs(url.query).items()}
    kind = query.get("type", "application/json")
    if asked.fields.get("content-type", "").startswith("application/grpc"):
        return 200, "application/grpc", iter([b"\0\0\0\0\0"]), 5
    if size := int(query.get("size", 0)):
        blocks = [BLOCK] * (size // len(BLOCK)) + [BLOCK[: size % len(BLOCK)]]
        return 200, kind, (piece for piece in blocks if piece), -1 if query.get("chunked") else size
    said = {"method": asked.method, "path": asked.path, "body": asked.body, "version": asked.version}
    text = json.dumps(said).encode()
    return int(query.get("status", 200)), kind, iter([text]), len(text)

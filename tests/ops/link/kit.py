"""A gateway that the test plays itself: a TLS server below a zone's CA, on loopback, which keeps what it is told."""

import contextlib
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec

from ops.link.files import Files, Settings
from tenants import ca

ADDRESS = "127.0.0.1"


def free() -> str:
    """An address and a port that nobody has now."""
    with socket.create_server((ADDRESS, 0)) as found:
        return f"{ADDRESS}:{found.getsockname()[1]}"


class Zone:
    """A CA, and what it issued."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.now = int(time.time())
        self.root = ca.new_root("zone.example", self.now)
        self.issuing = ca.new_issuing(self.root, self.now)
        self.pin = ca.fingerprint(self.root.certificate)

    def client(self, *, credential: str = "c-0000000001", begun: int = 0, life: int = 3600) -> bytes:
        """Key and certificate of a machine, in PEM. begun: seconds ago."""
        key = ec.generate_private_key(ec.SECP256R1())
        made = ca.issue_client(self.issuing, key.public_key(), "acme", credential, self.now - begun, life)
        return ca.key_pem(key) + ca.pem(made)

    def server(self, *names: str, root: bool = True) -> Path:
        """A gateway's chain and key in one file."""
        key = ec.generate_private_key(ec.SECP256R1())
        made = ca.issue_server(self.issuing, key.public_key(), names or (ADDRESS,), self.now)
        chain = (made, self.issuing.certificate, *((self.root.certificate,) if root else ()))
        path = self.directory / f"server-{made.serial_number:x}.pem"
        path.write_bytes(ca.key_pem(key) + ca.pem(*chain))
        return path

    def enrolled(self, *gateways: str, **more: object) -> tuple[Files, Settings]:
        """A machine's directory as enrolment leaves it."""
        files = Files(self.directory / "machine")
        settings = Settings(gateways, self.pin, **more)  # type: ignore[arg-type]
        files.write(files.root, ca.pem(self.root.certificate))
        files.write(files.identity, self.client())
        files.keep_settings(settings)
        return files, settings


class Gateway:
    """Serves connections one thread each. heard: all plaintext that came; shaken: handshakes that were over."""

    def __init__(
        self, zone: Zone, talk: Callable[[ssl.SSLSocket, "Gateway"], None], *, server: Path | None = None,
        demands: bool = True, port: int = 0,
    ) -> None:  # fmt: skip
        self.heard = b""
        self.shaken = 0
        self._talk = talk
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(server or zone.server())
        self._context.set_alpn_protocols(["feiyu-enrol", "http/1.1"])
        anchors = zone.directory / "clients.pem"
        anchors.write_bytes(ca.pem(zone.issuing.certificate, zone.root.certificate))
        self._context.load_verify_locations(anchors)
        self._context.verify_mode = ssl.CERT_REQUIRED if demands else ssl.CERT_OPTIONAL
        self._listening = socket.create_server((ADDRESS, port))
        self.name = f"{ADDRESS}:{self._listening.getsockname()[1]}"
        self._open: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def close(self) -> None:
        """Nothing listens there any more, and what was open is reset."""
        with contextlib.suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        for one in self._open:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()
        for thread in self._threads:
            thread.join(5)

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listening.accept()
                thread = threading.Thread(target=self._serve, args=(connection,), daemon=True)
                self._threads.append(thread)
                thread.start()

    def _serve(self, connection: socket.socket) -> None:
        connection.settimeout(20)
        with contextlib.suppress(OSError, ValueError):
            tls = self._context.wrap_socket(connection, server_side=True)
            self.shaken += 1
            self._open.append(tls)
            with tls:
                self._talk(tls, self)


def read_head(tls: ssl.SSLSocket, gateway: Gateway) -> bytes:
    """Up to the end of a request's head and body; kept in gateway.heard."""
    heard = b""
    while b"\r\n\r\n" not in heard or len(heard.partition(b"\r\n\r\n")[2]) < _length(heard):
        piece = tls.recv(65_536)
        gateway.heard += piece
        heard += piece
        if not piece:
            break
    return heard


def _length(head: bytes) -> int:
    found = head.lower().partition(b"content-length: ")[2].partition(b"\r")[0]
    return int(found) if found else 0


@contextlib.contextmanager
def serving(*gateways: Gateway) -> Iterator[None]:
    """Closes them whatever happens."""
    try:
        yield
    finally:
        for one in gateways:
            one.close()

"""A node whose listener speaks TLS, its zone's certificates, and clients that have some."""

import contextlib
import ssl
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from tenants import ca
from tenants.model import Credential
from tests.gateway.kit import GATEWAY, PATIENCE, Ground, Talk
from tests.gateway.node import FOREVER, Node, Worker

ZONE, SERVER = "zone.example", "gw1.zone.example"


def new_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


@dataclass
class Pki:
    """A zone's CA, and what a listener needs of it as files in a directory."""

    directory: Path
    now: int

    def __post_init__(self) -> None:
        self.directory.mkdir(parents=True, exist_ok=True)
        self.root = ca.new_root(ZONE, self.now)
        self.issuing = ca.new_issuing(self.root, self.now)
        self.certificate, self.key = self.directory / "server.crt", self.directory / "server.key"
        self.client_ca, self.trusted = self.directory / "clients.pem", self.directory / "root.pem"
        self.client_ca.write_bytes(ca.pem(self.issuing.certificate))
        self.trusted.write_bytes(ca.pem(self.root.certificate))
        self.serve()

    def serve(self) -> x509.Certificate:
        """Puts a new certificate of the listener into its files, key first."""
        key = new_key()
        made = ca.issue_server(self.issuing, key.public_key(), [SERVER, GATEWAY], self.now)
        self.key.write_bytes(ca.key_pem(key))
        self.certificate.write_bytes(ca.pem(made, self.issuing.certificate))
        return made

    def client(self, firm: str = "acme", number: int = 7, **given: Any) -> "ClientFile":
        """A certificate of a firm's credential. given: issuer, now, life, key, or certificate to use as it is."""
        key = given.get("key") or new_key()
        name = f"c-{firm:0<9}{number}"
        issuer = given.get("issuer", self.issuing)
        made = given.get("certificate") or ca.issue_client(
            issuer, key.public_key(), firm, name, given.get("now", self.now), given.get("life", 3600)
        )
        path = self.directory / f"{firm}-{number}-{made.serial_number:x}.pem"
        path.write_bytes(ca.pem(made, issuer.certificate) + ca.key_pem(key))
        return ClientFile(path, self.trusted, made, firm, name)


@dataclass
class ClientFile:
    """A client's certificate with its chain and key in one file, and the root it trusts."""

    path: Path
    trusted: Path
    certificate: x509.Certificate
    firm: str
    name: str

    def credential(self, **changes: Any) -> Credential:
        """What the register holds of it."""
        fields = {
            "id": self.name, "tenant": self.firm, "certificate_sha256": ca.fingerprint(self.certificate),
            "serial": f"{self.certificate.serial_number:x}", "valid_until": FOREVER,
        }  # fmt: skip
        return Credential(**fields | changes)

    def context(self, version: ssl.TLSVersion | None = None, *, shown: bool = True) -> ssl.SSLContext:
        """A client's context; shown: it has its certificate."""
        context = ssl.create_default_context(cafile=str(self.trusted))
        if version is not None:
            context.minimum_version = context.maximum_version = version
        if shown:
            context.load_cert_chain(self.path)
        return context


class SecureNode(Node):
    """A node with a listener over TLS that demands certificates (or what demand says), and a plain one."""

    listener = "secure"

    def __init__(self, ground: Ground, directory: Path, *, demand: tuple[str, ...] = ("certificate",), **more: Any):
        self.pki = Pki(directory / "pki", int(time.time()))
        tls = {"certificate": str(self.pki.certificate), "key": str(self.pki.key)}
        if "certificate" in demand:
            tls["client_ca"] = str(self.pki.client_ca)
        listener = {"kind": "http", "demands": [*demand, "prefix"], "tls": tls}
        super().__init__(ground, directory, listeners={"secure": listener}, **more)

    def known(self, firm: str = "acme", number: int = 7, **changes: Any) -> ClientFile:
        """A client whose certificate is in the policy in force."""
        client = self.pki.client(firm, number)
        self.put(credentials=client.credential(**changes))
        return client

    def secure(
        self, worker: Worker, client: ClientFile, *, firm: str = "", context: ssl.SSLContext | None = None,
        session: ssl.SSLSession | None = None, receive_buffer: int = 0,
    ) -> Talk:  # fmt: skip
        """A client's connection after its TLS handshake."""
        talk = self.ground.dial(worker.port, firm or client.firm, receive_buffer)
        context = context or client.context()
        talk.sock = context.wrap_socket(talk.sock, server_hostname=SERVER, session=session)
        return talk


def ask(authority: str, fields: str = "") -> str:
    """A CONNECT."""
    return f"CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n{fields}\r\n"


def goodbye(talk: Talk) -> None:
    """Sends close_notify, the end of the client's direction, without waiting for the gateway's."""
    talk.sock.settimeout(0)
    with contextlib.suppress(ssl.SSLWantReadError):
        talk.sock.unwrap()  # type: ignore[attr-defined]  # it is an SSLSocket
    talk.sock.settimeout(PATIENCE)


def ended(talk: Talk) -> bool:
    """Whether the connection ends, in whatever way, after whatever came before."""
    try:
        while talk.more():
            pass
    except TimeoutError:
        return False
    except OSError:
        pass
    return True

"""A node with an inspector, a firm that has consented, and services abroad over TLS for it."""

import contextlib
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID

from tenants import ca, inspection_ca
from tenants.model import Consent
from tests.gateway.kit import GATEWAY, PATIENCE, Ground, Site, until
from tests.gateway.node import CODE, FOREVER, Node, Worker, authorization, grant, tenant
from tests.gateway.origin import Origin
from whitelist.inspection import Inspect, Rule

CONSENT = Consent(document_sha256="ab" * 32, signatory="Legal representative", date=0, until=FOREVER)
READ = Rule(id="read", paths=("/open/*", "/repos/{owner}/{repo}"))
WRITE = Rule(
    id="write", methods=("POST", "PUT"), paths=("/in/*",), upload_types=("application/json", "text/*"),
    upload_bytes=1_000_000,
)  # fmt: skip
LARGE = Rule(id="large", methods=("GET", "POST"), paths=("/large/*",))
PICTURES = Rule(id="pictures", paths=("/pictures/*",), download_types=("image/*",), download_bytes=100_000)
SOCKETS = Rule(id="sockets", paths=("/socket",), websocket=True)
CALLS = Rule(id="calls", methods=("POST",), paths=("/calls.Service/{method}",), grpc=True)
RULES = (READ, WRITE, LARGE, PICTURES, SOCKETS, CALLS)


class Abroad:
    """Services' certificates, under an authority of their own."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.root = ca.new_root("services.example", int(time.time()))
        self.pem = ca.pem(self.root.certificate).decode()

    def certificate(self, host: str, *, life: int = 86_400, age: int = 0, own: bool = False) -> Path:
        """A file with a certificate for the host and its key; own: signed by itself."""
        key = ec.generate_private_key(ec.SECP256R1())
        issuer = ca.Authority(self.root.certificate, key) if own else self.root
        name = x509.DNSName(host)
        made = ca.issue_under(
            issuer, key.public_key(), "Service", int(time.time()) - age, life, [name], ExtendedKeyUsageOID.SERVER_AUTH
        )
        path = self.directory / f"{host}-{made.serial_number:x}.pem"
        path.write_bytes(ca.pem(made) + ca.key_pem(key))
        return path


class InspectedNode(Node):
    """Grants of acme for service "tls" are inspected, unless a test puts others."""

    def __init__(self, ground: Ground, directory: Path, **settings: Any) -> None:
        super().__init__(ground, directory, inspectors=1, **settings)
        self.abroad = Abroad(directory)
        self.authorities = self.state / "inspection"
        self.authorities.mkdir()
        self.root = inspection_ca.new_root("acme", int(time.time()))
        self.trusted = directory / "acme-root.pem"
        self.trusted.write_bytes(ca.pem(self.root.certificate))
        self.issue("*.tls.example")
        self.origins: list[Origin] = []
        self.inspector: subprocess.Popen[bytes] | None = None
        self.said = directory / "inspector.log"

    def issue(self, *hosts: str) -> None:
        """An intermediate of acme for these hosts."""
        made = inspection_ca.new_intermediate(self.root, hosts, int(time.time()))
        (self.authorities / "acme.pem").write_bytes(inspection_ca.bundle(made))

    def inspect(self, *rules: Rule, **more: Any) -> None:
        """Puts the grant and the consent into the policy."""
        found = Inspect(rules=rules or RULES, roots=self.abroad.pem, **more)
        self.put(grants=[grant("acme", "tls", inspect=found)], tenants=[tenant("acme", 1, consent=CONSENT)])

    def start_inspector(self, *more: str) -> subprocess.Popen[bytes]:
        """Starts it and waits for its socket."""
        path = self.run / "inspector0.sock"
        path.unlink(missing_ok=True)
        with self.said.open("ab") as log:
            self.inspector = subprocess.Popen(
                [sys.executable, "-m", "gateway.inspection.process", "--socket", str(path), "--authorities",
                 str(self.authorities), "--usage", str(self.state / "inspection-usage.json"), *more],
                cwd=CODE, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
        until(path.exists, "the inspector's socket")
        return self.inspector

    def close_origins(self) -> None:
        """Ends the services abroad that there are by now."""
        for origin in self.origins:
            origin.close()
        self.origins.clear()

    def __exit__(self, kind: object, *rest: object) -> None:
        self.close_origins()
        if self.inspector is not None and self.inspector.poll() is None:
            self.inspector.terminate()
            self.inspector.wait(PATIENCE)
        super().__exit__(kind, *rest)

    def service(self, protocols: tuple[str, ...] = ("h2", "http/1.1"), **certificate: Any) -> tuple[Site, Origin]:
        """A service abroad that serves TLS; certificate: what is unusual about its certificate."""
        site = self.ground.site("tls")
        name = certificate.pop("name", site.host)
        origin = Origin(site.listener, self.abroad.certificate(name, **certificate), protocols)
        self.origins.append(origin)
        return site, origin

    def curl(self, worker: Worker, url: str, *arguments: str, firm: str = "acme", port: int = 0) -> "Curled":
        """Runs curl as a program of the firm."""
        authorized = f"Proxy-Authorization: {authorization(firm)}"
        source = {"acme": "10.0.0.2", "birch": "10.0.0.18"}[firm]
        with self.ground.client.inside():
            done = subprocess.run(
                ["curl", "-sS", "--max-time", "20", "--proxy", f"http://{GATEWAY}:{port or worker.port}",
                 "--proxy-header", authorized, "--interface", source, "--cacert", str(self.trusted), "-D", "-",
                 "--suppress-connect-headers", *arguments, url],
                capture_output=True, timeout=PATIENCE * 4,
            )  # fmt: skip
        return Curled(done)


class Curled:
    """What curl said. status: of the last answer, 0 for none."""

    def __init__(self, done: "subprocess.CompletedProcess[bytes]") -> None:
        self.exit, self.error = done.returncode, done.stderr.decode()
        text = done.stdout
        self.heads = []
        while text.startswith(b"HTTP/"):
            head, _, text = text.partition(b"\r\n\r\n")
            self.heads.append(head.decode("latin-1"))
        self.body = text
        self.status = int(self.heads[-1].split(" ")[1]) if self.heads else 0
        self.version = self.heads[-1].split(" ")[0] if self.heads else ""

    def reason(self) -> str:
        """Of a refusal, from its problem document."""
        import json

        with contextlib.suppress(ValueError):
            return str(json.loads(self.body).get("reason", ""))
        return ""

    def __repr__(self) -> str:
        return f"exit {self.exit} {self.error} {self.heads} {self.body[:300]!r}"

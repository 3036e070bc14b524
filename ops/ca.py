"""The zone's CA on a node: its files, and what control and `feiyu ca` do with them.

state_dir/ca   root.crt                 whom clients trust; its key is not here
               issuing.crt, .key        the CA that signs; the key is control's alone (0600)
               previous.crt, .key       its predecessor, for the revocation list, until the next rotation
               clients.pem              the issuing CAs whose certificates listeners take
               server.crt, .key         a listener's certificate with its chain; workers read the key (0640, group)
"""

import os
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from telemetry.whole import write_whole
from tenants import ca
from tenants.ca import CaError

PRIVATE, GROUP, PUBLIC = 0o600, 0o640, 0o644


@dataclass(frozen=True, slots=True)
class Issued:
    """A client's certificate in PEM, and what the register keeps of it. valid_until: Unix seconds. The issuing CA's is
    not behind it: the listeners have that one, and to parse it would cost them 57 µs of each full handshake."""

    certificate: str
    sha256: str
    serial: str
    valid_until: int


@dataclass(frozen=True, slots=True)
class CaFiles:
    """directory: state_dir/ca; client_life: seconds. Read anew each time, so that a rotation needs no restart."""

    directory: Path
    client_life: int = ca.CLIENT_LIFE

    def issue(self, request: str, tenant: str, credential: str, until: int | None, now: int) -> Issued:
        """A certificate for the public key of a request. until: its end at the latest. Raises CaError."""
        issuer = self._authority("issuing")
        life = self.client_life if until is None else min(self.client_life, until - now)
        made = ca.issue_client(issuer, ca.request_key(request.encode()), tenant, credential, now, life)
        return Issued(
            certificate=ca.pem(made).decode(),
            sha256=ca.fingerprint(made),
            serial=f"{made.serial_number:x}",
            valid_until=int(made.not_valid_after_utc.timestamp()),
        )

    def lists(self, revoked: Sequence[ca.Revoked], number: int, now: int) -> str:
        """The revocation lists of the issuing CA and of its predecessor, in PEM. A serial number is random, so that one
        of another issuer in a list means nothing. Raises CaError."""
        found = [self._authority("issuing")]
        if self._path("previous.key").exists():
            found.append(self._authority("previous"))
        return b"".join(ca.crl(issuer, revoked, number, now) for issuer in found).decode()

    def make(self, root_directory: Path, zone: str, names: Iterable[str], now: int) -> x509.Certificate:
        """A new CA: the root into a directory of its own, all else here. Raises CaError where one is there already,
        OSError."""
        for path in (self._path("issuing.key"), root_directory / "root.key"):
            if path.exists():
                raise CaError(f"{path} is there already: feiyu ca rotate makes a new issuing CA under the same root")
        if root_directory.resolve().is_relative_to(self.directory.resolve().parent):
            raise CaError(f"{root_directory} is on the node: the root's key belongs on a medium that is taken away")
        root = ca.new_root(zone, now)
        root_directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        _write(root_directory / "root.key", ca.key_pem(root.key), PRIVATE)
        _write(root_directory / "root.crt", ca.pem(root.certificate), PUBLIC)
        self.directory.mkdir(mode=0o750, parents=True, exist_ok=True)
        self._write("root.crt", ca.pem(root.certificate), PUBLIC)
        self._take(ca.new_issuing(root, now), [])
        self.serve(names, now)
        return root.certificate

    def rotate(self, root_directory: Path, now: int, *, distrust: bool = False) -> x509.Certificate:
        """A new issuing CA. What the old one signed stays good until its own end, unless it is distrusted. Raises
        CaError, OSError."""
        root = ca.load((root_directory / "root.crt").read_bytes(), (root_directory / "root.key").read_bytes())
        if root.certificate != self.root():
            raise CaError(f"{root_directory} holds the root of another CA than {self._path('root.crt')}")
        trusted = [] if distrust else [one for one in self._trusted() if one.not_valid_after_utc.timestamp() > now]
        for end, mode in (("crt", PUBLIC), ("key", PRIVATE)):
            if distrust:
                self._path(f"previous.{end}").unlink(missing_ok=True)
            else:
                self._write(f"previous.{end}", self._path(f"issuing.{end}").read_bytes(), mode)
        issuing = ca.new_issuing(root, now)
        self._take(issuing, trusted)
        return issuing.certificate

    def serve(self, names: Iterable[str], now: int) -> x509.Certificate:
        """A new certificate for the listeners, with the names given, else with those that it has. Raises CaError,
        OSError."""
        issuer = self._authority("issuing")
        wanted = list(names) or self._served()
        key = ec.generate_private_key(ec.SECP256R1())
        made = ca.issue_server(issuer, key.public_key(), wanted, now)
        # Workers take both once they belong together.
        self._write("server.key", ca.key_pem(key), GROUP)
        # The root goes along: a machine that enrols knows no more than its fingerprint.
        self._write("server.crt", ca.pem(made, issuer.certificate, self.root()), PUBLIC)
        return made

    def root(self) -> x509.Certificate:
        """The root's certificate. Raises CaError."""
        return self._certificates("root.crt")[0]

    def _served(self) -> list[str]:
        names = self._certificates("server.crt")[0].extensions.get_extension_for_class(x509.SubjectAlternativeName)
        hosts = names.value.get_values_for_type(x509.DNSName)
        return [*hosts, *map(str, names.value.get_values_for_type(x509.IPAddress))]

    def _take(self, issuing: ca.Authority, others: list[x509.Certificate]) -> None:
        self._write("clients.pem", ca.pem(issuing.certificate, *others), PUBLIC)
        self._write("issuing.key", ca.key_pem(issuing.key), PRIVATE)
        self._write("issuing.crt", ca.pem(issuing.certificate), PUBLIC)

    def _trusted(self) -> list[x509.Certificate]:
        return self._certificates("clients.pem")

    def _authority(self, name: str) -> ca.Authority:
        try:
            certificate, key = self._path(f"{name}.crt").read_bytes(), self._path(f"{name}.key").read_bytes()
        except FileNotFoundError:
            raise CaError("there is no CA on this node: feiyu ca init makes one") from None
        except OSError as error:
            raise CaError(f"{error.filename}: {error.strerror}") from None
        return ca.load(certificate, key)

    def _certificates(self, name: str) -> list[x509.Certificate]:
        try:
            return x509.load_pem_x509_certificates(self._path(name).read_bytes())
        except FileNotFoundError:
            raise CaError("there is no CA on this node: feiyu ca init makes one") from None
        except (OSError, ValueError) as error:
            raise CaError(f"{self._path(name)} cannot be read: {error}") from None

    def _path(self, name: str) -> Path:
        return self.directory / name

    def _write(self, name: str, content: bytes, mode: int) -> None:
        _write(self._path(name), content, mode)


def zone_of(node: str) -> str:
    """The domain of a node's name: zone.example for gw1.zone.example."""
    _, _, rest = node.partition(".")
    return rest if "." in rest else node


def now() -> int:
    """Unix seconds."""
    return int(time.time())


def _write(path: Path, content: bytes, mode: int) -> None:
    """The file belongs to the directory's owner and group. Raises OSError."""
    status = path.parent.stat()
    write_whole(path, content, mode, (status.st_uid, status.st_gid) if os.geteuid() == 0 else None)

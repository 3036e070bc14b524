"""What the TLS connections of one listener share: the context in force, whose certificates were seen, and how many
handshakes are in progress."""

from pathlib import Path

from cryptography import x509

from gateway.config import Tls
from gateway.say import say
from gateway.tls.channel import Channel, certificate_digest
from gateway.tls.context import TlsContext, TlsContextError
from tenants import ca

MAX_KNOWN = 12_288
Stamp = tuple[tuple[int, int, int], ...]


class TlsEntrance:
    """One listener's. Raises TlsContextError where its files cannot be used."""

    def __init__(self, name: str, settings: Tls, demands: tuple[str, ...]) -> None:
        self.name = name
        self._files = (Path(settings.certificate), Path(settings.key))
        self._client_ca = Path(settings.client_ca) if settings.client_ca else None
        self.demands_token = "token" in demands
        self.demands_certificate = "certificate" in demands
        self._stamp = self._look()
        self.context = TlsContext(*self._files, self._client_ca)
        self.in_progress = 0
        self._complaint = ""
        self._known: dict[bytes, tuple[bytes, str]] = {}  # certificate → its digest, the credential that it names

    def refresh(self) -> None:
        """Takes certificates, key and CAs anew where a file has changed; connections that are there keep what they
        have. What cannot be used changes nothing and is said once. Called every second: three stat calls."""
        try:
            stamp = self._look()
            if stamp == self._stamp:
                return
            self.context = TlsContext(*self._files, self._client_ca)
        except TlsContextError as error:
            if str(error) != self._complaint:  # perhaps the certificate is there and its key comes a moment later
                self._complaint = str(error)
                say(f"listener {self.name} goes on with the certificate it has: {error}")
            return
        self._stamp, self._complaint = stamp, ""
        say(f"listener {self.name} has new TLS files in force")

    def who(self, channel: Channel) -> tuple[bytes, str] | None:
        """The digest of the client's certificate and the credential that it names (or ""); None without one."""
        der = channel.peer()
        if der is None:
            return None
        known = self._known.get(der)
        if known is None:
            try:
                named = ca.identity(x509.load_der_x509_certificate(der))
            except ValueError:
                named = None
            known = certificate_digest(der), named[1] if named is not None else ""
            if len(self._known) >= MAX_KNOWN:
                self._known.clear()
            self._known[der] = known
        return known

    def _look(self) -> Stamp:
        found = []
        for path in (*self._files, *((self._client_ca,) if self._client_ca is not None else ())):
            try:
                status = path.stat()
            except OSError as error:
                raise TlsContextError(f"{path}: {error.strerror}") from None
            found.append((status.st_ino, status.st_mtime_ns, status.st_size))
        return tuple(found)

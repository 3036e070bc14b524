"""Whether the TLS listeners' files can be used, by the workers too, and how long their certificates are good."""

import stat
from collections.abc import Iterator
from pathlib import Path

from cryptography import x509

from gateway.config import Tls
from gateway.tls.context import TlsContext, TlsContextError
from ops.doctor.finding import Finding, fail, ok, warn
from ops.settings import Settings

SOON = 14 * 86_400  # seconds before the end from which it is told


def certificates(settings: Settings, now: int) -> Iterator[Finding]:
    """One finding for each TLS listener. now: Unix seconds."""
    for listener in settings.listeners:
        if listener.tls is not None:
            yield _look(f"TLS of {listener.name}", listener.tls, settings.users.group, now)


def _look(name: str, tls: Tls, group: int | None, now: int) -> Finding:
    certificate, key = Path(tls.certificate), Path(tls.key)
    try:
        TlsContext(certificate, key, Path(tls.client_ca) if tls.client_ca else None)
        status = key.stat()
        until = x509.load_pem_x509_certificates(certificate.read_bytes())[0].not_valid_after_utc
    except (TlsContextError, OSError, ValueError) as error:
        return fail(name, str(error), "feiyu ca init makes the files, feiyu ca rotate a new certificate")
    if status.st_mode & stat.S_IROTH:
        return fail(name, f"everybody may read {key}", f"chmod o-r {key}; feiyu ca rotate makes a new key")
    if group is not None and not (status.st_gid == group and status.st_mode & stat.S_IRGRP):
        return fail(name, f"workers cannot read {key}", f"chgrp {group} {key} && chmod 0640 {key}")
    seen = f"good until {until:%Y-%m-%d}"
    left = until.timestamp() - now
    if left <= 0:
        return fail(name, f"expired on {until:%Y-%m-%d}", "feiyu ca rotate makes a new certificate")
    if left < SOON:
        return warn(name, seen, "feiyu ca rotate makes a new certificate")
    return ok(name, seen)

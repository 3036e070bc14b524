"""Who asks, where a listener demands the prefix alone: the address and access interface to the firm whose place that
is."""

from gateway.identity import MAX_KNOWN, Identity, UnidentifiedError
from whitelist.entries import CredentialEntry
from whitelist.reason import Reason
from whitelist.snapshot import Snapshot

# Stands where no credential was shown: it has no name and no end, and nobody can revoke it.
NO_CREDENTIAL = CredentialEntry("", "", "", b"", 1 << 62, 0)


class Residents:
    """Remembers whom it found until the policy's next revision."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, str], Identity] = {}
        self._of: tuple[Snapshot, int] | None = None

    def at(self, snapshot: Snapshot, ip: str, interface: str) -> Identity:
        """The tenant whose place this address (canonical text) is, behind this access interface. Raises
        UnidentifiedError; also where two have it, which only a token can tell apart."""
        if self._of != (snapshot, snapshot.revision):
            self._of = snapshot, snapshot.revision
            self._known.clear()
        identity = self._known.get((ip, interface))
        if identity is None:
            found = snapshot.residents(ip, interface)
            if len(found) > 1:
                raise UnidentifiedError(Reason.IDENTITY_UNKNOWN, "more than one firm has this place")
            tenant = snapshot.tenant(found.pop()) if found else None
            if tenant is None:
                raise UnidentifiedError(Reason.IDENTITY_UNKNOWN, "no firm's place, and no credential")
            if len(self._known) >= MAX_KNOWN:
                self._known.clear()
            identity = self._known[ip, interface] = Identity(NO_CREDENTIAL, tenant)
        return identity

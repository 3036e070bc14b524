"""The published policy, from control's side: written from the register, and asked as the workers would ask it."""

import os
from pathlib import Path

from tenants.change import Applied
from tenants.register import Register
from whitelist.decide import Access, Denial, Permit, decide
from whitelist.document import Document
from whitelist.publisher import Publisher
from whitelist.reason import Reason
from whitelist.target import Target


class Policy:
    """Opened when first needed and, if that fails, the next time again. All but `revision` belong to one thread: the
    mapped policy may be read by the thread that opened it only.

    The methods raise SnapshotError (whitelist.signed), ModelError (whitelist.casbin_model) and OSError."""

    def __init__(self, directory: Path, private_key: bytes) -> None:
        self.directory = directory
        self._private_key = private_key
        self._publisher: Publisher | None = None
        self.revision = 0  # published last; 0: nothing was, or it was not looked at yet

    def open(self) -> Publisher:
        """The publisher."""
        if self._publisher is None:
            self._publisher = Publisher(self.directory, self._private_key)
            self.revision = self._publisher.revision
        return self._publisher

    def was_published(self) -> bool:
        """Whether there ever was a policy, sound or not."""
        return self.open().revision > 0 or self.open().fault is not None

    def size(self) -> int:
        """Bytes of the published files."""
        try:
            return sum(entry.stat().st_size for entry in os.scandir(self.directory))
        except OSError:
            return 0

    def publish(self, applied: Applied) -> None:
        """Puts the next revision into force."""
        publisher = self.open()
        publisher.publish(applied.changed, applied.revision)
        self.revision = publisher.revision

    def publish_all(self, register: Register) -> None:
        """Puts the whole register into force, as it is now."""
        collections, revision = register.everything()
        publisher = self.open()
        publisher.publish_all(Document(**collections), revision)
        self.revision = publisher.revision

    def decide(
        self, tenant: str, source: str, interface: str | None, target: Target, access: Access, at: int
    ) -> Permit | Denial:
        """The verdict of the policy in force on a request at Unix second `at`."""
        snapshot = self.open().snapshot
        if snapshot is None:
            return Denial(Reason.POLICY_UNAVAILABLE, 0, tenant, detail="no valid policy is published")
        entry = snapshot.tenant(tenant)
        if entry is None:
            detail = "the published policy does not know the tenant yet"
            return Denial(Reason.POLICY_UNAVAILABLE, snapshot.revision, tenant, detail=detail)
        return decide(snapshot, entry, source, interface, target, access, at)

    def close(self) -> None:
        """Gives the directory back."""
        if self._publisher is not None:
            self._publisher.close()
            self._publisher = None

"""Who asks: a credential's id and token to the tenant and user behind it, cached per policy revision."""

import hashlib
import hmac
from dataclasses import dataclass

from tenants.credential import parse_basic
from whitelist.entries import CredentialEntry, TenantEntry
from whitelist.reason import Reason
from whitelist.snapshot import Snapshot

MAX_KNOWN = 12_288


class UnidentifiedError(Exception):
    """identity-unknown, identity-revoked or malformed-request; credential is set once the id is one of ours."""

    def __init__(self, reason: Reason, detail: str, credential: CredentialEntry | None = None) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail
        self.credential = credential


@dataclass(frozen=True, slots=True)
class Identity:
    """A credential that showed its token, and its tenant."""

    credential: CredentialEntry
    tenant: TenantEntry


class Identifier:
    """Looks credentials up in the snapshot. What was verified once is remembered by the whole header value until
    the next revision; expiry is looked at every time."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot
        self._known: dict[bytes, Identity] = {}

    def forget(self) -> None:
        """The policy changed."""
        self._known.clear()

    def identify(self, authorization: bytes | None, now: float) -> Identity:
        """The identity behind a Proxy-Authorization value. Raises UnidentifiedError."""
        if authorization is None:
            raise UnidentifiedError(Reason.IDENTITY_UNKNOWN, "no credential")
        identity = self._known.get(authorization)
        if identity is None:
            identity = self._verify(authorization)
            if len(self._known) >= MAX_KNOWN:
                self._known.clear()
            self._known[authorization] = identity
        if now >= identity.credential.valid_until:
            raise UnidentifiedError(Reason.IDENTITY_REVOKED, "credential expired", identity.credential)
        return identity

    def _verify(self, authorization: bytes) -> Identity:
        claim = parse_basic(authorization)
        if claim is None:
            raise UnidentifiedError(Reason.IDENTITY_UNKNOWN, "not a Basic credential of the form that was issued")
        credential = self._snapshot.credential(claim[0])
        digest = hashlib.sha256(claim[1].encode("ascii")).digest()
        # One comparison whether the id is known or not.
        right = hmac.compare_digest(digest, credential.token_sha256 if credential is not None else bytes(32))
        if credential is None or not right:
            raise UnidentifiedError(Reason.IDENTITY_UNKNOWN, "no such credential or wrong token")
        if credential.revoked:
            raise UnidentifiedError(Reason.IDENTITY_REVOKED, "credential revoked", credential)
        tenant = self._snapshot.tenant(credential.tenant)
        if tenant is None:
            raise UnidentifiedError(Reason.IDENTITY_UNKNOWN, "credential without a tenant", credential)
        return Identity(credential, tenant)

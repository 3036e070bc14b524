"""Who asks: a credential's id and token, or a place alone, to the tenant and user behind it; cached per policy
revision."""

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
    """A credential that showed its token, or None where the place alone counts, and the tenant."""

    credential: CredentialEntry | None
    tenant: TenantEntry


class Identifier:
    """Looks credentials up in the snapshot. What was verified once is remembered by the whole header value until
    the next revision; expiry is looked at every time."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot
        self._known: dict[bytes, Identity] = {}
        self._residents: dict[tuple[str, str], Identity] = {}

    def forget(self) -> None:
        """The policy changed."""
        self._known.clear()
        self._residents.clear()

    def at(self, ip: str, interface: str) -> Identity:
        """The tenant whose place this address (canonical text) is, behind this access interface. Raises
        UnidentifiedError; also where two have it, which only a token can tell apart."""
        identity = self._residents.get((ip, interface))
        if identity is None:
            found = self._snapshot.residents(ip, interface)
            if len(found) > 1:
                raise UnidentifiedError(Reason.IDENTITY_UNKNOWN, "more than one firm has this place")
            tenant = self._snapshot.tenant(found.pop()) if found else None
            if tenant is None:
                raise UnidentifiedError(Reason.IDENTITY_UNKNOWN, "no firm's place, and no credential")
            if len(self._residents) >= MAX_KNOWN:
                self._residents.clear()
            identity = self._residents[ip, interface] = Identity(None, tenant)
        return identity

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
        credential = identity.credential
        if credential is not None and now >= credential.valid_until:
            raise UnidentifiedError(Reason.IDENTITY_REVOKED, "credential expired", credential)
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

"""Who asks: a credential's id with its token, or a client's certificate, to the tenant and user behind it, cached per
policy revision."""

import hashlib
import hmac
from dataclasses import dataclass

from gateway.handshake.claim import Claim
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
    """A credential that showed its token or certificate, and its tenant."""

    credential: CredentialEntry
    tenant: TenantEntry


class Identifier:
    """Looks credentials up in the snapshot. What was verified once is remembered by the whole header value or claim
    until the next revision; expiry is looked at every time."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot
        self._known: dict[bytes | Claim, Identity] = {}

    def forget(self) -> None:
        """The policy changed."""
        self._known.clear()

    def identify(self, authorization: bytes | Claim | None, now: float) -> Identity:
        """The identity behind a Proxy-Authorization value or a certificate. Raises UnidentifiedError."""
        if authorization is None:
            raise UnidentifiedError(Reason.IDENTITY_UNKNOWN, "no credential")
        identity = self._known.get(authorization)
        if identity is None:
            identity = (
                self._verify(authorization) if isinstance(authorization, bytes) else self._certified(authorization)
            )
            if len(self._known) >= MAX_KNOWN:
                self._known.clear()
            self._known[authorization] = identity
        if now >= identity.credential.valid_until:
            raise UnidentifiedError(Reason.IDENTITY_REVOKED, "credential expired", identity.credential)
        if type(authorization) is Claim and authorization.demands_token:
            self._also(authorization, identity, now)
        return identity

    def _also(self, claim: Claim, identity: Identity, now: float) -> None:
        """The token that a listener demands beside the certificate: of the same firm, and valid still."""
        if claim.authorization is None:
            raise UnidentifiedError(Reason.IDENTITY_UNKNOWN, "no token beside the certificate", identity.credential)
        token = self.identify(claim.authorization, now)
        if token.tenant.id != identity.tenant.id:
            detail = "the token and the certificate belong to different firms"
            raise UnidentifiedError(Reason.IDENTITY_UNKNOWN, detail, identity.credential)

    def _certified(self, claim: Claim) -> Identity:
        """The certificate's chain was verified in the handshake, perhaps in an earlier one (resumption), perhaps of a
        CA that is trusted for others too: what counts is that the register holds this very certificate."""
        credential = self._snapshot.credential(claim.credential) if claim.credential else None
        if credential is None or credential.certificate_sha256 != claim.certificate:
            raise UnidentifiedError(Reason.IDENTITY_UNKNOWN, "no such certificate in the register")
        return self._of(credential)

    def _verify(self, authorization: bytes) -> Identity:
        claim = parse_basic(authorization)
        if claim is None:
            raise UnidentifiedError(Reason.IDENTITY_UNKNOWN, "not a Basic credential of the form that was issued")
        credential = self._snapshot.credential(claim[0])
        digest = hashlib.sha256(claim[1].encode("ascii")).digest()
        # One comparison whether the id is known or not.
        right = hmac.compare_digest(
            digest, (credential.token_sha256 or bytes(32)) if credential is not None else bytes(32)
        )
        if credential is None or not right:
            raise UnidentifiedError(Reason.IDENTITY_UNKNOWN, "no such credential or wrong token")
        return self._of(credential)

    def _of(self, credential: CredentialEntry) -> Identity:
        if credential.revoked:
            raise UnidentifiedError(Reason.IDENTITY_REVOKED, "credential revoked", credential)
        tenant = self._snapshot.tenant(credential.tenant)
        if tenant is None:
            raise UnidentifiedError(Reason.IDENTITY_UNKNOWN, "credential without a tenant", credential)
        return Identity(credential, tenant)

"""Control's side of enrolment: an invite's token to a machine's first certificate, a certificate to its next.

The worker that asks is believed in nothing but the place that it saw. The token is compared here, and a renewal is
signed by the present certificate's key, of which the register holds the digest. An invite is used in the same
transaction that adds the certificate, so that of two who come with it at once one gets in.
"""

import base64
import binascii
import hmac
import time
from collections.abc import Callable
from typing import Any, NoReturn

import msgspec
from aiohttp import web
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from gateway.application import PROOF, Application
from ops.api.authority import Authority
from ops.api.problems import Problem
from ops.ca import CaFiles
from ops.portal.guesses import Guesses
from tenants import ca
from tenants.ca import CaError
from tenants.change import Change, ChangeRefused, UnknownItem
from tenants.credential import ID_LENGTH, TOKEN_LENGTH, digest, fresh_id
from tenants.model import Credential

NOBODY = "0" * 64  # compared with where there is no such invite, so that a wrong id takes as long as a wrong token


class Enrolments:
    """Answers workers' applications."""

    def __init__(self, authority: Authority, files: CaFiles, clock: Callable[[], float] = time.time) -> None:
        self._authority = authority
        self._files = files
        self._clock = clock
        self._guesses = Guesses()

    async def answer(self, request: web.Request) -> web.Response:
        """One application to its certificate. Raises Problem: 403 wrong, 410 over, 422 not understood, 429 too often,
        503 no CA."""
        try:
            asked = msgspec.json.decode(await request.read(), type=Application)
        except msgspec.DecodeError as error:
            raise Problem(400, "application", "Not understood", str(error)) from error
        now = int(self._clock())
        if asked.renew:
            return await self._certify(asked, await self._renewal(asked, now), now)
        if self._guesses.too_many(asked.source, now):
            _no(429, "too many wrong tokens from this address; wait some minutes")
        try:
            invite = await self._invited(asked, now)
        except Problem as problem:
            if problem.status == 403:
                self._guesses.wrong(asked.source, now)
            raise
        return await self._certify(asked, invite, now)

    async def _invited(self, asked: Application, now: int) -> Credential:
        name, _, token = asked.asked.token.partition(".")
        if len(name) != ID_LENGTH or len(token) != TOKEN_LENGTH or not asked.asked.token.isascii():
            _no(403, "this is no token of an invite: it has the form c-….…, 56 characters")
        found = await self._credential(name)
        invite = found if found is not None and found.invite and found.tenant == asked.tenant else None
        if not hmac.compare_digest(digest(token), NOBODY if invite is None else invite.token_sha256) or invite is None:
            _no(403, "no such invite for this firm's network, or a wrong token")
        if invite.revoked:
            _no(410, f"invite {invite.id} was revoked; ask the operator for another")
        if invite.used:
            _no(410, f"invite {invite.id} was used already; if that was not you, tell the operator at once")
        if now >= invite.valid_until:
            _no(410, f"invite {invite.id} has expired; ask the operator for another")
        return invite

    async def _renewal(self, asked: Application, now: int) -> Credential:
        held = await self._credential(asked.credential)
        try:
            shown = x509.load_pem_x509_certificate(asked.asked.certificate.encode())
            proof = base64.b64decode(asked.asked.proof, validate=True)
        except (ValueError, binascii.Error):
            _no(422, "the present certificate is not PEM, or the proof not base64")
        if held is None or held.tenant != asked.tenant or held.certificate_sha256 != ca.fingerprint(shown):
            _no(403, "the register does not hold this certificate")
        key = shown.public_key()
        try:
            if not isinstance(key, ec.EllipticCurvePublicKey):
                raise InvalidSignature
            key.verify(proof, PROOF + asked.asked.request.encode(), ec.ECDSA(hashes.SHA256()))
        except InvalidSignature:
            _no(403, "the request is not signed by the present certificate's key")
        if held.revoked or now >= held.valid_until:
            _no(410, "the present certificate is revoked or has expired; ask the operator for a new invite")
        if not held.enrolment:
            _no(410, "this certificate was issued by hand and is renewed by hand; ask the operator for an invite")
        return held

    async def _certify(self, asked: Application, by: Credential, now: int) -> web.Response:
        """Makes the certificate for whom the credential stands, and puts it into the register."""
        name = fresh_id()
        try:
            if by.certificate_sha256:
                key = x509.load_pem_x509_certificate(asked.asked.certificate.encode()).public_key()
                if ca.request_key(asked.asked.request.encode()) == key:
                    _no(422, "a renewal needs a new key")
            issued = self._files.issue(asked.asked.request, by.tenant, name, None, now)
        except CaError as error:
            _no(422, str(error))
        fields: dict[str, Any] = {
            "tenant": by.tenant, "user": by.user, "certificate_sha256": issued.sha256, "serial": issued.serial,
            "valid_until": issued.valid_until, "enrolment": by.id if by.invite else by.enrolment,
        }  # fmt: skip
        changes = [Change(collection="credentials", verb="add", id=name, fields=fields)]
        if by.invite:
            changes.insert(0, Change(collection="credentials", verb="use", id=by.id))
        why = f"enrolled with invite {by.id}" if by.invite else f"renews {by.id}"
        try:
            await self._authority.write(changes, f"enrolment from {asked.source}", why)
        except ChangeRefused as error:  # used or revoked since it was looked at, or the firm is gone
            words = "; ".join(message for _, message in error.errors)
            _no(410, f"{error.detail}{': ' if words else ''}{words}")
        content = {
            "certificate": issued.certificate, "credential": name, "tenant": by.tenant,
            "valid_until": issued.valid_until,
        }  # fmt: skip
        return web.Response(body=msgspec.json.encode(content), headers={"Content-Type": "application/json"})

    async def _credential(self, name: str) -> Credential | None:
        try:
            found, _ = await self._authority.read(lambda register: register.get("credentials", name))
        except UnknownItem:
            return None
        assert isinstance(found, Credential)
        return found


def _no(status: int, why: str) -> NoReturn:
    raise Problem(status, "enrolment", "Not possible", why)

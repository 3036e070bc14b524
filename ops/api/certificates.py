"""Certificates as credentials: issued for a request, listed once revoked; and what an invite hands over."""

from functools import partial
from typing import Any

from aiohttp import web

from ops import ca
from ops.api.authority import AUTHORITY
from ops.api.problems import Problem
from tenants.ca import CaError, Revoked, fingerprint
from tenants.change import Change
from tenants.credential import fresh_id
from tenants.register import Register

CA = web.AppKey("ca", ca.CaFiles)


def routes() -> list[web.RouteDef]:
    """The routes."""
    return [web.get("/v1/ca/crl", revocation_lists)]


async def revocation_lists(request: web.Request) -> web.Response:
    """The revocation lists in PEM (RFC 5280 clause 5), for outsiders: the gateway looks in the register itself. Their
    number is the register's revision."""
    now = ca.now()
    revoked: list[Revoked] = []
    cursor, revision = "", 0
    while True:
        items, cursor, revision = await request.app[AUTHORITY].read(partial(_page, after=cursor))
        revoked += [Revoked(int(item.serial, 16), item.revoked) for item in items if item.serial and item.revoked]
        if not cursor:
            break
    try:
        text = request.app[CA].lists(revoked, revision, now)
    except CaError as error:
        raise Problem(409, "no-ca", "No CA", str(error), "run feiyu ca init on the node") from None
    return web.Response(text=text, content_type="application/x-pem-file", headers={"Cache-Control": "no-store"})


def _page(register: Register, after: str) -> tuple[list[Any], str, int]:
    return register.page("credentials", query="", where={}, limit=1000, after=after)


def root_sha256(request: web.Request) -> str:
    """The root's fingerprint, which a machine pins before it sends an invite's token. Raises Problem without a CA."""
    try:
        return fingerprint(request.app[CA].root())
    except CaError as error:
        raise Problem(409, "no-ca", "No CA", str(error), "run feiyu ca init on the node") from None


def relatives(register: Register, name: str) -> list[Change]:
    """The revocations that go with a credential's: of the invite it goes back to, and of all that go back to that."""
    item, _ = register.get("credentials", name)
    invite = item.id if item.invite else item.enrolment
    found, after = [], ""
    while invite:
        page, after, _ = register.page("credentials", where={"tenant": item.tenant}, limit=1000, after=after)
        found += [one.id for one in page if invite in (one.id, one.enrolment) and not one.revoked and one.id != name]
        if not after:
            break
    found.sort(key=lambda one: one != invite)  # once the invite is revoked, nothing new can go back to it
    return [Change(collection="credentials", verb="revoke", id=one) for one in found]


def certify(request: web.Request, fields: dict[str, Any]) -> str:
    """Makes the certificate that a credential's fields ask for with `request`, puts what the register keeps of it into
    them, and returns it in PEM. Raises Problem."""
    asked, tenant, until = fields.pop("request"), fields.get("tenant"), fields.get("valid_until")
    if not isinstance(asked, str) or not isinstance(tenant, str) or not isinstance(until, int | None):
        message = "needs a certificate request or a public key in PEM"
        raise Problem(422, "invalid", "Not valid", "the credential is not valid", "correct it", [("request", message)])
    name = fresh_id()
    try:
        issued = request.app[CA].issue(asked, tenant, name, until, ca.now())
    except CaError as error:
        raise Problem(
            422, "invalid", "Not valid", "the certificate cannot be issued", "correct it", [("request", str(error))]
        ) from None
    fields |= {
        "id": name, "certificate_sha256": issued.sha256, "serial": issued.serial, "valid_until": issued.valid_until,
    }  # fmt: skip
    return issued.certificate

"""How a machine gets its first certificate, and each further one: POST /enrol with an invite's token, POST /renew with
the present certificate, inside TLS on a listener that demands certificates.

A client asks for this in its hello, by the protocol "feiyu-enrol" (ALPN, RFC 7301), and is then not made to show what
it does not have. So the operator opens no further port, and a connection without a certificate comes no further than
this module, which leads nowhere but to control: no target is parsed, decided or dialled. Who asks must be in a firm's
place; the token, or the key of the present certificate, is verified by control, so that a worker that was broken into
cannot have certificates made.
"""

import json
from typing import TYPE_CHECKING, Final

import msgspec

from gateway.application import Application, Asked
from gateway.handshake import HandshakeError
from gateway.handshake.connect import ConnectFields
from gateway.handshake.http1 import RequestHead, parse_head
from gateway.handshake.response import parse_response_head
from gateway.identity import UnidentifiedError
from gateway.lingering import Lingering
from gateway.portal import AT_ONCE, RATE, standing_here
from gateway.portal_visit import Visit
from gateway.portal_words import JSON, headed
from gateway.refusal import build
from whitelist.reason import WORDING, Reason

if TYPE_CHECKING:
    from gateway.secure import SecureSession

MAX_BODY = 24_576  # bytes: a request and a certificate, each of some 600
PATHS: Final = {b"/enrol": False, b"/renew": True}
# What control answers, and what it means here.
_NO: Final = {
    403: Reason.IDENTITY_UNKNOWN,
    410: Reason.IDENTITY_REVOKED,
    422: Reason.MALFORMED_REQUEST,
    429: Reason.RATE_LIMITED,
}


def hear(session: "SecureSession", data: bytes) -> bool:
    """Takes a piece of the one request of such a connection. True: nothing more is to be read."""
    session.buffer += data
    try:
        head = parse_head(session.buffer, session.ctx.limits.header_bytes, own_pages=True)
    except HandshakeError as error:
        session.refuse(error.reason, error.detail, error.status)
        return True
    if head is None:
        return False
    if fault := _fault(head):
        _begin(session, head)
        session.refuse(*fault)
        return True
    body = session.buffer[head.consumed :]
    if len(body) < (head.content_length or 0):
        return False
    _begin(session, head)
    _apply(session, head, body)
    return True


def _fault(head: RequestHead) -> tuple[Reason, str] | None:
    if head.target not in PATHS or head.form != "origin":
        return Reason.IDENTITY_UNKNOWN, "a connection that enrols asks for /enrol or /renew, and nothing else"
    if head.method != "POST":
        return Reason.METHOD_NOT_ALLOWED, "enrolment is a POST"
    if not head.content_length or head.content_length > MAX_BODY:
        return Reason.MALFORMED_REQUEST, f"the request has no Content-Length from 1 to {MAX_BODY}"
    return None


def _begin(session: "SecureSession", head: RequestHead) -> None:
    record = session.begin().record
    record.method, record.user_agent = head.method, head.user_agent
    record.host = session.ctx.config.portal_name
    record.path = head.target[:64].decode("ascii", "replace") if head.target in PATHS else ""


def _apply(session: "SecureSession", head: RequestHead, body: bytes) -> None:
    """A whole request: whose it is by place or certificate, its rate, then the question to control."""
    ctx, flow, renew = session.ctx, session.flow, PATHS[head.target]
    assert flow is not None
    unready = session.unready()
    if unready is not None or ctx.snapshot is None or ctx.identifier is None:
        session.refuse(*(unready or (Reason.POLICY_UNAVAILABLE, "no valid policy")))
        return
    try:
        if renew:
            shown = ConnectFields(head.method, head.version, None, head.user_agent)
            claim = session.link.claimed(shown).proxy_authorization
            identity = ctx.identifier.identify(claim, ctx.reactor.wall)
        else:
            identity = ctx.residents.at(ctx.snapshot, session.ip, session.interface)
    except UnidentifiedError as unknown:
        if unknown.credential is not None:
            flow.record.credential, flow.record.tenant = unknown.credential.id, unknown.credential.tenant
        session.refuse(unknown.reason, unknown.detail)
        return
    record, tenant = flow.record, identity.tenant
    record.tenant, record.credential, record.user = tenant.id, identity.credential.id, identity.credential.user
    refused = standing_here(ctx.snapshot, tenant, session.ip, session.interface, int(ctx.reactor.wall))
    if refused is not None:
        session.refuse(refused.reason, refused.detail)
        return
    if wait := ctx.desk.wait(tenant.id, ctx.reactor.now):
        session.free_at = ctx.reactor.wall + wait
        session.refuse(Reason.RATE_LIMITED, f"more than {RATE:g} requests a second of one firm")
        return
    if ctx.desk.under_way >= AT_ONCE:
        session.refuse(Reason.OVERLOADED, "too many requests to control at a time")
        return
    try:
        asked = msgspec.json.decode(body, type=Asked)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        session.refuse(Reason.MALFORMED_REQUEST, f"the body is not what enrolment takes: {type(error).__name__}")
        return
    application = Application(
        renew=renew, tenant=tenant.id, credential=identity.credential.id, source=session.ip, asked=asked
    )
    fd = session.give_away()
    one = Enrolling(ctx, flow, fd, application, head_only=False, seal=session.link.sealed)
    ctx.reactor.guard(one.ask, one)


class Enrolling(Visit):
    """A machine's connection while control looks at what it asked for."""

    __slots__ = ()
    asks_at = "/enrolment"

    def whole(self) -> None:
        """A certificate goes out as it is; a no becomes a refusal with a reason and a record."""
        try:
            head = parse_response_head(self.heard)
        except HandshakeError as error:
            self.away(f"control's answer: {error.detail}")
            return
        body = bytes(self.heard[head.consumed :]) if head is not None else b""
        if head is None or head.content_length != len(body):
            self.away("control's answer is not whole")
        elif head.status == 200:
            self.finish(200, len(body), headed(200, JSON, body, head_only=False) or b"")
        elif head.status in _NO:
            self._refused(_NO[head.status], _detail(body))
        else:
            self.away(f"control answered {head.status}: {_detail(body)}")

    def _refused(self, reason: Reason, detail: str) -> None:
        ctx, config, flow, fd = self.ctx, self.ctx.config, self.flow, self.fd
        assert flow is not None
        self.flow, self.fd = None, -1
        self.leave_control()
        flow.refused(reason, WORDING[reason].status, detail)
        words = build(
            reason, ref=flow.record.ref, node=config.node, portal=config.portal, revision=ctx.revision,
            method="POST", detail=detail,
        )  # fmt: skip
        Lingering(ctx, fd, self.seal(words))


def _detail(body: bytes) -> str:
    """Control's words, for the record and the machine's owner."""
    try:
        found = json.loads(body)
    except ValueError:
        return ""
    detail = found.get("detail") if isinstance(found, dict) else ""
    return detail[:200] if isinstance(detail, str) and detail.isprintable() else ""

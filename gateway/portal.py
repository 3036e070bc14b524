"""The firm's own page: http://PORTAL_NAME/ asked through the proxy, and /proxy.pac of the plain listener.

The portal's name is never decided, resolved or dialled. A request for it is identified like any other, then asked of
control over portal.sock as a Question that is made here alone: of the client's head nothing is in it but the path. The
answer is taken whole, checked, recorded (one record of kind portal, without a line), and sent under headers of our own.
"""

import os
import socket
from typing import TYPE_CHECKING

import msgspec

from gateway.identity import Identity, UnidentifiedError
from gateway.portal_visit import PAC_PATH, Question, Visit
from tenants.model import GONE, TenantState
from whitelist.decide import Denial, standing
from whitelist.entries import TenantEntry
from whitelist.reason import Reason
from whitelist.snapshot import Snapshot

if TYPE_CHECKING:
    from gateway.context import Context
    from gateway.forward import Forwarder
    from gateway.handshake.http1 import RequestHead

MAX_PATH = 256
# Requests a second of one firm in one worker, and how many at once after a pause: all its browsers fetch the PAC file
# when a day begins, and one that cannot may go straight out.
RATE, BURST = 20.0, 60.0
AT_ONCE = 32  # requests under way in one worker
FOREVER = 1 << 62
OWN_PAGES = "a request for the proxy itself: origin-form or asterisk-form target"


class Desk:
    """One worker's bounds on such requests: a bucket per firm (generic cell rate algorithm), and how many at a time."""

    def __init__(self) -> None:
        self.under_way = 0
        self._full: dict[str, float] = {}

    def wait(self, tenant: str, now: float) -> float:
        """0: counted; else in how many seconds the firm may ask again. now: monotonic."""
        after = max(self._full.get(tenant, now), now) + 1 / RATE
        if (wait := after - now - BURST / RATE) > 0:
            return wait
        if len(self._full) > 10_000:
            self._full = {firm: full for firm, full in self._full.items() if full > now}
        self._full[tenant] = after
        return 0.0


def asked_by_place(asking: "Forwarder", head: "RequestHead") -> None:
    """An origin-form request: /proxy.pac for whoever's place the client is in, since browsers fetch it without a
    credential; anything else is malformed."""
    ctx, flow = asking.ctx, asking.flow
    assert flow is not None
    if head.form != "origin" or head.target.partition(b"?")[0] != PAC_PATH:
        asking.refuse(Reason.MALFORMED_REQUEST, OWN_PAGES, 400)
        return
    flow.record.host, flow.record.path = ctx.config.portal_name, PAC_PATH.decode()
    flow.record.user_agent = head.user_agent
    unready = ctx.unready()
    if unready is not None or ctx.snapshot is None:
        asking.refuse(*(unready or (Reason.POLICY_UNAVAILABLE, "no valid policy")))
        return
    try:
        identity = ctx.residents.at(ctx.snapshot, asking.ip, asking.interface)
    except UnidentifiedError as unknown:
        asking.refuse(unknown.reason, unknown.detail)
        return
    flow.record.tenant = identity.tenant.id
    visit(asking, identity, PAC_PATH)


def visit(asking: "Forwarder", identity: Identity, path: bytes) -> None:
    """An identified request for a page of ours: its firm's place, method and rate, then the question to control."""
    ctx, flow, head = asking.ctx, asking.flow, asking.head
    assert flow is not None and head is not None and ctx.snapshot is not None
    tenant = identity.tenant
    wall = int(ctx.reactor.wall)
    refused = standing_here(ctx.snapshot, tenant, asking.ip, asking.interface, wall)
    if refused is not None:
        asking.refuse(refused.reason, refused.detail)
        return
    if asking.target is not None and asking.target.port != 80:
        asking.refuse(Reason.PORT_NOT_ALLOWED, "the firm's own page is at port 80")
        return
    if head.method not in ("GET", "HEAD"):
        asking.refuse(Reason.METHOD_NOT_ALLOWED, "the firm's own page is only read: GET or HEAD")
        return
    if wait := ctx.desk.wait(tenant.id, ctx.reactor.now):
        asking.free_at = ctx.reactor.wall + wait
        asking.refuse(Reason.RATE_LIMITED, f"more than {RATE:g} requests a second for the firm's own page")
        return
    if ctx.desk.under_way >= AT_ONCE:
        asking.refuse(Reason.OVERLOADED, "too many requests for firms' own pages at a time")
        return
    record = flow.record
    question = Question(
        path=path[:MAX_PATH].decode("ascii", "replace"),
        html=head.accepts_html,
        tenant=tenant.id,
        user=record.user,
        credential=record.credential,
        source=asking.ip,
        interface=asking.interface,
        site=record.site,
        room=record.room,
        listener=asking.listener,
        gateway=_came_to(ctx, asking.listener, asking.fd),
    )
    asking.drop_upstream()
    fd, asking.fd, asking.flow = asking.fd, -1, None
    one = Visit(ctx, flow, fd, question, head_only=head.method == "HEAD", seal=asking.sealed)
    ctx.reactor.guard(one.ask, one)


def standing_here(snapshot: Snapshot, tenant: TenantEntry, ip: str, interface: str, wall: int) -> Denial | None:
    """Why a firm may not ask for what concerns itself alone: a firm that is suspended, or whose term is over, may."""
    if tenant.state not in GONE:
        tenant = msgspec.structs.replace(tenant, state=TenantState.ACTIVE, valid_from=0, valid_until=FOREVER)
    return standing(snapshot, tenant, ip, interface, wall)


def _came_to(ctx: "Context", listener: str, fd: int) -> str:
    """The address and port of ours that the client is connected to; "" where a balancer stands between."""
    if any(found.proxy_protocol for found in ctx.config.listeners if found.name == listener):
        return ""
    sock = socket.socket(fileno=os.dup(fd))
    with sock:
        host, port = sock.getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

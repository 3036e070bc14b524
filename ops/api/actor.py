"""Who is at the other end: the host's user, as the kernel says it (SO_PEERCRED, unix(7)); and, once there are accounts,
the account that is logged in there. What an account may call is decided here, before any handler."""

import pwd
import socket
import struct
import time
from collections.abc import Awaitable, Callable

from aiohttp import web

from ops.api.authority import AUTHORITY
from ops.api.caller import CALLER, Caller, caller_of
from ops.api.calls import OPEN, OWN, call_of, route_of
from ops.api.problems import Problem
from ops.api.sessions import Sessions
from tenants import people
from tenants.accounts import WATCHED, Account, Role
from tenants.register import Register
from tenants.roles import holding

_UCRED = struct.Struct("3i")
NODE_UIDS = web.AppKey("node_uids", frozenset[int])  # users of the node's own processes, which administer nothing
SESSIONS = web.AppKey("sessions", Sessions)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@web.middleware
async def not_the_node(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turns the node's own processes away: they may open the socket, since they share its group, but a worker that was
    broken into must not write the register."""
    if request.app[NODE_UIDS] and uid_of(request) in request.app[NODE_UIDS]:
        what = "a process of the node itself administers nothing"
        raise Problem(403, "node-process", "Forbidden", what, "use an account of your own")
    return await handler(request)


@web.middleware
async def identified(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Finds out who calls, and whether that person may. Raises Problem 401 and 403, RegisterUnavailable."""
    uid = uid_of(request)
    where = f"uid {uid} ({user_name(uid)})"
    caller = Caller(user_name(uid), where)
    if route_of(request) in OPEN or isinstance(request.match_info.http_exception, web.HTTPException):
        CALLER.set(Caller("", where))
        return await handler(request)
    if await request.app[AUTHORITY].governed():
        caller = await _allowed(request, uid, where)
    CALLER.set(caller)
    return await handler(request)


async def _allowed(request: web.Request, uid: int, where: str) -> Caller:
    authority = request.app[AUTHORITY]
    kind, _, token = request.headers.get("Authorization", "").partition(" ")
    session = request.app[SESSIONS].use(token, uid, time.monotonic()) if kind == "Bearer" else None
    if session is None:
        what = "this node has accounts, and nobody is logged in here" if not token else "this login is over"
        raise Problem(401, "login", "Not logged in", what, "feiyu login ID")
    account = await authority.read(lambda register: _account(register, session.account))
    if account is None or account.disabled:
        raise Problem(403, "disabled", "Forbidden", f"account {session.account} is disabled", "ask an administrator")
    if route_of(request) in OWN:
        return Caller(account.id, where, account, account.roles)
    call = call_of(request)
    own_factors = route_of(request)[1] == "/v1/accounts/{id}/reset" and request.match_info["id"] == account.id
    roles = tuple(holding(account.roles, *call)) if call else ()
    if not roles and not own_factors:
        what = f"account {account.id} ({', '.join(account.roles)}) may not {request.method} {request.path}"
        authority.acts.did(f"refused {request.method} {request.path} to {account.id} from {where}", authority.revision)
        able = holding(Role, *call) if call else []
        raise Problem(403, "role", "Forbidden", what, f"it takes {' or '.join(able)}" if able else "")
    if call and call[1] == "read" and WATCHED.intersection(roles):
        what = f"read {request.path_qs} by {account.id} as {roles[0]} from {where}"
        authority.acts.did(what, authority.revision)  # before anything is shown
    return Caller(account.id, where, account, roles)


def _account(register: Register, name: str) -> Account | None:
    with register.store.transaction(write=False) as connection:
        return people.account(connection, name)


def actor(_request: web.Request) -> str:
    """The name under which a change of this call stands in history: the account's id, or where there are no accounts
    the user name of the peer's uid when it connected ("uid-1234" for one without a name)."""
    return caller_of().name


def uid_of(request: web.Request) -> int:
    """The peer's uid when it connected. Raises Problem where the connection has none."""
    connection = request.transport.get_extra_info("socket") if request.transport else None
    if connection is None or connection.family != socket.AF_UNIX:
        raise Problem(403, "no-actor", "Forbidden", "the connection does not say who you are", "use the unix socket")
    _pid, uid, _gid = _UCRED.unpack(connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size))
    return int(uid)


def user_name(uid: int) -> str:
    """The account's name."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"uid-{uid}"

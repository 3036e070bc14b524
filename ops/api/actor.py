"""Who is at the other end of a unix socket, as the kernel says it (SO_PEERCRED, unix(7))."""

import pwd
import socket
import struct
from collections.abc import Awaitable, Callable

from aiohttp import web

from ops.api.problems import Problem

_UCRED = struct.Struct("3i")
NODE_UIDS = web.AppKey("node_uids", frozenset[int])  # users of the node's own processes, which administer nothing

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@web.middleware
async def not_the_node(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turns the node's own processes away: they may open the socket, since they share its group, but a worker that was
    broken into must not write the register."""
    if request.app[NODE_UIDS] and uid_of(request) in request.app[NODE_UIDS]:
        what = "a process of the node itself administers nothing"
        raise Problem(403, "node-process", "Forbidden", what, "use an account of your own")
    return await handler(request)


def actor(request: web.Request) -> str:
    """The user name of the peer's uid when it connected ("uid-1234" for one without a name)."""
    return user_name(uid_of(request))


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

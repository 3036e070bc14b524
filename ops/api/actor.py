"""Who is at the other end of a unix socket, as the kernel says it (SO_PEERCRED, unix(7))."""

import pwd
import socket
import struct

from aiohttp import web

from ops.api.problems import Problem

_UCRED = struct.Struct("3i")


def actor(request: web.Request) -> str:
    """The user name of the peer's uid when it connected ("uid-1234" for one without a name)."""
    connection = request.transport.get_extra_info("socket") if request.transport else None
    if connection is None or connection.family != socket.AF_UNIX:
        raise Problem(403, "no-actor", "Forbidden", "the connection does not say who you are", "use the unix socket")
    _pid, uid, _gid = _UCRED.unpack(connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size))
    return user_name(uid)


def user_name(uid: int) -> str:
    """The account's name."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"uid-{uid}"

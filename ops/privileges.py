"""What a child process may do, set between fork and exec: user, exact capabilities, limits, end with its parent.

Sources: capabilities(7), prctl(2), user_namespaces(7), network_namespaces(7), setrlimit(2). The exact set is put into
permitted, inheritable and ambient, so that exec keeps it (also for uid 0, whose special treatment SECBIT_NOROOT ends),
and everything else leaves the bounding set. Where the kernel refuses a step for want of privilege, less is held than
asked for, never more: a step whose failure would leave more than asked for raises.
"""

import contextlib
import ctypes
import errno
import os
import resource
import signal
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

CAP_SETPCAP = 8
CAP_NET_ADMIN = 12
CAP_NET_RAW = 13

FILES_WANTED = 1 << 20  # descriptors: two per tunnel and a pipe pair each way while it is busy

_PR_SET_PDEATHSIG, _PR_SET_SECUREBITS, _PR_CAPBSET_DROP, _PR_SET_NO_NEW_PRIVS = (
    1,
    28,
    24,
    38,
)
_PR_CAPBSET_READ, _PR_CAP_AMBIENT, _PR_CAP_AMBIENT_RAISE, _PR_CAP_AMBIENT_CLEAR_ALL = (
    23,
    47,
    2,
    4,
)
_SECURE_NOROOT = 0x03  # SECBIT_NOROOT, locked
_SECURE_NO_FIXUP = 0x0C  # SECBIT_NO_SETUID_FIXUP, locked: setuid(2) leaves the sets to us
_SECURE_NO_RAISE = 0xC0  # SECBIT_NO_CAP_AMBIENT_RAISE, locked
_CAP_VERSION_3 = 0x20080522

_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True, slots=True)
class Privileges:
    """uid and gid None keep the current ones. capabilities are kernel numbers; death_signal is sent when the supervisor
    dies, however it dies: SIGTERM, so that a worker ends its flows with their closing records. isolated: in a network
    namespace of its own, in which there is nothing, where this process may make one."""

    uid: int | None = None
    gid: int | None = None
    capabilities: frozenset[int] = frozenset()
    death_signal: int = signal.SIGTERM
    isolated: bool = False


class _Header(ctypes.Structure):
    _fields_ = [("version", ctypes.c_uint32), ("pid", ctypes.c_int)]


class _Data(ctypes.Structure):
    _fields_ = [
        ("effective", ctypes.c_uint32),
        ("permitted", ctypes.c_uint32),
        ("inheritable", ctypes.c_uint32),
    ]


def apply(wanted: Privileges, parent: int) -> None:
    """Makes the calling process what wanted says; to be called in a single-threaded child before exec. Ends the process
    when parent (a pid) is already gone. Raises OSError when it would keep more than wanted."""
    os.umask(0o027)
    limit_resources()
    if wanted.isolated:
        with contextlib.suppress(OSError):  # less is held without it, and never more than asked for
            os.unshare(os.CLONE_NEWNET)
    privileged = CAP_SETPCAP in held()
    if privileged:
        _drop_bounding(wanted.capabilities)
        _prctl(_PR_SET_SECUREBITS, _SECURE_NOROOT | _SECURE_NO_FIXUP)
    change_ids(wanted.uid, wanted.gid)
    kept = wanted.capabilities & held()
    _prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL)
    _set_capabilities(held(), inheritable=kept)
    for capability in kept:
        _prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_RAISE, capability)
    if privileged:
        _prctl(_PR_SET_SECUREBITS, _SECURE_NOROOT | _SECURE_NO_FIXUP | _SECURE_NO_RAISE)
    _set_capabilities(kept, inheritable=kept)
    _prctl(_PR_SET_NO_NEW_PRIVS, 1)
    # last: a change of ids clears it
    _prctl(_PR_SET_PDEATHSIG, wanted.death_signal)
    if os.getppid() != parent:
        os._exit(128 + wanted.death_signal)


def limit_resources() -> None:
    """As many descriptors as allowed, no core dumps (they would hold tenants' bytes). May lack CAP_SYS_RESOURCE."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    for soft in (FILES_WANTED, hard):
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, max(soft, hard)))
            break
        except (OSError, ValueError):
            continue
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def change_ids(uid: int | None, gid: int | None) -> None:
    """Changes group and user for good where they are mapped here and this process may; supplementary groups go too.
    Raises OSError when root could not become the mapped user it was told to."""
    if os.geteuid() != 0:
        return
    if gid is not None and mapped(gid, _id_map("gid")):
        os.setresgid(gid, gid, gid)
    try:
        os.setgroups([])
    except OSError as error:
        if error.errno != errno.EPERM:  # a user namespace may forbid setgroups(2); its groups then grant nothing new
            raise
    if uid is not None and mapped(uid, _id_map("uid")):
        os.setresuid(uid, uid, uid)


def mapped(number: int, id_map: str) -> bool:
    """Whether an id exists in the user namespace whose /proc/self/[ug]id_map is given."""
    for line in id_map.splitlines():
        inside, _, count = (int(word) for word in line.split())
        if inside <= number < inside + count:
            return True
    return False


def usable(uid: int) -> bool:
    """Whether this process can give its children that uid."""
    return os.geteuid() == 0 and mapped(uid, _id_map("uid"))


def unreachable(paths: Iterable[Path], uid: int, gid: int) -> Path | None:
    """The first directory or file that this user (with no other group) could not pass or read, on the way to any of the
    paths: an interpreter below /root cannot be run by another user."""
    for path in paths:
        for part in [*reversed(path.resolve().parents), path.resolve()]:
            status = part.stat()
            shift = 6 if status.st_uid == uid else 3 if status.st_gid == gid else 0
            needed = 0o1 if part.is_dir() else 0o4
            if not status.st_mode >> shift & needed:
                return part
    return None


def held() -> frozenset[int]:
    """The permitted capabilities of this process."""
    data = _get()
    bits = data[0].permitted | data[1].permitted << 32
    return frozenset(number for number in range(64) if bits >> number & 1)


def _id_map(kind: str) -> str:
    return Path(f"/proc/self/{kind}_map").read_text()


def _drop_bounding(keep: frozenset[int]) -> None:
    for number in range(64):
        known = _libc.prctl(_PR_CAPBSET_READ, number, 0, 0, 0)
        if known == 1 and number not in keep:
            _prctl(_PR_CAPBSET_DROP, number)


def _get() -> ctypes.Array[_Data]:
    data = (_Data * 2)()
    _check(_libc.capget(ctypes.byref(_Header(_CAP_VERSION_3, 0)), data), "capget")
    return data


def _set_capabilities(permitted: frozenset[int], inheritable: frozenset[int]) -> None:
    data = (_Data * 2)()
    for number in permitted:
        data[number // 32].permitted |= 1 << number % 32
        data[number // 32].effective |= 1 << number % 32
    for number in inheritable:
        data[number // 32].inheritable |= 1 << number % 32
    _check(_libc.capset(ctypes.byref(_Header(_CAP_VERSION_3, 0)), data), "capset")


def _prctl(option: int, *arguments: int) -> None:
    words = [ctypes.c_ulong(word) for word in (*arguments, 0, 0, 0, 0)[:4]]
    _check(_libc.prctl(option, *words), f"prctl {option}")


def _check(result: int, call: str) -> None:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{call}: {os.strerror(number)}")

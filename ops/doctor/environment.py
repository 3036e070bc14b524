"""What a node needs of its machine, looked at before it starts. Nothing is changed."""

import errno
import os
import platform
import resource
import shutil
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from ops import privileges
from ops.doctor import host, lines, marks, programs, rivals, rules, transparent
from ops.doctor.certificates import certificates
from ops.doctor.finding import Finding, fail, ok, skip, warn
from ops.settings import Settings, split_address

FILES_NEEDED = 65_536  # descriptors per process below which the node is small
PIPES_NEEDED = 16_384  # /proc/sys/fs/pipe-user-pages-soft: four pipes of 64 KiB are 64 pages


def examine(settings: Settings, *, running: bool) -> Iterator[Finding]:
    """All checks, in the order in which they should be repaired. running: this node's own processes hold its ports."""
    yield kernel()
    yield from capabilities()
    yield nft()
    yield from users(settings)
    yield from state(settings)
    yield from devices(settings)
    yield management(settings)
    yield from listeners(settings, running=running)
    yield from transparent.examine(settings)
    yield from marks.examine(settings)
    yield from certificates(settings, int(time.time()))
    yield from rules.examine(settings)
    yield files()
    yield pipes()
    yield host.clock()


def kernel() -> Finding:
    """SO_REUSEPORT, splice, policy routing and nf_tables as used here are all in Linux 5.4."""
    release = platform.release()
    numbers = [int(part) for part in release.split("-")[0].split(".")[:2] if part.isdigit()]
    if platform.system() == "Linux" and numbers >= [5, 4]:
        return ok("kernel", f"Linux {release}")
    return fail("kernel", f"{platform.system()} {release}", "run on Linux 5.4 or later")


def capabilities() -> Iterator[Finding]:
    """The supervisor hands CAP_NET_ADMIN to lines and CAP_NET_RAW to workers, so it must have them."""
    held = privileges.held()
    needed = {"CAP_NET_ADMIN": privileges.CAP_NET_ADMIN, "CAP_NET_RAW": privileges.CAP_NET_RAW}
    missing = [name for name, number in needed.items() if number not in held]
    if missing:
        remedy = "run feiyu up as root, or under systemd with AmbientCapabilities=CAP_NET_ADMIN CAP_NET_RAW"
        yield fail("capabilities", f"this process lacks {', '.join(missing)}", remedy)
        return
    yield ok("capabilities", ", ".join(needed))
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        try:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, 0x46000100)
        except OSError as error:
            yield fail(
                "socket mark",
                os.strerror(error.errno or 0),
                "allow SO_MARK: the container or its seccomp filter forbids it",
            )
            return
    yield ok("socket mark", "SO_MARK can be set")


def nft() -> Finding:
    """The program that loads the kill switch, and the kernel's part of it."""
    program = programs.find("nft")
    if not program:
        return fail("nft", "the program nft is not installed", "apt-get install nftables")
    run = programs.run(program, "list", "tables")
    if run.returncode:
        words = (run.stderr.strip() or "it failed").splitlines()[0]
        return fail("nft", words, "run as root; if that does not help, the kernel lacks nf_tables (modprobe nf_tables)")
    return ok("nft", program)


def users(settings: Settings) -> Iterator[Finding]:
    """Whether the children can become the users of the configuration and run this interpreter as them."""
    uid, gid = settings.users.control, settings.users.group
    if uid is None or gid is None:
        yield warn(
            "users", "all processes run as one user", "set users.base, so that no process can touch another's files"
        )
        return
    if not privileges.usable(uid):
        yield warn(
            "users", f"this process cannot become uid {uid}", "run as root, or leave users out of the configuration"
        )
        return
    blocked = privileges.unreachable([Path(sys.executable), Path(__file__)], uid, gid)
    if blocked:
        yield fail(
            "users",
            f"uid {uid} may not pass {blocked}",
            f"install feiyu where all may read it, or chmod a+rX {blocked}",
        )
        return
    yield ok("users", f"{settings.users.base} to {max(settings.users.processes)}")


def state(settings: Settings) -> Iterator[Finding]:
    """The register and the snapshot key, as init makes them."""
    directory = Path(settings.state_dir)
    register, key = settings.register_at, directory / "keys" / "snapshot.key"
    needed = [path for path in (register, key) if isinstance(path, Path)]  # a server is asked where lines are checked
    try:
        missing = [str(path) for path in needed if not path.exists()]
        mode = 0 if missing else key.stat().st_mode & 0o777
    except PermissionError:
        yield skip("state", f"{directory} is not this account's to read", "run as root")
        return
    if missing:
        yield fail("state", f"missing: {', '.join(missing)}", "run feiyu init")
        return
    if mode & 0o077:
        yield fail("state", f"{key} has mode {mode:04o}", f"chmod 600 {key}")
        return
    free = shutil.disk_usage(directory).free
    if free < settings.limits.spool_bytes:
        yield warn("disk", f"{free >> 20} MiB are free below {directory}", "free some: a full spool refuses new flows")
        return
    yield ok("state", f"{directory}, {free >> 30} GiB free")


def devices(settings: Settings) -> Iterator[Finding]:
    """Access interfaces and the devices of lines."""
    present = {name for _, name in socket.if_nameindex()}
    for access in settings.access:
        name = f"interface {access.interface}"
        if access.interface in present:
            yield ok(name, f"{access.site}/{access.room}")
        else:
            yield fail(
                name,
                "there is no such interface",
                f"bring it up, or correct access in the configuration ({', '.join(sorted(present))})",
            )
    if not settings.access:
        yield fail("access", "no access interface is configured", "name one under access: nobody can come in otherwise")
    used = host.lines_in_use(settings)
    if used is None:
        yield skip(
            "lines", "the register cannot be read, so its lines are not checked", "run as root, after feiyu init"
        )
        used = []
    for line, device, own in ((str(line["id"]), lines.outer_device(line), line["device"]) for line in used):
        if device in present:
            yield ok(f"line {line}", device if device == own else f"{own} over {device}")
        else:
            option = "--device" if device == own else "--underlay"
            seen = f"its device {device} is not there"
            yield fail(f"line {line}", seen, f"bring it up, or feiyu line edit {line} {option} NAME")
    yield from lines.contradictions(used, settings)
    yield from lines.addresses(used, host.device_addresses())
    yield lines.networkd(lines.networkd_files(), runs=lines.NETWORKD_RUNS.exists())
    yield rivals.nftables(Path("/"))
    yield from rivals.firewalls(Path("/"))
    names = {str(line["device"]) for line in used}
    yield from rivals.network_manager(Path("/"), [(name, n) for n, name in socket.if_nameindex() if name in names])


def management(settings: Settings) -> Finding:
    """Once the node runs, this machine sends only what the kill switch lets out: an administrator's answers too."""
    if settings.management:
        return ok("management", ", ".join(entry.interface for entry in settings.management))
    seen = "none is configured: this machine's own traffic, SSH too, is dropped while and after the node runs"
    return warn("management", seen, "name interface and prefixes under management, or run in a namespace of its own")


def listeners(settings: Settings, *, running: bool) -> Iterator[Finding]:
    """Whether the addresses to listen on are this machine's and free."""
    wanted = {f"listener {listener.name}": listener.address for listener in settings.listeners}
    wanted["metrics"] = settings.metrics.address
    for name, address in wanted.items():
        error = _bind(address)
        if error == 0:
            yield ok(name, address)
        elif error == errno.EADDRINUSE and running:
            yield ok(name, f"{address}, held by the running node")
        elif error == errno.EADDRINUSE:
            port = split_address(address)[1]
            yield fail(name, f"{address} is in use", f"end the program that holds it: ss -ltnp 'sport = :{port}'")
        elif error == errno.EADDRNOTAVAIL:
            yield fail(
                name, f"{address} is not an address of this machine", "add the address, or correct the configuration"
            )
        else:
            yield fail(name, f"{address}: {os.strerror(error)}", "correct the configuration, or run as root")


def _bind(address: str) -> int:
    """0, or the errno of binding and listening there for an instant."""
    host_part, port = split_address(address)
    family = socket.AF_INET6 if ":" in host_part else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # TIME_WAIT of an earlier run is no user
            if family == socket.AF_INET6:
                probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            probe.bind((host_part, port))
            probe.listen(1)
    except OSError as error:
        return error.errno or errno.EINVAL
    return 0


def files() -> Finding:
    """Descriptors: two for each tunnel, and four more while it is busy."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if hard != resource.RLIM_INFINITY and hard < FILES_NEEDED:
        return warn("descriptors", f"at most {hard} for each process", "raise LimitNOFILE in the unit, or ulimit -Hn")
    return ok("descriptors", f"{hard if hard != resource.RLIM_INFINITY else 'unlimited'}")


def pipes() -> Finding:
    """Pages of pipe buffer that an unprivileged user may hold (pipe(7)); a worker's relays share them."""
    try:
        pages = int(Path("/proc/sys/fs/pipe-user-pages-soft").read_text())
    except (OSError, ValueError):
        return skip("pipes", "/proc/sys/fs/pipe-user-pages-soft cannot be read")
    if pages and pages < PIPES_NEEDED:
        return warn(
            "pipes", f"{pages} pages for each user", "sysctl -w fs.pipe-user-pages-soft=1048576 for many busy tunnels"
        )
    return ok("pipes", f"{pages or 'unlimited'} pages for each user")

"""The proxies that Feiyu is compared with, each with one worker, an access log in a file and a rule naming the target."""

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from tests.bench.load import Load
from tests.bench.proxy import Proxy
from tests.bench.zone import GATEWAY, NAME, PORT, RESOLVER, SOURCES, Zone

PEER_PORT = 3128
MakeLoad = Callable[[Zone, int], Load]
_SQUID_CONF = """\
http_port {address}:{port}
workers 1
acl clients src 10.0.0.0/24 {sources}
acl target dstdomain {name}
acl tls port {target_port}
http_access allow CONNECT clients target tls
http_access deny all
cache deny all
cache_mem 8 MB
access_log stdio:{directory}/access.log
logfile_rotate 0
cache_log {directory}/cache.log
cache_store_log none
dns_nameservers {resolver}
cache_effective_user {user}
coredump_dir {directory}
pid_filename none
pinger_enable off
netdb_filename none
max_filedescriptors 65536
shutdown_lifetime 0 seconds
"""


class MissingPeer(Exception):
    """A peer that is not installed: what is missing and how to get it."""


def program(name: str, package: str) -> str:
    """The path of a program. Raises MissingPeer."""
    found = shutil.which(name, path="/usr/sbin:/usr/bin:/sbin:/bin:/usr/local/sbin:/usr/local/bin")
    if found is None:
        raise MissingPeer(f"{name} is not installed; as root: apt-get install {package}")
    return found


def squid(zone: Zone, load: MakeLoad) -> Proxy:
    """Squid as Debian ships it, without cache."""
    binary = program("squid", "squid")
    directory = zone.directory / "squid"
    directory.mkdir()
    shutil.chown(directory, "proxy", "proxy")
    conf = directory / "squid.conf"
    conf.write_text(
        _SQUID_CONF.format(
            address=GATEWAY, port=PEER_PORT, sources=SOURCES, name=NAME, target_port=PORT, directory=directory,
            resolver=RESOLVER, user="proxy",
        )
    )  # fmt: skip
    version = subprocess.run([binary, "-v"], capture_output=True, text=True, check=True).stdout.split("\n")[0]
    process = zone.spawn(zone.gateway, [binary, "-N", "-f", str(conf)], zone.proxy_core, "squid")
    about = f"{version.replace('Squid Cache: Version', 'Squid')}, one process, access log in a file, rule on the target"
    return Proxy("squid", about, load(zone, PEER_PORT), process.pid, stop=lambda: zone.end(process))


def tinyproxy(zone: Zone, load: MakeLoad) -> Proxy:
    """tinyproxy: one process, a thread per connection."""
    binary = program("tinyproxy", "tinyproxy-bin")
    directory = zone.directory / "tinyproxy"
    directory.mkdir()
    filters = directory / "filter"
    filters.write_text(f"^{NAME.replace('.', '[.]')}$\n")
    conf = directory / "tinyproxy.conf"
    conf.write_text(
        f"Port {PEER_PORT}\nListen {GATEWAY}\nTimeout 600\nMaxClients 8192\nLogLevel Connect\nLogFile \"{directory}/log\"\n"
        f"Allow 10.0.0.0/8\nConnectPort {PORT}\nFilter \"{filters}\"\nFilterDefaultDeny Yes\nFilterExtended On\n"
    )
    resolve(zone)
    process = zone.spawn(zone.gateway, with_resolver(zone, [binary, "-d", "-c", str(conf)]), zone.proxy_core, "tinyproxy")
    version = subprocess.run([binary, "-v"], capture_output=True, text=True, check=True).stdout.strip()
    about = f"{version}, a thread per connection, log in a file, filter on the target"
    return Proxy("tinyproxy", about, load(zone, PEER_PORT), process.pid, stop=lambda: zone.end(process))


def resolve(zone: Zone) -> Path:
    """A resolv.conf that names the zone's resolver."""
    path = zone.directory / "resolv.conf"
    path.write_text(f"nameserver {RESOLVER}\n")
    return path


def with_resolver(zone: Zone, argv: list[str]) -> list[str]:
    """The command, in a mount namespace whose /etc/resolv.conf is the zone's; the shell is replaced by the program."""
    script = f'mount --bind {resolve(zone)} /etc/resolv.conf && exec "$@"'
    return ["unshare", "--mount", "sh", "-c", script, "sh", *argv]

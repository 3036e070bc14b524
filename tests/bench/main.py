"""Measures Feiyu beside its peers: python -m tests.bench.main [--json FILE] [--peers] [--quick] [--only WORK,…]

The proxy's whole process tree runs on one core, the load and the far end on another; the proxies take turns, round by
round. "feiyu" is the data plane (supervisor with its hub, a worker, the recorder) with all its checks and records and a
whitelist of a million grants of ten thousand tenants; "feiyu-up" is a whole node as `feiyu up` runs it, its kernel
rules loaded, with a register of a thousand grants. Needs root and Squid.
"""

import argparse
import json
import os
import resource
import signal
import subprocess
import sys
import time
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console

from tests.bench import build, enforced, feiyu, measure, peers, policy, population, report, scale
from tests.bench.hello import client_hello
from tests.bench.load import Load, LoadError
from tests.bench.proxy import Proxy
from tests.bench.zone import CODE, NAME, Zone, scratch

WORKS = (*measure.WORKS, "tenants", "decision", "enforced", "evidence")
_FULL_TENANTS, _FULL_EACH = 100, 10
_REVOCATIONS = 20
_say = partial(print, flush=True, file=sys.stderr)


class Run:
    """One run of the benchmark: the grounds it stands on and what it found."""

    def __init__(self, options: argparse.Namespace, directory: Path, stack: ExitStack) -> None:
        self.directory, self._stack = directory, stack
        self.quick, self.with_peers = options.quick, options.peers
        self.plan = measure.Plan(1.0, 2, 1_000) if options.quick else measure.Plan(4.0, 3)
        self.tenants, self.each = (1_000, 100) if options.quick else (10_000, 100)
        self._cores = sorted(os.sched_getaffinity(0))
        self._tunnels, self._origin = build.build(directory)
        self._hello, self._clients = directory / "hello", directory / "clients"
        self._hello.write_bytes(client_hello(NAME))
        self._clients.write_text(population.clients(1))
        self.result: dict[str, Any] = {"machine": report.machine(), "quick": self.quick, "proxies": {}}

    def ground(self, name: str) -> Zone:
        """Namespaces for one proxy."""
        (self.directory / name).mkdir(mode=0o755)
        return self._stack.enter_context(Zone(self.directory / name, self._origin, self._cores[0], self._cores[1]))

    def load(self, zone: Zone, port: int = feiyu.FEIYU_PORT) -> Load:
        """The load on a proxy there."""
        return Load(zone, self._tunnels, port, self._hello, self._clients)

    def up(self, proxy: Proxy) -> Proxy:
        """The proxy, once it carries tunnels; it is stopped at the end at the latest."""
        self._stack.callback(proxy.stop)
        proxy.load.wait_ready()
        self.result["proxies"].setdefault(proxy.name, proxy.about)
        return proxy

    def compare(self, works: list[str]) -> None:
        """Feiyu, the whole node, Squid and the other peers, by turns; then what tenants and grants cost."""
        state = self.directory / "policy-large"
        seconds = policy.publish(state, self.tenants, self.each)
        _say(f"{self.tenants * self.each} grants of {self.tenants} tenants compiled in {seconds:.1f} s")
        policy.register(self.directory / "register-full", _FULL_TENANTS, _FULL_EACH)
        zones = [self.ground(name) for name in (feiyu.DATA_PLANE, feiyu.FULL, "squid")]
        ours = self.up(feiyu.data_plane(zones[0], self.load(zones[0]), state))
        proxies = [ours]
        if compared := [work for work in works if work in measure.WORKS]:
            proxies.append(self.up(feiyu.full(zones[1], self.load(zones[1]), self.directory / "register-full")))
            proxies.append(self.up(peers.squid(zones[2], self.load)))
            proxies += [self.up(start(self.ground(name), self.load)) for name, start in self._others()]
            self.result["compared"] = measure.compare(proxies, compared, self.plan, _say)
        if "tenants" in works:
            small = self.directory / "policy-small"
            policy.publish(small, 10, 100)
            zone = self.ground("small")
            few = self.up(feiyu.data_plane(zone, self.load(zone), small, name="feiyu with 1,000 grants"))
            counts = (1, self.tenants)
            figures = {
                "compile_s": seconds,
                **scale.tenants(ours, counts, self.directory, self.plan, _say),
                "worker_anonymous_growth_mb": scale.worker_anonymous_mb(ours) - scale.worker_anonymous_mb(few),
            }
            few.stop()
            self.result["scale"] = {"grants": self.tenants * self.each, "tenants": self.tenants} | figures
        for proxy in proxies:
            proxy.stop()

    def enforce(self) -> None:
        """Change to enforced, on a whole node with two workers."""
        state, zone = self.directory / "register-changing", self.ground("changing")
        policy.register(state, _FULL_TENANTS, _FULL_EACH)
        node = self.up(feiyu.full(zone, self.load(zone), state, workers=2, name="feiyu-up, two workers"))
        times = 5 if self.quick else _REVOCATIONS
        self.result["enforced"] = enforced.measure(node, zone.run, self._hello.read_bytes(), times)
        node.stop()

    def decide(self) -> None:
        """Decisions and compilation by the number of grants."""
        sizes = "1000,100000" if self.quick else "1000,100000,1000000"
        command = [sys.executable, "-m", "tests.bench.decision", "--grants", sizes, "--json"]
        core = partial(os.sched_setaffinity, 0, {self._cores[0]})
        done = subprocess.run(command, cwd=CODE, stdout=subprocess.PIPE, check=True, preexec_fn=core)
        self.result["decision"] = json.loads(done.stdout)

    def prove(self) -> None:
        """What the evidence costs, and how fast it is made and verified."""
        few = ["--records", "60000", "--leaves", "1000000", "--seconds", "4"] if self.quick else []
        command = [sys.executable, "-m", "tests.bench.evidence", "--json", *few]
        done = subprocess.run(command, cwd=CODE, stdout=subprocess.PIPE, check=True)
        self.result["evidence"] = json.loads(done.stdout)

    def _others(self) -> list[tuple[str, Any]]:
        return list(peers.PEERS.items()) if self.with_peers else []


def missing() -> str:
    """ "" or why nothing can be measured here."""
    if os.geteuid() != 0:
        return "the benchmark makes network namespaces: run it as root"
    if len(os.sched_getaffinity(0)) < 2:
        return "the benchmark needs two cores: one for the proxy, one for the load"
    try:
        peers.program("squid", "squid")
        peers.program("cc", "gcc")
    except peers.MissingPeerError as error:
        return str(error)
    return ""


def main() -> int:
    """Exit status 0: measured; 1: something that is needed is missing or did not run."""
    parser = argparse.ArgumentParser(prog="tests.bench.main", description=__doc__.split("\n", 1)[0] if __doc__ else "")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there too")
    parser.add_argument("--peers", action="store_true", help="with Envoy, tinyproxy and mitmproxy")
    parser.add_argument("--quick", action="store_true", help="fewer and shorter rounds, a smaller whitelist")
    parser.add_argument("--only", default="", metavar="WORK,…", help=f"of {', '.join(WORKS)}")
    options = parser.parse_args()
    works = options.only.split(",") if options.only else list(WORKS)
    if unknown := [work for work in works if work not in WORKS]:
        parser.error(f"unknown: {', '.join(unknown)}; there are {', '.join(WORKS)}")
    if why := missing():
        _say(why)
        return 1
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))  # so that everything is put away
    began = time.monotonic()
    try:
        with ExitStack() as stack:
            run = Run(options, Path(stack.enter_context(scratch())), stack)
            if any(work in (*measure.WORKS, "tenants") for work in works):
                run.compare(works)
            if "enforced" in works:
                run.enforce()
            if "decision" in works:
                run.decide()
            if "evidence" in works:
                run.prove()
            result = run.result | {"seconds": round(time.monotonic() - began, 1)}
    except (LoadError, peers.MissingPeerError) as error:
        _say(f"not measured: {error}")
        return 1
    report.table(result, Console(width=None if sys.stdout.isatty() else report.WIDTH))
    if options.json:
        report.save(result, options.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())

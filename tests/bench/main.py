"""Measures Feiyu beside its peers: python -m tests.bench.main [--quick] [--only WORK,…] [--json FILE] [--peers]"""

import argparse
import os
import resource
import sys
import time
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from tests.bench import build, feiyu, measure, peers, policy, population
from tests.bench.hello import client_hello
from tests.bench.load import Load
from tests.bench.zone import NAME, Zone, scratch

WORKS = (*measure.WORKS,)


def main() -> int:
    """Exit status 0: measured; 1: something that is needed is missing or did not run."""
    parser = argparse.ArgumentParser(prog="tests.bench.main", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="shorter rounds and a smaller whitelist")
    parser.add_argument("--only", default="", help=f"comma-separated: {', '.join(WORKS)}")
    parser.add_argument("--grants", type=int, default=0)
    parser.add_argument("--tenants", type=int, default=0)
    options = parser.parse_args()
    cores = sorted(os.sched_getaffinity(0))
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    tenants = options.tenants or (1_000 if options.quick else 10_000)
    grants = options.grants or (10_000 if options.quick else 1_000_000)
    plan = measure.Plan(2.0, 2) if options.quick else measure.Plan(4.0, 3)
    works = options.only.split(",") if options.only else list(measure.WORKS)
    with ExitStack() as stack:
        directory = Path(stack.enter_context(scratch()))
        tunnels, origin = build.build(directory)
        hello, clients = directory / "hello", directory / "clients"
        hello.write_bytes(client_hello(NAME))
        clients.write_text(population.clients(1))
        started = time.monotonic()
        state = directory / "state"
        revision = policy.publish(state, tenants, grants // tenants)
        print(f"{grants} grants of {tenants} tenants in {time.monotonic() - started:.1f} s")
        grounds = []
        for name in ("feiyu", "squid"):
            (directory / name).mkdir(mode=0o755)
            grounds.append(stack.enter_context(Zone(directory / name, origin, cores[0], cores[1])))
        proxies = [
            feiyu.data_plane(grounds[0], Load(grounds[0], tunnels, feiyu.FEIYU_PORT, hello, clients), state, revision),
            peers.squid(grounds[1], lambda zone, port: Load(zone, tunnels, port, hello, clients)),
        ]
        for proxy in proxies:
            stack.callback(proxy.stop)
            proxy.load.wait_ready()
        found = measure.compare(proxies, works, plan, partial(print, flush=True))
        for key in found["feiyu"]:
            a, b = found["feiyu"][key]["median"], found["squid"].get(key, {}).get("median", 0)
            print(f"{key:24} {a:12.2f} {b:12.2f} {a / b if b else 0:8.3f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

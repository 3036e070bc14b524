"""What the size of the whitelist and the number of tenants cost a worker."""

import statistics
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from tests.bench import cpu, measure, population
from tests.bench.measure import Plan, Row
from tests.bench.proxy import Proxy


def tenants(proxy: Proxy, counts: tuple[int, ...], directory: Path, plan: Plan, say: Callable[[str], None]) -> Row:
    """CPU µs per tunnel by number of tenants, whose tunnels come in turn; each has an address and a credential."""
    found: dict[int, list[float]] = {count: [] for count in counts}
    loads = {}
    for count in counts:
        path = directory / f"clients-{count}"
        path.write_text(population.clients(count))
        loads[count] = replace(proxy, load=replace(proxy.load, clients=path))
    for number in range(plan.rounds):
        for count, loaded in loads.items():
            found[count].append(measure.tunnels(loaded, plan)["tunnel_us"])
            say(f"  tenants round {number + 1}  {count:6} tenants  tunnel_us {found[count][-1]:10.1f}")
    return {f"tunnel_us_{count}_tenants": statistics.median(values) for count, values in found.items()}


def worker_anonymous_mb(proxy: Proxy) -> float:
    """Megabytes of the workers' own memory, after some tunnels."""
    proxy.load.run("rate", 64, 1.0)
    return cpu.memory(proxy.carrying()).anonymous / 1e3

"""The rounds: each proxy in turn, again and again, so that what else the machine does falls on all of them alike."""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from tests.bench import cpu
from tests.bench.load import LoadError
from tests.bench.proxy import Proxy

IDLE_TUNNELS = 4_000
SETTLE = 1.0  # seconds between the last tunnel and the look at the memory
Row = dict[str, float]
Spread = dict[str, list[float]]  # figure → its value in each round


@dataclass(frozen=True, slots=True)
class Plan:
    """How long and how often."""

    seconds: float
    rounds: int
    idle_tunnels: int = IDLE_TUNNELS


@dataclass(frozen=True, slots=True)
class Spent:
    """What a load cost: the part that carries tunnels, and the whole tree. Seconds."""

    part: cpu.Cpu
    whole: cpu.Cpu


def spend(proxy: Proxy, work: Callable[[], None]) -> Spent:
    """Runs the work and says what the proxy spent on it, what it writes behind included."""
    part, whole = proxy.carrying(), proxy.whole()
    before = cpu.cpu(part), cpu.cpu(whole)
    work()
    time.sleep(0.2)
    return Spent(cpu.cpu(part) - before[0], cpu.cpu(whole) - before[1])


def tunnels(proxy: Proxy, plan: Plan) -> Row:
    """Open, hello, 512 bytes, close, by 64 clients: CPU µs per tunnel, latency µs."""
    result = []
    spent = spend(proxy, lambda: result.append(proxy.load.run("rate", 64, plan.seconds)))
    figures, per = result[0], 1e6 / result[0].done
    return {
        "tunnel_us": spent.part.total * per,
        "tunnel_us_user": spent.part.user * per,
        "tunnel_us_system": spent.part.system * per,
        "tunnel_us_whole": spent.whole.total * per,
        "tunnels_per_s": figures.done / figures.seconds,
        "tunnel_setup_p50_us": figures.p50,
        "tunnel_setup_p99_us": figures.p99,
    }


def bulk(mode: str) -> Callable[[Proxy, Plan], Row]:
    """Bytes through four tunnels, down or up: CPU ms per GB."""

    def run(proxy: Proxy, plan: Plan) -> Row:
        result = []
        spent = spend(proxy, lambda: result.append(proxy.load.run(mode, 4, plan.seconds)))
        gigabytes = result[0].moved / 1e9
        return {
            f"{mode}_ms_per_gb": spent.part.total * 1e3 / gigabytes,
            f"{mode}_ms_per_gb_whole": spent.whole.total * 1e3 / gigabytes,
            f"{mode}_gb_per_s": gigabytes / result[0].seconds,
        }

    return run


def requests(proxy: Proxy, plan: Plan) -> Row:
    """64 bytes asked again and again in 64 open tunnels: latency µs, CPU µs."""
    result = []
    spent = spend(proxy, lambda: result.append(proxy.load.run("rtt", 64, plan.seconds)))
    figures = result[0]
    return {
        "request_p50_us": figures.p50,
        "request_p99_us": figures.p99,
        "request_cpu_us": spent.part.total * 1e6 / figures.done,
    }


def idle(proxy: Proxy, plan: Plan) -> Row:
    """Memory of many open tunnels in which nothing moves: kB each. A proxy's first burst makes it larger once, so one
    comes before."""
    proxy.load.run("rate", 64, 0.5)
    count = plan.idle_tunnels
    time.sleep(SETTLE)
    part, whole = proxy.carrying(), proxy.whole()
    before = cpu.memory(part), cpu.memory(whole)
    with proxy.load.held(count):
        time.sleep(SETTLE)
        grown = cpu.memory(part) - before[0], cpu.memory(whole) - before[1]
    time.sleep(SETTLE)
    return {"idle_kb": grown[0].pss / count, "idle_kb_whole": grown[1].pss / count}


WORKS: dict[str, tuple[Callable[[Proxy, Plan], Row], bool]] = {  # name: work, whether it is done once
    "idle": (idle, True),
    "tunnel": (tunnels, False),
    "rtt": (requests, False),
    "down": (bulk("down"), False),
    "up": (bulk("up"), False),
}


def compare(
    proxies: Iterable[Proxy], works: Iterable[str], plan: Plan, say: Callable[[str], None]
) -> dict[str, Spread]:
    """What each proxy showed in each round. A figure that could not be taken is left out, and said."""
    proxies = list(proxies)
    found: dict[str, Spread] = {proxy.name: {} for proxy in proxies}
    for name in works:
        work, once = WORKS[name]
        failed: set[str] = set()
        for number in range(1 if once else plan.rounds):
            for proxy in proxies:
                if proxy.name in failed:
                    continue
                try:
                    row = work(proxy, plan)
                except LoadError as error:
                    failed.add(proxy.name)
                    say(f"{proxy.name}: {name}: {error}")
                    continue
                for key, value in row.items():
                    found[proxy.name].setdefault(key, []).append(value)
                key = next(iter(row))
                say(f"  {name:7} round {number + 1}  {proxy.name:12} {key} {row[key]:10.1f}")
    return found

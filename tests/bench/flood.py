"""How long an honest client waits beside a flood: python -m tests.bench.flood [--connections N] [--rounds N]

Each flood opens as many connections as there are descriptors, through one worker of usual settings, and abandons them.
Then, while they stand, and once more while others keep coming, an honest client asks for a tunnel again and again: the
median and the worst of its waits, from its first SYN to its first byte back from the service. Needs root.
"""

import argparse
import gc
import multiprocessing
import resource
import statistics
import sys
import tempfile
import time
from multiprocessing.synchronize import Event
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tests.gateway.floods import HEAD, KINDS, Flood, Kind, honest, listeners, pki, sources
from tests.gateway.kit import Ground, until
from tests.gateway.node import Node, Worker

SPARE = 1_000  # descriptors that are left to this process
LIMIT = 1.0  # second that an honest client may wait
FLOODS = KINDS | {
    "refusals that nobody reads": Kind("plain", HEAD + b"Proxy-Authorization: Basic YWNtZTphY21l\r\n\r\n")
}


def waits(node: Node, worker: Worker, listener: str, rounds: int) -> list[float]:
    """Seconds that each of so many honest clients waited; infinite for one that was not served."""
    found = []
    site = node.ground.site("tcp")
    for _ in range(rounds):
        began = time.monotonic()
        try:
            talk = honest(node, worker, listener, site.authority)
            there = site.accept()
            there.say(b"x")
            talk.exactly(1)
        except (OSError, AssertionError):
            found.append(float("inf"))
            continue
        found.append(time.monotonic() - began)
        talk.close()
        there.close()
    node.ground.tidy()
    return found


def keep_coming(flood: Flood, over: Event) -> None:
    """Opens more and more, in a process of its own."""
    while not over.is_set():
        flood.open(50)


def measure(node: Node, worker: Worker, kind: Kind, *, many: bool, connections: int, rounds: int) -> list[str]:
    """One row of the table."""
    ground = node.ground
    site = ground.site("tcp")
    live = honest(node, worker, "plain", site.authority)  # the firm has a tunnel already, as a rule
    memory, before = worker.anonymous(), worker.descriptors()
    with Flood(ground, worker, kind, many=many) as flood:
        began = time.monotonic()
        flood.open(connections)
        rate = connections / (time.monotonic() - began)
        calm = waits(node, worker, kind.listener, rounds)
        held = flood.standing()
        grown = worker.anonymous() - memory
    until(lambda: worker.descriptors() <= before + 2, "the flood is over", 30)
    over = multiprocessing.get_context("fork").Event()
    endless = Flood(ground, worker, kind, many=many, keep=connections // 2)
    coming = multiprocessing.get_context("fork").Process(target=keep_coming, args=(endless, over))
    coming.start()
    time.sleep(1)
    beside = waits(node, worker, kind.listener, rounds)
    over.set()
    coming.join(10)
    live.close()
    until(lambda: worker.descriptors() <= before + 2, "the flood is over", 30)
    return [f"{held:,}", f"{rate:,.0f}", f"{grown / held:.1f}" if held else "–", *told(calm), *told(beside)]


def told(found: list[float]) -> list[str]:
    """Median and worst, in milliseconds."""
    return [f"{1e3 * value:.1f}" for value in (statistics.median(found), max(found))]


def main() -> int:
    """0: every honest client was served within a second; 1: not."""
    parser = argparse.ArgumentParser(prog="tests.bench.flood")
    parser.add_argument("--connections", type=int, default=0, help="as many as there are descriptors, if not said")
    parser.add_argument("--rounds", type=int, default=50, help="honest clients of each kind")
    parser.add_argument("--only", default="", help="part of a flood's name")
    options = parser.parse_args()
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    connections = options.connections or hard - SPARE
    table = Table(title=f"{connections:,} connections abandoned; an honest client's wait in ms")
    for column in ("flood", "sources", "held", "opened/s", "kB each", "median", "worst", "median*", "worst*"):
        table.add_column(column, justify="left" if column in ("flood", "sources") else "right")
    worst = 0.0
    with tempfile.TemporaryDirectory() as scratch, Ground() as ground, sources(ground):
        for name, kind in FLOODS.items():
            for many in (False, True) if not kind.source else (False,):
                if options.only not in name:
                    continue
                directory = Path(tempfile.mkdtemp(dir=scratch))
                # A node of its own for each, so that none inherits memory; its limits are the usual ones.
                times = {"handshake": 10, "first_byte": 5}
                with Node(ground, directory, listeners=listeners(pki(directory)), timeouts=times,
                          limits={"stranger_refusals_per_second": 10}) as node:  # fmt: skip
                    row = measure(node, node.worker(), kind, many=many, connections=connections, rounds=options.rounds)
                gc.collect()
                table.add_row(name, "many" if many else "one", *row)
                worst = max(worst, float(row[-1]), float(row[-3]))
                print(f"{name}, {'many sources' if many else 'one source'}: {row}", file=sys.stderr, flush=True)
    Console().print(table, "* while others keep coming")
    return int(worst > LIMIT * 1e3)


if __name__ == "__main__":
    sys.exit(main())

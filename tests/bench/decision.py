"""What a decision, a compilation and a change cost, by the number of grants.

    python -m tests.bench.decision --grants 1000,100000,1000000 [--json]

Each size is compiled, changed and asked in a process of its own. Decisions are of random tenants and hosts, few of them
asked before: eight in ten granted (straight, by group or by category), one of a service not granted, one of a host
nobody knows. "first" is a new process that touches the mapped pages for the first time, "steady" the same one after it.
"""

import argparse
import gc
import json
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.bench.large_policy import KEY, NOW, PUBLIC, SERVICES, asked, document, grant, tenants_of

DECISIONS = 20_000
CHANGES = 50


def main() -> int:
    """Prints a table, or JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--grants", default="1000,100000,1000000", help="numbers of grants, separated by commas")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--part", choices=("compile", "decide"), help=argparse.SUPPRESS)
    parser.add_argument("--directory", type=Path, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    sizes = [int(size) for size in chosen.grants.split(",")]
    if chosen.part == "compile":
        print(json.dumps(measure_compilation(chosen.directory, sizes[0])))
        return 0
    if chosen.part == "decide":
        print(json.dumps(measure_decisions(chosen.directory, sizes[0])))
        return 0
    results = [measure(size) for size in sizes]
    if chosen.json:
        print(json.dumps(results))
        return 0
    for result in results:
        print(", ".join(f"{name} {value}" for name, value in result.items()))
    return 0


def measure(grants: int) -> dict[str, Any]:
    """All figures for one number of grants."""
    with tempfile.TemporaryDirectory(prefix="feiyu-bench-") as directory:
        result: dict[str, Any] = {"grants": grants, "tenants": tenants_of(grants)}
        for part in ("compile", "decide"):
            command = [sys.executable, "-m", "tests.bench.decision", "--part", part, "--directory", directory]
            done = subprocess.run([*command, "--grants", str(grants)], check=True, stdout=subprocess.PIPE)
            result |= json.loads(done.stdout)
        return result


def measure_compilation(directory: Path, grants: int) -> dict[str, Any]:
    """Seconds of a full compilation from items that are at hand, and milliseconds of publishing one changed grant."""
    from tenants.change import Changed
    from whitelist.publisher import Publisher

    before = anonymous()
    began, made = time.perf_counter(), 0.0

    def timed(items: Iterator[Any]) -> Iterator[Any]:
        """Making the items is the bench's cost, not the compiler's."""
        nonlocal made
        while True:
            start = time.perf_counter()
            item = next(items, None)
            made += time.perf_counter() - start
            if item is None:
                return
            yield item

    with Publisher(directory, KEY) as publisher:
        publisher.publish_all(document(grants, timed), 1)
        seconds = time.perf_counter() - began - made
        memory = anonymous() - before
        changes = []
        for n in range(CHANGES):
            fresh = grant(n * grants // CHANGES, grants, until=NOW + 1000 + n)
            old = grant(n * grants // CHANGES, grants)
            start = time.perf_counter()
            publisher.publish([Changed("grants", fresh.id, "edit", old, fresh)], n + 2)
            changes.append((time.perf_counter() - start) * 1e3)
        start = time.perf_counter()
        publisher.compact()
        compaction = time.perf_counter() - start
    return {
        "compile_s": round(seconds, 2),
        "compile_MB": round(memory / 1e6, 1),
        "base_MB": round(sum(path.stat().st_size for path in directory.glob("base-*")) / 2e6, 1),
        "change_ms_p50": round(statistics.median(changes), 2),
        "change_ms_max": round(max(changes), 2),
        "compact_s": round(compaction, 2),
    }


def measure_decisions(directory: Path, grants: int) -> dict[str, Any]:
    """Microseconds of a decision, and what the process's own memory grew by to open the policy and take them."""
    import whitelist.decide as verdicts
    from whitelist.snapshot import Snapshot
    from whitelist.target import parse_host

    chance = random.Random(7)
    gc.collect()
    before = anonymous()
    start = time.perf_counter()
    snapshot = Snapshot.open(directory, PUBLIC)
    opening = time.perf_counter() - start
    for _ in range(DECISIONS):
        tenant, source, host, access = asked(chance, grants)
        entry = snapshot.tenant(tenant)
        assert entry is not None
        verdicts.decide(snapshot, entry, source, "acc0", parse_host(host, 443), access, NOW)
    gc.collect()
    memory = anonymous() - before
    snapshot.close()
    result = {"open_s": round(opening, 3), "anonymous_MB": round(memory / 1e6, 2)}
    snapshot = Snapshot.open(directory, PUBLIC)
    for name in ("first", "steady"):
        load = [asked(chance, grants) for _ in range(DECISIONS)]
        gc.collect()
        gc.disable()  # as in a worker
        clock, decide, permits, took = time.perf_counter_ns, verdicts.decide, 0, []
        for tenant, source, host, access in load:
            # As in a worker, the tenant was just identified and the target just parsed; neither is part of the verdict.
            entry, target = snapshot.tenant(tenant), parse_host(host, 443)
            begin = clock()
            verdict = decide(snapshot, entry, source, "acc0", target, access, NOW)  # type: ignore[arg-type]
            took.append(clock() - begin)
            permits += type(verdict) is verdicts.Permit
        gc.enable()
        took.sort()
        result |= {
            f"{name}_us_p50": round(took[len(took) // 2] / 1e3, 2),
            f"{name}_us_p99": round(took[len(took) * 99 // 100] / 1e3, 2),
            f"{name}_permits": round(permits / len(load), 2),
        }
    snapshot.close()
    result["services"] = SERVICES
    return result


def anonymous() -> int:
    """Bytes of memory that are this process's alone."""
    for line in Path("/proc/self/smaps_rollup").read_text(encoding="ascii").splitlines():
        if line.startswith("Anonymous:"):
            return int(line.split()[1]) * 1024
    raise OSError("/proc/self/smaps_rollup has no line Anonymous")


if __name__ == "__main__":
    sys.exit(main())

"""What the evidence costs: records taken in, the wait for a checkpoint, proofs of a large log, verifying a whole one.

    python -m tests.bench.evidence [--records 300000] [--leaves 10000000] [--rate 1000] [--json]

The recorder has one core for all it does: decoding, log, fsyncs, evidence, metrics. "published" is the time from the
write of a record into the spool to the moment a checkpoint over it can be read, for the oldest record under each. The
large log has real tiles on disk, of which many are links to one file; each proof is made from files alone, nothing kept
in between.
"""

import argparse
import json
import os
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from pathlib import Path

from telemetry.evidence import note, standalone
from telemetry.evidence.integrate import open_log
from telemetry.evidence.merkle import leaf_hash, prove_inclusion, tree_hash, verify_inclusion
from telemetry.evidence.reader import Reader
from telemetry.evidence.tile import WIDTH, Tile, TileTree, bundles
from telemetry.evidence.verify import verify_log
from telemetry.record import decode
from telemetry.spooldir import STATUS_FILE
from tests.bench.recorder import NODE, Figures, _cpu, _flow, _on, _open, _status, _until, _writer, running

_POLL = 0.002


def main() -> int:
    """Prints the figures, or JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=int, default=300_000, help="records to take in and to verify")
    parser.add_argument("--leaves", type=int, default=10_000_000, help="size of the log that proofs are made of")
    parser.add_argument("--rate", type=int, default=1000, help="records a second while the wait is measured")
    parser.add_argument("--seconds", type=float, default=10.0, help="how long at that rate")
    parser.add_argument("--json", action="store_true", help="print JSON")
    chosen = parser.parse_args()
    cores = sorted(os.sched_getaffinity(0))
    figures: Figures = {}
    measures: list[Callable[[Path], Figures]] = [
        partial(taken_in, core=cores[0], count=chosen.records),
        partial(sealed, core=cores[0], count=chosen.records),
        partial(alone, count=chosen.records),
        partial(wait, cores=cores, rate=chosen.rate, seconds=chosen.seconds),
        partial(proofs, leaves=chosen.leaves),
    ]
    for measure in measures:
        with tempfile.TemporaryDirectory(prefix="feiyu-bench-", dir=".") as directory:  # on a real disk, not in memory
            figures |= measure(Path(directory).absolute())
    if chosen.json:
        print(json.dumps(figures))
        return 0
    for name, value in figures.items():
        print(f"{name:40} {value:14.2f}")
    return 0


def taken_in(root: Path, core: int, count: int, more: tuple[str, ...] = ()) -> Figures:
    """Records a second of a recorder that finds many waiting, until all are under a published checkpoint, its start not
    counted; then the log is verified. Verifying is given by the CPU's seconds too, as others may be at work. more:
    arguments of the recorder."""
    (root / "run" / "spool").mkdir(parents=True)
    writer = _open(root)
    number = total = 0
    while total < count:
        total += _flow(writer, number)
        number += 1
        if number % 64 == 0:
            writer.flush()
    writer.flush()
    with running(root, core, wait=False, more=more) as recorder:
        status = root / "run" / "spool" / STATUS_FILE
        first = _until(lambda: _status(status, 1), "the recorder takes records").records
        began, before = time.monotonic(), _cpu(recorder.pid)
        _until(lambda: published(root) >= total // 2 or None, "half is published")
        half = _resident(recorder.pid)
        _until(lambda: published(root) >= total or None, "all is published")
        growth = _resident(recorder.pid) - half
        took = time.monotonic() - began
        used = _cpu(recorder.pid) - before
        memory = int(Path(f"/proc/{recorder.pid}/status").read_text().split("VmHWM:")[1].split()[0])
        done = published(root) - first
    log = root / "state" / "evidence" / "flows"
    key = note.parse_key((log.parent / "flows.vkey").read_text().strip())
    began, used_before = time.perf_counter(), time.process_time()
    found = verify_log(Reader(log), key)
    verified, verifying = time.perf_counter() - began, time.process_time() - used_before
    began = time.perf_counter()
    standalone.check_log(str(log), standalone.parse_key(str(key)), [])
    alone = time.perf_counter() - began
    return {
        "integrated_records_per_s": done / took,
        "recorder_cpu_us_per_record": used * 1e6 / done,
        "recorder_peak_mb": memory / 1024,
        "recorder_growth_over_second_half_mb": growth / 1024,
        "bytes_per_record": found.bytes / found.entries,
        "verified_records_per_s": found.entries / verified,
        "verified_records_per_cpu_s": found.entries / verifying,
        "verified_one_file_records_per_s": found.entries / alone,
    }


def sealed(root: Path, core: int, count: int) -> Figures:
    """The same with personal fields sealed and ML-DSA-44 under each checkpoint."""
    found = taken_in(root, core, count, more=("--personal-days", "1096", "--signatures", "mldsa44"))
    return {f"sealed_{name}": found[name] for name in ("integrated_records_per_s", "recorder_cpu_us_per_record")}


def alone(root: Path, count: int) -> Figures:
    """The evidence log by itself, without a recorder: records a second and CPU of each."""
    entries = [b"x" * 560 + b"%020d" % number for number in range(count)]
    log = open_log(root, NODE)
    began, used = time.perf_counter(), time.process_time()
    for at in range(0, count, 10_000):
        log.append(entries[at : at + 10_000])
    return {
        "log_alone_records_per_s": count / (time.perf_counter() - began),
        "log_alone_cpu_us_per_record": (time.process_time() - used) * 1e6 / count,
    }


def wait(root: Path, cores: list[int], rate: int, seconds: float) -> Figures:
    """Milliseconds from the write of a record to a checkpoint over it, for the record that waited longest."""
    seen: list[tuple[int, int]] = []  # size, Unix µs
    with running(root, cores[0]), subprocess.Popen(_on(cores[-1], _writer(root, rate, seconds))) as writer:
        while writer.poll() is None:
            size = published(root)
            if not seen or size != seen[-1][0]:
                seen.append((size, time.time_ns() // 1000))
            time.sleep(_POLL)
        end = time.monotonic() + 2.5
        while time.monotonic() < end:
            size = published(root)
            if size != seen[-1][0]:
                seen.append((size, time.time_ns() // 1000))
            time.sleep(_POLL)
    log = Reader(root / "state" / "evidence" / "flows")
    entries = [entry for bundle in bundles(published(root)) for entry in log.entries(bundle)]
    late = []
    for (before, _), (_, at) in pairwise(seen):
        oldest = decode(entries[before])
        if oldest.kind != "action":
            late.append((at - oldest.time) / 1000)
    return {"published_ms_p50": statistics.median(late), "published_ms_max": max(late), "checkpoints": float(len(late))}


def proofs(root: Path, leaves: int) -> Figures:
    """Milliseconds for an inclusion proof from files, and the memory that making them takes."""
    entry_hash = leaf_hash(b"x" * 580)
    counts = leaves
    level, hash_ = 0, entry_hash
    while counts:
        full, rest = divmod(counts, WIDTH)
        data = hash_ * WIDTH
        one = root / f"one-{level}"
        one.write_bytes(data)
        for number in range(full):
            path = root / Tile(level, number).path
            path.parent.mkdir(parents=True, exist_ok=True)
            os.link(one, path)
        if rest:
            path = root / Tile(level, full, rest).path
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data[: rest * 32])
        counts, hash_, level = full, tree_hash([hash_] * WIDTH), level + 1
    reader = Reader(root)
    expected = TileTree(leaves, reader.tile).root()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    took = []
    chance = random.Random(1)
    for _ in range(1000):
        index = chance.randrange(leaves)
        began = time.perf_counter()
        proof = prove_inclusion(index, leaves, TileTree(leaves, reader.tile).node)
        took.append((time.perf_counter() - began) * 1000)
        verify_inclusion(index, leaves, entry_hash, proof, expected)
    cuts = statistics.quantiles(took, n=100)
    return {
        "proof_ms_p50": cuts[49],
        "proof_ms_p99": cuts[98],
        "proof_leaves": float(leaves),
        "proof_memory_growth_mb": (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024,
    }


def _resident(pid: int) -> int:
    """Memory of a process in kB."""
    return int(Path(f"/proc/{pid}/status").read_text().split("VmRSS:")[1].split()[0])


def published(root: Path) -> int:
    """The size that the published checkpoint says; 0 before the first."""
    try:
        return int((root / "state" / "evidence" / "flows" / "checkpoint").read_bytes().split(b"\n")[1])
    except FileNotFoundError:
        return 0


if __name__ == "__main__":
    sys.exit(main())

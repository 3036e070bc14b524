"""What the recorder costs: CPU per record at a steady rate, how soon a record is durable, and how fast it catches up.

    python -m tests.bench.recorder [--rate 3600] [--seconds 5] [--catch-up 200000] [--rules DIR …] [--json]

The recorder has a core of its own beside a neighbour that always wants to run there, as a busy worker does; the writer
of the records has another. Opens and closes of some 600 bytes each, written every millisecond. "durable" is the time
from the write to the moment the record can be had from /tail, in a run of its own, since watching costs too.
"""

import argparse
import http.client
import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from telemetry.record import Record, encode
from telemetry.spool import SpoolWriter
from telemetry.spooldir import STATUS_FILE, Status, read_status

NODE, BOOT, LIMIT = "gw1.zone.example", "0000abcd", 1 << 30
DEADLINE = 60.0
_TICK = 0.001
_SPIN = "x = bytearray(1 << 22)\nwhile True:\n    for i in range(0, 1 << 22, 64): x[i] ^= 1\n"
Figures = dict[str, float]


def main() -> int:
    """Prints the figures, or JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rate", type=int, default=3600, help="records a second")
    parser.add_argument("--seconds", type=float, default=5.0, help="how long at that rate")
    parser.add_argument("--catch-up", type=int, default=200_000, help="records that wait for a recorder that starts")
    parser.add_argument("--rules", type=Path, action="append", default=[], help="detection rules that it runs")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--write", type=Path, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.write:
        write(chosen.write, chosen.rate, chosen.seconds)
        return 0
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        print("two cores are needed: one for the recorder, one for the writer", file=sys.stderr)
        return 1
    figures: Figures = {}
    measures: list[Callable[[Path], Figures]] = [
        partial(steady, cores=cores, rate=chosen.rate, seconds=chosen.seconds, rules=chosen.rules),
        partial(soon, cores=cores, rate=chosen.rate, seconds=chosen.seconds, rules=chosen.rules),
        partial(behind, cores=cores, count=chosen.catch_up, rules=chosen.rules),
    ]
    for measure in measures:
        with tempfile.TemporaryDirectory(prefix="feiyu-bench-") as directory:
            figures |= measure(Path(directory))
    if chosen.json:
        print(json.dumps(figures))
        return 0
    for name, value in figures.items():
        print(f"{name:32} {value:12.1f}")
    return 0


def steady(root: Path, cores: list[int], rate: int, seconds: float, rules: list[Path]) -> Figures:
    """CPU of the recorder at a steady rate: µs per record, idle µs per second, and context switches per second."""
    with running(root, cores[0], rules) as recorder, neighbour(cores[0]):
        time.sleep(0.5)
        before = _cpu(recorder.pid)
        time.sleep(2.0)
        idle = (_cpu(recorder.pid) - before) / 2.0
        before, switched, had = _cpu(recorder.pid), _switches(recorder.pid), taken(root)
        began = time.monotonic()
        subprocess.run(_on(cores[1], _writer(root, rate, seconds)), check=True)
        took = time.monotonic() - began
        time.sleep(0.5)
        count = taken(root) - had
        return {
            "records_per_s": count / took,
            "cpu_us_per_record": (_cpu(recorder.pid) - before) * 1e6 / count,
            "cpu_us_per_s_idle": idle * 1e6,
            "switches_per_s": (_switches(recorder.pid) - switched) / took,
        }


def soon(root: Path, cores: list[int], rate: int, seconds: float, rules: list[Path]) -> Figures:
    """Milliseconds from the write of a record to its arrival at a watcher, which gets durable records only."""
    with running(root, cores[0], rules), neighbour(cores[0]):
        stream = tail(root)
        with subprocess.Popen(_on(cores[1], _writer(root, rate, seconds))) as writer:
            late = []
            for data in stream:
                if data.startswith(b"data:") and b'"time":' in data:  # and no gap
                    now = time.time_ns()
                    at = data.index(b'"time":') + 7
                    late.append((now // 1000 - int(data[at : at + 16])) / 1000)
                if writer.poll() is not None and data == b":\n":
                    break
        cuts = statistics.quantiles(late, n=1000)
        return {"durable_ms_p50": cuts[499], "durable_ms_p99": cuts[989], "durable_ms_max": max(late)}


def behind(root: Path, cores: list[int], count: int, rules: list[Path]) -> Figures:
    """Records a second of a recorder that finds many waiting, its start not counted."""
    (root / "run" / "spool").mkdir(parents=True)
    writer = _open(root)
    number = total = 0
    while total < count:
        total += _flow(writer, number)
        number += 1
        if number % 64 == 0:
            writer.flush()
    writer.flush()
    path = root / "run" / "spool" / STATUS_FILE
    with running(root, cores[0], rules, wait=False) as recorder:
        first = _until(lambda: _status(path, 1), "the recorder takes records")
        before = _cpu(recorder.pid)
        last = _until(lambda: _status(path, total), "it has taken all")
        count = last.records - first.records
        return {
            "catch_up_records_per_s": count / (last.time - first.time),
            "catch_up_cpu_us_per_record": (_cpu(recorder.pid) - before) * 1e6 / count,
        }


def write(root: Path, rate: int, seconds: float) -> None:
    """Flows, evenly: one flush a millisecond, and each flow closed some time after it was opened."""
    writer = _open(root)
    began = time.monotonic()
    number = 0
    while (now := time.monotonic() - began) < seconds:
        while number < now * rate / 2:
            _flow(writer, number)
            number += 1
        writer.flush()
        time.sleep(_TICK)
    writer.close()


def tail(root: Path) -> Iterator[bytes]:
    """Lines of /tail."""
    connection = http.client.HTTPConnection("recorder", timeout=DEADLINE)
    connection.sock = socket.socket(socket.AF_UNIX)
    connection.sock.connect(str(root / "run" / "recorder.sock"))
    connection.request("GET", "/tail")
    response = connection.getresponse()
    response.readline()
    yield from iter(response.readline, b"")


@contextmanager
def running(
    root: Path, core: int, rules: Sequence[Path] = (), wait: bool = True, more: tuple[str, ...] = ()
) -> Iterator[subprocess.Popen[bytes]]:
    """The recorder on this core; more: arguments."""
    arguments = ["--state-dir", root / "state", "--run-dir", root / "run", "--node", NODE, "--boot", BOOT, *more]
    arguments += [word for path in rules for word in ("--rules", path)]
    command = [sys.executable, "-m", "telemetry.recorder", *map(str, arguments)]
    process = subprocess.Popen(_on(core, command))
    try:
        if wait:
            _until(lambda: taken(root) or None, "the recorder runs")
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(DEADLINE)


@contextmanager
def neighbour(core: int) -> Iterator[None]:
    """A process that would use the whole core, and its cache."""
    with subprocess.Popen(_on(core, [sys.executable, "-c", _SPIN])) as process:
        try:
            yield
        finally:
            process.kill()


def taken(root: Path) -> int:
    """Records in the log, as the recorder says."""
    status = _status(root / "run" / "spool" / STATUS_FILE, 1)
    return status.records if status else 0


def _open(root: Path) -> SpoolWriter:
    return SpoolWriter(root / "run" / "spool", NODE, BOOT, "w0.1", LIMIT)


def _flow(writer: SpoolWriter, number: int) -> int:
    """An open record of a new flow, and the close of one that was opened 64 flows ago; how many records that is."""
    writer.append(encode(_record(writer, number, "open")))
    if number < 64:
        return 1
    writer.append(encode(_record(writer, number - 64, "close")))
    return 2


def _record(writer: SpoolWriter, number: int, kind: str) -> Record:
    record = Record(
        node=NODE, boot=BOOT, worker=writer.process, seq=writer.next_seq(), kind=kind, time=time.time_ns() // 1000,
        flow=f"7ZQ2M4K9{number:08d}", tenant=f"tenant-{number % 50:04d}", site="lingang-a", room="r1",
        interface="acc0", user="u-5d0b7c1e", credential=f"cred-{number % 50:04d}", client_ip=f"10.64.{number % 50}.7",
        client_port=10_000 + number % 50_000, listener="plain", method="CONNECT", host="origin.abroad.example",
        port=443,
        user_agent="curl/8.14.1", address="203.0.113.10", line="iplc1", egress_ip="198.51.100.2",
        egress_port=10_000 + number % 50_000, service="svc-0007", grant=f"grant-{number % 900:06d}", revision=812,
        decision="permit", status=200,
    )  # fmt: skip
    if kind == "close":
        record.bytes_out, record.bytes_in, record.bytes_as_of = 517, 4096, record.time
        record.duration, record.rtt, record.cause = 35_812, 812, "client-closed"
    return record


def _on(core: int, command: list[str]) -> list[str]:
    return ["taskset", "-c", str(core), *command]


def _writer(root: Path, rate: int, seconds: float) -> list[str]:
    arguments = ["--write", str(root), "--rate", str(rate), "--seconds", str(seconds)]
    return [sys.executable, "-m", "tests.bench.recorder", *arguments]


def _cpu(pid: int) -> float:
    """Seconds on a core, of all threads, to the nanosecond."""
    return sum(int(path.read_text().split()[0]) for path in Path(f"/proc/{pid}/task").glob("*/schedstat")) / 1e9


def _switches(pid: int) -> int:
    """Context switches of all threads, of their own will or not."""
    return sum(
        int(text.split()[1])
        for path in Path(f"/proc/{pid}/task").glob("*/status")
        for text in path.read_text().splitlines()
        if "ctxt_switches" in text
    )


def _status(path: Path, least: int) -> Status | None:
    """What the recorder says of itself, once it has taken so many records."""
    try:
        fd = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return None
    try:
        status = read_status(fd)
        return status if status and status.records >= least else None
    finally:
        os.close(fd)


def _until[T](what: Callable[[], T | None], why: str) -> T:
    end = time.monotonic() + DEADLINE
    while time.monotonic() < end:
        if (found := what()) is not None:
            return found
        time.sleep(0.002)
    raise TimeoutError(f"not within {DEADLINE:.0f} s: {why}")


if __name__ == "__main__":
    sys.exit(main())

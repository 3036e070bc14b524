"""How soon an order of a rule reaches live control: from the record's time to the order's arrival, under load.

    python -m tests.bench.acting [--rate 3600] [--seconds 10] [--json]

A recorder with the starter pack and a rule that cuts, on a core with a busy neighbour; a writer of opens and refusals
on another, one in four hundred to the host that is cut (more would trip the rule's breaker). Workers then have a second
to acknowledge, and end a flow as soon as they read the order (tests.bench.enforced).
"""

import argparse
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from telemetry.spool import SpoolWriter
from tests.bench import recorder as bench
from tests.bench.rules import PACK

_RULE = """title: cut
id: 6c1c9c1a-6f0b-4a52-8a86-000000000001
logsource: {category: proxy}
detection: {s: {cs-host: cut.example}, condition: s}
response: {type: feiyu, action: cut}
"""


def main() -> int:
    """Prints the figures, or JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rate", type=int, default=3600, help="records a second")
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--json", action="store_true", help="print JSON")
    chosen = parser.parse_args()
    cores = sorted(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory(prefix="feiyu-bench-") as directory:
        figures = measure(Path(directory), cores, chosen.rate, chosen.seconds)
    print(json.dumps(figures) if chosen.json else "\n".join(f"{k:24} {v:10.1f}" for k, v in figures.items()))
    return 0


def measure(root: Path, cores: list[int], rate: int, seconds: float) -> bench.Figures:
    """Milliseconds from record to order."""
    (root / "rules").mkdir()
    (root / "run").mkdir()
    (root / "rules" / "cut.yml").write_text(_RULE)
    times: dict[str, int] = {}
    late: list[float] = []
    hub = threading.Thread(target=_hub, args=(root / "run" / "live.sock", times, late), daemon=True)
    hub.start()
    arguments = ["--state-dir", root / "state", "--run-dir", root / "run", "--node", bench.NODE, "--boot", bench.BOOT]
    arguments += ["--rules", PACK, "--rules", root / "rules", "--act"]
    command = [sys.executable, "-m", "telemetry.recorder", *map(str, arguments)]
    process = subprocess.Popen(["taskset", "-c", str(cores[0]), *command])
    try:
        while not bench.taken(root):
            time.sleep(0.05)
        with bench.neighbour(cores[0]):
            os.sched_setaffinity(0, {cores[-1]})
            _write(root, rate, seconds, times)
            time.sleep(2.0)
    finally:
        process.terminate()
        process.wait(60)
    cuts = statistics.quantiles(late, n=100)
    return {"orders": len(late), "asked": len(times), "ms_p50": cuts[49], "ms_p99": cuts[98], "ms_max": max(late)}


def _write(root: Path, rate: int, seconds: float, times: dict[str, int]) -> None:
    writer = SpoolWriter(root / "run" / "spool", bench.NODE, bench.BOOT, "w0.1", bench.LIMIT)
    began, number = time.monotonic(), 0
    while (now := time.monotonic() - began) < seconds:
        while number < now * rate:
            number += 1
            flow, host = f"F{number:015}", "cut.example" if number % 400 == 0 else f"h{number % 300}.example"
            moment = time.time_ns() // 1000
            if number % 400 == 0:
                times[flow] = moment
            kind = "open" if number % 2 == 0 else "deny"
            writer.append(
                bench.encode(
                    bench.Record(
                        node=bench.NODE, boot=bench.BOOT, worker="w0.1", seq=writer.next_seq(), kind=kind, time=moment,
                        flow=flow, tenant=f"t{number % 50}", host=host, port=443, method="CONNECT", line="hk1",
                        client_ip=f"10.0.{number % 99}.7", user_agent="curl/8", service="s", grant="g", credential="c",
                    )
                )
            )  # fmt: skip
        writer.flush()
        time.sleep(0.001)
    writer.close()


def _hub(path: Path, times: dict[str, int], late: list[float]) -> None:
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    listening.bind(str(path))
    listening.listen()
    peer, _ = listening.accept()
    peer.recv(65536)
    while packet := peer.recv(65536):
        message = json.loads(packet)
        if message["flow"] in times:
            late.append(time.time_ns() / 1e6 - times[message["flow"]] / 1e3)
        peer.send(b'{"done":1,"acked":["w0"],"killed":[]}')


if __name__ == "__main__":
    sys.exit(main())

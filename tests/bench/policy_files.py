"""What policy as files takes: importing a spreadsheet, planning beside a million grants, replaying a million decisions,
and from apply to enforced."""

import argparse
import json
import os
import pty
import random
import resource
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import batched
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import msgspec
from openpyxl import Workbook

from ops.cli.client import Client
from ops.cli.main import run as feiyu
from ops.policyfile.write import document as written
from telemetry.record import Record, encode
from telemetry.segments import segment_name
from tenants.change import Change
from tests.bench import large_policy as large
from tests.bench.policy import adds
from tests.ops.test_cli_control import CONFIG
from whitelist.model import Grant, Line
from whitelist.store import open_register

NOW = int(time.time())
WHY = ("--reason", "benchmark", "--no-input")


def main(arguments: list[str] | None = None) -> None:
    """Runs the parts that are named, prints a row for each figure."""
    parts: dict[str, Callable[[Path, float], dict[str, Any]]] = {
        "import": importing, "plan": planning, "replay": replaying, "apply": applying,
    }  # fmt: skip
    parser = argparse.ArgumentParser(prog="python -m tests.bench.policy", description=__doc__)
    parser.add_argument("parts", nargs="*", choices=[*parts, []], help="which (default: all)")
    parser.add_argument("--scale", type=float, default=1.0, help="of the sizes (default: 1)")
    parser.add_argument("--json", type=Path, help="write the figures there too")
    chosen = parser.parse_args(arguments)
    figures: dict[str, Any] = {}
    for name in chosen.parts or parts:
        before = _children()
        with TemporaryDirectory(prefix="feiyu-bench-") as directory:
            found = parts[name](Path(directory), chosen.scale)
        found[f"{name}_cpu_seconds_of_all_processes"] = _children() - before
        figures |= found
        for key, value in found.items():
            print(f"{key:45} {value:>12.2f}" if isinstance(value, float) else f"{key:45} {value:>12}", flush=True)
    if chosen.json:
        chosen.json.write_text(json.dumps(figures, indent=2))


def _children() -> float:
    """CPU seconds of processes that were started and have ended: on a busy machine the clock tells of others too."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


@contextmanager
def control(directory: Path, fill: Iterable[Change] = ()) -> Iterator[Path]:
    """A control process over a register of its own; the path of its configuration."""
    config = directory / "feiyu.yaml"
    config.write_text(CONFIG.format(directory))
    (directory / "run").mkdir()
    sys.stderr.flush()
    assert feiyu(["init", "--config", str(config)]) == 0
    book = open_register(directory / "state" / "register.db", create=False)
    for some in batched(fill, 50_000):
        book.apply_changes(some, "bench", "benchmark", NOW)
    book.store.close()
    process = subprocess.Popen(
        [sys.executable, "-m", "ops.control", "--config", str(config)], stderr=subprocess.DEVNULL
    )
    try:
        while not (directory / "run" / "control.sock").exists():
            assert process.poll() is None
            time.sleep(0.05)
        yield config
    finally:
        process.terminate()
        process.wait(60)


def zone() -> list[Change]:
    """Two lines, the firms and services of the large policy's smallest size."""
    lines = [
        Line(id=name, device=f"dev-{name}", index=n + 1, gateway4="192.0.2.1", source4=f"192.0.2.{n + 2}")
        for n, name in enumerate(("hk1", "sg1"))
    ]
    groups = [Change(collection="groups", verb="add", id=f"group-{n}") for n in range(large.GROUPS)]
    categories = [Change(collection="categories", verb="add", id=f"category-{n}") for n in range(large.CATEGORIES)]
    services = adds("services", map(large.service, range(large.SERVICES)), "retired")
    return [*groups, *categories, *adds("lines", lines, "index", "drained", "retired"), *services]


def firms(count: int) -> list[Change]:
    """So many firms."""
    return adds("tenants", map(large.tenant, range(count)), "slot", "state")


def _large(grants: int) -> Iterator[Change]:
    """The large policy as changes, made while they are applied."""
    yield from zone()
    yield from firms(large.tenants_of(grants))
    for some in batched(range(grants), 10_000):
        yield from adds("grants", (begun(large.grant(n, grants)) for n in some), "state")


def importing(directory: Path, scale: float) -> dict[str, Any]:
    """A workbook of 100,000 rows becomes 100,000 grants in force, with the progress bar shown on a terminal."""
    rows = int(100_000 * scale)
    sheet = Workbook(write_only=True)
    page = sheet.create_sheet("whitelist")
    page.append(["名称", "域名", "端口", "用途", "到期日期"])
    for n in range(rows):
        page.append([f"Service {n}", f"api.s{n}.imported.example", 443, "内部办公自用", "2035-12-31"])
    path = directory / "list.xlsx"
    sheet.save(path)
    with control(directory, [*zone(), *firms(1)]) as config:
        command = [sys.executable, "-m", "ops.cli.main", "policy", "import", str(path), "--tenant", "firm-0"]
        command += ["--line", "hk1", "--apply", "-o", "csv", "--config", str(config), *WHY]
        began = time.monotonic()
        status, shown = _in_terminal(command)
        took = time.monotonic() - began
        assert status == 0, shown[-2000:]
        grants = Client(str(directory / "run" / "control.sock")).get("/v1/grants", {"tenant": "firm-0", "limit": 1})
        assert grants["items"]
    return {"import_rows": rows, "import_seconds": took, "import_bar_drawn_times": shown.count(b"reading")}


def _in_terminal(command: list[str]) -> tuple[int, bytes]:
    """Exit status and what a command showed on a terminal."""
    master, slave = pty.openpty()
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "120"}
    process = subprocess.Popen(command, stdout=slave, stderr=slave, stdin=subprocess.DEVNULL, env=environment)
    os.close(slave)
    shown = bytearray()
    while True:
        try:
            data = os.read(master, 65_536)
        except OSError:  # EIO: the other end is closed
            break
        if not data:
            break
        shown += data
    os.close(master)
    return process.wait(), bytes(shown)


def planning(directory: Path, scale: float) -> dict[str, Any]:
    """Beside a register of 1,000,000 grants: the plan of a file with the thousand grants of ten firms, complete for
    one of them and half of them changed, as the command takes it from reading the file to the last line."""
    grants = int(1_000_000 * scale)
    began = time.monotonic()
    with control(directory, _large(grants)) as config:
        filled = time.monotonic() - began
        socket = str(directory / "run" / "control.sock")
        chosen = [
            g
            for n in range(10)
            for g in Client(socket).get("/v1/grants", {"tenant": f"firm-{n}", "limit": 1000})["items"]
        ]
        for grant in chosen[::2]:
            grant["window"]["valid_until"] += 86_400
        text = written({"grants": [_bare(grant) for grant in chosen]}, defaults={"lines": ["hk1", "sg1"]})
        path = directory / "ten.yaml"
        path.write_text(text.replace("feiyu: policy/1\n", "feiyu: policy/1\nscope: {tenants: [firm-0]}\n", 1))
        figures = {"plan_register_grants": grants, "plan_fill_seconds": filled, "plan_file_grants": len(chosen)}
        figures["plan_ten_firms_seconds"] = _timed(["policy", "plan", str(path), "--config", str(config), "-o", "json"])
    return figures


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def begun(grant: Grant) -> Grant:
    """A grant in force around now."""
    window = msgspec.structs.replace(grant.window, valid_from=NOW - 86_400 * 30, valid_until=NOW + 86_400 * 300)
    return msgspec.structs.replace(grant, window=window)


def _bare(grant: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in grant.items() if name not in ("provenance", "state")}


def _timed(arguments: list[str]) -> float:
    """Seconds of a command, in a process of its own."""
    began = time.monotonic()
    command = [sys.executable, "-m", "ops.cli.main", *arguments]
    done = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    assert done.returncode in (0, 1), done.stderr.decode()
    return time.monotonic() - began


def replaying(directory: Path, scale: float) -> dict[str, Any]:
    """1,000,000 recorded decisions again, beside a register of 100,000 grants, with a file that revokes and grants."""
    count, grants = int(1_000_000 * scale), 100_000
    with control(directory, _large(grants)) as config:
        log = directory / "state" / "log"
        chance = random.Random(1)
        with (log / segment_name(0)).open("wb") as file:
            for n in range(count):
                tenant, source, host, _ = large.asked(chance, grants)
                permit = "unknown" not in host
                record = Record(
                    node="gw1.zone.example", boot="0000abcd", worker="w0", seq=n + 1, kind="open" if permit else "deny",
                    time=(NOW - 86_400 * 5) * 1_000_000 + n * 400_000, flow=f"{n:016d}", tenant=tenant, site="a",
                    room="r1", interface="acc0", user="u-1234567890", credential="c-1234567890", client_ip=source,
                    client_port=40_000, listener="plain", method="CONNECT", host=host, port=443, revision=7,
                    service="service-1" if permit else "", grant="g-0000000001" if permit else "",
                    decision="permit" if permit else "deny", reason="" if permit else "not-whitelisted",
                    status=200 if permit else 403,
                )  # fmt: skip
                file.write(encode(record) + b"\n")
        path = directory / "replay.yaml"
        wish = {
            "services": [{"id": "fresh", "name": "Fresh", "endpoints": [{"target": "*.example.org", "ports": [443]}]}],
            "grants": [
                {
                    "subject": f"tenant:firm-{n}", "object": "service:fresh", "lines": ["hk1"],
                    "window": {"valid_from": NOW - 86_400, "valid_until": NOW + 86_400},
                }
                for n in range(50)
            ],
        }  # fmt: skip
        scope = "feiyu: policy/1\nscope: {tenants: [firm-0, firm-1]}\n"
        path.write_text(written(wish).replace("feiyu: policy/1\n", scope, 1))
        took = _timed(["replay", "--policy", str(path), "--since", "7d", "--config", str(config), "-o", "json"])
    return {"replay_decisions": count, "replay_seconds": took}


def applying(directory: Path, scale: float) -> dict[str, Any]:
    """From the request to the answer that every worker has acknowledged: a whole node with 100,000 grants."""
    from tests.bench.policy_enforced import measure

    return measure(directory, int(100_000 * scale))


if __name__ == "__main__":
    main()

"""The figures as a table for people and as JSON for the next run."""

import json
import os
import platform
import statistics
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from tests.bench.measure import Spread

# figure: what it is, unit, and the most it may be beside Squid (0: no such number)
FIGURES = {
    "tunnel_us": ("CPU per tunnel, worker", "µs", 0.85),
    "tunnel_us_user": ("  of it user", "µs", 0),
    "tunnel_us_system": ("  of it system", "µs", 0),
    "tunnel_us_whole": ("CPU per tunnel, all processes", "µs", 0),
    "tunnels_per_s": ("tunnels a second", "", 0),
    "down_ms_per_gb": ("CPU per GB down, worker", "ms", 0.3),
    "down_ms_per_gb_whole": ("CPU per GB down, all processes", "ms", 0),
    "up_ms_per_gb": ("CPU per GB up, worker", "ms", 0.3),
    "up_ms_per_gb_whole": ("CPU per GB up, all processes", "ms", 0),
    "request_p50_us": ("request in an open tunnel, p50", "µs", 1.1),
    "request_p99_us": ("request in an open tunnel, p99", "µs", 0),
    "idle_kb": ("memory per idle tunnel, worker", "kB", 0),
    "idle_kb_whole": ("memory per idle tunnel, all processes", "kB", 0),
}
# figure: the most it may be, by itself
LIMITS = {
    "idle_kb": 4.0,
    "worker_anonymous_growth_mb": 30.0,
    "change_enforced_ms_max": 100.0,
    "change_cut_ms_max": 1000.0,
    "published_ms_max": 1500.0,
    "proof_ms_p50": 1.0,
}
# figure: the least it may be
LEAST = {"integrated_records_per_s": 10_000.0, "verified_records_per_s": 200_000.0}
# figure of tests.bench.decision: the most it may be, and what it is
DECISION = {
    "steady_us_p50": (0.0, "decision p50, µs"),
    "steady_us_p99": (20.0, "decision p99, µs"),
    "compile_s": (0.0, "compiled in, s"),
    "change_ms_p50": (0.0, "a change published in, ms"),
    "anonymous_MB": (30.0, "memory to open it, MB"),
}
PEER = "squid"
_FIGURES = (("tenants and grants", "scale"), ("a grant revoked, ms", "enforced"), ("the evidence log", "evidence"))
WIDTH = 150  # columns of a table that goes to a file


def table(result: dict[str, Any], console: Console) -> None:
    """Prints all of it."""
    compared = result.get("compared", {})
    if any(compared.values()):
        console.print(_comparison(compared))
    if sizes := result.get("decision"):
        console.print(_decisions(sizes))
    for title, name in _FIGURES:
        if figures := result.get(name):
            console.print(_figures(title, figures))
    for name, about in result["proxies"].items():
        console.print(f"{name}: {about}", highlight=False)
    console.print(", ".join(f"{key} {value}" for key, value in result["machine"].items()), highlight=False)


def _decisions(sizes: list[dict[str, float]]) -> Table:
    shown = Table(title="the whitelist by the number of grants", title_justify="left")
    shown.add_column("grants", justify="right")
    for _, words in DECISION.values():
        shown.add_column(words, justify="right")
    for size in sizes:
        cells = [f"{size[key]:,.2f}{_verdict(size[key], limit)}" for key, (limit, _) in DECISION.items()]
        shown.add_row(f"{size['grants']:,}", *cells)
    return shown


def _figures(title: str, figures: dict[str, float]) -> Table:
    shown = Table(title=title, title_justify="left", show_header=False)
    for key, value in figures.items():
        verdict = _verdict(value, LIMITS.get(key, 0))
        if least := LEAST.get(key):
            verdict = f" (≥ {least:,.0f}: {'yes' if value >= least else 'NO'})"
        shown.add_row(key, f"{value:,.1f}", verdict)
    return shown


def _comparison(compared: dict[str, Spread]) -> Table:
    names = list(compared)
    shown = Table(title="medians over the rounds; ×: the ratio to Squid in the same round", title_justify="left")
    shown.add_column("")
    for name in names:
        shown.add_column(name, justify="right")
        if name != PEER:
            shown.add_column("×", justify="right")
    shown.add_column("wanted", justify="right")
    for key, (words, unit, wanted) in FIGURES.items():
        if not any(key in figures for figures in compared.values()):
            continue
        cells = []
        for name in names:
            values = compared[name].get(key)
            cells.append("–" if values is None else f"{statistics.median(values):,.1f}")
            if name != PEER:
                ratio = ratio_of(compared, name, key)
                cells.append("–" if ratio is None else f"{ratio:.2f}")
        limit = f"≤ {wanted:g} ×" if wanted else f"≤ {LIMITS[key]:g} {unit}" if key in LIMITS else ""
        shown.add_row(f"{words}, {unit}" if unit else words, *cells, limit)
    return shown


def ratio_of(compared: dict[str, Spread], name: str, key: str) -> float | None:
    """A proxy's figure by Squid's of the same round; the median over the rounds."""
    pairs = zip(compared[name].get(key, ()), compared.get(PEER, {}).get(key, ()), strict=False)
    ratios = [mine / theirs for mine, theirs in pairs if theirs]
    return statistics.median(ratios) if ratios else None


def save(result: dict[str, Any], path: Path) -> None:
    """Writes the same figures, with the ratios, as JSON."""
    compared: dict[str, Spread] = result.get("compared", {})
    ratios = {
        name: {key: ratio for key in figures if (ratio := ratio_of(compared, name, key)) is not None}
        for name, figures in compared.items()
        if name != PEER
    }
    medians = {
        name: {key: {"median": statistics.median(values), "rounds": values} for key, values in figures.items()}
        for name, figures in compared.items()
    }
    path.write_text(json.dumps(result | {"compared": medians, "ratios": ratios}, indent=1) + "\n")


def machine() -> dict[str, Any]:
    """Where it was measured."""
    model = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if "model name" in line
        ),
        platform.machine(),
    )
    congestion = Path("/proc/sys/net/ipv4/tcp_congestion_control").read_text().strip()
    return {
        "cpu": model,
        "cores": len(os.sched_getaffinity(0)),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "tcp": congestion,
    }


def _verdict(value: float, limit: float) -> str:
    return "" if not limit else f" (≤ {limit:g}: {'yes' if value <= limit else 'NO'})"

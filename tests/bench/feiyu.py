"""Feiyu as it runs on a node, for the measurement."""

import json
import sys
import time
from collections.abc import Sequence
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

from ops import hub_client, processes
from ops.settings import load_settings
from tests.bench import cpu
from tests.bench.load import Load, LoadError
from tests.bench.population import LINE, MAX_TUNNELS, ROOM, SITE
from tests.bench.proxy import Proxy
from tests.bench.zone import ACCESS_DEVICE, CODE, GATEWAY, SOURCES, Zone

FEIYU_PORT = 3128
DATA_PLANE, FULL = "feiyu", "feiyu-up"
ABOUT = {"tests.bench.node": "supervisor, worker and recorder", "ops.supervisor": "a whole node with its kernel rules"}
_CONTROL_WITHIN = 30.0  # seconds


def configuration(zone: Zone, state: Path, workers: int, listeners: Sequence[dict[str, Any]] = ()) -> Path:
    """Writes the node's configuration (JSON is YAML) and gives its path; listeners: further ones. The limits per source
    and tenant are raised, since all the load comes from few."""
    path = zone.directory / "feiyu.yaml"
    settings = {
        "node": "bench.zone.example", "state_dir": str(state), "run_dir": str(zone.run), "workers": workers,
        "listeners": [
            {"name": "plain", "address": f"{GATEWAY}:{FEIYU_PORT}", "interface": ACCESS_DEVICE}, *listeners
        ],
        "access": [
            {"interface": ACCESS_DEVICE, "site": SITE, "room": ROOM, "prefixes": ["10.0.0.0/24", SOURCES]}
        ],
        "users": {"base": 62000},
        "limits": {
            "handshakes_per_source": 8192, "handshakes": 8192, "tunnels_per_tenant": MAX_TUNNELS,
            "tunnels_per_user": MAX_TUNNELS,
        },
        "metrics": {"address": "127.0.0.1:9464"},
    }  # fmt: skip
    path.write_text(json.dumps(settings, indent=1))
    if processes.cannot_run(load_settings(path)):  # an interpreter below /root: nobody else may run it
        settings["users"] = {"base": 0}
        path.write_text(json.dumps(settings, indent=1))
    return path


def data_plane(
    zone: Zone, load: Load, state: Path, workers: int = 1, name: str = DATA_PLANE,
    listeners: Sequence[dict[str, Any]] = (),
) -> Proxy:  # fmt: skip
    """Supervisor, hub, workers and recorder; the line is announced up, the kernel has no rules of ours."""
    proxy = _start(zone, load, state, workers, name, "tests.bench.node", listeners)
    _say(zone.run, {"kind": "revision", "revision": 1}, "control")
    _say(zone.run, {"kind": "line", "line": LINE.id, "state": "up"}, "lines")
    return proxy


def full(zone: Zone, load: Load, state: Path, workers: int = 1, name: str = FULL) -> Proxy:
    """What `feiyu up` runs: control and lines as well, the line's rules, routes and nft table in the kernel."""
    return _start(zone, load, state, workers, name, "ops.supervisor")


def _start(
    zone: Zone, load: Load, state: Path, workers: int, name: str, module: str, listeners: Sequence[dict[str, Any]] = ()
) -> Proxy:
    config = configuration(zone, state, workers, listeners)
    argv = [sys.executable, "-m", module, "--config", str(config)]
    process = zone.spawn(zone.gateway, argv, zone.proxy_core, "node", cwd=CODE)
    about = f"Feiyu {version('feiyu')}, {ABOUT[module]}, {workers} {'worker' if workers == 1 else 'workers'}"
    stop = partial(zone.end, process, 60)
    return Proxy(name, load, process.pid, partial(worker_pids, process.pid), stop, about)


def worker_pids(root: int) -> list[int]:
    """The workers below a supervisor."""
    return [pid for pid in cpu.tree(root) if "ops.worker" in cpu.command(pid)]


def _say(run: Path, message: dict[str, object], role: str) -> None:
    """Publishes one message through the hub, waiting for the hub to be there."""
    until = time.monotonic() + _CONTROL_WITHIN
    while True:
        try:
            hub_client.send(run / "live.sock", message, role=role)
        except hub_client.HubUnreachableError as error:
            if time.monotonic() > until:
                raise LoadError(f"the hub does not answer: {error}") from None
            time.sleep(0.05)
        else:
            return

"""From applying a policy file to every worker enforcing it: supervisor, hub, control, two workers and the recorder, as
`feiyu up` starts them; no lines process, so the kernel's tables stay as they are.

Run as a program it is that node: python -m tests.bench.policy_enforced --config CONFIG
"""

import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from ops import processes, supervisor
from ops.cli.client import Client
from ops.cli.errors import CliError
from ops.cli.main import run as feiyu
from ops.processes import Share
from ops.settings import Settings
from ops.spawn import ProcessSpec
from whitelist.store import open_register

ROLES = frozenset(("control", "worker", "recorder"))
CONFIG = """\
node: gw1.zone.example
state_dir: {0}/state
run_dir: {0}/run
workers: 2
listeners: [{{name: plain, address: "127.0.0.1:{1}"}}]
access: [{{interface: lo, site: a, room: r1, prefixes: ["127.0.0.0/8"]}}]
metrics: {{address: ""}}
"""
TIMES = 21


def plan(settings: Settings, config: Path, boot: str, share: Share) -> list[ProcessSpec]:
    """The processes of ops.processes.plan that decide, enforce and record."""
    return [spec for spec in processes.plan(settings, config, boot, share) if spec.role in ROLES]


def measure(directory: Path, grants: int) -> dict[str, Any]:
    """Milliseconds of one apply over control's socket: all of it, and the workers' part; beside so many grants."""
    from tests.bench import large_policy as large
    from tests.bench.policy import adds
    from tests.bench.policy_files import NOW, begun, firms, free_port, zone

    config = directory / "feiyu.yaml"
    config.write_text(CONFIG.format(directory, free_port()).replace('metrics: {address: ""}\n', ""))
    (directory / "run").mkdir()
    assert feiyu(["init", "--config", str(config)]) == 0
    book = open_register(directory / "state" / "register.db", create=False)
    fill = [*zone(), *firms(large.tenants_of(grants))]
    fill += adds("grants", (begun(large.grant(n, grants)) for n in range(grants)), "state")
    book.apply_changes(fill, "bench", "benchmark", NOW)
    book.store.close()
    command = [sys.executable, "-m", "tests.bench.policy_enforced", "--config", str(config)]
    node = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        client = Client(str(directory / "run" / "control.sock"))
        _until_up(client, node)
        return _apply(client, grants)
    finally:
        node.terminate()
        node.wait(60)


def _until_up(client: Client, node: "subprocess.Popen[bytes]") -> None:
    """Waits until both workers acknowledge a change."""
    for _ in range(1200):
        assert node.poll() is None
        try:
            body = {"target": f"up{time.monotonic_ns()}.example", "reason": "is it up"}
            answer = client.call("POST", "/v1/denies", body)
            if len([name for name in (answer.get("enforced") or {}).get("acked", []) if name.startswith("w")]) == 2:
                return
        except CliError:
            pass
        time.sleep(0.1)
    raise AssertionError("the workers do not answer")


def _apply(client: Client, grants: int) -> dict[str, Any]:
    whole, workers = [], []
    for n in range(TIMES):
        wish = {
            "proposal": {
                "services": [{"id": f"fresh-{n}", "name": "Fresh", "endpoints": [{"target": f"fresh{n}.example.org"}]}],
                "grants": [
                    {
                        "subject": "tenant:firm-0", "object": f"service:fresh-{n}", "lines": ["hk1"],
                        "window": {"valid_from": 0, "valid_until": 4_000_000_000},
                    }
                ],
                "tests": [
                    {"name": "it passes", "tenant": "firm-0", "target": f"fresh{n}.example.org", "verdict": "permit"}
                ],
            }
        }  # fmt: skip
        revision = client.call("POST", "/v1/policy/plan", wish)["revision"]
        began = time.monotonic()
        answer = client.call("POST", "/v1/policy/apply", {**wish, "reason": "benchmark"}, revision=revision)
        whole.append((time.monotonic() - began) * 1e3)
        assert len(answer["enforced"]["acked"]) >= 2
        assert not answer["enforced"]["killed"]
        workers.append(float(answer["enforced"]["ms"]))
    return {
        "apply_register_grants": grants,
        "apply_to_enforced_ms_p50": statistics.median(whole),
        "apply_to_enforced_ms_max": max(whole),
        "apply_workers_ms_p50": statistics.median(workers),
    }


if __name__ == "__main__":
    sys.exit(supervisor.run(sys.argv[2], plan=plan))

"""A real supervisor whose processes are stand-ins: python tests/ops/node_under_test.py CONFIG. The file named by
STAND_IN_ROLES says how the stand-ins of each role misbehave from their next start on: {"worker": "silent"}."""

import os
import sys
from pathlib import Path

from ops import processes, supervisor
from ops.children import ProcessSpec
from ops.privileges import CAP_NET_ADMIN
from ops.processes import Share
from ops.settings import Settings

STAND_IN = Path(__file__).with_name("stand_in.py")


def plan(settings: Settings, config: Path, boot: str, share: Share) -> list[ProcessSpec]:
    """A recorder, control, lines and the workers, all of them stand-ins."""
    environment = processes.environment_of(config, boot) | {"STAND_IN_ROLES": os.environ["STAND_IN_ROLES"]}
    allowed = processes.allowed(None, None, CAP_NET_ADMIN)
    argv = (sys.executable, "-P", str(STAND_IN))
    others = [
        ProcessSpec(name, name, argv, environment | {"STAND_IN_ROLE": name}, allowed, stop_timeout=2)
        for name in ("recorder", "control", "lines")
    ]
    workers = [
        processes.worker(settings, environment | {"STAND_IN_ROLE": "worker"}, slot, share(slot), argv)
        for slot in range(settings.worker_count)
    ]
    return others + workers


if __name__ == "__main__":
    sys.exit(supervisor.run(sys.argv[1], plan))

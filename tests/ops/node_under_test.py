"""A real supervisor with the real table of processes, each a stand-in: python tests/ops/node_under_test.py CONFIG.

The file named by STAND_IN_ROLES says how the stand-ins of a role misbehave from their next start: {"worker": "deaf"}.
"""

import os
import sys
from dataclasses import replace
from pathlib import Path

from ops import processes, supervisor
from ops.processes import Share
from ops.settings import Settings
from ops.spawn import ProcessSpec

STAND_IN = Path(__file__).with_name("stand_in.py")


def plan(settings: Settings, config: Path, boot: str, share: Share) -> list[ProcessSpec]:
    """The node's own plan with another program in each place."""

    def stand_in(spec: ProcessSpec) -> ProcessSpec:
        own = {"STAND_IN_ROLES": os.environ["STAND_IN_ROLES"], "STAND_IN_ROLE": spec.role}
        timeout = spec.stop_timeout if spec.role == "worker" else 2.0
        argv = (sys.executable, "-P", str(STAND_IN))
        return replace(spec, argv=argv, environment=spec.environment | own, stop_timeout=timeout)

    return [stand_in(spec) for spec in processes.plan(settings, config, boot, share)]


if __name__ == "__main__":
    sys.exit(supervisor.run(sys.argv[1], plan))

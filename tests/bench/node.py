"""The data plane of a node: python -m tests.bench.node --config CONFIG

Supervisor, hub, workers and recorder as `feiyu up` starts them; no control and no lines process, so the kernel's tables
are as they were. Whoever starts it says through the hub which revision there is and that the line is up.
"""

import sys
from pathlib import Path

from ops import processes, supervisor
from ops.processes import Share
from ops.settings import Settings
from ops.spawn import ProcessSpec

ROLES = frozenset(("worker", "recorder"))


def plan(settings: Settings, config: Path, boot: str, share: Share) -> list[ProcessSpec]:
    """The processes of ops.processes.plan that carry and record."""
    return [spec for spec in processes.plan(settings, config, boot, share) if spec.role in ROLES]


if __name__ == "__main__":
    sys.exit(supervisor.run(sys.argv[2], plan=plan))

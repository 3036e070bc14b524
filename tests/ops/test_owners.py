"""A whole node whose processes have users of their own: the shared counters are the workers' alone, and tenants' bytes
outlive a change of the users."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from gateway.usage import read
from ops import processes
from tests.ops.test_supervisor import Node, reachable

pytestmark = pytest.mark.root
COUNTERS = ("run/counters", "run/users", "run/attempts", "run/figures", "state/usage/bytes")
ALONE = 'ip link set lo up && exec "$@"'  # in a network namespace: the node sets rules, sysctls and an nft table


@dataclass
class Real(Node):
    """A node of real processes in a network namespace of its own."""

    starts: int = field(default=0)

    def start(self) -> None:
        self.starts += 1
        aside = self.directory / f"aside{self.starts}"
        self.popen = self._feiyu(reachable([*processes.module("ops.cli.main", "up")], 62_001, aside))

    def init(self) -> None:
        """Keys and an empty register, by root."""
        assert self._feiyu([*processes.module("ops.cli.main", "init")]).wait(60) == 0, self.log()

    def _feiyu(self, command: list[str]) -> subprocess.Popen[bytes]:
        own = {"FEIYU_CONFIG": str(self.config), "PYTHONPATH": str(processes.CODE), "PYTHONDONTWRITEBYTECODE": "1"}
        with (self.directory / "log").open("ab") as log:
            return subprocess.Popen(
                ["unshare", "--net", "sh", "-c", ALONE, "sh", *command],
                env=os.environ | own, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.directory,
            )  # fmt: skip

    def stop(self) -> None:
        """In order."""
        os.kill(self.pid, signal.SIGTERM)
        assert self.popen
        assert self.popen.wait(30) == 0, self.log()

    def owners(self) -> dict[str, tuple[int, int, str]]:
        """Owner, group and mode of the shared counters."""
        found = {}
        for name in COUNTERS:
            status = (self.directory / name).stat()
            found[name] = (status.st_uid, status.st_gid, f"{status.st_mode & 0o7777:o}")
        return found


@pytest.fixture
def real() -> Iterator[Real]:
    with tempfile.TemporaryDirectory(prefix="fyt-") as directory:
        Path(directory).chmod(0o755)  # a parent that other users may pass
        made = Real(Path(directory), 3128)
        yield made
        if made.popen and made.popen.poll() is None:
            made.popen.kill()
            made.popen.wait()


_MAY = """
for path; do
    if (exec 3<>"$path") 2>/dev/null; then echo write
    elif (exec 3<"$path") 2>/dev/null; then echo read
    else echo nothing; fi
done
"""


def may(real: Real, uid: int, gid: int) -> dict[str, str]:
    """What a process of this user and group, without capabilities, may do with the shared counters."""
    user = ["setpriv", f"--reuid={uid}", f"--regid={gid}", "--clear-groups", "--"]
    paths = [str(real.directory / name) for name in COUNTERS]
    done = subprocess.run(
        [*user, "sh", "-c", _MAY, "sh", *paths], capture_output=True, text=True, check=True, timeout=20
    )
    return dict(zip(COUNTERS, done.stdout.split(), strict=True))


_BY_ROOT = """
import sys
from pathlib import Path
from gateway.figures import Figures
from gateway.usage import Usage
directory = Path(sys.argv[1])
Figures(directory / "run" / "figures", 4).close()
usage = Usage(directory / "state" / "usage" / "bytes", 4)
usage.add(7, "acme", 1_000, float(sys.argv[2]))
usage.close()
"""


def test_the_counters_are_the_workers_alone_and_bytes_outlive_a_change_of_users(real: Real) -> None:
    """As root left them, then under users of their own, then under others, then as root again."""
    now, usage = time.time(), real.directory / "state" / "usage" / "bytes"
    real.write(workers=1)
    real.init()
    for name in ("run", "state/usage"):
        (real.directory / name).mkdir(exist_ok=True)
    command = [sys.executable, "-c", _BY_ROOT, str(real.directory), str(now)]
    subprocess.run(command, cwd=processes.CODE, check=True, timeout=20)
    for base in (62_000, 62_100, 0):
        real.up(workers=1, extra=f"users: {{base: {base}}}\n")
        uid, gid = (base + 1, base + 9) if base else (0, 0)
        assert real.owners() == dict.fromkeys(COUNTERS, (uid, gid, "640"))
        if base:
            for who, other in {"lines": base, "control": base + 2, "recorder": base + 3, "streams": base + 6}.items():
                assert may(real, other, gid) == dict.fromkeys(COUNTERS, "read"), who
            assert may(real, 60_000, 60_000) == dict.fromkeys(COUNTERS, "nothing"), "a stranger"
            assert may(real, uid, gid) == dict.fromkeys(COUNTERS, "write")
        real.stop()
        assert read(usage, 7, "acme", now).month == 1_000

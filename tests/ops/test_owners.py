"""A whole node whose processes have users of their own: the shared counters are the workers' alone, and tenants' bytes
outlive a change of the users."""

import errno
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

from gateway.columns import read_cells
from gateway.usage import Usage, read
from ops import processes
from tests.netns.child import in_a_child
from tests.ops.test_supervisor import Node, reachable

pytestmark = pytest.mark.root
COUNTERS = ("run/counters", "run/attempts", "run/figures", "state/usage/bytes")
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


def attempt(path: Path, uid: int, gid: int, flags: int) -> str:
    """What the kernel says to a process of this user and group, without capabilities, that opens the file."""

    def work() -> str:
        os.setresgid(gid, gid, gid)
        os.setgroups([])
        os.setresuid(uid, uid, uid)
        try:
            os.close(os.open(path, flags))
        except OSError as error:
            return errno.errorcode[error.errno or 0]
        return "opened"

    return in_a_child(work)


def test_the_counters_are_the_workers_alone_and_bytes_outlive_a_change_of_users(real: Real) -> None:
    def users(base: int) -> str:
        return f"users: {{base: {base}}}\n"

    now = time.time()
    real.write(workers=1, extra=users(0))
    real.init()
    for base in (0, 62_000, 62_100, 0):
        real.up(workers=1, extra=users(base))
        uid, gid = (base + 1, base + 9) if base else (0, 0)
        assert real.owners() == dict.fromkeys(COUNTERS, (uid, gid, "640"))
        if base:
            for name in COUNTERS:
                path = real.directory / name
                for other, reads in ((base, "opened"), (base + 2, "opened"), (base + 3, "opened")):
                    assert attempt(path, other, gid, os.O_RDONLY) == reads, name
                    assert attempt(path, other, gid, os.O_RDWR) == "EACCES", name
                assert attempt(path, 60_000, 60_000, os.O_RDONLY) == "EACCES", name
                assert attempt(path, uid, gid, os.O_RDWR) == "opened", name
        usage = real.directory / "state" / "usage" / "bytes"
        assert len(read_cells(usage, Usage.COLUMN_CELLS)) == 4, "a worker has made room in it"
        real.stop()
        if base == 0 and real.starts == 1:
            counted = subprocess.run(
                [sys.executable, "-c", _COUNT, str(usage), str(now)], cwd=processes.CODE, check=True, timeout=20
            )
            assert counted.returncode == 0
        assert read(usage, 7, "acme", now).month == 1_000


_COUNT = """
import sys
from pathlib import Path
from gateway.usage import Usage
usage = Usage(Path(sys.argv[1]), 4)
usage.add(7, "acme", 1_000, float(sys.argv[2]))
usage.close()
"""

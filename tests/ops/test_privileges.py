"""What a child holds after exec, read from /proc/PID/status."""

import os
import select
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ops import privileges
from ops.privileges import CAP_NET_ADMIN, CAP_NET_RAW, Privileges

ROOT = Path(__file__).parents[2]
SLEEP = shutil.which("sleep") or "/bin/sleep"


def status(pid: int) -> dict[str, str]:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {key: value.strip() for key, _, value in (line.partition(":") for line in lines)}


def sleeper(wanted: Privileges, parent: int) -> subprocess.Popen[bytes]:
    command = [SLEEP, "60"]
    return subprocess.Popen(command, preexec_fn=lambda: privileges.apply(wanted, parent))  # noqa: PLW1509  # no threads here


@pytest.fixture
def start() -> Iterator[Callable[[Privileges], int]]:
    started: list[subprocess.Popen[bytes]] = []

    def run(wanted: Privileges) -> int:
        started.append(sleeper(wanted, os.getpid()))
        return started[-1].pid

    yield run
    for child in started:
        child.kill()
        child.wait()


def bits(*capabilities: int) -> str:
    return f"{sum(1 << number for number in capabilities):016x}"


SETS = {
    "control and recorder hold none": (),
    "a worker holds CAP_NET_RAW": (CAP_NET_RAW,),
    "lines holds CAP_NET_ADMIN": (CAP_NET_ADMIN,),
}


@pytest.mark.root
@pytest.mark.parametrize("uid", [None, 62001], ids=["keeping uid 0", "as another user"])
@pytest.mark.parametrize("capabilities", SETS.values(), ids=SETS)
def test_capabilities_are_exact_after_exec(
    start: Callable[[Privileges], int], capabilities: tuple[int, ...], uid: int | None
) -> None:
    before = status(os.getpid())
    assert int(before["CapPrm"], 16) & ~int(bits(*capabilities), 16), (
        "the test process holds no more than the child will"
    )
    gid = 62009 if uid else None
    found = status(start(Privileges(uid=uid, gid=gid, capabilities=frozenset(capabilities))))
    for key in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
        assert found[key] == bits(*capabilities), key
    assert found["NoNewPrivs"] == "1"
    assert found["Uid"].split() == [str(uid or 0)] * 4
    assert found["Gid"].split() == [str(gid or 0)] * 4
    assert found["Groups"] == ""


def test_limits_and_umask(start: Callable[[Privileges], int]) -> None:
    pid = start(Privileges())
    limits = Path(f"/proc/{pid}/limits").read_text()
    core = next(line for line in limits.splitlines() if line.startswith("Max core file size"))
    files = next(line for line in limits.splitlines() if line.startswith("Max open files"))
    assert core.split()[4:6] == ["0", "0"]
    assert files.split()[3] == files.split()[4], "the soft limit is raised to the hard one"
    assert status(pid)["Umask"] == "0027"


SURVIVOR = """
import os, signal, subprocess, sys
from ops import privileges
parent = os.getpid()
uid = int(sys.argv[1]) or None
wanted = privileges.Privileges(uid=uid, gid=uid)
child = subprocess.Popen([sys.argv[2], "60"], preexec_fn=lambda: privileges.apply(wanted, parent))
print(child.pid, flush=True)
signal.pause()
"""


@pytest.mark.parametrize("uid", [0, pytest.param(62001, marks=pytest.mark.root)])
def test_a_child_does_not_outlive_a_killed_parent(uid: int) -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", SURVIVOR, str(uid), SLEEP],
        cwd=ROOT,
        stdout=subprocess.PIPE,
    )
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    watch = os.pidfd_open(pid)
    try:
        parent.kill()
        parent.wait()
        assert select.select([watch], [], [], 10)[0], "the child still runs"
    finally:
        parent.stdout.close()
        os.close(watch)


def test_a_child_whose_parent_is_already_gone_ends() -> None:
    child = sleeper(Privileges(), parent=1)
    try:
        assert child.wait(10) == 128 + signal.SIGTERM
    finally:
        child.kill()


MAPS = {
    "the first namespace has all": ("0 0 4294967295\n", 62001, True),
    "a namespace of one user has only that one": ("0 1000 1\n", 62001, False),
    "a range ends before its count": ("0 1000 1\n1 100000 100\n", 101, False),
    "the last of a range": ("0 1000 1\n1 100000 100\n", 100, True),
    "nothing is mapped yet": ("", 0, False),
}


@pytest.mark.parametrize(("id_map", "number", "expected"), MAPS.values(), ids=MAPS)
def test_mapped(id_map: str, number: int, expected: bool) -> None:
    assert privileges.mapped(number, id_map) is expected


@pytest.mark.skipif(shutil.which("unshare") is None, reason="needs unshare(1)")
def test_in_a_user_namespace_of_one_user_only_capabilities_go() -> None:
    code = (
        "import os, subprocess, sys\nfrom ops.privileges import *\nfrom ops import privileges\n"
        "me = os.getpid()\nwanted = Privileges(uid=62001, gid=62009, capabilities=frozenset([CAP_NET_RAW]))\n"
        "subprocess.run(['cat', '/proc/self/status'], preexec_fn=lambda: privileges.apply(wanted, me), check=True)\n"
    )
    made = subprocess.run(
        ["unshare", "--user", "--map-root-user", "true"],
        capture_output=True,
        check=False,
    )
    if made.returncode:
        pytest.skip("user namespaces are not allowed here")
    command = ["unshare", "--user", "--map-root-user", sys.executable, "-c", code]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=20)
    found = {key: value.strip() for key, _, value in (line.partition(":") for line in done.stdout.splitlines())}
    assert found["Uid"].split() == ["0"] * 4
    for key in ("CapPrm", "CapEff", "CapBnd", "CapAmb"):
        assert found[key] == bits(CAP_NET_RAW), key
    assert found["NoNewPrivs"] == "1"


@pytest.mark.root
def test_unreachable_names_the_closed_directory(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    inside = tmp_path / "python"
    inside.touch(mode=0o755)
    found = privileges.unreachable([inside], 62001, 62009)
    assert found is not None
    assert found == tmp_path or found in tmp_path.parents
    assert privileges.unreachable([Path("/bin/sh")], 62001, 62009) is None

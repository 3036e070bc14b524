"""`feiyu demo` as a person runs it, and what it leaves behind: nothing."""

import os
import re
import signal
import subprocess
import tempfile
import time
from pathlib import Path

import pytest

from ops.demo.network import NETNS
from ops.processes import module

DEMO = module("ops.cli.main", "demo")
ROOT = Path(__file__).parents[2]


def start(*arguments: str) -> subprocess.Popen[str]:
    environment = {key: value for key, value in os.environ.items() if not key.startswith("FEIYU")}
    return subprocess.Popen(
        [*DEMO, *arguments],
        cwd=ROOT,
        env=environment | {"PYTHONPATH": str(ROOT), "http_proxy": "http://192.0.2.1:9", "NO_PROXY": "*"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def read_until(process: subprocess.Popen[str], words: str) -> str:
    assert process.stdout
    seen = ""
    for line in process.stdout:
        seen += line
        if words in line:
            return seen
    raise AssertionError(f"ended with {process.wait()} before {words!r}:\n{seen}")


def left_behind(pid: int) -> list[str]:
    """Namespaces, directories and processes of a demo that has ended; processes get a moment to vanish."""
    left = [str(path) for place in (NETNS, Path(tempfile.gettempdir())) for path in place.glob(f"fyd-{pid}-*")]
    until = time.monotonic() + 5
    while running := _with(f"/fyd-{pid}-"):
        if time.monotonic() > until:
            break
        time.sleep(0.05)
    return left + running


def _with(text: str) -> list[str]:
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if text in (process / "environ").read_text("utf-8", "replace"):
                found.append((process / "cmdline").read_text().replace("\0", " "))
        except OSError:
            continue
    return found


@pytest.mark.root
def test_the_walk_passes_stays_up_and_ends_with_ctrl_c() -> None:
    process = start()
    try:
        seen = read_until(process, "until Ctrl-C")
        assert re.search(r"^\d+ passed, 0 failed$", seen, re.MULTILINE), seen
        read_until(process, "log tail")
        assert process.poll() is None
        process.send_signal(signal.SIGINT)
        rest, _ = process.communicate(timeout=40)
        assert process.returncode == 0, rest
        assert left_behind(process.pid) == []
    finally:
        process.kill()
        process.wait()


@pytest.mark.root
def test_the_last_line_of_once_is_the_sum_and_decides_the_exit_status() -> None:
    process = start("--once")
    try:
        seen, _ = process.communicate(timeout=100)
        assert re.fullmatch(r"\d+ passed, 0 failed", seen.splitlines()[-1]), seen
        assert process.returncode == 0
        assert left_behind(process.pid) == []
    finally:
        process.kill()
        process.wait()


@pytest.mark.root
@pytest.mark.parametrize("words", ["Building the network", "feiyu init, feiyu up", "A service on the whitelist"])
def test_told_to_end_in_the_middle_it_cleans_up(words: str) -> None:
    process = start("--once")
    try:
        read_until(process, words)
        process.terminate()
        rest, _ = process.communicate(timeout=40)
        assert process.returncode == 130, rest
        assert left_behind(process.pid) == []
    finally:
        process.kill()
        process.wait()


def test_where_no_namespace_can_be_had_it_says_what_to_do() -> None:
    barred = 'echo 0 > /proc/sys/user/max_user_namespaces && exec setpriv --bounding-set=-all --inh-caps=-all -- "$@"'
    done = subprocess.run(
        ["unshare", "--user", "--map-root-user", "sh", "-c", barred, "sh", *DEMO, "--once"],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    if "unshare failed" in done.stderr or "Operation not permitted" in done.stderr.split("demo needs")[0]:
        pytest.skip("no user namespace to be barred in")
    assert done.returncode == 2, done.stderr
    assert "sudo make demo" in done.stderr

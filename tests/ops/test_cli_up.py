"""From `feiyu init` to an explained refusal on a whole node, in a network namespace that ends with it."""

import json
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

CONFIG = """\
node: gw1.zone.example
state_dir: {0}/state
run_dir: {0}/run
workers: 2
listeners: [{{name: plain, kind: plain, address: "127.0.0.1:3128"}}]
access: [{{interface: lo, site: s1, room: r1, prefixes: ["127.0.0.0/8"], side: offshore}}]
"""
PROGRAM = """
    import json, os, re, subprocess, sys, time

    def feiyu(*words):
        command = [sys.executable, "-m", "ops.cli.main", *words]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        return {"code": done.returncode, "out": done.stdout, "err": done.stderr}

    def until(what):
        end = time.monotonic() + 30
        while not (found := what()) and time.monotonic() < end:
            time.sleep(0.1)
        return found

    os.environ["FEIYU_CONFIG"], os.environ["LANG"] = sys.argv[1], "C.UTF-8"
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    said = {"init": feiyu("init")}
    node = subprocess.Popen([sys.executable, "-m", "ops.cli.main", "up"], stderr=subprocess.DEVNULL)
    try:
        until(lambda: feiyu("status", "-o", "json")["code"] == 0)
        place = ("--place", "s1/r1/lo/127.0.0.0/8")
        said["add"] = feiyu("tenant", "add", "acme", "--name", "A", *place, "--for", "1y", "--reason", "new")
        until(lambda: feiyu("doctor")["code"] == 0)
        said["doctor"] = feiyu("doctor", "-o", "json")
        issued = feiyu("credential", "issue", "acme", "--user", "u", "--for", "1d", "--reason", "new")
        config = re.search(r"<<'END'\\n(.*)  END", issued["err"], re.S)[1]  # as it is told to be put into a file
        curl = ["curl", "-sv", "-K", "-", "https://nope.example/"]
        shown = subprocess.run(curl, input=config, capture_output=True, text=True, timeout=30).stderr
        said["wire"] = shown
        ref = re.search(r"\\(ref (\\w+)\\)", shown)[1]
        until(lambda: feiyu("explain", "--ref", ref)["code"] == 1 and feiyu("log", "search", "--ref", ref)["out"])
        said["explain"] = feiyu("explain", "--ref", ref)
    finally:
        node.terminate()
        said["up"] = node.wait(60)
    print(json.dumps(said))
"""


@pytest.mark.root
def test_init_up_add_refuse_explain(tmp_path: Path) -> None:
    config = tmp_path / "feiyu.yaml"
    config.write_text(CONFIG.format(tmp_path))
    command = ["unshare", "--net", sys.executable, "-c", textwrap.dedent(PROGRAM), str(config)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=110, check=False)
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert said["init"]["code"] == 0
    assert "enforced in 2 workers in " in said["add"]["out"]
    assert said["doctor"]["code"] == 0, said["doctor"]
    found = {entry["name"]: entry["level"] for entry in json.loads(said["doctor"]["out"])}
    assert {found[name] for name in ("hub", "workers", "control", "kill switch", "kernel rules", "recorder")} == {"ok"}
    assert " 403 Not whitelisted (ref " in said["wire"]
    assert said["explain"]["code"] == 1
    assert said["explain"]["out"].startswith("deny not-whitelisted ")
    assert "acme → nope.example:443 (CONNECT)" in said["explain"]["out"]
    assert said["up"] == 0

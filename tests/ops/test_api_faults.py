"""What control does when the hub, the register or itself fails, and that it recovers by itself."""

import asyncio
import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import aiohttp

from ops.hub import Hub, Owner
from tests.ops.control_kit import GRANT, running
from tests.ops.test_api_writes import explain


async def test_without_a_hub_the_change_stands_and_the_answer_says_nobody_confirmed(tmp_path: Path) -> None:
    async with running(tmp_path, hub=False) as node:
        answer = await node.add("groups", id="g")
        assert answer["enforced"] is None
        assert "no hub listens" in answer["why"]
        node.hub.open()
        assert (await node.add("groups", id="h"))["enforced"]["acked"] == ["w0", "w1"]


async def test_a_silent_hub_is_not_waited_for_for_ever_nor_believed_later(tmp_path: Path) -> None:
    async with running(tmp_path, hub_timeout=0.1) as node:
        node.hub.silent = True
        answer = await node.add("groups", id="g")
        assert (answer["enforced"], answer["why"]) == (None, "the hub did not answer within 0.1 s")
        node.hub.silent = False
        assert (await node.add("groups", id="h"))["enforced"]["acked"] == ["w0", "w1"]


async def test_a_restarted_hub_is_found_again(tmp_path: Path) -> None:
    async with running(tmp_path) as node:
        await node.add("groups", id="g")
        await node.hub.close()
        node.hub.open()
        assert (await node.add("groups", id="h"))["enforced"]["acked"] == ["w0", "w1"]


async def test_the_real_hub_takes_what_control_says(tmp_path: Path) -> None:
    said: list[str] = []
    owner = Owner(lambda *_: None, lambda _: None, lambda _: None, lambda: {"children": []}, said.append)
    async with running(tmp_path, hub=False) as node:
        hub = Hub(node.run / "live.sock", node.state / "live.json", {os.getuid(): frozenset({"control"})}, owner)
        hub.open(None)
        try:
            answer = await node.add("groups", id="g")
            assert (answer["enforced"]["acked"], answer["enforced"]["killed"]) == ([], [])
            assert hub.state.revision == answer["revision"] == 1
            _, status = await node.call("GET", "/v1/status")
            assert (status["hub"]["ok"], status["live"]["revision"]) == (True, 1)
        finally:
            hub.close()
    assert said == []


async def test_each_beat_repeats_the_revision_and_none_comes_without_a_readable_register(tmp_path: Path) -> None:
    async with running(tmp_path) as node:
        await node.add("groups", id="g")
        told = len(node.hub.revisions)
        await node.authority.beat()
        assert node.hub.revisions[told:] == [1]
        (node.state / "register.db").rename(node.state / "aside")
        await node.authority.beat()
        assert node.hub.revisions[told:] == [1]
        assert "missing" in node.authority.trouble
        (node.state / "aside").rename(node.state / "register.db")
        await node.authority.beat()
        assert (node.hub.revisions[told:], node.authority.trouble) == ([1, 1], "")


async def test_a_locked_register_is_a_503_with_a_remedy_and_reading_goes_on(tmp_path: Path) -> None:
    async with running(tmp_path, busy=0.05) as node:
        await node.set_up()
        holder = sqlite3.connect(node.state / "register.db", isolation_level=None)
        holder.execute("BEGIN IMMEDIATE")
        status, problem = await node.call("POST", "/v1/groups", {"id": "g", "reason": "x"})
        assert (status, problem["type"]) == (503, "urn:feiyu:problem:register-locked")
        assert "lock" in problem["remedy"]
        assert (await node.call("GET", "/v1/tenants"))[0] == 200
        holder.execute("ROLLBACK")
        holder.close()
        assert (await node.add("groups", id="g"))["revision"] == 6


async def test_a_missing_register_is_a_503_and_not_made_anew(tmp_path: Path) -> None:
    async with running(tmp_path) as node:
        await node.set_up()
        register = node.state / "register.db"
        register.rename(node.state / "aside")
        for method, path, body in (("GET", "/v1/tenants", None), ("POST", "/v1/groups", {"id": "g", "reason": "x"})):
            status, problem = await node.call(method, path, body)
            assert (status, problem["type"]) == (503, "urn:feiyu:problem:register-missing")
        assert not register.exists()
        status, answer = await node.call("GET", "/v1/status")
        assert (status, answer["register"]["ok"]) == (200, False)
        (node.state / "aside").rename(register)
        assert (await node.add("groups", id="g"))["revision"] == 6


async def test_a_control_without_its_register_starts_serves_503_and_recovers(tmp_path: Path) -> None:
    async with running(tmp_path) as node:
        await node.set_up()
    register = tmp_path / "state" / "register.db"
    good = register.read_bytes()
    register.unlink()
    async with running(tmp_path) as node:
        assert (await node.call("GET", "/v1/tenants"))[1]["type"] == "urn:feiyu:problem:register-missing"
        register.write_bytes(b"rubbish" * 1000)
        assert (await node.call("GET", "/v1/tenants"))[1]["type"] == "urn:feiyu:problem:register-damaged"
        register.write_bytes(good)
        assert (await node.call("GET", "/v1/tenants"))[0] == 200
        assert (await node.add("groups", id="g"))["enforced"]["acked"] == ["w0", "w1"]


async def test_an_older_register_put_back_goes_on_behind_the_published_revision(tmp_path: Path) -> None:
    register = tmp_path / "state" / "register.db"
    async with running(tmp_path) as node:
        await node.set_up()
    backup = register.read_bytes()
    async with running(tmp_path) as node:
        await node.add("grants", **GRANT)
        assert (await explain(node))["verdict"]["decision"] == "permit"
    register.write_bytes(backup)
    async with running(tmp_path) as node:
        assert node.authority.policy.revision == 7
        assert (await explain(node))["verdict"]["decision"] == "deny"
        assert (await node.add("groups", id="h"))["revision"] == 8


async def test_a_snapshot_taken_away_is_compiled_again_at_the_next_start(tmp_path: Path) -> None:
    async with running(tmp_path) as node:
        await node.set_up()
        await node.add("grants", **GRANT)
    for path in (tmp_path / "state" / "snapshot").iterdir():
        path.unlink()
    async with running(tmp_path) as node:
        assert node.authority.policy.revision == 6
        assert (await explain(node))["verdict"]["decision"] == "permit"


async def test_a_damaged_snapshot_is_found_by_the_sweep_and_published_again(tmp_path: Path) -> None:
    async with running(tmp_path) as node:
        await node.set_up()
        await node.add("grants", **GRANT)
        await node.authority.sweep()
        assert node.authority.trouble == ""
        (node.state / "snapshot" / "current").write_bytes(b"rubbish")
        await node.authority.sweep()
        assert "current" in node.authority.trouble
        assert (await explain(node))["verdict"]["reason"] == "policy-unavailable"
        await node.authority.beat()
        assert node.authority.trouble == ""
        assert (await explain(node))["verdict"]["decision"] == "permit"


CONFIG = """node: gw1.zone.example
state_dir: {root}/state
run_dir: {root}/run
listeners: [{{name: plain, kind: plain, address: "127.0.0.1:3128"}}]
"""
KILLED_BEFORE_PUBLISHING = """
import os, signal, sys
from ops import control
from ops.api.policy import Policy
Policy.publish = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
sys.exit(control.main(sys.argv[1:]))
"""


async def test_killed_between_commit_and_publication_the_next_start_publishes(tmp_path: Path) -> None:
    async with running(tmp_path, hub=False) as node:
        await node.set_up()
    (tmp_path / "feiyu.yaml").write_text(CONFIG.format(root=tmp_path))
    process = start(tmp_path, "-c", KILLED_BEFORE_PUBLISHING)
    try:
        await serving(tmp_path)
        assert await post_grant(tmp_path) is None
        assert process.wait(20) == -signal.SIGKILL
    finally:
        process.kill()
        process.wait()
    async with running(tmp_path) as node:
        assert node.hub.revisions == [6]
        assert (await explain(node))["verdict"]["decision"] == "permit"


async def test_the_process_serves_ends_on_sigterm_and_leaves_everything_in_order(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "feiyu.yaml").write_text(CONFIG.format(root=tmp_path))
    process = start(tmp_path, "-m", "ops.control")
    try:
        await serving(tmp_path)
        mode = os.stat(tmp_path / "run" / "control.sock").st_mode & 0o777
        assert mode == 0o660
        assert os.stat(tmp_path / "state" / "keys" / "pseudonym.key").st_mode & 0o777 == 0o600
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
    finally:
        process.kill()
        process.wait()


def test_a_wrong_configuration_is_told_with_its_line_and_ends_with_2(tmp_path: Path) -> None:
    (tmp_path / "feiyu.yaml").write_text("node: gw1.zone.example\nlisteners: 7\n")
    process = start(tmp_path, "-m", "ops.control")
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 2
    assert f"{tmp_path}/feiyu.yaml:2: " in errors


def start(root: Path, *program: str) -> "subprocess.Popen[str]":
    """The process, with the configuration in root."""
    arguments = [sys.executable, *program, "--config", str(root / "feiyu.yaml")]
    return subprocess.Popen(arguments, cwd=Path(__file__).parents[2], stderr=subprocess.PIPE, text=True)


async def serving(root: Path) -> None:
    """Waits until the process answers, at most 20 s."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        if await ask(root, "GET", "/v1") is not None:
            return
        await asyncio.sleep(0.02)
    raise AssertionError("control does not answer")


async def post_grant(root: Path) -> int | None:
    """The status of adding the grant, None when the process died meanwhile."""
    return await ask(root, "POST", "/v1/grants", {**GRANT, "reason": "the last act"})


async def ask(root: Path, method: str, path: str, body: object = None) -> int | None:
    """The status of one request over the unix socket, None without an answer."""
    connector = aiohttp.UnixConnector(str(root / "run" / "control.sock"))
    try:
        async with (
            aiohttp.ClientSession(connector=connector) as client,
            client.request(method, f"http://control{path}", json=body) as response,
        ):
            return response.status
    except (OSError, aiohttp.ClientError):
        return None


async def test_a_process_of_the_node_itself_may_neither_read_nor_write(tmp_path: Path) -> None:
    async with running(tmp_path, node_uids=frozenset({os.getuid()})) as node:
        for method, path in (("GET", "/v1/tenants"), ("POST", "/v1/groups"), ("GET", "/v1/status")):
            async with node.client.request(method, f"http://control{path}", json={"id": "g", "reason": "x"}) as answer:
                assert answer.status == 403
                assert (await answer.json())["type"].endswith("node-process")
    async with running(tmp_path) as node, node.client.get("http://control/v1/tenants") as answer:
        assert answer.status == 200

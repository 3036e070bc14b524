"""Control's API with its register on a real PostgreSQL server: the same tests as with a file, and a whole control."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from ops.cli.main import run
from tests.ops import control_kit
from tests.ops.people_kit import People
from tests.ops.test_api_writes import *  # noqa: F403 - the same tests
from tests.ops.test_cli_control import CONFIG
from tests.ops.test_four_eyes import *  # noqa: F403
from tests.ops.test_policy_api import *  # noqa: F403
from tests.postgres_kit import Server, server
from whitelist.store import open_register


@pytest.fixture(scope="module")
def postgres() -> Iterator[Server]:
    with server() as running:
        yield running


@pytest.fixture(autouse=True)
def _registers_are_on_the_server(postgres: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """One database for each test, the same for all controls of the test."""
    made: dict[Path, str] = {}

    def register_of(root: Path) -> Path | str:
        if root not in made:
            assert not made, "one register for each test"
            made[root] = postgres.emptied()
        return made[root]

    monkeypatch.setattr(control_kit, "register_of", register_of)


def test_a_node_is_set_up_and_administered(
    postgres: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """feiyu init fills the database, control keeps the register there, and no file is made beside it."""
    monkeypatch.setenv("LANG", "C.UTF-8")
    monkeypatch.delenv("FEIYU_SERVER", raising=False)
    config = tmp_path / "feiyu.yaml"
    config.write_text(CONFIG.format(tmp_path) + f"register: {json.dumps(postgres.database())}\n")
    (tmp_path / "run").mkdir()
    assert run(["init", "--config", str(config)]) == 0
    process = subprocess.Popen([sys.executable, "-m", "ops.control", "--config", str(config)], stderr=subprocess.PIPE)
    try:
        deadline = time.monotonic() + 30
        while not (tmp_path / "run" / "control.sock").exists():
            assert process.poll() is None, process.stderr.read() if process.stderr else ""
            assert time.monotonic() < deadline
            time.sleep(0.02)
        place = "s1/r1/acc0/10.1.0.0/24"
        add = ["tenant", "add", "acme", "--name", "Acme", "--place", place, "--for", "1y", "--reason", "new"]
        assert run([*add, "--config", str(config)]) == 0
        capsys.readouterr()
        assert run(["policy", "history", "-o", "json", "--config", str(config)]) == 0
        assert [(row["revision"], row["reason"]) for row in json.loads(capsys.readouterr().out)] == [(1, "new")]
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=20)
    assert not (tmp_path / "state" / "register.db").exists()


async def test_what_one_control_changes_another_on_the_same_register_publishes_with_its_next_beat(
    postgres: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    where = postgres.emptied()
    monkeypatch.setattr(control_kit, "register_of", lambda _root: where)
    async with control_kit.running(tmp_path / "a") as one, control_kit.running(tmp_path / "b") as other:
        await one.set_up()
        await one.add("grants", **control_kit.GRANT)
        await other.authority.beat()
        question = {"tenant": "firm-a", "target": "docs.example.com"}
        told = (await other.call("GET", "/v1/explain", None, **question))[1]
        assert (told["verdict"]["decision"], told["revision"]) == ("permit", 6)
        await other.add("denies", target="docs.example.com")
        await one.authority.beat()
        assert (await one.call("GET", "/v1/explain", None, **question))[1]["verdict"]["decision"] == "deny"


async def test_a_register_without_this_zones_accounts_is_foreign(  # instead of the test with a file
    postgres: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The node remembers its zone itself, so that another database, named by mistake or on purpose, is not believed."""
    with monkeypatch.context() as patch:
        patch.setattr(control_kit, "register_of", lambda _root: postgres.emptied())
        async with control_kit.running(tmp_path) as node:
            await node.set_up()
            people = People(node)
            await people.found()
            assert (await people.call("sys", "GET", "/v1/accounts"))[0] == 200
    where = postgres.database()
    open_register(where, create=True).store.close()
    monkeypatch.setattr(control_kit, "register_of", lambda _root: where)
    async with control_kit.running(tmp_path) as node:
        status, problem = await node.call("GET", "/v1/tenants")
        assert (status, "not of this node's zone" in problem["detail"]) == (503, True), problem
        assert node.hub.revisions == []

"""Every administrative act is an entry of its own evidence log; the register's history can be held against it."""

import json
import shutil
import sqlite3
import time
from pathlib import Path
from typing import Any

import pytest

from ops.acts_log import Act, ActsLog, compare, decode
from ops.api.authority import ActNotLogged
from ops.cli.main import run as feiyu
from telemetry.evidence import note
from telemetry.evidence.error import EvidenceError
from telemetry.evidence.reader import Reader
from telemetry.evidence.tile import bundles
from telemetry.evidence.verify import verify_log
from telemetry.retention import read_holds
from tests.ops.control_kit import NODE, Node, running
from whitelist.store import open_register

Output = pytest.CaptureFixture[str]


def acts(state: Path) -> list[Act]:
    """The entries of the published log, verified."""
    key = note.parse_key((state / "acts/acts.vkey").read_text().strip())
    reader = Reader(state / "acts/acts")
    head = verify_log(reader, key).head
    assert head.origin == f"{NODE}/acts", "not the log of the flows"
    return [decode(entry) for bundle in bundles(head.size) for entry in reader.entries(bundle)]


def agree(state: Path) -> tuple[int, int]:
    register = open_register(state / "register.db", create=False)
    try:
        return compare(Reader(state / "acts/acts"), len(acts(state)), register)
    finally:
        register.store.close()


async def test_a_change_is_an_entry_when_it_is_answered(tmp_path: Path) -> None:
    async with running(tmp_path, acts_log=True) as node:
        await node.add("groups", id="g")
        (act,) = acts(node.state)
        assert (act.kind, act.verb, act.collection, act.item, act.reason) == ("change", "add", "groups", "g", "a test")
        assert (act.number, act.revision, act.before, len(act.after)) == (1, 1, "", 64)
        assert act.actor
        status, _ = await node.call("DELETE", "/v1/groups/g?reason=gone")
        assert status == 200
        assert [(act.verb, bool(act.before), bool(act.after)) for act in acts(node.state)[1:]] == [
            ("remove", True, False)
        ]
    assert agree(tmp_path / "state") == (2, 0)


async def test_what_was_done_without_the_log_is_taken_in_at_the_next_start(tmp_path: Path) -> None:
    async with running(tmp_path) as node:
        await node.set_up()
    async with running(tmp_path, acts_log=True) as node:
        assert [act.number for act in acts(node.state)] == [1, 2, 3, 4, 5]
        await node.add("groups", id="g")
    async with running(tmp_path, acts_log=True) as node:
        assert [act.number for act in acts(node.state)] == [1, 2, 3, 4, 5, 6], "nothing twice"


async def test_a_log_that_cannot_be_written_takes_no_right_to_act_but_nothing_is_read(tmp_path: Path) -> None:
    async with running(tmp_path, acts_log=True) as node:
        await node.add("groups", id="g")
        committed = node.state / "acts/acts.committed"
        good = committed.read_bytes()
        committed.write_bytes(b"")
        await node.add("groups", id="h")
        _, status = await node.call("GET", "/v1/status")
        assert "the log of acts cannot be written" in status["trouble"]
        with pytest.raises(ActNotLogged, match=r"acts\.committed"):
            await node.authority.record(Act(kind="read", time=1, actor="regulator"))
        status, problem = await hold(node)
        assert (status, problem["type"]) == (503, "urn:feiyu:problem:acts")
        committed.write_bytes(good)
        await node.authority.beat()
        assert [act.item for act in acts(node.state)] == ["g", "h"], "what was missed is caught up with"
        await node.authority.record(Act(kind="read", time=1, actor="regulator", facts={"case": "7"}))
        assert acts(node.state)[-1].facts == {"case": "7"}


async def test_a_register_that_was_altered_or_put_back_shows(tmp_path: Path, capsys: Output, monkeypatch: Any) -> None:
    state = tmp_path / "state"
    async with running(tmp_path, acts_log=True) as node:
        await node.add("groups", id="g")
    shutil.copy(state / "register.db", tmp_path / "backup")
    async with running(tmp_path, acts_log=True) as node:
        await node.add("groups", id="h")
        await node.add("groups", id="i")
    (tmp_path / "feiyu.yaml").write_text(
        f"node: {NODE}\nstate_dir: {state}\nrun_dir: {tmp_path}/run\n"
        'listeners: [{name: plain, address: "127.0.0.1:3128"}]\n'
    )
    monkeypatch.setenv("FEIYU_CONFIG", str(tmp_path / "feiyu.yaml"))
    assert feiyu(["evidence", "verify", "--acts"]) == 0
    assert "3 in the register agree" in capsys.readouterr().out
    shutil.copy(state / "register.db", tmp_path / "good")
    with sqlite3.connect(state / "register.db") as database:  # as root can who has the file
        triggers = [row[0] for row in database.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'")]
        for trigger in triggers:
            database.execute(f"DROP TRIGGER {trigger}")
        database.execute("UPDATE changes SET actor = 'somebody else' WHERE number = 2")
    database.close()
    with pytest.raises(EvidenceError, match="change 2 of the register is not as it was logged"):
        agree(state)
    assert feiyu(["evidence", "verify", "--acts"]) == 1
    assert "NOT VALID: change 2" in capsys.readouterr().err
    for name in ("register.db-wal", "register.db-shm"):
        (state / name).unlink(missing_ok=True)
    shutil.copy(tmp_path / "backup", state / "register.db")
    with pytest.raises(EvidenceError, match="change 2 of the register is in the log of acts, and gone"):
        agree(state)
    async with running(tmp_path, acts_log=True) as node:
        await node.add("groups", id="j")
        told = [(act.kind, act.number, act.item) for act in acts(state) if act.kind == "put-back" or act.item == "j"]
        assert told[0][:2] == ("put-back", 1)
        assert told[-1][2] == "j"
    assert agree(state)[1] == 1
    assert feiyu(["evidence", "verify", "--acts", "-o", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["put_back"] == 1


async def hold(node: Node, **fields: Any) -> tuple[int, Any]:
    body = {"since": 1_700_000_000, "until": int(time.time()) + 86_400, "reason": "case 7", **fields}
    return await node.call("POST", "/v1/holds", body)


async def test_a_legal_hold_is_an_act_before_it_is_one(tmp_path: Path) -> None:
    async with running(tmp_path, acts_log=True) as node:
        status, answer = await hold(node)
        assert status == 201
        name = answer["item"]["id"]
        (kept,) = read_holds(node.state / "holds.json") or []
        assert (kept.id, kept.since, kept.reason) == (name, 1_700_000_000_000_000, "case 7")
        assert (await node.call("GET", "/v1/holds"))[1]["items"][0]["id"] == name
        assert (await node.call("DELETE", f"/v1/holds/{name}?reason=closed"))[0] == 200
        assert read_holds(node.state / "holds.json") == []
        assert [(act.kind, act.verb, act.item, act.reason) for act in acts(node.state)] == [
            ("hold", "hold", name, "case 7"),
            ("hold", "release", name, "closed"),
        ]


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "in the past": ({"until": 1_700_000_001}, "must be in the future"),
    "beyond the ceiling": ({"until": int(time.time()) + 3700 * 86_400}, "within 3653 days"),
    "no time": ({"since": "yesterday"}, "needs Unix seconds"),
    "no reason": ({"reason": " "}, "is needed"),
}


@pytest.mark.parametrize(("fields", "why"), WRONG.values(), ids=WRONG)
async def test_a_hold_that_is_none(tmp_path: Path, fields: dict[str, Any], why: str) -> None:
    async with running(tmp_path, acts_log=True) as node:
        status, problem = await hold(node, **fields)
        assert status == 422
        assert why in problem["errors"][0]["message"]
        assert (await node.call("DELETE", "/v1/holds/h-none?reason=x"))[0] == 404
        assert acts(node.state) == []


def test_the_acts_log_is_made_when_it_is_needed(tmp_path: Path) -> None:
    log = ActsLog(tmp_path, NODE)
    assert not (tmp_path / "acts").exists()
    assert log.record(Act(kind="read", time=1, actor="r")) == 0
    assert ActsLog(tmp_path, NODE).record(Act(kind="read", time=2, actor="r")) == 1

"""An authority's read is in the log before its answer, the firm is told, and what is withheld is still counted."""

import getpass
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ops.cli.main import run
from ops.settings import Settings
from telemetry import statement
from telemetry.record import Record, decode
from tests.ops import control_kit
from tests.ops.recorded_node import RecordedNode, recorded
from tests.telemetry import spool_kit

Output = pytest.CaptureFixture[str]
REGULATED = Settings(node=control_kit.NODE, listeners=(), regulators=(getpass.getuser(),))
CAUSE = ["--authority", "CAC Shanghai", "--basis", "NDSR 38", "--case", "2027-9", "--scope", "acme, this week"]


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RecordedNode]:
    """Records of two firms and of a stranger."""
    with recorded(tmp_path_factory.mktemp("node")) as made:
        for number in range(6):
            spool_kit.put(made.writer, "deny", flow=f"F{number}", tenant=("acme", "acme", "birch", "")[number % 4])
        made.writer.flush()
        spool_kit.until(lambda: len(made.node.lines()) >= 6, "the records")
        yield made


def call(node: RecordedNode, capsys: Output, *arguments: str, code: int = 0) -> str:
    capsys.readouterr()
    status = run([*arguments, "--config", str(node.config), "--lang", "en", "--no-input"])
    out, err = capsys.readouterr()
    assert status == code, (arguments, out, err)
    return out if code == 0 else err


def reads(node: RecordedNode) -> list[Record]:
    return [record for record in map(decode, node.node.lines()) if record.kind == "read"]


def more_reads(node: RecordedNode, before: int, count: int) -> list[Record]:
    spool_kit.until(lambda: len(reads(node)) >= before + count, "the reads' records")
    return reads(node)[before:]


def test_a_read_is_recorded_for_each_firm_that_was_read_of(node: RecordedNode, capsys: Output) -> None:
    before = len(reads(node))
    found = json.loads(call(node, capsys, "log", "search", "--kind", "deny", *CAUSE, "-o", "json"))
    assert len(found) == 6
    made = more_reads(node, before, 3)
    assert [(record.tenant, record.count) for record in made] == [("", 1), ("acme", 4), ("birch", 1)]
    assert len({record.ref for record in made}) == 1, "one read"
    assert made[0].facts == {
        "authority": "CAC Shanghai", "basis": "NDSR 38", "case": "2027-9", "scope": "acme, this week",
        "query": "kind=deny&limit=100", "by": getpass.getuser(),
    }  # fmt: skip


def test_an_operators_search_is_no_read_of_an_authority(node: RecordedNode, capsys: Output) -> None:
    before = len(reads(node))
    call(node, capsys, "log", "search", "--tenant", "acme")
    call(node, capsys, "log", "search", "--tenant", "acme", *CAUSE)
    assert len(more_reads(node, before, 1)) == 1


def test_nothing_found_is_a_read_of_the_firm_that_was_asked_for(node: RecordedNode, capsys: Output) -> None:
    before = len(reads(node))
    call(node, capsys, "log", "search", "--tenant", "acme", "--host", "nowhere.example", *CAUSE)
    assert [(record.tenant, record.count) for record in more_reads(node, before, 1)] == [("acme", 0)]


def test_the_firm_is_told_and_what_is_withheld_is_counted(node: RecordedNode, capsys: Output) -> None:
    call(node, capsys, "log", "search", "--tenant", "birch", *CAUSE[:-1], "birch now")
    call(node, capsys, "log", "search", "--tenant", "birch", *CAUSE, "--withheld", "CSL 30")
    shown = json.loads(call(node, capsys, "audit", "reads", "--tenant", "birch", "-o", "json"))
    assert shown[0]["facts"]["scope"] == "birch now"
    assert all("withheld" not in record["facts"] for record in shown)
    capsys.readouterr()
    assert run(["audit", "reads", "--tenant", "birch", "--config", str(node.config), "--lang", "en"]) == 0
    out, err = capsys.readouterr()
    assert "1 reads are lawfully withheld" in err
    assert out.splitlines()[0].split() == [
        "TIME",
        "TENANT",
        "AUTHORITY",
        "BASIS",
        "CASE",
        "SCOPE",
        "RECORDS",
        "BY",
        "TOLD",
    ]
    everything = call(node, capsys, "audit", "reads")
    assert "no: CSL 30" in everything
    spool_kit.until(lambda: any(b'"withheld"' in line for line in node.node.lines()), "the read is in the log")
    mine = [record for record in map(decode, node.node.lines()) if record.tenant == "birch"]
    accounts: dict[str, statement.Account] = {}
    statement.take(accounts, mine)
    assert accounts["birch"].withheld == 1
    assert accounts["birch"].reads >= 2


def test_an_export_has_all_pages_and_each_is_a_read(node: RecordedNode, tmp_path: Path, capsys: Output) -> None:
    before = len(reads(node))
    out = tmp_path / "acme.jsonl"
    call(node, capsys, "log", "export", "--tenant", "acme", "--kind", "deny", *CAUSE, "--out", str(out))
    assert [json.loads(line)["flow"] for line in out.read_text().splitlines()] == ["F5", "F4", "F1", "F0"]
    assert [(record.tenant, record.count) for record in more_reads(node, before, 1)] == [("acme", 4)]


PARTS: dict[str, tuple[list[str], str]] = {
    "no case": (CAUSE[:4], "case is needed: a read by an authority says all four"),
    "only why it is withheld": (["--withheld", "x"], "authority is needed"),
    "blanks": ([*CAUSE[:7], "  "], "scope is needed"),
    "too much": ([*CAUSE[:7], "x" * 501], "scope needs at most 500 characters"),
}


@pytest.mark.parametrize(("given", "why"), PARTS.values(), ids=PARTS)
def test_half_a_cause_reads_nothing(node: RecordedNode, capsys: Output, given: list[str], why: str) -> None:
    before = len(reads(node))
    assert why in call(node, capsys, "log", "search", *given, code=2)
    assert len(reads(node)) == before


async def test_what_cannot_be_recorded_is_not_answered(tmp_path: Path, node: RecordedNode) -> None:
    """A control without a spool, over the same recorder."""
    cause = dict(zip((name[2:] for name in CAUSE[::2]), CAUSE[1::2], strict=True))
    async with control_kit.running(tmp_path) as lone:
        (lone.run / "recorder.sock").symlink_to(node.node.run / "recorder.sock")
        status, answer = await lone.call("GET", "/v1/log", tenant="acme")
        assert (status, len(answer["items"]) > 0) == (200, True)
        status, answer = await lone.call("GET", "/v1/log", tenant="acme", **cause)
        assert (status, answer["type"]) == (503, "urn:feiyu:problem:not-recorded")
        assert "items" not in answer


REFUSED: dict[str, tuple[str, str, dict[str, Any]]] = {
    "a search without its cause": ("GET", "/v1/log", {}),
    "a search with half of it": ("GET", "/v1/log", {"authority": "CAC", "basis": "NDSR 38"}),
    "the tail": ("GET", "/v1/log/tail", {"authority": "CAC", "basis": "x", "case": "x", "scope": "x"}),
    "open flows": ("GET", "/v1/flows", {}),
    "a refusal by its reference": ("GET", "/v1/explain", {"ref": "X"}),
    "a firm's entry": ("GET", "/v1/tenants/firm-a", {}),
    "a change": ("POST", "/v1/tenants", {}),
    "a path that only begins like one": ("GET", "/v1/logs", {}),
}


@pytest.mark.parametrize(("method", "path", "query"), REFUSED.values(), ids=REFUSED)
async def test_an_authoritys_account_is_refused(tmp_path: Path, method: str, path: str, query: dict[str, str]) -> None:
    async with control_kit.running(tmp_path, settings=REGULATED) as node:
        status, answer = await node.call(method, path, {"reason": "x"} if method == "POST" else None, **query)
        assert (status, answer["type"].rpartition(":")[2]) in ((403, "regulator"), (403, "cause"))


async def test_an_authoritys_account_may_say_why_and_look_at_spot_checks(tmp_path: Path, node: RecordedNode) -> None:
    async with control_kit.running(tmp_path, settings=REGULATED) as lone:
        (lone.run / "recorder.sock").symlink_to(node.node.run / "recorder.sock")
        for path in ("/v1/status", "/v1/reads", "/v1/spotchecks"):
            assert (await lone.call("GET", path))[0] == 200, path
        cause = {"authority": "CAC", "basis": "x", "case": "x", "scope": "x"}
        assert (await lone.call("GET", "/v1/log", **cause))[0] == 503, (
            "nothing else than the missing spool is in the way"
        )

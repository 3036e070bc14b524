"""Statements: what they count, when they are due, that none is written twice, and that an omission shows."""

from pathlib import Path
from typing import Any

import pytest

from telemetry import statement
from telemetry.record import Record, decode
from telemetry.statement import Account, OmissionError
from tests.telemetry.spool_kit import BOOT, NODE, Node, put, stop, until

DAY = 1_800_000_000_000_000  # 2027-01-15 16:00:00 in the zone
NUMBERS = iter(range(1, 1 << 30))


def record(kind: str, tenant: str = "acme", worker: str = "w0.1", **fields: Any) -> Record:
    fields.setdefault("time", DAY)
    return Record(node=NODE, boot=BOOT, worker=worker, seq=next(NUMBERS), kind=kind, tenant=tenant, **fields)


def stated(number: int, records: int = 0, **values: int) -> Record:
    counts = dict.fromkeys(statement.COUNTS, 0) | {"records": records, **values}
    return record("statement", worker="recorder", detail="2027-01-15", values={"number": number, **counts})


COUNTED: dict[str, tuple[list[Record], dict[str, int]]] = {
    "each record": ([record("open"), record("progress", bytes_in=9)], {"records": 2}),
    "the bytes of closes": (
        [record("close", bytes_out=5, bytes_in=7)] * 2, {"records": 2, "bytes_out": 10, "bytes_in": 14},
    ),
    "refusals, and those counted into one": (
        [record("deny"), record("deny", count=40)], {"records": 2, "refusals": 41},
    ),
    "reads, withheld ones too": (
        [record("read"), record("read", facts={"withheld": "art. 12"})], {"records": 2, "reads": 2, "withheld": 1},
    ),
    "nothing of another firm's": ([record("open", tenant="birch")], {}),
    "nothing of nobody's": ([record("heartbeat", tenant="")], {}),
    "no absurd number": ([record("close", bytes_out=-5, bytes_in=1 << 60)], {"records": 1, "bytes_in": 1 << 50}),
    "nothing from before the last statement": ([record("open"), stated(3), record("close")], {"records": 1}),
    "a statement that a worker forged as any record": (
        [record("open"), record("statement", values={"number": 9})], {"records": 2},
    ),
}  # fmt: skip


@pytest.mark.parametrize(("records", "counts"), COUNTED.values(), ids=COUNTED)
def test_what_is_counted(records: list[Record], counts: dict[str, int]) -> None:
    accounts: dict[str, Account] = {}
    statement.take(accounts, records)
    found = accounts.get("acme", Account()).values(0)
    assert {name: count for name, count in found.items() if count} == counts


def test_a_statement_is_due_once_the_zones_day_is_over() -> None:
    accounts: dict[str, Account] = {}
    statement.take(accounts, [record("open"), record("close", tenant="birch", time=DAY - 86_400_000_000)])
    assert [each[:2] for each in statement.due(accounts, DAY, 9)] == [("birch", "2027-01-14")]
    eight_hours = 28_800_000_000
    assert [each[0] for each in statement.due(accounts, DAY + eight_hours - 1, 9)] == ["birch"]
    assert [each[:2] for each in statement.due(accounts, DAY + eight_hours, 9)] == [
        ("acme", "2027-01-15"), ("birch", "2027-01-14"),
    ]  # fmt: skip
    assert len(list(statement.due(accounts, DAY + eight_hours, 1))) == 1, "some at a time"


def test_a_record_from_the_end_of_time_does_not_keep_a_firm_from_its_statement() -> None:
    accounts: dict[str, Account] = {}
    statement.take(accounts, [record("open", time=1 << 62), record("open")])
    assert [each[1] for each in statement.due(accounts, DAY * 2, 9)] == ["2027-01-15"]
    statement.take(accounts, [record("open", tenant="odd", time=(1 << 63) - 1)])
    assert [each[0] for each in statement.due(accounts, DAY * 2, 9)] == ["acme"]


GOOD = [record("open"), record("close", bytes_in=7), stated(1, 2, bytes_in=7), record("deny"), stated(2, 1, refusals=1)]
CHECKED: dict[str, tuple[list[Record], bool, tuple[int, int] | str]] = {
    "all is there": (GOOD, True, (2, 0)),
    "and more since": ([*GOOD, record("open")], True, (2, 1)),
    "from somewhere on, the first statement only bounds": (GOOD[1:], False, (1, 0)),
    "a record is left out": (
        [*GOOD[:3], *GOOD[4:]], True, "statement 2 of acme (2027-01-15) counts records: 1, but there are 0",
    ),
    "a record is altered": (
        [GOOD[0], record("close", bytes_in=6), *GOOD[2:]], True, "counts bytes_in: 7, but there are 6",
    ),
    "a record is put in": ([*GOOD[:4], record("open"), GOOD[4]], True, "counts records: 1, but there are 2"),
    "a statement is left out": ([*GOOD[:2], *GOOD[3:]], True, "counts records: 1, but there are 3"),
    "a statement is left out behind others": (
        [*GOOD, record("open"), stated(4, 1)], True, "statement 4 of acme follows statement 2: one is missing",
    ),
    "a withheld read is counted and not shown": ([stated(1, 1, reads=1, withheld=1)], True, (1, 0)),
    "but not two": ([stated(1, 2, reads=2, withheld=1)], True, "counts records: 1, but there are 0"),
    "a read that is left out": ([stated(1, 1, reads=1)], True, "counts records: 1, but there are 0"),
}  # fmt: skip


@pytest.mark.parametrize(("records", "whole", "result"), CHECKED.values(), ids=CHECKED)
def test_a_firm_counts_again(records: list[Record], whole: bool, result: tuple[int, int] | str) -> None:
    if not isinstance(result, str):
        assert statement.check(records, whole=whole) == result
        return
    with pytest.raises(OmissionError) as caught:
        statement.check(records, whole=whole)
    assert result in str(caught.value)


def statements(node: Node) -> list[Record]:
    return [found for found in map(decode, node.lines()) if found.kind == "statement"]


def test_the_recorder_states_each_firms_day_once_over_restarts(tmp_path: Path) -> None:
    node = Node(tmp_path)
    writer = node.writer()
    for tenant in ("acme", "birch"):
        put(writer, "open", flow=f"F{tenant}", tenant=tenant)
        put(writer, "close", flow=f"F{tenant}", tenant=tenant, bytes_out=3, bytes_in=4, cause="idle")
    writer.flush()
    for boot in (BOOT, "0000abce", "0000abcf"):
        before = node.status()
        process = node.start(boot, statements=True)
        until(
            lambda b=before: node.status() != b and len(statements(node)) >= 2, "it runs, and the statements are there"
        )
        assert stop(process) == 0
    found = statements(node)
    assert [(each.tenant, each.detail, each.worker) for each in found] == [
        ("acme", "2023-11-15", "recorder"), ("birch", "2023-11-15", "recorder"),
    ]  # fmt: skip
    assert found[0].values == {
        "number": 1, "records": 2, "bytes_out": 3, "bytes_in": 4, "refusals": 0, "reads": 0, "withheld": 0,
    }  # fmt: skip
    (node.log / "checkpoint").unlink()  # and when the state is folded again from the log alone
    writer2 = node.writer("w1.1")
    put(writer2, "deny", flow="R", ref="R", tenant="acme")
    writer2.flush()
    process = node.start("0000abd0", statements=True)
    until(lambda: len(statements(node)) >= 3, "the next statement")
    assert stop(process) == 0
    mine = [each for each in map(decode, node.lines()) if each.tenant == "acme"]
    assert statement.check(mine, whole=True) == (2, 0)
    writer.close()
    writer2.close()

"""Each omission is found, and a whole log has none."""

from typing import Any

import msgspec
import pytest

from telemetry.omissions import NAMED, Omissions, look
from telemetry.record import Record

SECOND = 1_000_000
START = 1_800_000_000 * SECOND


def rec(seq: int, kind: str, second: float = 0, worker: str = "w0.1", **fields: Any) -> Record:
    return Record(
        node="n", boot="0000abcd", worker=worker, seq=seq, kind=kind, time=START + int(second * SECOND), **fields
    )


def figures(seq: int, second: float, out: int, into: int, packets: int = 10) -> Record:
    values = {"wire_out": out, "wire_in": into, "wire_out_packets": packets, "wire_in_packets": packets}
    return rec(seq, "heartbeat", second, "lines.1", detail="figures", line="hk1", values=values)


def opened(seq: int, flow: str = "F", **fields: Any) -> Record:
    return rec(seq, "open", flow=flow, line="hk1", **fields)


def closed(seq: int, flow: str = "F", out: int = 0, into: int = 0, **fields: Any) -> Record:
    return rec(seq, "close", flow=flow, line="hk1", bytes_out=out, bytes_in=into, **fields)


def seen(*records: Record) -> Omissions:
    return look(enumerate(records))


MB = 1_000_000
WHOLE = [
    rec(1, "heartbeat", 0), figures(1, 0, 500, 900), opened(2),
    rec(3, "progress", 1, flow="F", line="hk1", bytes_out=MB, bytes_in=3 * MB),
    closed(4, out=2 * MB, into=5 * MB), rec(5, "heartbeat", 10), rec(6, "heartbeat", 20),
    figures(2, 100, int(2.1 * MB) + 500, int(5.2 * MB) + 900, 2000),
]  # fmt: skip
FOUND: dict[str, tuple[list[Record], str, str]] = {
    "a missing number": ([rec(1, "deny"), rec(4, "deny")], "sequence", "2 records, 2 to 3, are missing before"),
    "a process that does not begin": ([rec(3, "deny")], "sequence", "2 records, 1 to 2, are missing before record 0"),
    "a number twice": ([rec(1, "deny"), rec(1, "deny")], "sequence", "number 1 comes after 1 at record 1"),
    "a silent worker": (
        [rec(1, "heartbeat", 0), rec(2, "heartbeat", 50)], "heartbeat", "gave no sign of life for 50 s before record 1",
    ),
    "a flow that opens twice": ([opened(1), opened(2)], "flows", "flow F opens a second time at record 1"),
    "a close of nothing": ([closed(1)], "flows", "flow F closes at record 0 without having opened"),
    "more recorded than passed": (
        [figures(1, 0, 0, 0, 0), opened(1), closed(2, out=9 * MB), figures(2, 5, 100, 100)],
        "lines", "line hk1: 9000000 bytes are recorded, but 200 passed",
    ),
    "bytes that are in no record": (
        [figures(1, 0, 0, 0, 0), opened(1), closed(2, out=100),
         *[figures(at, 100 * at, 0, at * MB, 10 * at) for at in range(2, 10)]],
        "lines", "line hk1: at least 8978400 bytes passed that are no headers, but 100 are recorded",
    ),
}  # fmt: skip
FINE: dict[str, list[Record]] = {
    "a whole log": WHOLE,
    "a worker that never beat may be silent": [rec(1, "deny", 0), rec(2, "deny", 500)],
    "two processes have numbers of their own": [rec(1, "deny"), rec(1, "deny", worker="w1.1")],
    "another boot begins at 1": [rec(1, "deny"), msgspec.structs.replace(rec(1, "deny"), boot="0000abce")],
    "a flow that is still open": [opened(1)],
    "progress of a flow whose opening was pruned": [rec(1, "progress", flow="F", bytes_in=9)],
    "the kernel's counters began anew": [
        figures(1, 0, 5 * MB, 0, 5), opened(1), figures(2, 9, 0, 0, 0), closed(2, into=MB), figures(3, 99, MB, MB, 9),
    ],
    "bytes of the last minute, not recorded yet": [figures(1, 0, 0, 0, 0), opened(1), figures(2, 30, 0, 90 * MB, 99)],
    "a line whose downloads the kernel cannot tell": [
        rec(1, "heartbeat", 0, "lines.1", detail="figures", line="hk1", values={"wire_out": 0, "wire_out_packets": 0}),
        opened(1), closed(2, into=9 * MB),
        rec(2, "heartbeat", 9, "lines.1", detail="figures", line="hk1", values={"wire_out": 9, "wire_out_packets": 1}),
    ],
    "acknowledgements of a large download": [
        figures(1, 0, 0, 0, 0), opened(1), closed(2, out=500, into=100 * MB), figures(2, 100, 2 * MB, 105 * MB, 40_000),
    ],
}  # fmt: skip


@pytest.mark.parametrize(("records", "kind", "words"), FOUND.values(), ids=FOUND)
def test_what_is_missing_is_found(records: list[Record], kind: str, words: str) -> None:
    found = seen(*records).found
    assert list(found) == [kind]
    assert words in found[kind][-1]


@pytest.mark.parametrize("records", FINE.values(), ids=FINE)
def test_nothing_is_found_where_nothing_is_missing(records: list[Record]) -> None:
    assert seen(*records).found == {}


@pytest.mark.parametrize("left_out", range(len(WHOLE) - 1))
def test_any_record_left_out_of_a_whole_log_is_missed(left_out: int) -> None:
    if WHOLE[left_out].worker == "w0.1" and left_out != 6:  # the last of a process leaves no gap behind it
        assert "sequence" in seen(*WHOLE[:left_out], *WHOLE[left_out + 1 :]).found


def test_many_findings_are_counted_and_some_named() -> None:
    omissions = seen(*[rec(2 * number, "deny") for number in range(1, 100)])
    assert omissions.counts == {"sequence": 99}
    assert len(omissions.found["sequence"]) == NAMED

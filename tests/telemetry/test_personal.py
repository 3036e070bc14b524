"""Sealed personal fields: in the log pseudonyms and ciphertext, for those who may ask the clear text, and nothing for
anybody once the key of their month is destroyed."""

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from telemetry.evidence import note
from telemetry.evidence.reader import Reader
from telemetry.evidence.verify import verify_log, verify_records
from telemetry.personal import PERSONAL, Sealer
from telemetry.record import Record, decode, encode
from telemetry.retention import DAY, HOLDS, Hold, write_holds
from telemetry.spooldir import MAX_LINE
from tests.telemetry.spool_kit import BOOT, NODE, Node, put, stop, until

NOW = time.time_ns() // 1000
PRIVATE = {
    "client_ip": "10.0.0.77",
    "client_port": 51_234,
    "user": "u-7f3k",
    "user_agent": "curl/8.1",
    "path": "/private",
}
SECRETS = [b"10.0.0.77", b"u-7f3k", b"curl/8.1", b"/private", b"51234"]


def record(seq: int = 1, **fields: Any) -> Record:
    return Record(
        node=NODE, boot=BOOT, worker="w0.1", seq=seq, kind="open", time=NOW, flow=f"F{seq}", tenant="acme", **fields
    )


def sealed(sealer: Sealer, *records: Record, now: int = NOW) -> list[bytes]:
    lines = [encode(one) for one in records]
    data, lengths = sealer.seal(
        b"".join(line + b"\n" for line in lines), records, [len(line) + 1 for line in lines], now
    )
    found = data.split(b"\n")[:-1]
    assert [len(line) + 1 for line in found] == lengths
    return found


def test_what_is_stored_holds_no_personal_field_and_opens_to_what_it_was(tmp_path: Path) -> None:
    sealer = Sealer(tmp_path)
    plain = record(2, host="docs.example.com")
    first, second, third = sealed(sealer, record(1, **PRIVATE), plain, record(3, **PRIVATE))
    assert not [secret for secret in SECRETS if secret in first]
    assert second == encode(plain), "what has none stays as it was written, byte for byte"
    assert (decode(first).client_ip, decode(first).user) == (decode(third).client_ip, decode(third).user)
    assert decode(first).client_ip.startswith("~")
    assert decode(first).sealed != decode(third).sealed
    assert sealer.open(decode(first)) == record(1, **PRIVATE)
    assert sealer.open_line(third) == encode(record(3, **PRIVATE))
    again = Sealer(tmp_path)
    assert again.open(decode(first)) == record(1, **PRIVATE), "after a restart"
    assert decode(sealed(again, record(4, **PRIVATE))[0]).client_ip == decode(first).client_ip
    assert (next(tmp_path.iterdir())).stat().st_mode & 0o777 == 0o600


def test_another_month_has_another_key_and_other_pseudonyms(tmp_path: Path) -> None:
    sealer = Sealer(tmp_path)
    (before,), (after,) = (sealed(sealer, record(1, **PRIVATE), now=now) for now in (NOW, NOW + 40 * DAY))
    assert decode(before).client_ip != decode(after).client_ip
    assert sealer.pseudonyms("10.0.0.77") == {decode(before).client_ip, decode(after).client_ip}
    first, second = sealer.periods()
    sealer.destroy(first)
    assert sealer.open(decode(before)) == decode(before), "it says nothing any more"
    assert sealer.open(decode(after)) == record(1, **PRIVATE)
    assert sealer.periods() == [second]


SPOILT: dict[str, Callable[[Record], Record]] = {
    "moved to another record": lambda r: msgspec.structs.replace(r, seq=2),
    "changed": lambda r: msgspec.structs.replace(r, sealed=r.sealed[:-8] + "AAAAAAAA"),
    "cut": lambda r: msgspec.structs.replace(r, sealed=r.sealed[:20]),
    "of no month": lambda r: msgspec.structs.replace(r, sealed="../../x." + r.sealed),
    "no base64": lambda r: msgspec.structs.replace(r, sealed=r.sealed[:8] + "!!"),
}


@pytest.mark.parametrize("spoil", SPOILT.values(), ids=SPOILT)
def test_a_sealed_field_that_was_spoilt_opens_to_nothing(tmp_path: Path, spoil: Callable[[Record], Record]) -> None:
    sealer = Sealer(tmp_path)
    (line,) = sealed(sealer, record(1, **PRIVATE))
    wrong = spoil(decode(line))
    assert sealer.open(wrong) == wrong


def test_the_longest_record_still_fits_the_evidence(tmp_path: Path) -> None:
    room = MAX_LINE - len(encode(record(1, **PRIVATE, host="")))
    (line,) = sealed(Sealer(tmp_path), record(1, **PRIVATE, host="x" * (room - 10)))
    assert len(line) <= MAX_LINE
    assert decode(line).host == "x" * 200


_RUN = """
import sys; from pathlib import Path; import telemetry.recorder as r, telemetry.expiry as e
r.CHECKPOINT, r.LOOK, e.EVERY = 0.02, 0.03, 0.05
sys.exit(r.run(state_dir=Path(sys.argv[1]), run_dir=Path(sys.argv[2]), node="gw1.zone.example", boot=sys.argv[3],
               segment_bytes=20000, evidence_interval=0.02, personal_days=int(sys.argv[4])))
"""


def start(node: Node, days: int = 184) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", _RUN, node.state, node.run, BOOT, str(days)], stderr=subprocess.PIPE)


def asked(node: Node, path: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in node.ask(path)[2].splitlines()]


def test_a_recorder_seals_answers_in_clear_and_erases(tmp_path: Path) -> None:
    node = Node(tmp_path)
    writer = node.writer()
    for number in range(100):
        put(writer, "open", flow=f"F{number}", tenant="acme", time=NOW, **PRIVATE)
    writer.flush()
    recorder = start(node)
    try:
        until(lambda: len(node.records("w0.1")) == 100, "taken")
        until((node.run / "recorder.sock").exists, "it listens")
        found = until(lambda: asked(node, "/records?source=10.0.0.77&limit=5"), "durable")
        assert [found[0][name] for name in PRIVATE] == list(PRIVATE.values())
        assert len(found) == 5
        assert node.ask("/records?source=10.0.0.78")[2] == b""
        assert asked(node, "/flows?limit=5")[0]["client_ip"] == "10.0.0.77"
        writer.close()  # its process is gone: the recorder closes its flows, from what it knows of their opens
        until(lambda: sum(r.kind == "close" for r in node.records("recorder")) == 100, "closed")
        closes = until(lambda: asked(node, "/records?kind=close&limit=1"), "durable")
        assert closes[0]["user"] == "u-7f3k"
    finally:
        assert stop(recorder) == 0
    stored = b"".join(node.lines())
    assert not [secret for secret in SECRETS if secret in stored]
    reader = Reader(node.state / "evidence/flows")
    key = note.parse_key((node.state / "evidence/flows.vkey").read_text().strip())
    kept = reader.checkpoint()
    (current,) = (node.state / PERSONAL).glob("*.key")
    old = current.rename(current.with_name("2020-01.key"))
    hold = Hold(id="h", since=0, until=NOW + DAY, by="root", reason="case 7")
    (node.state / HOLDS).write_bytes(write_holds([hold]))
    recorder = start(node)
    until(lambda: any(r.detail.startswith("started") for r in node.records("recorder")[-3:]), "it runs")
    time.sleep(0.3)
    assert old.exists(), "a hold keeps keys too"
    (node.state / HOLDS).unlink()
    until(lambda: not old.exists(), "the key is destroyed")
    assert stop(recorder) == 0
    said = [r.detail for r in node.records("recorder") if (r.values or {}).get("erased")]
    assert said == ["personal fields of records taken in 2020-01 are erased: their key is destroyed"]
    found_ = verify_log(reader, key, [kept])
    assert verify_records(reader, found_.head, node.log) == found_.entries, "every proof holds on"


def test_what_was_sealed_is_still_read_when_new_records_are_not(tmp_path: Path) -> None:
    node = Node(tmp_path)
    writer = node.writer()
    put(writer, "deny", flow="F1", tenant="acme", time=NOW, **PRIVATE)
    writer.flush()
    recorder = start(node)
    until(lambda: len(node.records("w0.1")) == 1, "taken")
    stop(recorder)
    put(writer, "deny", flow="F2", tenant="acme", time=NOW, **PRIVATE)
    writer.flush()
    recorder = start(node, days=0)
    try:
        until(lambda: len(node.records("w0.1")) == 2, "taken")
        until((node.run / "recorder.sock").exists, "it listens")
        assert [record.client_ip[0] for record in node.records("w0.1")] == ["~", "1"]
        found = until(lambda: two if len(two := asked(node, "/records?source=10.0.0.77")) == 2 else None, "durable")
        assert [one["client_ip"] for one in found] == ["10.0.0.77"] * 2
    finally:
        writer.close()
        assert stop(recorder) == 0

"""feiyu evidence, on a log that the recorder wrote: valid ones, wrong ones, and what each is told."""

import base64
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from ops.cli.main import run
from telemetry.evidence import note, proof
from telemetry.evidence.integrate import open_log
from telemetry.evidence.merkle import leaf_hash
from telemetry.record import Record, encode
from telemetry.segments import segment_name
from telemetry.statement import COUNTS

Output = pytest.CaptureFixture[str]
NODE = "gw1.zone.example"
REF = "80NG5F6PQ7HQYAYN"


def record(seq: int, **fields: object) -> bytes:
    return encode(Record(node=NODE, boot="0000abcd", worker="w0.1", seq=seq, time=seq, **fields))  # type: ignore[arg-type]


RECORDS = [
    *(record(seq, kind="heartbeat") for seq in range(1, 400)),
    record(400, kind="deny", flow=REF, ref=REF, tenant="acme", reason="not-whitelisted"),
    record(401, kind="open", flow="AAAAAAAAAAAAAAAA", tenant="acme"),
    record(402, kind="close", flow="AAAAAAAAAAAAAAAA", tenant="acme", cause="idle", detail=f'not "{REF}"'),
]


@pytest.fixture
def node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A node's state with an evidence log; its directory."""
    path = tmp_path / "feiyu.yaml"
    path.write_text(
        f"node: {NODE}\nstate_dir: {tmp_path}/state\nrun_dir: {tmp_path}/run\n"
        'listeners: [{name: plain, address: "127.0.0.1:3128"}]\n'
    )
    monkeypatch.setenv("FEIYU_CONFIG", str(path))
    monkeypatch.setenv("LANG", "C.UTF-8")
    (tmp_path / "state").mkdir()
    open_log(tmp_path / "state" / "evidence", NODE).append(RECORDS)
    (tmp_path / "state" / "log").mkdir()
    (tmp_path / "state" / "log" / segment_name(0)).write_bytes(b"".join(text + b"\n" for text in RECORDS))
    return tmp_path / "state" / "evidence"


def test_the_nodes_own_log_is_verified(node: Path, capsys: Output) -> None:
    assert run(["evidence", "verify", "-o", "json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["valid"] is True
    assert (facts["origin"], facts["size"], facts["entries"], facts["records"]) == (f"{NODE}/flows", 402, 402, 402)
    assert facts["bytes"] == sum(map(len, RECORDS))
    assert run(["evidence", "verify"]) == 0
    assert "valid: every record is as it was when it was logged" in capsys.readouterr().out
    assert run(["evidence", "verify", "--lang", "zh"]) == 0
    assert "有效" in capsys.readouterr().out


def test_a_node_whose_searchable_log_was_altered_is_told(node: Path, capsys: Output) -> None:
    path = node.parent / "log" / segment_name(0)
    path.write_bytes(path.read_bytes().replace(b"not-whitelisted", b"tenant-expired!"))
    assert run(["evidence", "verify"]) == 1
    assert "record 399 in " in (said := capsys.readouterr().err)
    assert "is not as it was logged" in said


def test_a_copy_is_verified_anywhere_by_its_key(
    node: Path, tmp_path: Path, capsys: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FEIYU_CONFIG", str(tmp_path / "none"))
    key = (node / "flows.vkey").read_text().strip()
    copy = shutil.copytree(node / "flows", tmp_path / "copy")
    assert run(["evidence", "verify", "--log", str(copy), "--key", key]) == 0
    shutil.copy(node / "flows.vkey", tmp_path / "copy.vkey")
    assert run(["evidence", "verify", "--log", str(copy)]) == 0, "a key beside the log is found"
    (tmp_path / "copy.vkey").unlink()
    assert run(["evidence", "verify", "--log", str(copy)]) == 2
    assert "Name the log's verifier key with --key" in capsys.readouterr().err


def test_what_is_not_valid_is_said_first_and_ends_with_1(node: Path, capsys: Output) -> None:
    tile = node / "flows/tile/entries/000"
    tile.write_bytes(tile.read_bytes().replace(b'"seq":7,', b'"seq":8,'))
    assert run(["evidence", "verify"]) == 1
    shown = capsys.readouterr()
    assert "NOT VALID: entry 6 does not have the hash that tile/0/000 holds for it" in shown.err
    assert shown.out == ""
    assert run(["evidence", "verify", "--range", "256..300"]) == 0, "the rest is still as it was"
    assert "valid: records 256 to 300" in capsys.readouterr().out
    assert run(["evidence", "verify", "--range", "6"]) == 1
    assert run(["evidence", "verify", "--range", "a..b"]) == 1
    assert "the range's first entry is 'a', not a decimal" in capsys.readouterr().err


def test_a_checkpoint_that_was_kept_shows_a_rewritten_log(node: Path, tmp_path: Path, capsys: Output) -> None:
    assert run(["evidence", "checkpoint"]) == 0
    kept = tmp_path / "kept"
    kept.write_text(capsys.readouterr().out)
    assert kept.read_bytes() == (node / "flows/checkpoint").read_bytes(), "byte for byte"
    open_log(node, NODE).append([record(403, kind="heartbeat")])
    shutil.rmtree(node.parent / "log")
    assert run(["evidence", "verify", "--since", str(kept)]) == 0
    assert "1 lead to this one" in capsys.readouterr().out
    for name in ("flows", "flows.committed"):  # root on the node, who has the key, makes it all anew
        shutil.rmtree(node / name) if (node / name).is_dir() else (node / name).unlink()
    open_log(node, NODE).append([*RECORDS[:399], record(400, kind="heartbeat"), *RECORDS[400:], RECORDS[0]])
    assert run(["evidence", "verify"]) == 0, "in itself it is as good as any"
    assert run(["evidence", "verify", "--since", str(kept)]) == 1
    assert "size 402 that was seen before is of another log: it was forked" in capsys.readouterr().err


def test_a_refusal_is_proved_by_its_reference(node: Path, tmp_path: Path, capsys: Output) -> None:
    out = tmp_path / "refusal.tlog-proof"
    assert run(["evidence", "prove", REF, "--out", str(out)]) == 0
    assert f"record 399 of 402, proved under {NODE}/flows" in capsys.readouterr().err
    key = (node / "flows.vkey").read_text().strip()
    assert proof.verify(proof.parse(out.read_bytes()), RECORDS[399], note.parse_key(key)).size == 402
    shutil.rmtree(node / "flows")
    assert run(["evidence", "verify", str(out), "--key", key, "-o", "json"]) == 0, "without the log"
    facts = json.loads(capsys.readouterr().out)
    assert (facts["index"], facts["record"]) == (399, RECORDS[399].decode())
    record_file = tmp_path / "record"
    record_file.write_bytes(RECORDS[398])
    assert run(["evidence", "verify", str(out), "--key", key, "--entry", str(record_file)]) == 1
    assert "leads to another root" in capsys.readouterr().err


FOUND = {"an index": ("400", 400), "the first": ("0", 0), "a flow, by its last record": ("AAAAAAAAAAAAAAAA", 401)}


@pytest.mark.parametrize(("name", "index"), FOUND.values(), ids=FOUND)
def test_any_record_is_proved_to_stdout(node: Path, capsys: Output, name: str, index: int) -> None:
    assert run(["evidence", "prove", name]) == 0
    read = proof.parse(capsys.readouterr().out.encode())
    assert (read.index, read.extra) == (index, RECORDS[index])


def test_what_cannot_be_proved_is_told(node: Path, capsys: Output) -> None:
    assert run(["evidence", "prove", "0000000000000000"]) == 1
    assert "no record in the log has the reference 0000000000000000" in capsys.readouterr().err
    assert run(["evidence", "prove", "402"]) == 1
    assert "a log of 402 entries has no entries 402 to 402" in capsys.readouterr().err
    assert run(["evidence", "prove", REF, "--out", "/nowhere/p"]) == 1
    assert "/nowhere/p cannot be written: No such file or directory" in capsys.readouterr().err
    (node / "flows/checkpoint").write_bytes(b"")
    assert run(["evidence", "prove", REF]) == 1
    assert "NOT VALID: the note has no signatures" in capsys.readouterr().err


def test_the_verifier_that_is_printed_runs_by_itself(node: Path, tmp_path: Path, capsys: Output) -> None:
    assert run(["evidence", "verifier"]) == 0
    script = tmp_path / "verify.py"
    script.write_text(capsys.readouterr().out)
    command = [sys.executable, "-I", str(script), str(node / "flows.vkey"), str(node / "flows")]
    done = subprocess.run(command, capture_output=True, text=True, env={}, cwd="/", timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"valid: all 402 records of {NODE}/flows are as they were")


def test_a_firm_is_given_its_own_records_and_nobody_elses(node: Path, tmp_path: Path, capsys: Output) -> None:
    open_log(node, NODE).append([record(403, kind="open", flow="F", tenant="birch", host="secret.example")])
    out = tmp_path / "acme"
    assert run(["evidence", "export", "--tenant", "acme", "--out", str(out), "-o", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["records"] == 3
    assert {path.name for path in out.iterdir()} == {
        "399.tlog-proof", "400.tlog-proof", "401.tlog-proof", "checkpoint", "vkey", "verify.py", "export.json",
    }  # fmt: skip
    assert [proof.parse((out / f"{index}.tlog-proof").read_bytes()).extra for index in (399, 400, 401)] == RECORDS[399:]
    everything = b"".join(path.read_bytes() for path in out.iterdir())
    assert b"secret.example" not in everything
    key = str(node / "flows.vkey")
    assert run(["evidence", "verify", str(out), "--key", key]) == 0
    assert "valid: each of the 3 records is in the log" in capsys.readouterr().out
    command = [sys.executable, "-I", str(out / "verify.py"), key, str(out / "400.tlog-proof")]
    assert subprocess.run(command, capture_output=True, env={}, timeout=60).returncode == 0
    spoilt = out / "400.tlog-proof"
    spoilt.write_bytes((out / "401.tlog-proof").read_bytes().replace(b"index 401", b"index 400"))
    assert run(["evidence", "verify", str(out), "--key", key]) == 1
    assert "400.tlog-proof: the inclusion proof of leaf 400 leads to another root" in capsys.readouterr().err


def test_what_should_be_in_the_log_and_is_not_is_told(node: Path, capsys: Output) -> None:
    assert run(["evidence", "verify", "--omissions", "-o", "json"]) == 0, "the whole log"
    facts = json.loads(capsys.readouterr().out)
    assert (facts["valid"], facts["omissions"], facts["flows_open"]) == (True, [], 0)
    open_log(node, NODE).append([record(406, kind="close", flow="B", tenant="acme")])
    shutil.rmtree(node.parent / "log")
    assert run(["evidence", "verify", "--omissions"]) == 1
    out = capsys.readouterr().out
    assert "valid: every record is as it was" in out, "what is there is as it was"
    assert "w0.1 of boot 0000abcd: 3 records, 403 to 405, are missing before record 402" in out
    assert "flow B closes at record 402 without having opened" in out
    assert run(["evidence", "verify"]) == 0


def statement(seq: int, number: int, **counts: int) -> bytes:
    values = {"number": number, **dict.fromkeys(COUNTS, 0), **counts}
    made = Record(node=NODE, boot="0000abcd", worker="recorder", seq=seq, kind="statement", time=seq, tenant="acme",
                  detail="1970-01-01", values=values)  # fmt: skip
    return encode(made)


def test_a_firm_counts_its_records_again_and_finds_what_is_left_out(node: Path, tmp_path: Path, capsys: Output) -> None:
    withheld = record(403, kind="read", tenant="acme", facts={"case": "secret 12", "withheld": "art. 12"})
    shown = record(404, kind="read", tenant="acme", facts={"case": "2027-9"})
    counts = {"records": 5, "refusals": 1, "reads": 2, "withheld": 1}
    open_log(node, NODE).append([withheld, shown, statement(1, 1, **counts), record(405, kind="deny", tenant="acme")])
    out = tmp_path / "acme"
    key = ["--key", str(node / "flows.vkey")]
    assert run(["evidence", "export", "--tenant", "acme", "--out", str(out), "-o", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["records"] == 6
    everything = b"".join(base64.b64decode(path.read_bytes().split(b"\n")[1][6:]) for path in out.glob("*.tlog-proof"))
    assert b"2027-9" in everything
    assert b"secret 12" not in everything, "a withheld read is counted, not shown"
    assert run(["evidence", "verify", str(out), *key, "-o", "json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert (facts["statements"], facts["records_behind"]) == (1, 1)
    (out / "400.tlog-proof").unlink()
    assert run(["evidence", "verify", str(out), *key]) == 1
    assert "counts records: 4, but there are 3: records were left out" in capsys.readouterr().err
    late = tmp_path / "late"
    assert run(["evidence", "export", "--tenant", "acme", "--since", "@0", "--out", str(late)]) == 0
    (late / "export.json").write_text('{"tenant": "birch", "flow": null, "since": null}')
    assert run(["evidence", "verify", str(late), *key]) == 1
    assert "holds records of acme too" in capsys.readouterr().err
    (late / "export.json").write_text("[]")
    assert run(["evidence", "verify", str(late), *key]) == 1
    assert "export.json cannot be read" in capsys.readouterr().err


def test_each_row_of_a_parquet_file_leads_back_to_its_proof(node: Path, tmp_path: Path, capsys: Output) -> None:
    duckdb = pytest.importorskip("duckdb")
    what: dict[str, object] = {"bytes_in": 1 << 80, "values": {"a": 1}, "facts": {"b": "c"}, "ech": True}
    odd = record(1 << 70, kind="deny", tenant="O'Hara 飞", **what)
    open_log(node, NODE).append([odd])
    file = tmp_path / "it's all.parquet"
    assert run(["evidence", "export", "--parquet", str(file), "-o", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["records"] == 403
    chosen = "SELECT leaf_index, leaf_hash, record, tenant, bytes_in, ech FROM read_parquet(?)"
    rows = duckdb.connect().execute(chosen, [str(file)]).fetchall()
    assert [row[0] for row in rows] == list(range(403))
    assert [row[2].encode() for row in rows] == [*RECORDS, odd]
    assert rows[402][3:] == ("O'Hara 飞", None, True), "what no column holds is null; the record has it"
    key = note.parse_key((node / "flows.vkey").read_text().strip())
    for index, hash_, text, *_ in (rows[0], rows[255], rows[256], rows[402]):
        assert run(["evidence", "prove", str(index)]) == 0
        made = proof.parse(capsys.readouterr().out.encode())
        assert proof.verify(made, text.encode(), key).size == 403
        assert leaf_hash(text.encode()).hex() == hash_
    about = dict(duckdb.connect().execute("SELECT key, value FROM parquet_kv_metadata(?)", [str(file)]).fetchall())
    assert about[b"checkpoint"] == (node / "flows/checkpoint").read_bytes()
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == [], "nothing is left beside it"
    assert run(["evidence", "export", "--parquet", str(file), "--tenant", "acme", "-o", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["records"] == 3
    bundle = node / "flows/tile/entries/000"
    bundle.write_bytes(bundle.read_bytes().replace(b'"seq":7,', b'"seq":8,'))
    assert run(["evidence", "export", "--parquet", str(file)]) == 1
    assert "entry 6 does not have the hash" in capsys.readouterr().err
    assert run(["evidence", "export", "--parquet", "/nowhere/p", "--tenant", "acme"]) == 1
    assert "/nowhere/.p.rows cannot be written" in capsys.readouterr().err
    assert run(["evidence", "export", "--tenant", "acme"]) == 2


def test_an_export_is_narrowed_and_never_overwrites(node: Path, tmp_path: Path, capsys: Output) -> None:
    out = tmp_path / "flow"
    assert run(["evidence", "export", "--flow", "AAAAAAAAAAAAAAAA", "--out", str(out), "-o", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["records"] == 2
    assert run(["evidence", "export", "--tenant", "acme", "--out", str(out)]) == 1
    assert "flow cannot be written: File exists" in capsys.readouterr().err
    late = tmp_path / "late"
    assert run(["evidence", "export", "--tenant", "acme", "--since", "1h", "--out", str(late), "-o", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["records"] == 0
    assert run(["evidence", "verify", str(late), "--key", str(node / "flows.vkey")]) == 1, "nothing shows nothing"
    assert run(["evidence", "export", "--out", str(tmp_path / "all")]) == 2
    assert "say whose records" in capsys.readouterr().err

"""feiyu evidence dossier: made on a node, verified by whoever has the key; the first wrong thing is named."""

import contextlib
import json
import random
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ops.cli.main import run
from telemetry.evidence import note
from telemetry.evidence.dossier import parse
from telemetry.evidence.dossier import verify as verify_held
from telemetry.evidence.error import EvidenceError
from tests.ops.recorded_node import RecordedNode, recorded
from tests.telemetry import spool_kit

Output = pytest.CaptureFixture[str]
FLOW, REF = "7F3K9Q2M4XW5T0AB", "80NG5F6PQ7HQYAYN"
LINE = "line add hk1 --device l1 --gateway 192.0.2.1 --source 192.0.2.2 --resolver 203.0.113.53 --carrier Telecom"
SETUP = [
    f"{LINE} --circuit IPLC-7 --for 12mo",
    "tenant add acme --name Acme --place lingang-a/r1/acc0/10.1.0.0/24 --for 12mo",
    "service add docs --host docs.example.com",
    "grant add --tenant acme --service docs --line hk1 --for 90d",
]


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RecordedNode]:
    """A node on which a firm was let in, used its grant, was refused, and had its name changed since."""
    with recorded(tmp_path_factory.mktemp("node")) as made:

        def call(text: str) -> None:
            assert run([*text.split(), "--reason", "contract 7", "--config", str(made.config), "--no-input"]) == 0, text

        for text in SETUP:
            call(text)
        actions = [json.loads(line) for line in made.node.lines() if b'"kind":"action"' in line]
        spool_kit.until(lambda: any(b"grants/g-" in line for line in made.node.lines()), "the grant's record")
        actions = [json.loads(line) for line in made.node.lines() if b"grants/g-" in line]
        grant = actions[-1]["detail"].split()[1].removeprefix("grants/")
        revision, now = actions[-1]["revision"], int(time.time() * 1e6)
        used = {"tenant": "acme", "service": "docs", "grant": grant, "line": "hk1", "revision": revision, "time": now}
        spool_kit.put(made.writer, "open", flow=FLOW, **used)
        spool_kit.put(made.writer, "close", flow=FLOW, bytes_in=7, **used)
        spool_kit.put(made.writer, "deny", flow=REF, ref=REF, tenant="acme", revision=revision, time=now)
        made.writer.flush()
        call("tenant edit acme --name Later")
        spool_kit.until(lambda: any(b"edit tenants/acme" in line for line in made.node.lines()), "the last act")
        made.settle()
        yield made


def dossier(node: RecordedNode, name: str, out: Path) -> dict[str, Any]:
    assert run(["evidence", "dossier", name, "--out", str(out), "--config", str(node.config)]) == 0
    made: dict[str, Any] = json.loads(out.read_text())
    return made


def verify(path: Path, key: Path, capsys: Output) -> tuple[int, str, str]:
    capsys.readouterr()
    code = run(["evidence", "verify", str(path), "--key", str(key), "-o", "json"])
    return code, *capsys.readouterr()


def test_a_flow_with_its_policy_as_it_was_stands_alone(node: RecordedNode, tmp_path: Path, capsys: Output) -> None:
    out = tmp_path / "dossier.json"
    made = dossier(node, FLOW, out)
    assert "2 records proved; of 4 entries of the policy 4" in capsys.readouterr().err
    by_name = {item["collection"]: item["fields"] for item in made["policy"]}
    assert by_name["tenants"]["name"] == "Acme", "as it was, not as it is"
    assert made["contract"]["circuit"] == "IPLC-7"
    assert made["approvals"] == []
    assert "No approval is in here" in made["missing"][0]
    key = shutil.copy(node.key, tmp_path / "key")
    code, shown, _ = verify(out, Path(key), capsys)
    facts = json.loads(shown)
    assert (code, facts["valid"], facts["unproved"]) == (0, True, [])
    assert {name.partition("/")[0] for name in facts["proved"]} == {"tenants", "grants", "services", "lines"}


def test_a_refusal_has_a_dossier_too(node: RecordedNode, tmp_path: Path) -> None:
    made = dossier(node, REF, tmp_path / "dossier.json")
    assert [item["collection"] for item in made["policy"]] == ["tenants"]
    assert made["contract"] == {}


def fields_of(raw: dict[str, Any], collection: str) -> dict[str, Any]:
    found: dict[str, Any] = next(item for item in raw["policy"] if item["collection"] == collection)
    return found


TAMPERED: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "a record": (
        lambda raw: raw["extract"]["records"][-1].update(record="{}"), "leads to another root",
    ),
    "a field of the policy": (
        lambda raw: fields_of(raw, "tenants")["fields"].update(name="Other"), "tenants/acme is not as record",
    ),
    "an entry's revision": (
        lambda raw: fields_of(raw, "services").update(revision=1), "is not of the act that made revision 1",
    ),
    "an entry from later": (lambda raw: fields_of(raw, "grants").update(revision=99), "but the flow was judged at"),
    "an entry's record": (lambda raw: fields_of(raw, "lines").update(leaf=0), "record 0 is not in the file"),
    "the contract": (lambda raw: raw["contract"].update(circuit="IPLC-8"), "the contract is not that of the line"),
    "whose it is": (lambda raw: raw.update(ref=REF), f"is not of {REF}"),
    "no records": (lambda raw: raw.update(records=[]), "the dossier holds no record"),
    "another format": (lambda raw: raw.update(format="x"), "the file's format is 'x'"),
    "no extract": (lambda raw: raw.pop("extract"), "this is no dossier"),
}  # fmt: skip


@pytest.mark.parametrize(("change", "why"), TAMPERED.values(), ids=TAMPERED)
def test_what_was_tampered_with_is_named(
    node: RecordedNode, tmp_path: Path, capsys: Output, change: Callable[[dict[str, Any]], object], why: str
) -> None:
    out = tmp_path / "dossier.json"
    raw = dossier(node, FLOW, out)
    change(raw)
    out.write_text(json.dumps(raw))
    code, shown, said = verify(out, node.key, capsys)
    assert (code, shown) == (1, "")
    assert why in said


def test_a_dossier_cut_or_changed_anywhere_is_never_a_traceback(node: RecordedNode, tmp_path: Path) -> None:
    data = json.dumps(dossier(node, FLOW, tmp_path / "dossier.json")).encode()
    key, chance = note.parse_key(node.key.read_text().strip()), random.Random(7)
    held = parse(data)
    records = [record for _, record in verify_held(held, key).records]
    for _ in range(400):
        at = chance.randrange(len(data))
        for wrong in (data[:at], data[:at] + bytes([data[at] ^ 1 << chance.randrange(8)]) + data[at + 1 :]):
            with contextlib.suppress(EvidenceError):
                seen = verify_held(found := parse(wrong), key)
                assert [record for _, record in seen.records] == records, at
                proved = [item.fields for item in found.policy if item.leaf >= 0]
                assert all(fields in [item.fields for item in held.policy] for fields in proved), at


def test_an_entry_without_its_record_is_only_told(node: RecordedNode, tmp_path: Path, capsys: Output) -> None:
    out = tmp_path / "dossier.json"
    raw = dossier(node, FLOW, out)
    fields_of(raw, "tenants").update(leaf=-1)
    out.write_text(json.dumps(raw))
    code, shown, _ = verify(out, node.key, capsys)
    assert (code, json.loads(shown)["unproved"]) == (0, ["tenants/acme"])


def test_what_is_not_in_the_log_has_no_dossier(node: RecordedNode, capsys: Output) -> None:
    assert run(["evidence", "dossier", "0000000000000000", "--config", str(node.config)]) == 1
    assert "no record in the log has the reference" in capsys.readouterr().err

"""A dossier: all records of one flow or refusal with proofs, and the policy as it was, in one file for a dispute.

The records are proved by the log. An item of the policy is proved where the log holds the record of the act that made
it so, which carries the item's digest: SHA-256 of its JSON with sorted keys and no blanks. Items without such a record
are in the file as the register's history has them, and the verdict says so.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

import msgspec

from telemetry.evidence import note
from telemetry.evidence.checkpoint import Checkpoint
from telemetry.evidence.error import EvidenceError
from telemetry.evidence.extract import Extract, open_extract
from telemetry.record import Kind, Record, decode

FORMAT = "feiyu-dossier-v1"
MAX_BYTES = 64 << 20

_encoder = msgspec.json.Encoder(order="sorted")


class Item(msgspec.Struct, frozen=True, kw_only=True):
    """An entry of the register as it was: what it was made by, and its fields. leaf: the index of the record of that
    act, -1 where the log has none with its digest."""

    collection: str
    id: str
    revision: int
    time: int
    actor: str
    reason: str
    fields: dict[str, Any]
    leaf: int = -1


class Dossier(msgspec.Struct, frozen=True, kw_only=True):
    """records: indexes of the flow's records; contract: what the line's entry says of it; approvals: of the policy's
    entries, signed by their approvers; missing: what is not in here, in words."""

    format: str = FORMAT
    ref: str
    records: list[int]
    policy: list[Item] = []
    contract: dict[str, Any] = {}
    approvals: list[dict[str, Any]] = []
    missing: list[str] = []
    extract: Extract


@dataclass(slots=True)
class Verified:
    """proved, unproved: names COLLECTION/ID of the policy's items."""

    head: Checkpoint
    records: list[tuple[int, Record]]
    proved: list[str] = field(default_factory=list)
    unproved: list[str] = field(default_factory=list)


def digest(fields: dict[str, Any]) -> str:
    """Of an item's fields, in hexadecimal."""
    return sha256(_encoder.encode(fields)).hexdigest()


def parse(data: bytes) -> Dossier:
    """Reads a dossier without verifying anything. Raises EvidenceError."""
    if len(data) > MAX_BYTES:
        raise EvidenceError(f"the file has {len(data)} bytes, more than {MAX_BYTES}")
    try:
        found = msgspec.json.decode(data, type=Dossier)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise EvidenceError(f"this is no dossier: {error}") from None
    if found.format != FORMAT:
        raise EvidenceError(f"the file's format is {found.format!r}, not {FORMAT}")
    return found


def verify(dossier: Dossier, key: note.VerifierKey, others: Iterable[note.VerifierKey] = ()) -> Verified:
    """Checks each record and each item. Raises EvidenceError for the first that is not what the file says."""
    head, entries = open_extract(dossier.extract, key, others)
    records = [(index, _record(entries, index)) for index in dossier.records]
    if not records:
        raise EvidenceError("the dossier holds no record")
    for index, record in records:
        if dossier.ref not in (record.flow, record.ref):
            raise EvidenceError(f"record {index} is not of {dossier.ref}")
    found = Verified(head, records)
    revision = max(record.revision for _, record in records)
    for item in dossier.policy:
        name = f"{item.collection}/{item.id}"
        if item.revision > revision:
            raise EvidenceError(f"{name} is of revision {item.revision}, but the flow was judged at {revision}")
        if item.leaf < 0:
            found.unproved.append(name)
            continue
        act = _record(entries, item.leaf)
        if act.kind != Kind.ACTION.value or act.revision != item.revision:
            raise EvidenceError(f"record {item.leaf} is not of the act that made revision {item.revision}")
        if (act.facts or {}).get(name) != digest(item.fields):
            raise EvidenceError(f"{name} is not as record {item.leaf} says that it was made")
        found.proved.append(name)
    _is_of_the_records(dossier, [record for _, record in records])
    return found


def named(records: Iterable[Record]) -> list[tuple[str, str]]:
    """The register's entries that records name: (collection, id)."""
    found: dict[tuple[str, str], None] = {}
    for record in records:
        for collection, name in (
            ("tenants", record.tenant),
            ("grants", record.grant),
            ("services", record.service),
            ("lines", record.line),
        ):
            if name:
                found[collection, name] = None
    return list(found)


def contract_of(line: dict[str, Any]) -> dict[str, Any]:
    """What a line's entry says of its contract."""
    return {name: line[name] for name in CONTRACT if line.get(name)}


CONTRACT = (
    "carrier", "circuit", "kind", "purpose", "bandwidth", "officer", "officer_contact", "customer", "attachments",
    "valid_from", "valid_until",
)  # fmt: skip


def _is_of_the_records(dossier: Dossier, records: list[Record]) -> None:
    """The contract is that of the line's entry in the file: what is proved of that is proved of it."""
    lines = [item for item in dossier.policy if item.collection == "lines"]
    if dossier.contract != (contract_of(lines[0].fields) if lines else {}):
        raise EvidenceError("the contract is not that of the line's entry")
    if strange := {item.id for item in lines} - {record.line for record in records}:
        raise EvidenceError(f"line {min(strange)} is in the dossier, but no record went over it")


def _record(entries: dict[int, bytes], index: int) -> Record:
    if index not in entries:
        raise EvidenceError(f"record {index} is not in the file")
    try:
        return decode(entries[index])
    except msgspec.DecodeError:
        raise EvidenceError(f"entry {index} is no record") from None

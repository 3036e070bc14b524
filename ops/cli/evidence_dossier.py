"""feiyu evidence dossier: one flow or refusal with its proofs, the policy as it was, and the contract, in one file."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import rich_click as click

from ops.cli.app import App
from ops.cli.base import Group, pass_app
from ops.cli.client import Json
from ops.cli.errors import CliError, ExitCode
from ops.cli.evidence_files import OUT, directory_of, emit, key_of, not_valid, placed, read
from ops.cli.words import t
from telemetry.evidence import checkpoint, note
from telemetry.evidence.checkpoint import Checkpoint
from telemetry.evidence.dossier import Dossier, Item, contract_of, digest, named, parse, verify
from telemetry.evidence.error import EvidenceError
from telemetry.evidence.extract import collect
from telemetry.evidence.reader import Reader
from telemetry.evidence.tile import WIDTH
from telemetry.evidence.verify import find
from telemetry.record import Kind, Record, decode

PAGE = 1000
MISSING = (
    "No approval is in here: this version has none. Entries are made by one person, and are marked bootstrap.",
    "That an entry was not changed between its record and the flow is not shown by this file; the whole log shows it.",
)


def add_to(group: Group) -> None:
    """Adds the command to the group."""

    @group.command(
        "dossier",
        data=False,
        help=t("Write a flow's or refusal's records, its policy as it was and the contract into one file, proved."),
        example="feiyu evidence dossier 80NG5F6PQ7HQYAYN --out dossier.json",
    )
    @click.argument("ref", metavar="REF")
    @placed
    @OUT
    @pass_app
    def dossier(app: App, *, ref: str, directory: Path | None, key: str | None, out: Path | None) -> None:
        """The log gives the records, control the register's history; the file is verified before it is written."""
        reader, vkey = Reader(directory_of(app, directory)), key_of(app, directory, key)
        try:
            signed = reader.checkpoint()
            head = checkpoint.open_signed(signed, vkey)
            records = dict(_of(reader, head, ref))
            policy = [_proved(reader, head, item) for item in _policy(app, list(records.values()))]
            line = next((item.fields for item in policy if item.collection == "lines"), {})
            leaves = [item.leaf for item in policy if item.leaf >= 0]
            made = Dossier(
                ref=ref, records=list(records), policy=policy, contract=contract_of(line), missing=list(MISSING),
                extract=collect(reader, signed, head, [*records, *leaves]),
            )  # fmt: skip
            seen = verify(made, vkey)
        except EvidenceError as error:
            raise not_valid(error) from None
        emit(msgspec.json.format(msgspec.json.encode(made), indent=1) + b"\n", out)
        counts = {"count": len(seen.records), "number": len(seen.proved), "first": len(policy)}
        app.say(t("{count} records proved; of {first} entries of the policy {number}", **counts))


def verify_dossier(app: App, path: Path, key: note.VerifierKey) -> None:
    """Shows the verdict. Raises EvidenceError."""
    held = parse(read(path))
    seen = verify(held, key)
    texts = [held.extract.records[at].record for at in range(len(held.extract.records))]
    facts: dict[str, Any] = {
        "valid": True, "origin": seen.head.origin, "size": seen.head.size, "ref": held.ref, "records": held.records,
        "proved": seen.proved, "unproved": seen.unproved, "contract": held.contract, "approvals": held.approvals,
        "missing": held.missing,
    }  # fmt: skip
    shown = [text for proved, text in zip(held.extract.records, texts, strict=True) if proved.index in held.records]
    rows: list[tuple[str, object]] = [
        ("Verdict", t("valid: each record is in the log, and what is proved of the policy is as it was made")),
        ("Log", seen.head.origin), ("Size", seen.head.size), ("Record", shown), ("Policy, proved", seen.proved),
        ("Policy, only told", seen.unproved), ("Contract", held.contract), ("Missing", held.missing),
    ]  # fmt: skip
    app.details(facts, rows)


def _of(reader: Reader, head: Checkpoint, ref: str) -> Iterator[tuple[int, Record]]:
    """The records of a flow or refusal. Raises CliError (exit 1) where there are none."""
    hint = f'"{ref}"'.encode()
    found = False
    for bundle in reader.bundles(head.size):
        if hint not in reader.tile(bundle):
            continue
        for index, entry in enumerate(reader.entries(bundle), bundle.number * WIDTH):
            if hint in entry and ref in ((record := decode(entry)).flow, record.ref) and record.kind in _KINDS:
                found = True
                yield index, record
    if not found:
        raise CliError(
            ExitCode.NO,
            t("no record in the log has the reference {ref}", ref=ref),
            t("A record can be proved once a checkpoint covers it, within two seconds: try again, or check it."),
        )


_KINDS = frozenset(
    kind.value for kind in (Kind.OPEN, Kind.PROGRESS, Kind.CLOSE, Kind.DENY, Kind.PORTAL, Kind.REQUEST, Kind.RESPONSE)
)


def _policy(app: App, records: list[Record]) -> Iterator[Item]:
    """The entries that the records name, and the groups and categories that a grant names, as they were."""
    revision = max((record.revision for record in records), default=0)
    wanted = named(records)
    for collection, name in wanted:
        if (item := _as_it_was(app, collection, name, revision)) is None:
            continue
        yield item
        if collection == "grants":
            for of, kind in (("subject", "groups"), ("object", "categories")):
                noun, _, more = str(item.fields.get(of, "")).partition(":")
                if noun in ("group", "category") and (further := _as_it_was(app, kind, more, revision)):
                    yield further


def _as_it_was(app: App, collection: str, name: str, revision: int) -> Item | None:
    """The last change up to a revision that left the entry there."""
    before = 0
    while True:
        query = {"collection": collection, "item": name, "limit": PAGE, "before": before or None}
        rows: list[Json] = app.client.get("/v1/changes", query)["items"]
        for row in rows:
            if row["revision"] <= revision:
                if row["after"] is None:
                    return None
                return Item(
                    collection=collection, id=name, revision=row["revision"], time=row["time"], actor=row["actor"],
                    reason=row["reason"], fields=row["after"],
                )  # fmt: skip
        if len(rows) < PAGE:
            return None
        before = rows[-1]["number"]


def _proved(reader: Reader, head: Checkpoint, item: Item) -> Item:
    """The item with the place of its record in the log, if there is one."""
    name, wanted = f"{item.collection}/{item.id}", digest(item.fields)

    def fits(entry: bytes) -> bool:
        record = decode(entry)
        made = record.kind == Kind.ACTION.value and record.revision == item.revision
        return made and (record.facts or {}).get(name) == wanted

    found = find(reader, head.size, fits, wanted.encode())
    return msgspec.structs.replace(item, leaf=found[0]) if found else item

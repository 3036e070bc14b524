"""feiyu evidence: verifying the evidence log and proving records, from files alone; no node has to run."""

import time
from importlib import resources
from pathlib import Path
from typing import Any

import rich_click as click
from click.exceptions import Exit

from ops.cli import evidence_dossier, evidence_export, evidence_hold, evidence_witness, output
from ops.cli.app import App
from ops.cli.base import Group, pass_app
from ops.cli.errors import CliError, ExitCode
from ops.cli.evidence_acts import acts_directory, register_agrees, register_words
from ops.cli.evidence_export import counted, stated
from ops.cli.evidence_files import FILE, OUT, directory_of, emit, key_of, not_valid, placed, read
from ops.cli.evidence_omissions import look_for_omissions
from ops.cli.evidence_trust import (
    PARENT,
    all_keys,
    policy_of,
    under_parent,
    with_cosignatures,
    witnessed_facts,
    witnessed_in,
    witnessed_rows,
)
from ops.cli.words import t
from telemetry.evidence import checkpoint, note, proof
from telemetry.evidence.checkpoint import Checkpoint
from telemetry.evidence.error import EvidenceError
from telemetry.evidence.reader import Reader
from telemetry.evidence.tile import TileTree
from telemetry.evidence.verify import find, verify_kept, verify_log, verify_range, verify_records
from telemetry.record import decode
from telemetry.witness.parent import follow
from telemetry.witness.policy import Policy, open_witnessed


@click.group("evidence", cls=Group, help=t("The evidence log: verify it, prove records, offline."))
def group() -> None:
    """The group itself does nothing."""


@group.command(
    "verify",
    help=t("Verify the whole log, a range of it, a proof or a dossier; exit 1 names the first wrong thing."),
    example="feiyu evidence verify --log /mnt/copy/flows --key flows.vkey",
)
@click.argument("proof_file", metavar="[PROOF]", type=click.Path(path_type=Path), required=False)
@placed
@click.option("--since", "kept", type=FILE, multiple=True, help=t("A checkpoint kept from before; may be repeated."))
@click.option("--witness", "witnesses", metavar="VKEY", multiple=True, help=t("A witness's key, or a file of such."))
@click.option("--quorum", type=click.IntRange(1), help=t("How many of the witnesses must have signed (default: all)."))
@click.option(
    "--node", "nodes", metavar="VKEY", multiple=True, help=t("The log is a parent log: a node's key, or a file.")
)
@click.option("--acts", is_flag=True, help=t("The log of administrative acts, and the register against it."))
@click.option(
    "--parent", type=PARENT, metavar="DIR", help=t("A parent log that this log must be under (with --parent-key).")
)
@click.option("--parent-key", metavar="VKEY", help=t("The parent log's verifier key, or a file with it."))
@click.option("--range", "range_", metavar="A..B", help=t("Only the entries A to B."))
@click.option("--omissions", is_flag=True, help=t("Also look for what should be in the log and is not."))
@click.option("--entry", type=FILE, help=t("With PROOF: the record's bytes (default: those in the proof)."))
@pass_app
def verify(
    app: App,
    *,
    proof_file: Path | None,
    directory: Path | None,
    key: str | None,
    kept: tuple[Path, ...],
    witnesses: tuple[str, ...],
    quorum: int | None,
    nodes: tuple[str, ...],
    acts: bool,
    parent: Path | None,
    parent_key: str | None,
    range_: str | None,
    omissions: bool,
    entry: Path | None,
) -> None:
    """Exit 0 only if everything that was looked at is as the log's key says."""
    try:
        policy = policy_of(witnesses, quorum)
        if proof_file:
            _verify_proofs(app, proof_file, key_of(app, directory, key), entry, policy)
            return
        register = acts and not directory
        if register:
            directory = acts_directory(app)
        where = directory_of(app, directory)
        reader, vkey = Reader(where), key_of(app, directory, key)
        earlier = [read(path) for path in kept]
        witnessed = witnessed_in(reader, vkey, policy)
        if parent:
            earlier.append(under_parent(app, parent, parent_key, vkey))
        if range_:
            _verify_range(app, reader, vkey, range_, earlier)
            return
        began = time.monotonic()
        found = verify_log(reader, vkey, [*earlier, *(witnessed or ())[1:]])
        followed = follow(reader, found.head.size, all_keys(nodes)) if nodes else {}
        agree = register_agrees(app, reader, found.head.size) if register else None
        records = 0 if directory else verify_records(reader, found.head, where.parent.parent / "log")
        missed = look_for_omissions(reader, found.head) if omissions else None
    except EvidenceError as error:
        raise not_valid(error) from None
    seconds = time.monotonic() - began
    facts = _facts(found.head) | {
        "records": records,
        "entries": found.entries,
        "bytes": found.bytes,
        "tiles": found.tiles,
        "pruned": found.pruned,
        "kept": len(earlier),
        **witnessed_facts(witnessed),
        **({"changes": agree[0], "put_back": agree[1]} if agree else {}),
        **({"nodes": {origin: head.size for origin, (head, _) in followed.items()}} if nodes else {}),
        **(missed.facts if missed else {}),
    }
    app.details(
        facts,
        [
            ("Verdict", t("valid: every record is as it was when it was logged")),
            *_rows(found.head),
            ("Tiles", found.tiles),
            ("Bytes", found.bytes),
            ("Deleted", _pruned(found.pruned)),
            ("Records", t("{count} in the node's own log agree", count=records) if not directory else None),
            ("Earlier checkpoints", t("{count} lead to this one", count=len(earlier)) if earlier else None),
            *witnessed_rows(witnessed),
            ("Changes", register_words(agree)),
            *((origin, t("followed to size {size}", size=head.size)) for origin, (head, _) in followed.items()),
            ("Took", t("{seconds} s", seconds=f"{seconds:.1f}")),
            *(missed.rows if missed else []),
        ],
    )
    if missed and missed.found:
        raise Exit(ExitCode.NO)


@group.command(
    "prove",
    data=False,
    help=t("Write the proof of a record (C2SP tlog-proof), which stands without the log."),
    example="feiyu evidence prove 80NG5F6PQ7HQYAYN --out refusal.tlog-proof",
)
@click.argument("record", metavar="REF|INDEX")
@placed
@OUT
@pass_app
def prove(app: App, *, record: str, directory: Path | None, key: str | None, out: Path | None) -> None:
    """The proof, verified before it is written."""
    reader = Reader(directory_of(app, directory))
    vkey = key_of(app, directory, key)
    try:
        signed = reader.checkpoint()
        head = checkpoint.open_signed(signed, vkey)
        index, entry = _find(reader, head, record)
        signed, head = with_cosignatures(reader, vkey, index, signed, head)
        made = proof.make(index, TileTree(head.size, reader.tile), signed, entry)
        proof.verify(made, entry, vkey)
        data = proof.render(made)
    except EvidenceError as error:
        raise not_valid(error) from None
    emit(data, out)
    app.say(t("record {index} of {size}, proved under {origin}", index=index, size=head.size, origin=head.origin))


@group.command(
    "checkpoint",
    help=t("Show the published checkpoint; keep it, to prove later that nothing was changed since."),
    example="feiyu evidence checkpoint --out checkpoint-2027-11-25",
)
@placed
@OUT
@pass_app
def checkpoint_(app: App, *, directory: Path | None, key: str | None, out: Path | None) -> None:
    """The signed note as it is; its signature and its tiles are verified first."""
    reader = Reader(directory_of(app, directory))
    try:
        vkey = key_of(app, directory, key)
        signed = reader.checkpoint()
        head = checkpoint.open_signed(signed, vkey)
        verify_kept(reader, head, signed, vkey)
    except EvidenceError as error:
        raise not_valid(error) from None
    if out:
        emit(signed, out)
        return
    facts = _facts(head) | {"note": signed.decode(), "key": str(vkey)}
    app.show(facts, lambda: output.write(signed.decode().removesuffix("\n")))


@group.command(
    "verifier",
    data=False,
    help=t("Print a verifier in one file, which needs Python and cryptography only."),
    example="feiyu evidence verifier --out verify.py",
)
@OUT
def verifier(out: Path | None) -> None:
    """For a court, or whoever does not want to install what is to be verified."""
    emit(resources.files("telemetry.evidence").joinpath("standalone.py").read_bytes(), out)


def _verify_proofs(app: App, path: Path, key: note.VerifierKey, entry_file: Path | None, policy: Policy | None) -> None:
    """One proof, or all in a directory (feiyu evidence export)."""
    if not path.is_dir():
        _verify_proof(app, path, key, entry_file, policy)
        return
    entries: dict[int, bytes] = {}
    for file in path.glob(f"*{proof.SUFFIX}"):
        try:
            found = proof.parse(read(file))
            proof.verify(found, found.extra or b"", key)
            if policy:
                open_witnessed(found.signed, key, policy)
        except EvidenceError as error:
            raise EvidenceError(f"{file}: {error}") from None
        entries[found.index] = found.extra or b""
    if not entries:
        raise EvidenceError(f"{path} holds no file *{proof.SUFFIX}")
    agree, behind = counted(path, entries)
    verdict = t("valid: each of the {count} records is in the log", count=len(entries))
    facts = {"valid": True, "origin": key.name, "proofs": len(entries), "statements": agree, "records_behind": behind}
    rows = [("Verdict", verdict), ("Log", key.name), ("Statements", stated(agree, behind))]
    app.details(facts, rows)


def _verify_proof(app: App, path: Path, key: note.VerifierKey, entry_file: Path | None, policy: Policy | None) -> None:
    if read(path).startswith(b"{"):
        evidence_dossier.verify_dossier(app, path, key)
        return
    found = proof.parse(read(path))
    entry = read(entry_file) if entry_file else found.extra
    if entry is None:
        raise EvidenceError("the proof holds no record; name its file with --entry")
    head = proof.verify(found, entry, key)
    witnessed = (open_witnessed(found.signed, key, policy), found.signed) if policy else None
    text = entry.decode("utf-8", "replace")
    facts = _facts(head) | {"index": found.index, "record": text, **witnessed_facts(witnessed)}
    verdict = ("Verdict", t("valid: the record is in the log"))
    rows = [verdict, ("Index", found.index), ("Record", text), *_rows(head), *witnessed_rows(witnessed)]
    app.details(facts, rows)


def _verify_range(app: App, reader: Reader, key: note.VerifierKey, text: str, earlier: list[bytes]) -> None:
    head = checkpoint.open_signed(reader.checkpoint(), key)
    for signed in earlier:
        verify_kept(reader, head, signed, key)
    first, _, last = text.partition("..")
    start = checkpoint.parse_decimal(first, "the range's first entry")
    end = checkpoint.parse_decimal(last or first, "the range's last entry") + 1
    entries = verify_range(reader, head, start, end)
    facts = _facts(head) | {"first": start, "last": end - 1, "entries": len(entries), "bytes": sum(map(len, entries))}
    verdict = t("valid: records {first} to {last} are in the log as they were", first=start, last=end - 1)
    app.details(facts, [("Verdict", verdict), *_rows(head)])


def _find(reader: Reader, head: Checkpoint, text: str) -> tuple[int, bytes]:
    """The entry that REF or INDEX names."""
    if text.isascii() and text.isdecimal() and len(text) <= len(str(head.size)):
        index = checkpoint.parse_decimal(text, "the index")
        return index, verify_range(reader, head, index, index + 1)[0]

    def wanted(entry: bytes) -> bool:
        record = decode(entry)
        return text in (record.ref, record.flow)

    found = find(reader, head.size, wanted, f'"{text}"'.encode())
    if not found:
        raise CliError(
            ExitCode.NO,
            t("no record in the log has the reference {ref}", ref=text),
            t("A record can be proved once a checkpoint covers it, within two seconds: try again, or check it."),
        )
    return found


evidence_export.add_to(group)
evidence_dossier.add_to(group)
evidence_witness.add_to(group)
group.add_command(evidence_hold.group)


def _pruned(count: int) -> str | None:
    return t("the first {count}, as a record says; their hashes stand", count=count) if count else None


def _facts(head: Checkpoint) -> dict[str, Any]:
    return {"valid": True, "origin": head.origin, "size": head.size, "root": note.encode64(head.root)}


def _rows(head: Checkpoint) -> list[tuple[str, object]]:
    return [("Log", head.origin), ("Size", head.size), ("Root", note.encode64(head.root))]

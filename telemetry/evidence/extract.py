"""Several entries of a log with their proofs under one checkpoint: a part of JSON files that stand without the log.

    {"checkpoint": the signed note, "records": [{"index": 7, "record": the entry's text, "hashes": [base64, …]}, …]}

Entries are records, and so UTF-8: their text is exactly their bytes.
"""

from collections.abc import Iterable

import msgspec

from telemetry.evidence import checkpoint, note
from telemetry.evidence.checkpoint import Checkpoint
from telemetry.evidence.error import EvidenceError
from telemetry.evidence.merkle import (
    leaf_hash,
    prove_consistency,
    prove_inclusion,
    verify_consistency,
    verify_inclusion,
)
from telemetry.evidence.reader import Reader
from telemetry.evidence.tile import TileTree
from telemetry.evidence.verify import verify_range


class Proved(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One entry and its inclusion proof."""

    index: int
    record: str
    hashes: list[str]


class Extract(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Entries, in the order of their indexes, and the checkpoint they are proved under."""

    checkpoint: str
    records: list[Proved]


def collect(reader: Reader, signed: bytes, head: Checkpoint, indexes: Iterable[int]) -> Extract:
    """Takes entries out of a log, verified. head: of `signed`, opened. Raises EvidenceError."""
    tree = TileTree(head.size, reader.tile)
    records = []
    for index in sorted(set(indexes)):
        entry = verify_range(reader, head, index, index + 1)[0]
        hashes = [note.encode64(hash_) for hash_ in prove_inclusion(index, head.size, tree.node)]
        records.append(Proved(index, text_of(entry, index), hashes))
    return Extract(signed.decode(), records)


def text_of(entry: bytes, index: int) -> str:
    """An entry as text. Raises EvidenceError for one that is no UTF-8."""
    try:
        return entry.decode()
    except UnicodeDecodeError:
        raise EvidenceError(f"entry {index} is no record: it is not UTF-8") from None


def open_extract(
    extract: Extract, key: note.VerifierKey, others: Iterable[note.VerifierKey] = ()
) -> tuple[Checkpoint, dict[int, bytes]]:
    """The verified head and entries by their indexes. Raises EvidenceError for the first that is not proved."""
    head = checkpoint.open_signed(extract.checkpoint.encode(), key, others)
    found: dict[int, bytes] = {}
    for proved in extract.records:
        entry = proved.record.encode("utf-8", "surrogatepass")
        hashes = [note.decode64(text, f"a hash in the proof of record {proved.index}") for text in proved.hashes]
        verify_inclusion(proved.index, head.size, leaf_hash(entry), hashes, head.root)
        if proved.index in found:
            raise EvidenceError(f"record {proved.index} stands in the file twice")
        found[proved.index] = entry
    return head, found


def beginning(
    reader: Reader, head: Checkpoint, size: int, to: Checkpoint | None = None
) -> tuple[Checkpoint, list[str]]:
    """The head that the log had at an earlier size, and the consistency proof to this one, or to one between. Raises
    EvidenceError."""
    tree, later = TileTree(head.size, reader.tile), to or head
    old = Checkpoint(head.origin, size, tree.root(size))
    proof = prove_consistency(size, later.size, tree.node)
    verify_consistency(size, later.size, old.root, later.root, proof)
    return old, [note.encode64(hash_) for hash_ in proof]


def verify_beginning(old: Checkpoint, head: Checkpoint, hashes: Iterable[str]) -> None:
    """That `old` was the log's head at its size. Raises EvidenceError."""
    proof = [note.decode64(text, "a hash of the consistency proof") for text in hashes]
    verify_consistency(old.size, head.size, old.root, head.root, proof)

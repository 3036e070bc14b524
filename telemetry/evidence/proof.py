"""Proofs that stand alone (C2SP tlog-proof): an entry's index, its inclusion proof, and a checkpoint. Pure.

Together with the entry and the log's verifier key that is all that is needed to verify, without the log.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from telemetry.evidence import checkpoint, merkle, note
from telemetry.evidence.error import EvidenceError
from telemetry.evidence.tile import TileTree

HEADER = "c2sp.org/tlog-proof@v1"
SUFFIX = ".tlog-proof"
EXTRA = "extra "
INDEX = "index "


@dataclass(frozen=True, slots=True)
class Proof:
    """index of the entry; hashes: its inclusion proof; signed: the checkpoint's note; extra: bytes of the application,
    which nothing authenticates. (Feiyu puts the entry itself there.)"""

    index: int
    hashes: tuple[bytes, ...]
    signed: bytes
    extra: bytes | None = None


def make(index: int, tree: TileTree, signed: bytes, entry: bytes) -> Proof:
    """The proof of one entry under a checkpoint of the tree's size. Raises EvidenceError."""
    return Proof(index, tuple(merkle.prove_inclusion(index, tree.size, tree.node)), signed, entry)


def render(proof: Proof) -> bytes:
    """The file's bytes. Raises EvidenceError where parse() would not give back the same."""
    lines = [HEADER]
    if proof.extra is not None:
        lines.append(EXTRA + note.encode64(proof.extra))
    lines.append(f"{INDEX}{proof.index}")
    lines += map(note.encode64, proof.hashes)
    data = "".join(f"{line}\n" for line in lines).encode() + b"\n" + proof.signed
    if parse(data) != proof:
        raise EvidenceError("the proof cannot be written")
    return data


def parse(data: bytes) -> Proof:
    """Reads a proof without verifying anything. Raises EvidenceError."""
    head, blank, signed = data.partition(b"\n\n")
    try:
        lines = head.decode("ascii").split("\n")
    except UnicodeDecodeError as error:
        raise EvidenceError(f"the proof is not ASCII at byte {error.start}") from None
    if lines.pop(0) != HEADER:
        raise EvidenceError(f"the proof does not begin with the line {HEADER}")
    if not blank:
        raise EvidenceError("the proof has no checkpoint below an empty line")
    extra = None
    if lines and lines[0].startswith(EXTRA):
        extra = note.decode64(lines.pop(0).removeprefix(EXTRA), "the proof's extra data")
    if not lines or not lines[0].startswith(INDEX):
        raise EvidenceError("the proof has no line with the index where it should stand")
    index = checkpoint.parse_decimal(lines.pop(0).removeprefix(INDEX), "the proof's index")
    hashes = tuple(note.decode64(line, f"hash {number} of the proof") for number, line in enumerate(lines, 1))
    return Proof(index, hashes, signed, extra)


def verify(
    proof: Proof, entry: bytes, log: note.VerifierKey, others: Iterable[note.VerifierKey] = ()
) -> checkpoint.Checkpoint:
    """The checkpoint under which the entry is. Raises EvidenceError when it is not shown to be."""
    head = checkpoint.open_signed(proof.signed, log, others)
    merkle.verify_inclusion(proof.index, head.size, merkle.leaf_hash(entry), proof.hashes, head.root)
    return head

"""Checkpoints (C2SP tlog-checkpoint): the head of a log, in a signed note. Pure."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from telemetry.evidence import note
from telemetry.evidence.error import EvidenceError
from telemetry.evidence.merkle import EMPTY_ROOT, HASH_SIZE, MAX_SIZE
from telemetry.evidence.signing import PrivateKey

MAX_ORIGIN = 255

_DECIMAL = re.compile(r"0|[1-9][0-9]{0,18}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """origin: which log; size: its leaves; root: their tree's hash; extensions: further lines, which say nothing
    here."""

    origin: str
    size: int
    root: bytes
    extensions: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """The note's text."""
        lines = (self.origin, str(self.size), note.encode64(self.root), *self.extensions)
        return "".join(f"{line}\n" for line in lines)


def parse_decimal(text: str, what: str) -> int:
    """A number in its only form: ASCII digits, no leading zero, at most 2**63 - 1. Raises EvidenceError."""
    if not _DECIMAL.fullmatch(text) or int(text) > MAX_SIZE:
        shown = text if len(text) <= 40 else f"{text[:40]}…"
        raise EvidenceError(f"{what} is {shown!r}, not a decimal number in plain form")
    return int(text)


def parse(text: str) -> Checkpoint:
    """Reads the text of a checkpoint's note. Raises EvidenceError for whatever would not be written the same again."""
    if not text.endswith("\n"):
        raise EvidenceError("the checkpoint's last line has no end")
    lines = text[:-1].split("\n")
    if len(lines) < 3:
        raise EvidenceError(f"the checkpoint has {len(lines)} lines instead of origin, size and root")
    if "" in lines:
        raise EvidenceError(f"line {lines.index('') + 1} of the checkpoint is empty")
    origin = lines[0]
    if len(origin.encode()) > MAX_ORIGIN:
        raise EvidenceError(f"the checkpoint's origin is longer than {MAX_ORIGIN} bytes")
    size = parse_decimal(lines[1], "the checkpoint's size")
    root = note.decode64(lines[2], "the checkpoint's root")
    if len(root) != HASH_SIZE:
        raise EvidenceError(f"the checkpoint's root has {len(root)} bytes instead of {HASH_SIZE}")
    if size == 0 and root != EMPTY_ROOT:
        raise EvidenceError("the checkpoint is of an empty log, but its root is not that of one")
    return Checkpoint(origin, size, root, tuple(lines[3:]))


def open_signed(data: bytes, log: note.VerifierKey, others: Iterable[note.VerifierKey] = ()) -> Checkpoint:
    """The checkpoint of a log, verified by its key; of the others (witnesses), who signed at all must have signed
    truly. The key's name is the log's origin. Raises EvidenceError."""
    found = note.parse(data)
    if log not in note.verify(found, (log, *others)):
        raise EvidenceError(f"the checkpoint is not signed by the log's own key {log.name}+{log.key_id.hex()}")
    checkpoint = parse(found.text)
    if checkpoint.origin != log.name:
        raise EvidenceError(f"the checkpoint is of the log {checkpoint.origin!r}, not of {log.name!r}")
    return checkpoint


def sign(checkpoint: Checkpoint, key: Ed25519PrivateKey, others: Iterable[PrivateKey] = ()) -> bytes:
    """The signed checkpoint, under the origin as the keys' name: by the log's key, and perhaps by others of other kinds
    (C2SP tlog-checkpoint, "Signatures"). Raises EvidenceError for one that could not be read again."""
    if parse(checkpoint.text) != checkpoint:
        raise EvidenceError("the checkpoint cannot be written")
    signers: list[Ed25519PrivateKey | PrivateKey] = [key, *others]
    lines = tuple(note.sign(checkpoint.text, checkpoint.origin, signer) for signer in signers)
    return note.render(note.Note(checkpoint.text, lines))

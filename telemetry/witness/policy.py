"""Whom a verifier believes: m of n witnesses (a quorum). Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

from telemetry.evidence import checkpoint, note, signing
from telemetry.evidence.checkpoint import Checkpoint
from telemetry.evidence.error import EvidenceError


@dataclass(frozen=True, slots=True)
class Policy:
    """witnesses: their keys; several keys of one name are one witness. quorum: how many of them must have signed."""

    witnesses: tuple[note.VerifierKey, ...]
    quorum: int

    def __post_init__(self) -> None:
        names = len({key.name for key in self.witnesses})
        if not 0 < self.quorum <= names:
            raise EvidenceError(f"a quorum of {self.quorum} witnesses cannot be had of {names}")
        for key in self.witnesses:
            if key.type not in (signing.COSIGNATURE, signing.MLDSA44):
                raise EvidenceError(
                    f"the key {key.name}+{key.key_id.hex()} is not one for cosignatures (types 4 and 6)"
                )
        publics = {key.public for key in self.witnesses}
        if len(publics) < len(self.witnesses):  # tlog-cosignature: an Ed25519 cosignature does not say its name
            raise EvidenceError("two of the witnesses have the same key, which would let one count twice")


@dataclass(frozen=True, slots=True)
class Witnessed:
    """A checkpoint that enough witnesses signed: who, and when the last of the quorum did (Unix seconds)."""

    head: Checkpoint
    names: tuple[str, ...]
    time: int


def open_witnessed(data: bytes, log: note.VerifierKey, policy: Policy) -> Witnessed:
    """A checkpoint of the log with a quorum of cosignatures. Raises EvidenceError."""
    head = checkpoint.open_signed(data, log, policy.witnesses)
    found = note.parse(data)
    keys = {(key.name, key.key_id): key for key in policy.witnesses}
    times: dict[str, int] = {}
    for line in found.signatures:
        if key := keys.get((line.name, line.key_id)):
            times[key.name] = max(times.get(key.name, 0), signing.time_of(key.type, line.data) or 0)
    if len(times) < policy.quorum:
        who = ", ".join(sorted(times)) or "none"
        raise EvidenceError(
            f"the checkpoint of size {head.size} is cosigned by {len(times)} of the witnesses ({who}), "
            f"and {policy.quorum} are needed"
        )
    return Witnessed(head, tuple(sorted(times)), sorted(times.values())[policy.quorum - 1])


def best_witnessed(candidates: Sequence[bytes], log: note.VerifierKey, policy: Policy) -> Witnessed:
    """The largest of these checkpoints that has the quorum. Raises EvidenceError where none has."""
    found: list[Witnessed] = []
    wrong: EvidenceError | None = None
    for data in candidates:
        try:
            found.append(open_witnessed(data, log, policy))
        except EvidenceError as error:
            wrong = wrong or error
    if not found:
        raise wrong or EvidenceError("no checkpoint was cosigned by any witness")
    return max(found, key=lambda one: one.head.size)

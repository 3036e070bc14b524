"""A log over logs: its entries are checkpoints of nodes, each with the proof that it continues the one before.

An entry is the body of the request by which a node asked for a cosignature (C2SP tlog-witness, add-checkpoint), with
the signatures of the node's own keys alone. So whoever holds one checkpoint of the parent holds every node to every
checkpoint that is in it, and whoever has the parent's files can follow each node's log from its beginning without it.
"""

from collections.abc import Iterable

from telemetry.evidence import checkpoint, merkle, note
from telemetry.evidence.checkpoint import Checkpoint
from telemetry.evidence.error import EvidenceError
from telemetry.evidence.log import EvidenceLog
from telemetry.evidence.reader import Reader
from telemetry.evidence.tile import WIDTH, bundles
from telemetry.evidence.verify import verify_range
from telemetry.witness import protocol
from telemetry.witness.memory import Memory, open_by_any


class Parent:
    """The writing end. keys: of the nodes' logs."""

    def __init__(self, log: EvidenceLog, keys: Iterable[note.VerifierKey]) -> None:
        self.log = log
        self._keys = tuple(keys)

    def take(self, request: protocol.Request) -> None:
        """Adds what a witness accepted (Witness's `before`). Raises OSError, EvidenceError."""
        self.log.append([entry_of(request, self._keys)])

    def catch_up(self, memory: Memory) -> None:
        """The last entry may be one that a kill kept the witness from remembering: it is remembered now, as the next
        entry must begin at it. Raises OSError, EvidenceError, and DamagedError."""
        if not self.log.size:
            return
        head = checkpoint.open_signed(self.log.reader.checkpoint(), self.log.key)
        (entry,) = verify_range(self.log.reader, head, head.size - 1, head.size)
        request = protocol.parse(entry)
        origin = checkpoint.parse(note.parse(request.signed).text).origin
        keys = keys_of(origin, self._keys)
        new, known = open_by_any(request.signed, keys), memory.latest(origin, keys)
        if known is None or known.size < new.size:
            memory.keep(origin, request.signed)


def entry_of(request: protocol.Request, keys: Iterable[note.VerifierKey]) -> bytes:
    """The entry that a request becomes."""
    found = note.parse(request.signed)
    known = {(key.name, key.key_id) for key in keys}
    own = tuple(line for line in found.signatures if (line.name, line.key_id) in known)
    return protocol.render(protocol.Request(request.old, request.proof, note.render(note.Note(found.text, own))))


def keys_of(origin: str, keys: Iterable[note.VerifierKey]) -> tuple[note.VerifierKey, ...]:
    """The keys of one log. Raises EvidenceError where there is none."""
    found = tuple(key for key in keys if key.name == origin)
    if not found:
        raise EvidenceError(f"no key is given for the log {origin!r}")
    return found


def follow(
    reader: Reader, size: int, keys: Iterable[note.VerifierKey], others: bool = False
) -> dict[str, tuple[Checkpoint, bytes]]:
    """The latest checkpoint of each node in the first `size` entries of a parent log, opened and as it was signed; each
    entry is shown to continue the one before. others: there may be entries of logs without a key here, which are passed
    over. The entries themselves must have been verified. Raises EvidenceError."""
    known = tuple(keys)
    latest: dict[str, tuple[Checkpoint, bytes]] = {}
    for bundle in bundles(size):
        for index, entry in enumerate(reader.entries(bundle), bundle.number * WIDTH):
            try:
                request = protocol.parse(entry)
                origin = checkpoint.parse(note.parse(request.signed).text).origin
                if others and all(key.name != origin for key in known):
                    continue
                new = open_by_any(request.signed, keys_of(origin, known))
                _continues(request, latest[origin][0] if origin in latest else None, new)
            except EvidenceError as error:
                raise EvidenceError(f"entry {index}: {error}") from None
            latest[origin] = new, request.signed
    return latest


def _continues(request: protocol.Request, before: Checkpoint | None, new: Checkpoint) -> None:
    size = before.size if before else 0
    if request.old != size:
        raise EvidenceError(f"{new.origin} goes on from size {request.old}, but its last checkpoint is of size {size}")
    if before and size:
        merkle.verify_consistency(size, new.size, before.root, new.root, request.proof)
    elif request.proof:
        raise EvidenceError("the proof from size 0 is not empty")

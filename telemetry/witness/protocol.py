"""What a log says to a witness and is answered (C2SP tlog-witness), as bytes. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass

from telemetry.evidence import checkpoint, note
from telemetry.evidence.error import EvidenceError

PATH = "/add-checkpoint"
SIZE_TYPE = "text/x.tlog.size"  # of the answer 409 that says which size the witness has
MAX_PROOF = 63  # hashes
MAX_REQUEST = 256 << 10  # bytes: a checkpoint with 16 signatures of up to 5 kB, and the proof
OLD = "old "


@dataclass(frozen=True, slots=True)
class Request:
    """old: the size that the proof begins at; proof: consistency from there to the checkpoint; signed: its note."""

    old: int
    proof: tuple[bytes, ...]
    signed: bytes


def render(request: Request) -> bytes:
    """The body of a request."""
    lines = [f"{OLD}{request.old}", *map(note.encode64, request.proof)]
    return "".join(f"{line}\n" for line in lines).encode() + b"\n" + request.signed


def parse(data: bytes) -> Request:
    """Reads a body without verifying anything. Raises EvidenceError."""
    head, blank, signed = data.partition(b"\n\n")
    if not blank:
        raise EvidenceError("the request has no checkpoint below an empty line")
    try:
        lines = head.decode("ascii").split("\n")
    except UnicodeDecodeError as error:
        raise EvidenceError(f"the request is not ASCII at byte {error.start}") from None
    if not lines[0].startswith(OLD):
        raise EvidenceError("the request does not begin with a line that says the old size")
    old = checkpoint.parse_decimal(lines.pop(0).removeprefix(OLD), "the old size")
    if len(lines) > MAX_PROOF:
        raise EvidenceError(f"the request's proof has {len(lines)} hashes, more than {MAX_PROOF}")
    return Request(old, tuple(note.decode64(line, f"hash {n} of the proof") for n, line in enumerate(lines, 1)), signed)


def render_lines(signatures: Iterable[note.Signature]) -> bytes:
    """The body of a good answer: signature lines."""
    return "".join(f"{signature.line}\n" for signature in signatures).encode()


def cosignatures(text: str, answer: bytes, keys: Iterable[note.VerifierKey]) -> list[note.Signature]:
    """Those lines of an answer that known keys signed under the text; lines of others are passed over. Raises
    EvidenceError where there is none, or a known key's does not fit."""
    found = note.parse(text.encode() + b"\n" + answer)
    if found.text != text:
        raise EvidenceError("the witness's answer is not signature lines alone")
    signed = {(key.name, key.key_id) for key in note.verify(found, keys)}
    return [line for line in found.signatures if (line.name, line.key_id) in signed]


def parse_size(answer: bytes) -> int:
    """The size in an answer 409. Raises EvidenceError."""
    text = answer[:100].decode("ascii", "replace")
    return checkpoint.parse_decimal(text.removesuffix("\n"), "the size that the witness says")

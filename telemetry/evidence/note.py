"""Signed notes (C2SP signed-note): a text, and signatures under it; those of unknown keys are passed over. Pure.

The kinds of signatures are those of signing.py. Stricter than the specification asks: base64 must be the one canonical
form, and no two lines may be of one key.
"""

import base64
import binascii
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from telemetry.evidence import signing
from telemetry.evidence.error import EvidenceError

ED25519, COSIGNATURE, MLDSA44 = signing.ED25519, signing.COSIGNATURE, signing.MLDSA44
MAX_SIGNATURES = 100  # the specification asks for at least 16
MAX_BYTES = 1_000_000
_MARK = "\u2014 "  # em dash, space


@dataclass(frozen=True, slots=True)
class Signature:
    """One line under a note: data is what follows the key id."""

    name: str
    key_id: bytes
    data: bytes

    @property
    def line(self) -> str:
        """As it stands in the note, without the newline."""
        return f"{_MARK}{self.name} {encode64(self.key_id + self.data)}"


@dataclass(frozen=True, slots=True)
class VerifierKey:
    """A key to verify with: type is the signature type identifier byte, public what follows it (signing.py)."""

    name: str
    type: int
    public: bytes

    @property
    def key_id(self) -> bytes:
        """C2SP signed-note, "Signatures": the first four bytes of the hash of name, type and key."""
        return sha256(self.name.encode() + b"\n" + bytes([self.type]) + self.public).digest()[:4]

    def __str__(self) -> str:
        """As a verifier key (vkey): NAME+ID+KEY."""
        return f"{self.name}+{self.key_id.hex()}+{encode64(bytes([self.type]) + self.public)}"

    def verify(self, text: str, data: bytes) -> None:
        """Raises EvidenceError when data is no signature of the text by this key."""
        try:
            signing.check(self.type, self.public, self.name, text, data)
        except EvidenceError as error:
            raise EvidenceError(str(error).replace(self.name, f"{self.name}+{self.key_id.hex()}", 1)) from None


@dataclass(frozen=True, slots=True)
class Note:
    """A note as it was read: its text (with the final newline) and all its signatures, none of them verified."""

    text: str
    signatures: tuple[Signature, ...]


def parse_key(text: str) -> VerifierKey:
    """Reads a verifier key, NAME+ID+KEY. Raises EvidenceError."""
    name, _, rest = text.partition("+")
    key_id, _, data = rest.partition("+")
    _check_name(name)
    raw = decode64(data, f"the key of {name}")
    if not raw or not signing.known(raw[0], raw[1:]):
        raise EvidenceError(f"the verifier key of {name} is not of a known type: expected Ed25519, ML-DSA-44 or SM2")
    key = VerifierKey(name, raw[0], raw[1:])
    if str(key) != text:
        raise EvidenceError(f"the verifier key of {name} does not have the id {key_id!r} that it says")
    return key


def parse(data: bytes) -> Note:
    """Reads a note without verifying anything. Raises EvidenceError."""
    if len(data) > MAX_BYTES:
        raise EvidenceError(f"the note has {len(data)} bytes, more than {MAX_BYTES}")
    try:
        whole = data.decode()
    except UnicodeDecodeError as error:
        raise EvidenceError(f"the note is not UTF-8 at byte {error.start}") from None
    for place, char in enumerate(whole):
        if char < " " and char != "\n":
            raise EvidenceError(f"the note has a control character at character {place}")
    text, blank, rest = whole.rpartition("\n\n")
    if not blank or not rest:
        raise EvidenceError("the note has no signatures below an empty line")
    if not rest.endswith("\n"):
        raise EvidenceError("the note's last signature has no end of line")
    lines = rest.split("\n")[:-1]
    if len(lines) > MAX_SIGNATURES:
        raise EvidenceError(f"the note has {len(lines)} signatures, more than {MAX_SIGNATURES}")
    signatures = tuple(_parse_line(line, number) for number, line in enumerate(lines, 1))
    seen: set[tuple[str, bytes]] = set()
    for signature in signatures:
        if (signature.name, signature.key_id) in seen:
            raise EvidenceError(f"the note has two signatures of {signature.name}+{signature.key_id.hex()}")
        seen.add((signature.name, signature.key_id))
    return Note(text + "\n", signatures)


def verify(note: Note, keys: Iterable[VerifierKey]) -> list[VerifierKey]:
    """Those of the keys that signed. Raises EvidenceError for a false signature of one of them, or when none signed."""
    known = {(key.name, key.key_id): key for key in keys}
    found = []
    for signature in note.signatures:
        if key := known.get((signature.name, signature.key_id)):
            key.verify(note.text, signature.data)
            found.append(key)
    if not found:
        names = ", ".join(f"{s.name}+{s.key_id.hex()}" for s in note.signatures)
        raise EvidenceError(f"the note is signed by {names}, and by none of the keys to verify it with")
    return found


def sign(text: str, name: str, key: Ed25519PrivateKey | signing.PrivateKey, time: int = 0) -> Signature:
    """The signature line for a text: of type 0x01 by an Ed25519 key, else of the key's own. time: Unix seconds, for
    cosignatures."""
    _check_name(name)
    if isinstance(key, Ed25519PrivateKey):
        key = signing.private_key(ED25519, key.private_bytes_raw())
    own = VerifierKey(name, key.type, key.public)
    return Signature(name, own.key_id, signing.signature(key, name, text, time))


def render(note: Note) -> bytes:
    """The note's bytes. Raises EvidenceError where parse() would not give back the same."""
    data = (note.text + "\n" + "".join(f"{signature.line}\n" for signature in note.signatures)).encode()
    if parse(data) != note:
        raise EvidenceError("the note's text cannot be told from its signatures")
    return data


def encode64(data: bytes) -> str:
    """RFC 4648 section 4."""
    return base64.b64encode(data).decode()


def decode64(text: str, what: str) -> bytes:
    """The bytes of canonical base64. Raises EvidenceError, which names `what`."""
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise EvidenceError(f"{what} is not base64") from None
    if encode64(data) != text:
        raise EvidenceError(f"{what} is not canonical base64")
    return data


def _parse_line(line: str, number: int) -> Signature:
    if not line.startswith(_MARK):
        raise EvidenceError(f"signature line {number} of the note does not begin with an em dash and a space")
    name, _, text = line[len(_MARK) :].partition(" ")
    _check_name(name)
    raw = decode64(text, f"the signature of {name}")
    if len(raw) < 5:
        raise EvidenceError(f"the signature of {name} has {len(raw)} bytes, too few")
    return Signature(name, raw[:4], raw[4:])


def _check_name(name: str) -> None:
    if not name or "+" in name or any(char.isspace() for char in name):
        raise EvidenceError(f"{name!r} is no key name: expected neither spaces nor plus signs")

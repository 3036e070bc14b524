"""The log's signing key and its public side: DIRECTORY/NAME.key (32 bytes, 0600) and DIRECTORY/NAME.vkey (one line).

The key is made with the node; the verifier key with the log, since the log keeps the origin it began with. Keys of
further kinds, where they are asked for, are NAME.mldsa44.key and NAME.sm2.key, and may be begun at any time.
"""

from collections.abc import Iterable
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from telemetry.evidence import note, signing
from telemetry.evidence.error import EvidenceError
from telemetry.evidence.files import read_or_none
from telemetry.whole import write_whole

NAME = "flows"  # the log of a node's records, in file names and in its origin
SIZE = 32
FURTHER = {"mldsa44": signing.MLDSA44, "sm2": signing.OTHER}  # kinds of second signatures, by their names


def make_key(directory: Path, name: str) -> Path | None:
    """Makes the key where there is none yet, and returns its path then. Raises EvidenceError for a log that lost its
    key, OSError."""
    path = directory / f"{name}.key"
    if path.exists():
        return None
    if (directory / f"{name}.committed").exists():
        raise EvidenceError(f"{path} is missing, and its log goes on with no other: put it back from a backup")
    write_whole(path, Ed25519PrivateKey.generate().private_bytes_raw(), 0o600)
    return path


def load_key(directory: Path, name: str) -> Ed25519PrivateKey:
    """The key. Raises EvidenceError for a file that is none."""
    path = directory / f"{name}.key"
    data = read_or_none(path)
    if data is None or len(data) != SIZE:
        raise EvidenceError(f"{path} holds {len(data or b'')} bytes instead of {SIZE}: put it back from a backup")
    return Ed25519PrivateKey.from_private_bytes(data)


def settle_origin(directory: Path, name: str, origin: str, key: Ed25519PrivateKey) -> str:
    """The log's origin: for a new log the one given, which is written down in its verifier key, else the one there.
    Raises EvidenceError where the verifier key is not that of this key, OSError."""
    path = directory / f"{name}.vkey"
    text = read_or_none(path)
    public = key.public_key().public_bytes_raw()
    if text is None or not (directory / f"{name}.committed").exists():
        write_whole(path, f"{note.VerifierKey(origin, note.ED25519, public)}\n".encode(), 0o644)
        return origin
    known = note.parse_key(text.decode("ascii", "replace").strip())
    if known.public != public:
        raise EvidenceError(f"{path} does not belong to {name}.key: put both back from one backup")
    return known.name


def further_keys(directory: Path, name: str, origin: str, kinds: Iterable[str]) -> list[signing.PrivateKey]:
    """The keys of second signatures, made where they are missing, with their verifier keys. Raises EvidenceError where
    this machine cannot use a kind, OSError."""
    found = []
    for kind in kinds:
        path = directory / f"{name}.{kind}.key"
        secret = read_or_none(path)
        if secret is None:
            secret = signing.generate(FURTHER[kind])
            write_whole(path, secret, 0o600)
        try:
            key = signing.private_key(FURTHER[kind], secret)
        except EvidenceError as error:
            raise EvidenceError(f"{path}: {error}") from None
        vkey = note.VerifierKey(origin, key.type, key.public)
        write_whole(directory / f"{name}.{kind}.vkey", f"{vkey}\n".encode(), 0o644)
        found.append(key)
    return found

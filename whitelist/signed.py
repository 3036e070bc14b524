"""The signed files beside a base: `current` says which policy is in force, a delta leads from one revision to the next.

Each is MessagePack [payload, Ed25519 signature over label and payload]; the label keeps one kind from passing for the
other.
"""

from pathlib import Path

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from whitelist.entries import FORMAT

CURRENT = "current"
_LABEL = b"feiyu policy snapshot %d %s\n"
_PUBLISH = "publish the policy again from the register (restart control)"


class SnapshotError(Exception):
    """A policy that cannot be used: what is wrong, which file, and what to do about it."""

    def __init__(self, what: str, file: Path | str, remedy: str = _PUBLISH) -> None:
        super().__init__(f"{file}: {what}; {remedy}")
        self.what = what
        self.file = str(file)
        self.remedy = remedy


class Current(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which policy is in force: a base file as of base_revision, with its size and SHA-256, and the deltas from there
    to revision."""

    base: str
    base_revision: int
    base_size: int
    base_digest: bytes
    revision: int


class Touched(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """What changed between two revisions. everything: flows of any tenant may be concerned; else only those of tenants.
    The other sets say what was changed; a group or service in them implies everything."""

    everything: bool = False
    tenants: set[str] = set()
    credentials: set[str] = set()
    groups: set[str] = set()
    services: set[str] = set()
    lines: set[str] = set()
    denies: set[str] = set()

    def __bool__(self) -> bool:
        """Whether anything changed that the data path knows of."""
        return self.everything or bool(self.tenants or self.credentials)

    def add(self, other: "Touched") -> None:
        """What the other touched, too."""
        self.everything |= other.everything
        for name in ("tenants", "credentials", "groups", "services", "lines", "denies"):
            getattr(self, name).update(getattr(other, name))


class Delta(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The keys that differ from the previous revision, with their new values (None: gone)."""

    revision: int
    previous: int
    entries: dict[bytes, bytes | None]
    touched: Touched


_KINDS: dict[type, bytes] = {Current: b"current", Delta: b"delta"}


def delta_name(revision: int) -> str:
    """The file name of the delta that leads to a revision."""
    return f"delta-{revision}.bin"


def seal(item: Current | Delta, key: Ed25519PrivateKey) -> bytes:
    """The bytes of a signed file."""
    payload = msgspec.msgpack.encode(item)
    return msgspec.msgpack.encode((payload, key.sign(_LABEL % (FORMAT, _KINDS[type(item)]) + payload)))


def unseal[T: (Current, Delta)](path: Path, kind: type[T], key: Ed25519PublicKey) -> T:
    """What a signed file holds. Raises SnapshotError (FileNotFoundError stays as it is)."""
    return opened(read(path), path, kind, key)


def read(path: Path) -> bytes:
    """The bytes of a file. Raises SnapshotError (FileNotFoundError stays as it is)."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise
    except OSError as error:
        raise SnapshotError(
            f"cannot be read: {error.strerror or error}", path, "give the worker's user read access"
        ) from error


def opened[T: (Current, Delta)](data: bytes, path: Path, kind: type[T], key: Ed25519PublicKey) -> T:
    """What the bytes of a signed file hold. Raises SnapshotError."""
    try:
        payload, signature = msgspec.msgpack.decode(data, type=tuple[bytes, bytes])
    except (msgspec.DecodeError, ValueError) as error:
        raise SnapshotError(f"is damaged: {error}", path) from error
    try:
        key.verify(signature, _LABEL % (FORMAT, _KINDS[kind]) + payload)
    except InvalidSignature as error:
        raise SnapshotError("is not signed by this node's key, or by another release's format", path) from error
    try:
        return msgspec.msgpack.decode(payload, type=kind)
    except (msgspec.DecodeError, ValueError) as error:
        raise SnapshotError(f"is damaged: {error}", path) from error

"""Control's keys: 32 bytes each, in files that nobody else reads. Made with the node, never replaced."""

import secrets
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from telemetry.whole import write_whole

SIZE = 32


@dataclass(frozen=True, slots=True)
class Keys:
    """snapshot: Ed25519 private key that signs the policy (RFC 8032, raw); pseudonym: what users' names in records are
    derived with."""

    snapshot: bytes
    pseudonym: bytes


def load_keys(state: Path) -> Keys:
    """The keys under state_dir/keys; those of a new node are made. Raises OSError in words."""
    directory = state / "keys"
    directory.mkdir(parents=True, exist_ok=True)
    private, public = directory / "snapshot.key", directory / "snapshot.pub"
    if not private.exists() and public.exists():
        raise OSError(f"{private} is missing: put it back from a backup, or run feiyu init --complete for a new pair")
    key = _read_or_make(private)
    shown = Ed25519PrivateKey.from_private_bytes(key).public_key().public_bytes_raw()
    if not public.exists():
        write_whole(public, shown, 0o644)
    elif public.read_bytes() != shown:
        raise OSError(f"{public} does not belong to {private}: remove it, and restart the node")
    return Keys(key, _read_or_make(directory / "pseudonym.key"))


def _read_or_make(path: Path) -> bytes:
    if not path.exists():
        write_whole(path, secrets.token_bytes(SIZE), 0o600)
    data = path.read_bytes()
    if len(data) != SIZE:
        raise OSError(f"{path} holds {len(data)} bytes instead of {SIZE}: put it back from a backup")
    return data

"""A person's signing key on that person's machine: sealed by a passphrase, in a file that nobody else reads.

JSON: {"v": 1, "account", "public", "n", "r", "p", "salt", "nonce", "sealed"}; bytes in hex. The key to it is scrypt of
the passphrase (RFC 7914), the seal ChaCha20-Poly1305 (RFC 8439) with account and public key as associated data.
"""

import hashlib
import json
import os
import secrets
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from ops.cli.errors import CliError, ExitCode
from ops.cli.words import t

_N, _R, _P = 1 << 16, 8, 1  # 64 MiB, about 0.2 s
MIN_PASSPHRASE = 12  # characters


def home() -> Path:
    """Where a person's keys and login are: FEIYU_HOME, else feiyu below XDG_CONFIG_HOME or ~/.config."""
    if own := os.environ.get("FEIYU_HOME", ""):
        return Path(own)
    return Path(os.environ.get("XDG_CONFIG_HOME", "") or Path.home() / ".config") / "feiyu"


def path_of(account: str) -> Path:
    """The key's file. Errors: CliError for a name that could lead elsewhere."""
    if not account or "/" in account or account.startswith("."):
        raise CliError(ExitCode.USAGE, t("{id!r} is no account", id=account))
    return home() / "keys" / f"{account}.key"


def make(account: str, passphrase: str) -> str:
    """Makes the key; its public side in hex, which also stands beside it in ID.pub. Errors: CliError."""
    if len(passphrase) < MIN_PASSPHRASE:
        raise CliError(ExitCode.USAGE, t("the passphrase needs at least {count} characters", count=MIN_PASSPHRASE))
    path, key, salt, nonce = path_of(account), Ed25519PrivateKey.generate(), secrets.token_bytes(16), os.urandom(12)
    public = key.public_key().public_bytes_raw().hex()
    seal = ChaCha20Poly1305(_derived(passphrase, salt, _N, _R, _P))
    sealed = seal.encrypt(nonce, key.private_bytes_raw(), _bound(account, public))
    kept = {"v": 1, "account": account, "public": public, "n": _N, "r": _R, "p": _P}
    kept |= {"salt": salt.hex(), "nonce": nonce.hex(), "sealed": sealed.hex()}
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_private(path, json.dumps(kept).encode() + b"\n", exist_ok=False)
        path.with_suffix(".pub").write_text(f"{public}\n")
    except OSError as error:
        raise CliError(ExitCode.NO, t("{path} cannot be made: {why}", path=path, why=error.strerror or error)) from None
    return public


def public_of(account: str) -> str:
    """The public side in hex, "" where there is no key. Errors: CliError for a file that is none."""
    path = path_of(account)
    return str(_read(path)["public"]) if path.exists() else ""


def unseal(account: str, passphrase: str) -> Ed25519PrivateKey:
    """The key. Errors: CliError for a wrong passphrase (exit 6), no file, or a damaged one."""
    kept = _read(path_of(account))
    try:
        key = _derived(passphrase, bytes.fromhex(kept["salt"]), kept["n"], kept["r"], kept["p"])
        bound = _bound(account, kept["public"])
        raw = ChaCha20Poly1305(key).decrypt(bytes.fromhex(kept["nonce"]), bytes.fromhex(kept["sealed"]), bound)
    except InvalidTag:
        raise CliError(
            ExitCode.FORBIDDEN, t("the passphrase does not open {path}", path=path_of(account)), t("Try again.")
        ) from None
    except (KeyError, ValueError, TypeError):
        raise _damaged(path_of(account)) from None
    return Ed25519PrivateKey.from_private_bytes(raw)


def write_private(path: Path, data: bytes, *, exist_ok: bool) -> None:
    """A file of mode 0600, whole or not at all. Raises OSError."""
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    fresh.unlink(missing_ok=True)
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600), "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    try:
        if exist_ok:
            fresh.replace(path)
        else:
            os.link(fresh, path)
    finally:
        fresh.unlink(missing_ok=True)


def _read(path: Path) -> dict[str, Any]:
    try:
        kept = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise CliError(
            ExitCode.NO, t("there is no key at {path}", path=path), t("Your key is on the machine where you made it.")
        ) from None
    except (OSError, ValueError):
        raise _damaged(path) from None
    if not isinstance(kept, dict) or kept.get("v") != 1:
        raise _damaged(path)
    return kept


def _damaged(path: Path) -> CliError:
    return CliError(
        ExitCode.NO, t("{path} is no key that this release can read", path=path), t("Put it back from a backup.")
    )


def _derived(passphrase: str, salt: bytes, n: int, r: int, p: int) -> bytes:
    return hashlib.scrypt(passphrase.encode(), salt=salt, n=n, r=r, p=p, maxmem=256 * n * r, dklen=32)


def _bound(account: str, public: str) -> bytes:
    return f"feiyu key v1\n{account} {public}\n".encode()

"""What `feiyu init` makes: directories, keys, an empty register, an example configuration."""

import os
from importlib import resources
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from ops.cli.errors import CliError, ExitCode
from ops.cli.words import t
from ops.settings import Settings
from telemetry.evidence.error import EvidenceError
from telemetry.evidence.keys import NAME, make_key
from tenants.store import RegisterUnavailable
from whitelist.store import open_register


def write_example(path: Path) -> bool:
    """The example configuration, where there is none yet. Errors: CliError where it cannot be written."""
    if path.exists():
        return False
    text = resources.files("ops.cli").joinpath("example.yaml").read_bytes()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _create(path, text, 0o644)
    except OSError as error:
        raise _cannot(path, error) from None
    return True


def existing(settings: Settings) -> list[Path]:
    """What of a node's state is there already."""
    state = Path(settings.state_dir)
    candidates = [state / "register.db", state / "keys" / "snapshot.key", state / "keys" / "snapshot.pub"]
    try:
        return [path for path in candidates if path.exists()]
    except OSError as error:
        raise _cannot(state, error) from None


def make_state(settings: Settings) -> list[Path]:
    """Makes what is missing and returns it; what is there is never opened for writing. The key is made last: a node
    that has one was set up to the end."""
    state = Path(settings.state_dir)
    made: list[Path] = []
    try:
        for directory in (state, state / "keys", state / "snapshot", state / "log", state / "evidence"):
            directory.mkdir(mode=0o750, parents=True, exist_ok=True)
        if settings.register:
            # A server's database is filled where it is empty, and otherwise left alone.
            open_register(settings.register, create=True).store.close()
        elif not (register := state / "register.db").exists():
            open_register(register, create=True).store.close()
            register.chmod(0o600)
            made.append(register)
        if key := make_key(state / "evidence", NAME):
            made.append(key)
        made += _make_keys(state / "keys")
    except RegisterUnavailable as error:
        raise CliError(ExitCode.NO, str(error), error.remedy) from None
    except EvidenceError as error:
        raise CliError(ExitCode.NO, str(error), t("Nothing proves its records without its key.")) from None
    except OSError as error:
        raise _cannot(Path(error.filename or state), error) from None
    return made


def _make_keys(directory: Path) -> list[Path]:
    """Ed25519 (RFC 8032), raw: 32 bytes private, 32 bytes public."""
    private, public = directory / "snapshot.key", directory / "snapshot.pub"
    if private.exists():
        if public.exists():
            return []
        _create(
            public, Ed25519PrivateKey.from_private_bytes(private.read_bytes()).public_key().public_bytes_raw(), 0o644
        )
        return [public]
    key = Ed25519PrivateKey.generate()
    public.unlink(missing_ok=True)
    _create(public, key.public_key().public_bytes_raw(), 0o644)
    _create(private, key.private_bytes_raw(), 0o600)
    return [public, private]


def _create(path: Path, content: bytes, mode: int) -> None:
    """A new file, whole or not at all; one that appeared meanwhile is kept."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    try:
        with open(descriptor, "wb") as file:
            os.fchmod(file.fileno(), mode)
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.link(temporary, path)
    finally:
        temporary.unlink()


def _cannot(path: Path, error: OSError) -> CliError:
    code = ExitCode.FORBIDDEN if isinstance(error, PermissionError) else ExitCode.NO
    why = os.strerror(error.errno) if error.errno else str(error)
    return CliError(
        code,
        t("{path} cannot be made: {why}", path=path, why=why),
        t("Run as root, or name other directories in the configuration."),
    )

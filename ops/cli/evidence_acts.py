"""The log of administrative acts, as feiyu evidence verify --acts sees it."""

from pathlib import Path

from ops.acts_log import DIRECTORY, NAME, compare
from ops.cli.app import App
from ops.cli.configuration import load
from ops.cli.errors import CliError, ExitCode
from ops.cli.words import t
from telemetry.evidence.reader import Reader
from tenants.store import RegisterUnavailable
from whitelist.store import open_register


def acts_directory(app: App) -> Path:
    """The node's own log of acts."""
    return Path(load(app.config_path).state_dir) / DIRECTORY / NAME


def register_agrees(app: App, reader: Reader, size: int) -> tuple[int, int]:
    """The register's history against the verified log: how many changes agree, and how often the register was put back.
    Raises EvidenceError, CliError."""
    try:
        register = open_register(load(app.config_path).register_at, create=False)
        try:
            return compare(reader, size, register)
        finally:
            register.store.close()
    except RegisterUnavailable as error:
        raise CliError(ExitCode.NO, str(error), error.remedy) from None


def register_words(found: tuple[int, int] | None) -> str | None:
    """For people."""
    if found is None:
        return None
    if found[1]:
        return t("{count} in the register agree; it was put back {times} times", count=found[0], times=found[1])
    return t("{count} in the register agree", count=found[0])

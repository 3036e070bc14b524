"""Where the commands of feiyu evidence find the log and its key, and how they read and write files."""

import os
import sys
from pathlib import Path

import rich_click as click

from ops.cli.app import App
from ops.cli.configuration import load
from ops.cli.errors import CliError, ExitCode
from ops.cli.words import t
from telemetry.evidence import note
from telemetry.evidence.error import EvidenceError
from telemetry.evidence.integrate import DIRECTORY
from telemetry.evidence.keys import NAME

FILE = click.Path(path_type=Path, dir_okay=False)
OUT = click.option("--out", type=FILE, help=t("Where to write it (default: stdout)."))
PLACE = [
    click.option(
        "--log",
        "directory",
        type=click.Path(path_type=Path, file_okay=False),
        help=t("Directory of the log, as copied (default: this node's)."),
    ),
    click.option("--key", "key", metavar="VKEY", help=t("The log's verifier key, or a file with it.")),
]


def placed(function: click.decorators.FC) -> click.decorators.FC:
    """--log and --key."""
    for option in reversed(PLACE):
        function = option(function)
    return function


def directory_of(app: App, given: Path | None) -> Path:
    """The log's directory: the one given, else that of the node."""
    return given or Path(load(app.config_path).state_dir) / DIRECTORY / NAME


def is_key(text: str) -> bool:
    """Whether it is a key itself, and not a file's path; an ML-DSA key is longer than any file's name."""
    return "+" in text and not os.path.exists(text)


def key_of(app: App, directory: Path | None, given: str | None) -> note.VerifierKey:
    """The log's verifier key: --key, a key or a file; else the file beside the log. Raises CliError (exit 2)."""
    remedy = t("Name the log's verifier key with --key: one line, NAME+ID+KEY, had from its operator long before.")
    try:
        if given and is_key(given):
            return note.parse_key(given)
        where = directory_of(app, directory) if not given else Path()
        path = Path(given) if given else where.with_name(f"{where.name}.vkey")
        return note.parse_key(read(path, remedy).decode("utf-8", "replace").strip())
    except EvidenceError as error:
        raise CliError(ExitCode.USAGE, str(error), remedy) from None


def emit(data: bytes, out: Path | None) -> None:
    """Byte for byte: to the file, else to stdout."""
    if out is None:
        sys.stdout.write(data.decode())
        return
    try:
        out.write_bytes(data)
    except OSError as error:
        raise CliError(ExitCode.NO, t("{path} cannot be written: {why}", path=out, why=error.strerror)) from None


def read(path: Path, remedy: str = "") -> bytes:
    """A file's bytes. Raises CliError (exit 2)."""
    try:
        return path.read_bytes()
    except OSError as error:
        words = t("{path} cannot be read: {why}", path=path, why=error.strerror)
        raise CliError(ExitCode.USAGE, words, remedy) from None


def not_valid(error: EvidenceError) -> CliError:
    """The verdict (exit 1)."""
    return CliError(
        ExitCode.NO,
        t("NOT VALID: {why}", why=str(error)),
        t("Keep the files as they are. A copy, a witness or an earlier checkpoint (--since) can say what was changed."),
    )

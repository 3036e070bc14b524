"""What the commands of feiyu policy share: reading the files that are named, and telling what is wrong with them."""

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import rich_click as click

from ops.cli import values
from ops.cli.app import App
from ops.cli.client import Json
from ops.cli.errors import CliError, ExitCode
from ops.cli.words import t
from ops.policyfile.found import FilesError, Finding
from ops.policyfile.read import Files, read_files

PATIENCE = 600.0  # seconds: a plan or an apply of a hundred thousand grants takes half a minute
_ENTRY = re.compile(r"(\w+)\[(\d+)\](?:\.(.*))?")
_SHOWN = 50  # findings told at once
FILE = click.Path(path_type=Path)


def files(function: Callable[..., Any]) -> Callable[..., Any]:
    """FILE…, and what stands for the files' own defaults."""
    options = [
        click.argument("paths", metavar="FILE…", nargs=-1, required=True, type=FILE),
        click.option(
            "--line",
            "lines",
            multiple=True,
            type=values.Identifier("lines"),
            help=t("Line of grants, instead of the files' default; may be repeated."),
        ),
        click.option("--from", "from_", type=values.FROM, help=t("Start of grants, instead of the files' default.")),
        click.option("--until", type=values.UNTIL, help=t("End of grants, instead of the files' default.")),
    ]
    for option in reversed(options):
        function = option(function)
    return function


def read(paths: Sequence[Path], lines: tuple[str, ...], from_: int | None, until: int | None) -> Files:
    """The files as one proposal. Raises CliError (exit 2) with a line FILE:LINE: what for each problem."""
    given = {"lines": lines, "from": from_, "until": until}
    try:
        return read_files(paths, {name: value for name, value in given.items() if value})
    except FilesError as error:
        raise unusable(error) from None


def unusable(error: FilesError, code: ExitCode = ExitCode.USAGE) -> CliError:
    """The files' faults, told."""
    return CliError(
        code,
        t("the policy cannot be used"),
        t("Nothing was changed. Correct the files, then run feiyu policy lint."),
        told(error.findings),
    )


def told(findings: Sequence[Finding]) -> list[tuple[str, str]]:
    """One line each, as many as can be read."""
    lines = [("", str(finding)) for finding in findings[:_SHOWN]]
    if len(findings) > _SHOWN:
        lines.append(("", t("and {count} more", count=len(findings) - _SHOWN)))
    return lines


def asked(
    app: App,
    path: str,
    body: Json,
    files: Files | None,
    revision: int | None = None,
    query: Mapping[str, object] | None = None,
) -> Json:
    """Asks control; where it names an entry that is at fault, its file and line are told."""
    try:
        return app.client.call("POST", path, body, query, revision, timeout=PATIENCE)
    except CliError as error:
        raise CliError(
            error.code,
            error.message,
            error.remedy,
            [_placed(files, *field) for field in error.fields[:_SHOWN]],
            error.status,
        ) from None


def wish(files: Files) -> Json:
    """The proposal as the API takes it."""
    return {"proposal": msgspec.to_builtins(files.proposal)}


def _placed(files: Files | None, name: str, message: str) -> tuple[str, str]:
    found = _ENTRY.fullmatch(name)
    places = files.places.get(found[1], []) if files is not None and found else []
    if found is None or int(found[2]) >= len(places):
        return name, message
    return "", str(places[int(found[2])].finding(found[3] or "", message))

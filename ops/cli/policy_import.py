"""feiyu policy import: a firm's spreadsheet, or another proxy's rules, as one proposal."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import rich_click as click
from click.exceptions import Exit

from ops.cli import output, values
from ops.cli.app import App
from ops.cli.base import Command, pass_app
from ops.cli.common import either
from ops.cli.errors import CliError, ExitCode, usage
from ops.cli.evidence_files import emit
from ops.cli.output import Column, field
from ops.cli.policy_apply import IF_MATCH, carry_out
from ops.cli.policy_files import FILE
from ops.cli.words import t
from ops.imports.model import Imported, Kind, Unreadable, Usual
from ops.imports.read import FORMATS, read, template_csv, template_xlsx
from ops.policyfile.files import MAX_FILE
from ops.policyfile.write import document

_SHOWN = 200  # remarks told to a person; -o json has all
REPORTS = [
    field("KIND", "kind"), field("SHEET", "sheet"), field("ROW", "row", right=True), field("COLUMN", "column"),
    field("WHAT", "said", wide=True), field("REMEDY", "remedy", wide=True),
]  # fmt: skip


@click.command(
    "import",
    cls=Command,
    writes=True,
    help=t("Make a policy file of a spreadsheet (xlsx, CSV), Squid's rules or Smokescreen's ACL."),
    example="feiyu policy import acme.xlsx --tenant acme --line hk1 --for 12mo --out acme.yaml",
)
@click.argument("path", metavar="FILE", type=FILE, required=False)
@click.option("--tenant", type=values.Identifier("tenants"), help=t("Whose wishes they are."))
@click.option(
    "--line",
    "lines",
    multiple=True,
    type=values.Identifier("lines"),
    help=t("Line of rows that name none; may be repeated."),
)
@click.option("--from", "from_", type=values.FROM, help=t("Start of rows that name none (default: now)."))
@click.option("--until", type=values.UNTIL, help=t("End of rows that name none."))
@click.option("--for", "for_", type=values.FOR, help=t("The same as a duration from now: 90d, 12mo."))
@click.option(
    "--format", "kind", type=click.Choice(FORMATS), help=t("What the file is (default: by its name and content).")
)
@click.option(
    "--template", is_flag=True, help=t("Write a form to fill in instead: .xlsx or .csv, by the name of --out.")
)
@click.option("--out", type=FILE, help=t("Where to write it (default: stdout)."))
@click.option("--apply", "now", is_flag=True, help=t("Apply the good rows at once, as one change."))
@IF_MATCH
@pass_app
def import_(
    app: App,
    path: Path | None,
    *,
    tenant: str | None,
    lines: tuple[str, ...],
    from_: int | None,
    until: int | None,
    for_: int | None,
    kind: str | None,
    template: bool,
    out: Path | None,
    now: bool,
    seen: int | None,
) -> None:
    """Good rows go into the proposal, the others are told; exit 1 where there are some."""
    if template:
        _template(out)
        return
    if path is None or tenant is None:
        raise usage(t("say what to import and for whom: feiyu policy import FILE --tenant T"))
    end = either(until, for_, "--until", "--for", required=False) or 0
    usual = Usual(tenant, lines, app.now() if from_ is None else from_, end)
    if now:
        app.need_reason()
    revision, existing = _existing(app)
    try:
        with bar(t("reading {path}", path=path)) as progress:
            found = read(path, usual, kind=kind or "", existing=existing, progress=progress)
    except Unreadable as error:
        raise CliError(ExitCode.USAGE, f"{path} {error.said}", error.remedy) from None
    _tell(app, found, existing is not None)
    if found.grants:
        _proposed(app, found, out, now, revision if seen is None and not app.interactive else seen)
    bad = any(report.kind is Kind.BAD for report in found.reports)
    raise Exit(ExitCode.NO if bad or not found.grants else ExitCode.YES)


def _proposed(app: App, found: Imported, out: Path | None, now: bool, seen: int | None) -> None:
    """The good rows: applied, or written as a file."""
    entries = {"services": found.services, "grants": found.grants}
    if now:
        with bar(t("applying {count} grants", count=len(found.grants)), measured=False):
            carry_out(app, {"proposal": entries}, seen)
        return
    if out is None and app.format != "table":
        return
    text = document(entries).encode()
    if len(text) > MAX_FILE:
        remedy = t("Apply it at once with --apply, or import it in parts.")
        raise CliError(ExitCode.NO, t("the policy file would be larger than 8 MiB"), remedy)
    emit(text, out)


def _existing(app: App) -> tuple[int | None, dict[str, Any] | None]:
    """The register's revision, then its services; None where no control is there to ask."""
    try:
        revision = int(app.client.get("/v1/services", {"limit": 1})["revision"])
        return revision, {service["id"]: service for service in app.items("services")}
    except CliError as error:
        if error.code is not ExitCode.UNREACHABLE:
            raise
        return None, None


def _tell(app: App, found: Imported, compared: bool) -> None:
    """What was read and what there is to say of it."""
    rows = [
        {"kind": str(r.kind), "sheet": r.sheet, "row": r.row, "column": r.column, "said": r.said, "remedy": r.remedy}
        for r in found.reports
    ]
    if app.format == "table":
        for report in found.reports[:_SHOWN]:
            app.say(f"{t(str(report.kind))}: {report}")
        if len(rows) > _SHOWN:
            app.say(t("and {count} more", count=len(rows) - _SHOWN))
    else:
        app.rows(rows, [Column(column.title, column.cell) for column in REPORTS])
    if not compared:
        app.say(t("not compared with the register: control does not answer"))
    app.say(
        t(
            "{rows} rows, {good} good, {bad} left out: {services} new services, {grants} grants",
            rows=found.rows, good=found.good, bad=found.rows - found.good, services=len(found.services),
            grants=len(found.grants),
        )
    )  # fmt: skip


def _template(out: Path | None) -> None:
    if out is not None and out.suffix.lower() == ".xlsx":
        try:
            template_xlsx(out)
        except OSError as error:
            raise CliError(ExitCode.NO, t("{path} cannot be written: {why}", path=out, why=error.strerror)) from None
        return
    emit(template_csv(), out)


@contextmanager
def bar(title: str, *, measured: bool = True) -> Iterator[Callable[[int, int], None]]:
    """A progress bar on stderr, where that is a terminal."""
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

    columns = [
        TextColumn("{task.description}"),
        BarColumn(),
        *([TaskProgressColumn()] if measured else []),
        TimeElapsedColumn(),
    ]
    with Progress(
        *columns, console=output.console(sys.stderr), transient=True, disable=not sys.stderr.isatty()
    ) as shown:
        task = shown.add_task(output.escape(title), total=None)
        yield lambda done, of: shown.update(task, completed=done, total=of or None)

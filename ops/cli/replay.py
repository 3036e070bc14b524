"""feiyu replay: recorded decisions with a proposed policy. Reads the node's log and policy itself, so control and the
data path go on undisturbed however long it takes."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import rich_click as click
from click.exceptions import Exit

from ops.cli import output, values
from ops.cli.app import App
from ops.cli.base import Command, pass_app
from ops.cli.client import Json
from ops.cli.configuration import load
from ops.cli.errors import CliError, ExitCode
from ops.cli.output import Column, field
from ops.cli.policy_files import FILE, asked, read, wish
from ops.cli.policy_import import bar
from ops.cli.times import format_moment
from ops.cli.words import t
from ops.policyfile.read import Files
from telemetry.decisions import decisions, size
from tenants.change import Changed
from whitelist.offline import document_of
from whitelist.replay import Group, Replay, Report, backdated
from whitelist.snapshot import Snapshot, SnapshotError
from whitelist.store import KINDS
from whitelist.suite import Asked
from whitelist.trial import Trial

_ALL = 1_000_000  # changes of a plan
COLUMNS = [
    Column("CHANGE", lambda row: t(row["change"])),
    field("TENANT", "tenant"),
    field("SERVICE", "service"),
    field("DECISIONS", "count", right=True),
    Column("REASON", lambda row: ", ".join(row["reasons"])),
    Column("HOSTS", lambda row: ", ".join(f"{host} {count}" for host, count in row["hosts"].items()), wide=True),
    Column("LAST", lambda row: format_moment(row["last"])),
]


@click.command(
    "replay",
    cls=Command,
    help=t("Decide what was recorded again with a proposed policy; exit 1 where something would change."),
    example="feiyu replay --policy acme.yaml --since 7d",
)
@click.option(
    "--policy", "paths", type=FILE, multiple=True, required=True, help=t("The proposed policy file; may be repeated.")
)
@click.option("--since", type=values.SINCE, default="7d", show_default=True, help=t("How far back."))
@click.option("--until", type=values.FROM, help=t("Up to when (default: now)."))
@click.option(
    "--log",
    "log",
    type=click.Path(path_type=Path, file_okay=False),
    help=t("Directory of the log, as copied (default: this node's)."),
)
@click.option("--alone", is_flag=True, help=t("The files are the whole policy; no node is asked."))
@pass_app
def replay(app: App, paths: tuple[Path, ...], *, since: int, until: int | None, log: Path | None, alone: bool) -> None:
    """Newly permitted first: that is what widens."""
    files = read(paths, (), None, None)
    end = app.now() if until is None else until
    directory = log or Path(load(app.config_path).state_dir) / "log"
    with _policies(app, files, since, alone) as (proposed, current):
        report, unreadable = fold(directory, Replay(proposed, current), since, end)
    if unreadable:
        report.unknown["unreadable"] = unreadable
    app.show(msgspec.to_builtins(report), lambda: _tell(report))
    if app.format == "csv":
        output.write(output.as_csv(COLUMNS, rows(report)))
    changes = report.deny_to_allow or report.allow_to_deny
    raise Exit(ExitCode.NO if changes else ExitCode.YES)


def fold(directory: Path, found: Replay, since: int, until: int) -> tuple[Report, int]:
    """All decisions of the log in that time (Unix seconds), decided again; and how many lines could not be read."""
    unreadable = done = 0
    try:
        total = size(directory, since * 1_000_000)
        with bar(t("reading {path}", path=directory)) as progress:
            for read_bytes, batch, bad in decisions(directory, since * 1_000_000, until * 1_000_000):
                found.take(batch)
                unreadable += bad
                done += read_bytes
                progress(done, total)
    except OSError as error:
        why = t("{path} cannot be read: {why}", path=error.filename or directory, why=error.strerror)
        raise CliError(
            ExitCode.USAGE, why, t("Run it on the node with an account that it admits, or name a copy with --log.")
        ) from None
    return found.report(), unreadable


@contextmanager
def _policies(app: App, files: Files, since: int, alone: bool) -> Iterator[tuple[Asked, Asked | None]]:
    """The proposed policy, and the one in force to compare with."""
    if alone:
        yield Trial.of(document_of(files.proposal, KINDS)[0]), None
        return
    plan = asked(app, "/v1/policy/plan", {**wish(files), "limit": _ALL}, files)
    changes = backdated(map(_changed, plan["changes"]), since, app.now())
    state = Path(load(app.config_path).state_dir)
    try:
        snapshot = Snapshot.open(state / "snapshot", (state / "keys" / "snapshot.pub").read_bytes())
    except OSError as error:
        why = t("{path} cannot be read: {why}", path=error.filename, why=error.strerror)
        raise CliError(
            ExitCode.USAGE, why, t("Run it on the node with an account that it admits, or name a copy with --log.")
        ) from None
    except SnapshotError as error:
        raise CliError(ExitCode.UNREACHABLE, str(error), t("See feiyu status.")) from None
    try:
        if snapshot.revision != plan["revision"]:
            why = t(
                "the policy in force is revision {number}, the plan was made from another", number=snapshot.revision
            )
            raise CliError(ExitCode.CONFLICT, why, t("Try it again."))
        yield Trial.over(snapshot, changes), snapshot
    finally:
        snapshot.close()


def _changed(change: Json) -> Changed:
    kind = KINDS[change["collection"]]
    before, after = (
        None if item is None else msgspec.convert(item, kind.struct) for item in (change["before"], change["after"])
    )
    return Changed(change["collection"], change["id"], change["verb"], before, after)


def rows(report: Report) -> list[dict[str, Any]]:
    """The groups, newly permitted first."""
    parts: tuple[tuple[str, list[Group]], ...] = (
        ("deny to allow", report.deny_to_allow), ("allow to deny", report.allow_to_deny),
    )  # fmt: skip
    return [{"change": change, **msgspec.to_builtins(group)} for change, groups in parts for group in groups]


def _tell(report: Report) -> None:
    found = rows(report)
    if found:
        output.print_table(COLUMNS, found)
        output.write("")
    allowed, denied = (sum(g.count for g in groups) for groups in (report.deny_to_allow, report.allow_to_deny))
    output.write(
        t(
            "{decisions} decisions: {allowed} would pass now, {denied} would be refused, {same} stay as they were",
            decisions=report.decisions, allowed=allowed, denied=denied, same=report.same,
        )
    )  # fmt: skip
    if report.since:
        count = sum(report.since.values())
        output.write(t("{count} differ from the record already today, whatever is proposed", count=count))
    if report.unknown:
        shown = ", ".join(f"{name} {count}" for name, count in report.unknown.items())
        output.write(output.escape_lines(t("Not known, for no policy decides it: {what}", what=shown)))
    if report.unseen:
        output.write(
            t(
                "Of those that would pass, {count} were never dialled: their addresses and TLS names are not known",
                count=report.unseen,
            )
        )

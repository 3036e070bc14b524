"""feiyu policy: the policy as files. fmt, lint and test need no node; the rest asks control."""

from pathlib import Path

import msgspec
import rich_click as click
from click.exceptions import Exit

from ops.cli import output, policy_show
from ops.cli.app import App
from ops.cli.base import Group, pass_app
from ops.cli.errors import CliError, ExitCode
from ops.cli.output import Column, field
from ops.cli.policy_apply import IF_MATCH, carry_out
from ops.cli.policy_export import export
from ops.cli.policy_files import FILE, asked, files, read, unusable, wish
from ops.cli.policy_import import import_
from ops.cli.times import format_moment
from ops.cli.words import t
from ops.policyfile.files import paths_of
from ops.policyfile.files import text_of as text_of_file
from ops.policyfile.found import FilesError
from ops.policyfile.layout import formatted
from ops.policyfile.lint import lint
from telemetry.whole import write_whole
from whitelist import suite
from whitelist.offline import document_of
from whitelist.store import KINDS
from whitelist.trial import Trial

REVISIONS = [
    field("REVISION", "revision", right=True),
    Column("TIME", lambda item: format_moment(item["time"])),
    field("BY", "actor"),
    field("CHANGES", "changes", right=True),
    field("REASON", "reason", wide=True),
]


@click.group("policy", cls=Group, help=t("The policy as files: see what it would do, then apply it."))
def group() -> None:
    """The group itself does nothing."""


@group.command("fmt", data=False, help=t("Lay policy files out in the one way."), example="feiyu policy fmt acme.yaml")
@click.argument("paths", metavar="FILE…", nargs=-1, required=True, type=FILE)
@click.option("--check", is_flag=True, help=t("Write nothing; exit 1 where a file is laid out otherwise."))
@pass_app
def fmt(app: App, paths: tuple[Path, ...], *, check: bool) -> None:
    """Comments stay with their entries; a file is replaced whole or not at all."""
    differs = []
    try:
        for path in paths_of(paths):
            content = text_of_file(path)
            laid = formatted(str(path), content)
            if laid == content:
                continue
            differs.append(str(path))
            if not check:
                write_whole(path, laid.encode(), path.stat().st_mode & 0o777)
    except FilesError as error:
        raise unusable(error) from None
    except OSError as error:
        raise CliError(
            ExitCode.NO, t("{path} cannot be written: {why}", path=error.filename, why=error.strerror)
        ) from None
    for name in differs:
        app.say(t("{path} is laid out otherwise", path=name) if check else t("{path} was laid out", path=name))
    raise Exit(ExitCode.NO if check and differs else ExitCode.YES)


@group.command(
    "lint",
    help=t("Check policy files without a node; exit 1 where something is wrong."),
    example="feiyu policy lint acme.yaml",
)
@files
@click.option("--strict", is_flag=True, help=t("Warnings count too."))
@pass_app
def lint_(
    app: App, paths: tuple[Path, ...], *, lines: tuple[str, ...], from_: int | None, until: int | None, strict: bool
) -> None:
    """Errors and warnings, each FILE:LINE."""
    try:
        found = lint(read(paths, lines, from_, until), app.now())
    except CliError as error:
        raise CliError(ExitCode.NO, error.message, error.remedy, error.fields) from None
    errors = [finding for finding in found if not finding.warning]
    shown = [
        {
            "file": f.file,
            "line": f.line,
            "level": "warning" if f.warning else "error",
            "wrong": f.wrong,
            "remedy": f.remedy,
        }
        for f in found
    ]

    def human() -> None:
        for name, finding in zip(shown, found, strict=True):
            output.write(output.escape_lines(f"{t(str(name['level']))}: {finding}"))

    app.show(shown, human)
    app.say(t("{errors} errors, {warnings} warnings", errors=len(errors), warnings=len(found) - len(errors)))
    raise Exit(ExitCode.NO if errors or (strict and found) else ExitCode.YES)


@group.command(
    "test",
    help=t("Run the files' tests without a node; exit 1 where one fails."),
    example="feiyu policy test acme.yaml",
)
@files
@pass_app
def test(app: App, paths: tuple[Path, ...], *, lines: tuple[str, ...], from_: int | None, until: int | None) -> None:
    """With the verdict that traffic gets. Of what the files do not name, nothing is known."""
    found = read(paths, lines, from_, until)
    document, assumed = document_of(found.proposal, KINDS)
    results = suite.run(Trial.of(document), found.proposal.tests, app.now())
    shown = [msgspec.to_builtins(result) for result in results]
    if shown or app.format != "table":
        app.show(shown, lambda: output.write(output.escape_lines("\n".join(policy_show.tests(shown)))))
    if assumed:
        app.say(t("taken to lead abroad: {names}", names=", ".join(assumed)))
    if not results:
        raise CliError(ExitCode.NO, t("the files have no tests"), t("Add tests: what must pass, and what must not."))
    raise Exit(ExitCode.YES if all(result.passed for result in results) else ExitCode.NO)


@group.command(
    "diff",
    help=t("Show what differs from the register; exit 1 where something does."),
    example="feiyu policy diff acme.yaml",
)
@files
@pass_app
def diff(app: App, paths: tuple[Path, ...], *, lines: tuple[str, ...], from_: int | None, until: int | None) -> None:
    """Every change, field by field."""
    found = read(paths, lines, from_, until)
    plan = asked(app, "/v1/policy/plan", {**wish(found), "limit": 1_000_000}, found)
    shown = list(policy_show.changes(plan))
    app.show(plan["changes"], lambda: output.write(output.escape_lines("\n".join(shown))) if shown else None)
    if not shown:
        app.say(t("nothing differs"))
    raise Exit(ExitCode.NO if shown else ExitCode.YES)


@group.command(
    "plan",
    help=t("Show what applying the files would do, to whom; nothing is changed."),
    example="feiyu policy plan acme.yaml",
)
@files
@pass_app
def plan(app: App, paths: tuple[Path, ...], *, lines: tuple[str, ...], from_: int | None, until: int | None) -> None:
    """Exit 1 where a test fails."""
    found = read(paths, lines, from_, until)
    made = asked(app, "/v1/policy/plan", wish(found), found)
    app.show(made, lambda: policy_show.whole(made))
    names = " ".join(map(str, paths))
    app.say(
        t(
            "To apply it: feiyu policy apply {names} --if-match {revision} --reason …",
            names=names,
            revision=made["revision"],
        )
    )
    raise Exit(ExitCode.YES if made["passed"] else ExitCode.NO)


@group.command(
    "apply",
    writes=True,
    help=t("Apply policy files, all or nothing; their tests must pass."),
    example="feiyu policy apply acme.yaml --if-match 12 --reason 'request 31'",
)
@files
@IF_MATCH
@pass_app
def apply(
    app: App, paths: tuple[Path, ...], *, lines: tuple[str, ...], from_: int | None, until: int | None, seen: int | None
) -> None:
    """Without --if-match the plan is shown, and asked about."""
    found = read(paths, lines, from_, until)
    carry_out(app, wish(found), seen, found)


@group.command(
    "rollback",
    writes=True,
    help=t("Go back to an earlier revision, as one more change."),
    example="feiyu policy rollback 11 --if-match 12 --reason 'incident 4'",
)
@click.argument("revision", type=click.IntRange(min=1))
@IF_MATCH
@pass_app
def rollback(app: App, revision: int, *, seen: int | None) -> None:
    """Without --if-match the plan is shown, and asked about."""
    carry_out(app, {"rollback": revision}, seen)


@group.command(
    "history", help=t("List the revisions of the register, newest first."), example="feiyu policy history --limit 20"
)
@click.option("--limit", type=click.IntRange(1, 1000), default=20, help=t("How many."))
@pass_app
def history(app: App, *, limit: int) -> None:
    """Who changed how much, when and why."""
    app.rows(app.client.get("/v1/revisions", {"limit": limit})["items"], REVISIONS, t("Nothing was changed yet."))


group.add_command(export)
group.add_command(import_)

"""feiyu report: what can be shown to whoever asks."""

from typing import Any

import msgspec
import rich_click as click

from ops.cli.app import App
from ops.cli.base import Group, pass_app
from ops.cli.errors import CliError, ExitCode
from ops.cli.output import Column, field
from ops.cli.words import current, t
from ops.compliance import Clause, Words, clauses

COLUMNS = [
    field("ID", "id"),
    Column("STANDARD", lambda item: item["standard"]),
    Column("CLAUSE", lambda item: item["clause"], wide=True),
    Column("STATE", lambda item: t(item["state"])),
    Column("REQUIREMENT", lambda item: item["requirement"][current()], wide=True),
    Column("TESTS", lambda item: len(item["tests"]), right=True),
]


@click.group("report", cls=Group, help=t("Reports."))
def group() -> None:
    """The group itself does nothing."""


@group.command(
    "compliance",
    help=t("Show which clauses are met by what, which tests show it, and what stays with the operator."),
    example="feiyu report compliance mlps-8.1.3.5",
)
@click.argument("clause", metavar="[ID]", required=False)
@pass_app
def compliance(app: App, clause: str | None) -> None:
    """All as a table, or one whole; with -o json everything in both languages."""
    if clause is None:
        items: list[dict[str, Any]] = [msgspec.to_builtins(one) for one in clauses()]
        app.rows(items, COLUMNS)
        counts = {str(state): sum(one["state"] == state for one in items) for state in ("met", "partly", "missing")}
        if app.format == "table":
            app.say(t("{met} met, {partly} in part, {missing} not. Software is no certificate.", **counts))
        return
    found = next((one for one in clauses() if one.id == clause), None)
    if found is None:
        raise CliError(ExitCode.NO, t("there is no clause {id}", id=clause), t("See feiyu report compliance."))
    app.details(msgspec.to_builtins(found), _rows(found))


def _rows(one: Clause) -> list[tuple[str, object]]:
    def said(words: Words) -> str:
        return str(getattr(words, current()))

    return [
        ("Standard", one.standard),
        ("Clause", one.clause),
        ("State", t(one.state)),
        ("Requirement", said(one.requirement)),
        ("Answered by", said(one.feature)),
        ("Shown by", list(one.tests)),
        ("Operator's", said(one.operator)),
    ]

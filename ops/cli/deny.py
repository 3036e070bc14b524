"""feiyu deny: what nobody reaches, whatever was granted."""

import rich_click as click

from ops.cli import values
from ops.cli.app import App
from ops.cli.base import Group, pass_app
from ops.cli.common import given
from ops.cli.output import Column, field
from ops.cli.result import report
from ops.cli.words import t

COLUMNS = [
    field("ID", "id"),
    field("TARGET", "target"),
    Column("PORTS", lambda item: item.get("ports") or t("all")),
    field("NOTE", "note", wide=True),
    Column("REASON", lambda item: (item.get("provenance") or {}).get("reason", ""), wide=True),
]


@click.group("deny", cls=Group, help=t("Global denies: they beat every grant."))
def group() -> None:
    """The group itself does nothing."""


@group.command("list", help=t("List the global denies."), example="feiyu deny list")
@pass_app
def list_(app: App) -> None:
    """All global denies."""
    app.rows(app.items("denies"), COLUMNS, t("There are no global denies."))


@group.command(
    "add",
    writes=True,
    help=t("Deny a host, a suffix or a prefix to everybody."),
    example="feiyu deny add '*.bad.example' --reason 'incident 12'",
)
@click.argument("target", type=values.TARGET)
@click.option("--id", "identifier", metavar="ID", help=t("Its id (default: made up)."))
@click.option("--port", "ports", type=values.PORTS, help=t("Only these ports (default: all)."))
@click.option("--note", metavar="TEXT", help=t("A note for readers of the list."))
@pass_app
def add(app: App, target: str, identifier: str | None, ports: list[int] | None, note: str | None) -> None:
    """A new deny; live tunnels to the target are cut."""
    body = {"target": target, **given({"id": identifier, "ports": ports, "note": note})}
    report(app, app.write("POST", ["denies"], body), "deny", "added")


@group.command(
    "remove",
    writes=True,
    help=t("Remove a global deny."),
    example="feiyu deny remove d-7k3m --reason 'incident 12 closed'",
)
@click.argument("deny", type=values.Identifier("denies"))
@pass_app
def remove(app: App, deny: str) -> None:
    """What was denied can be reached again where a grant covers it."""
    report(app, app.write("DELETE", ["denies", deny]), "deny", "removed", deny)

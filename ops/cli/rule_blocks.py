"""feiyu rule blocks, lift: what rules block on the running node, and its end."""

import rich_click as click

from ops.cli.app import App
from ops.cli.base import Command, pass_app
from ops.cli.output import Column, Item, field
from ops.cli.result import report
from ops.cli.times import format_moment
from ops.cli.words import t


def _action(item: Item) -> str:
    return f"throttle {item['rate']}/s" if item.get("rate") else "block"


COLUMNS = [
    field("BLOCK", "id"),
    Column("ACTION", _action),
    field("SCOPE", "scope"),
    field("VALUE", "value", wide=True),
    Column("UNTIL", lambda item: format_moment(item["until"]) if item.get("until") else ""),
    field("RULE", "rule"),
]


@click.command("blocks", cls=Command, help=t("List what rules block and throttle now."), example="feiyu rule blocks")
@pass_app
def blocks(app: App) -> None:
    """As live control has it in force."""
    app.rows(app.client.get("/v1/blocks")["items"], COLUMNS, t("No rule blocks anything."))


@click.command(
    "lift",
    cls=Command,
    writes=True,
    help=t("Lift a block at once; the rule may block again."),
    example="feiyu rule lift r-0123456789abcdef --reason 'false alarm, ticket 7'",
)
@click.argument("block")
@pass_app
def lift(app: App, block: str) -> None:
    """In force in every worker when it returns; who lifted it stands in the record."""
    report(app, app.write("POST", ["blocks", block, "lift"]), "block", "lifted", block)

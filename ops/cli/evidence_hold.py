"""feiyu evidence hold: what must not be deleted although it is old enough."""

import time

import rich_click as click

from ops.cli import values
from ops.cli.app import App
from ops.cli.base import Group, pass_app
from ops.cli.output import Column, Item, field
from ops.cli.words import t


def _date(name: str) -> Column:
    label = {"since": "FROM", "until": "UNTIL"}[name]
    return Column(label, lambda item: time.strftime("%Y-%m-%d", time.gmtime(item.get(name, 0) / 1_000_000)))


COLUMNS = [field("ID", "id"), _date("since"), _date("until"), field("BY", "by"), field("REASON", "reason")]


@click.group("hold", cls=Group, help=t("Legal holds: records that are kept although they are old enough to go."))
def group() -> None:
    """The group itself does nothing."""


@group.command("list", help=t("List the legal holds."), example="feiyu evidence hold list")
@pass_app
def list_(app: App) -> None:
    """All, also those that have ended."""
    app.rows(app.items("holds"), COLUMNS, t("There are no legal holds."))


@group.command(
    "add",
    writes=True,
    help=t("Keep all records from a time on, for so long."),
    example="feiyu evidence hold add --since 2026-11-01 --for 2y --reason 'case 7'",
)
@click.option("--since", type=values.SINCE, required=True, help=t("From here on: 1h, 7d, 2027-11-23."))
@click.option("--for", "until", type=values.FOR, required=True, help=t("How long they are held: 90d, 12mo, 2y."))
@pass_app
def add(app: App, *, since: int, until: int) -> None:
    """An act in the acts' log first, then in force."""
    hold: Item = app.write("POST", ["holds"], {"since": since, "until": until})["item"]
    app.show(hold, lambda: app.say(t("{id} holds what is there from {date} on", id=hold["id"], date=_day(hold))))


@group.command(
    "remove",
    writes=True,
    help=t("End a legal hold; what it kept and is old enough goes."),
    example="feiyu evidence hold remove h-7k3mq --reason 'case 7 closed'",
)
@click.argument("hold")
@pass_app
def remove(app: App, hold: str) -> None:
    """An act in the acts' log too."""
    app.show(app.write("DELETE", ["holds", hold])["item"], lambda: app.say(t("{id} holds nothing any more", id=hold)))


def _day(hold: Item) -> str:
    return time.strftime("%Y-%m-%d", time.gmtime(hold["since"] / 1_000_000))

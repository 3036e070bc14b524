"""feiyu audit: who read the records, on whose authority."""

import rich_click as click

from ops.cli.app import App
from ops.cli.base import Group, pass_app
from ops.cli.log import clock
from ops.cli.output import Column, Item
from ops.cli.words import t


def fact(title: str, name: str, *, wide: bool = False) -> Column:
    """A column of what the reader said."""
    return Column(title, lambda item: (item.get("facts") or {}).get(name, ""), wide)


def _told(item: Item) -> str:
    return t("no: {why}", why=str(item["facts"]["withheld"])) if item["facts"].get("withheld") else t("yes")


COLUMNS = [
    Column("TIME", clock),
    Column("TENANT", lambda item: item.get("tenant", "")),
    fact("AUTHORITY", "authority", wide=True),
    fact("BASIS", "basis", wide=True),
    fact("CASE", "case"),
    fact("SCOPE", "scope", wide=True),
    Column("RECORDS", lambda item: item.get("count", 0), right=True),
    fact("BY", "by"),
    Column("TOLD", _told),
]


@click.group("audit", cls=Group, help=t("Who read the records, and on whose authority."))
def group() -> None:
    """The group itself does nothing."""


@group.command(
    "reads", help=t("List what authorities read, the newest first."), example="feiyu audit reads --tenant acme"
)
@click.option("--tenant", metavar="ID", help=t("As this tenant is told: what is withheld from it is only counted."))
@pass_app
def reads(app: App, tenant: str | None) -> None:
    """With a tenant, exactly what its own page shows."""
    answer = app.client.get("/v1/reads", {"tenant": tenant})
    app.rows(answer["items"], COLUMNS, t("No authority has read records in the last 184 days."))
    if answer["withheld"]:
        app.say(t("{count} reads are lawfully withheld from the tenant; they are counted in its statements.",
                  count=answer["withheld"]))  # fmt: skip

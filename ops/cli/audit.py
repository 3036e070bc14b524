"""feiyu audit: who did what, from where, with what before and after, and why."""

import rich_click as click

from ops.cli import output, values
from ops.cli.app import App
from ops.cli.base import Group, pass_app
from ops.cli.client import Json
from ops.cli.errors import CliError, ExitCode
from ops.cli.log import clock, followed
from ops.cli.output import Column, Item
from ops.cli.request import differences
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


@click.group("audit", cls=Group, help=t("What was done, by whom and why."))
def group() -> None:
    """The group itself does nothing."""


@group.command("tail", help=t("Show the last acts, then follow, until Ctrl-C."), example="feiyu audit tail --no-follow")
@click.option("--limit", type=click.IntRange(1, 1000), default=20, show_default=True, help=t("At most so many."))
@click.option("--since", type=values.SINCE, help=t("From here on: 1h, 7d, 2027-11-23."))
@click.option("--no-follow", is_flag=True, help=t("End after the last one."))
@pass_app
def tail(app: App, *, limit: int, since: int | None, no_follow: bool) -> None:
    """Each with its changes, where it made any."""
    query = {"limit": limit, "since": since}
    items = list(reversed(app.client.get("/v1/audit", query)["items"]))
    for item in items:
        _one(app, item)
    if no_follow:
        return
    seen = {(item.get("worker"), item.get("boot"), item.get("seq")) for item in items}
    for record in followed(app, {"kind": "action"}):
        if record.get("kind") == "action" and (record.get("worker"), record.get("boot"), record.get("seq")) not in seen:
            _one(app, record)


def _one(app: App, item: Json) -> None:
    if app.format in ("json", "yaml"):
        output.write(output.as_json(item, indent=None) if app.format == "json" else "---\n" + output.as_yaml(item))
        return
    output.print_text(f"{clock(item)}  {item.get('worker', '')}  {item.get('detail', '')}")
    for change in item.get("changes", []):
        output.print_text(f"    {change['verb']} {change['collection']}/{change['item']}: {change['reason']}")
        for name, before, after in differences(change):
            if name != "provenance":
                output.print_text(f"      {name}: {before} → {after}")
    if item.get("holds") is False:
        output.print_text("    " + t("! the register's history is not the one that was recorded"))
    output.flush()


@group.command(
    "verify",
    help=t("Read the chain of revisions from its beginning, and compare it with the records."),
    example="feiyu audit verify",
)
@pass_app
def verify(app: App) -> None:
    """Exit 1: history was rewritten."""
    told = app.client.get("/v1/audit/chain")
    recorded = app.client.get("/v1/audit", {"limit": 1000})["items"]
    wrong = [item for item in recorded if item.get("holds") is False]
    app.details(
        told | {"compared": len(recorded), "differ": len(wrong)},
        [("Zone", told["zone"]), ("Links", told["links"]), ("Head", told["head"]), ("Differ", len(wrong))],
    )
    if told["broken"] or wrong:
        why = told["broken"] or str(wrong[0].get("detail", ""))
        remedy = t("Keep the node as it is; call the audit administrator.")
        raise CliError(ExitCode.NO, t("history was rewritten: {why}", why=why), remedy)
    if not told["links"]:
        app.say(t("There are no accounts, so there is no chain yet."))


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

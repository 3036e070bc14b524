"""feiyu group, feiyu category: named sets of tenants and of services."""

from collections.abc import Sequence

import rich_click as click

from ops.cli import values
from ops.cli.app import App
from ops.cli.base import Group, pass_app
from ops.cli.common import given, provenance_rows
from ops.cli.output import Column, Item, field
from ops.cli.result import report
from ops.cli.words import t


def _make(noun: str, collection: str, members: str, field_of_member: str, words: tuple[str, str, str, str]) -> Group:
    """The group of commands for one kind of set; groups and categories differ in their members only."""
    about, listing, showing, adding = words

    def members_of(app: App, identifier: str) -> list[str]:
        items = app.items(members)
        return [str(item["id"]) for item in items if identifier in item.get(field_of_member, [])]

    @click.group(noun, cls=Group, help=about)
    def group() -> None:
        pass

    @group.command("list", help=listing, example=f"feiyu {noun} list")
    @pass_app
    def list_(app: App) -> None:
        items: Sequence[Item] = app.items(collection)
        sizes: dict[str, int] = {}
        for member in app.items(members):
            for name in member.get(field_of_member, []):
                sizes[name] = sizes.get(name, 0) + 1
        columns = [
            field("ID", "id"),
            field("NAME", "name", wide=True),
            Column(members.upper(), lambda item: sizes.get(item["id"], 0), right=True),
        ]
        app.rows(items, columns)

    @group.command("show", help=showing, example=f"feiyu {noun} show dev")
    @click.argument("identifier", metavar="ID", type=values.Identifier(collection))
    @pass_app
    def show(app: App, identifier: str) -> None:
        item = app.get_one(collection, identifier)
        names = members_of(app, identifier)
        rows: list[tuple[str, object]] = [("ID", item["id"]), ("Name", item.get("name")), (members.capitalize(), names)]
        app.details({**item, members: names}, [*rows, *provenance_rows(item)])

    @group.command(
        "add", writes=True, help=adding, example=f"feiyu {noun} add dev --name Development --reason 'new team'"
    )
    @click.argument("identifier", metavar="ID")
    @click.option("--name", metavar="TEXT", help=t("Name."))
    @pass_app
    def add(app: App, identifier: str, name: str | None) -> None:
        report(app, app.write("POST", [collection], {"id": identifier, **given({"name": name})}), noun, "added")

    return group


group = _make(
    "group",
    "groups",
    "tenants",
    "groups",
    (
        t("Named sets of tenants."),
        t("List the groups."),
        t("Show one group and its tenants."),
        t("Add a group; tenants join it by tenant edit."),
    ),
)
category = _make(
    "category",
    "categories",
    "services",
    "categories",
    (
        t("Named sets of services."),
        t("List the categories."),
        t("Show one category and its services."),
        t("Add a category; services join it by service edit."),
    ),
)

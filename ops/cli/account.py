"""feiyu account: the people, their roles, their keys."""

from pathlib import Path

import rich_click as click

from ops.cli import logged_in, output, values
from ops.cli.app import App
from ops.cli.base import Group, pass_app
from ops.cli.errors import usage
from ops.cli.output import Column, field
from ops.cli.result import report
from ops.cli.words import t
from tenants.accounts import Role

ID = values.Identifier("accounts")
ROLE = click.Choice([role.value for role in Role])
COLUMNS = [
    field("ID", "id"),
    field("NAME", "name", wide=True),
    field("ROLES", "roles", wide=True),
    field("TENANT", "tenant"),
    Column("STATE", lambda item: t("disabled") if item.get("disabled") else t("enabled")),
    Column("KEY", lambda item: str(item.get("key", ""))[:16]),
]


@click.group("account", cls=Group, help=t("Accounts: named people, their roles and keys."))
def group() -> None:
    """The group itself does nothing."""


@group.command("list", help=t("List the accounts."), example="feiyu account list")
@pass_app
def list_(app: App) -> None:
    """All accounts; none is ever removed."""
    app.rows(app.items("accounts"), COLUMNS, t("There are no accounts: one person suffices for every change."))


def public_key(text: str) -> str:
    """A public key: in hex, or a file that holds it. Errors: usage."""
    path = Path(text)
    found = path.read_text().strip() if len(text) != 64 and path.is_file() else text
    if len(found) != 64 or set(found) - set("0123456789abcdef"):
        raise usage(t("{text!r} is no public key: 64 hex digits, or the file that feiyu login made", text=text))
    return found


@group.command(
    "add",
    writes=True,
    help=t("Add an account; another administrator approves it."),
    example=f"feiyu account add alice --name 'Alice Example' --role zone-reviewer --key {'0a' * 32} --reason 'new'",
)
@click.argument("account", metavar="ID")
@click.option("--name", required=True, metavar="TEXT", help=t("The person's name."))
@click.option("--role", "roles", multiple=True, required=True, type=ROLE, help=t("A role; may be repeated."))
@click.option("--key", required=True, metavar="HEX|FILE", help=t("The public key that feiyu login printed."))
@click.option(
    "--tenant", type=values.Identifier("tenants"), help=t("The firm, of its applicant or compliance officer.")
)
@pass_app
def add(app: App, account: str, *, name: str, roles: tuple[str, ...], key: str, tenant: str | None) -> None:
    """Compare the key with the person before it is approved: it is what later approvals are believed by."""
    body = {"id": account, "name": name, "roles": list(roles), "key": public_key(key)}
    if tenant:
        body["tenant"] = tenant
    report(app, app.write("POST", ["accounts"], body), "account", "added")


@group.command(
    "roles",
    writes=True,
    help=t("Replace an account's roles; another administrator approves it."),
    example="feiyu account roles alice zone-reviewer --reason 'moved'",
)
@click.argument("account", type=ID)
@click.argument("roles", nargs=-1, required=True, type=ROLE)
@pass_app
def roles_(app: App, account: str, roles: tuple[str, ...]) -> None:
    """All roles are named, those that stay too."""
    report(app, app.write("PATCH", ["accounts", account], {"roles": list(roles)}), "account", "changed", account)


@group.command(
    "key",
    writes=True,
    help=t("Replace an account's key; another administrator approves it."),
    example=f"feiyu account key alice {'0a' * 32} --reason 'laptop lost'",
)
@click.argument("account", type=ID)
@click.argument("key", metavar="HEX|FILE")
@pass_app
def key_(app: App, account: str, key: str) -> None:
    """Compare it with the person first."""
    report(app, app.write("PATCH", ["accounts", account], {"key": public_key(key)}), "account", "changed", account)


@group.command(
    "factor",
    writes=True,
    help=t("Take password and code away, your own or another's; the next login sets them with the key."),
    example="feiyu account factor alice --reason 'phone lost'",
)
@click.argument("account", required=False, type=ID)
@pass_app
def factor(app: App, account: str | None) -> None:
    """Also opens an account that is locked."""
    name = account or logged_in.account_of(app.socket)
    if not name:
        raise usage(t("whose? nobody is logged in"))
    answer = app.write("POST", ["accounts", name, "reset"])
    sentence = t("{id} sets password and code at the next login", id=name)
    app.show(answer, lambda: output.write(sentence))


@group.command(
    "disable",
    writes=True,
    help=t("Disable an account at once."),
    example="feiyu account disable alice --reason 'left'",
)
@click.argument("account", type=ID)
@pass_app
def disable(app: App, account: str) -> None:
    """It can neither log in nor approve, and what it asked for cannot be approved any more."""
    report(app, app.write("POST", ["accounts", account, "disable"]), "account", "disabled", account)


@group.command(
    "enable",
    writes=True,
    help=t("Enable a disabled account; another administrator approves it."),
    example="feiyu account enable alice --reason 'back'",
)
@click.argument("account", type=ID)
@pass_app
def enable(app: App, account: str) -> None:
    """With the roles and the key it had."""
    report(app, app.write("POST", ["accounts", account, "enable"]), "account", "enabled", account)

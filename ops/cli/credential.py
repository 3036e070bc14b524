"""feiyu credential: what a tenant's user identifies with."""

import sys

import rich_click as click

from ops.cli import output, values
from ops.cli.app import App
from ops.cli.base import Group, pass_app
from ops.cli.client import Json
from ops.cli.common import either
from ops.cli.configuration import load
from ops.cli.errors import CliError
from ops.cli.output import Column, Item, field
from ops.cli.result import report
from ops.cli.times import format_end
from ops.cli.words import t

ID = values.Identifier("credentials")
ISSUED = [field("ID", "id"), field("TENANT", "tenant"), field("USER", "user"), field("TOKEN", "token")]


def _state(item: Item, now: int) -> str:
    if item.get("revoked"):
        return t("revoked")
    return t("expired") if item.get("valid_until", 0) <= now else t("valid")


@click.group("credential", cls=Group, help=t("Credentials of tenants' users."))
def group() -> None:
    """The group itself does nothing."""


@group.command("list", help=t("List the credentials; tokens are not kept."), example="feiyu credential list acme")
@click.argument("tenant", required=False, type=values.Identifier("tenants"))
@pass_app
def list_(app: App, tenant: str | None) -> None:
    """All credentials, or a tenant's."""
    items = app.items("credentials", tenant=tenant)
    now = app.now()
    columns = [
        field("ID", "id"),
        field("TENANT", "tenant", wide=True),
        field("USER", "user", wide=True),
        Column("STATE", lambda item: _state(item, now)),
        Column("UNTIL", lambda item: format_end(item.get("valid_until", 0))),
    ]
    app.rows(items, columns, t("There are no credentials."))


@group.command(
    "issue",
    writes=True,
    help=t("Issue a credential; its token is shown once."),
    example="feiyu credential issue acme --user build-server --for 90d --reason 'request 31'",
)
@click.argument("tenant", type=values.Identifier("tenants"))
@click.option("--user", required=True, metavar="LABEL", help=t("Label of its user; records show a pseudonym of it."))
@click.option("--until", type=values.UNTIL, help=t("End: a date (that day included), a time, or a duration."))
@click.option("--for", "for_", type=values.FOR, help=t("End, as a duration from now: 90d, 12mo."))
@pass_app
def issue(app: App, tenant: str, *, user: str, until: int | None, for_: int | None) -> None:
    """A new credential. The token is in the answer and nowhere else."""
    end = either(until, for_, "--until", "--for")
    answer = app.write("POST", ["credentials"], {"tenant": tenant, "user": user, "valid_until": end})
    if app.format == "csv":
        app.rows([{**(answer.get("credential") or {}), "token": answer.get("token")}], ISSUED)
        return
    if app.format != "table":
        report(app, answer, "credential", "issued")
        return
    report(app, {key: value for key, value in answer.items() if key != "token"}, "credential", "issued")
    _hand_over(app, answer)


def _hand_over(app: App, answer: Json) -> None:
    """The token and how to use it. It is put in a file, because arguments of a process are seen by all."""
    identifier = str((answer.get("credential") or answer.get("item") or {}).get("id", ""))
    proxy = _proxy_address(app)
    output.print_details([("User", identifier), ("Token", answer.get("token")), ("Proxy", f"http://{proxy}")])
    app.say("")
    app.say(t("The token is not kept and cannot be shown again. Put it in a file that only its user can read:"))
    write_out = [
        "  umask 077; cat > ~/.feiyu-proxy <<'END'",
        f'  proxy = "http://{proxy}"',
        f'  proxy-user = "{identifier}:{answer.get("token")}"',
        "  END",
        "  curl -K ~/.feiyu-proxy https://…",
    ]
    app.say("\n".join(write_out))
    sys.stderr.flush()


def _proxy_address(app: App) -> str:
    """The first plain listener of this node's configuration, if it can be read."""
    try:
        listeners = load(app.config_path).listeners
    except CliError:
        listeners = ()
    return next((listener.address for listener in listeners if listener.kind == "plain"), "GATEWAY:3128")


@group.command(
    "revoke",
    writes=True,
    help=t("Revoke a credential; its live tunnels are cut."),
    example="feiyu credential revoke c-7k3m9q2x --reason 'laptop lost'",
)
@click.argument("credential", type=ID)
@pass_app
def revoke(app: App, credential: str) -> None:
    """The credential identifies nobody from now on."""
    report(app, app.write("POST", ["credentials", credential, "revoke"]), "credential", "revoked", credential)

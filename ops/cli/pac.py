"""feiyu pac: proxy auto-config files for browsers."""

import rich_click as click

from ops.cli import output, values
from ops.cli.app import App
from ops.cli.base import Group, pass_app
from ops.cli.client import path_of
from ops.cli.errors import CliError
from ops.cli.words import t


@click.group("pac", cls=Group, help=t("PAC files: which of a firm's requests its browsers send here."))
def group() -> None:
    """The group itself does nothing."""


@group.command(
    "render",
    help=t("Print the PAC file of a tenant, as the gateway serves it."),
    example="feiyu pac render acme --others proxy",
)
@click.argument("tenant", type=values.Identifier("tenants"))
@click.option(
    "--hosts",
    type=click.Choice(["whitelist", "all"]),
    help=t("What goes through the gateway: the whitelist's hosts, or all (default: from the configuration)."),
)
@click.option(
    "--others",
    type=click.Choice(["direct", "proxy"]),
    help=t("Where other hosts go: straight out, or to the gateway, which refuses (default: from the configuration)."),
)
@pass_app
def render(app: App, tenant: str, *, hosts: str | None, others: str | None) -> None:
    """The script to stdout, or the answer of control in other formats."""
    query = {name: value for name, value in (("hosts", hosts), ("others", others)) if value}
    try:
        answer = app.client.get(path_of("tenants", tenant) + "/pac", query)
    except CliError as error:
        raise app.suggest(error, "tenants", tenant) from None
    app.show(answer, lambda: output.write(output.escape_lines(str(answer["pac"]).rstrip("\n"))))

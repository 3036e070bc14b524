"""feiyu service: the catalogue of international information services."""

import rich_click as click

from ops.cli import values
from ops.cli.app import App
from ops.cli.base import Group, pass_app
from ops.cli.client import Json
from ops.cli.common import changes, clearing, given, provenance_rows
from ops.cli.errors import usage
from ops.cli.output import Column, Item, field
from ops.cli.result import report
from ops.cli.words import t
from whitelist.model import Protocol

ID = values.Identifier("services")


def endpoint_text(endpoint: Item) -> str:
    """tls://api.example.com:443, as it can be typed."""
    target = str(endpoint["target"])
    ports = ",".join(str(port) for port in endpoint.get("ports", [443]))
    return f"{endpoint.get('protocol', 'tls')}://{f'[{target}]' if ':' in target else target}:{ports}"


def _endpoints(item: Item) -> list[str]:
    return [endpoint_text(endpoint) for endpoint in item.get("endpoints", [])]


COLUMNS = [
    field("ID", "id"),
    field("NAME", "name", wide=True),
    Column("ENDPOINTS", _endpoints, wide=True),
    field("CATEGORIES", "categories", wide=True),
    Column("STATE", lambda item: t("retired") if item.get("retired") else t("offered")),
]


def gather(
    endpoints: tuple[Json, ...], hosts: tuple[str, ...], ports: list[int] | None, protocol: str | None
) -> list[Json]:
    """The endpoints of a command line: each --endpoint, and each --host with the --port and --protocol."""
    if not hosts and (ports or protocol):
        raise usage(t("--port and --protocol belong to --host, which is missing"))
    kind = protocol or "tls"
    if hosts and not ports and kind == "tcp":
        raise usage(t("a tcp endpoint names its port: add --port"))
    chosen = ports or [443 if kind == "tls" else 80]
    return [*endpoints, *({"target": host, "ports": chosen, "protocol": kind} for host in hosts)]


@click.group("service", cls=Group, help=t("Services abroad that can be granted."))
def group() -> None:
    """The group itself does nothing."""


@group.command("list", help=t("List the services."), example="feiyu service list --category dev")
@click.option("--category", metavar="ID", help=t("Only those of this category."))
@click.option("--all", "everything", is_flag=True, help=t("Retired ones too."))
@pass_app
def list_(app: App, category: str | None, *, everything: bool) -> None:
    """The catalogue."""
    items = [
        item
        for item in app.items("services")
        if (everything or not item.get("retired")) and (not category or category in item.get("categories", []))
    ]
    app.rows(items, COLUMNS, t("There are no services yet."))


@group.command("show", help=t("Show one service."), example="feiyu service show github")
@click.argument("service", type=ID)
@pass_app
def show(app: App, service: str) -> None:
    """One service with its endpoints."""
    item = app.get_one("services", service)
    app.details(
        item,
        [
            ("ID", item["id"]),
            ("Name", item["name"]),
            ("Name (zh)", item.get("name_zh")),
            ("Endpoints", _endpoints(item)),
            ("Categories", item.get("categories")),
            ("Special prefixes", item.get("special_prefixes")),
            (
                "Shared name",
                t("yes: uninspected TLS cannot tell what lies behind it") if item.get("shared_name") else "",
            ),
            ("State", t("retired") if item.get("retired") else t("offered")),
            *provenance_rows(item),
        ],
    )


@group.command(
    "add",
    writes=True,
    help=t("Add a service to the catalogue."),
    example="feiyu service add github --host github.com --host '*.github.com' --category dev --reason 'for developers'",
)
@click.argument("service", metavar="ID")
@click.option("--name", metavar="TEXT", help=t("Name in English (default: the id)."))
@click.option("--name-zh", metavar="TEXT", help=t("Name in Chinese."))
@click.option("--endpoint", "endpoints", multiple=True, type=values.ENDPOINT, help=t("One way to it; may be repeated."))
@click.option(
    "--host", "hosts", multiple=True, type=values.TARGET, help=t("Host, *.suffix or prefix; may be repeated.")
)
@click.option("--port", "ports", type=values.PORTS, help=t("Ports of the hosts (default: 443, for http 80)."))
@click.option(
    "--protocol", type=click.Choice([p.value for p in Protocol]), help=t("Protocol of the hosts (default: tls).")
)
@click.option(
    "--category", "categories", multiple=True, metavar="ID", help=t("A category it belongs to; may be repeated.")
)
@click.option(
    "--special-prefix",
    "special_prefixes",
    multiple=True,
    type=values.PREFIX,
    help=t("A special-purpose prefix its names may lead to; may be repeated."),
)
@click.option("--shared-name", is_flag=True, default=None, help=t("Its names are shared with others behind a CDN."))
@pass_app
def add(
    app: App,
    /,
    service: str,
    *,
    endpoints: tuple[Json, ...],
    hosts: tuple[str, ...],
    ports: list[int] | None,
    protocol: str | None,
    **fields: object,
) -> None:
    """A new service."""
    ways = gather(endpoints, hosts, ports, protocol)
    if not ways:
        raise usage(t("a service needs an endpoint"), t("Add --endpoint tls://host:443, or --host."))
    body: Json = {"id": service, **given({**fields, "name": fields["name"] or service}), "endpoints": ways}
    report(app, app.write("POST", ["services"], body), "service", "added")


@group.command(
    "edit",
    writes=True,
    help=t("Change what is given; lists are replaced whole."),
    example="feiyu service edit github --endpoint tls://github.com:443 --reason 'suffix not needed'",
)
@click.argument("service", type=ID)
@click.option("--name", metavar="TEXT", help=t("Name in English."))
@click.option("--name-zh", metavar="TEXT", help=t("Name in Chinese."))
@click.option("--endpoint", "endpoints", multiple=True, type=values.ENDPOINT, help=t("One way to it; may be repeated."))
@click.option(
    "--host", "hosts", multiple=True, type=values.TARGET, help=t("Host, *.suffix or prefix; may be repeated.")
)
@click.option("--port", "ports", type=values.PORTS, help=t("Ports of the hosts (default: 443, for http 80)."))
@click.option(
    "--protocol", type=click.Choice([p.value for p in Protocol]), help=t("Protocol of the hosts (default: tls).")
)
@click.option(
    "--category", "categories", multiple=True, metavar="ID", help=t("A category it belongs to; may be repeated.")
)
@click.option(
    "--special-prefix",
    "special_prefixes",
    multiple=True,
    type=values.PREFIX,
    help=t("A special-purpose prefix its names may lead to; may be repeated."),
)
@click.option("--shared-name/--own-name", default=None, help=t("Its names are shared with others behind a CDN."))
@clearing("name-zh", "categories", "special-prefixes")
@pass_app
def edit(
    app: App,
    /,
    service: str,
    *,
    endpoints: tuple[Json, ...],
    hosts: tuple[str, ...],
    ports: list[int] | None,
    protocol: str | None,
    clear: tuple[str, ...],
    **fields: object,
) -> None:
    """Other values for some fields of a service."""
    body = changes({**fields, "endpoints": gather(endpoints, hosts, ports, protocol)}, clear)
    report(app, app.write("PATCH", ["services", service], body), "service", "changed", service)


@group.command(
    "retire",
    writes=True,
    help=t("Take a service out of use: its grants no longer reach it."),
    example="feiyu service retire github --reason 'no longer offered'",
)
@click.argument("service", type=ID)
@pass_app
def retire(app: App, service: str) -> None:
    """The service stays in the register and can no longer be reached."""
    report(app, app.write("POST", ["services", service, "retire"]), "service", "retired", service)

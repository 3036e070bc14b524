"""feiyu flow: the connections that are open now."""

import rich_click as click

from ops.cli.app import App
from ops.cli.base import Group, pass_app
from ops.cli.client import path_of
from ops.cli.output import Column, Item, field
from ops.cli.result import report
from ops.cli.words import t

MOST = 10_000  # flows in one list


def size(count: int) -> str:
    """Bytes in at most five characters: 512, 3.4k, 812M."""
    value = float(count)
    for unit in ("", "k", "M", "G", "T"):
        if value < 1000 or unit == "T":
            return f"{value:.0f}{unit}" if unit == "" or value >= 100 else f"{value:.1f}{unit}"
        value /= 1000
    return ""


def age(seconds: float) -> str:
    """A span in its two largest units: 42s, 3m10s, 5h02m, 12d04h."""
    whole = max(0, int(seconds))
    for unit, length, smaller, part in (("d", 86400, "h", 3600), ("h", 3600, "m", 60), ("m", 60, "s", 1)):
        if whole >= length:
            return f"{whole // length}{unit}{whole % length // part:02}{smaller}"
    return f"{whole}s"


def target_of(item: Item) -> str:
    """host:port of a record."""
    host = str(item.get("host", ""))
    return f"[{host}]:{item.get('port', 0)}" if ":" in host else f"{host}:{item.get('port', 0)}"


@click.group("flow", cls=Group, help=t("Connections that are open now."))
def group() -> None:
    """The group itself does nothing."""


@group.command("list", help=t("List the open flows."), example="feiyu flow list --tenant acme")
@click.option("--tenant", metavar="ID", help=t("Only those of this tenant."))
@click.option("--line", metavar="ID", help=t("Only those on this line."))
@click.option("--host", metavar="HOST", help=t("Only those to this host."))
@pass_app
def list_(app: App, tenant: str | None, line: str | None, host: str | None) -> None:
    """The open flows, the oldest first."""
    wanted = {"tenant": tenant, "line": line, "host": host}
    items = [
        item
        for item in app.client.get("/v1/flows", {"limit": MOST})["items"]
        if all(value is None or item.get(key) == value for key, value in wanted.items())
    ]
    now = app.now()
    columns = [
        field("FLOW", "flow"),
        field("TENANT", "tenant", wide=True),
        Column("TARGET", target_of, wide=True),
        field("LINE", "line"),
        Column("AGE", lambda item: age(now - item.get("time", 0) / 1e6), right=True),
        Column("OUT", lambda item: size(item.get("bytes_out", 0)), right=True),
        Column("IN", lambda item: size(item.get("bytes_in", 0)), right=True),
    ]
    app.rows(sorted(items, key=lambda item: item.get("time", 0)), columns, t("No flow is open."))


@group.command("show", help=t("Show one flow."), example="feiyu flow show 7F3K9Q2M4XW5T0AB")
@click.argument("flow")
@pass_app
def show(app: App, flow: str) -> None:
    """All that is recorded of an open flow."""
    item = app.client.get(path_of("flows", flow))
    app.details(item, [(key, value) for key, value in item.items() if key not in ("v", "values")])


@group.command(
    "cut",
    writes=True,
    help=t("Cut an open flow now."),
    example="feiyu flow cut 7F3K9Q2M4XW5T0AB --reason 'incident 12'",
)
@click.argument("flow")
@pass_app
def cut(app: App, flow: str) -> None:
    """Both sides are reset; the closing record says cut-by-operator."""
    report(app, app.write("POST", ["flows", flow, "cut"]), "flow", "cut", flow)

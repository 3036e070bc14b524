"""feiyu tenant: the firms."""

import rich_click as click

from ops.cli import values
from ops.cli.amounts import format_size
from ops.cli.app import App
from ops.cli.base import Group, pass_app
from ops.cli.client import Json
from ops.cli.common import changes, clearing, either, given, provenance_rows, validity
from ops.cli.consent import consent
from ops.cli.errors import CliError
from ops.cli.flow import size
from ops.cli.onboard import onboard
from ops.cli.output import Column, Item, field
from ops.cli.result import report
from ops.cli.times import format_end, format_moment
from ops.cli.words import t
from tenants.model import TenantKind

ID = values.Identifier("tenants")
KIND = click.Choice([kind.value for kind in TenantKind])


def _places(item: Item) -> list[str]:
    return [f"{p['interface']} {p['prefix']}" for p in item.get("places", [])]


COLUMNS = [
    field("ID", "id"),
    field("NAME", "name", wide=True),
    field("STATE", "state"),
    Column("UNTIL", lambda item: format_end(item.get("valid_until", 0))),
    Column("PLACES", _places, wide=True),
    field("GROUPS", "groups", wide=True),
]


def quotas(function: click.decorators.FC) -> click.decorators.FC:
    """The options for rates and quotas of a firm, over all workers."""
    for option in reversed(
        [
            click.option(
                "--tunnels-per-second", type=click.IntRange(1), metavar="N", help=t("Most new tunnels a second.")
            ),
            click.option("--bytes-per-day", type=values.SIZE, help=t("Quota of a day, both directions together.")),
            click.option("--bytes-per-month", type=values.SIZE, help=t("Quota of a month, both directions together.")),
        ]
    ):
        function = option(function)
    return function


@click.group("tenant", cls=Group, help=t("Firms and institutions that were let in."))
def group() -> None:
    """The group itself does nothing."""


@group.command("list", help=t("List the tenants."), example="feiyu tenant list --state ACTIVE")
@click.option("--state", metavar="STATE", help=t("Only those in this state."))
@pass_app
def list_(app: App, state: str | None) -> None:
    """All tenants, or those in one state."""
    items = app.items("tenants")
    app.rows(
        [i for i in items if not state or i.get("state") == state.upper()], COLUMNS, t("There are no tenants yet.")
    )


def _usage(app: App, tenant: str) -> Json:
    """What is used of the day and the month; nothing where the node does not say."""
    try:
        told = app.client.get(f"/v1/tenants/{tenant}/usage")
    except CliError:
        return {}
    return {name: told[name] for name in ("day", "day_end", "month", "month_end") if told.get(name) is not None}


def _consent(item: Item) -> str:
    found = item.get("consent")
    return f"{found['signatory']}, {format_moment(found['date'])} – {format_end(found['until'])}" if found else ""


def _usage_rows(used: Json) -> list[tuple[str, object]]:
    titles = {"day": "Used this day", "month": "Used this month"}
    return [(title, f"{size(used[name])}B") for name, title in titles.items() if name in used]


@group.command("show", help=t("Show one tenant."), example="feiyu tenant show acme")
@click.argument("tenant", type=ID)
@pass_app
def show(app: App, tenant: str) -> None:
    """One tenant with its places."""
    item = app.get_one("tenants", tenant)
    used = _usage(app, tenant)
    app.details(
        item | {"usage": used},
        [
            ("ID", item["id"]),
            ("Name", item["name"]),
            ("Name (zh)", item.get("name_zh")),
            ("Kind", item.get("kind")),
            ("Credit code", item.get("credit_code")),
            ("State", item.get("state")),
            ("From", format_moment(item.get("valid_from", 0))),
            ("Until", format_end(item.get("valid_until", 0))),
            (
                "Places",
                [
                    f"{p['site']}/{p['room']}/{p['interface']}/{p['prefix']} ({t(p['side'])})"
                    for p in item.get("places", [])
                ],
            ),
            ("Groups", item.get("groups")),
            ("Most tunnels", item.get("max_tunnels") or ""),
            ("New tunnels a second", item.get("tunnels_per_second") or ""),
            ("Bytes a day", format_size(int(item.get("bytes_per_day") or 0))),
            ("Bytes a month", format_size(int(item.get("bytes_per_month") or 0))),
            *_usage_rows(used),
            ("Consent", _consent(item)),
            *provenance_rows(item),
        ],
    )


@group.command(
    "add",
    writes=True,
    help=t("Add a tenant; it is let in at once."),
    example="feiyu tenant add acme --name 'Acme Ltd' --place lingang-a/r1/acc0/10.1.0.0/24 --for 12mo --reason 'new'",
)
@click.argument("tenant", metavar="ID")
@click.option("--name", required=True, metavar="TEXT", help=t("Name in English."))
@click.option("--name-zh", metavar="TEXT", help=t("Name in Chinese."))
@click.option("--kind", type=KIND, help=t("Why it may be a tenant."))
@click.option("--credit-code", metavar="CODE", help=t("Unified social credit code, 18 characters."))
@click.option(
    "--place", "places", multiple=True, required=True, type=values.PLACE, help=t("Where it sits; may be repeated.")
)
@click.option("--group", "groups", multiple=True, metavar="ID", help=t("A group it belongs to; may be repeated."))
@validity
@click.option("--max-tunnels", type=click.IntRange(1), metavar="N", help=t("Most tunnels at a time, over all workers."))
@quotas
@pass_app
def add(app: App, /, tenant: str, *, from_: int | None, until: int | None, for_: int | None, **fields: object) -> None:
    """A new tenant."""
    end = either(until, for_, "--until", "--for")
    body: Json = {"id": tenant, "valid_from": from_ or app.now(), "valid_until": end, **given(fields)}
    report(app, app.write("POST", ["tenants"], body), "tenant", "added")


@group.command(
    "edit",
    writes=True,
    help=t("Change what is given; lists are replaced whole."),
    example="feiyu tenant edit acme --until 2028-11-23 --reason 'contract renewed'",
)
@click.argument("tenant", type=ID)
@click.option("--name", metavar="TEXT", help=t("Name in English."))
@click.option("--name-zh", metavar="TEXT", help=t("Name in Chinese."))
@click.option("--kind", type=KIND, help=t("Why it may be a tenant."))
@click.option("--credit-code", metavar="CODE", help=t("Unified social credit code, 18 characters."))
@click.option("--place", "places", multiple=True, type=values.PLACE, help=t("Where it sits; may be repeated."))
@click.option("--group", "groups", multiple=True, metavar="ID", help=t("A group it belongs to; may be repeated."))
@validity
@click.option("--max-tunnels", type=click.IntRange(1), metavar="N", help=t("Most tunnels at a time, over all workers."))
@quotas
@clearing("name-zh", "credit-code", "groups", "max-tunnels", "tunnels-per-second", "bytes-per-day", "bytes-per-month")
@pass_app
def edit(
    app: App,
    /,
    tenant: str,
    *,
    from_: int | None,
    until: int | None,
    for_: int | None,
    clear: tuple[str, ...],
    **fields: object,
) -> None:
    """Other values for some fields of a tenant."""
    end = either(until, for_, "--until", "--for", required=False)
    body = changes({"valid_from": from_, "valid_until": end, **fields}, clear)
    report(app, app.write("PATCH", ["tenants", tenant], body), "tenant", "changed", tenant)


@group.command(
    "suspend",
    writes=True,
    help=t("Suspend a tenant: its tunnels are cut, new ones refused."),
    example="feiyu tenant suspend acme --reason 'contract breach, case 7'",
)
@click.argument("tenant", type=ID)
@pass_app
def suspend(app: App, tenant: str) -> None:
    """No access until resumed."""
    report(app, app.write("POST", ["tenants", tenant, "suspend"]), "tenant", "suspended", tenant)


@group.command(
    "resume",
    writes=True,
    help=t("Let a suspended tenant in again."),
    example="feiyu tenant resume acme --reason 'case 7 closed'",
)
@click.argument("tenant", type=ID)
@pass_app
def resume(app: App, tenant: str) -> None:
    """Access as before the suspension."""
    report(app, app.write("POST", ["tenants", tenant, "resume"]), "tenant", "resumed", tenant)


group.add_command(onboard)
group.add_command(consent)

"""feiyu grant: who may reach what, over which lines, how long."""

from pathlib import Path
from typing import Any

import rich_click as click

from ops.cli import values
from ops.cli.app import App
from ops.cli.base import Group, pass_app
from ops.cli.common import either, given, provenance_rows, validity
from ops.cli.errors import usage
from ops.cli.inspection import read_rules
from ops.cli.output import Column, Item, field
from ops.cli.result import report
from ops.cli.times import WEEKDAYS, format_end, format_moment
from ops.cli.words import t
from whitelist.model import DataGrade
from whitelist.tls_terms import TERMS, USUAL, Application, Ech, Nameless

ID = values.Identifier("grants")


def _window(item: Item) -> dict[str, Any]:
    window = item.get("window")
    return window if isinstance(window, dict) else {}


def _bare(reference: str, usual: str) -> str:
    """ "acme" for "tenant:acme"; groups and categories keep their kind."""
    return reference.removeprefix(f"{usual}:")


def hours_text(window: Item) -> str:
    """ "mon, tue 08:00-20:00", or nothing for a grant that is always in force."""
    days = window.get("weekdays") or ()
    start, end = window.get("start_minute", 0), window.get("end_minute", 1440)
    parts = [",".join(t(WEEKDAYS[day]) for day in days)] if days else []
    if (start, end) != (0, 1440):
        parts.append(f"{start // 60:02}:{start % 60:02}-{end // 60:02}:{end % 60:02}")
    offset = window.get("utc_offset_minutes", 480)
    zone = "" if offset == 480 or not parts else f" UTC{offset // 60:+d}:{abs(offset) % 60:02d}"
    return " ".join(parts) + zone


COLUMNS = [
    field("ID", "id"),
    Column("FOR", lambda item: _bare(item["subject"], "tenant"), wide=True),
    Column("REACHES", lambda item: _bare(item["object"], "service"), wide=True),
    field("LINES", "lines", wide=True),
    field("STATE", "state"),
    Column("UNTIL", lambda item: format_end(_window(item).get("valid_until", 0))),
]


@click.group("grant", cls=Group, help=t("Who may reach what, over which lines."))
def group() -> None:
    """The group itself does nothing."""


@group.command("list", help=t("List the grants."), example="feiyu grant list --tenant acme")
@click.option("--tenant", metavar="ID", help=t("Only those of this tenant itself."))
@click.option("--service", metavar="ID", help=t("Only those for this service itself."))
@click.option("--state", metavar="STATE", help=t("Only those in this state."))
@pass_app
def list_(app: App, tenant: str | None, service: str | None, state: str | None) -> None:
    """All grants, or those that match."""
    items = app.items("grants", tenant=tenant, service=service, state=state.upper() if state else None)
    app.rows(items, COLUMNS, t("There are no grants."))


def lines_text(item: Item) -> list[str]:
    """Lines in order of preference, or with their weights."""
    weights = item.get("line_weights") or []
    if not weights:
        return list(item["lines"])
    return [f"{line}:{weight}" for line, weight in zip(item["lines"], weights, strict=True)]


def terms_text(item: Item) -> str:
    """What it demands of a ClientHello beside the usual, in the words of the options."""
    found = {name: item.get(name) or getattr(USUAL, name) for name in TERMS}
    return ", ".join(f"{n.replace('_', '-')} {v}" for n, v in found.items() if v != getattr(USUAL, n))


@group.command("show", help=t("Show one grant."), example="feiyu grant show g-7k3m9q2x")
@click.argument("grant", type=ID)
@pass_app
def show(app: App, grant: str) -> None:
    """One grant with its window."""
    item = app.get_one("grants", grant)
    window = _window(item)
    app.details(
        item,
        [
            ("ID", item["id"]),
            ("State", item.get("state")),
            ("For", item["subject"]),
            ("Reaches", item["object"]),
            ("Lines", lines_text(item)),
            ("From", format_moment(window.get("valid_from", 0))),
            ("Until", format_end(window.get("valid_until", 0))),
            ("Hours", hours_text(window) or t("always")),
            ("Purpose", item.get("purpose")),
            ("Data grade", t(item.get("data_grade", ""))),
            ("TLS", terms_text(item)),
            ("Inspected", t("{count} rules", count=len(item["inspect"]["rules"])) if item.get("inspect") else ""),
            ("Countries", f"{item.get('origin_country', '')} → {item.get('destination_country') or '?'}"),
            *provenance_rows(item),
        ],
    )


@group.command(
    "add",
    writes=True,
    help=t("Grant a tenant or group a service or category; in force at once."),
    example="feiyu grant add --tenant acme --service github --line hk1 --line hk2 --for 90d --reason 'request 31'",
)
@click.option("--tenant", metavar="ID", type=values.Identifier("tenants"), help=t("The tenant it is for."))
@click.option("--group", "group_id", metavar="ID", type=values.Identifier("groups"), help=t("Or the group it is for."))
@click.option("--service", metavar="ID", type=values.Identifier("services"), help=t("The service it reaches."))
@click.option("--category", metavar="ID", type=values.Identifier("categories"), help=t("Or the category it reaches."))
@click.option(
    "--line",
    "lines",
    multiple=True,
    required=True,
    type=values.Identifier("lines"),
    help=t("A line it may use, the best first; may be repeated."),
)
@click.option(
    "--weight",
    "line_weights",
    multiple=True,
    type=click.IntRange(1, 1000),
    metavar="N",
    help=t("Share of new flows for each --line, in their order (default: strictly in order)."),
)
@validity
@click.option("--weekdays", type=values.WEEKDAYS, help=t("Only on these days: mon-fri."))
@click.option("--hours", type=values.HOURS, help=t("Only at these hours, zone time: 08:00-20:00."))
@click.option("--purpose", metavar="CLASS", help=t("Purpose class (default: internal_office)."))
@click.option(
    "--grade", type=click.Choice([g.value for g in DataGrade]), help=t("Grade of the data (default: general).")
)
@click.option(
    "--no-sni",
    type=click.Choice([n.value for n in Nameless]),
    help=t("TLS without a server name (default: usual, refused where the target is a name)."),
)
@click.option(
    "--ip-sni",
    type=click.Choice([n.value for n in Nameless]),
    help=t("TLS with the dialled address as server name (default: usual, as above)."),
)
@click.option(
    "--ech",
    type=click.Choice([e.value for e in Ech]),
    help=t("Encrypted ClientHello (default: note); refuse also refuses the GREASE of browsers."),
)
@click.option(
    "--application",
    type=click.Choice([a.value for a in Application]),
    help=t("What may be offered inside TLS, by ALPN (default: any)."),
)
@click.option(
    "--inspect",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help=t("What is allowed inside TLS: a YAML file with rules; the firm must have consented."),
)
@click.option("--origin", metavar="CC", help=t("Country the data comes from (default: CN)."))
@click.option("--to", metavar="CC", help=t("Country the data goes to."))
@click.option("--id", "identifier", metavar="ID", help=t("Its id (default: made up)."))
@pass_app
def add(
    app: App,
    /,
    *,
    tenant: str | None,
    group_id: str | None,
    service: str | None,
    category: str | None,
    lines: tuple[str, ...],
    line_weights: tuple[int, ...],
    from_: int | None,
    until: int | None,
    for_: int | None,
    weekdays: list[int] | None,
    hours: tuple[int, int] | None,
    purpose: str | None,
    grade: str | None,
    origin: str | None,
    to: str | None,
    identifier: str | None,
    inspect: Path | None,
    **terms: str | None,
) -> None:
    """A new grant."""
    if (tenant is None) == (group_id is None):
        raise usage(t("a grant is for one tenant or one group: give --tenant or --group"))
    if (service is None) == (category is None):
        raise usage(t("a grant reaches one service or one category: give --service or --category"))
    end = either(until, for_, "--until", "--for")
    start_minute, end_minute = hours or (None, None)
    window = given({"weekdays": weekdays, "start_minute": start_minute, "end_minute": end_minute})
    body = {
        "subject": f"tenant:{tenant}" if tenant else f"group:{group_id}",
        "object": f"service:{service}" if service else f"category:{category}",
        "lines": list(lines),
        "window": {"valid_from": from_ or app.now(), "valid_until": end, **window},
        **given(
            {
                "id": identifier,
                "line_weights": line_weights,
                "purpose": purpose,
                "data_grade": grade,
                **terms,
                "inspect": read_rules(inspect) if inspect else None,
                "origin_country": origin.upper() if origin else None,
                "destination_country": to.upper() if to else None,
            }
        ),
    }
    report(app, app.write("POST", ["grants"], body), "grant", "added")


def _action(name: str, done: str, help_text: str, why: str) -> None:
    @group.command(name, writes=True, help=help_text, example=f"feiyu grant {name} g-7k3m9q2x --reason '{why}'")
    @click.argument("grant", type=ID)
    @pass_app
    def action(app: App, grant: str) -> None:
        report(app, app.write("POST", ["grants", grant, name]), "grant", done, grant)


_action("revoke", "revoked", t("End a grant for good; its live tunnels are cut."), "project ended")
_action("suspend", "suspended", t("Suspend a grant; its live tunnels are cut."), "under review")
_action("resume", "resumed", t("Put a suspended grant in force again."), "review passed")

"""feiyu policy export: what the register holds, as a policy file that would change nothing."""

from pathlib import Path

import rich_click as click

from ops.cli import values
from ops.cli.app import App
from ops.cli.base import Command, pass_app
from ops.cli.client import Json
from ops.cli.evidence_files import OUT, emit
from ops.cli.words import t
from ops.policyfile.write import document
from whitelist.proposal import COLLECTIONS, Scope

_LIVE = ("EFFECTIVE", "SUSPENDED")
_SET_BY_THE_REGISTER = ("provenance", "state", "slot", "retired")


@click.command(
    "export",
    cls=Command,
    data=False,
    help=t("Write what the register holds as a policy file."),
    example="feiyu policy export --tenant acme --out acme.yaml",
)
@click.option("--tenant", type=values.Identifier("tenants"), help=t("Only this firm, its grants and their services."))
@OUT
@pass_app
def export(app: App, *, tenant: str | None, out: Path | None) -> None:
    """Lines and credentials are no part of it; what has ended is left out."""
    entries = _of_tenant(app, tenant) if tenant else {name: app.items(name) for name in COLLECTIONS}
    entries["services"] = [service for service in entries["services"] if not service.get("retired")]
    entries["grants"] = [grant for grant in entries["grants"] if grant["state"] in _LIVE]
    suspended = [grant["id"] for grant in entries["grants"] if grant["state"] == "SUSPENDED"]
    scope = Scope(tenants=(tenant,)) if tenant else Scope(zone=True)
    bare = {name: [_bare(item) for item in items] for name, items in entries.items()}
    head = f"Suspended, which a file cannot say: {', '.join(suspended)}" if suspended else ""
    emit(document(bare, scope=scope, head=head).encode(), out)


def _of_tenant(app: App, tenant: str) -> dict[str, list[Json]]:
    """The firm, its own grants, and the services, categories and groups that these name."""
    firm = app.get_one("tenants", tenant)
    grants = app.items("grants", tenant=tenant)
    things = {grant["object"] for grant in grants if grant["state"] in _LIVE}
    services = [s for s in app.items("services") if f"service:{s['id']}" in things]
    named = {name for service in services for name in service.get("categories", [])}
    categories = [c for c in app.items("categories") if f"category:{c['id']}" in things or c["id"] in named]
    groups = [g for g in app.items("groups") if g["id"] in firm.get("groups", [])]
    return {
        "groups": groups,
        "categories": categories,
        "tenants": [firm],
        "services": services,
        "grants": grants,
        "denies": [],
    }


def _bare(item: Json) -> Json:
    return {name: value for name, value in item.items() if name not in _SET_BY_THE_REGISTER}

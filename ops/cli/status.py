"""feiyu status: the node on one screen."""

from typing import Any

import rich_click as click

from ops.cli import output
from ops.cli.app import App
from ops.cli.base import Command, pass_app
from ops.cli.flow import age
from ops.cli.words import t


@click.command("status", cls=Command, help=t("Show the node on one screen."), example="feiyu status")
@pass_app
def status(app: App) -> None:
    """What control and the hub know; exit 5 if control does not answer."""
    facts = app.client.get("/v1/status")
    if app.format == "csv":
        app.details(facts, rows(facts, app.now()))
    else:
        app.show(facts, lambda: output.print_details(rows(facts, app.now())))


def rows(facts: dict[str, Any], now: int) -> list[tuple[str, object]]:
    """The screen's lines; what the node does not say is left out."""
    live = facts.get("hub") if isinstance(facts.get("hub"), dict) else facts
    assert live is not None
    workers = [peer for peer in live.get("subscribers", []) if peer.get("role") == "worker"]
    lines = live.get("lines") or {}
    states = [f"{name} {t(str(s.get('state') if isinstance(s, dict) else s))}" for name, s in sorted(lines.items())]
    known: list[tuple[str, object]] = [
        ("Node", facts.get("node")),
        ("Version", facts.get("version")),
        ("Revision", facts.get("revision")),
        ("Enforced", live.get("revision") if live is not facts else None),
        ("Workers", [f"{peer['name']} ({peer.get('pid')})" for peer in workers] or t("none")),
        ("Lines", states or t("none")),
        ("Kills", [f"{kill.get('scope')} {kill.get('value', '')}" for kill in live.get("kills") or []]),
    ]
    if isinstance(facts.get("started"), int):
        known.append(("Up for", age(now - facts["started"])))
    shown = {"node", "version", "revision", "hub", "lines", "kills", "subscribers", "started", "seq", "persisted"}
    rest = [(key.replace("_", " ").capitalize(), value) for key, value in facts.items() if key not in shown]
    return [*known, *rest]

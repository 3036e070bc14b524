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
    live = facts.get("live") or {}
    workers = [peer for peer in live.get("subscribers", []) if peer.get("role") == "worker"]
    lines = [f"{name} {t(state_word(state))}" for name, state in sorted((facts.get("lines") or {}).items())]
    started = live.get("started")
    return [
        ("Node", facts.get("node")),
        ("Up for", age(now - started) if isinstance(started, int | float) else None),
        ("Revision", facts.get("revision")),
        ("Enforced", live.get("revision")),
        ("Workers", [_worker(peer) for peer in workers] or t("none")),
        ("Lines", lines or t("none")),
        ("Kills", [f"{kill.get('scope')} {kill.get('value', '')}".strip() for kill in facts.get("kills") or []]),
        ("Register", _health(facts.get("register"))),
        ("Hub", _health(facts.get("hub"))),
        ("Recorder", _health(facts.get("recorder"))),
        ("Streams", streams(facts.get("streams"))),
        ("Trouble", facts.get("trouble")),
    ]


def streams(part: object) -> object:
    """Each sink and how far behind it is; why not, where nobody says."""
    if not isinstance(part, dict):
        return None
    if not part.get("sinks"):
        return t("none") if part.get("ok") else _health(part)
    return [_sink(sink) for sink in part["sinks"]]


def _sink(sink: dict[str, Any]) -> str:
    behind, seconds = int(sink.get("lag_records", 0)), int(sink.get("lag_seconds", 0))
    said = t("{count} records behind, the oldest {age}", count=behind, age=age(seconds)) if behind else t("up to date")
    if dead := sink.get("dead_letters"):
        said += t(", {count} dead letters", count=dead)
    fault = f"; {t('fail')}: {sink['fault']}" if sink.get("fault") else ""
    return f"{sink.get('name')} ({sink.get('kind')}) {said}{fault}"


def state_word(state: object) -> str:
    """A line's state, which may come with details."""
    return str(state.get("state", "unknown") if isinstance(state, dict) else state)


def _worker(peer: dict[str, Any]) -> str:
    return f"{peer.get('name')} (pid {peer.get('pid')}){'' if peer.get('synced', True) else t(', not in step')}"


def _health(part: object) -> str:
    """ok, or why not and what to do."""
    if not isinstance(part, dict):
        return ""
    if part.get("ok"):
        return t("ok")
    return f"{t('fail')}: {part.get('why', '')}" + (f" → {part['remedy']}" if part.get("remedy") else "")

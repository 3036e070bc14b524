"""feiyu explain: why something passes or not, and what would have to change."""

from pathlib import Path
from typing import Any

import rich_click as click
from click.exceptions import Exit

from ops.cli import output, values
from ops.cli.app import App
from ops.cli.base import Command, pass_app
from ops.cli.client import Json
from ops.cli.errors import CliError, ExitCode, usage
from ops.cli.flow import target_of
from ops.cli.log import clock
from ops.cli.policy_files import FILE, asked, read, wish
from ops.cli.times import format_end, format_moment
from ops.cli.words import current, t


@click.command(
    "explain",
    cls=Command,
    help=t("Say which grant lets a tenant through, or why not and what would have to change."),
    example="feiyu explain acme github.com:443",
)
@click.argument("tenant", required=False, type=values.Identifier("tenants"))
@click.argument("target", required=False, metavar="HOST[:PORT]")
@click.option("--ref", metavar="REF", help=t("Explain this refusal instead."))
@click.option("--access", type=click.Choice(["tunnel", "http"]), help=t("How it is asked for (default: tunnel)."))
@click.option("--source", type=values.ADDRESS, help=t("The address it comes from (default: one of the tenant's)."))
@click.option("--at", type=values.FROM, help=t("The moment (default: now); a past one is asked of the policy of then."))
@click.option(
    "--policy", type=FILE, multiple=True, help=t("Ask the policy as this file would make it; may be repeated.")
)
@pass_app
def explain(
    app: App,
    tenant: str | None,
    target: str | None,
    *,
    ref: str | None,
    access: str | None,
    source: str | None,
    at: int | None,
    policy: tuple[Path, ...],
) -> None:
    """Exit 0 for what passes, 1 for what does not."""
    if ref and (tenant or target or policy):
        raise usage(t("--ref stands for tenant and host: give one or the other"))
    if ref:
        query: dict[str, object] = {"ref": ref}
    elif tenant and target:
        query = {"tenant": tenant, "target": target, "access": access, "source": source, "at": at}
    else:
        raise usage(t("say whom and what: feiyu explain TENANT HOST[:PORT], or --ref REF"))
    try:
        if policy:
            files = read(policy, (), None, None)
            answer = asked(app, "/v1/explain", wish(files), files, query=query)
        else:
            answer = app.client.get("/v1/explain", query)
    except CliError as error:
        raise (app.suggest(error, "tenants", tenant) if tenant else error) from None
    if app.format == "csv":
        app.details(answer, [("But now", _but_now(answer)), *rows(answer)])
    else:
        app.show(answer, lambda: _tell(answer))
    raise Exit(ExitCode.YES if permitted(answer) else ExitCode.NO)


def permitted(answer: Json) -> bool:
    """Whether the answer is a permit."""
    return bool((answer.get("verdict") or {}).get("decision") == "permit")


def _tell(answer: Json) -> None:
    """The verdict in one line, then what it rests on, then what would have to change."""
    verdict = answer.get("verdict") or {}
    output.print_text(
        output.styled("permit" if permitted(answer) else "deny"),
        *([str(verdict["reason"])] if verdict.get("reason") else []),
        _said(answer.get("text")),
    )
    if now := _but_now(answer):
        output.print_text(t("but now:"), output.styled("deny"), now)
    output.print_details(rows(answer))


def _but_now(answer: Json) -> str:
    """Why a permit would be refused at this moment all the same: its reason and the words for it."""
    now = answer.get("but_now") or {}
    return f"{now['reason']} {_said(now.get('text'))}" if now else ""


def rows(answer: Json) -> list[tuple[str, object]]:
    """What was asked, what decided, what was considered and what would have to change."""
    verdict, record = answer.get("verdict") or {}, answer.get("record") or {}
    current_policy = answer.get("with_current_policy") or {}
    protocol = verdict.get("protocol")
    candidates = [_candidate(entry) for entry in answer.get("candidates") or []]
    return [
        ("Reference", answer.get("ref")),
        ("Refused at", clock(record)),
        ("Asked", _asked(answer) if answer.get("target") else _recorded(record)),
        ("Moment", format_moment(answer.get("at", 0))),
        ("Grant", verdict.get("grant")),
        ("Service", verdict.get("service")),
        ("Endpoint", f"{verdict.get('endpoint')} ({protocol})" if protocol else None),
        ("Lines", verdict.get("lines")),
        ("Ends", format_end(verdict.get("not_after", 0))),
        ("Rule", verdict.get("rule")),
        ("Detail", verdict.get("detail")),
        ("Revision", answer.get("revision") or verdict.get("revision")),
        ("Policy", answer.get("policy")),
        ("Today's policy", _today(current_policy) if current_policy else None),
        ("Considered", candidates if not permitted(answer) or len(candidates) > 1 else None),
        ("Left open", [_said(entry) for entry in answer.get("left_open") or []]),
        ("Not known", [_said(entry) for entry in answer.get("not_known") or []]),
        ("To change", [_said(entry) for entry in answer.get("would_have_to_change") or []]),
    ]


def _said(words: Any) -> str:
    """A text in the language in use."""
    return str(words.get(current()) or words.get("en") or "") if isinstance(words, dict) else str(words or "")


def _asked(answer: Json) -> str:
    source = str(answer.get("source") or "")
    where = f" ({answer['interface']})" if answer.get("interface") else ""
    assumed = t(", assumed") if answer.get("source_assumed") else ""
    origin = t(" from {source}", source=f"{source}{where}{assumed}") if source else ""
    return f"{answer.get('tenant')} → {answer.get('target')} ({answer.get('access')}){origin}"


def _recorded(record: Json) -> str:
    who = record.get("tenant") or t("a stranger")
    what = target_of(record) if record.get("host") else ""
    origin = t(" from {source}", source=record["client_ip"]) if record.get("client_ip") else ""
    return f"{who} → {what or '?'} ({record.get('method') or '?'}){origin}"


def _today(answer: Json) -> str:
    verdict = answer.get("verdict") or {}
    if not verdict:
        return str(answer.get("unavailable") or "")
    return f"{t(str(verdict.get('decision')))} {verdict.get('reason') or verdict.get('grant') or ''}".strip()


def _candidate(entry: Json) -> str:
    grant = t("grant {id}", id=entry["grant"]) if entry.get("grant") else t("no grant")
    verdict = t("fits") if entry.get("fits") else str(entry.get("why_not", ""))
    return f"{grant}, {entry.get('service')} {entry.get('protocol')}://{entry.get('endpoint')}: {verdict}"

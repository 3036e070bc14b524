"""feiyu explain: why something passes or not, and what would have to change."""

import rich_click as click
from click.exceptions import Exit

from ops.cli import output, values
from ops.cli.app import App
from ops.cli.base import Command, pass_app
from ops.cli.client import Json
from ops.cli.errors import ExitCode, usage
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
@click.option("--at", type=values.FROM, help=t("The moment (default: now)."))
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
) -> None:
    """Exit 0 for what passes, 1 for what does not."""
    if ref and (tenant or target):
        raise usage(t("--ref stands for tenant and host: give one or the other"))
    if ref:
        query: dict[str, object] = {"ref": ref}
    elif tenant and target:
        query = {"tenant": tenant, "target": target, "access": access, "source": source, "at": at}
    else:
        raise usage(t("say whom and what: feiyu explain TENANT HOST[:PORT], or --ref REF"))
    answer = app.client.get("/v1/explain", query)
    app.show(answer, lambda: _tell(answer))
    raise Exit(ExitCode.YES if permitted(answer) else ExitCode.NO)


def permitted(answer: Json) -> bool:
    """Whether the answer is a permit."""
    verdict = answer.get("verdict")
    if isinstance(verdict, dict):
        return verdict.get("decision") == "permit" or bool(verdict.get("permit"))
    return verdict == "permit"


def _tell(answer: Json) -> None:
    """The verdict, in words first and details behind them."""
    text = answer.get("text") or {}
    verdict = answer.get("verdict")
    rows = list(verdict.items()) if isinstance(verdict, dict) else [("verdict", verdict)]
    head = output.styled("permit" if permitted(answer) else "deny")
    output.print_text(head, str(text.get(current()) or text.get("en") or ""))
    output.print_details([(key.replace("_", " ").capitalize(), value) for key, value in rows])

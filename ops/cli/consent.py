"""feiyu tenant consent: a firm's written consent to inspection, as it is on file."""

import hashlib
from pathlib import Path

import rich_click as click

from ops.cli import values
from ops.cli.app import App
from ops.cli.base import Command, pass_app
from ops.cli.common import either
from ops.cli.errors import usage
from ops.cli.result import report
from ops.cli.words import t


@click.command(
    "consent",
    cls=Command,
    writes=True,
    example="feiyu tenant consent acme --sha256 " + "0f" * 32 + " --signatory 'Legal representative' --for 12mo "
    "--reason 'consent 3'",
    help=t("Put a firm's written consent to inspection on file, or take it back; in force at once."),
)
@click.argument("tenant", type=values.Identifier("tenants"))
@click.option(
    "--document",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help=t("The signed document; only its SHA-256 is kept."),
)
@click.option("--sha256", metavar="HEX", help=t("Or its SHA-256."))
@click.option("--signatory", metavar="TEXT", help=t("Who signed it."))
@click.option("--date", type=values.FROM, help=t("When it was signed (default: now)."))
@click.option("--until", type=values.UNTIL, help=t("End: a date (that day included), a time, or a duration."))
@click.option("--for", "for_", type=values.FOR, help=t("End, as a duration from now: 90d, 12mo."))
@click.option(
    "--withdraw", is_flag=True, help=t("The consent is taken back: what is inspected is refused from now on.")
)
@pass_app
def consent(
    app: App, /, tenant: str, *, document: Path | None, sha256: str | None, signatory: str | None, date: int | None,
    until: int | None, for_: int | None, withdraw: bool,
) -> None:  # fmt: skip
    """One consent at a time: a new one takes the place of the old."""
    if withdraw:
        if document or sha256 or signatory:
            raise usage(t("--withdraw stands alone"))
        body: dict[str, object] = {"consent": None}
    else:
        if (document is None) == (sha256 is None) or not signatory:
            raise usage(t("a consent needs --signatory, and --document or --sha256"))
        digest = hashlib.sha256(document.read_bytes()).hexdigest() if document is not None else sha256
        end = either(until, for_, "--until", "--for")
        start = app.now() if date is None else date
        body = {"consent": {"document_sha256": digest, "signatory": signatory, "date": start, "until": end}}
    report(app, app.write("PATCH", ["tenants", tenant], body), "tenant", "changed", tenant)

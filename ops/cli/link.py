"""feiyu link: the firm's side, as it also is by itself in the file that `feiyu link bundle` writes."""

import hashlib
from pathlib import Path

import rich_click as click

from ops.cli import output
from ops.cli.app import App
from ops.cli.base import Group, pass_app
from ops.cli.errors import CliError, ExitCode
from ops.cli.words import current, t
from ops.link import archive
from ops.link.files import LISTEN, PORTAL
from ops.link.main import main

DIRECTORY = click.option(
    "--dir", "directory", metavar="DIR", help=t("Where the link keeps key, certificate and settings.")
)
AS_JSON = click.option("--json", "as_json", is_flag=True, help=t("As JSON."))


@click.group("link", cls=Group, help=t("Forwarder of a firm's machine: certificate, local proxy, refusals."))
def group() -> None:
    """The group itself does nothing."""


@group.command(
    "enrol",
    help=t("Enrol this machine with an invite's token, which is asked for."),
    example=f"feiyu link enrol --gateway gw1.zone.example:3129 --ca {'0a' * 32}",
    data=False,
)
@click.option("--gateway", "gateways", multiple=True, required=True, metavar="HOST:PORT", help=t("May be repeated."))
@click.option("--ca", required=True, metavar="SHA256", help=t("Fingerprint of the zone's root CA."))
@click.option("--token-file", metavar="FILE", help=t("Where the token is; - for stdin."))
@click.option("--portal", default=PORTAL, metavar="NAME", help=t("Name of the firm's own page."))
@click.option("--listen", default=LISTEN, metavar="ADDRESS:PORT", help=t("Where programs find the link."))
@click.option("--listen-anywhere", is_flag=True, help=t("Let other machines in as this one."))
@click.option("--local-token", is_flag=True, help=t("Demand a password of this machine's programs."))
@click.option("--again", is_flag=True, help=t("Enrol a machine anew that is enrolled."))
@DIRECTORY
def enrol(
    *, gateways: tuple[str, ...], ca: str, token_file: str | None, portal: str, listen: str, listen_anywhere: bool,
    local_token: bool, again: bool, directory: str | None,
) -> int:  # fmt: skip
    """The gateway must show the root with this fingerprint before anything is sent."""
    words = [word for gateway in gateways for word in ("--gateway", gateway)]
    words += ["--ca", ca, "--portal", portal, "--listen", listen]
    words += ["--token-file", token_file] if token_file else []
    flags = (("--listen-anywhere", listen_anywhere), ("--local-token", local_token), ("--again", again))
    return _link("enrol", directory, *words, *(name for name, given in flags if given))


@group.command("run", help=t("Serve as a proxy on this machine, until stopped."), example="feiyu link run", data=False)
@DIRECTORY
def run(*, directory: str | None) -> int:
    """Renews the certificate by itself."""
    return _link("run", directory)


@group.command("status", help=t("Show who this machine is, and until when."), example="feiyu link status", data=False)
@DIRECTORY
@AS_JSON
def status(*, directory: str | None, as_json: bool) -> int:
    """Exit status 1: it does not run, or its certificate has expired."""
    return _link("status", directory, *(["--json"] if as_json else []))


@group.command(
    "denials", help=t("Show the firm's last refusals in plain words."), example="feiyu link denials", data=False
)
@DIRECTORY
@AS_JSON
@click.option("--mine", is_flag=True, help=t("Of this machine alone."))
def denials(*, directory: str | None, as_json: bool, mine: bool) -> int:
    """As the firm's own page shows them."""
    flags = (("--json", as_json), ("--mine", mine))
    return _link("denials", directory, *(name for name, given in flags if given))


@group.command(
    "doctor",
    help=t("Look at everything between this machine and the gateways."),
    example="feiyu link doctor",
    data=False,
)
@DIRECTORY
@AS_JSON
def doctor(*, directory: str | None, as_json: bool) -> int:
    """Exit status 1: something is wrong."""
    return _link("doctor", directory, *(["--json"] if as_json else []))


@group.command(
    "bundle",
    help=t("Write the link as one file for firms' machines, which need Python 3.11 and cryptography."),
    example="feiyu link bundle --out /srv/feiyu-link.pyz",
)
@click.option("--out", default=archive.NAME, type=click.Path(dir_okay=False, path_type=Path), help=t("Where it goes."))
@pass_app
def bundle(app: App, *, out: Path) -> None:
    """The same code makes the same bytes."""
    try:
        archive.write(out)
        digest = hashlib.sha256(out.read_bytes()).hexdigest()
    except OSError as error:
        why = error.strerror or str(error)
        raise CliError(ExitCode.NO, t("{path} cannot be made: {why}", path=str(out), why=why)) from None
    told = {"path": str(out), "sha256": digest}
    app.show(told, lambda: output.write(f"{digest}  {out}"))


def _link(command: str, directory: str | None, *words: str) -> int:
    return main([command, "--lang", current(), *(["--dir", directory] if directory else []), *words])

"""feiyu ca: the zone's certificate authority. init and rotate work on the files of this node; crl asks control."""

from collections.abc import Callable
from pathlib import Path

import rich_click as click
from cryptography import x509

from ops import ca as node_ca
from ops.cli import output
from ops.cli.app import App
from ops.cli.base import Group, pass_app
from ops.cli.client import path_of
from ops.cli.configuration import load
from ops.cli.errors import CliError, ExitCode
from ops.cli.words import t
from tenants import ca
from tenants.ca import CaError

ROOT = click.Path(file_okay=False, path_type=Path)
NAMES = t("What clients know the gateway by; may be repeated.")


@click.group("ca", cls=Group, help=t("The zone's certificate authority."))
def group() -> None:
    """The group itself does nothing."""


@group.command(
    "init",
    help=t("Make the zone's CA: a root to take away, an issuing CA, a certificate for the listeners."),
    example="feiyu ca init --root /media/safe/feiyu-root --name gw1.zone.example --name 10.0.0.1",
)
@click.option("--root", required=True, type=ROOT, metavar="DIR", help=t("Where the root's key is; not on the node."))
@click.option("--zone", metavar="DOMAIN", help=t("The zone's domain (default: that of the node's name)."))
@click.option("--name", "names", multiple=True, metavar="HOST|ADDRESS", help=NAMES)
@pass_app
def init(app: App, root: Path, zone: str | None, names: tuple[str, ...]) -> None:
    """A CA where there is none."""
    settings, files = _files(app)
    made = _done(
        lambda: files.make(root, zone or node_ca.zone_of(settings), names or (settings,), app.now()), files.directory
    )
    _told(app, {"root": str(root), "root_sha256": ca.fingerprint(made), "directory": str(files.directory)})
    app.say(t("Take {root} off this node now, and keep it where two people are needed to get it.", root=str(root)))


@group.command(
    "rotate",
    help=t("Make a new issuing CA with --root; without it, a new certificate for the listeners."),
    example="feiyu ca rotate --root /media/safe/feiyu-root",
)
@click.option("--root", type=ROOT, metavar="DIR", help=t("Where the root's key is; not on the node."))
@click.option("--name", "names", multiple=True, metavar="HOST|ADDRESS", help=NAMES)
@click.option("--distrust", is_flag=True, help=t("Take no certificate any more that the old issuing CA signed."))
@pass_app
def rotate(app: App, root: Path | None, names: tuple[str, ...], *, distrust: bool) -> None:
    """Workers take new files by themselves, within a second and without a lost connection."""
    _, files = _files(app)
    told = {"directory": str(files.directory)}
    if root is not None:
        issuing = _done(lambda: files.rotate(root, app.now(), distrust=distrust), root)
        told["issuing_sha256"] = ca.fingerprint(issuing)
    server = _done(lambda: files.serve(names, app.now()), files.directory)
    told["server_sha256"] = ca.fingerprint(server)
    told["server_until"] = f"{server.not_valid_after_utc:%Y-%m-%dT%H:%M:%SZ}"
    _told(app, told)


@group.command(
    "crl",
    help=t("Print the revocation lists in PEM, for those who cannot ask the register."),
    example="feiyu ca crl",
    data=False,
)
@pass_app
def crl(app: App) -> None:
    """The gateway itself does not need them: it looks a certificate up with every connection."""
    output.write("\n".join(app.client.stream(path_of("ca", "crl"))))


def _files(app: App) -> tuple[str, node_ca.CaFiles]:
    settings = load(app.config_path)
    return settings.node, node_ca.CaFiles(Path(settings.state_dir) / "ca", int(settings.ca.client_life))


def _done(work: Callable[[], x509.Certificate], path: Path) -> x509.Certificate:
    try:
        return work()
    except CaError as error:
        raise CliError(ExitCode.NO, str(error)) from None
    except OSError as error:
        code = ExitCode.FORBIDDEN if isinstance(error, PermissionError) else ExitCode.NO
        why = error.strerror or str(error)
        raise CliError(
            code,
            t("{path} cannot be used: {why}", path=str(error.filename or path), why=why),
            t("Run as root on the node; --root is the directory that feiyu ca init made."),
        ) from None


def _told(app: App, told: dict[str, str]) -> None:
    names = {
        "root": t("Root"), "root_sha256": t("Root's SHA-256"), "directory": t("Directory"),
        "issuing_sha256": t("Issuing CA's SHA-256"), "server_sha256": t("Listeners' SHA-256"),
        "server_until": t("Listeners' until"),
    }  # fmt: skip
    app.details(told, [(names[key], value) for key, value in told.items()])

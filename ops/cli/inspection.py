"""feiyu inspection: what a firm's programs trust where grants let inspect. Works on files of this node."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import rich_click as click
import yaml

from ops import inspection
from ops.cli import values
from ops.cli.app import App
from ops.cli.base import Group, pass_app
from ops.cli.configuration import load
from ops.cli.errors import CliError, ExitCode, usage
from ops.cli.words import t
from tenants import ca
from tenants.ca import DAY, Authority, CaError

TENANT = values.Identifier("tenants")
ROOT = click.Path(file_okay=False, path_type=Path)
WHERE = t("Where the firm's root is; not on the node.")


@click.group("inspection", cls=Group, help=t("What firms' programs trust where grants let inspect."))
def group() -> None:
    """The group itself does nothing."""


@group.command(
    "init",
    help=t("Make a firm's root of inspection, to take away; its certificate is for the firm's machines."),
    example="feiyu inspection init acme --root /media/safe/acme-inspection",
)
@click.argument("tenant", type=TENANT)
@click.option("--root", required=True, type=ROOT, metavar="DIR", help=WHERE)
@pass_app
def init(app: App, tenant: str, root: Path) -> None:
    """A root where there is none."""
    state = Path(load(app.config_path).state_dir)
    app.get_one("tenants", tenant)
    made = _done(lambda: inspection.make_root(root, tenant, state), root)
    told = {"root": str(root), "root_sha256": ca.fingerprint(made.certificate)}
    app.details(told, [(t("Root"), told["root"]), (t("Root's SHA-256"), told["root_sha256"])])
    app.say(t("Take {root} off this node now, and keep it where two people are needed to get it.", root=str(root)))


@group.command(
    "renew",
    help=t("Make a firm's intermediate anew, for the hosts that its grants let inspect now; in force at once."),
    example="feiyu inspection renew acme --root /media/safe/acme-inspection",
)
@click.argument("tenant", type=TENANT)
@click.option("--root", required=True, type=ROOT, metavar="DIR", help=WHERE)
@click.option("--days", type=click.IntRange(1, 90), default=30, help=t("How long it is good (default: 30)."))
@pass_app
def renew(app: App, tenant: str, root: Path, days: int) -> None:
    """Without a new host it need not be made before it ends."""
    authorities = Path(load(app.config_path).state_dir) / "inspection"
    hosts = inspection.inspected_hosts(app.get_one("tenants", tenant), app.items("grants"), app.items("services"))
    made = _done(lambda: inspection.issue(root, tenant, hosts, authorities, days * DAY), root)
    until = f"{made.certificate.not_valid_after_utc:%Y-%m-%dT%H:%M:%SZ}"
    told: dict[str, Any] = {"tenant": tenant, "hosts": hosts, "until": until}
    app.details(told, [("Tenant", tenant), ("Hosts", hosts), ("Until", until)])


def read_rules(path: Path) -> dict[str, Any]:
    """The inspect part of a grant from a YAML file. Errors: usage, where it is none."""
    try:
        found = yaml.safe_load(path.read_text("utf-8"))
        roots = found.get("roots", "") if isinstance(found, dict) else ""
        if isinstance(roots, str) and roots.startswith("/"):
            found["roots"] = Path(roots).read_text("ascii")
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        why = getattr(error, "strerror", None) or str(error).splitlines()[0]
        raise usage(t("{path} cannot be used: {why}", path=str(path), why=why)) from None
    if not isinstance(found, dict):
        raise usage(t("{path} cannot be used: {why}", path=str(path), why=t("it has no rules")))
    return found


def _done(work: Callable[[], Authority], path: Path) -> Authority:
    try:
        return work()
    except CaError as error:
        raise CliError(ExitCode.NO, str(error)) from None
    except OSError as error:
        code = ExitCode.FORBIDDEN if isinstance(error, PermissionError) else ExitCode.NO
        why = error.strerror or str(error)
        raise CliError(code, t("{path} cannot be used: {why}", path=str(error.filename or path), why=why)) from None

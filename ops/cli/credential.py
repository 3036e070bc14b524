"""feiyu credential: what a tenant's user identifies with."""

import sys
from pathlib import Path
from typing import TextIO

import rich_click as click

from ops.cli import invitation, output, values
from ops.cli.app import App
from ops.cli.base import Group, pass_app
from ops.cli.client import Json, path_of
from ops.cli.common import either
from ops.cli.configuration import load
from ops.cli.errors import CliError, usage
from ops.cli.output import Column, Item, field
from ops.cli.result import enforcement, report
from ops.cli.times import format_end
from ops.cli.words import t

ID = values.Identifier("credentials")
ISSUED = [field("ID", "id"), field("TENANT", "tenant"), field("USER", "user"), field("TOKEN", "token")]

INVITED = [
    field("ID", "id"), field("TENANT", "tenant"), field("USER", "user"), field("TOKEN", "token"),
    field("ROOT SHA256", "root_sha256"), field("COMMAND", "command"),
]  # fmt: skip
CERTIFIED = [field("ID", "id"), field("TENANT", "tenant"), field("USER", "user"), field("CERTIFICATE", "certificate")]


def _state(item: Item, now: int) -> str:
    if item.get("revoked"):
        return t("revoked")
    if item.get("used"):
        return t("used")
    return t("expired") if item.get("valid_until", 0) <= now else t("valid")


def _kind(item: Item) -> str:
    if item.get("invite"):
        return t("invite")
    return t("certificate") if item.get("serial") else t("token")


@click.group("credential", cls=Group, help=t("Credentials of tenants' users."))
def group() -> None:
    """The group itself does nothing."""


@group.command("list", help=t("List the credentials; tokens are not kept."), example="feiyu credential list acme")
@click.argument("tenant", required=False, type=values.Identifier("tenants"))
@pass_app
def list_(app: App, tenant: str | None) -> None:
    """All credentials, or a tenant's."""
    items = app.items("credentials", tenant=tenant)
    now = app.now()
    columns = [
        field("ID", "id"),
        field("TENANT", "tenant", wide=True),
        field("USER", "user", wide=True),
        Column("STATE", lambda item: _state(item, now)),
        Column("UNTIL", lambda item: format_end(item.get("valid_until", 0))),
        Column("KIND", _kind),
    ]
    app.rows(items, columns, t("There are no credentials."))


@group.command(
    "issue",
    writes=True,
    help=t("Issue a credential; its token is shown once."),
    example="feiyu credential issue acme --user build-server --for 90d --reason 'request 31'",
)
@click.argument("tenant", type=values.Identifier("tenants"))
@click.option("--user", required=True, metavar="LABEL", help=t("Label of its user; records show a pseudonym of it."))
@click.option("--until", type=values.UNTIL, help=t("End: a date (that day included), a time, or a duration."))
@click.option("--for", "for_", type=values.FOR, help=t("End, as a duration from now: 90d, 12mo."))
@click.option("--certificate", is_flag=True, help=t("Issue a certificate for the request in --csr instead of a token."))
@click.option(
    "--csr", type=click.File("r"), metavar="FILE", help=t("Certificate request or public key in PEM; - for stdin.")
)
@click.option("--out", type=click.Path(dir_okay=False), help=t("Where the certificate goes (default: stdout)."))
@pass_app
def issue(
    app: App, tenant: str, *, user: str, until: int | None, for_: int | None, certificate: bool,
    csr: TextIO | None, out: str | None,
) -> None:  # fmt: skip
    """A new credential. The token is in the answer and nowhere else."""
    if certificate != (csr is not None) or (out and not certificate):
        raise usage(
            t("--certificate needs --csr, and --csr and --out need --certificate"),
            t("The key is made where it is used and never leaves that place: openssl req -new makes a request."),
        )
    end = either(until, for_, "--until", "--for", required=not certificate)
    if csr is not None:
        body = {"tenant": tenant, "user": user, "valid_until": end, "request": csr.read()}
        _certified(app, app.write("POST", ["credentials"], body), out)
        return
    answer = app.write("POST", ["credentials"], {"tenant": tenant, "user": user, "valid_until": end})
    if app.format == "csv":
        app.rows([{**(answer.get("credential") or {}), "token": answer.get("token")}], ISSUED)
        return
    if app.format != "table":
        report(app, answer, "credential", "issued")
        return
    report(app, {key: value for key, value in answer.items() if key != "token"}, "credential", "issued")
    _hand_over(app, answer)


def _certified(app: App, answer: Json, out: str | None) -> None:
    """The certificate: into a file, or as the data of the command; what is said of it then goes to stderr."""
    certificate = str(answer.get("certificate", ""))
    if app.format == "csv":
        app.rows([{**(answer.get("credential") or {}), "certificate": certificate}], CERTIFIED)
    elif app.format != "table":
        report(app, answer, "credential", "issued")
    if out:
        Path(out).write_text(certificate)
    if app.format != "table":
        return
    if out:
        report(app, answer, "credential", "issued")
        return
    output.write(certificate.rstrip())
    item = answer.get("credential") or {}
    app.say(f"{t('credential')} {item.get('id')} {t('issued')} · {enforcement(answer)}")


def _hand_over(app: App, answer: Json) -> None:
    """The token and how to use it. It is put in a file, because arguments of a process are seen by all."""
    identifier = str((answer.get("credential") or answer.get("item") or {}).get("id", ""))
    proxy = _proxy_address(app)
    output.print_details([("User", identifier), ("Token", answer.get("token")), ("Proxy", f"http://{proxy}")])
    app.say("")
    app.say(t("The token is not kept and cannot be shown again. Put it in a file that only its user can read:"))
    write_out = [
        "  umask 077; cat > ~/.feiyu-proxy <<'END'",
        f'  proxy = "http://{proxy}"',
        f'  proxy-user = "{identifier}:{answer.get("token")}"',
        "  END",
        "  curl -K ~/.feiyu-proxy https://…",
    ]
    app.say("\n".join(write_out))
    sys.stderr.flush()


def _proxy_address(app: App) -> str:
    """The first plain listener of this node's configuration, if it can be read."""
    try:
        listeners = load(app.config_path).listeners
    except CliError:
        listeners = ()
    return next((listener.address for listener in listeners if listener.kind == "plain"), "GATEWAY:3128")


@group.command(
    "invite",
    writes=True,
    help=t("Invite one machine of a tenant to enrol with feiyu link; its token is shown once."),
    example="feiyu credential invite acme --user build-server --for 24h --reason 'request 31'",
)
@click.argument("tenant", type=values.Identifier("tenants"))
@click.option("--user", required=True, metavar="LABEL", help=t("Label of its user; records show a pseudonym of it."))
@click.option("--for", "for_", type=values.FOR, default="24h", help=t("How long the token is good (default: 24h)."))
@pass_app
def invite(app: App, tenant: str, *, user: str, for_: int) -> None:
    """The token is good once. The firm gets it by another way than the command, which holds no secret."""
    body = {"tenant": tenant, "user": user, "valid_until": for_, "invite": True}
    answer = app.write("POST", ["credentials"], body)
    ways = app.client.get(path_of("tenants", tenant, "ways")).get("ways", [])
    gateways = [
        f"{way['host']}:{way['port']}" for way in ways if way["certificate"] and way["url"].startswith("https:")
    ]
    answer |= {"command": invitation.command(gateways, str(answer.get("root_sha256", "")))}
    if app.format == "csv":
        item = answer.get("credential") or {}
        app.rows([{**item, **{name: answer[name] for name in ("token", "root_sha256", "command")}}], INVITED)
        return
    report(app, {k: v for k, v in answer.items() if k != "token"} if app.format == "table" else answer,
           "invite", "issued")  # fmt: skip
    if app.format == "table":
        invitation.hand_over(app, answer, has_way=bool(gateways))


@group.command(
    "revoke",
    writes=True,
    help=t("Revoke a credential, and what was enrolled or renewed with it; live tunnels are cut."),
    example="feiyu credential revoke c-7k3m9q2x --reason 'laptop lost'",
)
@click.argument("credential", type=ID)
@pass_app
def revoke(app: App, credential: str) -> None:
    """The credential identifies nobody from now on."""
    report(app, app.write("POST", ["credentials", credential, "revoke"]), "credential", "revoked", credential)

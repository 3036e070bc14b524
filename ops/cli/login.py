"""feiyu login, logout, whoami: who I am to this node."""

import rich_click as click

from ops.cli import keyfile, logged_in, output
from ops.cli.app import App
from ops.cli.base import Command, pass_app
from ops.cli.client import Json
from ops.cli.errors import CliError, ExitCode
from ops.cli.secret import CODE, PASSPHRASE, PASSWORD, can_ask, from_file, secret
from ops.cli.words import t
from tenants.factor import setting_text


@click.command(
    "login",
    cls=Command,
    help=t("Log in; the first time, make your key and set password and code."),
    example="feiyu login alice",
)
@click.argument("account", metavar="ID")
@from_file(PASSWORD, PASSPHRASE, CODE)
@pass_app
def login(
    app: App, account: str, *, password_file: str | None, passphrase_file: str | None, code_file: str | None
) -> None:
    """The key never leaves this machine; whoever adds the account needs its public side."""
    own = keyfile.public_of(account) or _new_key(app, account, passphrase_file)
    try:
        told = app.client.call("POST", "/v1/login/challenge", {"account": account})
    except CliError as error:
        if error.status != 404:
            raise
        message = t("there is no account {id} yet; your key is {key}", id=account, key=own)
        remedy = t(
            "Have an administrator run: feiyu account add {id} --name … --role … --key {key}", id=account, key=own
        )
        raise CliError(ExitCode.WAITING, message, remedy) from None
    if told["key"] != own:
        path = keyfile.path_of(account)
        raise CliError(
            ExitCode.FORBIDDEN,
            t("account {id} has another key than {path}", id=account, path=path),
            t("Log in from the machine where your key is, or have the new one approved: feiyu account key."),
        )
    password = secret(app, t("Password"), password_file, PASSWORD, twice=told["factors"] == "missing")
    if told["factors"] == "missing":
        _set_factors(app, account, told["nonce"], password, passphrase_file)
        if not code_file and not can_ask(app):
            raise CliError(ExitCode.WAITING, t("the factors are set"), t("Log in again with a code."))
    code = secret(app, t("Code"), code_file, CODE)
    body = {"account": account, "password": password, "code": code.strip()}
    answer = app.client.call("POST", "/v1/login", body)
    logged_in.keep(app.socket, account, str(answer["token"]))
    roles = ", ".join(answer["account"]["roles"])
    app.say(t("logged in as {id} ({roles}); after {minutes} idle minutes it is over", id=account, roles=roles,
              minutes=int(answer["idle"]) // 60))  # fmt: skip


def _new_key(app: App, account: str, file: str | None) -> str:
    app.say(t("no key of {id} is on this machine: one is made and sealed by a passphrase", id=account))
    public = keyfile.make(account, secret(app, t("Passphrase of your key"), file, PASSPHRASE, twice=True))
    app.say(t("made {path}", path=keyfile.path_of(account)))
    return public


def _set_factors(app: App, account: str, nonce: str, password: str, file: str | None) -> None:
    key = keyfile.unseal(account, secret(app, t("Passphrase of your key"), file, PASSPHRASE))
    signature = key.sign(setting_text(account, nonce, password)).hex()
    body = {"account": account, "nonce": nonce, "password": password, "signature": signature}
    made: Json = app.client.call("POST", "/v1/login/factors", body)
    app.say(t("Put this into your authenticator program; it is not shown again:"))
    app.details(made, [("Secret", made["secret"]), ("Address", made["uri"])])
    output.flush()


@click.command("logout", cls=Command, data=False, help=t("Log out."), example="feiyu logout")
@pass_app
def logout(app: App) -> None:
    """Here and in control."""
    account = logged_in.account_of(app.socket)
    try:
        app.client.call("POST", "/v1/logout", {})
    except CliError as error:
        if error.status != 401:
            raise
    finally:
        logged_in.keep(app.socket, "", "")
    app.say(t("logged out: {id}", id=account) if account else t("nobody was logged in"))


@click.command("whoami", cls=Command, help=t("Show who you are to this node."), example="feiyu whoami")
@pass_app
def whoami(app: App) -> None:
    """Exit 6 where the node has accounts and nobody is logged in."""
    told = app.client.get("/v1/whoami")
    account = told.get("account") or {}
    rows: list[tuple[str, object]] = [
        ("Account", account.get("id") or t("none: this node has no accounts")),
        ("Name", account.get("name")),
        ("Roles", account.get("roles")),
        ("Tenant", account.get("tenant")),
        ("Key", account.get("key")),
        ("From", told.get("where")),
    ]
    app.details(told, rows)

"""The first three accounts, which nobody can approve: system, security and audit administrator, all at once."""

from typing import Any

import click

from ops.cli import keyfile
from ops.cli.account import public_key
from ops.cli.app import App
from ops.cli.errors import CliError, ExitCode, usage
from ops.cli.secret import PASSPHRASE, can_ask, secret
from ops.cli.words import t
from ops.settings import Settings
from tenants.accounts import ADMINISTRATORS, Role
from tenants.change import Change, ChangeRefused
from tenants.store import RegisterUnavailable
from whitelist.store import open_register

REASON = "the first accounts of the zone"
ORDER = [role for role in Role if role in ADMINISTRATORS]
Given = dict[Role, tuple[str, str, str] | None]


def founders(app: App, given: Given) -> list[dict[str, Any]]:
    """The fields of the three accounts: as given (id, name, public key or its file), or asked for; none where nobody
    can be asked or the answer is no. Errors: usage, CliError."""
    named = [role for role in ORDER if given.get(role)]
    if named and len(named) < len(ORDER):
        missing = ", ".join(f"--{role}" for role in ORDER if role not in named)
        raise usage(t("the three administrators come together: {names} is missing", names=missing))
    if named:
        return [_account(role, *parts) for role in ORDER if (parts := given[role])]
    if not can_ask(app) or not click.confirm(t("Name the three administrators now?"), default=True, err=True):
        return []
    return [_asked(app, role) for role in ORDER]


def _account(role: Role, account: str, name: str, key: str) -> dict[str, Any]:
    return {"id": account, "name": name, "roles": [role.value], "key": public_key(key)}


def _asked(app: App, role: Role) -> dict[str, Any]:
    """Each of the three sits down at this machine, and takes the key file along."""
    app.say(f"{t(role)}:")
    account = str(click.prompt(t("Account (a-z, 0-9, -)"), err=True))
    name = str(click.prompt(t("The person's name"), err=True))
    public = keyfile.public_of(account)
    if not public:
        passphrase = secret(app, t("Passphrase of your key"), None, PASSPHRASE, twice=True)
        public = keyfile.make(account, passphrase)
        app.say(t("made {path}", path=keyfile.path_of(account)))
    return _account(role, account, name, public)


def found(app: App, settings: Settings, accounts: list[dict[str, Any]]) -> str:
    """Puts them into the register: through control where it runs, else straight. The zone. Errors: CliError."""
    changes = [{"collection": "accounts", "verb": "add", "id": one["id"], "fields": one} for one in accounts]
    if _runs(app):
        return str(app.client.call("POST", "/v1/changes", {"changes": changes, "reason": REASON})["link"])
    try:
        register = open_register(settings.register_at, create=False)
        try:
            wishes = [Change(**change) for change in changes]
            return register.apply_changes(wishes, "feiyu init", REASON, app.now()).link
        finally:
            register.store.close()
    except RegisterUnavailable as error:
        raise CliError(ExitCode.NO, str(error), error.remedy) from None
    except ChangeRefused as refused:
        raise CliError(ExitCode.USAGE, str(refused), refused.remedy) from None


def _runs(app: App) -> bool:
    """Whether control answers; a socket may be left of one that ended."""
    try:
        app.client.get("/v1/status")
    except CliError as error:
        if error.code is ExitCode.UNREACHABLE:
            return False
        raise
    return True

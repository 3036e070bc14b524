"""Secrets: typed where nobody sees them, or read from a file; never an argument."""

import sys
from collections.abc import Callable
from pathlib import Path

import click

from ops.cli.app import App
from ops.cli.errors import CliError, ExitCode, usage
from ops.cli.words import t

PASSWORD, PASSPHRASE, CODE = "--password-file", "--passphrase-file", "--code-file"
_HELP = {
    PASSWORD: lambda: t("Where the password is, instead of asking for it."),
    PASSPHRASE: lambda: t("Where the passphrase of your key is, instead of asking for it."),
    CODE: lambda: t("Where the code is, instead of asking for it."),
}


def from_file(*names: str) -> Callable[[click.decorators.FC], click.decorators.FC]:
    """The options that name files with secrets."""

    def decorate(function: click.decorators.FC) -> click.decorators.FC:
        for name in reversed(names):
            function = click.option(name, type=click.Path(dir_okay=False), metavar="FILE", help=_HELP[name]())(function)
        return function

    return decorate


def can_ask(app: App) -> bool:
    """Whether somebody is there to answer."""
    return app.interactive and sys.stdin.isatty() and sys.stderr.isatty()


def secret(app: App, prompt: str, file: str | None, option: str, *, twice: bool = False) -> str:
    """The secret. Errors: CliError where the file cannot be read, usage where nobody can be asked."""
    if file:
        try:
            return Path(file).read_text().rstrip("\r\n")
        except (OSError, UnicodeDecodeError) as error:
            why = getattr(error, "strerror", None) or str(error)
            raise CliError(ExitCode.USAGE, t("{path} cannot be read: {why}", path=file, why=why)) from None
    if not can_ask(app):
        raise usage(t("{name} is needed, as nobody can be asked", name=option))
    return str(click.prompt(prompt, hide_input=True, confirmation_prompt=twice, err=True))

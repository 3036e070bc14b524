"""How an error is told: on stderr, in the language in use, with what to do about it."""

import os
import sys
import traceback

import click

from ops.cli import output, words
from ops.cli.errors import CliError, ExitCode
from ops.cli.words import t


def tell(error: CliError) -> ExitCode:
    """The message, a line for each field, and what to do. Returns the exit status."""
    screen = output.console(sys.stderr)
    screen.print(output.labelled(t("error"), error.message, "bold red"))
    for name, message in error.fields:
        screen.print(output.labelled(f"  {name}", message, "bold") if name else output.escape(message))
    if error.remedy:
        screen.print(output.labelled(t("what to do"), error.remedy, "bold"))
    sys.stderr.flush()
    if os.environ.get("FEIYU_DEBUG") and error.__traceback__:
        traceback.print_exception(error)
    return error.code


def tell_usage(error: click.UsageError) -> ExitCode:
    """A command line that cannot be understood."""
    path = error.ctx.command_path if error.ctx else "feiyu"
    return tell(CliError(ExitCode.USAGE, _text(error), t("See {path} --help.", path=path)))


def _text(error: click.UsageError) -> str:
    """click's message; the common ones in the language in use."""
    if words.current() == "en":
        return error.format_message()
    if isinstance(error, click.MissingParameter) and error.param:
        return t("missing: {name}", name=_name(error.param, error.ctx))
    if isinstance(error, click.NoSuchOption):
        return _near(t("there is no option {name}", name=error.option_name), error.possibilities)
    if command := getattr(error, "command_name", ""):
        return _near(t("there is no command {name}", name=command), getattr(error, "possibilities", None))
    if isinstance(error, click.BadParameter) and error.param:
        return f"{_name(error.param, error.ctx)}: {error.message}"
    return error.format_message()


def _near(message: str, possibilities: object) -> str:
    near = [str(name) for name in possibilities] if isinstance(possibilities, list) else []
    return f"{message}。{t('Did you mean {names}?', names=t(' or ').join(near))}" if near else message


def _name(parameter: click.Parameter, context: click.Context | None) -> str:
    if parameter.param_type_name == "option" or context is None:
        return "/".join(parameter.opts)
    return parameter.make_metavar(context)

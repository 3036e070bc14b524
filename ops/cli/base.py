"""The classes behind every command: global options wherever they are written, an example each, values that parse."""

import importlib
from collections.abc import Callable, Mapping
from typing import Any, cast

import click
from rich_click import RichCommand, RichContext, RichGroup

from ops.cli.app import App
from ops.cli.output import FORMATS
from ops.cli.times import ArgumentError
from ops.cli.words import LANGUAGES, t


def _set(attribute: str, convert: Callable[[Any], Any] = lambda value: value) -> Callable[..., None]:
    def callback(ctx: click.Context, _param: click.Parameter, value: Any) -> None:
        app = ctx.ensure_object(App)
        if value not in (None, False):
            setattr(app, attribute, convert(value))

    return callback


def global_options(*, shown: frozenset[str]) -> list[click.Option]:
    """The options that every command takes, before or behind its name; only those in `shown` stand in its help."""

    def option(*names: str, **settings: Any) -> click.Option:
        return click.Option(list(names), expose_value=False, hidden=names[-1] not in shown, **settings)

    return [
        option(
            "-o",
            "--output",
            type=click.Choice(FORMATS),
            callback=_set("format"),
            help=t("How data is written to stdout."),
        ),
        option("--reason", metavar="TEXT", callback=_set("reason"), help=t("Why; kept with the change.")),
        option(
            "--no-input",
            is_flag=True,
            callback=_set("interactive", lambda _: False),
            help=t("Never ask; fail instead."),
        ),
        option("--lang", type=click.Choice(LANGUAGES), help=t("Language of words (default: from LANG).")),
        option(
            "--server",
            metavar="PATH",
            callback=_set("server"),
            help=t("Control's socket (default: from the configuration)."),
        ),
        option("--config", metavar="FILE", callback=_set("config"), help=t("The node's configuration.")),
    ]


ALL_SHOWN = frozenset({"--output", "--reason", "--no-input", "--lang", "--server", "--config"})


def _in_our_words(option: click.Option | None) -> click.Option | None:
    """--help, in the language in use."""
    if option is not None:
        option.help = t("Show this message and exit.")
    return option


class Command(RichCommand):
    """A command with its example. `writes` ones show --reason, those that print data show --output."""

    def __init__(self, *args: Any, example: str = "", writes: bool = False, data: bool = True, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.example = example
        shown = {"--output"} if data else set()
        if writes:
            shown.add("--reason")
        taken = {name for parameter in self.params for name in parameter.opts}
        self.params.extend(o for o in global_options(shown=frozenset(shown)) if not taken.intersection(o.opts))
        if example:
            self.epilog = f"{t('Example')}: {example}"

    def get_help_option(self, ctx: click.Context) -> click.Option | None:
        """click's option, with our words."""
        return _in_our_words(super().get_help_option(cast("RichContext", ctx)))


class Group(RichGroup):
    """A group of commands of the classes here; they are listed in the order of the code."""

    command_class = Command

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names as they were added."""
        return list(self.commands)

    def get_help_option(self, ctx: click.Context) -> click.Option | None:
        """click's option, with our words."""
        return _in_our_words(super().get_help_option(cast("RichContext", ctx)))

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.params.extend(global_options(shown=frozenset()))


class LazyGroup(Group):
    """The root: a command's module is imported when the command is asked for, so that each starts fast."""

    def __init__(self, *args: Any, members: Mapping[str, str], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._members = members
        for parameter in self.params:
            if isinstance(parameter, click.Option) and parameter.opts[-1] in ALL_SHOWN:
                parameter.hidden = False

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names in the order of the table, which is the order of a day's work."""
        return list(self._members)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command, imported now. Errors: None for a name that is not there."""
        if cmd_name not in self._members:
            return None
        module, _, attribute = self._members[cmd_name].partition(":")
        command = getattr(importlib.import_module(f"ops.cli.{module}"), attribute)
        assert isinstance(command, click.Command)
        return command


class Parsed(click.ParamType[Any]):
    """A value read by one of the pure parsers; what is wrong with it is told in the language in use."""

    def __init__(self, name: str, parse: Callable[[str], object]) -> None:
        self.name = name
        self._parse = parse

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The parsed value, or a usage error."""
        if not isinstance(value, str):
            return value
        try:
            return self._parse(value)
        except ArgumentError as error:
            self.fail(t(error.template, **error.values), param, ctx)


pass_app = click.make_pass_decorator(App, ensure=True)

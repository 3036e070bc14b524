"""feiyu version, feiyu completion."""

import os
import platform
from importlib import metadata

import rich_click as click
from click import get_current_context
from click.shell_completion import get_completion_class

from ops.cli import output
from ops.cli.app import App
from ops.cli.base import Command, pass_app
from ops.cli.words import t

SHELLS = ("bash", "zsh", "fish")
WHERE = {
    "bash": "feiyu completion bash > /etc/bash_completion.d/feiyu",
    "zsh": 'feiyu completion zsh > "${fpath[1]}/_feiyu"',
    "fish": "feiyu completion fish > ~/.config/fish/completions/feiyu.fish",
}


def number() -> str:
    """The version of the installed distribution, or of a source tree that is not installed."""
    try:
        return metadata.version("feiyu")
    except metadata.PackageNotFoundError:
        return "0.0.0+source"


@click.command("version", cls=Command, help=t("Print the version."), example="feiyu version")
@pass_app
def version(app: App) -> None:
    """Version, Python, kernel."""
    facts = {"feiyu": number(), "python": platform.python_version(), "kernel": platform.release()}
    if app.format == "csv":
        app.details(facts, list(facts.items()))
    else:
        app.show(
            facts, lambda: output.write(f"feiyu {facts['feiyu']} (Python {facts['python']}, Linux {facts['kernel']})")
        )


@click.command(
    "completion",
    cls=Command,
    data=False,
    help=t("Print the completion script of a shell."),
    example="feiyu completion bash",
)
@click.argument("shell", type=click.Choice(SHELLS))
@pass_app
def completion(app: App, shell: str) -> None:
    """To stdout, to be put where the shell looks."""
    kind = get_completion_class(shell)
    if kind is None:  # pragma: no cover - click knows the three
        raise click.UsageError(shell)
    root = get_current_context().find_root().command
    source = kind(root, {}, "feiyu", "_FEIYU_COMPLETE")
    output.write(source.source_template % source.source_vars())
    if os.isatty(1):
        app.say(t("To keep it: {command}", command=WHERE[shell]))

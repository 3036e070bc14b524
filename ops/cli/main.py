"""feiyu: the one command. Sets the language, builds the root, turns every end of it into words and an exit status."""

import os
import signal
import sys
import traceback
from collections.abc import Sequence

import click
from rich_click import RichHelpConfiguration

from ops.cli import words
from ops.cli.complaint import tell, tell_usage
from ops.cli.errors import CliError, ExitCode
from ops.cli.words import t

MEMBERS = {
    "init": "node:init",
    "up": "node:up",
    "check": "node:check",
    "doctor": "node:doctor",
    "status": "status:status",
    "demo": "node:demo",
    "login": "login:login",
    "logout": "login:logout",
    "whoami": "login:whoami",
    "account": "account:group",
    "request": "request:group",
    "tenant": "tenant:group",
    "credential": "credential:group",
    "ca": "ca:group",
    "service": "service:group",
    "group": "sets:group",
    "category": "sets:category",
    "deny": "deny:group",
    "grant": "grant:group",
    "line": "line:group",
    "inspection": "inspection:group",
    "policy": "policy:group",
    "explain": "explain:explain",
    "replay": "replay:replay",
    "flow": "flow:group",
    "log": "log:group",
    "audit": "audit:group",
    "evidence": "evidence:group",
    "spotcheck": "spotcheck:group",
    "report": "report:group",
    "rule": "rule:group",
    "pac": "pac:group",
    "link": "link:group",
    "version": "version:version",
    "completion": "version:completion",
}


def build() -> click.Group:
    """The root group, in the language in use."""
    # help texts are made when the classes are: after the language is known
    from ops.cli.base import LazyGroup

    return LazyGroup(
        name="feiyu",
        members=MEMBERS,
        help=t("Access-control gateway of an offshore data service zone."),
        epilog=t(
            "Exit status: 0 yes · 1 no · 2 usage · 3 waiting for approval · 4 revision conflict · "
            "5 unreachable · 6 forbidden"
        ),
        context_settings={"help_option_names": ["-h", "--help"], "rich_help_config": _help_style()},
    )


def _help_style() -> RichHelpConfiguration:
    """Help without boxes, at most 100 columns wide."""
    return RichHelpConfiguration(
        theme="default-slim",
        max_width=100,
        options_panel_title=t("Options"),
        commands_panel_title=t("Commands"),
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs one command and ends the process with its exit status. Shows a traceback only where FEIYU_DEBUG is set."""
    sys.exit(run(list(sys.argv[1:] if arguments is None else arguments)))


def run(arguments: list[str]) -> int:
    """The exit status of one command line."""
    words.use(words.language_of(arguments, os.environ))
    try:
        if "_FEIYU_COMPLETE" in os.environ:
            return _complete()
        result = build().main(arguments, prog_name="feiyu", standalone_mode=False)
        sys.stdout.flush()
        return result if isinstance(result, int) else ExitCode.YES
    except CliError as error:
        return tell(error)
    except click.exceptions.Exit as end:
        return end.exit_code
    except click.UsageError as error:
        return tell_usage(error)
    except click.ClickException as error:
        return tell(CliError(ExitCode.USAGE, error.format_message()))
    except (click.Abort, KeyboardInterrupt):
        print(file=sys.stderr)
        return 130
    except BrokenPipeError:
        return _left()
    except SystemExit as end:
        if isinstance(end.__context__, BrokenPipeError):  # click turns EPIPE into exit 1, which would mean "no"
            return _left()
        raise
    except Exception as error:  # noqa: BLE001 - the last resort of a command: words, never a traceback
        if os.environ.get("FEIYU_DEBUG"):
            traceback.print_exc()
        text = t("internal error: {kind}: {text}", kind=type(error).__name__, text=str(error))
        return tell(CliError(ExitCode.NO, text, t("This is a fault of feiyu itself; FEIYU_DEBUG=1 shows where.")))


def _left() -> int:
    """Whoever read stdout has enough: the status of a process that SIGPIPE ended. Python must not try again at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 128 + signal.SIGPIPE


def _complete() -> int:
    from click.shell_completion import shell_complete

    return shell_complete(build(), {}, "feiyu", "_FEIYU_COMPLETE", os.environ["_FEIYU_COMPLETE"])


if __name__ == "__main__":
    main()

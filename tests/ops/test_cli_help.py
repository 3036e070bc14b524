"""Every command says what it does and how, in both languages, and its example is one that works."""

import ast
import os
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from ops.cli import main
from ops.cli.app import App
from ops.cli.base import Command
from ops.cli.words_zh import ZH

CLI = Path(main.__file__).parent


def leaves(group: click.Group, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        if isinstance(command, click.Group):
            yield from leaves(command, (*path, name))
        else:
            yield (*path, name), command


COMMANDS = dict(leaves(main.build()))


RELEASED = {
    "": "init up check doctor status demo explain replay version completion login logout whoami",
    "account": "list add roles key factor disable enable",
    "request": "list show approve reject withdraw bootstrap",
    "tenant": "list show add edit suspend resume onboard consent",
    "pac": "render",
    "credential": "list issue invite revoke",
    "inspection": "init renew",
    "ca": "init rotate crl",
    "service": "list show add edit retire",
    "group": "list show add",
    "category": "list show add",
    "deny": "list add remove",
    "grant": "list show add revoke suspend resume",
    "line": "list show add edit drain undrain retire share unshare probe",
    "flow": "list show cut",
    "log": "search export tail",
    "policy": "fmt lint test diff plan apply rollback history export import",
    "link": "enrol run status denials doctor bundle",
    "audit": "tail verify reads",
    "report": "compliance",
    "evidence": "verify prove checkpoint verifier export dossier witness",
    "evidence hold": "list add remove",
    "spotcheck": "plan commit draw show find rectify verify close",
    "rule": "list lint test fields blocks lift",
}


def test_the_commands_are_those_of_this_release() -> None:
    released = {(*group.split(), verb) for group, verbs in RELEASED.items() for verb in verbs.split()}
    assert set(COMMANDS) == released


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_each_command_has_one_line_of_help_and_an_example_that_parses(path: tuple[str, ...]) -> None:
    command = COMMANDS[path]
    assert isinstance(command, Command)
    assert command.help
    assert "\n" not in command.help
    program, *arguments = shlex.split(command.example)
    assert program == "feiyu"
    assert tuple(arguments[: len(path)]) == path
    command.make_context(" ".join(path), arguments[len(path) :], obj=App())


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_each_option_has_help(path: tuple[str, ...]) -> None:
    for parameter in COMMANDS[path].params:
        assert not isinstance(parameter, click.Option) or parameter.help, parameter.name


def test_writes_show_reason_in_their_help() -> None:
    verbs = {"add", "edit", "issue", "revoke", "suspend", "resume", "retire", "remove", "drain", "undrain", "cut"}
    verbs |= {"share", "unshare", "onboard", "apply", "rollback", "import", "consent"}
    verbs |= {"invite", "draw", "find", "rectify", "close"}
    verbs |= {"roles", "key", "factor", "disable", "enable"}
    verbs |= {"lift", "reject", "withdraw", "bootstrap"}
    for path, command in COMMANDS.items():
        shown = any(isinstance(p, click.Option) and "--reason" in p.opts and not p.hidden for p in command.params)
        writes = path[-1] in verbs or path == ("spotcheck", "plan")  # a plan of the policy changes nothing
        assert shown is (writes or path[0] == "log"), path


def spoken() -> Iterator[str]:
    """Every text that the code says in the language in use."""
    for file in CLI.glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.args:
                first = node.args[0]
                says = node.func.id in ("t", "Column", "field", "ArgumentError")
                if says and isinstance(first, ast.Constant) and isinstance(first.value, str) and first.value:
                    yield first.value


def test_everything_that_is_said_is_said_in_chinese_too() -> None:
    texts = set(spoken())
    assert len(texts) > 200
    assert sorted(texts - ZH.keys()) == []


def test_translations_fill_in_the_same_values() -> None:
    for english, chinese in ZH.items():
        for name in (
            "text",
            "path",
            "names",
            "count",
            "ms",
            "why",
            "id",
            "source",
            "first",
            "second",
            "name",
            "number",
        ):
            plain = {f"{{{name}}}", f"{{{name}!r}}"}
            assert any(p in english for p in plain) == any(p in chinese for p in plain), english


def feiyu(*arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    code = "import sys; from ops.cli.main import main; main(sys.argv[1:])"
    env = {"PATH": os.environ["PATH"], "PYTHONPATH": str(CLI.parent.parent), **environ}
    return subprocess.run(
        [sys.executable, "-c", code, *arguments], env=env, capture_output=True, text=True, timeout=30, check=False
    )


@pytest.mark.parametrize(
    ("arguments", "environ", "chinese"),
    [
        pytest.param(["--help"], {"LANG": "zh_CN.UTF-8"}, True, id="LANG"),
        pytest.param(["--help"], {"LANG": "en_GB.UTF-8", "LC_ALL": "zh_CN.UTF-8"}, True, id="LC_ALL beats LANG"),
        pytest.param(["--lang", "en", "--help"], {"LANG": "zh_CN.UTF-8"}, False, id="--lang beats both"),
        pytest.param(["tenant", "add", "--lang=zh", "--help"], {}, True, id="--lang behind the command"),
        pytest.param(["--help"], {}, False, id="English without a word"),
    ],
)
def test_the_language_of_help(arguments: list[str], environ: dict[str, str], chinese: bool) -> None:
    done = feiyu(*arguments, **environ)
    assert done.returncode == 0
    assert ("租户" in done.stdout) is chinese
    assert done.stderr == ""


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts_ask_the_command(shell: str) -> None:
    done = feiyu("completion", shell)
    assert done.returncode == 0
    assert "_FEIYU_COMPLETE" in done.stdout


def test_completion_answers() -> None:
    done = feiyu(_FEIYU_COMPLETE="bash_complete", COMP_WORDS="feiyu tenant s", COMP_CWORD="2")
    assert done.returncode == 0
    assert done.stdout.split() == ["plain,show", "plain,suspend"]

"""feiyu init, up, check, doctor, demo: the node itself."""

import importlib
import os
import sys
from collections.abc import Callable, Iterable
from dataclasses import asdict
from typing import Any

import rich_click as click
from click.exceptions import Exit

from ops.cli import output
from ops.cli.app import App
from ops.cli.base import Command, pass_app
from ops.cli.client import Client
from ops.cli.configuration import load
from ops.cli.errors import CliError, ExitCode, usage
from ops.cli.output import Column, field
from ops.cli.words import t
from ops.doctor.finding import Finding, Level


def _founder(role: str, text: str) -> Callable[[click.decorators.FC], click.decorators.FC]:
    """The option that names one of the first three accounts."""
    return click.option(f"--{role}", nargs=3, metavar="ID NAME KEY", help=text)


@click.command(
    "init",
    cls=Command,
    data=False,
    help=t("Make a node's state: keys, an empty register, an example configuration."),
    example="feiyu init",
)
@click.option("--complete", is_flag=True, help=t("Make what is missing of a state that is there in part."))
@_founder("system-administrator", t("Adds accounts and keeps the machine; its public key, or the file with it."))
@_founder("security-administrator", t("The second person for accounts."))
@_founder("audit-administrator", t("Reads what was done."))
@pass_app
def init(app: App, /, *, complete: bool, **administrators: tuple[str, str, str] | None) -> None:
    """Nothing that is there is ever overwritten."""
    from ops.cli import founding, setup

    path = app.config_path
    if setup.write_example(path):
        app.say(t("made {path}: an example, to be adapted", path=path))
    settings = load(path)
    there = setup.existing(settings)
    if there and not complete:
        raise CliError(
            ExitCode.NO,
            t("this node was set up before: {paths}", paths=", ".join(map(str, there))),
            t("Nothing was changed. With --complete only what is missing is made."),
        )
    accounts = founding.founders(app, {role: administrators[role.replace("-", "_")] for role in founding.ORDER})
    for made in setup.make_state(settings):
        app.say(t("made {path}", path=made))
    if accounts:
        zone = founding.found(app, settings, accounts)
        app.say(t("three accounts were made; from now on what opens something waits for a second person"))
        if settings.zone != zone:
            app.say(t("put this into {path}, so that the node itself checks each approval:", path=path))
            app.show({"zone": zone}, lambda: output.write(f"zone: {zone}"))
    elif not complete:
        app.say(t("note: without accounts one person suffices for every change; name the administrators with init"))
    app.say(t("Next: feiyu check, then feiyu up."))


@click.command(
    "up",
    cls=Command,
    data=False,
    help=t("Run the node in the foreground."),
    example="feiyu up --config /etc/feiyu/feiyu.yaml",
)
@pass_app
def up(app: App) -> None:
    """Becomes the supervisor: the process goes on under its own name, without what the command loaded."""
    settings = load(app.config_path)  # a broken file is told as the other commands tell it
    if not settings.management:
        app.say(
            t("note: no management interface is configured, so this machine's own traffic, SSH too, will be dropped")
        )
    sys.stdout.flush()
    arguments = ["-m", "ops.supervisor", "--config", str(app.config_path)]
    os.execv(sys.executable, [sys.executable, *arguments])  # noqa: S606 - this interpreter, a fixed module


@click.command(
    "demo",
    cls=Command,
    data=False,
    help=t("Run a whole small zone in network namespaces."),
    example="feiyu demo --once",
)
@click.option("--once", is_flag=True, help=t("End after the walk."))
@pass_app
def demo(app: App, *, once: bool) -> None:
    """Needs root, or a user namespace."""
    raise Exit(_run("ops.demo.main", ["--once"] if once else []))


def _run(module: str, arguments: list[str]) -> int:
    """The main() of a part that is not needed, and not loaded, by other commands."""
    try:
        main: Callable[[list[str]], Any] = importlib.import_module(module).main
    except ModuleNotFoundError as error:
        raise CliError(
            ExitCode.NO, t("{module} is not installed", module=error.name), t("Install feiyu anew: make setup.")
        ) from None
    return int(main(arguments) or 0)


@click.command(
    "check",
    cls=Command,
    help=t("Check the configuration and the machine before a start."),
    example="feiyu check -o json",
)
@pass_app
def check(app: App) -> None:
    """Exit 2 for a broken configuration, 1 if the machine lacks something, else 0."""
    settings = load(app.config_path)
    from ops.doctor.environment import examine

    findings = [Finding("configuration", Level.OK, str(app.config_path)), *examine(settings, running=_running(app))]
    raise Exit(tell(app, findings))


@click.command(
    "doctor",
    cls=Command,
    help=t(
        "Examine the running node: processes, lines, spools, clock; or try whether a packet leaves beside its line."
    ),
    example="feiyu doctor egress",
)
@click.argument("what", type=click.Choice(["egress"]), required=False)
@click.option(
    "--line", "lines", multiple=True, metavar="ID", help=t("With egress: only this line's ways; may be repeated.")
)
@click.option(
    "--target",
    metavar="HOST[:PORT]",
    help=t("With egress: what the packets are to reach (default: addresses for documentation; port: 443)."),
)
@pass_app
def doctor(app: App, *, what: str | None, lines: tuple[str, ...], target: str | None) -> None:
    """Exit 1 if something does not work, 5 if the node does not run. With egress, which needs no running node: 1 if a
    packet got out beside its line, or nothing would stop one."""
    settings = load(app.config_path)
    if what:
        from ops.cli.egress import egress

        raise Exit(egress(app, settings, lines, target or ""))
    if lines:
        raise usage(t("--line is for feiyu doctor egress"))
    if target:
        raise usage(t("--target is for feiyu doctor egress"))
    from ops.doctor.running import examine

    if not os.path.exists(app.socket) and not os.path.exists(os.path.join(settings.run_dir, "live.sock")):
        app.client.get("/v1/status")  # says why, with exit 5
    raise Exit(tell(app, list(examine(settings, app.client, Client(f"{settings.run_dir}/recorder.sock", 5)))))


def _running(app: App) -> bool:
    try:
        app.client.get("/v1/status")
    except CliError:
        return False
    return True


COLUMNS = [
    field("", "level"),
    field("CHECK", "name"),
    field("SEEN", "seen", wide=True),
]


def tell(app: App, findings: Iterable[Finding]) -> ExitCode:
    """The findings as a list, each problem with what to do; the status that sums them up."""
    items = [asdict(finding) | {"level": finding.level.value} for finding in findings]
    if app.format == "csv":
        app.rows(items, [*COLUMNS[1:], Column("LEVEL", lambda i: i["level"]), field("REMEDY", "remedy")])
    else:
        app.show(items, lambda: output.print_findings(items))
    bad = sum(item["level"] == Level.FAIL for item in items)
    app.say(t("{count} problems", count=bad) if bad else t("no problem"))
    return ExitCode.NO if bad else ExitCode.YES

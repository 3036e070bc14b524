"""feiyu rule: detection rules in Sigma, from files; no node has to run."""

from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

import rich_click as click

from ops.cli import rule_blocks
from ops.cli.app import App
from ops.cli.base import Group, pass_app
from ops.cli.errors import CliError, ExitCode
from ops.cli.output import Column, Item, field
from ops.cli.words import t

if TYPE_CHECKING:
    from telemetry.interception.rule import Rule
    from telemetry.interception.ruleset import RuleSet

PATHS = click.argument("paths", metavar="[PATH]…", nargs=-1, type=click.Path(path_type=Path))


@click.group("rule", cls=Group, help=t("Detection rules in Sigma: see, check and test them, offline."))
def group() -> None:
    """The group itself does nothing."""


def starter_pack() -> Path:
    """The rules that Feiyu brings."""
    return Path(str(resources.files("configs") / "sigma"))


def read(paths: Sequence[Path]) -> "RuleSet":
    """The rules of these files and folders, else those of the starter pack. Exit 1 names all that is wrong."""
    from telemetry.interception.problem import RulesError  # pySigma takes 0.2 s to load
    from telemetry.interception.ruleset import load

    try:
        return load(paths or [starter_pack()])
    except RulesError as error:
        wrong = [("", f"{p.file}:{p.line}: {p.what}; {p.remedy}") for p in error.problems]
        message = t("{count} things are wrong with the rules", count=len(wrong))
        raise CliError(ExitCode.NO, message, t("Nothing was changed. Correct the rules named."), wrong) from None


def items(rules: "RuleSet") -> list[dict[str, Any]]:
    """One item for each rule, with where it can fire."""
    from telemetry.interception.rule import Rule
    from telemetry.interception.where import verdicts

    found, verdict = [], verdicts(rules)
    for rule in sorted(rules.all(), key=lambda r: (r.head.file, r.head.line)):
        head, where = rule.head, verdict[rule.head.id]
        response = head.response
        found.append(
            {
                "id": head.id,
                "title": head.title,
                "level": head.level,
                "author": head.author,
                "kind": _kind(rule) if isinstance(rule, Rule) else rule.type.name.lower(),
                "tells": rule.output,
                "action": str(response.action) if rule.output else "",
                "scope": str(response.scope) if rule.output and response.for_ else "",
                "for": response.for_,
                "simulate": response.simulate,
                "fires": [str(place) for place in where.places],
                "lacking": {str(place): list(names) for place, names in where.lacking.items()},
                "never": where.never,
                "tests": len(head.tests) if isinstance(head.tests, list) else 0,
                "runbook": head.runbook,
                "file": head.file,
                "line": head.line,
            }
        )
    return found


def _kind(rule: "Rule") -> str:
    return "new" if rule.novel or rule.missing else "event"


def _action(item: Item) -> str:
    if not item["tells"]:
        return t("only counts")
    lasting = f" {item['scope']} {item['for']} s" if item["for"] else ""
    return f"{item['action']}{lasting}" + (f" ({t('simulated')})" if item["simulate"] else "")


def _fires(item: Item) -> str:
    words = {"tunnel": t("tunnel"), "plain HTTP": t("plain HTTP"), "inspected": t("inspected"), "node": t("node")}
    return ", ".join(words[place] for place in item["fires"]) or t("never")


def _missing(item: Item) -> str:
    if item["never"]:
        return str(item["never"])
    return "; ".join(f"{place}: {', '.join(names)}" for place, names in item["lacking"].items())


COLUMNS = [
    field("TITLE", "title", wide=True),
    field("LEVEL", "level"),
    field("KIND", "kind"),
    Column("ACTION", _action),
    Column("FIRES IN", _fires),
]


@group.command("list", help=t("List the rules and what each does."), example="feiyu rule list /etc/feiyu/rules")
@PATHS
@pass_app
def list_(app: App, paths: tuple[Path, ...]) -> None:
    """The rules by file."""
    app.rows(items(read(paths)), [*COLUMNS, field("AUTHOR", "author", wide=True)], t("There are no rules."))


@group.command(
    "lint",
    help=t("Check rules: where each can fire, and which field it lacks elsewhere; exit 1 names what is wrong."),
    example="feiyu rule lint rules/proxy.yml",
)
@PATHS
@pass_app
def lint(app: App, paths: tuple[Path, ...]) -> None:
    """Exit 0 only if all of them could run together."""
    found = items(read(paths))
    columns = [field("TITLE", "title", wide=True), Column("FIRES IN", _fires), Column("LACKING", _missing, wide=True)]
    app.rows(found, [*columns, Column("FILE", lambda item: f"{item['file']}:{item['line']}")], t("There are no rules."))
    mute = sum(bool(item["never"]) for item in found)
    app.say(t("{count} rules are sound; {mute} of them can never fire here", count=len(found), mute=mute))


@group.command(
    "test",
    help=t("Run the tests that stand in the rules; exit 1 if one fails."),
    example="feiyu rule test rules/proxy.yml",
)
@PATHS
@pass_app
def test(app: App, paths: tuple[Path, ...]) -> None:
    """Each test gives records to its rule and counts the hits."""
    from telemetry.interception import ruletest

    rules = read(paths)
    outcomes = ruletest.run(rules)
    rows = [
        {"title": o.title, "test": o.test, "passed": not o.wrong, "wrong": o.wrong, "file": o.file, "line": o.line}
        for o in outcomes
    ]
    columns = [
        field("TITLE", "title", wide=True),
        field("TEST", "test", wide=True),
        Column("VERDICT", lambda item: t("passed") if item["passed"] else f"{t('failed')}: {item['wrong']}", wide=True),
    ]
    app.rows(rows, columns, t("No rule has tests."))
    bare = [rule.head.title for rule in ruletest.untested(rules) if rule.output]
    if bare:
        app.say(t("without tests: {names}", names=", ".join(bare[:10]) + ("…" if len(bare) > 10 else "")))
    wrong = [("", str(problem)) for problem in ruletest.failures(outcomes)]
    if wrong:
        raise CliError(ExitCode.NO, t("{count} tests failed", count=len(wrong)), "", wrong)


@group.command("fields", help=t("List the fields that a rule can ask for."), example="feiyu rule fields --category dns")
@click.option(
    "--category",
    default="proxy",
    show_default=True,
    help=t("The log source: proxy, webserver, dns, firewall, network."),
)
@pass_app
def fields(app: App, category: str) -> None:
    """Our own names, and those of the log source that mean them."""
    from telemetry.interception.fields import FIELDS, Known
    from telemetry.interception.taxonomy import ALIASES

    known = {Known.OPEN: t("open"), Known.PROGRESS: t("progress"), Known.CLOSE: t("close")}
    if category not in ALIASES:
        raise CliError(ExitCode.USAGE, t("there is no category {name}", name=category), ", ".join(ALIASES))
    names: dict[str, list[str]] = {}
    for alias, name in ALIASES[category].items():
        names.setdefault(name, []).append(alias)
    rows = [
        {
            "field": each.name,
            "type": str(each.type),
            "known": known[each.known],
            "fires": sorted(map(str, each.places)),
            "also": names.get(each.name, []),
        }
        for each in FIELDS.values()
    ]
    columns = [
        field("FIELD", "field"),
        field("TYPE", "type"),
        field("KNOWN FROM", "known"),
        field("ALSO CALLED", "also", wide=True),
        Column("FIRES IN", _fires),
    ]
    app.rows(rows, columns)


group.add_command(rule_blocks.blocks)
group.add_command(rule_blocks.lift)

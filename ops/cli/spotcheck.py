"""feiyu spotcheck: a sample of the log that nobody can have chosen, and what became of it."""

import rich_click as click

from ops.cli import spotcheck_draw
from ops.cli.app import App
from ops.cli.base import Group, pass_app
from ops.cli.errors import CliError, ExitCode
from ops.cli.output import Column, field
from ops.cli.spotcheck_files import rows, told
from ops.cli.times import format_moment
from ops.cli.words import t
from telemetry.spotcheck.states import Act

COLUMNS = [
    field("ID", "id"),
    field("STATE", "state"),
    Column("PLANNED", lambda item: format_moment(item.get("planned", 0))),
    field("BY", "by"),
    Column("SAMPLE", lambda item: f"{item.get('seen', 0)}/{item.get('sampled', 0)}", right=True),
    field("FINDINGS", "findings", right=True),
    field("REASON", "reason", wide=True),
]


@click.group("spotcheck", cls=Group, help=t("Spot checks: plan, draw, review; anybody can repeat the draw."))
def group() -> None:
    """The group itself does nothing."""


for command in spotcheck_draw.COMMANDS:
    group.add_command(command)


@group.command("show", help=t("List spot checks, or show one with its steps."), example="feiyu spotcheck show")
@click.argument("ref", metavar="[ID]", required=False)
@pass_app
def show(app: App, ref: str | None) -> None:
    """As control knows them; the records themselves are in the log."""
    if not ref:
        app.rows(app.client.get("/v1/spotchecks")["items"], COLUMNS, t("There are no spot checks yet."))
        return
    item = app.client.get(f"/v1/spotchecks/{ref}")
    steps = [
        f"{format_moment(step['time'] // 1_000_000)} {step['detail']} {step['facts'].get('index', '')} "
        f"{step['facts']['by']}: {step['facts']['note']}"
        for step in item["steps"]
    ]
    strata = [f"{s['name']}: {s['size']}" for s in item["plan"]["strata"]]
    app.details(item, [*rows(item), ("Value", item["plan"]["source"]), ("Strata", strata), ("Steps", steps)])


@group.command(
    "find",
    writes=True,
    help=t("Record what was found in a record of the sample; the first begins the review."),
    example="feiyu spotcheck find 7F3K9Q2M4XW5T0AB 1234 --nothing --reason 'fits grant and contract'",
)
@click.argument("ref", metavar="ID")
@click.argument("index", type=click.IntRange(0))
@click.option("--nothing", is_flag=True, help=t("Nothing was found in it."))
@pass_app
def find(app: App, ref: str, index: int, *, nothing: bool) -> None:
    """--reason says what."""
    if app.client.get(f"/v1/spotchecks/{ref}")["state"] == "SAMPLED":
        app.write("POST", ["spotchecks", ref, Act.REVIEW])
    told(app, app.write("POST", ["spotchecks", ref, Act.PASS if nothing else Act.FIND], {"index": str(index)}))


@group.command("rectify", writes=True, help=t("Record what is done about the findings."),
               example="feiyu spotcheck rectify 7F3K9Q2M4XW5T0AB --reason 'grant narrowed, revision 12'")  # fmt: skip
@click.argument("ref", metavar="ID")
@pass_app
def rectify(app: App, ref: str) -> None:
    """--reason says what."""
    told(app, app.write("POST", ["spotchecks", ref, Act.RECTIFY]))


@group.command(
    "close",
    writes=True,
    help=t("End a spot check: nothing was found, or what was found is put right (or is passed on)."),
    example="feiyu spotcheck close 7F3K9Q2M4XW5T0AB --reason 'nothing found'",
)
@click.argument("ref", metavar="ID")
@click.option("--escalate", is_flag=True, help=t("It is not put right: it goes to the authority."))
@pass_app
def close(app: App, ref: str, *, escalate: bool) -> None:
    """Which end it is follows from the state."""
    state = app.client.get(f"/v1/spotchecks/{ref}")["state"]
    if escalate and state != "RECTIFYING":
        words = t("a spot check that is {state} cannot be escalated: rectify its findings first", state=state)
        raise CliError(ExitCode.NO, words)
    end = Act.ESCALATE if escalate else Act.ACCEPT if state == "RECTIFYING" else Act.CLOSE
    told(app, app.write("POST", ["spotchecks", ref, end]))

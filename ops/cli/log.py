"""feiyu log: the records of what passed and what was refused."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import rich_click as click

from ops.cli import output, values
from ops.cli.app import App
from ops.cli.base import Group, pass_app
from ops.cli.errors import CliError, ExitCode
from ops.cli.evidence_files import OUT, emit
from ops.cli.flow import size, target_of
from ops.cli.output import Column, Item, field
from ops.cli.times import format_moment
from ops.cli.words import t
from telemetry.record import Kind
from telemetry.search import MAX_LIMIT
from whitelist.reason import Reason

STREAM = "/v1/stream"
PATIENCE = 30.0  # seconds for which a tail tries to reach the node again


def what(item: Item) -> str:
    """What a record says happened: its reason, cause or detail."""
    return str(item.get("reason") or item.get("cause") or item.get("detail") or item.get("decision") or "")


def clock(item: Item) -> str:
    """Zone time to the second."""
    seconds, micros = divmod(int(item.get("time", 0)), 1_000_000)
    return f"{format_moment(seconds)}:{seconds % 60:02}.{micros // 1000:03}" if seconds else ""


COLUMNS = [
    Column("TIME", clock),
    field("KIND", "kind"),
    field("TENANT", "tenant", wide=True),
    Column("TARGET", lambda item: target_of(item) if item.get("host") else "", wide=True),
    Column("WHAT", what, wide=True),
    field("LINE", "line"),
    Column(
        "BYTES",
        lambda item: size(item.get("bytes_out", 0) + item.get("bytes_in", 0)) if item.get("kind") == "close" else "",
        right=True,
    ),
    Column("REF", lambda item: item.get("ref") or item.get("flow", "")),
]


@click.group("log", cls=Group, help=t("Records of what passed and what was refused."))
def group() -> None:
    """The group itself does nothing."""


def _filters(function: click.decorators.FC) -> click.decorators.FC:
    for option in reversed(
        [
            click.option("--tenant", metavar="ID", help=t("Only those of this tenant.")),
            click.option("--host", metavar="HOST", help=t("Only those to this host.")),
            click.option(
                "--reason",
                "why",
                type=click.Choice([r.value for r in Reason]),
                metavar="REASON",
                help=t("Only refusals with this reason."),
            ),
            click.option("--kind", type=click.Choice([k.value for k in Kind]), help=t("Only records of this kind.")),
            click.option("--source", type=values.ADDRESS, help=t("Only those from this address.")),
        ]
    ):
        function = option(function)
    return function


def _cause(function: click.decorators.FC) -> click.decorators.FC:
    """Why an authority reads; all four stand in the record of the read, which is written before the answer."""
    for option in reversed(
        [
            click.option("--authority", metavar="TEXT", help=t("As an authority: which.")),
            click.option("--basis", metavar="TEXT", help=t("As an authority: on which legal basis.")),
            click.option("--case", metavar="TEXT", help=t("As an authority: in which case.")),
            click.option("--scope", metavar="TEXT", help=t("As an authority: within which scope.")),
            click.option("--withheld", metavar="TEXT", help=t("Why the firm is lawfully not told of this read.")),
        ]
    ):
        function = option(function)
    return function


@group.command(
    "search",
    help=t("Search the records, the newest first."),
    example="feiyu log search --tenant acme --kind deny --since 1h",
)
@_filters
@click.option("--ref", metavar="REF", help=t("The refusal with this reference."))
@click.option("--flow", metavar="ID", help=t("The records of this flow."))
@click.option("--since", type=values.SINCE, help=t("From here on: 1h, 7d, 2027-11-23."))
@click.option("--until", "until", type=values.SINCE, help=t("Up to here."))
@click.option("--limit", type=click.IntRange(1, MAX_LIMIT), default=100, show_default=True, help=t("At most so many."))
@_cause
@pass_app
def search(app: App, /, *, why: str | None, **query: Any) -> None:
    """Records that match all that was asked."""
    answer = app.client.get("/v1/log", {**query, "reason": why})
    app.rows(answer["items"], COLUMNS, t("No record matches."))
    if len(answer["items"]) == query["limit"]:
        app.say(t("There may be more: raise --limit, or narrow the search."))


@group.command(
    "export",
    data=False,
    help=t("Write all records that match as JSON lines, the newest first."),
    example="feiyu log export --tenant acme --since 30d --authority CAC --basis 'NDSR 38' --case 2027-9 --scope acme",
)
@_filters
@click.option("--flow", metavar="ID", help=t("The records of this flow."))
@click.option("--since", type=values.SINCE, help=t("From here on: 1h, 7d, 2027-11-23."))
@click.option("--until", "until", type=values.SINCE, help=t("Up to here."))
@_cause
@OUT
@pass_app
def export(app: App, /, *, why: str | None, out: Path | None, **query: Any) -> None:
    """Page by page; feiyu evidence export gives them with their proofs."""
    place, lines = "", list[str]()
    while True:
        answer = app.client.get("/v1/log", {**query, "reason": why, "limit": MAX_LIMIT, "before": place})
        lines += [output.as_json(item, indent=None) for item in answer["items"]]
        place = answer.get("next") or ""
        if not place:
            break
    emit("".join(f"{line}\n" for line in lines).encode(), out)
    app.say(t("{count} records", count=len(lines)))


@group.command(
    "tail", help=t("Follow the records as they are written, until Ctrl-C."), example="feiyu log tail --kind deny"
)
@_filters
@pass_app
def tail(app: App, /, *, why: str | None, **query: Any) -> None:
    """Records from now on; with -o json one object for each line."""
    wanted = {**query, "reason": why}
    for item in followed(app, wanted):
        if "missing" in item:
            app.say(t("{missing} records before the next are not in the log any more", missing=item["missing"]))
        elif all(value is None or str(item.get(key, "")) == value for key, value in wanted.items()):
            _one(app, item)


def followed(app: App, wanted: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """From the event stream, which goes on behind the last record after control, the streams process or the recorder
    were restarted. Where only the recorder answers, its own tail, which cannot."""
    place, path = Place(), STREAM
    while True:
        error: CliError | None = None
        try:
            yield from events(app.client.stream(path, wanted, place.last), place)
        except CliError as failed:
            error = failed
            if error.code is not ExitCode.UNREACHABLE or (path != STREAM and not place.heard):
                raise
            if not place.heard:
                path = "/v1/log/tail"
                continue
        if path != STREAM or time.monotonic() - place.heard > PATIENCE:
            if error:
                raise error
            return
        time.sleep(0.5)


class Place:
    """Where a follower is: the last event's id, and when (monotonic seconds) anything was heard last."""

    def __init__(self) -> None:
        self.last, self.heard = "", 0.0


def events(lines: Iterator[str], place: Place) -> Iterator[dict[str, Any]]:
    """The data of server-sent events (WHATWG HTML, 9.2)."""
    for line in lines:
        place.heard = time.monotonic()
        if line.startswith("id:"):
            place.last = line[3:].strip()
        text = line.removeprefix("data:").strip()
        if text.startswith("{"):
            try:
                yield json.loads(text)
            except ValueError:
                continue


def _one(app: App, item: Item) -> None:
    if app.format == "json":
        output.write(output.as_json(item, indent=None))
    elif app.format == "yaml":
        output.write("---\n" + output.as_yaml(item))
    elif app.format == "csv":
        output.write(output.as_csv(COLUMNS, [item]).split("\n", 1)[1])
    else:
        parts = [
            clock(item),
            f"{item.get('kind', ''):<9}",
            *(output.plain(column.cell(item)) for column in COLUMNS[2:]),
        ]
        output.print_text("  ".join(part for part in parts if part))
    output.flush()

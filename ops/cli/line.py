"""feiyu line: the ledger of dedicated international lines."""

from dataclasses import asdict

import rich_click as click

from ops.cli import line_figures, line_ledger, line_outer, line_share, values
from ops.cli.app import App
from ops.cli.arguments import parse_address
from ops.cli.base import Group, pass_app
from ops.cli.common import changes, clearing, either, given, provenance_rows
from ops.cli.errors import CliError, ExitCode, usage
from ops.cli.output import Column, field
from ops.cli.result import report
from ops.cli.times import format_end, format_moment
from ops.cli.words import t

ID = values.Identifier("lines")


def by_family(name: str, addresses: tuple[str, ...]) -> dict[str, str]:
    """--gateway or --source given once for each family: gateway4, gateway6 …"""
    result: dict[str, str] = {}
    for text in addresses:
        key = f"{name}{parse_address(text).version}"
        if key in result:
            raise usage(t("--{name} was given twice for the same family", name=name))
        result[key] = text
    return result


@click.group("line", cls=Group, help=t("Dedicated international lines."))
def group() -> None:
    """The group itself does nothing."""


@group.command("list", help=t("List the lines, their state and figures."), example="feiyu line list")
@click.option("--all", "everything", is_flag=True, help=t("Retired ones too."))
@pass_app
def list_(app: App, *, everything: bool) -> None:
    """The ledger."""
    items = [item for item in app.items("lines") if everything or not item.get("retired")]
    known = line_figures.live(app) if items else {}
    columns = [
        field("ID", "id"),
        Column("STATE", lambda item: line_figures.state_of(item, known)),
        *line_figures.columns(known, app.now()),
    ]
    if app.format == "csv":  # a terminal of 80 columns has no room for them
        columns += [field("DEVICE", "device"), field("CARRIER", "carrier")]
        columns.append(Column("WHY", lambda item: line_figures.why(item, known)))
    app.rows([line_figures.with_figures(item, known) for item in items], columns, t("There are no lines yet."))
    for item in items:
        if app.format == "table" and (told := line_figures.why(item, known)):
            app.say(f"{item['id']}: {told}")


@group.command("show", help=t("Show one line."), example="feiyu line show hk1")
@click.argument("line", type=ID)
@pass_app
def show(app: App, line: str) -> None:
    """One line with its numbers, its state and its figures."""
    item = app.get_one("lines", line)
    known = line_figures.live(app)
    app.details(
        line_figures.with_figures(item, known),
        [
            ("ID", item["id"]),
            ("State", line_figures.state_of(item, known)),
            *line_figures.rows(item, known, app.now()),
            ("Name", item.get("name")),
            ("Carrier", item.get("carrier")),
            ("Circuit", item.get("circuit")),
            ("Number", item.get("index")),
            ("Device", item.get("device")),
            ("Gateway", [g for g in (item.get("gateway4"), item.get("gateway6")) if g]),
            ("Source", [s for s in (item.get("source4"), item.get("source6")) if s]),
            ("Resolvers", item.get("resolvers")),
            ("Side", t(item.get("side", "abroad"))),
            ("From", format_moment(item.get("valid_from", 0))),
            ("Until", format_end(item.get("valid_until", 0)) or t("no end")),
            *line_outer.rows(item),
            *line_ledger.rows(item, app.now()),
            *provenance_rows(item),
        ],
    )
    if told := line_ledger.warning(item, app.now()):
        app.say(t("warning: {text}", text=told))


def _options(function: click.decorators.FC) -> click.decorators.FC:
    function = line_outer.options(function)  # the last of the list
    for option in reversed(
        [
            click.option(
                "--gateway", "gateways", multiple=True, type=values.ADDRESS, help=t("Next hop; once for each family.")
            ),
            click.option(
                "--source",
                "sources",
                multiple=True,
                type=values.ADDRESS,
                help=t("Our address on it; once for each family."),
            ),
            click.option(
                "--resolver",
                "resolvers",
                multiple=True,
                metavar="ADDRESS|tls://ADDRESS#NAME",
                help=t("Resolver asked over it, over TLS or not; may be repeated."),
            ),
            click.option("--name", metavar="TEXT", help=t("Name.")),
            click.option("--carrier", metavar="TEXT", help=t("The carrier that sells it.")),
            click.option("--circuit", metavar="TEXT", help=t("The carrier's circuit number.")),
            click.option("--side", type=values.SIDE, help=t("Where its far end lies (default: abroad).")),
            click.option("--from", "valid_from", type=values.FROM, help=t("Start (default: now).")),
            click.option(
                "--until", type=values.UNTIL, help=t("End: a date (that day included), a time, or a duration.")
            ),
            click.option("--for", "for_", type=values.FOR, help=t("End, as a duration from now: 90d, 12mo.")),
        ]
    ):
        function = option(function)
    return line_ledger.options(function)


@group.command(
    "add",
    writes=True,
    help=t("Add a line."),
    example="feiyu line add hk1 --device l1 --gateway 192.0.2.1 --source 192.0.2.2 --resolver 192.0.2.53 --reason new",
)
@click.argument("line", metavar="ID")
@click.option("--device", required=True, metavar="NAME", help=t("The network device that leads to it."))
@_options
@pass_app
def add(
    app: App,
    /,
    line: str,
    *,
    gateways: tuple[str, ...],
    sources: tuple[str, ...],
    until: int | None,
    for_: int | None,
    **fields: object,
) -> None:
    """A new line."""
    end = either(until, for_, "--until", "--for", required=False)
    addresses = {**by_family("gateway", gateways), **by_family("source", sources)}
    outer = line_outer.encapsulation(fields)
    body = {"id": line, **addresses, **outer, **given(line_ledger.gathered({**fields, "valid_until": end}))}
    report(app, app.write("POST", ["lines"], body), "line", "added")
    if told := line_ledger.warning({"id": line, **body}, app.now()):
        app.say(t("warning: {text}", text=told))


@group.command(
    "edit",
    writes=True,
    help=t("Change what is given; lists are replaced whole."),
    example="feiyu line edit hk1 --resolver 198.51.100.54 --reason 'resolver moved'",
)
@click.argument("line", type=ID)
@click.option("--device", metavar="NAME", help=t("The network device that leads to it."))
@_options
@clearing(
    "name", "carrier", "circuit", "resolvers", "until", "valid-until", "gateway4", "gateway6", "source4", "source6",
    "customer", "attachments", "probes", "bandwidth", "rate-up", "rate-down", "officer", "officer-contact",
)  # fmt: skip
@pass_app
def edit(
    app: App,
    /,
    line: str,
    *,
    gateways: tuple[str, ...],
    sources: tuple[str, ...],
    until: int | None,
    for_: int | None,
    clear: tuple[str, ...],
    **fields: object,
) -> None:
    """Other values for some fields of a line."""
    end = either(until, for_, "--until", "--for", required=False)
    addresses = {**by_family("gateway", gateways), **by_family("source", sources)}
    before = app.get_one("lines", line) if line_outer.given(fields) else {}  # what is around it may have to go first
    outer = line_outer.encapsulation(fields, before)
    plain = {"encapsulation"} if None in outer.values() else set()
    body = changes({**line_ledger.gathered({**fields, "valid_until": end}), **addresses, **outer}, (*clear, *plain))
    answer = app.write("PATCH", ["lines", line], body, before)
    report(app, answer, "line", "changed", line)
    if note := line_outer.left_behind(before, answer.get("item") or {}):
        app.say(note)


def _action(name: str, done: str, help_text: str, why: str) -> None:
    @group.command(name, writes=True, help=help_text, example=f"feiyu line {name} hk1 --reason '{why}'")
    @click.argument("line", type=ID)
    @pass_app
    def action(app: App, line: str) -> None:
        report(app, app.write("POST", ["lines", line, name]), "line", done, line)


_action("drain", "drained", t("Let no new flows onto a line; live ones go on."), "maintenance tonight")
_action("undrain", "undrained", t("Use a drained line again."), "maintenance done")
_action("retire", "retired", t("Take a line out of use for good."), "contract ended")
line_share.add_to(group, ID)


@group.command(
    "probe", help=t("Ask the line's probes once, over the line; as root on the node."), example="feiyu line probe hk1"
)
@click.argument("line", type=ID)
@pass_app
def probe(app: App, line: str) -> None:
    """One round; exit status 1 where one is not answered."""
    import msgspec

    from gateway.line.model import LineError
    from gateway.line.probe import probe_line  # brings sockets and asyncio with it
    from ops.settings import load_settings
    from whitelist.model import Line

    entry = msgspec.convert(app.get_one("lines", line), Line)
    try:
        base = load_settings(app.config_path).line_base.mark
        results = probe_line(entry, base)
    except LineError as error:
        raise CliError(ExitCode.NO, str(error)) from None
    rows = [asdict(result) for result in results]
    columns = [
        field("TARGET", "target"),
        Column("ANSWERED", lambda item: t("yes") if item["ok"] else t("no")),
        Column("RTT", lambda item: f"{item['rtt_us'] / 1000:.1f} ms" if item["rtt_us"] else ""),
        field("WHY", "why"),
    ]
    app.rows(rows, columns, t("The line has no probes: feiyu line edit {line} --probe", line=line))
    if not all(result.ok for result in results):
        raise CliError(ExitCode.NO, t("a probe was not answered"))

"""The figures of lines on the command line: what is not known is said to be so, and is never 0."""

from typing import Any

from ops.cli.app import App
from ops.cli.errors import CliError
from ops.cli.flow import age, size
from ops.cli.output import Column, Item
from ops.cli.words import t

type Live = dict[str, Item]
_DAY = 86_400
_UNKNOWN = "?"


def live(app: App) -> Live:
    """Figures by line, as the node knows them; what it cannot tell it says on stderr. Empty while it says nothing."""
    try:
        told = app.client.get("/v1/figures/lines")
    except CliError as error:
        app.say(t("warning: {text}", text=str(error)))
        return {}
    for text in told.get("unknown") or []:
        app.say(t("warning: {text}", text=text))
    return {str(item["line"]): item for item in told.get("items") or []}


def with_figures(line: Item, known: Live) -> dict[str, Any]:
    """The line with its live state, and its figures in a field of their own."""
    figures = {name: value for name, value in of(line, known).items() if name not in ("line", "state")}
    return {**line, "state": of(line, known).get("state", "unknown"), "figures": figures}


def of(line: Item, known: Live) -> Item:
    """What is known of one line."""
    return known.get(str(line["id"]), {})


def why(line: Item, known: Live) -> str:
    """Why it is in that state, in the lines process's words."""
    return str(of(line, known).get("why") or "")


def state_of(line: Item, known: Live) -> str:
    """The ledger's word for a line where it has one, else what the lines process last said. A line that is drained is
    draining while it has flows."""
    if line.get("retired"):
        return t("retired")
    figures = of(line, known)
    state = str(figures.get("state") or "unknown")
    if line.get("drained") and state != "down":
        return t("draining") if figures.get("flows") else t("drained")
    return t(state)


def columns(known: Live, now: int) -> list[Column]:
    """Of the list. Round trip and loss are those of probes; of flows, with a ~, where a line has no probes."""

    def figure(name: str, title: str) -> Column:
        return Column(title, lambda line: _or_unknown(of(line, known).get(name)), right=True)

    def octets(name: str, title: str) -> Column:
        return Column(title, lambda line: _size(of(line, known).get(name)), right=True)

    return [
        Column("SINCE", lambda line: _since(of(line, known), now), right=True),
        Column("RTT", lambda line: _rtt(of(line, known)), right=True),
        Column("LOSS", lambda line: _loss(of(line, known)), right=True),
        figure("flows", "FLOWS"),
        octets("bytes_out", "OUT"),
        octets("bytes_in", "IN"),
        Column("DAYS", lambda line: _days_left(line, now), right=True),
        figure("repairs", "REPAIRS"),
        figure("dropped", "DROPPED"),
    ]


def rows(line: Item, known: Live, now: int) -> list[tuple[str, object]]:
    """Of the details of one line; days left are in the ledger's rows."""
    figures = of(line, known)

    def said(value: object) -> object:
        return t("unknown") if value is None else value

    return [
        ("Since", said(_since(figures, now, None))),
        ("Why", figures.get("why")),
        ("Round trip (probes)", said(_milliseconds(figures.get("rtt_us")))),
        ("Round trip (flows)", said(_milliseconds(figures.get("passive_rtt_us")))),
        ("Loss (probes)", said(_part(figures.get("loss_permille"), 1_000))),
        ("Sent again (flows)", said(_part(figures.get("retransmits_ppm"), 1_000_000))),
        ("Open flows", said(figures.get("flows"))),
        ("Bytes out", said(figures.get("bytes_out"))),
        ("Bytes in", said(figures.get("bytes_in"))),
        ("Drift repairs", said(figures.get("repairs"))),
        ("Dropped by the kill switch", said(figures.get("dropped"))),
        ("Without a free port", said(figures.get("exhausted"))),
    ]


def _or_unknown(value: object) -> object:
    return _UNKNOWN if value is None else value


def _size(value: int | None) -> str:
    return _UNKNOWN if value is None else size(value)


def _since(figures: Item, now: int, unknown: str | None = _UNKNOWN) -> str | None:
    since = figures.get("since")
    return age(now - since) if since else unknown


def _rtt(figures: Item) -> str:
    of_flows = _milliseconds(figures.get("passive_rtt_us"))
    return _milliseconds(figures.get("rtt_us")) or (f"~{of_flows}" if of_flows else _UNKNOWN)


def _loss(figures: Item) -> str:
    of_flows = _part(figures.get("retransmits_ppm"), 1_000_000)
    return _part(figures.get("loss_permille"), 1_000) or (f"~{of_flows}" if of_flows else _UNKNOWN)


def _milliseconds(value: int | None) -> str | None:
    return None if value is None else f"{value / 1000:.1f} ms" if value < 10_000 else f"{value / 1000:.0f} ms"


def _part(value: int | None, of_all: int) -> str | None:
    return None if value is None else f"{100 * value / of_all:.1f}%"


def _days_left(line: Item, now: int) -> object:
    """Empty for a contract without an end."""
    end = int(line.get("valid_until") or 0)
    return max(0, (end - now) // _DAY) if end else ""

"""feiyu line share and unshare: what one tenant has of a line."""

from typing import Any

import rich_click as click

from ops.cli import values
from ops.cli.app import App
from ops.cli.arguments import parse_address
from ops.cli.base import Group, pass_app
from ops.cli.errors import usage
from ops.cli.result import report
from ops.cli.words import t
from whitelist.line_rules import MAX_SHARE


def add_to(group: Group, line_id: values.Identifier) -> None:
    """Adds both commands to the group."""

    @group.command(
        "share",
        writes=True,
        help=t("Give a tenant its share of a line: rates, and egress addresses of its own."),
        example="feiyu line share hk1 acme --up 10mbit..20mbit --down 10mbit..50mbit --reason 'contract 7'",
    )
    @click.argument("line", type=line_id)
    @click.argument("tenant", type=values.Identifier("tenants"))
    @click.option(
        "--source", "sources", multiple=True, type=values.ADDRESS, help=t("Its egress address; once for each family.")
    )
    @click.option("--up", type=values.SPAN, help=t("Guaranteed rate and ceiling towards abroad."))
    @click.option("--down", type=values.SPAN, help=t("Guaranteed rate and ceiling from abroad."))
    @pass_app
    def share(
        app: App,
        line: str,
        tenant: str,
        sources: tuple[str, ...],
        up: tuple[int, int] | None,
        down: tuple[int, int] | None,
    ) -> None:
        """A new share, or other values for those given."""
        seen = app.get_one("lines", line)
        shares: list[dict[str, Any]] = list(seen.get("shares") or [])
        before = next((one for one in shares if one["tenant"] == tenant), None)
        taken = {one["number"] for one in shares}
        free = (number for number in range(1, MAX_SHARE + 1) if number not in taken)
        wanted: dict[str, Any] = dict(before or {"tenant": tenant, "number": next(free, 0)})
        wanted |= {f"source{parse_address(text).version}": text for text in sources}
        for name, span in (("up", up), ("down", down)):
            if span is not None:
                wanted |= {name: span[0], f"{name}_ceiling": span[1]}
        kept = [one for one in shares if one["tenant"] != tenant]
        report(app, app.write("PATCH", ["lines", line], {"shares": [*kept, wanted]}, seen), "line", "changed", line)

    @group.command(
        "unshare",
        writes=True,
        help=t("Take a tenant's share of a line back; it uses the line as all others do."),
        example="feiyu line unshare hk1 acme --reason 'contract 7 ended'",
    )
    @click.argument("line", type=line_id)
    @click.argument("tenant", type=values.Identifier("tenants"))
    @pass_app
    def unshare(app: App, line: str, tenant: str) -> None:
        """The share is gone."""
        seen = app.get_one("lines", line)
        shares = list(seen.get("shares") or [])
        kept = [one for one in shares if one["tenant"] != tenant]
        if len(kept) == len(shares):
            raise usage(t("tenant {tenant} has no share of line {line}", tenant=tenant, line=line))
        report(app, app.write("PATCH", ["lines", line], {"shares": kept}, seen), "line", "changed", line)

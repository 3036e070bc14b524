"""The kinds of values the commands take, and the completion of identifiers."""

import time

import click
from click.shell_completion import CompletionItem

from ops.cli.amounts import parse_rate, parse_size, parse_span
from ops.cli.app import App
from ops.cli.arguments import SIDES, parse_address, parse_endpoint, parse_place, parse_ports, parse_prefix, parse_target
from ops.cli.base import Parsed
from ops.cli.client import Client, path_of
from ops.cli.errors import CliError
from ops.cli.times import parse_duration, parse_hours, parse_weekdays, parse_when


def _now() -> int:
    return int(time.time())


PLACE = Parsed("SITE/ROOM/IF/PREFIX", parse_place)
ENDPOINT = Parsed("SCHEME://HOST:PORT", parse_endpoint)
PREFIX = Parsed("PREFIX", parse_prefix)
TARGET = Parsed("HOST|PREFIX", parse_target)
ADDRESS = Parsed("ADDRESS", lambda text: str(parse_address(text)))
PORTS = Parsed("PORT[,PORT]", parse_ports)
WEEKDAYS = Parsed("DAYS", parse_weekdays)
HOURS = Parsed("HH:MM-HH:MM", parse_hours)
FROM = Parsed("WHEN", lambda text: parse_when(text, _now()))
UNTIL = Parsed("WHEN", lambda text: parse_when(text, _now(), end_of_day=True))
FOR = Parsed("DURATION", lambda text: parse_duration(text).shift(_now()))
SINCE = Parsed("WHEN", lambda text: parse_when(text, _now(), past=True))
RATE = Parsed("RATE", parse_rate)
SPAN = Parsed("RATE[..RATE]", parse_span)
SIZE = Parsed("BYTES", parse_size)
SIDE = click.Choice(SIDES)


class Identifier(click.ParamType[str]):
    """The id of an item; completes from control where it answers at once."""

    name = "ID"

    def __init__(self, collection: str) -> None:
        self._collection = collection

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The id as it is: the server knows which are good."""
        if not value.strip():
            self.fail("empty", param, ctx)
        return value

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """Ids that start with what was typed."""
        app = ctx.find_object(App) or App()
        try:
            items = Client(app.socket, timeout=0.5).get(path_of(self._collection)).get("items", [])
        except CliError:
            return []
        ids = [str(item.get("id", "")) for item in items]
        return [CompletionItem(known) for known in ids if known.startswith(incomplete)]

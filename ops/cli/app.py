"""What every command shares: the global options, the client, the ways to say something and to show data."""

import os
import re
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import cached_property
from pathlib import Path
from typing import Any

import click

from ops.cli import output
from ops.cli.client import Client, Json, path_of
from ops.cli.errors import CliError, usage
from ops.cli.output import Column, Item
from ops.cli.words import t

DEFAULT_CONFIG = "/etc/feiyu/feiyu.yaml"
DEFAULT_SOCKET = "/run/feiyu/control.sock"
PAGE = 1000  # items in one answer
COLLECTIONS = {
    "tenant": "tenants",
    "group": "groups",
    "service": "services",
    "category": "categories",
    "line": "lines",
}
_UNKNOWN = re.compile(r"there is no (\w+) ([^\s,;]+)")  # as the register says it


@dataclass
class App:
    """The global options of one call, and the things made from them when first needed."""

    format: str = "table"
    interactive: bool = True
    reason: str = ""
    server: str = ""
    config: str = ""
    now: Callable[[], int] = field(default=lambda: int(time.time()))

    @property
    def config_path(self) -> Path:
        """The node's configuration: --config, else FEIYU_CONFIG, else /etc/feiyu/feiyu.yaml."""
        return Path(self.config or os.environ.get("FEIYU_CONFIG", "") or DEFAULT_CONFIG)

    @property
    def socket(self) -> str:
        """Control's socket: --server, else FEIYU_SERVER, else the configuration's. Where that is not there or
        not this account's to read, and nobody named it, the default socket is tried."""
        if named := self.server or os.environ.get("FEIYU_SERVER", ""):
            return named
        asked = bool(self.config or os.environ.get("FEIYU_CONFIG", ""))
        if not asked and not os.access(self.config_path, os.R_OK):
            return DEFAULT_SOCKET
        # not needed, and not loaded, where --server is given
        from ops.cli.configuration import load

        return str(Path(load(self.config_path).run_dir) / "control.sock")

    @cached_property
    def client(self) -> Client:
        """The client of control's API."""
        return Client(self.socket)

    def say(self, text: str) -> None:
        """A message for a person: stderr, so that stdout holds only data."""
        output.write(output.escape_lines(text), sys.stderr)

    def show(self, value: object, human: Callable[[], None]) -> None:
        """One thing: as JSON or YAML whole, else as `human` prints it."""
        if self.format == "json":
            output.write(output.as_json(value))
        elif self.format == "yaml":
            output.write(output.as_yaml(value))
        else:
            human()

    def rows(self, items: Sequence[Item], columns: Sequence[Column], nothing: str = "") -> None:
        """Several things, as the format says. In a table, none are a sentence on stderr."""
        if self.format == "csv":
            output.write(output.as_csv(columns, items))
        elif items or self.format != "table":
            self.show(list(items), lambda: output.print_table(columns, items))
        else:
            self.say(nothing or t("Nothing found."))

    def details(self, item: Item, rows: Sequence[tuple[str, object]]) -> None:
        """One thing with its fields below each other; in CSV a line for each field."""
        if self.format == "csv":
            pairs = [{"field": name, "value": value} for name, value in rows if value not in (None, "", [], ())]
            output.write(output.as_csv([output.field("FIELD", "field"), output.field("VALUE", "value")], pairs))
        else:
            self.show(item, lambda: output.print_details(rows))

    def need_reason(self) -> str:
        """The reason for a write. Asked for where somebody is there to answer."""
        if not self.reason.strip() and self.interactive and sys.stdin.isatty() and sys.stderr.isatty():
            self.reason = str(click.prompt(t("Reason (stands in the record)"), err=True))
        if not self.reason.strip():
            raise usage(
                t("every change needs a reason"),
                t('Add --reason "…"; it is kept with the change, for those who review it.'),
            )
        return self.reason.strip()

    def items(self, collection: str, **where: str | None) -> list[Json]:
        """All items of a collection, page by page; where: columns that the server searches by."""
        found: list[Json] = []
        query: dict[str, object] = {**where, "limit": PAGE}
        while True:
            page = self.client.get(path_of(collection), query)
            found += page["items"]
            if not page.get("next") or page["next"] == query.get("cursor"):
                return found
            query["cursor"] = page["next"]

    def get_one(self, collection: str, identifier: str) -> Json:
        """One item by its id; an unknown id comes with the one that was probably meant."""
        try:
            return self.client.get(path_of(collection, identifier))
        except CliError as error:
            raise self.suggest(error, collection, identifier) from None

    def suggest(self, error: CliError, collection: str, identifier: str) -> CliError:
        """The error, and for a 404 the ids that look like the one given."""
        if error.status != 404 or not (near := self._near(collection, identifier)):
            return error
        remedy = t("Did you mean {names}?", names=near)
        return CliError(error.code, error.message, remedy, error.fields, error.status)

    def suggest_fields(self, error: CliError) -> CliError:
        """The error, and behind each field that names something unknown the ids that look like it."""
        fields = []
        for name, message in error.fields:
            found = _UNKNOWN.search(message)
            near = self._near(COLLECTIONS[found[1]], found[2]) if found and found[1] in COLLECTIONS else ""
            fields.append((name, f"{message}. {t('Did you mean {names}?', names=near)}" if near else message))
        return CliError(error.code, error.message, error.remedy, fields, error.status)

    def _near(self, collection: str, identifier: str) -> str:
        """Up to three known ids that look like this one, in words; the first page of them is enough for a hint."""
        try:
            page = self.client.get(path_of(collection), {"limit": PAGE})
        except CliError:
            return ""
        known = [str(item.get("id", "")) for item in page.get("items", [])]
        return t(" or ").join(get_close_matches(identifier, known, n=3, cutoff=0.6))

    def write(
        self,
        method: str,
        parts: Sequence[str],
        body: Mapping[str, Any] | None = None,
        seen: Mapping[str, Any] | None = None,
    ) -> Json:
        """A change through the API, with its reason. Returns the answer of control once the change is enforced. seen:
        the item that the change was made from; where somebody changed it since, nothing is done (exit 4)."""
        reason = self.need_reason()
        query = {"reason": reason} if method == "DELETE" else None
        payload = None if method == "DELETE" else {**(body or {}), "reason": reason}
        try:
            revision = int(((seen or {}).get("provenance") or {}).get("revision") or 0) or None
            return self.client.call(method, path_of(*parts), payload, query, revision)
        except CliError as error:
            named = self.suggest(error, parts[0], parts[1]) if len(parts) > 1 else error
            raise self.suggest_fields(named) from None

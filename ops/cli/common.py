"""Small parts that several groups of commands share."""

from collections.abc import Callable, Mapping
from typing import Any

import rich_click as click

from ops.cli import values
from ops.cli.errors import usage
from ops.cli.output import Item
from ops.cli.times import format_moment
from ops.cli.words import t


def validity[F: Callable[..., Any]](function: F) -> F:
    """The options --from, --until and --for of a command, as from_, until and for_."""
    options = [
        click.option("--from", "from_", type=values.FROM, help=t("Start (default: now).")),
        click.option("--until", type=values.UNTIL, help=t("End: a date (that day included), a time, or a duration.")),
        click.option("--for", "for_", type=values.FOR, help=t("End, as a duration from now: 90d, 12mo.")),
    ]
    for option in reversed(options):
        function = option(function)
    return function


def either(
    first: int | None, second: int | None, first_name: str, second_name: str, *, required: bool = True
) -> int | None:
    """The one of two options that was given. Errors: usage, if both are, or none where one is required."""
    if first is not None and second is not None:
        raise usage(
            t("{first} and {second} say the same thing: give one of them", first=first_name, second=second_name)
        )
    if required and first is None and second is None:
        raise usage(t("say how long: {first} 2027-11-23 or {second} 12mo", first=first_name, second=second_name))
    return second if first is None else first


def given(fields: Mapping[str, object]) -> dict[str, Any]:
    """Only the options that were given, as JSON."""
    result = {key: list(value) if isinstance(value, tuple) else value for key, value in fields.items()}
    return {key: value for key, value in result.items() if value is not None and value != []}


def clearing(*names: str) -> Callable[[click.decorators.FC], click.decorators.FC]:
    """The option --clear of an edit: these fields can go back to their defaults."""
    return click.option(
        "--clear", multiple=True, type=click.Choice(names), help=t("Empty this field; may be repeated.")
    )


_FIELDS = {"until": "valid_until"}  # options whose field has another name


def changes(fields: Mapping[str, object], clear: tuple[str, ...]) -> dict[str, Any]:
    """The body of an edit (RFC 7396: null takes a field back to its default). Errors: usage, if it is empty."""
    body = {**given(fields), **{_FIELDS.get(name, name.replace("-", "_")): None for name in clear}}
    if not body:
        raise usage(t("nothing to change was given"), t("See --help for what can be changed."))
    return body


def provenance_rows(item: Item) -> list[tuple[str, object]]:
    """How an item came to be in force."""
    provenance = item.get("provenance") or {}
    return [
        ("Marked", provenance.get("origin", "")),
        ("By", provenance.get("actor", "")),
        ("Reason", provenance.get("reason", "")),
        ("Added", format_moment(provenance.get("created", 0))),
        ("Changed", format_moment(provenance.get("updated", 0))),
        ("Revision", provenance.get("revision") or ""),
    ]

"""The contract side of a line on the command line: options that set it, rows that show it."""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import rich_click as click

from ops.cli import values
from ops.cli.amounts import format_rate, format_span
from ops.cli.errors import usage
from ops.cli.output import Item
from ops.cli.words import t
from whitelist.model import CustomerFile, LineKind

_CUSTOMER = CustomerFile.__struct_fields__
_DAY = 86_400
DAYS_WARNED = 60  # as tenants are: renewal is due so many days before the end


def options[F: Callable[..., Any]](function: F) -> F:
    """The options; gathered() makes fields of them."""
    for option in reversed(
        [
            click.option(
                "--kind",
                type=click.Choice([k.value for k in LineKind]),
                help=t("What the carrier sells (default: iplc)."),
            ),
            click.option("--purpose", metavar="CLASS", help=t("Purpose class (default: internal_office).")),
            click.option("--bandwidth", type=values.RATE, help=t("Contracted bandwidth.")),
            click.option("--officer", metavar="TEXT", help=t("The responsible officer.")),
            click.option("--officer-contact", metavar="TEXT", help=t("How to reach the responsible officer.")),
            click.option(
                "--customer",
                "customer",
                multiple=True,
                metavar="FIELD=TEXT",
                help=t("A field of the customer file ({fields}).", fields=", ".join(_CUSTOMER)),
            ),
            click.option(
                "--attach",
                "attachments",
                multiple=True,
                metavar="KIND=FILE",
                help=t("A document of the contract: its digest is kept, the document stays with you."),
            ),
            click.option(
                "--probe",
                "probes",
                multiple=True,
                metavar="URL",
                help=t("What is asked over it to see that it carries: tcp://ADDRESS:PORT or http://ADDRESS/PATH."),
            ),
            click.option("--rate-up", type=values.RATE, help=t("Shape it to this rate towards abroad.")),
            click.option("--rate-down", type=values.RATE, help=t("Shape it to this rate from abroad.")),
        ]
    ):
        function = option(function)
    return function


def gathered(fields: dict[str, Any]) -> dict[str, Any]:
    """The options' values as the API takes them; fields of the customer file that are not named stay (the patch is
    merged, RFC 7396). Errors: usage, for a field that is none or a file that cannot be read."""
    customer: dict[str, Any] = {}
    for text in fields.pop("customer", ()):
        name, equals, value = text.partition("=")
        name = name.replace("-", "_")
        if not equals or name not in _CUSTOMER or (name == "headcount" and not value.isdecimal()):
            raise usage(t("{text!r} is no field of the customer file; expected FIELD=TEXT", text=text))
        customer[name] = int(value) if name == "headcount" else value
    if customer:
        fields["customer"] = customer
    if attached := [_attachment(text) for text in fields.pop("attachments", ())]:
        fields["attachments"] = attached
    return fields


def _attachment(text: str) -> dict[str, str]:
    kind, equals, name = text.partition("=")
    if not equals:
        raise usage(t("{text!r} is no attachment; expected KIND=FILE", text=text))
    path = Path(name)
    try:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise usage(t("{path} cannot be read: {why}", path=name, why=error.strerror or "")) from None
    return {"kind": kind, "sha256": digest, "name": path.name}


def rows(item: Item, now: int) -> list[tuple[str, object]]:
    """Contract side, customer file, shaping and shares of a line."""
    customer = item.get("customer") or {}
    end = int(item.get("valid_until") or 0)
    left = (end - now) // _DAY if end else None
    shares = [_share(share) for share in item.get("shares") or []]
    attachments = [f"{a['kind']} {a.get('name', '')} sha256:{a['sha256']}" for a in item.get("attachments") or []]
    return [
        ("Kind", item.get("kind")),
        ("Purpose", item.get("purpose")),
        ("Bandwidth", format_rate(int(item.get("bandwidth") or 0))),
        ("Officer", " ".join(filter(None, (item.get("officer"), item.get("officer_contact"))))),
        ("Customer file", [f"{name}: {value}" for name, value in customer.items() if value]),
        ("Attachments", attachments),
        ("Contract days left", "" if left is None else max(left, 0)),
        ("Probes", item.get("probes")),
        ("Rate up", format_rate(int(item.get("rate_up") or 0))),
        ("Rate down", format_rate(int(item.get("rate_down") or 0))),
        ("Shares", shares),
    ]


def _share(share: Item) -> str:
    """acme (1) 192.0.2.6 up 10mbit..20mbit."""
    parts = [f"{share['tenant']} ({share['number']})", share.get("source4") or "", share.get("source6") or ""]
    for name in ("up", "down"):
        span = format_span(share.get(name) or 0, share.get(f"{name}_ceiling") or 0)
        parts.append(f"{name} {span}" if span else "")
    return " ".join(filter(None, parts))


def warning(item: Item, now: int) -> str:
    """What a person should know of the contract's end, or nothing."""
    end = int(item.get("valid_until") or 0)
    if not end or item.get("retired"):
        return ""
    if end <= now:
        return t("the contract has ended: the line carries nothing; feiyu line edit {line} --until", line=item["id"])
    days = (end - now) // _DAY
    return t("the contract ends in {days} days", days=days) if days < DAYS_WARNED else ""

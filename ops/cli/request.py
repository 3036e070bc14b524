"""feiyu request: what waits for a second person, and that person's signature."""

import json
import time
from collections.abc import Iterator
from typing import Any

import rich_click as click

from ops.cli import keyfile, output, values
from ops.cli.app import App
from ops.cli.base import Group, pass_app
from ops.cli.client import Json, path_of
from ops.cli.errors import CliError, ExitCode, usage
from ops.cli.output import Column, Item, field
from ops.cli.result import enforcement, waits
from ops.cli.secret import PASSPHRASE, can_ask, from_file, secret
from ops.cli.times import format_moment
from ops.cli.words import t
from tenants.approval import sign
from tenants.request import RequestState, Step, digest_of

ID = values.Identifier("requests")
CONFIRMED = ("tenants", "services", "grants", "denies", "credentials", "lines")
MOST = 20  # items shown of a request that changes many; -o json shows all
COLUMNS = [
    field("ID", "id"),
    field("STATE", "state"),
    field("BY", "submitter"),
    field("CHANGES", "collections", wide=True),
    Column("SUBMITTED", lambda item: format_moment(item.get("submitted", 0))),
    Column("LAPSES", lambda item: format_moment(item.get("expires", 0))),
    field("WAITS FOR", "waits_for", wide=True),
    field("REASON", "reason", wide=True),
]


@click.group("request", cls=Group, help=t("Changes that wait for a second person."))
def group() -> None:
    """The group itself does nothing."""


@group.command("list", help=t("List the requests."), example="feiyu request list --waiting-for me")
@click.option("--waiting-for", type=click.Choice(["me"]), help=t("Only those that you could decide on."))
@click.option(
    "--state", type=click.Choice([state.value for state in RequestState]), help=t("Only those in this state.")
)
@pass_app
def list_(app: App, waiting_for: str | None, state: str | None) -> None:
    """All requests, or those that wait."""
    items = app.items("requests", waiting_for=waiting_for, state=state)
    app.rows(items, COLUMNS, t("No request waits for you.") if waiting_for else t("There are no requests."))


@group.command("show", help=t("Show what a request would change."), example="feiyu request show r-7k3m9q2x4w")
@click.argument("request", type=ID)
@pass_app
def show(app: App, request: str) -> None:
    """What an approver signs for."""
    told = _read(app, request)
    app.show(told, lambda: _print(told))


def _read(app: App, request: str) -> Json:
    """The request; its content is parsed from the very bytes that the digest is of. Errors: CliError where they do not
    fit, since then what is shown is not what would be signed."""
    told = app.client.get(path_of("requests", request))
    text = str(told["content"])
    if digest_of(text.encode()) != told["digest"]:
        raise CliError(
            ExitCode.NO,
            t("request {id} is not what its digest says: do not decide on it", id=request),
            t("Tell the audit administrator; feiyu audit verify reads the chain."),
        )
    return {**told, "content": json.loads(text)}


def _print(told: Json) -> None:
    rows = [
        ("ID", told["id"]), ("State", told["state"]), ("By", f"{told['submitter']} ({', '.join(told['roles'])})"),
        ("Reason", told["reason"]), ("Submitted", format_moment(told["submitted"])),
        ("Lapses", format_moment(told["expires"])), ("Waits for", told["waits_for"]), ("Digest", told["digest"]),
        ("Revision", told["revision"] or ""),
    ]  # fmt: skip
    output.print_details(rows)
    shown = told["content"]["shown"]
    for item in shown[:MOST]:
        output.write(f"\n{output.escape(item['verb'])} {output.escape(item['collection'])}/{output.escape(item['id'])}")
        for name, before, after in differences(item):
            output.write(f"  {output.escape(name)}: {_value(before)} → {_value(after)}")
    if len(shown) > MOST:
        output.write("\n" + t("… and {count} more; -o json shows all", count=len(shown) - MOST))
    for one in told.get("decisions", []):
        role = f" ({one['role']})" if one["role"] else ""
        output.write(f"\n{one['decision']} · {one['account']}{role} · {format_moment(one['time'])} · {one['reason']}")


def differences(item: Item) -> Iterator[tuple[str, Any, Any]]:
    """(field, before, after) of what differs; before is None for a field of a new item."""
    before, after = item.get("before") or {}, item.get("after") or {}
    for name in dict.fromkeys([*before, *after]):
        if before.get(name) != after.get(name):
            yield name, before.get(name), after.get(name)


def _value(value: Any) -> str:
    return "–" if value is None else output.escape(json.dumps(value, ensure_ascii=False))


def _decide(app: App, request: str, step: Step, digest: str | None, passphrase_file: str | None) -> Json:
    """Shows, asks, signs, sends."""
    me = (app.client.get("/v1/whoami").get("account")) or {}
    if not me:
        raise CliError(ExitCode.NO, t("this node has no accounts, so nothing waits for anybody"))
    told = _read(app, request)
    if digest and told["digest"] != digest:
        raise CliError(
            ExitCode.CONFLICT,
            t("request {id} has the digest {digest}", id=request, digest=told["digest"]),
            t("Look at it again: feiyu request show."),
        )
    role = next((role for role in me["roles"] if role in told["waits_for"]), "")
    if not role and told["state"] == RequestState.SUBMITTED:
        waits = ", ".join(told["waits_for"])
        raise CliError(ExitCode.FORBIDDEN, t("request {id} waits for: {roles}", id=request, roles=waits))
    if not digest:
        if not can_ask(app):
            raise usage(t("--digest is needed, as nobody can be asked: it says what you decide on"))
        _print(told)
        click.confirm(t("Approve this?") if step is Step.APPROVE else t("Reject this?"), abort=True, err=True)
    key = keyfile.unseal(me["id"], secret(app, t("Passphrase of your key"), passphrase_file, PASSPHRASE))
    made = sign(key, request, told["digest"], step, me["id"], role or me["roles"][0], int(time.time()))
    body = {name: getattr(made, name) for name in ("digest", "role", "time", "key", "signature")}
    return app.client.call("POST", path_of("requests", request, step), {**body, "reason": app.reason})


@group.command(
    "approve",
    help=t("Approve a request with your signature; it is in force at once."),
    example="feiyu request approve r-7k3m9q2x4w",
)
@click.argument("request", type=ID)
@click.option("--digest", metavar="HEX", help=t("What you decide on, as request show says it; nothing is asked then."))
@from_file(PASSPHRASE)
@pass_app
def approve(app: App, request: str, *, digest: str | None, passphrase_file: str | None) -> None:
    """Nobody approves what that same person asked for."""
    answer = _decide(app, request, Step.APPROVE, digest, passphrase_file)
    parts = [t("request {id} approved", id=request), t("revision {number}", number=answer["revision"])]
    app.show(answer, lambda: output.write(" · ".join([*parts, enforcement(answer)])))


@group.command(
    "reject",
    writes=True,
    help=t("Reject a request with your signature."),
    example="feiyu request reject r-7k3m9q2x4w --reason 'no contract'",
)
@click.argument("request", type=ID)
@click.option("--digest", metavar="HEX", help=t("What you decide on, as request show says it; nothing is asked then."))
@from_file(PASSPHRASE)
@pass_app
def reject(app: App, request: str, *, digest: str | None, passphrase_file: str | None) -> None:
    """The submitter reads the reason."""
    app.need_reason()
    answer = _decide(app, request, Step.REJECT, digest, passphrase_file)
    app.show(answer, lambda: output.write(t("request {id} rejected", id=request)))


@group.command(
    "bootstrap",
    writes=True,
    help=t("Ask that two people stand by what one put in before there were accounts."),
    example="feiyu request bootstrap grants --reason 'reviewed with the contracts'",
)
@click.argument("collection", type=click.Choice(CONFIRMED))
@pass_app
def bootstrap(app: App, collection: str) -> None:
    """All that is marked bootstrap, as one request; grants that nobody confirms in 30 days are suspended."""
    of_one = [item for item in app.items(collection) if (item.get("provenance") or {}).get("origin") == "bootstrap"]
    if not of_one:
        app.say(t("Nothing there is marked bootstrap."))
        return
    changes = [{"collection": collection, "verb": "confirm", "id": item["id"]} for item in of_one]
    answer = app.client.call("POST", "/v1/changes", {"changes": changes, "reason": app.need_reason()})
    if answer.get("request"):
        waits(app, answer)


@group.command(
    "withdraw",
    writes=True,
    help=t("Withdraw a request of your own."),
    example="feiyu request withdraw r-7k3m9q2x4w --reason 'mistaken'",
)
@click.argument("request", type=ID)
@pass_app
def withdraw(app: App, request: str) -> None:
    """It cannot be approved any more."""
    answer = app.write("POST", ["requests", request, "withdraw"])
    app.show(answer, lambda: output.write(t("request {id} withdrawn", id=request)))

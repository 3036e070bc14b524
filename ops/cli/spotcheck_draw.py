"""feiyu spotcheck plan, commit, draw, verify: the sample, drawn so that anybody can repeat it."""

import secrets
import time
from pathlib import Path
from typing import Any

import msgspec
import rich_click as click

from ops.cli import output, values
from ops.cli.app import App
from ops.cli.base import Command, pass_app
from ops.cli.common import given
from ops.cli.errors import usage
from ops.cli.evidence_files import FILE, directory_of, key_of, placed
from ops.cli.spotcheck_files import (
    STRATUM,
    drawn_facts,
    load,
    percent,
    repeated,
    rows,
    save,
    secret_of,
    told,
    wait_for,
    witness_keys,
)
from ops.cli.times import format_moment
from ops.cli.words import t
from telemetry.evidence.reader import Reader
from telemetry.spotcheck import sample
from telemetry.spotcheck.error import SpotcheckError
from telemetry.spotcheck.plan import Plan, Stratum, encode, parse
from telemetry.spotcheck.repeat import value_of
from telemetry.spotcheck.states import Act

DEFAULT_STRATA = {"transfers": "close", "refusals": "deny"}


@click.command(
    "plan",
    cls=Command,
    writes=True,
    help=t("Fix what is looked at and which value decides, before that value can be known."),
    example="feiyu spotcheck plan --since 30d --until now --source 'drand quicknet, round 9000000' --after 2h "
    "--out check.json --reason 'order 7'",
)
@click.option("--since", type=values.SINCE, required=True, help=t("From here on: 1h, 7d, 2027-11-23."))
@click.option("--until", type=values.SINCE, default="now", show_default=True, help=t("Up to here."))
@click.option("--source", metavar="TEXT", help=t("The public value, so that anybody can look it up."))
@click.option("--after", type=values.FROM, required=True, help=t("When the value appears, at the earliest."))
@click.option(
    "--commit", "commitments", nargs=2, metavar="REGULATOR OPERATOR", help=t("Instead: both sides' commitments.")
)
@click.option("--confidence", default="95", show_default=True, help=t("To find a fault with this confidence, percent,"))
@click.option("--rate", default="1", show_default=True, help=t("where so many records are at fault, percent."))
@click.option(
    "--stratum", "strata", type=STRATUM, multiple=True,
    help=t("A part drawn from by itself: 'NAME [size=N] [kind=… tenant=… line=… service=… grant=… host=… reason=…]'."),
)  # fmt: skip
@click.option("--out", type=FILE, required=True, help=t("Where to write it."))
@placed
@pass_app
def plan(
    app: App,
    *,
    since: int,
    until: int,
    source: str | None,
    after: int,
    commitments: tuple[str, str] | None,
    confidence: str,
    rate: str,
    strata: tuple[dict[str, Any], ...],
    out: Path,
    directory: Path | None,
    key: str | None,
) -> None:
    """The plan as a record, and the file that is handed to all sides before the value appears."""
    if bool(source) == bool(commitments):
        raise usage(t("say with which value: --source TEXT, or --commit REGULATOR OPERATOR"))
    try:
        size = sample.sample_size(percent(confidence), percent(rate))
        made = Plan(
            since=since, until=min(until, int(time.time())), after=after,
            strata=tuple(Stratum(**{"size": size, **each}) for each in strata)
            or tuple(Stratum(name=name, size=size, kind=kind) for name, kind in DEFAULT_STRATA.items()),
            source=source or "commit and reveal of regulator and operator",
            commitments=dict(zip(sample.ROLES, commitments or (), strict=False)),
            confidence=confidence, rate=rate,
        )  # fmt: skip
        parse(encode(made))
    except SpotcheckError as error:
        raise usage(str(error)) from None
    reader, vkey = Reader(directory_of(app, directory)), key_of(app, directory, key)
    answer = app.write("POST", ["spotchecks"], {"plan": msgspec.to_builtins(made)})
    save(wait_for(reader, vkey, answer["id"], answer["record"]), out)
    told(app, answer)
    app.say(
        t("Give {path} to all sides now: whoever has it before the value appears can show that it was fixed.", path=out)
    )


@click.command(
    "commit",
    cls=Command, data=False, help=t("Make a secret and print its commitment, for spotcheck plan --commit."),
               example="feiyu spotcheck commit --role regulator --out secret")  # fmt: skip
@click.option("--role", type=click.Choice(sample.ROLES), required=True, help=t("Which side."))
@click.option("--out", type=FILE, required=True, help=t("Where to write it."))
def commit(role: str, out: Path) -> None:
    """The secret goes into a file that only its owner can read."""
    secret = secrets.token_bytes(sample.SECRET)
    save(secret.hex().encode() + b"\n", out, mode=0o600)
    output.write(sample.commitment(role, secret))


@click.command(
    "draw",
    cls=Command,
    writes=True,
    help=t("Draw with the value that has appeared, and add the sample to the file."),
    example="feiyu spotcheck draw check.json --value 0badc0de --reason 'order 7'",
)
@click.argument("file", type=FILE)
@click.option("--value", metavar="TEXT", help=t("The public value, as its source publishes it."))
@click.option(
    "--reveal", type=(click.Choice(sample.ROLES), FILE), multiple=True, help=t("A side's secret, in its file.")
)
@placed
@pass_app
def draw(
    app: App,
    file: Path,
    *,
    value: str | None,
    reveal: tuple[tuple[str, Path], ...],
    directory: Path | None,
    key: str | None,
) -> None:
    """The draw is a record too; it is made from the log's files and verified before and after."""
    reader, vkey = Reader(directory_of(app, directory)), key_of(app, directory, key)
    held = load(file)
    seen = repeated(held, vkey)
    facts = given({"value": value, **{role: secret_of(path) for role, path in reveal}})
    try:
        seed = sample.seed_of(seen.head, value_of(seen.plan, facts))
    except SpotcheckError as error:
        raise usage(str(error)) from None
    facts |= {"seed": seed.hex(), **drawn_facts(reader, vkey, seen, seed)}
    answer = app.write("POST", ["spotchecks", seen.ref, Act.DRAW], facts)
    save(wait_for(reader, vkey, seen.ref, answer["record"], held.fixed), file)
    told(app, answer)


@click.command(
    "verify",
    cls=Command,
    help=t("Repeat the draw from the file, and with --log from the log too; exit 1 names the first wrong thing."),
    example="feiyu spotcheck verify check.json --key flows.vkey",
)
@click.argument("file", type=FILE)
@witness_keys
@placed
@pass_app
def verify(app: App, file: Path, *, witnesses: tuple[str, ...], directory: Path | None, key: str | None) -> None:
    """No node has to run."""
    reader = Reader(directory) if directory else None
    seen = repeated(load(file), key_of(app, directory, key), witnesses, reader)
    open_ = [f"{ref} ({index})" for ref, index in seen.unfinished.items()]
    facts = {
        "valid": True, "id": seen.ref, "state": seen.state, "origin": seen.head.origin, "size": seen.head.size,
        "seed": seen.seed.hex(), "counts": seen.counts, "samples": seen.samples, "counts_checked": seen.checked,
        "witnesses_before_the_value": seen.early, "plans_without_a_draw": seen.unfinished if reader else None,
    }  # fmt: skip
    drawn = [f"{name}: {len(found)} / {seen.counts[name]}" for name, found in seen.samples.items()]
    how = t("found anew in the log") if seen.checked else t("as recorded: --log finds them anew")
    none = t("none given: that the plan was there before the value is shown by the log's own times, and by who kept it")
    app.details(
        facts,
        [
            ("Verdict", t("valid: the sample is the one that plan and value draw") if seen.seed
             else t("valid: the plan is fixed; nothing is drawn yet")),
            *rows(facts), ("Log", seen.head.origin), ("Size", seen.head.size), ("Value", seen.plan.source),
            ("Not before", format_moment(seen.plan.after)), ("Seed", seen.seed.hex()), ("Sample", drawn),
            ("Strata", how if seen.seed else None), ("Witnesses before it", seen.early or none),
            ("Plans without a draw", open_),
        ],
    )  # fmt: skip


COMMANDS = (plan, commit, draw, verify)

"""feiyu evidence export: what a firm, or a dispute about one flow, is given; each record with its proof."""

import json
from importlib import resources
from pathlib import Path

import rich_click as click

from ops.cli import values
from ops.cli.app import App
from ops.cli.base import Group, pass_app
from ops.cli.errors import CliError, ExitCode, usage
from ops.cli.evidence_files import FILE, directory_of, key_of, not_valid, placed
from ops.cli.words import t
from telemetry.evidence import checkpoint
from telemetry.evidence.checkpoint import Checkpoint
from telemetry.evidence.error import EvidenceError
from telemetry.evidence.export import export as write_proofs
from telemetry.evidence.parquet import NoDuckDBError
from telemetry.evidence.parquet import write as write_parquet
from telemetry.evidence.reader import Reader
from telemetry.evidence.tile import WIDTH
from telemetry.record import Record, decode
from telemetry.statement import OmissionError, check, is_withheld

ABOUT = "export.json"


def add_to(group: Group) -> None:
    """Adds the command to the group."""

    @group.command(
        "export",
        help=t("Write a firm's records, or a flow's, each with its proof, and the verifier, into a new directory."),
        example="feiyu evidence export --tenant acme --since 2026-11-01 --out acme-2026-11",
    )
    @click.option("--tenant", metavar="ID", help=t("Only those of this tenant."))
    @click.option("--flow", metavar="ID", help=t("The records of this flow."))
    @click.option("--since", type=values.SINCE, help=t("From here on: 1h, 7d, 2027-11-23."))
    @click.option("--until", type=values.SINCE, help=t("Up to here."))
    @click.option("--out", type=click.Path(path_type=Path), help=t("The directory to make; it must not be there."))
    @click.option(
        "--parquet", type=FILE, help=t("Instead: a Parquet file for analysis, of all records if none are named.")
    )
    @placed
    @pass_app
    def export(
        app: App,
        *,
        tenant: str | None,
        flow: str | None,
        since: int | None,
        until: int | None,
        out: Path | None,
        parquet: Path | None,
        directory: Path | None,
        key: str | None,
    ) -> None:
        """Only what was asked for; of all other records not a byte, only hashes."""
        if (out is None) == (parquet is None):
            raise usage(t("say where to: --out DIRECTORY, or --parquet FILE"))
        if out and not (tenant or flow):
            raise usage(t("say whose records: --tenant ID, or --flow ID"))

        def fits(record: Record) -> bool:
            of_flow = not flow or flow in (record.flow, record.ref)
            mine = tenant is None or (tenant == record.tenant and not is_withheld(record))
            late_enough = since is None or record.time >= since * 1_000_000
            return of_flow and mine and late_enough and (until is None or record.time < until * 1_000_000)

        about = {"tenant": tenant, "flow": flow, "since": since, "until": until}
        hint = json.dumps(flow or tenant, ensure_ascii=False).encode() if flow or tenant else b""
        vkey = key_of(app, directory, key)
        try:
            reader = Reader(directory_of(app, directory))
            signed = reader.checkpoint()
            head = checkpoint.open_signed(signed, vkey)
            if parquet:
                count = write_parquet(reader, signed, head, vkey, lambda entry: fits(decode(entry)), parquet, hint)
                _tell(app, "File", parquet, count, head)
                return
            assert out is not None
            out.mkdir(parents=True)
            count = write_proofs(reader, signed, head, lambda entry: fits(decode(entry)), out, hint)
            (out / "checkpoint").write_bytes(signed)
            (out / "vkey").write_text(f"{vkey}\n")
            # what was asked for: whoever verifies a firm's records can count them again against its statements
            (out / ABOUT).write_text(json.dumps(about | {"deleted": reader.first_bundle(head.size) * WIDTH}) + "\n")
            script = resources.files("telemetry.evidence").joinpath("standalone.py").read_bytes()
            (out / "verify.py").write_bytes(script)
        except EvidenceError as error:
            raise not_valid(error) from None
        except NoDuckDBError:
            remedy = t("Install it where you analyse: pip install 'feiyu[analytics]'. A node does not need it.")
            raise CliError(ExitCode.NO, t("Parquet is written by DuckDB, which is not installed"), remedy) from None
        except OSError as error:
            words = t("{path} cannot be written: {why}", path=error.filename or out or parquet,
                      why=error.strerror or str(error))  # fmt: skip
            raise CliError(ExitCode.NO, words) from None
        _tell(app, "Directory", out, count, head)


def _tell(app: App, what: str, where: Path, count: int, head: Checkpoint) -> None:
    facts = {what.lower(): str(where), "records": count, "of": head.size, "origin": head.origin}
    app.details(facts, [(what, str(where)), ("Records", count), ("Log", head.origin), ("Size", head.size)])


def counted(directory: Path, entries: dict[int, bytes]) -> tuple[int, int]:
    """A firm's exported records, counted again: how many of its statements agree, and how many records stand behind the
    last. Nothing is counted where it was not a firm's records that were asked for. Raises EvidenceError for an
    omission."""
    try:
        about = json.loads((directory / ABOUT).read_bytes())
        if not about["tenant"] or about["flow"]:
            return 0, 0
        records = [decode(entries[index]) for index in sorted(entries)]
        if strangers := {record.tenant for record in records} - {about["tenant"]}:
            raise EvidenceError(f"{directory} holds records of {', '.join(sorted(strangers))} too")
        return check(records, whole=not about["since"] and not about["deleted"])
    except FileNotFoundError:
        return 0, 0
    except OmissionError as error:
        raise EvidenceError(f"{directory}: {error}: records were left out") from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise EvidenceError(f"{directory / ABOUT} cannot be read: {error}") from None


def stated(agree: int, behind: int) -> str | None:
    """The outcome in words; nothing where nothing was counted."""
    if not agree and not behind:
        return None
    return t("{count} agree with the records; behind the last {number} are not yet stated", count=agree, number=behind)

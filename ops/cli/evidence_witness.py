"""feiyu evidence witness: the witness that a regulator or a firm runs, on a machine of its own."""

import asyncio
import logging
import ssl
import sys
from pathlib import Path

import rich_click as click

from ops.cli.base import Group
from ops.cli.errors import CliError, ExitCode, usage
from ops.cli.evidence_files import FILE, is_key, read
from ops.cli.words import t
from telemetry.evidence import note
from telemetry.evidence.error import EvidenceError


def add_to(group: Group) -> None:
    """Adds the command to the group."""

    @group.command(
        "witness",
        data=False,
        help=t("Run a witness (C2SP tlog-witness): it cosigns checkpoints that continue what it saw before."),
        example="feiyu evidence witness --name w1.regulator.example --dir /var/lib/witness --log flows.vkey",
    )
    @click.option("--name", required=True, help=t("The witness's name, as verifiers will know it."))
    @click.option(
        "--dir", "directory", type=click.Path(path_type=Path, file_okay=False), required=True,
        help=t("Its keys and what it remembers; back it up, and never put back an old copy of logs/."),
    )  # fmt: skip
    @click.option(
        "--log", "logs", metavar="VKEY", multiple=True, required=True,
        help=t("Verifier key of a log to witness, or a file of such lines; may be repeated."),
    )  # fmt: skip
    @click.option("--listen", metavar="HOST:PORT", default="127.0.0.1:8470", help=t("Where to listen."))
    @click.option("--parent", metavar="NAME", default="", help=t("Keep a parent log, NAME/parent, of all it cosigns."))
    @click.option("--mldsa44", is_flag=True, help=t("Sign with ML-DSA-44 too (post-quantum)."))
    @click.option("--certificate", type=FILE, help=t("Serve TLS with this certificate."))
    @click.option("--private-key", type=FILE, help=t("The certificate's private key."))
    def witness(
        *,
        name: str,
        directory: Path,
        logs: tuple[str, ...],
        listen: str,
        parent: str,
        mldsa44: bool,
        certificate: Path | None,
        private_key: Path | None,
    ) -> None:
        """Prints the verifier keys to hand out, and serves until it is told to stop."""
        from telemetry.witness import service  # aiohttp takes its time to load
        from telemetry.witness.memory import DamagedError

        host, _, port = listen.rpartition(":")
        if not host or not port.isdecimal() or int(port) > 65_535:
            raise usage(t("{text} is not HOST:PORT", text=listen))
        logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(name)s: %(message)s")
        try:
            keys = tuple(key for text in logs for key in keys_in(text))
            tls = _tls(certificate, private_key)
            own = service.identity(directory, name, mldsa44)
            for vkey in own.verifier_keys:
                sys.stdout.write(f"{vkey}\n")
            sys.stdout.flush()
            setup = service.Setup(directory, host.strip("[]"), int(port), keys, parent, tls)
            asyncio.run(service.serve(own, setup))
        except BlockingIOError:
            raise CliError(ExitCode.NO, t("another witness runs in {path}", path=directory)) from None
        except (EvidenceError, DamagedError, OSError) as error:
            raise CliError(ExitCode.NO, t("the witness cannot run: {why}", why=str(error))) from None


def keys_in(text: str) -> list[note.VerifierKey]:
    """A verifier key, or those in a file, one a line. Raises EvidenceError."""
    if is_key(text):
        return [note.parse_key(text)]
    lines = read(Path(text)).decode("utf-8", "replace").splitlines()
    return [note.parse_key(line.strip()) for line in lines if line.strip() and not line.startswith("#")]


def _tls(certificate: Path | None, private_key: Path | None) -> ssl.SSLContext | None:
    if not certificate:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.load_cert_chain(certificate, private_key)
    return context

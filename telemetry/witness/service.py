"""A witness as it runs: its keys, its memory, perhaps a parent log, and the address it listens on."""

import asyncio
import fcntl
import logging
import os
import signal
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from aiohttp import web

from telemetry.evidence import note, signing
from telemetry.evidence.error import EvidenceError
from telemetry.evidence.files import read_or_none
from telemetry.evidence.integrate import open_log
from telemetry.whole import write_whole
from telemetry.witness.memory import Memory
from telemetry.witness.parent import Parent
from telemetry.witness.server import Identity, Witness

PARENT = "parent"  # the parent log's name below the witness's directory
_KINDS = {"witness.key": signing.COSIGNATURE, "witness.mldsa44.key": signing.MLDSA44}

log = logging.getLogger("feiyu.witness")


@dataclass(frozen=True, slots=True)
class Setup:
    """directory: all that the witness has; host, port: where it listens; logs: those it knows; parent: the name in
    whose PARENT log accepted checkpoints are kept, "" for none; tls: with it."""

    directory: Path
    host: str
    port: int
    logs: tuple[note.VerifierKey, ...]
    parent: str = ""
    tls: ssl.SSLContext | None = None


def identity(directory: Path, name: str, post_quantum: bool) -> Identity:
    """The witness's keys, made where they are missing, and their verifier keys beside them. Raises EvidenceError,
    OSError."""
    directory.mkdir(mode=0o750, parents=True, exist_ok=True)
    keys = []
    for file, kind in _KINDS.items():
        path = directory / file
        if kind == signing.MLDSA44 and not (post_quantum or path.exists()):
            continue
        secret = read_or_none(path)
        if secret is None:
            secret = signing.generate(kind)
            write_whole(path, secret, 0o600)
        try:
            key = signing.private_key(kind, secret)
        except EvidenceError as error:
            raise EvidenceError(f"{path}: {error}") from None
        vkey = note.VerifierKey(name, kind, key.public)
        if note.parse_key(str(vkey)) != vkey:  # a name that no verifier could read
            raise EvidenceError(f"{name!r} is no name for a witness")
        write_whole(path.with_suffix(".vkey"), f"{vkey}\n".encode(), 0o644)
        keys.append(key)
    return Identity(name, tuple(keys))


async def serve(own: Identity, setup: Setup) -> None:
    """Until SIGTERM or SIGINT. Raises OSError, EvidenceError, DamagedError where it cannot start; BlockingIOError where
    another witness has the directory."""
    lock = os.open(setup.directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    memory = Memory(setup.directory / "logs")
    witness = Witness(own, setup.logs, memory)
    if setup.parent:
        parent = Parent(open_log(setup.directory, setup.parent, name=PARENT), setup.logs)
        parent.catch_up(memory)
        witness.before = parent.take
    runner = web.AppRunner(witness.app(), access_log=None, shutdown_timeout=2)
    await runner.setup()
    ending = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ending.set)
    try:
        await web.TCPSite(runner, setup.host, setup.port, ssl_context=setup.tls).start()
        (address, *_) = runner.addresses
        log.info("%s listens on %s:%d for %s", own.name, address[0], address[1], _names(setup.logs))
        await ending.wait()
    finally:
        await runner.cleanup()
        os.close(lock)


def _names(keys: Sequence[note.VerifierKey]) -> str:
    return ", ".join(sorted({key.name for key in keys}))

"""The notary process: admits the policy that control publishes, if every revision of it is lawful. Holds no capability.

It has no key and believes nobody: the zone's first accounts are named in the configuration, which is root's, and all
else follows from signatures (whitelist.lawful). Control asks it at a socket, one JSON object a line:
{"ask": "head"} → {"revision": the last lawful one}; {"ask": "admit"} → {"revision": admitted} or {"error": why}.

python -m ops.notary --config PATH
"""

import argparse
import asyncio
import contextlib
import logging
import os
import signal
import socket
import struct
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lmdb
import msgspec

from ops.api.acts import Acts, spool_of
from ops.settings import Settings, SettingsError, load_settings, settings_path
from whitelist.ledger import Ledger, SnapshotError, Unlawful

_log = logging.getLogger("feiyu.notary")
SOCKET = "notary.sock"
_UCRED = struct.Struct("3i")


class Notary:
    """Answers control. did: takes what is worth a record."""

    def __init__(self, ledger: Ledger, snapshot: Path, public_key: Path, did: Callable[[str, int], None]) -> None:
        self._ledger = ledger
        self._snapshot = snapshot
        self._public_key = public_key
        self._did = did
        self._refused = ""

    def answer(self, question: dict[str, Any]) -> dict[str, Any]:
        """The answer to one question."""
        match question.get("ask"):
            case "head":
                return {"revision": self._ledger.trust.revision}
            case "admit":
                return self._admit()
            case _:
                return {"error": "the notary is asked for head or admit"}

    def _admit(self) -> dict[str, Any]:
        ledger = self._ledger
        try:
            ledger.follow(self._snapshot, int(time.time()))
            revision = ledger.admit(self._snapshot, self._public_key.read_bytes())
        except (Unlawful, SnapshotError, OSError, lmdb.Error, ValueError) as error:
            why = str(error)
            if why != self._refused:  # told once, not at each of control's beats
                self._refused = why
                self._did(f"refused revision {ledger.trust.revision + 1} or what is published of it: {why}", 0)
            return {"error": why}
        self._refused = ""
        return {"revision": revision}


async def serve(settings: Settings) -> None:
    """Serves until a signal. Raises OSError, Unlawful where the ledger is not this zone's."""
    state, run = Path(settings.state_dir), Path(settings.run_dir)
    (state / "notary").mkdir(mode=0o750, exist_ok=True)
    ledger = Ledger(state / "notary", settings.zone)
    acts = Acts(spool_of(settings))
    notary = Notary(ledger, state / "snapshot", state / "keys" / "snapshot.pub", acts.did)
    asks = {settings.users.control, os.geteuid(), 0}
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            if _uid(writer.get_extra_info("socket")) not in asks:
                return
            while line := await reader.readline():
                question = msgspec.json.decode(line, type=dict[str, Any])
                writer.write(msgspec.json.encode(notary.answer(question)) + b"\n")
                await writer.drain()
        except (OSError, ValueError, msgspec.DecodeError) as error:
            _log.warning("a question cannot be answered: %s", error)
        finally:
            writer.close()

    path = run / SOCKET
    path.unlink(missing_ok=True)
    server = await asyncio.start_unix_server(talk, path)
    path.chmod(0o660)
    if settings.users.group is not None and os.geteuid() == 0:
        os.chown(path, -1, settings.users.group)
    _log.info("lawful up to revision %d, admitted up to %d", ledger.trust.revision, ledger.revision)
    await stop.wait()
    server.close()
    with contextlib.suppress(OSError):
        path.unlink()
    ledger.close()


def _uid(connection: socket.socket) -> int:
    return int(_UCRED.unpack(connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size))[1])


def main(arguments: list[str] | None = None) -> int:
    """Runs until SIGTERM or SIGINT. Exit status 2: the configuration is wrong; 1: the ledger or a directory is."""
    parser = argparse.ArgumentParser(prog="feiyu-notary", description="the notary process of a node")
    parser.add_argument("--config", metavar="PATH", help="the node's configuration")
    chosen = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="notary: %(levelname)s: %(message)s", stream=sys.stderr)
    try:
        settings = load_settings(settings_path(chosen.config))
    except SettingsError as error:
        print(error, file=sys.stderr)
        return 2
    if not settings.zone:
        print("zone: is not set, so nothing says which accounts to believe", file=sys.stderr)
        return 2
    try:
        asyncio.run(serve(settings))
    except (OSError, Unlawful, lmdb.Error) as error:
        _log.error("cannot run: %s", error)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

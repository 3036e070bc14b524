"""The control process: keeps the register, serves the API, publishes the policy. Holds no capability.

python -m ops.control --config PATH
"""

import argparse
import asyncio
import contextlib
import logging
import os
import signal
import socket
import sys
from functools import partial
from pathlib import Path

import uvloop
from aiohttp import web

from gateway import portal_visit
from ops import own_network
from ops.acts_log import ActsLog
from ops.api.acts import Acts, spool_of
from ops.api.app import application
from ops.api.authority import Authority
from ops.api.facts import Facts
from ops.api.hub_client import HubClient
from ops.api.notary_client import NotaryClient
from ops.api.policy import Policy
from ops.api.reading import READS
from ops.api.recorder_client import RecorderClient
from ops.ca import CaFiles
from ops.keys import load_keys
from ops.portal.app import portal_application
from ops.settings import Settings, SettingsError, load_settings, settings_path
from telemetry.evidence.note import parse_key

_log = logging.getLogger("feiyu.control")
DRAIN = 10.0  # seconds that requests may still take after SIGTERM


def main(arguments: list[str] | None = None) -> int:
    """Runs until SIGTERM or SIGINT. Exit status 2: the configuration is wrong; 1: the node's directories are."""
    parser = argparse.ArgumentParser(prog="feiyu-control", description="the control process of a node")
    parser.add_argument("--config", metavar="PATH", help="the node's configuration")
    chosen = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="control: %(levelname)s: %(message)s", stream=sys.stderr)
    logging.getLogger("alembic").setLevel(logging.WARNING)
    try:
        settings = load_settings(settings_path(chosen.config))
    except SettingsError as error:
        print(error, file=sys.stderr)
        return 2
    try:
        uvloop.run(serve(settings))
    except OSError as error:
        _log.error("cannot run: %s", error)
        return 1
    return 0


async def serve(settings: Settings) -> None:
    """Serves the API until a signal. Raises OSError where the directories cannot be used."""
    state, run = Path(settings.state_dir), Path(settings.run_dir)
    keys = load_keys(state)
    policy = Policy(state / "snapshot", keys.snapshot)
    evidence = settings.evidence
    witnesses = [parse_key(witness.key) for witness in evidence.witnesses]
    acts = Acts(spool_of(settings), ActsLog(state, settings.node, evidence.signatures, witnesses))
    own = partial(own_network.faults, settings=settings)
    authority = Authority(
        settings.register_at,
        policy,
        HubClient(run / "live.sock"),
        acts,
        own=own,
        notary=NotaryClient(run / "notary.sock") if settings.zone else None,
    )
    recorder = RecorderClient(run / "recorder.sock")
    files = CaFiles(state / "ca", int(settings.ca.client_life))
    app = application(
        authority,
        recorder,
        settings.node,
        keys.pseudonym,
        settings.users.processes,
        files,
        settings,
    )
    answers = portal_application(authority, recorder, settings, files, app[READS])
    portal = web.AppRunner(answers, access_log=None, shutdown_timeout=1)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    # The access log would repeat what the register's history says better.
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=DRAIN)
    await runner.setup()
    await portal.setup()
    await authority.beat()  # before the first question: what was interrupted is published first
    await web.SockSite(runner, listening(run / "control.sock", settings.users.group)).start()
    await web.SockSite(portal, listening(run / portal_visit.SOCKET, settings.users.group)).start()
    _log.info("serving at revision %d", policy.revision)
    beating = asyncio.create_task(authority.beat_for_ever())
    telling = asyncio.create_task(Facts(authority, acts, settings).beat_for_ever())
    await stop.wait()
    for task in (beating, telling):
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
    await portal.cleanup()
    await runner.cleanup()
    await recorder.close()
    await authority.close()


def listening(path: Path, group: int | None) -> socket.socket:
    """The socket at path, for owner and group only. A dead predecessor's is replaced, a living one's is not."""
    server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe, contextlib.suppress(OSError):
        probe.connect(str(path))
        server.close()
        raise SystemExit(f"control: another control serves at {path}")
    # Made under another name and moved there: nobody can connect before the mode is right.
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    fresh.unlink(missing_ok=True)
    server.bind(str(fresh))
    fresh.chmod(0o660)
    if group is not None and os.geteuid() == 0:
        os.chown(fresh, -1, group)
    server.listen(128)
    fresh.replace(path)
    return server


if __name__ == "__main__":
    sys.exit(main())

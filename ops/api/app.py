"""The application: routes and what they share."""

import asyncio
from pathlib import Path

from aiohttp import web

from ops.api import (
    audit,
    blocks,
    certificates,
    explain,
    firm,
    flows,
    holds,
    line_figures,
    login,
    policy_files,
    present,
    reading,
    requests,
    resources,
    spotchecks,
    status,
    streams,
)
from ops.api.actor import NODE_UIDS, SESSIONS, identified, not_the_node
from ops.api.authority import AUTHORITY, Authority
from ops.api.problems import problems
from ops.api.recorder_client import RecorderClient
from ops.api.sessions import Sessions
from ops.ca import CaFiles
from ops.settings import Settings
from telemetry.stream.events_server import SOCKET

MAX_BULK = 64 << 20  # bytes of a body of /v1/changes


def application(
    authority: Authority,
    recorder: RecorderClient,
    node: str,
    pseudonym_key: bytes,
    node_uids: frozenset[int] = frozenset(),
    ca: CaFiles | None = None,
    settings: Settings | None = None,
) -> web.Application:
    """The API of a node. pseudonym_key: what names of users in records are derived with; node_uids: the users of the
    node's own processes, where they have users of their own; settings: of the node, for what firms are told of it."""
    middlewares = [problems, not_the_node, identified, reading.regulators_say_why]
    app = web.Application(middlewares=middlewares, client_max_size=MAX_BULK)
    app[NODE_UIDS] = node_uids
    app[AUTHORITY] = authority
    app[SESSIONS] = Sessions()
    app[login.LOGGING_IN] = asyncio.Lock()
    app[resources.PSEUDONYM_KEY] = pseudonym_key
    app[flows.RECORDER] = recorder
    app[status.NODE] = node
    app[certificates.CA] = ca or CaFiles(Path("ca"))
    app[spotchecks.RECENT] = {}
    app[reading.READS] = reading.Reads(recorder)
    app[firm.SETTINGS] = settings = settings or Settings(node=node, listeners=())
    app[reading.REGULATORS] = frozenset(settings.regulators)
    app[streams.RUN_DIR] = Path(settings.run_dir)
    app[streams.STREAMS] = RecorderClient(Path(settings.run_dir) / SOCKET, "streams")
    app.on_shutdown.append(_end_relays)  # else an endless answer would be waited for
    for part in (
        status, streams, login, requests, audit, flows, blocks, line_figures, explain, certificates, firm, present,
        spotchecks, reading, holds, policy_files, resources,
    ):  # fmt: skip
        app.router.add_routes(part.routes())
    return app


async def _end_relays(app: web.Application) -> None:
    await app[flows.RECORDER].close()
    await app[streams.STREAMS].close()

"""GET /v1/stream: the records as server-sent events, from where the client was; and what the streams process says of
its sinks."""

from pathlib import Path
from typing import Any

import msgspec
from aiohttp import web

from ops.api.recorder_client import RecorderClient
from telemetry.stream import state

STREAMS = web.AppKey("streams", RecorderClient)
RUN_DIR = web.AppKey("run_dir", Path)


def routes() -> list[web.RouteDef]:
    """The route; it stands before those with {collection}."""
    return [web.get("/v1/stream", stream)]


async def stream(request: web.Request) -> web.StreamResponse:
    """Until the client leaves. Last-Event-ID (or ?last_event_id=) goes on behind that record; an event `gap` says what
    is not in the log any more. The filters are those of a search; ?format= native, ocsf or ecs."""
    return await request.app[STREAMS].relay("/stream", request)


def sinks(app: web.Application) -> dict[str, Any]:
    """{"ok", "why", "sinks": [as telemetry.stream.pump.SinkState]} for the status. Never fails."""
    told = state.read(app[RUN_DIR])
    if told is None:
        return {"ok": False, "why": "the streams process says nothing", "sinks": []}
    found: list[dict[str, Any]] = [msgspec.to_builtins(sink) for sink in told.sinks]
    held = [f"{sink['name']}: {sink['fault']}" for sink in found if sink["fault"]]
    return {"ok": not held, "why": "; ".join(held), "sinks": found, "watchers": told.watchers}

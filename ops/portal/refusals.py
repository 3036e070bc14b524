"""A firm's refusals, asked of the recorder; never another firm's, whatever the recorder answers."""

import asyncio
import time
from dataclasses import dataclass
from typing import Any

from ops.api.problems import Problem
from ops.api.recorder_client import RecorderClient

SHOWN = 20
BACK = 30 * 86_400  # seconds that are searched: the log may be large, and a firm may have few refusals
FRESH = 2.0  # seconds in which an answer is given again, so that a page held down costs one search
MAX_KEPT = 256
# Of a record, what its own firm is shown: not the rule, nor the gateway's internals.
FIELDS = (
    "time", "host", "port", "method", "path", "reason", "ref", "client_ip", "client_port", "listener", "site", "room",
    "user", "credential", "user_agent", "service", "grant", "line", "status",
)  # fmt: skip


def shown(record: dict[str, Any]) -> dict[str, Any]:
    """What of a refusal its firm may see."""
    return {name: record[name] for name in FIELDS if record.get(name) not in (None, "", 0)}


@dataclass(slots=True)
class _Asked:
    """A search, under way or over. at: when it was over, monotonic seconds."""

    task: asyncio.Task[list[dict[str, Any]]]
    at: float = 0.0

    def ended(self, task: asyncio.Task[list[dict[str, Any]]]) -> None:
        self.at = time.monotonic()
        if not task.cancelled():
            task.exception()  # whoever waited has it; nobody may have

    def stale(self) -> bool:
        return self.task.done() and time.monotonic() > self.at + FRESH


class Refusals:
    """Asks once at a time for each firm."""

    def __init__(self, recorder: RecorderClient) -> None:
        self._recorder = recorder
        self._asked: dict[str, _Asked] = {}

    async def last(self, tenant: str) -> list[dict[str, Any]]:
        """The newest first, at most SHOWN. Raises Problem where the recorder does not answer."""
        asked = self._asked.get(tenant)
        if asked is None or asked.stale():
            if len(self._asked) >= MAX_KEPT:
                self._asked = {firm: one for firm, one in self._asked.items() if not one.task.done()}
            asked = self._asked[tenant] = _Asked(asyncio.create_task(self._search(tenant)))
            asked.task.add_done_callback(asked.ended)
        return await asyncio.shield(asked.task)

    async def _search(self, tenant: str) -> list[dict[str, Any]]:
        if not tenant:  # the recorder takes an empty name for any
            return []
        since = str((int(time.time()) - BACK) * 1_000_000)
        query = {"tenant": tenant, "decision": "deny", "since": since, "limit": str(SHOWN)}
        found, _ = await self._recorder.records("/records", query)
        return [shown(record) for record in found if record.get("tenant") == tenant]

    async def one(self, tenant: str, ref: str) -> dict[str, Any]:
        """The refusal with this reference. Raises Problem: 404 for one that is not there and for another firm's
        alike, 503 without a recorder."""
        found: list[dict[str, Any]] = []
        if tenant and ref.isascii() and ref.isalnum() and len(ref) <= 64:
            query = {"ref": ref.upper(), "tenant": tenant, "decision": "deny", "limit": "1"}
            found, _ = await self._recorder.records("/records", query)
        found = [record for record in found if record.get("tenant") == tenant]
        if not found:
            remedy = "check the reference; a refusal can be looked up about a second after it happened"
            raise Problem(404, "unknown", "Not found", "your firm has no such refusal", remedy)
        return shown(found[0])

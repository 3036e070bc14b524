"""What control knows that belongs into /metrics: a heartbeat record of its own every 15 s, like the workers'.

next_expiry_KIND      Unix seconds at which the next grant, tenant, token or certificate ends that is in force now
restarts_ROLE         restarts of a role's processes since the node started; ready_ROLE, wanted_ROLE: how many run
degraded              processes that keep dying
reload_accepted, reload_refused, reload_pending    configurations read again; pending: the last one was refused
register_ok, published_ok                          whether the register can be read, and the policy is up to date
"""

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from cryptography import x509

from ops.api.acts import Acts
from ops.api.authority import Authority
from ops.api.hub_client import HubUnavailable
from ops.settings import Settings
from tenants.model import TenantState
from tenants.register import Register
from tenants.store import RegisterUnavailable
from whitelist.model import GrantState

EVERY = 15.0  # seconds between heartbeats
SHARE = 60  # a survey of what expires reads all grants, page by page: it may take a sixtieth of the time
_PAGE = 1_000
_ROLES = ("recorder", "control", "streams", "lines", "worker")
_log = logging.getLogger("feiyu.control")

# collection: kind in the metric, and when an item that is in force ends (0: it does not count)
_ENDS: dict[str, tuple[str, Callable[[Any], int]]] = {
    "grants": ("grant", lambda item: item.window.valid_until if item.state is GrantState.EFFECTIVE else 0),
    "tenants": ("tenant", lambda item: item.valid_until if item.state is TenantState.ACTIVE else 0),
    # certificates of clients are renewed by their machines, which is none of the operator's days
    "credentials": ("token", lambda item: item.valid_until if item.token_sha256 and not item.revoked else 0),
}


class Facts:
    """Writes the heartbeats."""

    def __init__(self, authority: Authority, acts: Acts, settings: Settings) -> None:
        self._authority, self._acts, self._settings = authority, acts, settings
        self._expiries: dict[str, int] = {}
        self._surveyed = self._took = 0.0  # monotonic seconds
        self._revision = -1  # of the register at the last survey

    async def beat_for_ever(self) -> None:
        """Until cancelled."""
        while True:
            try:
                self._acts.heartbeat(await self.values(), self._authority.policy.revision)
            except Exception:  # noqa: BLE001 - the next one may go; control must go on
                _log.exception("the heartbeat of control")
            await asyncio.sleep(EVERY)

    async def values(self) -> dict[str, int]:
        """The values of the next heartbeat."""
        register_ok = True
        try:
            revision = await self._authority.read(lambda register: register.revision())
            if self._is_due(revision):
                self._surveyed, self._revision = time.monotonic(), revision
                self._expiries = await self._survey()
                self._took = time.monotonic() - self._surveyed
        except RegisterUnavailable:
            register_ok = False
        values = {f"next_expiry_{kind}": at for kind, at in self._expiries.items()}
        paths = certificates(self._settings)
        if ends := await asyncio.to_thread(lambda: list(ends_of(paths))):
            values["next_expiry_certificate"] = min(ends)
        values |= {"register_ok": int(register_ok), "published_ok": int(not self._authority.trouble)}
        try:
            status = (await self._authority.hub.publish({"kind": "status"})).get("status", {})
        except HubUnavailable:
            return values
        return values | of_processes(status)

    def _is_due(self, revision: int) -> bool:
        """Whether what expires next may be other than at the last survey, and that was long enough ago."""
        over = any(at <= time.time() for at in self._expiries.values())
        return (over or revision != self._revision) and time.monotonic() - self._surveyed >= SHARE * self._took

    async def _survey(self) -> dict[str, int]:
        """The next end of each kind; a page at a time, so that nobody waits for it."""
        now, found = int(time.time()), {}
        for collection, (kind, end) in _ENDS.items():
            soonest, after = 0, ""
            while True:
                items, after, _ = await self._authority.read(partial(_page, collection=collection, after=after))
                ends = [at for item in items if (at := end(item)) > now]
                soonest = min([*ends, soonest] if soonest else ends, default=0)
                if not after:
                    break
            if soonest:
                found[kind] = soonest
        return found


def of_processes(status: dict[str, Any]) -> dict[str, int]:
    """What the supervisor says of its processes and of reloads."""
    children = status.get("children") or []
    restarts, ready, wanted = Counter[str](), Counter[str](), Counter[str]()
    for child in children:
        role = str(child.get("role"))
        if role in _ROLES:
            restarts[role] += int(child.get("restarts", 0))
            ready[role] += child.get("state") == "ready"
            wanted[role] += 1
    values = {"degraded": sum(bool(child.get("degraded")) for child in children)} if children else {}
    for role in wanted:
        values |= {f"restarts_{role}": restarts[role], f"ready_{role}": ready[role], f"wanted_{role}": wanted[role]}
    reload = status.get("reload")
    if isinstance(reload, dict):
        values["reload_accepted"] = int(reload.get("accepted", 0))
        values["reload_refused"] = int(reload.get("refused", 0))
        values["reload_pending"] = int(reload.get("result") in ("rejected", "failed"))
    return values


def certificates(settings: Settings) -> set[Path]:
    """The files of the node's own certificates."""
    ca = Path(settings.state_dir) / "ca"
    found = {ca / "root.crt", ca / "issuing.crt"}
    found |= {Path(listener.tls.certificate) for listener in settings.listeners if listener.tls}
    return found | {Path(sink.certificate) for sink in settings.streams if sink.certificate}


def ends_of(paths: Iterable[Path]) -> Iterator[int]:
    """When they end, Unix seconds; those that are not there, or not control's to read, are left out."""
    for path in paths:
        try:
            chain = x509.load_pem_x509_certificates(path.read_bytes())
        except (OSError, ValueError):
            continue
        yield from (int(certificate.not_valid_after_utc.timestamp()) for certificate in chain)


def _page(register: Register, collection: str, after: str) -> tuple[list[Any], str, int]:
    return register.page(collection, limit=_PAGE, after=after)

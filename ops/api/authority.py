"""Register, snapshot and workers joined: how a change becomes law, and how what was interrupted is caught up with."""

import asyncio
import itertools
import logging
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aiohttp import web

from ops.api.acts import Acts
from ops.api.hub_client import HubClient, HubUnavailable
from ops.api.policy import Policy
from tenants.change import Applied, Change
from tenants.register import Register
from tenants.store import BUSY_TIMEOUT, RegisterUnavailable
from whitelist.snapshot import Snapshot
from whitelist.store import open_register

BEAT = 10.0  # seconds between signs of life to the hub
SWEEP = 6  # beats between verifications of published files that are large
SMALL = 64 << 20  # bytes of a policy that is verified with every beat
_log = logging.getLogger("feiyu.control")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a write did. enforced is None where no worker can have confirmed it; why then says so."""

    applied: Applied
    enforced: dict[str, Any] | None
    why: str = ""


class Authority:
    """The one place in the process that reads and writes the register, on one thread of its own, and publishes."""

    def __init__(
        self,
        register: Path | str,
        policy: Policy,
        hub: HubClient,
        acts: Acts,
        *,
        clock: Callable[[], float] = time.time,
        busy_timeout: float = BUSY_TIMEOUT,
    ) -> None:
        self._busy_timeout = busy_timeout
        self._path = register
        self._register: Register | None = None
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="register")
        self._writing = asyncio.Lock()  # holds from the commit until it is enforced, so that revisions go out in order
        self._clock = clock
        self.policy = policy
        self.hub = hub
        self.acts = acts
        self._unheard = ""
        self.trouble = ""  # why the last attempt to be up to date failed; "" when it did not

    async def read[T](self, question: Callable[[Register], T]) -> T:
        """Asks the register. Raises RegisterUnavailable, and what the question raises."""
        return await self.run(lambda: question(self._opened()))

    async def consider[T](self, question: Callable[[Register, Snapshot | None], T]) -> T:
        """Asks the register and the policy in force together, while neither changes; None: no policy is valid."""
        async with self._writing:
            return await self.run(lambda: question(self._opened(), self.policy.open().snapshot))

    async def write(
        self,
        changes: Sequence[Change] | Callable[[Register], Sequence[Change]],
        actor: str,
        reason: str,
        *,
        seen: int | None = None,
        judge: Callable[[Applied, Snapshot | None], None] | None = None,
    ) -> Outcome:
        """Applies changes (or those that are made of the register as it then is), publishes the policy, and waits until
        the workers enforce it. seen, judge: as the register's, which is also told the policy in force. Raises
        ChangeRefused, RegisterUnavailable, and what judge raises, all with nothing changed."""
        async with self._writing:
            now = int(self._clock())

            def applying() -> Applied:
                register, snapshot = self._opened(), self.policy.open().snapshot
                made = changes(register) if callable(changes) else changes
                asked = None if judge is None else lambda applied: judge(applied, snapshot)
                return register.apply_changes(made, actor, reason, now, seen=seen, judge=asked)

            applied = await self.run(applying)
            if not applied.changed:
                return Outcome(applied, None, "nothing had to be changed")
            self.acts.applied(applied, actor)
            try:
                await self.run(lambda: self._publish(applied))
                return Outcome(applied, await self._announce())
            except HubUnavailable as error:
                return Outcome(applied, None, str(error))
            except Exception as error:  # noqa: BLE001 - whatever it is, control must go on and say so
                # The change stands in the register; whatever kept it from being published, beat() tries again.
                self.trouble = f"revision {applied.revision} is not published: {error}"
                _log.exception("%s", self.trouble)
                return Outcome(applied, None, self.trouble)

    async def beat(self) -> None:
        """Brings the policy up to date with the register and tells the workers that control lives.

        Without a readable register there is no sign of life: nobody could revoke anything any more, so after
        max_staleness nothing is let through."""
        async with self._writing:
            try:
                await self.run(self._catch_up)
                self.trouble = ""
                await self._announce()
                self._unheard = ""
            except RegisterUnavailable as error:
                self.trouble = f"{error.detail}; {error.remedy}"
                _log.warning("%s", self.trouble)
            except HubUnavailable as error:
                if self._unheard != str(error):  # said once, not at each beat
                    self._unheard = str(error)
                    _log.warning("%s", error)
            except Exception as error:  # noqa: BLE001 - whatever it is, control must go on and say so
                self.trouble = f"the policy cannot be brought up to date: {error}"
                _log.exception("%s", self.trouble)

    async def beat_for_ever(self) -> None:
        """Every BEAT seconds, until cancelled; the published files are verified first, large ones every SWEEP-th time.
        The workers notice damage too, but only this can mend it."""
        for count in itertools.count(1):
            await asyncio.sleep(BEAT)
            if count % SWEEP == 0 or self.policy.size() < SMALL:
                await self.sweep()
            await self.beat()

    async def sweep(self) -> None:
        """Verifies the published files; what was damaged or removed is published again by the next beat."""
        async with self._writing:
            try:
                await self.run(lambda: self.policy.open().sweep())
            except Exception as error:  # noqa: BLE001 - whatever it is, control must go on and say so
                self.trouble = f"the published policy is not as it was: {error}"
                _log.error("%s", self.trouble)

    async def close(self) -> None:
        """Lets what runs end, then closes the register."""
        async with self._writing:
            await self.run(self._close)
        self._thread.shutdown()
        self.hub.close()

    async def run[T](self, work: Callable[[], T]) -> T:
        """Work on the register's thread, where the policy is used too."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    async def _announce(self) -> dict[str, Any]:
        return await self.hub.publish({"kind": "revision", "revision": self.policy.revision})

    # What follows runs on the register's thread.

    def _opened(self) -> Register:
        if self._register is None:
            # Where a policy was published there was a register: a new, empty one would take every right away at once.
            self._register = open_register(
                self._path, create=not self.policy.was_published(), busy_timeout=self._busy_timeout
            )
        return self._register

    def _publish(self, applied: Applied) -> None:
        publisher = self.policy.open()
        if publisher.valid and publisher.revision == applied.revision - 1:
            self.policy.publish(applied)
        else:
            self._catch_up()

    def _catch_up(self) -> None:
        register, policy = self._opened(), self.policy
        publisher, current = policy.open(), register.revision()
        if current < publisher.revision:
            words = f"register at revision {current} put back behind published revision {publisher.revision}"
            register.skip_to(publisher.revision + 1, "control", words, int(self._clock()))
            _log.warning("%s", words)
        elif current == publisher.revision and publisher.valid:
            return
        policy.publish_all(register)

    def _close(self) -> None:
        if self._register is not None:
            self._register.store.close()
        self.policy.close()


AUTHORITY = web.AppKey("authority", Authority)

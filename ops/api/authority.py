"""Register, snapshot and workers joined: how a change becomes law, and how what was interrupted is caught up with."""

import asyncio
import itertools
import logging
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgspec
from aiohttp import web

from ops.acts_log import Act
from ops.api.acts import Acts
from ops.api.caller import CALLER
from ops.api.hub_client import HubClient, HubUnavailable
from ops.api.notary_client import NotAdmitted, NotaryClient
from ops.api.policy import Policy
from telemetry.evidence.error import EvidenceError
from telemetry.whole import write_whole
from tenants import people
from tenants.approval import Approval
from tenants.change import Applied, ApprovalNeeded, Change, ChangeRefused
from tenants.law import LAPSE
from tenants.laws import law
from tenants.register import Register
from tenants.request import Request
from tenants.requests import Requests
from tenants.store import BUSY_TIMEOUT, RegisterUnavailable
from whitelist.ledger import law_name
from whitelist.snapshot import Snapshot
from whitelist.store import NodeRule, open_register

BEAT = 10.0  # seconds between signs of life to the hub
SWEEP = 6  # beats between verifications of published files that are large
SMALL = 64 << 20  # bytes of a policy that is verified with every beat
CONFIRM_WITHIN = 30 * 86_400  # seconds after the first accounts, in which older grants are confirmed or lapse
MANY = 1000  # suspended in one revision
_log = logging.getLogger("feiyu.control")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a write did. enforced is None where no worker can have confirmed it; why then says so."""

    applied: Applied
    enforced: dict[str, Any] | None
    why: str = ""
    request: Request | None = None  # that waits for a second person, or was decided on


class ActNotLogged(Exception):  # noqa: N818 - as RegisterUnavailable
    """An act could not be put into its log; str() says why."""


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
        own: NodeRule = lambda _line: [],
        notary: NotaryClient | None = None,
    ) -> None:
        """own: what a line may not take of the node itself; notary: who must admit what is published, None for
        nobody."""
        self._notary = notary
        self._own = own
        self._busy_timeout = busy_timeout
        self._path = register
        self._pin = policy.directory.with_name("zone")  # on this node, wherever the register is
        self._register: Register | None = None
        self._governed = False
        self._ask_again = 0  # Unix second at which unconfirmed grants are looked for
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
        the workers enforce it; or, where there are accounts and the change opens something, keeps it as a request.
        actor: the account's id, or where there are none any name. seen, judge: as the register's, which is also told
        the policy in force. Raises ChangeRefused, RegisterUnavailable, and what judge raises, all with nothing
        changed."""
        async with self._writing:
            now = int(self._clock())

            def applying() -> Applied:
                register, snapshot = self._opened(), self.policy.open().snapshot
                made = changes(register) if callable(changes) else changes
                asked = None if judge is None else lambda applied: judge(applied, snapshot)
                return register.apply_changes(made, actor, reason, now, seen=seen, judge=asked)

            try:
                applied = await self.run(applying)
            except ApprovalNeeded as needed:
                wish = needed
            else:
                outcome = await self._enforce(applied, actor)
                await self._log_acts()
                return outcome
            request = await self.run(lambda: Requests(self._opened()).submit(wish, actor, reason, now))
            self.acts.did(f"submit {_named(request)} by {actor}{_where()}", self.revision)
            waits = Applied(self.revision, (), ())
            return Outcome(waits, None, f"request {request.id} waits for a second person", request)

    async def decide(self, approval: Approval, reason: str) -> Outcome:
        """Takes a signed decision on a request in; one that was approved is applied and enforced. Raises what
        tenants.requests raises, with nothing changed."""
        async with self._writing:
            now = int(self._clock())
            try:
                decided = await self.run(lambda: Requests(self._opened()).decide(approval, reason, now))
            except ChangeRefused as refused:
                what = f"refused {approval.decision} of requests/{approval.request} by {approval.account}"
                self.acts.did(f"{what}{_where()}: {type(refused).__name__}", self.revision)
                raise
            said = f"{approval.decision} {_named(decided.request)} by {approval.account} as {approval.role}"
            self.acts.did(f"{said}{_where()}, signature {approval.signature}", self.revision)
            outcome = Outcome(Applied(self.revision, (), ()), None, "nothing had to be changed")
            if decided.applied is not None:
                outcome = await self._enforce(decided.applied, decided.request.submitter)
                await self._log_acts()
            return replace(outcome, request=decided.request)

    async def withdraw(self, name: str, by: str, reason: str) -> Request:
        """The submitter takes a request back."""
        async with self._writing:
            now = int(self._clock())
            request = await self.run(lambda: Requests(self._opened()).withdraw(name, by, reason, now))
            self.acts.did(f"withdraw {_named(request)} by {by}{_where()}", self.revision)
            return request

    async def record(self, act: Act) -> None:
        """Puts an act that is no change of the register under a checkpoint of the acts' log, before it is done or
        answered. Raises ActNotLogged: then it must not be."""
        async with self._writing:
            try:
                await self.run(lambda: self._record(act))
            except (OSError, EvidenceError) as error:
                raise ActNotLogged(f"the log of acts cannot be written: {error}") from None

    async def governed(self) -> bool:
        """Whether there are accounts. Once there were, it stays so: a register without any is then not this zone's.
        Raises RegisterUnavailable."""
        if not self._governed:
            self._governed = await self.run(self._zone)
        return self._governed

    @property
    def revision(self) -> int:
        """The published one."""
        return self.policy.revision

    async def _enforce(self, applied: Applied, actor: str) -> Outcome:
        """Publishes what was applied and waits for the workers."""
        if not applied.changed:
            return Outcome(applied, None, "nothing had to be changed")
        self.acts.applied(applied, actor)
        try:
            await self.run(lambda: self._publish(applied))
            return Outcome(applied, await self._announce())
        except HubUnavailable as error:
            return Outcome(applied, None, str(error))
        except NotAdmitted as error:
            self._refused(error)
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
                self._governed = await self.run(self._zone) or self._governed
                now = int(self._clock())
                if late := await self.run(lambda: self._unconfirmed(now)):
                    why = "nobody confirmed in time what one person granted before there were accounts"
                    applied = await self.run(lambda: self._opened().apply_changes(late, LAPSE, why, now))
                    self.acts.applied(applied, LAPSE)
                await self.run(self._catch_up)
                await self.run(self._lapse)
                self.trouble = ""
                await self._log_acts()
                await self._announce()
                self._unheard = ""
            except RegisterUnavailable as error:
                self.trouble = f"{error.detail}; {error.remedy}"
                _log.warning("%s", self.trouble)
            except HubUnavailable as error:
                if self._unheard != str(error):  # said once, not at each beat
                    self._unheard = str(error)
                    _log.warning("%s", error)
            except NotAdmitted as error:
                # No sign of life: nothing could be revoked any more, so after max_staleness nothing goes through.
                self._refused(error)
            except Exception as error:  # noqa: BLE001 - whatever it is, control must go on and say so
                self.trouble = f"the policy cannot be brought up to date: {error}"
                _log.exception("%s", self.trouble)

    def _refused(self, error: NotAdmitted) -> None:
        what = f"revision {self.revision} is published and not in force: {error}"
        if what != self.trouble:
            _log.error("%s", what)
            self.acts.did(what, self.revision)
        self.trouble = what

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
        if self._notary is not None:
            head = await self._notary.ask("head")
            written = await self.run(lambda: self._lay_out(head))
            await self._notary.ask("admit")
            for path in written:
                path.unlink(missing_ok=True)
        return await self.hub.publish({"kind": "revision", "revision": self.policy.revision})

    async def _log_acts(self) -> None:
        """What is in the register's history goes into the acts' log. That this fails stops nothing: rights must be able
        to be taken away, and the history is taken in later."""
        if self.acts.log is None:
            return
        log = self.acts.log
        try:
            await self.run(lambda: log.catch_up(self._opened()))
        except (OSError, EvidenceError, RegisterUnavailable) as error:
            self.trouble = f"the log of acts cannot be written: {error}"
            _log.error("%s", self.trouble)

    # What follows runs on the register's thread.

    def _record(self, act: Act) -> None:
        if self.acts.log is not None:
            self.acts.log.catch_up(self._opened())
            self.acts.log.record(act)

    def _opened(self) -> Register:
        if self._register is None:
            # Where a policy was published there was a register: a new, empty one would take every right away at once.
            self._register = open_register(
                self._path,
                create=not self.policy.was_published(),
                busy_timeout=self._busy_timeout,
                own=self._own,
            )
        return self._register

    def _zone(self) -> bool:
        """Whether there are accounts; the zone they were founded in is pinned beside the register."""
        with self._opened().store.transaction(write=False) as connection:
            zone = people.zone(connection)
        pinned = self._pin.read_text().strip() if self._pin.exists() else ""
        if pinned and pinned != zone:
            which = f"register {self._opened().store.name}"
            what = f"{which} is not of this node's zone: its first accounts are not those it began with"
            raise RegisterUnavailable("foreign", what, f"put this zone's register back from a backup ({self._pin})")
        if zone and not pinned:
            write_whole(self._pin, f"{zone}\n".encode(), 0o644)
        return bool(zone)

    def _lay_out(self, head: int) -> list[Path]:
        """Writes the laws of all revisions after one for the notary to judge."""
        register, written = self._opened(), []
        for revision in register.revisions_since(head):
            path = self.policy.directory / law_name(revision)
            path.write_bytes(msgspec.msgpack.encode(law(register, revision)))  # made anew if it is lost: no fsync
            written.append(path)
        return written

    def _unconfirmed(self, now: int) -> list[Change]:
        """Suspensions of grants that two people should have stood by since there are accounts; asked once an hour, and
        no more once there are none."""
        if not self._governed or now < self._ask_again:
            return []
        with self._opened().store.transaction(write=False) as connection:
            due = people.founded(connection) + CONFIRM_WITHIN
            found = people.unconfirmed_grants(connection, MANY) if now >= due else []
        self._ask_again = now if found else max(due, now + 3600)
        return [Change(collection="grants", verb="suspend", id=name) for name in found]

    def _lapse(self) -> None:
        for request in Requests(self._opened()).lapse(int(self._clock())):
            self.acts.did(f"lapse {_named(request)}", self.revision)

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


def _named(request: Request) -> str:
    return f"requests/{request.id} digest {request.digest}"


def _where() -> str:
    caller = CALLER.get()
    return f" from {caller.where}" if caller else ""


AUTHORITY = web.AppKey("authority", Authority)

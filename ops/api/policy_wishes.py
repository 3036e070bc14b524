"""What a request wishes of the policy: a proposal, or going back to a revision; planned, rehearsed and tested."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from ops.api.problems import Problem, problem_of
from tenants import queries
from tenants.change import Applied, Change, ChangeRefused, StaleChange
from tenants.draft import decoders
from tenants.register import Register
from whitelist import suite
from whitelist.decide import Access, Permit, decide
from whitelist.effect import effects
from whitelist.holding import holding
from whitelist.plan import plan
from whitelist.proposal import COLLECTIONS, Proposal, digest
from whitelist.rollback import decoded, undo
from whitelist.snapshot import Snapshot
from whitelist.suite import Result
from whitelist.target import recorded
from whitelist.trial import Trial

SHOWN = 1000  # changes and effects in an answer, unless more are asked for
_Place = tuple[str, int]


@dataclass(slots=True)
class Wish:
    """A proposal (or None) or a revision to go back to; and what it came to."""

    proposal: Proposal | None = None
    to: int = 0
    changes: Sequence[Change] = ()
    sources: Sequence[_Place] = ()
    unchanged: int = 0
    stays: Sequence[tuple[str, str, str]] = ()
    results: list[Result] = field(default_factory=list)

    @classmethod
    def of(cls, fields: dict[str, Any]) -> "Wish":
        """The wish in a request's body. Raises Problem 422."""
        if ("proposal" in fields) is ("rollback" in fields):
            raise _invalid("proposal", "is needed, or rollback with a revision")
        if "rollback" in fields:
            to = fields["rollback"]
            if not isinstance(to, int) or isinstance(to, bool) or not 0 < to < 1 << 53:
                raise _invalid("rollback", "needs the number of a revision")
            return cls(to=to)
        try:
            return cls(proposal=msgspec.convert(fields["proposal"], Proposal))
        except msgspec.ValidationError as error:
            raise _invalid("proposal", str(error)) from error

    @property
    def name(self) -> str:
        """What was wished, for the record: the digest of the proposal, or the revision."""
        return f"policy {digest(self.proposal)}" if self.proposal is not None else f"rollback to revision {self.to}"

    def planned(self, register: Register) -> Sequence[Change]:
        """The changes from the register as it is now. Raises Problem 422 naming each entry at fault."""
        if self.proposal is None:
            return self._undone(register)
        with holding(register) as held:
            made = plan(self.proposal, held, register.kinds)
        if made.faults:
            errors = [(f"{fault.collection}[{fault.index}].{fault.name}", fault.message) for fault in made.faults]
            raise Problem(422, "invalid", "Not valid", "entries cannot be planned", "correct them", errors[:SHOWN])
        self.changes, self.sources, self.unchanged = made.changes, made.sources, made.unchanged
        return self.changes

    def _undone(self, register: Register) -> Sequence[Change]:
        if self.to >= register.revision():
            raise _invalid("rollback", f"needs a revision before {register.revision()}, which is the one in force")
        with holding(register) as held, register.store.transaction(write=False) as connection:
            rows = queries.touched_after(connection, self.to, COLLECTIONS)
            made = undo(decoded(rows, decoders(register.kinds)), held, register.kinds)
        self.changes, self.stays = made.changes, made.stays
        self.sources = [(change.collection, -1) for change in made.changes]
        return self.changes

    def refused(self, error: ChangeRefused) -> Problem:
        """The register's refusal, its fields led by the entry at fault: "grants[3].lines"."""
        problem = problem_of(error, "", "")
        if not isinstance(error, StaleChange) and error.index < len(self.sources):
            collection, index = self.sources[error.index]
            entry = f"{collection}[{index}]" if index >= 0 else f"{collection}/{self.changes[error.index].id}"
            problem.errors = [(f"{entry}.{name}", message) for name, message in error.errors] or [(entry, error.detail)]
        return problem

    def judged(self, applied: Applied, snapshot: Snapshot | None, now: int) -> Trial | None:
        """The policy as it would be, its tests asked; None where there is no valid policy to lay the changes over."""
        tests = self.proposal.tests if self.proposal is not None else ()
        before = applied.revision - bool(applied.changed)
        if snapshot is None or snapshot.revision != before:
            if tests:
                what = "there is no valid policy to test the changes with"
                raise Problem(503, "policy-unavailable", "Not available", what, "see `feiyu status`, then try again")
            return None
        trial = Trial.over(snapshot, applied.changed)
        self.results = suite.run(trial, tests, now)
        return trial

    def must_pass(self, applied: Applied, snapshot: Snapshot | None, now: int) -> None:
        """Raises Problem 409 where a test fails: the register then stays as it is."""
        self.judged(applied, snapshot, now)
        failed = [result for result in self.results if not result.passed]
        if failed:
            errors = [(result.where or "tests", f"{result.name}: {result.fault}") for result in failed]
            what = f"{len(failed)} of {len(self.results)} tests fail; nothing was changed"
            raise Problem(
                409, "tests", "Tests fail", what, "correct the policy or the tests, then plan it again", errors
            )


def shown(wish: Wish, applied: Applied, limit: int) -> dict[str, Any]:
    """What would happen, as JSON."""
    counts: dict[str, Counter[str]] = {}
    for change in applied.changed:
        counts.setdefault(change.collection, Counter())[change.verb] += 1
    found = effects(applied.changed)
    return {
        "counts": counts,
        "unchanged": wish.unchanged,
        "changes": [
            {
                "collection": change.collection,
                "id": change.id,
                "verb": change.verb,
                "before": _bare(change.before),
                "after": _bare(change.after),
            }
            for change in applied.changed[:limit]
        ],
        "effects": [msgspec.to_builtins(effect) for effect in found[:limit]],
        "effects_of": Counter(effect.way for effect in found),
        "stays": [{"collection": name, "id": item, "why": why} for name, item, why in wish.stays[:limit]],
        "tests": [msgspec.to_builtins(result) for result in wish.results],
        "passed": all(result.passed for result in wish.results),
    }


def _bare(item: Any) -> dict[str, Any] | None:
    """An item without who made it, which is not about what it says."""
    if item is None:
        return None
    fields: dict[str, Any] = msgspec.to_builtins(item)
    fields.pop("provenance", None)
    return fields


def cut(trial: Trial, flows: Sequence[dict[str, Any]], now: int) -> dict[str, Any]:
    """Which of these live flows (records of their opening) the policy would end."""
    hit: Counter[str] = Counter()
    for flow in flows:
        tenant = trial.tenant(str(flow.get("tenant", "")))
        host, port = str(flow.get("host", "")), int(flow.get("port", 0))
        access = Access.TUNNEL if flow.get("method", "CONNECT") == "CONNECT" else Access.HTTP
        target = recorded(host, port)
        source, interface = str(flow.get("client_ip", "")), str(flow.get("interface", "")) or None
        if tenant is None or not isinstance(decide(trial, tenant, source, interface, target, access, now), Permit):
            hit[str(flow.get("tenant", ""))] += 1
    return {"open": len(flows), "cut": hit.total(), "tenants": dict(hit.most_common(50))}


def _invalid(name: str, message: str) -> Problem:
    return Problem(422, "invalid", "Not valid", f"{name} {message}", "correct the request", [(name, message)])

"""Requests in the register: kept, listed, decided on; and, once approved, applied in the same transaction."""

import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, insert, select, update

from tenants import people, schema
from tenants.accounts import Account, Role
from tenants.approval import SKEW, Approval, FalseApproval, check, role_for
from tenants.change import Applied, ApprovalNeeded, ConflictingChange, Forbidden, StaleChange, UnknownItem
from tenants.credential import crockford
from tenants.model import Origin
from tenants.register import Register, check_reason
from tenants.request import LIFE, Content, Request, RequestState, Step, after, decode, digest_of, encode, same, shown
from tenants.roles import may

MAX_CONTENT = 64 << 20  # bytes


@dataclass(frozen=True, slots=True)
class Decided:
    """A request after a decision, and what was applied where it was approved."""

    request: Request
    applied: Applied | None


class Requests:
    """The requests of a register. Raises what the register raises."""

    def __init__(self, register: Register, randomness: Callable[[int], bytes] = secrets.token_bytes) -> None:
        self._register = register
        self._randomness = randomness

    def submit(self, needed: ApprovalNeeded, actor: str, reason: str, now: int) -> Request:
        """Keeps a change that needs approval."""
        check_reason(reason)
        with self._register.store.transaction(write=True) as connection:
            content = Content(
                zone=people.zone(connection),
                id="r-" + crockford(self._randomness(8), 10),
                submitter=actor,
                roles=needed.roles,
                submitted=now,
                revision=people.last_revision(connection),
                reason=reason.strip(),
                changes=needed.changes,
                shown=shown(needed.changed),
            )
            data = encode(content)
            if len(data) > MAX_CONTENT:
                raise ConflictingChange(f"the request has {len(data)} bytes, more than {MAX_CONTENT}", "divide it")
            made = Request(
                id=content.id,
                state=RequestState.SUBMITTED,
                submitter=actor,
                roles=needed.roles,
                collections=tuple(sorted({one.collection for one in needed.changed})),
                submitted=now,
                expires=now + LIFE,
                reason=content.reason,
                digest=digest_of(data),
                content=data,
            )
            row = {name: getattr(made, name) for name in ("id", "state", "submitter", "submitted", "expires")}
            row |= {"reason": made.reason, "digest": made.digest, "content": data.decode(), "revision": 0}
            row |= {"roles": " ".join(made.roles), "collections": " ".join(made.collections)}
            connection.execute(insert(schema.requests), row)
        return made

    def get(self, name: str) -> tuple[Request, list[dict[str, Any]]]:
        """The request and the decisions on it, the first one first. Raises UnknownItem."""
        with self._register.store.transaction(write=False) as connection:
            return _find(connection, name), _decisions(connection, name)

    def page(
        self, *, state: str = "", submitter: str = "", waiting_for: str = "", limit: int = 100, after_id: str = ""
    ) -> tuple[list[Request], str]:
        """Requests by id, and the id to go on after ("": that was all). waiting_for: an account that could decide."""
        columns = schema.requests.c
        statement = select(schema.requests).order_by(columns.id)
        if after_id:
            statement = statement.where(columns.id > after_id)
        if waiting_for:
            state = RequestState.SUBMITTED
        for column, value in ((columns.state, state), (columns.submitter, submitter)):
            if value:
                statement = statement.where(column == value)
        found: list[Request] = []
        with self._register.store.transaction(write=False) as connection:
            account = people.account(connection, waiting_for) if waiting_for else None
            for row in connection.execute(statement).mappings():
                request = _request(row)
                if waiting_for and not _can_decide(account, request):
                    continue
                found.append(request)
                if len(found) > limit:
                    break
        more = len(found) > limit
        return found[:limit], found[limit - 1].id if more else ""

    def decide(self, approval: Approval, reason: str, now: int) -> Decided:
        """Approves (and applies) or rejects, on the word of a signed decision; all or nothing. Raises Forbidden for a
        decision that does not hold, ConflictingChange where the request's state does not allow it, StaleChange where
        what was shown is not any more what would happen."""
        if approval.decision is Step.REJECT:
            check_reason(reason)
        with self._register.store.transaction(write=True) as connection:
            request = _find(connection, approval.request)
            account = people.account(connection, approval.account)
            if account is None:
                raise Forbidden(f"there is no account {approval.account}")
            state = after(request, approval.decision, account.id, now)
            _hold(approval, request, account, now)
            applied = None
            if approval.decision is Step.APPROVE:
                applied = self._apply(connection, request, approval, now)
            revision = applied.revision if applied is not None else 0
            _note(connection, request.id, approval, reason)
            _move(connection, request.id, state, revision)
            decided = _find(connection, request.id)
        return Decided(decided, applied)

    def withdraw(self, name: str, by: str, reason: str, now: int) -> Request:
        """The submitter takes it back."""
        return self._unsigned(name, Step.WITHDRAW, by, reason, now)

    def lapse(self, now: int) -> list[Request]:
        """Ends the requests that waited too long, and returns them."""
        columns = schema.requests.c
        due = select(columns.id).where(columns.state == RequestState.SUBMITTED, columns.expires <= now)
        with self._register.store.transaction(write=False) as connection:
            names = list(connection.execute(due).scalars())
        return [self._unsigned(name, Step.LAPSE, "", "nobody decided in time", now) for name in names]

    def _unsigned(self, name: str, step: Step, by: str, reason: str, now: int) -> Request:
        with self._register.store.transaction(write=True) as connection:
            request = _find(connection, name)
            state = after(request, step, by, now)
            said = Approval(name, request.digest, step, by, "", now, "", "")
            _note(connection, name, said, reason)
            _move(connection, name, state, 0)
            return _find(connection, name)

    def _apply(self, connection: Connection, request: Request, approval: Approval, now: int) -> Applied:
        if digest_of(request.content) != request.digest:
            raise ConflictingChange(f"request {request.id} in the register is not what its digest says")
        content = decode(request.content)
        if content.zone != people.zone(connection) or content.id != request.id:
            raise ConflictingChange(f"request {request.id} was made in another zone")
        submitter = people.account(connection, request.submitter)
        if submitter is None or submitter.disabled:
            raise ConflictingChange(
                f"{request.submitter}, who submitted request {request.id}, is disabled", "reject it"
            )
        made = self._register.perform(
            connection, content.changes, request.submitter, content.reason, now, Origin.APPROVED
        )
        if not same(shown(made.changed), content.shown):
            what = f"what request {request.id} would do is not any more what it showed: the register changed since"
            raise StaleChange(what, "reject it, and have it submitted again")
        return self._register.record(
            connection, made, request.submitter, content.reason, now, request.id, request.digest, (approval,)
        )


def _hold(approval: Approval, request: Request, account: Account, now: int) -> None:
    if abs(approval.time - now) > SKEW:
        raise Forbidden(f"the decision was signed at Unix second {approval.time}, and it is {now}", "set the clock")
    try:
        check(approval, request.digest, account, request.submitter, request.roles, request.collections)
    except FalseApproval as why:
        raise Forbidden(f"request {request.id}: {why}") from None


def _can_decide(account: Account | None, request: Request) -> bool:
    if account is None or account.disabled or account.id == request.submitter:
        return False
    return role_for(account, request.roles, request.collections) is not None


def _find(connection: Connection, name: str) -> Request:
    row = connection.execute(select(schema.requests).where(schema.requests.c.id == name)).mappings().first()
    if row is None:
        raise UnknownItem(f"there is no request {name}", "list the requests to see their ids")
    return _request(row)


def _request(row: Any) -> Request:
    fields = dict(row)
    return Request(
        **{
            **fields,
            "state": RequestState(fields["state"]),
            "roles": tuple(fields["roles"].split()),
            "collections": tuple(fields["collections"].split()),
            "content": fields["content"].encode(),
        }
    )


def _decisions(connection: Connection, name: str) -> list[dict[str, Any]]:
    columns = schema.decisions.c
    found = select(schema.decisions).where(columns.request == name).order_by(columns.number)
    return [dict(row) for row in connection.execute(found).mappings()]


def _note(connection: Connection, name: str, said: Approval, reason: str) -> None:
    row = {name: getattr(said, name) for name in ("request", "decision", "account", "role", "time", "key", "signature")}
    connection.execute(insert(schema.decisions), {**row, "request": name, "reason": reason.strip()})


def _move(connection: Connection, name: str, state: RequestState, revision: int) -> None:
    values = {"state": state, "revision": revision}
    connection.execute(update(schema.requests).where(schema.requests.c.id == name).values(values))


def roles_needed(request: Request) -> Sequence[Role]:
    """The roles that could decide on it."""
    able = [role for role in Role if all(may(role, one, "approve") for one in request.collections)]
    return [role for role in able if role not in request.roles]
